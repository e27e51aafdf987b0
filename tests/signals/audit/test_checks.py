"""Checks of sealing: keys, checkpoints, the horizon, unsealed signals."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleetprompt.health.checkup import known_tenants
from fleetprompt.tenants.models import Tenant
from signals.audit import checks
from signals.audit.sealing import sealer
from signals.audit.verifying import verification
from signals.models import Signal
from tests.checks import found
from tests.signals.audit.attacks import emit, unguarded
from tests.support import owner_cursor

NOBODY = 65534


def age():
    """Let all signals of the tenant be older than they may wait, and seals' horizons have been held."""
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET recorded_at = recorded_at - interval '20 minutes'")
        cursor.execute("UPDATE signals_seal SET horizon = horizon - interval '40 minutes'")


@pytest.mark.parametrize("check", [checks.key, checks.folder, checks.complete, checks.unsealed])
def test_a_log_that_is_sealed_is_fine(alpha, check):
    emit(3)
    sealer.seal()
    age()
    assert found(check) == {}


def test_no_key_with_debug_off(settings):
    settings.AUDIT_KEY, settings.AUDIT_KEY_FILE = "", None
    finding = found(checks.key)["signals.E010"]
    assert finding.msg.startswith("signals are not sealed: AUDIT_KEY")
    assert "audit generate-key" in finding.hint


def test_in_development_a_look_makes_no_key(settings, tmp_path):
    settings.AUDIT_KEY, settings.AUDIT_KEY_FILE = "", tmp_path / "audit.key"
    assert found(checks.key) == {}
    assert not settings.AUDIT_KEY_FILE.exists()


def test_in_development_verifying_makes_no_key(alpha, settings, tmp_path):
    emit(1)
    sealer.seal()
    settings.AUDIT_KEY, settings.AUDIT_KEY_FILE = "", tmp_path / "audit.key"
    assert "unknown key" in verification.verify().findings[0].text
    assert "unknown key" in found(checks.newest)["signals.E012"].msg
    assert not settings.AUDIT_KEY_FILE.exists()


def test_sessions_that_hide_what_they_do_hold_the_horizon(alpha):
    with owner_cursor() as other:
        other.execute("SET track_activities = off")
        finding = found(checks.complete)["signals.W011"]
    assert "1 database sessions run with track_activities off" in finding.msg
    assert finding.hint.startswith("End them; until then")


class TestUnsealed:
    """Signals that were recorded a while ago."""

    def test_a_young_one_may_wait(self, alpha):
        emit(1)
        assert found(checks.unsealed) == {}

    @pytest.mark.parametrize("sealed", [0, 2])
    def test_an_old_one_names_its_tenant(self, alpha, sealed):
        if sealed:
            emit(sealed)
            sealer.seal()
        emit(1)
        age()
        oldest = Signal.objects.latest("recorded_at").recorded_at
        finding = found(checks.unsealed)["signals.W012"]
        assert finding.obj == ("alpha",)
        assert f"the oldest since {oldest:%Y-%m-%d %H:%M:%S}" in finding.msg
        assert "audit seal --all-tenants" in finding.hint
        sealer.seal()
        assert found(checks.unsealed) == {}

    def test_a_suspended_tenant_does_not_take_part(self, alpha):
        emit(1)
        age()
        Tenant.objects.filter(pk=alpha.pk).update(status=Tenant.Status.SUSPENDED)
        try:
            assert found(checks.unsealed) == {}
        finally:
            Tenant.objects.filter(pk=alpha.pk).update(status=Tenant.Status.ACTIVE)

    def test_tenants_share_statements(self, database):
        tenants = known_tenants()
        with CaptureQueriesContext(connection) as one:
            found(checks.unsealed, tenants=dict(list(tenants.items())[:1]))
        with CaptureQueriesContext(connection) as all_of_them:
            found(checks.unsealed, tenants=tenants)
        assert len(tenants) > 1
        assert len(all_of_them) == len(one)


class TestFolder:
    """Where checkpoints are written, and whose it is."""

    @pytest.fixture
    def folder(self, settings):
        """A folder that everybody may write, with a file of checkpoints."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o777)
            (folder / "alpha@20260101T000000.000000Z.jsonl").write_text("")
            settings.AUDIT_FOLDER = folder
            yield folder
            folder.chmod(0o777)

    def test_one_that_is_not_there_yet_is_made_when_sealing(self, folder, settings):
        settings.AUDIT_FOLDER = folder / "not" / "there"
        with as_another_user():
            assert found(checks.folder) == {}
        folder.chmod(0o555)
        with as_another_user():
            assert f"{folder}/not/there (in {folder})" in found(checks.folder)["signals.W010"].msg

    def test_one_that_this_user_may_not_write(self, folder):
        folder.chmod(0o555)
        with as_another_user():
            finding = found(checks.folder)["signals.W010"]
        assert finding.msg.endswith(f"cannot be written by this user: {folder}")
        assert "AUDIT_FOLDER" in finding.hint

    def test_a_file_of_somebody_else(self, folder):
        [file] = folder.iterdir()
        file.chmod(0o666)
        with as_another_user():
            assert found(checks.folder) == {}
        file.chmod(0o444)
        with as_another_user():
            assert str(file) in found(checks.folder)["signals.W010"].msg

    def test_one_that_is_a_file(self, folder, settings):
        [settings.AUDIT_FOLDER] = folder.iterdir()
        assert list(found(checks.folder)) == ["signals.W010"]


@contextmanager
def as_another_user():
    """Have no rights beyond the files' own for a block, also where the tests run as root."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(me)
