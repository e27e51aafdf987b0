"""The project as an app: management commands, the operators' admin, what both admin sites share."""

from typing import Any

from django.apps import AppConfig
from django.core.management import call_command
from django.db.models.signals import post_migrate


class FleetPromptConfig(AppConfig):
    """Django's view of the project package."""

    name = "fleetprompt"

    def ready(self) -> None:
        """Have the cache's table made with the public schema's, and register the checks."""
        from fleetprompt import checks  # noqa: F401

        post_migrate.connect(_create_cache_table, dispatch_uid="fleetprompt.cache")


def _create_cache_table(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    from fleetprompt.tenants.context import is_public

    if sender.label == "tenants" and is_public():
        call_command("createcachetable", database=using, verbosity=0)
