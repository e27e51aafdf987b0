"""Pruning removes whole seals of old signals, and hides no other deletion."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres.owner import as_owner
from signals import bus
from signals.audit import pruning
from signals.audit.publishing import exports
from signals.audit.sealing import heads, keys, locks, sealer
from signals.audit.verifying import verification
from signals.models import Pruning, Seal, SealEntry, Signal
from tests.signals.audit.attacks import dump, emit, ids, load, unguarded
from tests.support import TESTER, in_threads

PRUNE = ("audit", "prune", "--tenant", "alpha")


@pytest.fixture
def moments(alpha):
    """Seal three signals four times; give the times between, as text."""
    found = []
    for _ in range(4):
        emit(3)
        sealer.seal()
        found.append(
            heads.timestamp(Signal.objects.latest("recorded_at").recorded_at + timedelta(microseconds=1))
        )
    return found


def prune(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*PRUNE, *arguments, stdout=out)
    return out.getvalue()


def findings() -> list[tuple[str, int | None]]:
    return [(finding.what, finding.seal) for finding in verification.verify().findings]


def test_only_whole_seals_go_and_verification_says_what_was_pruned(moments, capsys):
    before = ids()
    assert prune("--before", moments[1], "--dry-run") == "Would remove the 6 signals of seals 1–2.\n"
    assert ids() == before
    almost = heads.timestamp(Signal.objects.get(pk=before[8]).recorded_at)
    assert prune("--before", almost, "--yes") == "Removed the 6 signals of seals 1–2; the seals are kept.\n"
    assert ids()[:6] == before[6:]
    assert Seal.objects.count() == 4
    assert SealEntry.objects.count() == 6
    said = Signal.objects.get(name="audit.pruned")
    assert (said.payload["last_seal"], said.payload["signals"]) == (2, 6)
    assert sealer.seal().signals == 1
    report = verification.verify()
    assert report.findings == []
    assert (report.seals, report.signals, report.pruned_seals, report.pruned_signals) == (5, 7, 2, 6)
    call_command("audit", "verify", "--tenant", "alpha")
    assert "seals 1–2, 6 signals recorded before" in capsys.readouterr().out
    found = json.loads(prune("--before", moments[3], "--yes", "--format", "json"))
    assert found == {"tenant": "alpha", "pruned": True, "first_seal": 3, "last_seal": 4, "signals": 6}
    assert findings() == []
    assert prune("--before", moments[3], "--yes").startswith("No seal has only signals")
    contents = exports.check(exports.export(), {(key := keys.private_key().public).id: key})
    assert (contents.signals, contents.pruned_seals, contents.seals) == (1, 4, 5)


def test_one_seal_is_called_one(moments):
    assert prune("--before", moments[0], "--dry-run") == "Would remove the 3 signals of seal 1.\n"


def test_an_unknown_actor_is_refused_before_anything_is_asked(moments, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(CommandError, match=r"--actor: this tenant has no active user .* 'nobody'"):
        prune("--before", moments[0], "--actor", "user:nobody")
    assert Signal.objects.count() == 12


def test_everything_may_be_pruned_and_emitting_goes_on(moments):
    prune("--before", "2100-01-01T00:00Z", "--yes")
    assert findings() == []
    emit(2)
    sealer.seal()
    assert findings() == []


def test_what_does_not_fit_is_not_pruned(moments):
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET payload = '{}' WHERE id = %s", [ids()[4]])
    with pytest.raises(CommandError, match="nothing was pruned, because something does not fit: signal"):
        prune("--before", moments[2], "--yes")
    assert Signal.objects.count() == 12
    prune("--before", moments[0], "--yes")
    assert Signal.objects.count() == 10


def test_nobody_answers_and_nothing_is_pruned(moments, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("alph\n"))
    with pytest.raises(CommandError, match=r"Not pruned\."):
        prune("--before", moments[2])
    with pytest.raises(CommandError, match="--before: expected a time"):
        prune("--before", "yesterday", "--yes")
    assert Signal.objects.count() == 12


def test_nothing_is_pruned_while_somebody_reads(moments):
    def try_it():
        with pytest.raises(CommandError, match="another process verifies or exports"):
            prune("--before", moments[2], "--yes")

    with locks.reading():
        assert in_threads(try_it) == [None]


def test_a_plan_that_is_out_of_date_is_refused(moments):
    from signals.cli.options import moment

    before = moment("--before", moments[1])
    planned = pruning.plan(before)
    pruning.prune(planned, before, actor=TESTER)
    with pytest.raises(Refused, match="meanwhile"):
        pruning.prune(planned, before, actor=TESTER)


def test_nothing_is_pruned_when_that_cannot_be_put_on_record(moments):
    from signals.cli.options import moment

    bus.emit("audit.pruned", dedupe_key="audit.pruned:alpha:1", actor=TESTER)
    before = moment("--before", moments[1])
    with pytest.raises(Refused, match=r"audit\.pruned:alpha:1"):
        pruning.prune(pruning.plan(before), before, actor=TESTER)
    assert (Signal.objects.count(), Pruning.objects.count()) == (13, 0)


FORGED = {
    "a seal after the pruned ones": "DELETE FROM signals_signal WHERE id IN"
    " (SELECT signal_id FROM signals_sealentry WHERE seal = 3)",
    "its entries too": "WITH gone AS (DELETE FROM signals_sealentry WHERE seal = 3 RETURNING signal_id)"
    " DELETE FROM signals_signal WHERE id IN (SELECT signal_id FROM gone)",
    "the record stretched": "UPDATE signals_pruning SET last_seal = 3",
    "the record's hash, too": "UPDATE signals_pruning SET last_seal = 3, last_hash = '0'",
    "the record's time": "UPDATE signals_pruning SET before = before + interval '1 day'",
    "the record removed": "DELETE FROM signals_pruning",
    "a second record": "INSERT INTO signals_pruning SELECT 2, previous, key, signature, 3, last_hash,"
    " signals, before, pruned_at, transaction FROM signals_pruning",
}


@pytest.mark.parametrize("what", FORGED)
def test_no_deletion_hides_behind_a_pruning(moments, what):
    prune("--before", moments[1], "--yes")
    assert findings() == []
    with unguarded() as cursor:
        cursor.execute(FORGED[what])
    assert findings() != []


def test_pruned_signals_that_come_back_are_found(moments):
    with unguarded() as cursor:
        backup = dump(cursor)
    prune("--before", moments[1], "--yes")
    with unguarded() as cursor:
        kept = dump(cursor)
        load(cursor, {**backup, "signals_pruning": kept["signals_pruning"]})
    assert findings()[0] == ("entries", 1)
    with unguarded() as cursor:
        cursor.execute("DELETE FROM signals_sealentry WHERE seal < 3")
    assert findings()[0] == ("inserted", 1)


DELETES = [
    "DELETE FROM signals_signal WHERE id IN (SELECT signal_id FROM signals_sealentry WHERE seal = 2)",
    "DELETE FROM signals_sealentry WHERE seal = 2",
    "DELETE FROM signals_signal WHERE id NOT IN (SELECT signal_id FROM signals_sealentry)",
]


@pytest.mark.parametrize("statement", DELETES)
def test_the_trigger_lets_go_only_of_what_the_record_of_the_same_transaction_covers(moments, statement):
    emit(1)
    record = "INSERT INTO signals_pruning VALUES (%s, '', '', '', 1, '', 0, now(), now(), %s)"
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(record, [1, 1])
        with transaction.atomic():
            cursor.execute("SELECT pg_current_xact_id()::text::bigint")
            cursor.execute(record, [2, cursor.fetchone()[0]])
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                cursor.execute(statement)
            cursor.execute("DELETE FROM signals_signal WHERE id = %s", [ids()[0]])
        with pytest.raises(DatabaseError, match="append-only"):
            cursor.execute("DELETE FROM signals_signal WHERE id = %s", [ids()[0]])
    assert Pruning.objects.count() == 2
    assert Signal.objects.count() == 12
