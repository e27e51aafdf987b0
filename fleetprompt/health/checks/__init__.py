"""Checks of settings, machine, database server and tenants; importing it registers them."""

from fleetprompt.health.checks import (
    constraints,
    context,
    hosts,
    machine,
    pooling,
    server,
    settings,
    tables,
)

__all__ = ["constraints", "context", "hosts", "machine", "pooling", "server", "settings", "tables"]
