"""Commands `manage.py audit` and the schedule: output for people and programs, and the exit status."""

import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django_q.models import Schedule

from directives import tasks
from directives.queueing import clusters
from fleetprompt.tenants.context import active_schema, in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.sealing import keys, locks, sealer
from signals.audit.verifying import verification
from signals.models import Seal
from tests.signals.audit.attacks import emit, make_log, unguarded
from tests.support import in_threads, owner_cursor


def audit(*arguments: str) -> str:
    out = io.StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def two_tenants(database):
    with in_tenant("alpha"):
        emit(3)
    with in_tenant("beta"):
        emit(1)


def test_sealing_and_verifying_say_what_they_did(two_tenants):
    assert audit("seal", "--all-tenants") == "alpha: 3 signals in seal 1.\nbeta: 1 signal in seal 1.\n"
    with in_tenant("alpha"):
        emit(2)
    lines = audit("verify", "--all-tenants").splitlines()
    assert re.fullmatch(
        r"alpha: 3 signals in 1 seal, complete up to 20.* UTC; 2 not sealed yet\.", lines[0]
    )
    assert lines[1] == "alpha: everything is as it was sealed."
    assert lines[3] == "beta: everything is as it was sealed."
    assert audit("seal", "--tenant", "beta") == "beta: nothing is new.\n"
    [row] = json.loads(audit("seal", "--tenant", "alpha", "--format", "json"))
    assert row == {
        "tenant": "alpha",
        "seals": [2],
        "signals": 2,
        "busy": False,
        "obstacle": "",
        "problem": "",
        "agrees": True,
    }
    with in_tenant("alpha"):
        assert Seal.objects.count() == 2


def test_nothing_sealed_yet_is_no_alarm(alpha):
    assert "Nothing is sealed yet." in audit("verify", "--tenant", "alpha")


def test_what_is_found_is_named_and_ends_with_status_one(alpha):
    signals = make_log()
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET payload = '{}' WHERE id <> %s", [signals[0]])
    out = io.StringIO()
    with pytest.raises(CommandError, match="the signals of alpha are not as they were sealed") as error:
        call_command("audit", "verify", "--tenant", "alpha", stdout=out)
    assert error.value.returncode == 1
    found = [line for line in out.getvalue().splitlines() if line.startswith("FOUND")]
    # One is in no seal yet, and has personal values that it does not commit to any more.
    assert len(found) == 13 + 1
    assert found[0] == (
        f"FOUND: signal {signals[1]} (forum.post.hidden) was changed; known by seal 1, place 1."
    )


def test_many_findings_are_counted(alpha):
    emit(30)
    audit("seal", "--tenant", "alpha")
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET source = 'x'")
    report = verification.verify()
    assert report.finding_count == 30
    assert len(report.findings) == 20


def test_checkpoints_may_be_kept_elsewhere(alpha, tmp_path, settings):
    make_log()
    [file] = settings.AUDIT_FOLDER.glob("alpha@*.jsonl")
    copy = file.rename(tmp_path / "copy.jsonl")
    with unguarded() as cursor:
        for table in ("signals_sealentry", "signals_seal", "signals_signal"):
            cursor.execute(f"DELETE FROM {table}")
    emit(1)
    audit("seal", "--tenant", "alpha")
    assert "everything is as it was sealed" in audit("verify", "--tenant", "alpha")
    with pytest.raises(CommandError):
        audit("verify", "--tenant", "alpha", "--checkpoints", str(copy))
    with pytest.raises(CommandError, match=r"--checkpoints: .*no: No such file"):
        audit("verify", "--tenant", "alpha", "--checkpoints", str(tmp_path / "no"))


def test_without_checkpoints_it_says_what_would_not_be_noticed(alpha, settings):
    make_log()
    [file] = settings.AUDIT_FOLDER.glob("alpha@*.jsonl")
    file.unlink()
    assert "There are no checkpoints on this machine" in audit("verify", "--tenant", "alpha")


def test_keys_are_printed(settings):
    made = json.loads(audit("generate-key", "--format", "json"))
    settings.AUDIT_KEY = made["private_key"]
    assert json.loads(audit("public-key", "--format", "json")) == {
        "public_key": made["public_key"],
        "id": made["id"],
    }
    assert audit("public-key") == made["public_key"] + "\n"
    assert audit("generate-key").startswith("AUDIT_KEY=")
    settings.AUDIT_KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    with pytest.raises(CommandError, match="AUDIT_KEY: expected an Ed25519 private key") as error:
        audit("public-key")
    assert "AAAA" not in str(error.value)


def test_keys_may_be_pem_also_in_one_line(settings):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in (pem, pem.replace("\n", "\\n")):
        settings.AUDIT_KEY = text
        assert keys.public_keys([public], "X") == {(own := keys.private_key().public).id: own}


def test_the_schedule_seals_every_tenant_each_minute_suspended_ones_too(two_tenants):
    found = Schedule.objects.get(name=clusters.SEAL)
    assert (found.func, found.minutes, found.repeats) == ("directives.tasks.seal", 1, -1)
    Tenant.objects.filter(slug="beta").update(status=Tenant.Status.SUSPENDED)
    try:
        assert tasks.seal() == {"alpha": 3, "beta": 1}
        assert tasks.seal() == {}
    finally:
        Tenant.objects.filter(slug="beta").update(status=Tenant.Status.ACTIVE)


def test_two_workers_do_not_both_go_through_the_tenants(two_tenants):
    def sealed_elsewhere():
        connection.set_schema_to_public()
        return tasks.seal()

    with locks.sealing_all() as is_ours:
        assert is_ours
        assert in_threads(sealed_elsewhere) == [{}]
    assert tasks.seal() == {"alpha": 3, "beta": 1}


def test_a_lost_connection_skips_one_tenant_and_not_all(two_tenants, monkeypatch, caplog):
    asked = []

    def break_once(**_options):
        asked.append(active_schema())
        if len(asked) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return sealer.Sealed(signals=1)

    monkeypatch.setattr(sealer, "seal", break_once)
    assert len(tasks.seal()) == 1
    assert sorted(asked) == ["org_alpha", "org_beta"]
    assert "could not be sealed" in caplog.text


def test_a_broken_tenant_keeps_no_other_from_being_sealed(two_tenants, caplog):
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE org_alpha.signals_seal RENAME TO broken")
    try:
        assert tasks.seal() == {"beta": 1}
    finally:
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE org_alpha.broken RENAME TO signals_seal")
    assert "the tenant alpha could not be sealed" in caplog.text


def test_without_a_key_the_schedule_says_so_once(two_tenants, settings, caplog):
    settings.AUDIT_KEY, settings.AUDIT_KEY_FILE = "", None
    tasks._warn_once.cache_clear()
    assert [tasks.seal(), tasks.seal()] == [{}, {}]
    assert caplog.text.count("signals are not sealed: AUDIT_KEY: expected a private key") == 1
