"""The project as an app: it only brings management commands."""

from django.apps import AppConfig


class FleetPromptConfig(AppConfig):
    """Django's view of the project package."""

    name = "fleetprompt"
