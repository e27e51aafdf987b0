"""Checks of directives: settings that would lose or double work, the queue, and what waits in it."""

from directives.monitoring.checks import clock, queueing, settings, work

__all__ = ["clock", "queueing", "settings", "work"]
