"""Send wake-ups, the messages "this tenant has due directives", through django-q2; they carry no truth.

With PostgreSQL as the broker a wake-up is a row that commits with what it is sent for, and clusters are
notified on commit. Any other broker gets it on commit.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.tasks import async_task

from directives import registry
from fleetprompt.postgres.notifications import notify_on_commit
from fleetprompt.postgres.queries import execute
from fleetprompt.tenants.models import Tenant

WORK = "directives.tasks.work"
"""The task that a wake-up calls."""

INSERTION = """
    INSERT INTO public.django_q_ormq (key, payload, lock)
    SELECT %(wake_key)s::text, %(wake_payload)s::text, at FROM due WHERE %(wake_key)s::text IS NOT NULL
"""
"""SQL for a larger statement: a wake-up for each row of its query `due`, at the time `at`.

Its parameters are those of `message_for`; without PostgreSQL's broker it inserts nothing.
"""
_DUE = "SELECT coalesce(%(at)s::timestamptz, statement_timestamp())"
# The disk is not waited for: the sweep makes up for a lost wake-up.
_NO_FLUSH = " FROM set_config('synchronous_commit', 'off', true)"


def wake(tenant: Tenant, *, after: float = 0) -> None:
    """Send a wake-up in the caller's transaction, which workers see after so many seconds.

    A broker other than PostgreSQL's cannot hold a message back, so what is due later is left to the sweep.
    """
    due = timezone.now() + timedelta(seconds=after) if after > 0 else None
    if Conf.ORM:
        store(Conf.CLUSTER_NAME, _message(tenant.slug), due, tenant=tenant.slug)
    elif not due:
        announce(tenant)


def message_for(tenant: str) -> dict[str, str | None]:
    """Return the parameters of `INSERTION` for the tenant with a slug."""
    if not Conf.ORM:
        return {"wake_key": None, "wake_payload": None}
    return {"wake_key": _key(Conf.CLUSTER_NAME, tenant), "wake_payload": _message(tenant)}


def announce(tenant: Tenant) -> None:
    """Notify clusters on commit of a wake-up that is stored, or send it to another broker."""
    if Conf.ORM:
        notify_on_commit(channel(Conf.CLUSTER_NAME))
    else:
        message = _message(tenant.slug)
        transaction.on_commit(lambda: get_broker().enqueue(message), robust=True)


def channel(name: str) -> str:
    """Return the channel on which PostgreSQL notifies the clusters of a name."""
    return f"directives.{name}"


def store(name: str, message: str, at: datetime | None = None, *, tenant: str = "") -> None:
    """Store a message in the caller's transaction, and notify clusters on commit.

    Args:
        name: of the clusters that may take it.
        message: what django-q2 makes of a task.
        at: when it may be taken; None is now, by the database's clock.
        tenant: the slug of the tenant whose messages are taken together.
    """
    due = _DUE + (_NO_FLUSH if connection.get_autocommit() else "")
    statement = f"WITH due (at) AS ({due}) {INSERTION}"
    execute(statement, wake_key=_key(name, tenant), wake_payload=message, at=at)
    if not at:
        notify_on_commit(channel(name))


def _key(name: str, tenant: str) -> str:
    return f"{name}:{tenant}" if tenant else name


class _Draft:
    """Takes the place of a broker, and keeps the message that django-q2 makes of a task."""

    list_key = payload = ""

    def enqueue(self, task: str) -> int:
        """Keep the message."""
        self.payload = task
        return 0


@lru_cache(maxsize=1024)
def _message(tenant: str) -> str:
    """Return a tenant's wake-up, made and signed by django-q2."""
    draft = _Draft()
    options: dict[str, Any] = {"task_name": f"wake {tenant}", "group": "directives", "broker": draft}
    async_task(WORK, tenant, q_options={**options, "timeout": longest_time_slice()})
    return draft.payload


def longest_time_slice() -> int:
    """Return the seconds after which a worker must be stuck: every handler ends by its own limit."""
    longest = max((handler.timeout for handler in registry.handlers()), default=0)
    return ceil(
        settings.DIRECTIVES_TIME_SLICE_SECONDS + settings.DIRECTIVES_CLAIM_LIMIT * (longest + 1) + 60
    )
