"""App of the tenants: their records, and the one way into their schemas."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Django's view of the app; it lives in the public schema."""

    name = "fleetprompt.tenants"
    label = "tenants"

    def ready(self) -> None:
        """Give each thread a cache of the content types of its own schema."""
        from fleetprompt.tenants.compat import cache_content_types_per_thread

        cache_content_types_per_thread()
