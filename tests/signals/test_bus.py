"""Emitting: one row for each dedupe key, also when emitters compete, and all or nothing."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetprompt.tenants.context import NoActiveTenant, in_tenant
from signals import bus
from signals.models import Signal
from signals.types import ID_LENGTH, KEY_LENGTH, Actor, Subject
from tests.support import TESTER, somebody_waits, wait_until

SUBJECT = Subject("forum.post", "7")


def emit(key="key", name="forum.post.hidden", payload=None, **options):
    return bus.emit(name, payload, **{"dedupe_key": key, "actor": TESTER, **options})


def test_a_signal_is_stored_with_everything_that_was_said(alpha):
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2)))
    signal, created = emit(
        payload={"why": ["spam", 1, None]},
        actor=Actor("user", "3", "Ann"),
        subject=SUBJECT,
        occurred_at=when,
        source="tests",
        correlation_id="all",
        causation_id="cause",
        metadata={"via": "test"},
    )
    assert created
    stored = Signal.objects.get()
    assert stored.pk == signal.pk
    assert (stored.name, stored.dedupe_key) == ("forum.post.hidden", "key")
    assert (stored.payload, stored.metadata) == ({"why": ["spam", 1, None]}, {"via": "test"})
    assert (stored.actor, stored.subject) == (Actor("user", "3", "Ann"), SUBJECT)
    assert (stored.correlation_id, stored.causation_id, stored.source) == ("all", "cause", "tests")
    assert stored.occurred_at == when < stored.recorded_at


def test_without_a_time_it_occurred_when_it_was_recorded(alpha):
    emit()
    stored = Signal.objects.get()
    assert stored.occurred_at == stored.recorded_at
    assert stored.subject is None


def test_emitting_again_gives_the_stored_signal_and_says_so(alpha):
    first = emit(payload={"first": True})
    again = emit(payload={"first": False})
    assert (first.created, again.created) == (True, False)
    assert again.signal.pk == first.signal.pk
    assert again.signal.payload == {"first": True}
    assert Signal.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [{"name": "forum.post.unhidden"}, {"subject": SUBJECT}, {"subject": Subject("forum.post", "8")}],
)
def test_a_key_that_belongs_to_another_fact_is_refused(alpha, other):
    first = emit(subject=None if other.get("subject") == SUBJECT else SUBJECT).signal
    with pytest.raises(
        bus.NotStored, match=r"dedupe_key: key belongs to another fact, forum\.post\.hidden"
    ):
        emit(**{"subject": SUBJECT} | other)
    assert Signal.objects.get().pk == first.pk


def test_one_key_in_two_tenants_is_two_signals(database):
    for slug in ("alpha", "beta"):
        with in_tenant(slug):
            assert emit().created
            assert Signal.objects.count() == 1


def test_it_belongs_to_the_callers_transaction(alpha):
    with transaction.atomic():
        emit()
        transaction.set_rollback(True)
    assert not Signal.objects.exists()


def test_no_tenant_no_signal(database):
    with pytest.raises(NoActiveTenant):
        emit()
    with pytest.raises(NoActiveTenant):
        bus.record([])


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"occurred_at": datetime(2024, 1, 1)}, "occurred_at"),
        ({"occurred_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "occurred_at"),
        ({"occurred_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))}, "occurred_at"),
        ({"occurred_at": "2024-01-01T00:00Z"}, "occurred_at"),
        ({"name": "hidden"}, "name"),
        ({"key": ""}, "dedupe_key"),
        ({"key": "k" * (KEY_LENGTH + 1)}, "dedupe_key"),
        ({"key": "a\x00b"}, "dedupe_key"),
        ({"payload": {"when": datetime(2024, 1, 1, tzinfo=UTC)}}, "payload"),
        ({"metadata": {"number": float("inf")}}, "metadata"),
        ({"source": "s" * 256}, "source"),
        ({"correlation_id": "c" * (ID_LENGTH + 1)}, "correlation_id"),
        ({"correlation_id": "c\nd"}, "correlation_id"),
        ({"causation_id": "c\u2028d"}, "causation_id"),
        ({"key": "c\x85d"}, "dedupe_key"),
        ({"source": "c\rd"}, "source"),
        ({"causation_id": "\ud800"}, "causation_id"),
    ],
)
def test_what_is_not_as_expected_is_refused_by_name(alpha, options, field):
    with pytest.raises(ValidationError, match=f"{field}"):
        emit(**options)
    assert not Signal.objects.exists()


def test_the_longest_key_is_stored_whole(alpha):
    assert emit("k" * KEY_LENGTH).signal.dedupe_key == "k" * KEY_LENGTH


def test_many_at_once_leave_each_key_once_and_the_first_one_wins(alpha):
    known = emit("b").signal
    facts = [bus.fact("forum.post.hidden", dedupe_key=key, actor=TESTER) for key in "abca"]
    assert bus.store(facts) == [facts[1], facts[3]]
    stored = dict(Signal.objects.values_list("dedupe_key", "pk"))
    assert stored == {"a": facts[0].pk, "b": known.pk, "c": facts[2].pk}


@pytest.mark.parametrize("keys", ["ab", "ba", "aa", "b"])
def test_a_record_that_is_not_whole_is_refused_by_its_key_and_rolled_back_by_its_caller(alpha, keys):
    known = emit("b").signal
    facts = [bus.fact("forum.post.hidden", dedupe_key=key, actor=TESTER) for key in keys]
    lost = "b" if "b" in keys else "a"
    with pytest.raises(bus.NotStored, match=f"did not store {lost}, or has it"), transaction.atomic():
        bus.record(facts)
    assert Signal.objects.get().pk == known.pk


def test_signals_of_one_moment_keep_their_order(alpha):
    bus.record([bus.fact("a.b", dedupe_key=str(n), actor=TESTER) for n in range(50)])
    assert list(Signal.objects.values_list("dedupe_key", flat=True)) == [str(n) for n in range(50)]


def test_threads_that_emit_one_key_at_once_make_one_signal(database):
    barrier = threading.Barrier(4, timeout=20)
    emitted = []

    def work():
        with in_tenant("alpha"):
            barrier.wait()
            emitted.append(emit())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(e.created for e in emitted) == [False, False, False, True]
    assert len({e.signal.pk for e in emitted}) == 1
    with in_tenant("alpha"):
        assert Signal.objects.count() == 1


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_who_comes_second_waits_for_the_first_to_commit_or_roll_back(alpha, ending):
    second = []

    def work():
        with in_tenant("alpha"):
            second.append(emit())
        connection.close()

    thread = threading.Thread(target=work)
    with transaction.atomic():
        first = emit()
        thread.start()
        wait_until(somebody_waits, "the second waits for the first")
        assert not second
        transaction.set_rollback(ending == "rollback")
    thread.join()
    assert second[0].created is (ending == "rollback")
    assert (second[0].signal.pk == first.signal.pk) is (ending == "commit")
    assert Signal.objects.count() == 1


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5), max_size=5))
def test_any_batches_of_keys_leave_each_key_once(alpha, batches):
    prefix = str(Signal.objects.count())
    first = {}
    for batch in batches:
        facts = [bus.fact("a.b", dedupe_key=f"{prefix}:{key}", actor=TESTER) for key in batch]
        new = [signal for signal in facts if first.setdefault(signal.dedupe_key, signal.pk) == signal.pk]
        assert bus.store(facts) == [signal for signal in facts if signal not in new]
    stored = Signal.objects.filter(dedupe_key__startswith=f"{prefix}:")
    assert dict(stored.values_list("dedupe_key", "pk")) == first
