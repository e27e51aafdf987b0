"""`manage.py migrate`: `migrate_schemas` under the name that Django's tools call."""

from fleetprompt.management.commands.migrate_schemas import Command

__all__ = ["Command"]
