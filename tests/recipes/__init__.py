"""Recipes of model-bakery, one module for each app, for records whose origin does not matter to the test."""
