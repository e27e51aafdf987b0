"""Checks of settings, machine, database server and tenants; importing it registers them in that order."""

from fleetprompt.health.checks import installation, server

# isort: split
# The last ones, because they need the tables that `server` checks.
from fleetprompt.health.checks import constraints, hosts, tables

__all__ = ["constraints", "hosts", "installation", "server", "tables"]
