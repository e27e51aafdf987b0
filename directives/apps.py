"""The directives app: what should happen in a tenant, and how it comes to happen once."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DirectivesConfig(AppConfig):
    """Django's view of the app; it lives in every tenant's schema."""

    name = "directives"

    def ready(self) -> None:
        """Find the installed apps' handlers, prepare clusters, keep permissions and the sweep in step."""
        from directives import queue, registry, roles

        registry.discover()
        queue.survive_kills()
        post_migrate.connect(roles.create_permissions, sender=self)
        post_migrate.connect(roles.create_groups, sender=roles.last_app())
        post_migrate.connect(queue.schedule_sweep)
