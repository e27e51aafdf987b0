"""PostgreSQL as django-q2's broker: messages in a table, taken in one statement, and notifications.

Each wake-up has its tenant in its key, and those of one tenant are taken together, for one time slice. A
message that is taken is deleted; the sweep makes up for what a killed cluster had taken. A cluster whose
connection was lost sweeps as soon as it has another one.
"""

import time
from typing import Any

from django.db import Error
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from directives.queueing import adapter
from fleetprompt.postgres import outages
from fleetprompt.postgres.direct import execute
from fleetprompt.postgres.notifications import RELOOK_SECONDS, Listener

SWEEP = "directives.tasks.sweep"
"""The task that finds work whose wake-ups were lost."""
WAIT_SECONDS = 0.5
"""Seconds after which a waiting cluster checks whether it has to stop."""
MAX_COMPARED = 100
"""How many of the oldest messages a look compares, so that a long queue does not make looks long."""
MAX_SERVED = 100
"""How many keys a cluster remembers to have taken last: the others come first."""
LOST_RACE_SECONDS = 0.01
"""Seconds after which to look again when another cluster was faster."""

_MINE = "(key = %(name)s OR starts_with(key, %(name)s || ':'))"
# A key with a tenant stands for all its messages, one without for each of them. The cluster that gets the
# first of them has them all; other clusters that ask at once skip them.
_TAKE = f"""
    WITH oldest AS MATERIALIZED (
      SELECT id, key, lock FROM public.django_q_ormq
      WHERE lock <= statement_timestamp() AND {_MINE} ORDER BY lock LIMIT {MAX_COMPARED}
    ), chosen AS MATERIALIZED (
      SELECT key, min(id) AS first, row_number() OVER (
        ORDER BY array_position(%(served)s::text[], key::text) NULLS FIRST, min(lock), min(id)) AS place
      FROM oldest GROUP BY key, CASE key WHEN %(name)s THEN id END ORDER BY place LIMIT %(limit)s
    ), won AS MATERIALIZED (
      SELECT chosen.* FROM chosen JOIN public.django_q_ormq AS message ON message.id = first
      FOR UPDATE OF message SKIP LOCKED
    ), held AS MATERIALIZED (
      SELECT message.id, first, place FROM won JOIN public.django_q_ormq AS message
        ON message.key = won.key AND (message.id = first OR message.key <> %(name)s)
      WHERE lock <= statement_timestamp() FOR UPDATE OF message SKIP LOCKED
    ), gone AS (
      DELETE FROM public.django_q_ormq AS message USING held WHERE message.id = held.id
      RETURNING first, place, message.id, key, payload
    )
    SELECT
      (SELECT array_agg(key::text ORDER BY place) FROM gone WHERE id = first),
      (SELECT array_agg(payload ORDER BY place) FROM gone WHERE id = first),
      (SELECT count(*) FROM chosen),
      (SELECT count(*) FROM oldest),
      (SELECT extract(epoch FROM min(lock) - statement_timestamp())
       FROM public.django_q_ormq WHERE lock > statement_timestamp() AND {_MINE}),
      set_config('synchronous_commit', 'off', true)
"""  # noqa: S608 - made of constants


def messages(name: str) -> QuerySet[Any]:
    """Return the messages for the clusters of that name, those for later included."""
    found: QuerySet[Any] = OrmQ.objects.filter(Q(key=name) | Q(key__startswith=f"{name}:"))
    return found


class Broker(ORM):  # type: ignore[misc]
    """Takes due messages of one tenant after the other, and waits for a notification when there are none.

    Keys that were not taken lately come first, those that have waited longest before others: a tenant
    that always has work waits behind one that seldom has.
    """

    _listener: Listener | None = None
    _look_at = 0.0
    _again_until = 0.0
    _served: tuple[str, ...] = ()

    def enqueue(self, task: str) -> int:
        """Store a message of django-q2's own."""
        adapter.store(self.list_key, task)
        return 0

    def dequeue(self) -> list[tuple[int, str]]:
        """Give the payloads of due messages, up to django-q2's `bulk`; none after a while without.

        While the database is away there are none, either: django-q2 would end the process that asks, and
        wait ten seconds before it has another one.

        Raises:
            DatabaseError: the database refuses.
        """
        try:
            return self._wait_and_take()
        except Error as error:
            if not outages.is_lost(error):
                raise
            time.sleep(outages.RECONNECT_SECONDS)
            return []

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Keep a sign of life, unless the database is away: django-q2 would log that each time."""
        try:
            super().set_stat(key, value, timeout)
        except Error as error:
            if not outages.is_lost(error):
                raise

    def get_stats(self, pattern: str) -> list[str]:
        """Return the signs of life of all clusters.

        django-q2's own method skips the one behind a dead cluster's, and writes the list of names that
        it read, without what was added meanwhile.
        """
        names: list[str] = self.cache.get(Conf.Q_STAT) or []
        return list(self.cache.get_many(names).values())

    def acknowledge(self, task_id: int) -> None:
        """Do nothing: what was taken is gone."""

    delete = fail = acknowledge

    def queue_size(self) -> int:
        """Count the messages that can be taken."""
        return messages(self.list_key).filter(lock__lte=Now()).count()

    def lock_size(self) -> int:
        """Count the messages for later."""
        return messages(self.list_key).filter(lock__gt=Now()).count()

    def purge_queue(self) -> Any:
        """Delete all messages."""
        return messages(self.list_key).delete()

    def _wait_and_take(self) -> list[tuple[int, str]]:
        is_first = self._listener is None
        self._listener = self._listener or Listener(adapter.channel(self.list_key))
        if self._listener.listen():
            self._look_at = 0
            if not is_first:
                # What was taken last may have been lost on its way, and what workers had taken with them.
                async_task(SWEEP, q_options={"task_name": "sweep", "group": "directives", "broker": self})
        wait = min(self._look_at - time.monotonic(), WAIT_SECONDS)
        heard = wait > 0 and self._listener.wait(wait)
        if wait > 0 and not heard and self._look_at > time.monotonic():
            return []
        if heard:
            self._again_until = time.monotonic() + RELOOK_SECONDS
        return self._take()

    def _take(self) -> list[tuple[int, str]]:
        asked = {"name": self.list_key, "limit": Conf.BULK, "served": list(self._served)}
        keys, payloads, chosen, oldest, later, _ = execute(_TAKE, asked, prepare=True).fetchone()
        keys, payloads = keys or [], payloads or []
        self._served = (*(key for key in self._served if key not in keys), *keys)[-MAX_SERVED:]
        if chosen > len(payloads):
            wait = LOST_RACE_SECONDS
        elif chosen == Conf.BULK or oldest == MAX_COMPARED:
            wait = 0.0
        else:
            poll_seconds = RELOOK_SECONDS if time.monotonic() < self._again_until else Conf.POLL
            wait = poll_seconds if later is None else min(poll_seconds, float(later))
        self._look_at = time.monotonic() + wait
        # django-q2 takes a true value for a message that is to be acknowledged.
        return [(1, payload) for payload in payloads]
