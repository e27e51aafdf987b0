"""The tenants app: who the communities are, and the one way into their schemas."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Django's view of the app; it lives in the public schema."""

    name = "fleetprompt.tenants"
    label = "tenants"
