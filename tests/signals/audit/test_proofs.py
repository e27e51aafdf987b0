"""Proofs and exports are valid without a database, until a single byte differs."""

import io
import json
import os
import random
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from fleetprompt.errors import Refused
from fleetprompt.tenants.context import in_tenant
from signals.audit.publishing import exports, proofs
from signals.audit.sealing import keys, sealer
from signals.models import Seal, SealEntry, Signal
from tests.signals.audit.attacks import ERASED, MIDDLE, PERSONAL, emit, make_log, unguarded
from tests.support import empty_tenants

SIZES = range(1, 8)


def own_keys():
    return {(key := keys.private_key().public).id: key}


@pytest.fixture(scope="module")
def evidence(_tenants_exist, django_db_blocker):
    """Seal logs of several sizes; give a proof for each signal, and the export."""
    with django_db_blocker.unblock(), in_tenant("alpha"):
        for size in SIZES:
            emit(size)
            sealer.seal()
        Signal.objects.filter(dedupe_key=str(ERASED)).erase()
        found = [
            json.dumps(proofs.prove(pk)).encode() for pk in Signal.objects.values_list("pk", flat=True)
        ]
        export = list(exports.export())
        empty_tenants()
        connection.close()
    return found, export


def test_every_signal_has_a_proof(evidence):
    proven = [proofs.check(text, own_keys()) for text in evidence[0]]
    assert [(proof["seal"]["head"]["size"], proof["index"]) for proof in proven] == [
        (size, index) for size in SIZES for index in range(size)
    ]


def test_an_export_tells_what_it_holds(evidence):
    found = exports.check(evidence[1], own_keys())
    assert (found.tenant, found.seals, found.signals, found.pruned_seals) == ("alpha", 7, sum(SIZES), 0)
    assert found.erased == 1
    parsed = [json.loads(line) for line in evidence[1]]
    events = [line for line in parsed if "head" not in line and "personal" not in line]
    assert [event["data"]["number"] for event in events] == list(range(sum(SIZES)))
    assert {event["specversion"] for event in events} == {"1.0"}


def test_personal_values_are_proven_as_long_as_they_are_there(evidence):
    for place in PERSONAL:
        proof = proofs.check(evidence[0][place], own_keys())
        data = proof["event"]["data"]
        assert data["reason"].keys() == data["note"].keys() == {"$personal"}
        if place == ERASED:
            assert "personal" not in proof
        else:
            assert {key: value for key, (_, value) in proof["personal"].items()} == {
                "reason": f"Spam {place}",
                "note": {"shared": True, "n": 0},
            }
    assert "personal" not in proofs.check(evidence[0][0], own_keys())


WRONG_OPENINGS = {
    "a value": lambda one: one["reason"].__setitem__(1, "Ham"),
    "a salt": lambda one: one["reason"].__setitem__(0, "A" * 22),
    "two values": lambda one: one.update(reason=one["note"], note=one["reason"]),
    "one removed": lambda one: one.pop("note"),
    "one added": lambda one: one.update(other=one["note"]),
    "no pair": lambda one: one.update(note="text"),
    "a surrogate": lambda one: one["reason"].__setitem__(1, "\ud800"),
}


@pytest.mark.parametrize("wrong", WRONG_OPENINGS)
def test_wrong_personal_values_prove_nothing(evidence, wrong):
    proof = json.loads(evidence[0][MIDDLE])
    WRONG_OPENINGS[wrong](proof["personal"])
    with pytest.raises(proofs.Invalid, match=r"the proof does not hold: .* (changed|missing|commits to)"):
        proofs.check(json.dumps(proof), own_keys())
    lines = [*evidence[1]]
    [at] = [number for number, line in enumerate(lines) if f'"Spam {MIDDLE}"'.encode() in line]
    lines[at] = json.dumps({"personal": proof["personal"]}, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(proofs.Invalid, match=f"line {at + 1}: .*(changed|missing|commits to)"):
        exports.check(lines, own_keys())


@pytest.mark.parametrize("personal", [None, [], "text", {}, 5])
def test_personal_values_that_are_none_prove_nothing(evidence, personal):
    proof = json.loads(evidence[0][MIDDLE]) | {"personal": personal}
    with pytest.raises(proofs.Invalid, match="the proof does not hold"):
        proofs.check(json.dumps(proof), own_keys())


def test_personal_values_of_an_event_without_commitments_prove_nothing(evidence):
    personal = json.loads(evidence[0][MIDDLE])["personal"]
    proof = json.loads(evidence[0][0]) | {"personal": personal}
    with pytest.raises(proofs.Invalid, match="nothing commits to"):
        proofs.check(json.dumps(proof), own_keys())
    opened = json.dumps({"personal": personal}, separators=(",", ":")).encode() + b"\n"
    empty = b'{"personal":{}}\n'
    for at, line in ((0, opened), (1, opened), (0, empty), (1, empty), (len(evidence[1]), empty)):
        with pytest.raises(proofs.Invalid, match=f"line {at + 1}: "):
            exports.check([*evidence[1][:at], line, *evidence[1][at:]], own_keys())


def test_what_does_not_fit_is_neither_proven_nor_exported(alpha):
    signals = make_log()
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET personal = '{}' WHERE id = %s", [signals[MIDDLE]])
    with pytest.raises(Refused, match=r"the value of note is missing, .*: run audit verify"):
        proofs.prove(signals[MIDDLE])
    with pytest.raises(Refused, match=r"the value of note is missing, .*: run audit verify"):
        list(exports.export())


def test_a_checked_proof_shows_the_values(evidence, tmp_path, capsys):
    [public] = own_keys().values()
    for place, reason in ((MIDDLE, f"Spam {MIDDLE}"), (ERASED, "erased")):
        file = tmp_path / "proof.json"
        file.write_bytes(evidence[0][place])
        command = ["audit", "check-proof", str(file), "--public-key", str(public)]
        call_command(*command)
        assert f"\nreason: {reason}\n" in f"{capsys.readouterr().out}"
        call_command(*command, "--format", "json")
        assert json.loads(capsys.readouterr().out)["personal"]["reason"] == reason


def test_another_key_proves_nothing(evidence):
    other = keys.parse_private(keys.generate(), "a new key").public
    with pytest.raises(proofs.Invalid, match="unknown key"):
        proofs.check(evidence[0][0], {other.id: other})
    with pytest.raises(proofs.Invalid, match="unknown key"):
        exports.check(evidence[1], {other.id: other})
    # A key under another's id does not pass either.
    [own] = own_keys()
    with pytest.raises(proofs.Invalid, match="does not fit its signature"):
        proofs.check(evidence[0][0], {own: other})


def test_a_proof_with_one_byte_flipped_proves_nothing_else(evidence):
    text = evidence[0][MIDDLE]
    as_it_is = json.loads(text)
    for place in range(len(text)):
        changed = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        try:
            # What still holds says the very same, such as with a space for a tab.
            assert proofs.check(changed, own_keys()) == as_it_is
        except proofs.Invalid:
            continue


def test_an_export_with_one_byte_flipped_does_not_hold(evidence):
    text = b"".join(evidence[1])
    for place in random.Random(1).sample(range(len(text)), 400):
        changed = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        with pytest.raises(proofs.Invalid):
            exports.check(io.BytesIO(changed), own_keys())


@pytest.mark.parametrize("keep", [slice(0, -1), slice(0, -2), slice(1, None), slice(0, 0), slice(5, -3)])
def test_an_export_without_some_lines_does_not_hold(evidence, keep):
    with pytest.raises(proofs.Invalid):
        exports.check(evidence[1][keep], own_keys())


def test_an_export_with_lines_left_out_doubled_or_exchanged_does_not_hold(evidence):
    lines = evidence[1]
    for place in range(len(lines)):
        for changed in (
            lines[:place] + lines[place + 1 :],
            [*lines[: place + 1], *lines[place:]],
            [*lines[:place], *reversed(lines[place : place + 2]), *lines[place + 2 :]],
        ):
            if changed != lines:
                with pytest.raises(proofs.Invalid):
                    exports.check(changed, own_keys())


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"kind": "fleetprompt.audit.proof"}', b"NaN"]
)
def test_what_is_no_proof_is_refused_in_words(text):
    with pytest.raises(proofs.Invalid, match="no proof"):
        proofs.check(text, own_keys())
    with pytest.raises(proofs.Invalid, match=r"line 1|cut off"):
        exports.check([text + b"\n"] if text else [], own_keys())


def test_a_key_that_stands_twice_is_refused(evidence):
    text = evidence[0][0].replace(b'"event": {', b'"event": {"data": {"number": 7}, ', 1)
    with pytest.raises(proofs.Invalid, match="twice"):
        proofs.check(text, own_keys())


def test_checking_needs_no_database(evidence, tmp_path):
    proof = tmp_path / "proof.json"
    proof.write_bytes(evidence[0][3])
    [public] = own_keys().values()
    done = subprocess.run(
        [sys.executable, "manage.py", "audit", "check-proof", str(proof), "--public-key", str(public)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "The proof holds: forum.post.hidden" in done.stdout


def test_a_file_is_checked_with_a_key_from_a_file(evidence, tmp_path, capsys):
    # No fixture opens the database for this test, so a query would fail.
    export, key = tmp_path / "export.jsonl", tmp_path / "key"
    export.write_bytes(b"".join(evidence[1]))
    [public] = own_keys().values()
    key.write_text(f"{public}\n")
    arguments = ["audit", "check-export", str(export), "--public-key", str(key)]
    call_command(*arguments, "--format", "json")
    assert json.loads(capsys.readouterr().out)["signals"] == sum(SIZES)
    call_command(*arguments)
    assert ", personal values of 1 erased, exported" in capsys.readouterr().out
    export.write_bytes(b"".join(evidence[1][:-1]))
    with pytest.raises(CommandError, match="the export is cut off: it has no signed end"):
        call_command(*arguments)
    with pytest.raises(CommandError, match="--public-key: expected Ed25519 public keys"):
        call_command("audit", "check-export", str(export), "--public-key", "abc")
    with pytest.raises(CommandError, match=r"FILE: .*: No such file"):
        call_command("audit", "check-proof", str(tmp_path / "no"), "--public-key", str(public))


def test_an_export_is_written_whole_or_not_at_all(alpha, tmp_path, capsysbinary):
    signals = make_log()
    file = tmp_path / "export.jsonl"
    call_command("audit", "export", "--tenant", "alpha", "--output", str(file))
    assert exports.check(file.open("rb"), own_keys()).signals == 14
    capsysbinary.readouterr()
    call_command("audit", "export", "--tenant", "alpha")
    assert exports.check(io.BytesIO(capsysbinary.readouterr().out), own_keys()).signals == 14
    whole = file.read_bytes()
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET payload = '{}' WHERE id = %s", [signals[9]])
    with pytest.raises(CommandError, match="seal 2 are not as they were sealed"):
        call_command("audit", "export", "--tenant", "alpha", "--output", str(file))
    assert file.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(CommandError, match="--output"):
        call_command("audit", "export", "--tenant", "alpha", "--output", str(tmp_path / "no" / "file"))


def test_a_signal_without_a_proof_is_refused_in_words(alpha):
    signals = make_log()
    with pytest.raises(Refused, match="no signal"):
        proofs.prove("00000000-0000-7000-8000-000000000000")
    with pytest.raises(Refused, match="in no seal yet"):
        proofs.prove(signals[-1])
    with unguarded() as cursor:
        cursor.execute("UPDATE signals_signal SET payload = '{}' WHERE id = %s", [signals[2]])
    with pytest.raises(Refused, match="run audit verify"):
        proofs.prove(signals[2])
    assert proofs.prove(signals[3])
    with unguarded() as cursor:
        cursor.execute("DELETE FROM signals_seal")
    with pytest.raises(Refused, match="seal 1 is gone"):
        proofs.prove(signals[3])
    with pytest.raises(CommandError, match="SIGNAL: expected"):
        call_command("audit", "proof", "7", "--tenant", "alpha")
    assert SealEntry.objects.exists()
    assert not Seal.objects.exists()
