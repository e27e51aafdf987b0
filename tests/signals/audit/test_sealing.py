"""Sealing: batches, horizons, concurrent emitters and sealers, unusual rows, keys."""

import io
import json
import threading
from datetime import timedelta
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from fleetprompt.errors import Refused
from fleetprompt.postgres.owner import as_owner
from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.audit.format import events
from signals.audit.sealing import checkpoints, horizon, keys, locks, sealer, stored
from signals.audit.verifying import verification
from signals.models import Seal, SealEntry, Signal
from tests.signals.audit.attacks import copy, emit, ids, unguarded
from tests.support import TESTER, in_threads, meanwhile, owner_cursor, thinned


def sealed() -> list[tuple[int, int, str]]:
    entries = SealEntry.objects.order_by("seal", "index").values_list("seal", "index", "signal_id")
    return [(seal, index, str(pk)) for seal, index, pk in entries]


def intact() -> bool:
    return verification.verify().finding_count == 0


def test_signals_are_sealed_once_in_batches_in_their_order(alpha, monkeypatch):
    monkeypatch.setattr(sealer, "MAX_SEALED", 4)
    emit(10)
    done = sealer.seal()
    assert (done.seals, done.signals, done.obstacle) == ([1, 2, 3], 10, "")
    assert [pk for _, _, pk in sealed()] == ids()
    assert [seal for seal, _, _ in sealed()] == [1] * 4 + [2] * 4 + [3] * 2
    assert [index for _, index, _ in sealed()] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    # A full seal claims no more than it covers; the last one covers everything.
    assert [seal.horizon for seal in Seal.objects.all()[:2]] == [
        Signal.objects.all()[n].recorded_at for n in (4, 8)
    ]
    assert Seal.objects.get(number=3).horizon > Signal.objects.latest("recorded_at").recorded_at
    assert sealer.seal().seals == []
    emit(1)
    assert sealer.seal(batches=1).seals == [4]
    assert intact()


def test_nothing_is_written_when_nothing_is_new(alpha):
    done = sealer.seal()
    assert (done.seals, done.signals) == ([], 0)
    assert not Seal.objects.exists()
    assert not checkpoints.path(alpha).exists()


def test_an_empty_seal_says_that_nothing_happened_for_long(alpha, monkeypatch):
    emit(2)
    sealer.seal()
    assert sealer.seal().seals == [], "it has not been quiet for long"
    monkeypatch.setattr(sealer, "EMPTY_SEAL_AFTER", timedelta(0))
    done = sealer.seal()
    assert (done.seals, done.signals) == ([2], 0)
    first, quiet = Seal.objects.order_by("number")
    assert quiet.horizon > first.horizon
    assert intact()
    with unguarded() as cursor:
        copy(1, f"'{first.horizon.isoformat()}'")(cursor, ids())
    assert not intact(), "nothing can be slipped in between"


def test_a_batch_may_hold_back_the_rest_for_the_next_minute(alpha, monkeypatch):
    monkeypatch.setattr(sealer, "MAX_SEALED", 2)
    emit(5)
    assert sealer.seal(batches=2).signals == 4
    assert intact()
    assert sealer.seal().signals == 1


def test_a_second_sealer_does_nothing(alpha):
    emit(1)
    with transaction.atomic():
        locks.wait_for_sealing()
        [done] = in_threads(sealer.seal)
        assert done.busy
        assert not done.seals
    assert sealer.seal().seals == [1]


def test_a_signal_that_commits_late_is_in_the_next_seal_and_no_alarm(alpha):
    start, end = threading.Event(), threading.Event()

    def late():
        with transaction.atomic():
            emit(1)
            start.set()
            assert end.wait(20)

    with meanwhile(late):
        assert start.wait(20)
        bus.emit("a.b", dedupe_key="other", actor=TESTER)
        first = sealer.seal()
        assert first.signals == 1
        begun = Seal.objects.get(number=1).horizon
        assert begun <= Signal.objects.get(dedupe_key="other").recorded_at
        assert intact()
        end.set()
    assert intact()
    late_one = Signal.objects.exclude(dedupe_key="other").get()
    assert begun <= late_one.recorded_at < Seal.objects.get(number=1).sealed_at
    assert sealer.seal().signals == 1
    assert Seal.objects.get(number=2).horizon > late_one.recorded_at
    assert intact()


@pytest.mark.parametrize("step", thinned([3, 1], every=2))
def test_a_transaction_may_begin_and_end_between_any_statements_of_a_sealer(alpha, step):
    """Begin and emit after one statement, commit after another one or after the seal; for all pairs in the
    long run.

    The statements are those up to the one that reads the signals, and the next.
    """
    statements: list[str] = []
    emit(1)
    with connection.execute_wrapper(_after_each(lambda number, sql: statements.append(sql))):
        sealer.seal()
    [reading] = [number for number, sql in enumerate(statements) if "FROM signals_signal" in sql]
    assert reading > 5
    for begin in range(0, reading + 1, step):
        for end in range(begin, reading + 3, step):
            _seal_around(begin, end)
            assert sealer.seal().signals <= 1
    assert intact()
    assert len(sealed()) == Signal.objects.count() == len(set(sealed()))


def _seal_around(begin: int, end: int) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def emitter():
        with transaction.atomic():
            bus.emit("a.b", dedupe_key=f"{begin} {end}", actor=TESTER)
            begun.set()
            assert go_on.wait(20)

    thread = threading.Thread(target=lambda: in_threads(emitter))

    def happen(number: int, sql: str) -> None:
        if number == begin:
            thread.start()
            assert begun.wait(20)
        if number == end:
            go_on.set()
            thread.join()

    bus.emit("a.b", dedupe_key=f"other {begin} {end}", actor=TESTER)
    with connection.execute_wrapper(_after_each(happen)):
        sealer.seal()
    # What is not committed yet is no alarm either.
    assert intact(), (begin, end)
    go_on.set()
    thread.join()


def _after_each(function):
    """Return a wrapper that calls the function with number and SQL of each statement after it."""
    numbers = count()

    def wrapper(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "search_path" not in sql:
            function(next(numbers), sql)
        return result

    return wrapper


def test_a_signal_gets_its_time_in_the_one_statement_that_inserts_it(alpha):
    with CaptureQueriesContext(connection) as queries:
        bus.record([bus.fact("a.b", dedupe_key="1", actor=TESTER)])
    assert len([query for query in queries if "search_path" not in query["sql"]]) == 1
    with transaction.atomic():
        bus.record([bus.fact("a.b", dedupe_key="2", actor=TESTER)])
        with connection.cursor() as cursor:
            cursor.execute("SELECT now() < recorded_at FROM signals_signal WHERE dedupe_key = '2'")
            assert cursor.fetchone() == (True,)


def test_emitting_does_not_wait_for_a_sealer_nor_a_sealer_for_emitting(alpha):
    emit(2)
    with as_owner(), transaction.atomic():
        locks.wait_for_sealing()
        connection.cursor().execute("LOCK TABLE signals_seal, signals_sealentry, signals_pruning")
        assert in_threads(lambda: emit(1)) == [None]


def test_the_horizon_is_exact_when_nothing_is_in_flight(alpha):
    with transaction.atomic():
        emit(1)
        before = Signal.objects.get().recorded_at
    found = horizon.look()
    assert found.obstacle == ""
    assert found.at > before


def test_a_session_that_shows_nothing_holds_the_horizon(alpha):
    emit(1)
    sealer.seal()
    first = Seal.objects.get().horizon
    with owner_cursor() as other:
        other.execute("SET track_activities = off")
        emit(1)
        assert "track_activities" in sealer.seal().obstacle
        assert Seal.objects.get(number=2).horizon == first
        assert intact()


def test_a_hidden_session_holds_the_horizon(alpha):
    with owner_cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS audit_stranger")
        cursor.execute("CREATE ROLE audit_stranger")
        cursor.execute(f"GRANT audit_stranger TO {connection.settings_dict['USER']}")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE audit_stranger")
            done, ready = threading.Event(), threading.Event()
            with meanwhile(lambda: [ready.set(), done.wait(20)]):
                assert ready.wait(20)
                found = horizon.look()
                done.set()
        assert found.at is None
        assert "pg_read_all_stats" in found.obstacle
    finally:
        with owner_cursor() as cursor:
            cursor.execute("DROP ROLE audit_stranger")


ODD = {
    "numbers": ("payload", json.dumps({"a": 10**40, "b": 2**63, "c": 1.25, "d": [1e300, 5e-324]})),
    "many digits": ("payload", '{"a": ' + "7" * 100_000 + "}"),
    "depth": ("payload", '{"a": ' + "[" * 3000 + "]" * 3000 + "}"),
    "a list": ("payload", "[1, null]"),
    "a scalar": ("metadata", "3"),
    "keys beyond U+FFFF": (
        "payload",
        json.dumps({"\U0001d11e": 1, "\uffee": 2, "a": 3}, ensure_ascii=False),
    ),
    "control characters": ("actor_label", "\x01\x7f\u2028\uffff\n"),
    "no name": ("name", ""),
    "a source that is no URI": ("source", " /%é\n"),
    "infinity": ("occurred_at", "infinity"),
    "minus infinity": ("occurred_at", "-infinity"),
    "before Christ": ("occurred_at", "4713-01-01 00:00:00Z BC"),
    "far away": ("occurred_at", "294276-12-31 23:59:59.999999Z"),
    "recorded at infinity": ("recorded_at", "infinity"),
}


def test_any_row_that_the_database_can_hold_is_sealed_and_verified(alpha):
    columns = [field.column for field in Signal._meta.concrete_fields]
    with connection.cursor() as cursor:
        for number, (column, value) in enumerate(ODD.values()):
            values = {**dict.fromkeys(columns, ""), "member_id": None, "personal": None}
            values |= {
                "id": f"00000000-0000-7000-8000-{number:012}",
                "dedupe_key": str(number),
                "name": "a.b",
            }
            values |= {"payload": "{}", "metadata": "{}", "actor_type": "user"}
            values |= {"occurred_at": "2026-01-01Z", "recorded_at": "2026-01-01Z", column: value}
            cursor.execute(
                f"INSERT INTO signals_signal VALUES ({', '.join(['%s'] * len(columns))})",
                [values[name] for name in columns],
            )
        cursor.execute(f"SELECT {events.COLUMNS} FROM signals_signal AS s")
        forms = [events.event(row, "alpha") for row in cursor.fetchall()]
    assert len(set(forms)) == len(ODD)
    assert sealer.seal().signals == len(ODD)
    assert intact()
    assert sealer.seal().signals == 0


def test_an_event_has_every_column(alpha):
    emit(1)
    signal = Signal.objects.get()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {events.COLUMNS} FROM signals_signal AS s")
        found = json.loads(events.event(cursor.fetchone(), "alpha"))
    assert found == {
        "specversion": "1.0",
        "id": str(signal.id),
        "type": "forum.post.hidden",
        "source": "/alpha/tests",
        "subject": "forum.post:0",
        "time": signal.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "recordedtime": signal.recorded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "datacontenttype": "application/json",
        "data": {"number": 0, "text": "café"},
        "metadata": '{"m":1}',
        "dedupekey": "0",
        "actortype": "system",
        "actorid": "tester",
        "subjecttype": "forum.post",
        "subjectid": "0",
        "correlationid": "c",
        "causationid": "d",
    }


STATEMENTS = [
    f"{verb} {table}{rest}"
    for table in ("signals_seal", "signals_sealentry", "signals_pruning")
    for verb, rest in (("UPDATE", " SET {column} = {column}"), ("DELETE FROM", ""), ("TRUNCATE", ""))
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_database_refuses_to_change_the_log(alpha, statement):
    emit(1)
    sealer.seal()
    column = "seal" if "sealentry" in statement else "number"
    with as_owner(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO signals_pruning"
            " VALUES (1, '', '', '', 0, '', 0, now(), now(), pg_current_xact_id()::text::bigint)"
        )
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(statement.format(column=column))
        transaction.set_rollback(True)


def test_entries_that_are_there_before_their_seal_are_refused_in_words(alpha):
    emit(1)
    sealer.seal()
    with unguarded() as cursor:
        cursor.execute("DELETE FROM signals_seal")
        copy(0, "clock_timestamp()")(cursor, ids())
    with pytest.raises(Refused, match="run audit verify"):
        sealer.seal()


def test_a_crash_before_the_checkpoint_is_no_alarm_and_leaves_no_hole(alpha, monkeypatch):
    emit(1)
    sealer.seal()
    with monkeypatch.context() as broken:
        broken.setattr(checkpoints, "append", lambda tenant: True)
        emit(1)
        sealer.seal()
    assert intact()
    file = checkpoints.path(alpha)
    file.write_bytes(file.read_bytes() + b'{"head":{"cut o')
    assert intact()
    emit(1)
    sealer.seal()
    assert [line.head["number"] for line in checkpoints.read(file)] == [1, 2, 3]
    assert intact()


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:50] + b"x" + text[50:], lambda text: text.split(b"\n", 1)[1]]
)
def test_a_checkpoint_file_that_was_changed_is_found(alpha, spoil):
    for _ in range(2):
        emit(1)
        sealer.seal()
    file = checkpoints.path(alpha)
    file.write_bytes(spoil(file.read_bytes()))
    [finding] = verification.verify().findings
    assert finding.what == "checkpoints"


def test_two_writers_of_checkpoints_write_each_seal_once(alpha, monkeypatch):
    monkeypatch.setattr(sealer, "MAX_SEALED", 1)
    monkeypatch.setattr(stored, "CHUNK_SEALS", 2)
    emit(7)
    file = checkpoints.path(alpha)
    sealer.seal()
    file.unlink()
    assert in_threads(*[lambda: checkpoints.append(alpha)] * 3) == [True] * 3
    assert [line.head["number"] for line in checkpoints.read(file)] == list(range(1, 8))


def test_without_a_key_sealing_says_so(alpha, settings):
    settings.AUDIT_KEY = ""
    settings.AUDIT_KEY_FILE = None
    with pytest.raises(keys.KeyMissing, match="AUDIT_KEY: expected a private key"):
        sealer.seal()


def test_a_key_may_be_exchanged_when_the_old_one_stays_known(alpha, settings):
    emit(1)
    sealer.seal()
    old = str(keys.private_key().public)
    settings.AUDIT_KEY = keys.generate()
    emit(1)
    sealer.seal()
    report = verification.verify()
    assert "unknown key" in report.findings[0].text
    settings.AUDIT_PUBLIC_KEYS = [old]
    assert intact()
    # Who only verifies needs no private key.
    settings.AUDIT_PUBLIC_KEYS = [old, str(keys.private_key().public)]
    settings.AUDIT_KEY, settings.AUDIT_KEY_FILE = "", None
    assert intact()


def test_the_development_key_is_made_once_and_for_its_owner_only(alpha, settings, tmp_path):
    settings.AUDIT_KEY, settings.AUDIT_KEY_FILE = "", tmp_path / "folder" / "audit.key"
    found = in_threads(*[lambda: str(keys.private_key().public)] * 4)
    assert len(set(found)) == 1
    assert settings.AUDIT_KEY_FILE.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in settings.AUDIT_KEY_FILE.parent.iterdir()] == ["audit.key"]


def test_acknowledging_is_on_record_and_the_only_thing_that_ends_the_alarm(alpha, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    emit(2)
    sealer.seal()
    file = checkpoints.path(alpha)
    with unguarded() as cursor:
        for table in ("signals_signal", "signals_seal", "signals_sealentry"):
            cursor.execute(f"DELETE FROM {table}")
    arguments = ["audit", "acknowledge", "--tenant", "alpha", "--reason", "the disk broke"]
    emit(3)
    assert not sealer.seal().agrees
    assert not intact()
    with pytest.raises(CommandError, match="nobody answered"):
        call_command(*arguments)
    assert not intact()
    call_command(*arguments, "--yes")
    assert f"{file.name}.acknowledged-" in capsys.readouterr().out
    assert intact()
    signal = Signal.objects.get(name="audit.acknowledged")
    assert signal.payload["reason"] == "the disk broke"
    assert (signal.payload["first_seal"], signal.payload["last_seal"]) == (1, 1)
    with pytest.raises(CommandError, match="nothing to acknowledge"):
        call_command(*arguments, "--yes")


def test_a_tenant_that_is_made_anew_has_checkpoints_of_its_own(database):
    from fleetprompt.tenants.provisioning import create_tenant, delete_tenant

    for _ in range(2):
        tenant = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
        with in_tenant("harbor"):
            emit(1)
            sealer.seal()
            assert intact()
        delete_tenant("harbor")
        assert not checkpoints.path(tenant).exists()


def test_honest_emitters_sealers_and_verifiers_together(alpha):
    """A short one; `python -m tests.signals.audit.stress` goes on for as long as one likes."""
    from tests.signals.audit.stress import stress

    assert stress(seconds=2, emitters=4).findings == []
