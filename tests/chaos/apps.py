"""The harness as an app of its processes: attempts get short limits, so that leases run out in time."""

from django.apps import AppConfig

LIMIT = 3.0
"""Seconds that an attempt may take unless its handler says less; some thirty elsewhere."""


class ChaosConfig(AppConfig):
    """Django's view of the app; it has no tables."""

    name = "tests.chaos"

    def ready(self):
        """Shorten the limits of all handlers that have none of their own."""
        from directives.handlers import Handler
        from tests.zoo.payloads import AnimalHandler

        Handler.timeout = AnimalHandler.timeout = LIMIT
