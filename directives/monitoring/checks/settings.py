"""Whether the queue's settings and the leases would lose work, do it twice, or keep it waiting."""

from typing import Any

from django.conf import settings
from django.core import checks

from directives import registry
from directives.queueing import clusters
from fleetprompt.health.checkup import Findings, setting

SHORT_LEASE, LONG_LEASE = 10, 3600
"""Seconds: what a busy machine may be silent for, and what people would not wait for."""


@setting("wake-ups go through the program's own database or Redis")
def broker() -> Findings:
    """With PostgreSQL's broker, a wake-up commits with its directive: in the same database."""
    database = _cluster("orm")
    if database not in (None, "default"):
        yield checks.Error(
            f"Q_CLUSTER['orm'] is {database!r}: wake-ups would not commit with their directives",
            hint="Set it to 'default'.",
            id="directives.E001",
        )
    elif database and _cluster("broker_class") != clusters.BROKER:
        yield checks.Error(
            f"Q_CLUSTER['broker_class'] is {_cluster('broker_class')!r}: nobody takes a tenant's wake-ups",
            hint=f"Set it to {clusters.BROKER!r}, or set BROKER_URL.",
            id="directives.E005",
        )
    if not database and not _cluster("redis"):
        yield checks.Error(
            "Q_CLUSTER names neither orm nor redis: no other broker was ever tried",
            hint="Set BROKER_URL to a redis:// address, or leave it empty for PostgreSQL.",
            id="directives.E002",
        )


@setting("the queue runs tasks in a cluster, and its schedule")
def cluster() -> Findings:
    """Whoever requests must not execute, and somebody has to sweep."""
    if _cluster("sync", False):
        yield checks.Error(
            "Q_CLUSTER['sync'] is on: whoever requests a directive would execute it in the middle of "
            "the transaction that requests it",
            hint="Remove sync from Q_CLUSTER.",
            id="directives.E003",
        )
    if not _cluster("scheduler", True):
        yield checks.Error(
            "Q_CLUSTER['scheduler'] is off: nobody sweeps, so lost wake-ups and dead workers' "
            "directives are never found",
            hint="Remove scheduler from Q_CLUSTER, or leave it on in one cluster at least.",
            id="directives.E004",
        )


@setting("the queue neither repeats nor keeps wake-ups")
def wake_ups() -> Findings:
    """A wake-up carries no truth: repeating it costs turns, keeping it fills a table."""
    if not _cluster("ack_failures", False) or _cluster("max_attempts", 0) != 1:
        yield checks.Warning(
            "Q_CLUSTER repeats wake-ups that failed: the sweep does that, and does not do it forever",
            hint="Set ack_failures = True and max_attempts = 1.",
            id="directives.W002",
        )
    if _cluster("save_limit", 250) == 0:
        yield checks.Warning(
            "Q_CLUSTER['save_limit'] is 0: a row for each wake-up is kept forever",
            hint="Set it to -1, which keeps only those that failed.",
            id="directives.W003",
        )
    if _cluster("catch_up", True):
        yield checks.Warning(
            "Q_CLUSTER['catch_up'] is on: after a night without clusters the sweep runs once for each "
            "minute that was missed",
            hint="Set catch_up = False.",
            id="directives.W004",
        )


@setting("leases outlast a pause and end in time")
def leases() -> Findings:
    """A lease is what an attempt may be silent for, beyond its handler's timeout."""
    lease = settings.DIRECTIVES_LEASE_SECONDS
    if lease < SHORT_LEASE:
        yield checks.Warning(
            f"DIRECTIVES_LEASE_SECONDS is {lease:g} s: a machine or network that pauses for as long "
            "costs an attempt, and another worker starts the same directive",
            hint=f"Set it to {SHORT_LEASE} or more; 60 is the default.",
            id="directives.W005",
        )
    longest = max((handler.timeout for handler in registry.handlers()), default=0)
    if lease + longest > LONG_LEASE:
        yield checks.Warning(
            f"DIRECTIVES_LEASE_SECONDS of {lease:g} s with a handler that may take {longest:g} s: what "
            f"a killed worker held comes back after {(lease + longest) / 60:.0f} minutes only",
            hint="Lower DIRECTIVES_LEASE_SECONDS, or that handler's timeout.",
            id="directives.W006",
        )


def _cluster(name: str, default: Any = None) -> Any:
    return settings.Q_CLUSTER.get(name, default)
