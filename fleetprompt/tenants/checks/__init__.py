"""Checks of the tenants: their hosts, their schemas, what stands in them, and the way in and out."""

from fleetprompt.tenants.checks import constraints, context, hosts, tables

__all__ = ["constraints", "context", "hosts", "tables"]
