"""The directives app: what should happen in a tenant, and how it comes to happen once."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DirectivesConfig(AppConfig):
    """Django's view of the app; it lives in every tenant's schema."""

    name = "directives"

    def ready(self) -> None:
        """Find all handlers, prepare clusters, keep what follows from handlers in step, give gauges."""
        from directives import registry
        from directives.authority import roles
        from directives.monitoring import checks, gauges  # noqa: F401
        from directives.queueing import clusters
        from fleetprompt.apps import last_app
        from fleetprompt.health import readiness
        from fleetprompt.telemetry import exposition
        from fleetprompt.tenants import seeds

        registry.discover()
        clusters.survive_kills()
        exposition.add_source(gauges.collect)
        readiness.register("broker", clusters.unready_broker)
        readiness.register("cluster", clusters.unready_clusters)
        post_migrate.connect(roles.create_permissions, sender=self)
        post_migrate.connect(roles.create_groups, sender=last_app())
        seeds.register(roles.wanted, roles.missing)
        post_migrate.connect(clusters.schedule)
