"""Recipes of model-bakery, one module for each app, for records whose origin no test examines."""
