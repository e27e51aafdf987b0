"""The subcommand `request`: one directive from the command line, or many from a file."""

import json
import os
import stat
from collections.abc import Iterator
from itertools import count, islice
from typing import IO, Any
from uuid import uuid4

from django.core.management.base import CommandError
from django.utils import timezone

from directives import requests
from directives.cli import rows
from directives.cli.working import after
from directives.errors import InvalidPayload, Refused
from directives.requests import DirectiveRequest
from fleetprompt.cli.console import OperatorCommand, progress, refused_of
from fleetprompt.cli.lines import Lines, LongLine
from fleetprompt.errors import kind
from fleetprompt.tenants.context import in_tenant
from signals.cli.options import actor, moment, opened

MAX_LINES = 500
"""How many lines are requested at once."""
LINE_FIELDS = ("name", "payload", "key", "at", "until", "reason")


def request(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Request what the options say."""
    if options["from"] is not None:
        _request_file(command, options)
    else:
        _request_one(command, options)


def _request_one(command: OperatorCommand, options: dict[str, Any]) -> None:
    if not options["name"]:
        raise CommandError("NAME: expected the directive's name, such as forum.thread.lock")
    payload = _object(options["payload"], "--payload: expected a JSON object")
    at = moment("--at", options["at"]) if options["at"] is not None else None
    until = moment("--until", options["until"]) if options["until"] is not None else None
    if options["for"] is not None:
        until = after(at or timezone.now(), options["for"])
    with in_tenant(options["tenant"]):
        directive, created = requests.request(
            options["name"],
            payload,
            actor=actor(options["actor"]),
            reason=options["reason"],
            idempotency_key=options["key"],
            scheduled_at=at,
            expires_at=until,
            correlation_id=options["correlation_id"],
        )
    command.print_rows(
        [{**rows.directive_row(directive), "created": created}],
        ["id", "name", "status", "created", "idempotency_key", "scheduled_at"],
        style=options["format"],
        empty="",
    )


def _request_file(command: OperatorCommand, options: dict[str, Any]) -> None:
    for option in ("key", "at", "for", "until"):
        if options[option] is not None:
            raise CommandError(f"--{option}: expected in the lines of the file, not with --from")
    correlation_id = options["correlation_id"] or str(uuid4())
    taken: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    with (
        in_tenant(options["tenant"]),
        opened("--from", options["from"]) as file,
        progress("Requesting", _size(file)) as advance,
    ):
        lines = _lines(file, options["name"], advance)
        while batch := list(islice(lines, MAX_LINES)):
            answers = iter(
                requests.request_each(
                    [asked for _, asked in batch if isinstance(asked, DirectiveRequest)],
                    actor=actor(options["actor"]),
                    reason=options["reason"],
                    correlation_id=correlation_id,
                )
            )
            for number, asked in batch:
                answer = asked if isinstance(asked, Refused) else next(answers)
                if isinstance(answer, Refused):
                    refused.append({"line": number, "error": str(answer)})
                else:
                    directive, created = answer
                    taken.append({"line": number, "id": str(directive.id), "created": created})
    _report(command, options, correlation_id, taken, refused)


def _report(
    command: OperatorCommand,
    options: dict[str, Any],
    correlation_id: str,
    taken: list[dict[str, Any]],
    refused: list[dict[str, Any]],
) -> None:
    created = sum(row["created"] for row in taken)
    existing = len(taken) - created
    if options["format"] == "json":
        command.print_json(
            {
                "correlation_id": correlation_id,
                "created": created,
                "existing": existing,
                "directives": taken,
                "refused": refused,
            }
        )
    elif not taken and not refused:
        command.stdout.write("The file has no lines: nothing was requested.")
    else:
        for row in refused:
            command.stderr.write(f"line {row['line']}: {row['error']}")
        command.stdout.write(
            f"{created} requested, {existing} known already, {len(refused)} refused; "
            f"correlation id {correlation_id}."
        )
    if refused:
        raise CommandError(
            refused_of(len(refused), "line", {"requested": created, "known already": existing}, "requested")
        )


def _size(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _lines(
    file: IO[bytes], default_name: str | None, advance: Any
) -> Iterator[tuple[int, DirectiveRequest | Refused]]:
    """Yield the number of each line, and the request in it or what is wrong with it."""
    lines = Lines(file)
    for number in count(1):
        try:
            raw = next(lines)
            advance(len(raw))
            if raw.strip():
                yield number, _parsed(raw, default_name)
        except StopIteration:
            return
        except Refused as refusal:
            yield number, refusal
        except (CommandError, LongLine) as error:
            yield number, InvalidPayload(str(error))


def _parsed(raw: bytes, default_name: str | None) -> DirectiveRequest:
    value = _object(raw, "expected one JSON object")
    if unknown := sorted(set(value) - set(LINE_FIELDS)):
        raise InvalidPayload(f"{unknown[0]}: expected only the fields {', '.join(LINE_FIELDS)}")
    for field in ("name", "key", "at", "until", "reason"):
        if not isinstance(value.get(field, ""), str):
            raise InvalidPayload(f"{field}: expected text; got {kind(value[field])}")
    name = value.get("name") or default_name
    if not name:
        raise InvalidPayload("name: expected in the line, or as NAME for all lines")
    if "payload" not in value:
        raise InvalidPayload("payload: expected an object; it is missing")
    return DirectiveRequest(
        name=name,
        payload=value["payload"],
        reason=value.get("reason", ""),
        idempotency_key=value.get("key"),
        scheduled_at=moment("at", value["at"]) if value.get("at") else None,
        expires_at=moment("until", value["until"]) if value.get("until") else None,
    )


def _object(text: str | bytes, expected: str) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise InvalidPayload(f"{expected}; {error}") from None
    if not isinstance(value, dict):
        raise InvalidPayload(f"{expected}; got {kind(value)}")
    return value
