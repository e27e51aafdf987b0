"""Checks of the project's settings, its machine and its database server."""

from fleetprompt.health.checks import machine, pooling, server, settings, versions

__all__ = ["machine", "pooling", "server", "settings", "versions"]
