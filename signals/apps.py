"""The signals app: what did happen in a tenant, for good."""

from django.apps import AppConfig


class SignalsConfig(AppConfig):
    """Django's view of the app; it lives in every tenant's schema."""

    name = "signals"

    def ready(self) -> None:
        """Register the checks."""
        from signals import checks  # noqa: F401
