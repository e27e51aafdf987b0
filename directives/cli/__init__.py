"""Subcommands of `manage.py directive`, a module for each group of them."""
