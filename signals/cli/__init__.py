"""Subcommands of `manage.py audit`."""
