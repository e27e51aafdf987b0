"""Checkpoints: empty files, the owner of the folder, and the doctor's report of verifications."""

import io
import json
import os
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from fleetprompt.tenants.context import in_tenant
from signals.audit import checks
from signals.audit.sealing import checkpoints, sealer
from signals.audit.verifying import outcomes, verification
from signals.audit.verifying.outcomes import Outcome
from tests.checks import found
from tests.signals.audit.attacks import emit, make_log, unguarded
from tests.signals.audit.test_checks import as_another_user
from tests.support import owner_cursor


def verify(*arguments: str) -> tuple[str, str]:
    """Return what `audit verify` prints, and its error."""
    out = io.StringIO()
    try:
        call_command("audit", "verify", "--tenant", "alpha", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


class TestCopies:
    """What `--checkpoints` is given."""

    @pytest.fixture
    def copy(self, alpha, tmp_path):
        """A copy of the checkpoints of a log of two seals."""
        make_log()
        copy = tmp_path / "copy.jsonl"
        copy.write_bytes(checkpoints.path(alpha).read_bytes())
        return copy

    def test_a_whole_one_is_fine(self, copy):
        out, error = verify("--checkpoints", str(copy))
        assert (error, "knows seals up to" in out) == ("", False)

    @pytest.mark.parametrize("text", [b"", b"no line at all", b"\0" * 100, b'{"head":{"kind":"seal"'])
    def test_one_without_a_checkpoint_is_refused(self, copy, text):
        copy.write_bytes(text)
        out, error = verify("--checkpoints", str(copy))
        assert error == f"--checkpoints: {copy} has no checkpoint: it is empty, or cut off"
        assert "everything is as it was sealed" not in out

    @pytest.mark.parametrize(
        "text", [b"garbled\n", b"{}\n", b"\n", b"\xff\xfe\n", b"[" * 70_000 + b"\n", b"0" * 200_000]
    )
    def test_one_that_is_garbled_is_found(self, copy, text):
        copy.write_bytes(text)
        out, error = verify("--checkpoints", str(copy))
        assert "is no checkpoint: the file was changed" in out
        assert error

    def test_one_that_is_cut_says_how_far_it_goes(self, copy):
        first, second = copy.read_bytes().splitlines(keepends=True)
        copy.write_bytes(first + second[:40])
        out, error = verify("--checkpoints", str(copy))
        assert f"{copy} knows seals up to 1 of 2." in out
        assert error == ""
        [report] = json.loads(verify("--checkpoints", str(copy), "--format", "json")[0])
        assert (report["seals"], report["checkpointed"]) == (2, 1)
        copy.write_bytes(second)
        assert "lacks seal 1" in verify("--checkpoints", str(copy))[0]

    def test_one_of_another_tenant_is_found(self, copy):
        connection.set_schema_to_public()
        with in_tenant("beta") as beta:
            emit(1)
            sealer.seal()
            other = checkpoints.path(beta)
        out, error = verify("--checkpoints", str(other))
        assert f"{other} has checkpoints of another tenant than alpha" in out
        assert error

    def test_what_cannot_be_read_is_refused(self, copy):
        assert (
            f"--checkpoints: {copy.parent}: Is a directory" in verify("--checkpoints", str(copy.parent))[1]
        )
        copy.chmod(0)
        copy.parent.chmod(0o755)
        with as_another_user():
            try:
                readable = os.access(copy, os.R_OK, effective_ids=True)
                error = verify("--checkpoints", str(copy))[1]
            except PermissionError:  # The folders above are the test runner's own.
                pytest.skip("the temporary folder is closed to others")
        assert readable or "Permission denied" in error

    def test_this_machines_own_file_when_it_is_empty(self, copy, alpha):
        checkpoints.path(alpha).write_bytes(b"")
        out, error = verify()
        assert "There are no checkpoints on this machine" in out
        assert error == ""


class TestFolder:
    """Two databases do not write in one folder."""

    @pytest.fixture
    def other(self, alpha):
        """The folder belongs to another database."""
        emit(1)
        sealer.seal()
        emit(1)
        with owner_cursor() as cursor:
            cursor.execute(
                "UPDATE public.django_migrations SET applied = applied + interval '1 us'"
                " WHERE app = 'tenants' AND name = '0001_initial'"
            )
        yield checkpoints.path(alpha)
        with owner_cursor() as cursor:
            cursor.execute(
                "UPDATE public.django_migrations SET applied = applied - interval '1 us'"
                " WHERE app = 'tenants' AND name = '0001_initial'"
            )

    def test_a_folder_of_another_one_is_left_as_it_is(self, other):
        before = other.read_bytes()
        done = sealer.seal()
        assert done.signals == 1
        assert not done.agrees
        assert other.read_bytes() == before

    def test_verification_and_the_doctor_tell(self, other):
        out, error = verify()
        assert "has the checkpoints of another database" in out
        assert error
        assert "set AUDIT_FOLDER" in found(checks.owner)["signals.E011"].msg

    def test_a_copy_may_be_compared_with_all_the_same(self, other, tmp_path):
        copy = other.rename(tmp_path / "copy.jsonl")
        assert verify("--checkpoints", str(copy))[1] == ""

    def test_a_folder_of_its_own_is_taken(self, other, settings, tmp_path):
        settings.AUDIT_FOLDER = tmp_path / "own"
        assert sealer.seal().agrees
        assert verify()[1] == ""
        assert found(checks.owner) == {}

    def test_that_a_database_was_replaced_may_be_acknowledged(self, other):
        call_command(
            "audit", "acknowledge", "--tenant", "alpha", "--reason", "moved", "--yes", stdout=io.StringIO()
        )
        assert other.exists()
        assert verify()[1] == ""
        assert found(checks.owner) == {}

    @pytest.mark.parametrize("left", [None, ""])
    def test_a_folder_that_nobody_has_claimed_goes_on(self, alpha, left):
        emit(1)
        sealer.seal()
        checkpoints.mark().unlink()
        if left is not None:
            checkpoints.mark().write_text(left)
        assert verify()[1] == ""
        emit(1)
        assert sealer.seal().agrees
        assert checkpoints.mark().read_text().endswith("Z\n")


class TestVerified:
    """The doctor says when the last verification was, and how it went."""

    def test_nothing_is_said_of_a_tenant_without_seals(self, alpha):
        verify()
        assert found(checks.verified) == {}

    def test_never(self, alpha):
        emit(1)
        sealer.seal()
        note = found(checks.verified)["signals.I013"]
        assert note.msg.startswith("signals were never verified on this machine")
        assert note.obj == ("alpha",)
        with unguarded() as cursor:
            cursor.execute("UPDATE signals_seal SET sealed_at = sealed_at - interval '3 days'")
        assert found(checks.verified)["signals.W013"].msg.startswith("signals were never verified")

    def test_a_while_ago(self, alpha):
        make_log()
        verify()
        note = found(checks.verified)["signals.I013"]
        assert f"verified last, on {timezone.now():%Y-%m-%d}" in note.msg
        at = timezone.now() - timedelta(days=3)
        outcomes.keep(alpha, Outcome(at))
        warning = found(checks.verified)["signals.W013"]
        assert f"verified last, on {at:%Y-%m-%d %H:%M}" in warning.msg
        assert "audit verify --all-tenants" in warning.hint

    def test_in_a_time_to_come(self, alpha):
        make_log()
        outcomes.keep(alpha, Outcome(timezone.now() + timedelta(days=30)))
        warning = found(checks.verified)["signals.W013"]
        assert "which has not come yet" in warning.msg
        assert warning.obj == ("alpha",)

    def test_a_forged_signal_is_an_error_once_it_was_found(self, alpha):
        signals = make_log()
        with unguarded() as cursor:
            cursor.execute("UPDATE signals_signal SET payload = '{}' WHERE id = %s", [signals[3]])
        assert "signals.I013" in found(checks.verified)
        verify()
        finding = found(checks.verified)["signals.E013"]
        assert finding.obj == ("alpha",)
        assert f"signal {signals[3]} (forum.post.hidden) was changed" in finding.msg
        out = io.StringIO()
        connection.set_schema_to_public()
        with pytest.raises(CommandError):
            call_command("doctor", "--format", "json", stdout=out)
        said = json.loads(out.getvalue())
        assert not said["healthy"]
        assert "signals.E013" in [row["id"] for row in said["findings"]]

    @pytest.mark.parametrize(
        "text", ["", "{}", "[]", '{"at": "2026-01-01"}', "\xff", '{"at": 1, "findings": []}', "[" * 100_000]
    )
    def test_an_outcome_that_cannot_be_read_is_none(self, alpha, text):
        emit(1)
        sealer.seal()
        outcomes.path(alpha).write_text(text)
        assert "never verified" in found(checks.verified)["signals.I013"].msg

    def test_an_outcome_that_cannot_be_kept_is_no_reason_to_fail(self, alpha, capsys):
        make_log()
        outcomes.path(alpha).mkdir()
        assert verify()[1] == ""
        assert "The doctor will not know of this" in capsys.readouterr().err

    def test_it_goes_with_its_tenant(self, database):
        from fleetprompt.tenants.provisioning import create_tenant, delete_tenant

        tenant = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
        with in_tenant("harbor"):
            emit(1)
            sealer.seal()
            call_command("audit", "verify", "--tenant", "harbor", stdout=io.StringIO())
        assert outcomes.last(tenant).findings == 0
        delete_tenant("harbor")
        assert outcomes.last(tenant) is None

    def test_verifying_less_than_all_keeps_nothing(self, alpha):
        make_log()
        verification.verify(last=1)
        assert outcomes.last(alpha) is None
