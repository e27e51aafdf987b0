"""What `manage.py directive` does, a module a group of subcommands."""
