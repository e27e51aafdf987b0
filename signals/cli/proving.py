"""Subcommands of `manage.py audit` for proofs and exports: they make and check them, and print keys."""

import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from fleetprompt.cli.console import OperatorCommand, progress
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.tenants.context import in_tenant
from signals.audit.publishing import exports, proofs
from signals.audit.sealing import keys
from signals.audit.sealing.keys import PublicKeys
from signals.audit.verifying import verification
from signals.cli.options import answer, opened
from signals.personal import commitments, disclose


def proof(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print a proof that a signal is in the log, as JSON."""
    pk = parse_uuid(options["signal"])
    if pk is None:
        raise CommandError(f"SIGNAL: expected a signal's id; got {options['signal'][:80]!r}")
    with in_tenant(options["tenant"]):
        command.print_json(proofs.prove(pk))


def check_proof(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Check a proof with a public key alone; no database is needed."""
    with opened("FILE", options["file"]) as file:
        found = proofs.check(file.read(exports.MAX_LINE_BYTES), _public_keys(options))
    event, seal = found["event"], found["seal"]["head"]
    text = (
        f"The proof holds: {event['type']} {event['id']}, recorded {event['recordedtime']}, is at place "
        f"{found['index']} of seal {seal['number']} of tenant {seal['tenant']}, sealed {seal['sealed_at']}."
    )
    clear = disclose(event["data"], found.get("personal"))
    values = {key: clear[key] for key in commitments(event["data"])}
    text += "".join(f"\n{key}: {value}" for key, value in values.items())
    row = {"event": event, "personal": values, "index": found["index"], "seal": seal}
    answer(command, options, row, text)


def export(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Write the sealed signals as JSON Lines of CloudEvents, with their seals, signed."""
    with in_tenant(options["tenant"]), progress("Exporting", verification.expected()) as advance:
        lines = exports.export(advance=advance)
        if options["output"] == "-":
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
            return
        size = _write(Path(options["output"]), lines)
    row = {"tenant": options["tenant"], "file": options["output"], "bytes": size}
    answer(command, options, row, f"Wrote {options['output']}, {size:,} bytes.")


def check_export(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Check an export with a public key alone; no database is needed."""
    with opened("FILE", options["file"]) as file:
        lines = iter(partial(file.readline, exports.MAX_LINE_BYTES + 1), b"")
        found = exports.check(lines, _public_keys(options))
    pruned = f", seals 1–{found.pruned_seals} without events: pruned" if found.pruned_seals else ""
    erased = f", personal values of {found.erased:,} erased" if found.erased else ""
    text = (
        f"The export holds: {found.signals:,} signals in {found.seals:,} seals of tenant {found.tenant}"
        f"{pruned}{erased}, exported {found.exported_at}."
    )
    answer(command, options, asdict(found), text)


def public_key(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print the public key of the key that signs, with which others check what was signed."""
    key = keys.private_key().public
    answer(command, options, {"public_key": str(key), "id": key.id}, str(key))


def generate_key(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print a new private key for the setting AUDIT_KEY; it is not stored."""
    private = keys.generate()
    public = keys.parse_private(private, "the new key").public
    row = {"private_key": private, "public_key": str(public), "id": public.id}
    answer(command, options, row, f"AUDIT_KEY={private}")
    if options["format"] != "json":
        command.stderr.write(f"Its public key: {public}\nIts id: {public.id}")


def _public_keys(options: dict[str, Any]) -> PublicKeys:
    return keys.public_keys(map(_key_text, options["public_key"]), "--public-key")


def _key_text(given: str) -> str:
    """Return the key in a file, or the text itself where it is no file."""
    path = Path(given)
    try:
        return path.read_text() if path.is_file() else given
    except (OSError, ValueError):
        return given


def _write(path: Path, lines: Iterable[bytes]) -> int:
    """Write a file that gets its name when it is complete; return its size in bytes."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
            try:
                draft.writelines(lines)
                draft.flush()
                os.fsync(draft.fileno())
                Path(draft.name).replace(path)
            finally:
                Path(draft.name).unlink(missing_ok=True)
            return draft.tell()
    except OSError as error:
        raise CommandError(f"--output: {path}: {error.strerror}") from None
