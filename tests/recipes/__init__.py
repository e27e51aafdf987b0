"""Recipes of model-bakery, a module for each app, for records whose origin no test is about."""
