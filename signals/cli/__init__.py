"""What the subcommands of `manage.py audit` do."""
