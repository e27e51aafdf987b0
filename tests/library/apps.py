"""The library as an app, so that its models and handlers are discovered the way a project's are."""

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    """Django's view of the app."""

    name = "tests.library"
    default_auto_field = "django.db.models.BigAutoField"
