"""Clocks that were ahead: reports of such a seal, and acknowledgement on the record."""

import io
import json
import re
import shutil
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import hypothesis as h
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import strategies as st

from directives import tasks
from fleetprompt.errors import Refused
from fleetprompt.tenants.context import in_tenant
from signals import bus, sql
from signals.audit import checks, pruning
from signals.audit.publishing import exports
from signals.audit.sealing import checkpoints, keys, sealer
from signals.audit.verifying import acknowledging, verification
from signals.models import Seal, SealEntry, Signal
from tests.checks import found
from tests.signals.audit.attacks import COPY, TABLES, copy, emit, foreign_key, ids, sign_all, unguarded
from tests.support import TESTER

AHEAD = timedelta(days=30)
ACKNOWLEDGE = ("acknowledge", "--tenant", "alpha", "--clock", "--reason", "the clock was ahead", "--yes")


def audit(*arguments: str) -> str:
    out = io.StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


def kinds() -> list[str]:
    return [finding.what for finding in verification.verify().findings]


def seal_ahead(tenant, key=None) -> Seal:
    """Leave what a seal leaves that was made while the clock was ahead."""
    sealer.seal()
    newest = Seal.objects.latest("number")
    with unguarded() as cursor:
        cursor.execute(
            "UPDATE signals_seal SET horizon = horizon + %s, sealed_at = sealed_at + %s WHERE number = %s",
            [AHEAD, AHEAD, newest.number],
        )
        sign_all(cursor, key or keys.private_key())
    checkpoints.path(tenant).unlink()
    checkpoints.append(tenant)
    return Seal.objects.latest("number")


@pytest.fixture
def ahead(alpha):
    """Two seals, the second one under a clock that was ahead, and three signals since."""
    emit(2)
    sealer.seal()
    emit(2)
    seal = seal_ahead(alpha)
    emit(3)
    return seal


def test_whoever_seals_is_told(alpha, ahead):
    connection.set_schema_to_public()
    with pytest.raises(CommandError, match=r"alpha: seal 2 claims .* after the database's clock") as error:
        audit("seal", "--all-tenants")
    assert error.value.returncode == 1
    assert "audit acknowledge --clock" in str(error.value)
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("audit", "seal", "--tenant", "alpha", "--format", "json", stdout=out)
    [row] = json.loads(out.getvalue())
    assert row["seals"] == []
    assert "after the database's clock" in row["problem"]
    connection.set_tenant(alpha)
    assert Seal.objects.count() == 2


def test_a_cluster_tells_and_seals_the_others(ahead, caplog):
    connection.set_schema_to_public()
    with in_tenant("beta"):
        emit(1)
    assert tasks.seal() == {"beta": 1}
    assert "the signals of the tenant alpha are not sealed: seal 2 claims" in caplog.text
    assert "after the database's clock" in caplog.text


def test_the_doctor_tells(ahead):
    finding = found(checks.newest)["signals.E012"]
    assert finding.obj == ("alpha",)
    assert "seal 2 claims" in finding.msg
    assert "audit acknowledge --clock" in finding.hint


def test_verification_names_it_and_accuses_nobody(ahead):
    [finding] = verification.verify().findings
    assert (finding.what, finding.seal) == ("clock", 2)
    assert "3 signals since" in finding.text
    with pytest.raises(CommandError):
        audit("verify", "--tenant", "alpha")


def test_what_was_slipped_in_before_the_clock_went_wrong_is_still_found(ahead):
    with unguarded() as cursor:
        copy(1, "recorded_at - interval '1 minute'")(cursor, ids())
    assert kinds() == ["clock", "inserted"]


def test_it_may_be_acknowledged_and_sealing_goes_on(ahead):
    before = ids()[-3:]
    assert "3 signals in seal" not in audit(*ACKNOWLEDGE)
    assert kinds() == []
    assert found(checks.newest) == {}
    taken_back, after = Seal.objects.filter(number__gt=2)
    assert (taken_back.size, after.size) == (0, 4)
    oldest = Signal.objects.get(pk=before[0]).recorded_at
    assert taken_back.horizon <= oldest < after.horizon < ahead.horizon
    said = Signal.objects.get(name="audit.acknowledged")
    assert said.payload["reason"] == "the clock was ahead"
    assert said.payload["clock"]["seal"] == 2
    assert said.payload["clock"]["signals"] == 3
    report = verification.verify()
    assert report.taken_back == [3]
    assert report.complete_until == after.horizon
    assert "seal 3 took back" in audit("verify", "--tenant", "alpha")
    emit(1)
    assert sealer.seal().signals == 1
    assert kinds() == []


def test_after_that_nothing_can_be_slipped_in(ahead):
    audit(*ACKNOWLEDGE)
    for place in (1, -3):
        with unguarded() as cursor:
            copy(place, "recorded_at")(cursor, ids())
        assert kinds() == ["inserted"]
        with unguarded() as cursor:
            cursor.execute("DELETE FROM signals_signal WHERE id = %s", [COPY])


def test_exports_and_prunings_go_on(ahead):
    audit(*ACKNOWLEDGE)
    own = {(key := keys.private_key().public).id: key}
    assert exports.check(exports.export(), own).signals == 8
    before = Signal.objects.latest("recorded_at").recorded_at + timedelta(seconds=1)
    planned = pruning.plan(before)
    assert (planned.last_seal, planned.signals) == (4, 8)
    pruning.prune(planned, before, actor=TESTER)
    sealer.seal()
    assert kinds() == []


def test_it_may_be_noticed_when_that_time_has_come(ahead):
    """Since 30 days have passed, sealing went on by itself; what was recorded in between was left out."""
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_seal SET horizon = clock_timestamp() WHERE number = 2")
        sign_all(cursor, keys.private_key())
    checkpoints.path(connection.tenant).unlink()
    emit(1)
    assert sealer.seal().signals == 1
    assert kinds() == ["inserted"] * 3
    audit(*ACKNOWLEDGE)
    assert kinds() == []


def test_without_a_wrong_clock_there_is_nothing_to_acknowledge(alpha):
    emit(1)
    sealer.seal()
    emit(1)
    with pytest.raises(CommandError, match="nothing to acknowledge"):
        audit(*ACKNOWLEDGE)
    assert Seal.objects.count() == 1


def test_acknowledging_lost_seals_lets_nothing_in(alpha):
    """A script that acknowledges a restored backup must not cover inserted signals."""
    emit(2)
    sealer.seal()
    sealed = checkpoints.path(alpha).read_bytes()
    emit(2)
    sealer.seal()
    lost = checkpoints.path(alpha).read_bytes()
    with unguarded() as cursor:
        cursor.execute("DELETE FROM signals_seal WHERE number = 2")
        cursor.execute("DELETE FROM signals_sealentry WHERE seal = 2")
        cursor.execute("DELETE FROM signals_signal WHERE dedupe_key IN ('2', '3')")
        copy(0, "recorded_at")(cursor, ids())
    assert sealed != lost
    audit("acknowledge", "--tenant", "alpha", "--reason", "restored", "--yes")
    assert kinds() == ["inserted"]


def test_people_see_what_they_accept(ahead, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    with pytest.raises(CommandError, match="Not acknowledged"):
        call_command("audit", *ACKNOWLEDGE[:-1])
    said = capsys.readouterr().err
    assert "seal 2 claims" in said
    for pk in ids()[-3:]:
        assert pk in said
    assert Seal.objects.count() == 2


def test_a_database_whose_clock_is_ahead_of_this_machine_claims_nothing(alpha, monkeypatch):
    emit(1)
    sealer.seal()
    first = Seal.objects.get()
    monkeypatch.setattr(sql, "CLOCK", "SELECT clock_timestamp() + interval '1 hour'")
    emit(1)
    done = sealer.seal()
    assert done.signals == 1
    assert re.search(r"the database's clock is 3[56]\d\d seconds ahead of this machine's", done.obstacle)
    assert Seal.objects.get(number=2).horizon == first.horizon
    assert "signals.W011" in found(checks.complete)
    monkeypatch.undo()
    emit(1)
    assert sealer.seal().obstacle == ""
    assert kinds() == []


class TestUnknownKey:
    """The newest seal is signed by an unknown key, or does not fit its signature."""

    @pytest.fixture
    def forged(self, alpha):
        emit(2)
        sealer.seal()
        with unguarded() as cursor:
            sign_all(cursor, foreign_key())
        checkpoints.path(alpha).unlink()

    def test_whoever_seals_next_is_told(self, forged, caplog):
        emit(1)
        done = sealer.seal()
        assert done.signals == 1
        assert "seal 1 is signed with an unknown key" in done.problem
        assert "seal 1 is signed with an unknown key" in caplog.text
        assert sealer.seal().problem == ""

    def test_the_command_ends_with_status_one(self, forged):
        emit(1)
        with pytest.raises(CommandError, match="alpha: seal 1 is signed with an unknown key"):
            audit("seal", "--tenant", "alpha")
        assert Seal.objects.count() == 2

    @pytest.mark.parametrize("more", [0, 2])
    def test_the_doctor_tells_also_when_others_came_after_it(self, forged, more):
        for _ in range(more):
            emit(1)
            sealer.seal()
        finding = found(checks.newest)["signals.E012"]
        assert finding.obj == ("alpha",)
        assert "seal 1 is signed with an unknown key" in finding.msg

    def test_a_signature_that_does_not_fit(self, alpha):
        emit(1)
        sealer.seal()
        with unguarded() as cursor:
            cursor.execute("UPDATE signals_seal SET size = 2")
        assert "seal 1 does not fit its signature" in found(checks.newest)["signals.E012"].msg
        emit(1)
        assert "seal 1 does not fit its signature" in sealer.seal().problem


STEPS = st.lists(
    st.sampled_from(["emit", "seal", "ahead", "acknowledge", "set back", "slip in"]), max_size=10
)


@h.settings(max_examples=25, deadline=None, suppress_health_check=list(h.HealthCheck))
@h.given(STEPS)
@h.example(["emit", "ahead", "emit", "acknowledge", "ahead", "emit", "acknowledge", "seal"])
def test_whatever_clocks_did_an_acknowledgement_leaves_a_log_that_fits(alpha, steps):
    """Every signal is in exactly one seal then, and what is slipped in after that is found."""
    with unguarded() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")
    shutil.rmtree(settings.AUDIT_FOLDER, ignore_errors=True)
    emit(1)
    sealer.seal()
    for step in steps:
        with suppress(Refused):
            _do(alpha, step)
    with suppress(Refused):
        acknowledging.acknowledge_clock("a clock was wrong", actor=TESTER)
    sealer.seal()
    assert kinds() == []
    entries = SealEntry.objects.values_list("signal_id", flat=True)
    assert sorted(entries) == sorted(Signal.objects.values_list("id", flat=True))
    with unguarded() as cursor:
        copy(0, "recorded_at")(cursor, ids())
    assert kinds() == ["inserted"]


def _do(tenant, step):
    if step == "emit":
        bus.emit("a.b", dedupe_key=str(uuid4()), actor=TESTER)
    elif step == "seal":
        sealer.seal()
    elif step == "ahead":
        seal_ahead(tenant)
    elif step == "acknowledge":
        acknowledging.acknowledge_clock("a clock was ahead", actor=TESTER)
    else:
        # Recorded under a clock that was set back, or inserted: the two cannot be told apart.
        back = "1 hour" if step == "set back" else "1 ms"
        with unguarded() as cursor:
            cursor.execute(
                "INSERT INTO signals_signal SELECT gen_random_uuid(), name, gen_random_uuid()::text,"
                f" payload, metadata, occurred_at, recorded_at - interval '{back}', actor_type, actor_id,"
                " actor_label, subject_type, subject_id, source, correlation_id, causation_id"
                " FROM signals_signal ORDER BY id LIMIT 1"
            )
