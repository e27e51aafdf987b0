"""Notifications: one for each transaction that commits something due; a failed one is ignored."""

import threading
import time

import pytest
from django.db import DataError, connection, transaction

from directives.queueing import adapter
from fleetprompt.postgres.notifications import INTERVAL_SECONDS, Listener, notify_on_commit
from fleetprompt.postgres.outages import one_session
from fleetprompt.tenants.context import active_tenant, in_tenant
from tests.support import ask_animal, in_threads, messages

CHANNEL = adapter.channel("fleetprompt")


class Ear:
    """Listens on a connection of its own, in a thread of its own, and counts."""

    def __init__(self, channel=CHANNEL):
        self.heard, self._channel = 0, channel
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hear)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        # This thread may have rung just now, for the test before.
        time.sleep(INTERVAL_SECONDS)
        return self

    def __exit__(self, *exception):
        # What was rung before is heard before this.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, 'over')", [self._channel])
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _hear(self):
        try:
            Listener(self._channel).listen()
            self._ready.set()
            for bell in connection.connection.notifies(timeout=20):
                if bell.payload == "over":
                    break
                self.heard += 1
        finally:
            connection.close()


def test_a_request_rings_once_it_is_committed(database):
    with Ear() as ear, in_tenant("alpha"):
        ask_animal("work")
    assert ear.heard == 1


def test_many_requests_of_one_transaction_ring_once(database):
    with Ear() as ear, in_tenant("alpha"), transaction.atomic():
        for number in range(20):
            ask_animal("work", str(number))
    assert ear.heard == 1


def test_each_transaction_rings_unless_the_last_bell_was_just_now(database):
    with Ear() as ear, in_tenant("alpha"):
        for number in range(3):
            time.sleep(INTERVAL_SECONDS)
            ask_animal("work", str(number))
    assert ear.heard == 3
    with Ear() as ear:
        began = time.monotonic()
        for _ in range(100):
            with transaction.atomic():
                notify_on_commit(CHANNEL)
        took = time.monotonic() - began
    assert 1 <= ear.heard <= 1 + took / INTERVAL_SECONDS


def test_what_is_rolled_back_does_not_ring_and_the_next_transaction_does(database):
    with Ear() as ear, in_tenant("alpha"), transaction.atomic():
        ask_animal("work")
        transaction.set_rollback(True)
    assert ear.heard == 0
    with Ear() as ear, in_tenant("alpha"):
        ask_animal("work")
    assert ear.heard == 1


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_bell_along(database):
    with Ear() as ear, in_tenant("alpha"), transaction.atomic():
        ask_animal("work", "kept")
        with transaction.atomic():
            ask_animal("work", "lost")
            transaction.set_rollback(True)
    assert ear.heard == 1
    with Ear() as ear, in_tenant("alpha"), transaction.atomic():
        with transaction.atomic():
            ask_animal("work", "lost, first")
            transaction.set_rollback(True)
        ask_animal("work", "kept, then")
    assert ear.heard == 1


def test_threads_ring_each_for_itself(database):
    with Ear() as ear:
        in_threads(*[lambda: ask_animal("work")] * 4)
    assert ear.heard == 4


def test_what_is_for_later_does_not_ring(database):
    with Ear() as ear, in_tenant("alpha") as tenant:
        adapter.wake(tenant, after=60)
    assert ear.heard == 0


def test_clusters_of_another_name_do_not_hear_it(database):
    with Ear("directives.other") as ear, in_tenant("alpha"):
        ask_animal("work")
    assert ear.heard == 0


def synchronous_commit():
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        return cursor.fetchone()[0]


@pytest.fixture
def durable(alpha):
    """Let this session wait for the disk, which those of the tests do not."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")


@pytest.mark.usefixtures("durable")
def test_waiting_for_the_disk_is_left_out_for_wake_ups_alone(alpha):
    adapter.wake(active_tenant())
    assert synchronous_commit() == "on"
    with transaction.atomic():
        adapter.wake(active_tenant())
        assert synchronous_commit() == "on"
    assert synchronous_commit() == "on"


@pytest.mark.usefixtures("durable")
def test_whoever_commits_by_hand_does_not_ring_and_is_not_refused(alpha):
    with Ear() as ear:
        transaction.set_autocommit(False)
        try:
            adapter.wake(active_tenant())
            assert synchronous_commit() == "on", "whatever else commits is waited for"
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
    assert (ear.heard, messages()) == (0, 1)


def test_a_transaction_that_is_aborted_neither_rings_nor_hides_what_went_wrong(alpha):
    def wake_and_fail():
        with transaction.atomic():
            adapter.wake(active_tenant())
            connection.cursor().execute("SELECT 1/0")

    with Ear() as ear, pytest.raises(DataError, match="division by zero"):
        wake_and_fail()
    assert (ear.heard, messages()) == (0, 0)


def lose_session():
    connection.connection.close()


def ring_when_lost():
    with transaction.atomic():
        transaction.on_commit(lose_session)
        notify_on_commit(CHANNEL)


def test_a_bell_that_fails_is_nobodys_trouble(alpha, caplog):
    with Ear() as ear:
        with one_session():
            ring_when_lost()
        assert not caplog.records
        connection.close()
    assert ear.heard == 0


def test_a_bell_rings_on_a_new_connection_when_the_one_is_lost(alpha):
    with Ear() as ear:
        ring_when_lost()
    assert ear.heard == 1


def test_a_bell_that_nobody_waited_for_yet_is_heard(database):
    def hear():
        listener = Listener(CHANNEL)
        assert listener.listen()
        assert not listener.listen()
        assert not listener.wait(0)
        in_threads(lambda: ask_animal("work"))
        assert listener.wait(20)
        return listener.wait(0)

    assert in_threads(hear) == [False]
