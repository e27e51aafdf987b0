"""Append-only rows: neither the ORM nor SQL changes or deletes a signal in any tenant."""

import pytest
from django.db import DatabaseError, IntegrityError, connection

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from signals import bus
from signals.models import Pruning, Seal, SealEntry, Signal
from signals.personal import Personal
from signals.storage.append_only import AppendOnlyError
from tests.support import TENANTS, TESTER, owner_cursor

WAYS = {
    "save": lambda signal: signal.save(),
    "delete": lambda signal: signal.delete(),
    "update of all": lambda signal: Signal.objects.update(name="a.b"),
    "update of some": lambda signal: Signal.objects.filter(pk=signal.pk).update(name="a.b"),
    "delete of all": lambda signal: Signal.objects.all().delete(),
    "bulk update": lambda signal: Signal.objects.bulk_update([signal], ["name"]),
    "update or create": lambda signal: Signal.objects.update_or_create(
        pk=signal.pk, defaults={"name": "a.b"}
    ),
}
STATEMENTS = [
    "UPDATE signals_signal SET personal = personal",
    "UPDATE signals_signal SET personal = '{}'",
    "UPDATE signals_signal SET personal = 'null'",
    "UPDATE signals_signal SET personal = jsonb_set(personal, '{reason,1}', 'null')",
    "UPDATE signals_signal SET personal = NULL, name = 'a.b'",
    "UPDATE signals_signal SET personal = NULL, member_id = gen_random_uuid()",
    "UPDATE signals_signal SET personal = NULL, payload = jsonb_set(payload, '{x}', '1.0')",
    "INSERT INTO signals_signal SELECT * FROM signals_signal"
    " ON CONFLICT (dedupe_key) DO UPDATE SET personal = '{}'",
    "UPDATE signals_signal SET payload = '{}'",
    "UPDATE signals_signal SET dedupe_key = dedupe_key",
    "DELETE FROM signals_signal",
    "TRUNCATE signals_signal",
    "TRUNCATE signals_signal CASCADE",
    "INSERT INTO signals_signal SELECT * FROM signals_signal"
    " ON CONFLICT (dedupe_key) DO UPDATE SET name = 'a.b'",
]


REASON = Personal("Spam")
STORED = ("forum.post.hidden", {"x": 1, "reason": REASON.commitment}, {"reason": [REASON.salt, "Spam"]})


def emit(key="key", payload=None):
    payload = {"x": 1, "reason": REASON} if payload is None else payload
    return bus.emit("forum.post.hidden", payload, dedupe_key=key, actor=TESTER).signal


@pytest.fixture
def signal(alpha):
    return emit()


@pytest.mark.parametrize("way", WAYS)
def test_the_orm_refuses(signal, way):
    with pytest.raises(AppendOnlyError, match="append-only"):
        WAYS[way](Signal.objects.get())
    assert _rows() == [STORED]


def test_personal_values_are_erased_once_and_nothing_else(signal):
    emit("other")
    emit("none", {})
    before = list(Signal.objects.values().order_by("dedupe_key"))
    assert Signal.objects.filter(dedupe_key__in=["key", "none"]).erase() == 1
    after = list(Signal.objects.values().order_by("dedupe_key"))
    assert after == [{**before[0], "personal": None}, *before[1:]]
    assert Signal.objects.erase() == 1
    assert Signal.objects.all().erase() == 0
    assert Signal.objects.filter(personal__isnull=True).count() == 3


def test_what_is_erased_stays_erased(signal):
    Signal.objects.erase()
    for value in ("NULL", "'{}'", "'null'"):
        with pytest.raises(DatabaseError, match="signals are append-only"), owner_cursor() as cursor:
            cursor.execute(f"UPDATE signals_signal SET personal = {value}")
    assert _rows() == [(*STORED[:2], None)]


def test_only_signals_have_something_to_erase(alpha):
    for model in (Seal, SealEntry, Pruning):
        with pytest.raises(AppendOnlyError, match="append-only"):
            model.objects.erase()


@pytest.mark.parametrize("slug", TENANTS)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_trigger_refuses_even_the_owner_in_each_tenant(database, slug, statement):
    with in_tenant(slug):
        emit()
        with pytest.raises(DatabaseError, match="signals are append-only"), owner_cursor() as cursor:
            cursor.execute(statement)
        assert _rows() == [STORED]


def test_a_tenant_made_later_has_the_trigger_too(database):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    with in_tenant("harbor"):
        bus.emit("forum.post.hidden", dedupe_key="key", actor=TESTER)
        with pytest.raises(DatabaseError, match="append-only"), owner_cursor() as cursor:
            cursor.execute("DELETE FROM signals_signal")


def test_signals_go_with_their_tenant(database):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    with in_tenant("harbor"):
        bus.emit("forum.post.hidden", dedupe_key="key", actor=TESTER)
    delete_tenant("harbor")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('org_harbor.signals_signal')")
        assert cursor.fetchone() == (None,)


@pytest.mark.parametrize(
    ("column", "value"), [("dedupe_key", "key"), ("actor_type", "robot"), ("actor_type", "")]
)
def test_a_raw_insert_meets_the_constraints(signal, column, value):
    columns = {"id": "gen_random_uuid()", "dedupe_key": "'other'"}
    kept = "name, payload, metadata, actor_id, actor_label, subject_type, subject_id, source"
    chosen = {**columns, "actor_type": "actor_type", column: f"'{value}'"}
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO signals_signal ({', '.join(chosen)}, {kept}, correlation_id, causation_id)"
            f" SELECT {', '.join(chosen.values())}, {kept}, '', '' FROM signals_signal"
        )
    assert len(_rows()) == 1


def _rows():
    return list(Signal.objects.values_list("name", "payload", "personal"))
