"""What a queue worker runs: one tenant's turn, the sweep that wakes what was forgotten, and sealing."""

import logging
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from django.db import DatabaseError

from directives import lifecycle, queue, runner
from fleetprompt.errors import Refused
from fleetprompt.tenants.context import UnknownTenant, in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit import keys, sealing

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

SEALS = 10
"""How many seals of one tenant a minute makes at most, so that workers have time for others."""


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

    A tenant that was deleted meanwhile has nothing due.
    """
    try:
        with in_tenant(slug) as tenant:
            queue.absorb(slug)
            try:
                return runner.take_turn()
            except Exception:
                # The wake-ups that were absorbed would have brought another worker.
                queue.wake(tenant)
                raise
    except UnknownTenant:
        logger.info("a wake-up for the tenant %s, which is gone", slug)
        return 0


@_telling
def sweep() -> list[str]:
    """Wake every active tenant with due directives or expired leases; return their slugs.

    This is what a lost wake-up, a dead worker and a broker that cannot delay messages rely on.
    """
    woken = []
    for tenant in Tenant.objects.filter(status=Tenant.Status.ACTIVE):
        try:
            with in_tenant(tenant.slug):
                if lifecycle.due().exists() or lifecycle.silent().exists():
                    queue.wake(tenant)
                    woken.append(tenant.slug)
        except (DatabaseError, UnknownTenant):
            # One broken or vanishing tenant must not keep the others asleep.
            logger.exception("the sweep could not look at the tenant %s", tenant.slug)
    return woken


@_telling
def seal() -> dict[str, int]:
    """Seal the new signals of every active tenant; return how many were sealed, by slug."""
    sealed = {}
    for tenant in Tenant.objects.filter(status=Tenant.Status.ACTIVE):
        try:
            with in_tenant(tenant.slug):
                if count := sealing.seal(batches=SEALS).signals:
                    sealed[tenant.slug] = count
        except keys.KeyMissing as missing:
            _warn_once(str(missing))
            break
        except (DatabaseError, Refused, OSError, ValueError):
            # One broken or vanishing tenant must not keep the others unsealed.
            logger.exception("the signals of the tenant %s could not be sealed", tenant.slug)
    return sealed


@lru_cache
def _warn_once(text: str) -> None:
    """Say once in this process what holds for every minute."""
    logger.warning("signals are not sealed: %s", text)
