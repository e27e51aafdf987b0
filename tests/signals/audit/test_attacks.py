"""Attacks on the log: each is found and named, and honest data has no finding."""

import io
import json
import shutil

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.sealing import checkpoints
from signals.models import Signal
from signals.storage.checks import shown, unchanging
from tests.checks import found, other_migration_name
from tests.signals.audit.attacks import (
    ATTACKS,
    FIRST,
    HIDING,
    MIDDLE,
    UNSEALED,
    YOUNGER,
    change,
    dump,
    fit_entries,
    load,
    make_log,
    unguarded,
)
from tests.support import empty_tenants


def verify():
    """Return what `audit verify --format json` prints, and its exit status."""
    out = io.StringIO()
    try:
        call_command("audit", "verify", "--tenant", "alpha", "--format", "json", stdout=out)
        status = 0
    except CommandError as error:
        status = error.returncode
    [report] = json.loads(out.getvalue())
    return report, status


@pytest.fixture(scope="module")
def log(_tenants_exist, django_db_blocker):
    """Seal a log for all tests of this module; give its signals and what brings everything back."""
    with django_db_blocker.unblock():
        with in_tenant("alpha") as tenant:
            signals, file = make_log(), checkpoints.path(tenant)
            with unguarded() as cursor:
                backup = dump(cursor)
            yield signals, backup, tenant.created_at, file.read_bytes()
        empty_tenants()
        connection.close()


@pytest.fixture
def signals(log, django_db_blocker):
    signals, backup, created_at, lines = log
    with django_db_blocker.unblock(), in_tenant("alpha") as tenant:
        yield signals
        with unguarded() as cursor:
            load(cursor, backup)
        Tenant.objects.filter(pk=tenant.pk).update(created_at=created_at)
        tenant.refresh_from_db()
        shutil.rmtree(settings.AUDIT_FOLDER)
        with checkpoints.locked():
            checkpoints.path(tenant).write_bytes(lines)


def test_nothing_is_found_on_honest_signals(signals):
    report, status = verify()
    assert status == 0
    assert report["intact"]
    assert report["findings"] == []
    assert (report["seals"], report["signals"], report["unsealed"]) == (2, 14, 2)
    assert report["erased"] == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.slug)
def test_an_attack_is_found_and_named(signals, attack):
    with unguarded() as cursor:
        attack.run(cursor, signals)
    report, status = verify()
    assert status == 1
    assert not report["intact"]
    first = report["findings"][0]
    assert first["what"] == attack.found
    assert first["seal"] == attack.seal
    if attack.place is not None:
        assert first["signal"] == signals[attack.place]
        assert signals[attack.place] in first["text"]
        # Reordered ones stand at the place of another.
        if attack.seal and attack.found != "reordered":
            assert first["index"] == attack.place - (8 if attack.seal == 2 else 0)
    if attack.signal:
        assert first["signal"] == attack.signal


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("""jsonb_set(personal, '{reason,1}', '"Ham"')""", "the salt or the value of reason was changed"),
        ("personal - 'note'", "the value of note is missing"),
        ("personal || '{\"other\": 1}'", "nothing commits to the value of other"),
        (
            "jsonb_build_object('other', 1, 'note', 2)",
            "the salt or the value of note was changed, nothing commits to the value of other, "
            "the value of reason is missing",
        ),
        ("'[]'", "personal values are no object"),
        ("jsonb_set(personal, '{reason,1}', '1e99999')", "personal values cannot be read"),
    ],
)
def test_a_finding_says_what_is_wrong_with_personal_values(signals, value, said):
    with unguarded() as cursor:
        change(f"personal = {value}", MIDDLE, UNSEALED)(cursor, signals)
    sealed, unsealed = verify()[0]["findings"]
    assert sealed["text"] == (
        f"signal {signals[MIDDLE]} (forum.post.hidden): {said}; known by seal 1, place {MIDDLE}"
    )
    assert unsealed["text"] == (f"signal {signals[UNSEALED]} (forum.post.hidden), in no seal yet: {said}")


def test_wrong_personal_values_do_not_hide_another_attack_on_their_seal(signals):
    with unguarded() as cursor:
        change("personal = '[]'")(cursor, signals)
        change("payload = '{}'", FIRST)(cursor, signals)
        fit_entries(cursor)
    assert [finding["what"] for finding in verify()[0]["findings"]] == ["entries", "personal"]


def test_erasing_breaks_no_seal_and_is_counted(signals):
    assert Signal.objects.filter(pk__in=[signals[MIDDLE], signals[UNSEALED], signals[0]]).erase() == 2
    report, status = verify()
    assert (status, report["findings"], report["erased"]) == (0, [], 3)
    out = io.StringIO()
    call_command("audit", "verify", "--tenant", "alpha", stdout=out)
    assert "alpha: 3 signals had personal values erased.\n" in out.getvalue()


@pytest.mark.parametrize("attack", HIDING, ids=lambda attack: attack.slug)
def test_what_stands_before_a_table_is_found_and_changes_no_row(signals, attack):
    with unguarded() as cursor:
        attack.run(cursor, signals)
    try:
        doctor = {**found(unchanging), **found(shown)}
        report, status = verify()
    finally:
        with unguarded() as cursor:
            cursor.execute(attack.undo)
    assert status == 1
    assert report["findings"][0]["what"] == "tables"
    assert {finding.obj for finding in doctor.values()} <= {("alpha",), ("alpha", "beta")}
    assert doctor
    assert verify()[1] == 0
    assert {**found(unchanging), **found(shown)} == {}


def test_a_migration_that_seems_to_be_missing_switches_nothing_off(signals):
    """Tables cannot be compared with models that they are not made for; the owner could say so of any."""
    with other_migration_name("org_alpha"):
        report, status = verify()
    assert status == 1
    assert "migrations are missing" in report["findings"][0]["text"]


def test_the_program_does_not_see_what_a_policy_hides(signals):
    [attack] = [attack for attack in HIDING if attack.what.startswith("a policy that hides")]
    with in_tenant("alpha"):
        assert Signal.objects.count() == 16
        with unguarded() as cursor:
            attack.run(cursor, signals)
        try:
            assert Signal.objects.count() == 0
        finally:
            with unguarded() as cursor:
                cursor.execute(attack.undo)
        assert Signal.objects.count() == 16


@pytest.mark.parametrize("attack", YOUNGER, ids=lambda attack: attack.slug)
def test_what_is_younger_than_the_newest_seal_is_not_protected(signals, attack):
    with unguarded() as cursor:
        attack.run(cursor, signals)
    assert verify()[1] == 0
