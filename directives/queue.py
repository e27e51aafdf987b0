"""The queue adapter: the only module that knows django-q2. It carries wake-ups, never the truth."""

import math
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from directives import registry
from fleetprompt.tenants.context import is_public
from fleetprompt.tenants.models import Tenant

SWEEP = "directives: sweep"


class _Delayed(ORM):  # type: ignore[misc]
    """PostgreSQL's broker, for one message that no worker sees before `at`."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at

    def enqueue(self, task: str) -> int:
        """Store the message under a lock that ends at `at`."""
        pk: int = OrmQ.objects.create(key=self.list_key, payload=task, lock=self.at).pk
        return pk


def wake(tenant: Tenant, *, at: datetime | None = None, after: float | None = None) -> None:
    """Send "this tenant has due directives", with the caller's transaction.

    PostgreSQL's broker stores the message in that transaction, and shows it to workers at its time.
    Another broker gets it on commit and cannot wait, so what is due later is left to the sweep.

    Args:
        at: when workers should see it; now by default.
        after: the same in seconds from now.
    """
    if after is not None:
        at = timezone.now() + timedelta(seconds=after)
    later = at is not None and at > timezone.now()
    if Conf.ORM:
        with transaction.atomic():
            _send(tenant.slug, _Delayed(at) if at and later else get_broker())
    elif not later:
        transaction.on_commit(lambda: _send(tenant.slug, get_broker()), robust=True)


def schedule_sweep(sender: Any, using: str = "default", **kwargs: Any) -> None:
    """Have django-q2 run the sweep every minute (on `post_migrate` of the public schema)."""
    if sender.label == "django_q" and is_public():
        Schedule.objects.using(using).get_or_create(
            name=SWEEP,
            defaults={
                "func": "directives.tasks.sweep",
                "schedule_type": Schedule.MINUTES,
                "minutes": 1,
                "repeats": -1,
            },
        )


def _send(slug: str, broker: Any) -> None:
    async_task(
        "directives.tasks.work",
        slug,
        q_options={
            "task_name": f"wake {slug}",
            "group": "directives",
            "timeout": _longest_turn(),
            "broker": broker,
        },
    )


def _longest_turn() -> int:
    """Return the seconds after which a worker must be stuck: every handler ends by its own limit."""
    longest = max((handler.timeout for handler in registry.handlers()), default=0)
    return math.ceil(settings.DIRECTIVES_TURN + settings.DIRECTIVES_BATCH * (longest + 1) + 60)
