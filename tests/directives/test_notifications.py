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


class Receiver:
    """Listens on a connection of its own, in a thread of its own, and counts."""

    def __init__(self, channel=CHANNEL):
        self.received, self._channel = 0, channel
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._receive)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        # This thread may have notified just now, for the test before.
        time.sleep(INTERVAL_SECONDS)
        return self

    def __exit__(self, *exception):
        # Earlier notifications are received before this one.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, 'over')", [self._channel])
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _receive(self):
        try:
            Listener(self._channel).listen()
            self._ready.set()
            for notification in connection.connection.notifies(timeout=20):
                if notification.payload == "over":
                    break
                self.received += 1
        finally:
            connection.close()


def test_a_request_notifies_once_it_is_committed(database):
    with Receiver() as receiver, in_tenant("alpha"):
        ask_animal("work")
    assert receiver.received == 1


def test_many_requests_of_one_transaction_notify_once(database):
    with Receiver() as receiver, in_tenant("alpha"), transaction.atomic():
        for number in range(20):
            ask_animal("work", str(number))
    assert receiver.received == 1


def test_each_transaction_notifies_unless_the_last_notification_was_just_now(database):
    with Receiver() as receiver, in_tenant("alpha"):
        for number in range(3):
            time.sleep(INTERVAL_SECONDS)
            ask_animal("work", str(number))
    assert receiver.received == 3
    with Receiver() as receiver:
        began = time.monotonic()
        for _ in range(100):
            with transaction.atomic():
                notify_on_commit(CHANNEL)
        took = time.monotonic() - began
    assert 1 <= receiver.received <= 1 + took / INTERVAL_SECONDS


def test_what_is_rolled_back_does_not_notify_and_the_next_transaction_does(database):
    with Receiver() as receiver, in_tenant("alpha"), transaction.atomic():
        ask_animal("work")
        transaction.set_rollback(True)
    assert receiver.received == 0
    with Receiver() as receiver, in_tenant("alpha"):
        ask_animal("work")
    assert receiver.received == 1


def test_a_savepoint_that_is_rolled_back_cancels_only_its_own_notification(database):
    with Receiver() as receiver, in_tenant("alpha"), transaction.atomic():
        ask_animal("work", "kept")
        with transaction.atomic():
            ask_animal("work", "lost")
            transaction.set_rollback(True)
    assert receiver.received == 1
    with Receiver() as receiver, in_tenant("alpha"), transaction.atomic():
        with transaction.atomic():
            ask_animal("work", "lost, first")
            transaction.set_rollback(True)
        ask_animal("work", "kept, then")
    assert receiver.received == 1


def test_each_thread_notifies(database):
    with Receiver() as receiver:
        in_threads(*[lambda: ask_animal("work")] * 4)
    assert receiver.received == 4


def test_a_wake_up_for_later_does_not_notify(database):
    with Receiver() as receiver, in_tenant("alpha") as tenant:
        adapter.wake(tenant, after=60)
    assert receiver.received == 0


def test_clusters_of_another_name_are_not_notified(database):
    with Receiver("directives.other") as receiver, in_tenant("alpha"):
        ask_animal("work")
    assert receiver.received == 0


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
def test_a_commit_by_hand_does_not_notify_and_is_not_refused(alpha):
    with Receiver() as receiver:
        transaction.set_autocommit(False)
        try:
            adapter.wake(active_tenant())
            assert synchronous_commit() == "on", "whatever else commits is waited for"
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
    assert (receiver.received, messages()) == (0, 1)


def test_an_aborted_transaction_neither_notifies_nor_hides_its_error(alpha):
    def wake_and_fail():
        with transaction.atomic():
            adapter.wake(active_tenant())
            connection.cursor().execute("SELECT 1/0")

    with Receiver() as receiver, pytest.raises(DataError, match="division by zero"):
        wake_and_fail()
    assert (receiver.received, messages()) == (0, 0)


def lose_session():
    connection.connection.close()


def notify_when_lost():
    with transaction.atomic():
        transaction.on_commit(lose_session)
        notify_on_commit(CHANNEL)


def test_a_failed_notification_is_ignored(alpha, caplog):
    with Receiver() as receiver:
        with one_session():
            notify_when_lost()
        assert not caplog.records
        connection.close()
    assert receiver.received == 0


def test_a_notification_uses_a_new_connection_when_the_old_one_is_lost(alpha):
    with Receiver() as receiver:
        notify_when_lost()
    assert receiver.received == 1


def test_a_notification_before_the_wait_is_received(database):
    def receive():
        listener = Listener(CHANNEL)
        assert listener.listen()
        assert not listener.listen()
        assert not listener.wait(0)
        in_threads(lambda: ask_animal("work"))
        assert listener.wait(20)
        return listener.wait(0)

    assert in_threads(receive) == [False]
