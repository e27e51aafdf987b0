"""App of the project package: management commands, the operators' admin, checks."""

from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.management import call_command
from django.db.models.signals import post_migrate


class FleetPromptConfig(AppConfig):
    """Django's view of the project package."""

    name = "fleetprompt"

    def ready(self) -> None:
        """Connect the making of the cache's table and the grants; register the checks."""
        from fleetprompt import environment
        from fleetprompt.health import checks  # noqa: F401
        from fleetprompt.postgres import grants
        from fleetprompt.tenants import seeds

        environment.refuse_renamed(dir(settings))
        seeds.register(wanted=list, lacking=grants.lacking)
        post_migrate.connect(_create_cache_table, dispatch_uid="fleetprompt.cache")
        post_migrate.connect(_grant, sender=last_app(), dispatch_uid="fleetprompt.grants")


def last_app() -> AppConfig:
    """Return the app whose `post_migrate` is sent last: every table and permission exists by then."""
    return [config for config in apps.get_app_configs() if config.models_module][-1]


def _create_cache_table(sender: AppConfig, using: str = "default", **kwargs: Any) -> None:
    from fleetprompt.tenants.context import is_public

    if sender.label == "tenants" and is_public():
        call_command("createcachetable", database=using, verbosity=0)


def _grant(sender: AppConfig, **kwargs: Any) -> None:
    from fleetprompt.postgres import grants
    from fleetprompt.tenants.context import active_schema

    grants.grant(active_schema())
