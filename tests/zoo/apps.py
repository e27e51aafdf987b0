"""The zoo as an app, so that its handlers are discovered the way a project's are."""

from django.apps import AppConfig


class ZooConfig(AppConfig):
    """Django's view of the app; it has no tables."""

    name = "tests.zoo"
