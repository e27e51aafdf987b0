"""What a queue worker runs: one tenant's turn, the sweep that wakes what was forgotten, and sealing."""

import logging
import time
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import ParamSpec, TypeVar

from django.db import Error

from directives import runner
from directives.lifecycle import transitions
from directives.queueing import adapter, clusters
from fleetprompt.errors import Refused
from fleetprompt.postgres import outages
from fleetprompt.tenants.context import UnknownTenant, in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.sealing import keys, locks, sealer

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

BROKEN = 1.0
"""Seconds after a turn that broke off until its tenant has another one."""
OUTAGE_SECONDS = 30.0
"""For how long a task that lost its connection waits for the database; the sweep finds what it gave up."""
SEALS = 3
"""How many seals of one tenant a run makes at most, so that others have theirs."""
SEALING = 20.0
"""Seconds after which a run of sealing begins with no other tenant."""


def _telling(task: Callable[P, R]) -> Callable[P, R]:
    """Log what goes wrong in a task: what django-q2 would log quotes the exception's message."""

    @wraps(task)
    def told(*args: P.args, **options: P.kwargs) -> R:
        try:
            return task(*args, **options)
        except Exception:
            logger.exception("%s broke off", " ".join([task.__name__, *map(str, args)]))
            raise

    return told


@_telling
def work(slug: str) -> int:
    """Do one turn of due directives in a tenant; return how many attempts were executed.

    The turn stands for all wake-ups of its tenant: when the connection is lost, it begins once more. A
    tenant that was deleted meanwhile has nothing due.
    """
    try:
        return _work_or_wake(slug)
    except UnknownTenant:
        logger.info("a wake-up for the tenant %s, which is gone", slug)
        return 0


def _work_or_wake(slug: str) -> int:
    try:
        return _again_when_lost(partial(_work, slug))
    except Exception:
        with in_tenant(slug) as tenant:
            # One that always breaks must not spin.
            adapter.wake(tenant, after=BROKEN)
        raise


def _work(slug: str) -> int:
    with in_tenant(slug):
        return runner.run_time_slice(patience=OUTAGE_SECONDS)


def _again_when_lost(task: Callable[[], R]) -> R:
    """Do a task, and once more on a new connection if it loses the one it has."""
    try:
        return task()
    except Error as error:
        if not _wait_if_lost(error):
            raise
    return task()


def _wait_if_lost(error: Exception) -> bool:
    """Wait for a new connection, if an error means that there is none; return whether it does."""
    if is_lost := outages.is_lost(error):
        outages.wait_for_database(OUTAGE_SECONDS)
    return is_lost


@_telling
def sweep() -> list[str]:
    """Wake every active tenant with due directives or expired leases; return their slugs.

    Wake-ups for clusters that are no more are removed: this makes up for them, too.

    This is what a lost wake-up, a dead worker and a broker that cannot delay messages rely on.
    """
    return _again_when_lost(_sweep)


def _sweep() -> list[str]:
    woken = []
    # No more than is needed: a time that cannot be read in one row would hide them all.
    for tenant in Tenant.objects.filter(status=Tenant.Status.ACTIVE).only("slug"):
        try:
            with in_tenant(tenant.slug) as entered:
                if entered.status == Tenant.Status.ACTIVE and (
                    transitions.due().exists() or transitions.silent().exists()
                ):
                    adapter.wake(tenant)
                    woken.append(tenant.slug)
        except (Error, UnknownTenant) as error:
            # One broken or vanishing tenant must not keep the others asleep.
            logger.exception("the sweep could not look at the tenant %s", tenant.slug)
            _wait_if_lost(error)
    if removed := clusters.remove_abandoned():
        logger.info("%d messages for clusters of another name were removed", removed)
    return woken


@_telling
def seal() -> dict[str, int]:
    """Seal new signals of the tenants, suspended ones too; return how many were sealed, by slug.

    One worker does it at a time, for at most `SEALING` seconds and in any order, so that directives find
    a worker and every tenant has its turn.
    """
    sealed: dict[str, int] = {}
    with locks.sealing_all() as is_ours:
        ends = time.monotonic() + SEALING
        for tenant in Tenant.objects.only("slug").order_by("?") if is_ours else ():
            if time.monotonic() > ends or not _seal(tenant, sealed):
                break
    return sealed


def _seal(tenant: Tenant, sealed: dict[str, int]) -> bool:
    """Seal one tenant's signals and count them; return whether it makes sense to go on."""
    try:
        with in_tenant(tenant.slug):
            done = sealer.seal(batches=SEALS)
            if done.signals:
                sealed[tenant.slug] = done.signals
            if done.obstacle:
                _warn_once(f"the horizon of the audit log does not advance: {done.obstacle}")
    except keys.KeyUnusable as unusable:
        _warn_once(f"signals are not sealed: {unusable}")
        return False
    except sealer.ClockAhead as ahead:
        logger.error("the signals of the tenant %s are not sealed: %s", tenant.slug, ahead)
    except (Error, Refused, OSError, ValueError) as error:
        # One broken or vanishing tenant must not keep the others unsealed.
        logger.exception("the signals of the tenant %s could not be sealed", tenant.slug)
        _wait_if_lost(error)
    return True


@lru_cache
def _warn_once(text: str) -> None:
    """Say once in this process what holds for every minute."""
    logger.warning("%s", text)
