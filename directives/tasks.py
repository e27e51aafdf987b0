"""Tasks of queue workers: a time slice of one tenant, the sweep that wakes tenants, and sealing."""

import logging
import math
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import Error

from directives import sql
from directives.executing import attempts
from directives.lifecycle import claims, queries
from directives.queueing import adapter, clusters
from fleetprompt.errors import Refused
from fleetprompt.postgres import cache_table, outages
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.context import UnknownTenant, active_tenant, in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.sealing import keys, locks, sealer

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

BROKEN_PAUSE_SECONDS = 1.0
"""Seconds after a time slice that broke off until its tenant has another one."""
OUTAGE_SECONDS = 30.0
"""For how long a task that lost its connection waits for the database; the sweep finds what it gave up."""
GATHER_SECONDS = 0.01
"""How long a directive that arrives during a time slice waits for more: a claim for each costs more."""
FIRST_BATCH_SIZE = 20
MAX_SEALS = 3
"""How many seals of one tenant a run makes at most, so that others have theirs."""
SEALING_SECONDS = 20.0
"""After this time a run of sealing begins with no other tenant."""

_batch_size = FIRST_BATCH_SIZE


def _logged(task: Callable[P, R]) -> Callable[P, R]:
    """Log what goes wrong in a task: what django-q2 would log quotes the exception's message."""

    @wraps(task)
    def logged(*args: P.args, **options: P.kwargs) -> R:
        try:
            return task(*args, **options)
        except Exception:
            logger.exception("%s broke off", " ".join([task.__name__, *map(str, args)]))
            raise

    return logged


def _again_when_lost(task: Callable[P, R]) -> Callable[P, R]:
    """Do a task once more on a new connection if it loses the one it has."""

    @wraps(task)
    def repeated(*args: P.args, **options: P.kwargs) -> R:
        try:
            return task(*args, **options)
        except Error as error:
            if not _wait_if_lost(error):
                raise
        return task(*args, **options)

    return repeated


def _wait_if_lost(error: Exception) -> bool:
    """Wait for a new connection, if an error means that there is none; return whether it does."""
    if is_lost := outages.is_lost(error):
        outages.wait_for_database(OUTAGE_SECONDS)
    return is_lost


@_logged
def work(slug: str) -> int:
    """Execute due directives of a tenant for one time slice; return how many attempts were executed.

    The time slice answers all wake-ups of its tenant: when the connection is lost, it begins once more. A
    tenant that was deleted meanwhile has nothing due.
    """
    try:
        return _work_or_wake(slug)
    except UnknownTenant:
        logger.info("a wake-up for the tenant %s, which is gone", slug)
        return 0


def _work_or_wake(slug: str) -> int:
    try:
        return _work(slug)
    except Exception:
        with in_tenant(slug) as tenant:
            # A tenant that always breaks must not spin.
            adapter.wake(tenant, after=BROKEN_PAUSE_SECONDS)
        raise


@_again_when_lost
def _work(slug: str) -> int:
    with in_tenant(slug):
        return run_time_slice()


def run_time_slice() -> int:
    """Execute batches of due directives of the active tenant, for a bounded time; return how many attempts.

    The first full batch sends the next wake-up at once, so that other workers join in. After each batch the
    worker looks again: what waited behind its directives, or arrived meanwhile, is not left to the sweep.
    What arrived just now is given `GATHER_SECONDS` to become more. When the time is over, a wake-up is sent
    for what is left, behind those of other tenants.
    """
    tenant, executed, joined = active_tenant(), 0, False
    ends = time.monotonic() + settings.DIRECTIVES_TIME_SLICE_SECONDS
    with claims.released_when_lost(OUTAGE_SECONDS) as token:
        while True:
            began, size = time.monotonic(), batch_size()
            claim = claims.claim(tenant, size, token=token)
            if not any(claim):
                break
            full = len(claim.directives) >= size
            if full and not joined:
                adapter.wake(tenant)
                joined = True
            executed += sum(1 for _ in attempts.execute(claim.directives, tenant))
            took = time.monotonic() - began
            learn_batch_size(len(claim.directives), took)
            # After a full batch there is more, as a rule.
            waited = GATHER_SECONDS if full else fetch_all(sql.LONGEST_WAIT)[0][0]
            if waited is None:
                break
            pause = max(GATHER_SECONDS - waited, 0)
            # Another claim like this one would end closer to two time slices than to one.
            if time.monotonic() + pause + took / 2 > ends:
                # A worker that joined in may have left again.
                adapter.wake(tenant) if full else claims.wake_for_the_rest(tenant)
                break
            time.sleep(pause)
    return executed


def batch_size() -> int:
    """Return how many directives the next claim should take, so that they fit into a time slice."""
    return min(_batch_size, settings.DIRECTIVES_CLAIM_LIMIT)


def learn_batch_size(number: int, seconds: float) -> None:
    """Learn from a claim of `number` directives that took `seconds`; the size doubles at most."""
    global _batch_size
    if not number:
        return
    fitting = math.floor(number * settings.DIRECTIVES_TIME_SLICE_SECONDS / max(seconds, 1e-6))
    if fitting < _batch_size or number >= batch_size():
        _batch_size = max(1, min(fitting, 2 * batch_size()))


@_logged
@_again_when_lost
def sweep() -> list[str]:
    """Wake every active tenant with due directives or expired leases; return their slugs.

    Wake-ups for clusters that are no more are removed: this makes up for them, too. So is what has expired
    in the cache, since it may have texts of people.

    This is what a lost wake-up, a dead worker and a broker that cannot delay messages rely on.
    """
    woken = []
    # No more than is needed: a time that cannot be read in one row would hide them all.
    for tenant in Tenant.objects.filter(status=Tenant.Status.ACTIVE).only("slug"):
        try:
            with in_tenant(tenant.slug) as entered:
                if entered.status == Tenant.Status.ACTIVE and (
                    queries.due().exists() or queries.stalled().exists()
                ):
                    adapter.wake(tenant)
                    woken.append(tenant.slug)
        except (Error, UnknownTenant) as error:
            # One broken or vanishing tenant must not keep the others asleep.
            logger.exception("the sweep could not look at the tenant %s", tenant.slug)
            _wait_if_lost(error)
    try:
        cache_table.remove_expired()
    except Error as error:
        logger.exception("the sweep could not remove what has expired from the cache")
        _wait_if_lost(error)
    if removed := clusters.remove_abandoned():
        logger.info("%d messages for clusters of another name were removed", removed)
    return woken


@_logged
def seal() -> dict[str, int]:
    """Seal new signals of the tenants, suspended ones too; return how many were sealed, by slug.

    One worker does it at a time, for at most `SEALING_SECONDS` and in any order, so that directives find
    a worker and every tenant is sealed in the end.
    """
    sealed: dict[str, int] = {}
    with locks.sealing_all() as is_ours:
        ends = time.monotonic() + SEALING_SECONDS
        for tenant in Tenant.objects.only("slug").order_by("?") if is_ours else ():
            if time.monotonic() > ends or not _seal(tenant, sealed):
                break
    return sealed


def _seal(tenant: Tenant, sealed: dict[str, int]) -> bool:
    """Seal one tenant's signals and count them; return whether it makes sense to go on."""
    try:
        with in_tenant(tenant.slug):
            done = sealer.seal(batches=MAX_SEALS)
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
    """Log once in this process what is true at every run."""
    logger.warning("%s", text)
