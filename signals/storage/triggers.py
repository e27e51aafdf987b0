"""Triggers that every tenant must have: those that migrations of its apps create and do not drop."""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader

from fleetprompt.postgres.queries import fetch_all
from signals import sql

_STATEMENTS = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s+(?P<made>\w+)\s+(?P<when>BEFORE|AFTER)\s+"
    r"(?P<events>.+?)\s+ON\s+(?P<table>\w+)(?P<scope>.*?)EXECUTE\s+(?:FUNCTION|PROCEDURE)\s+(?P<calls>\w+)"
    r"|DROP\s+TRIGGER\s+(?:IF\s+EXISTS\s+)?(?P<dropped>\w+)\s+ON\s+(?P<there>\w+)"
    r"|CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+(?P<function>\w+)\s*\([^)]*\)\s+RETURNS\s+trigger\b.*?"
    r"AS\s+(?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)",
    re.IGNORECASE | re.DOTALL,
)
# Bits of pg_trigger.tgtype.
_ROW, _BEFORE = 1, 2
_EVENTS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}


class Deviation(NamedTuple):
    """A difference from the declaration: a sentence, and its remedy, usually SQL."""

    text: str
    remedy: str


class Trigger(NamedTuple):
    """A trigger of a table.

    Args:
        when: `pg_trigger.tgtype`.
        body: the body of its function; None where the function has settings or rights of its own, with
            which the same text may do something else.
        is_partial: it fires only for some rows (WHEN) or columns (OF).
        sql: the statement that creates it or replaces another one; only of triggers from migrations.
    """

    table: str
    name: str
    when: int
    body: str | None
    is_partial: bool
    sql: str = ""


@cache
def expected() -> frozenset[Trigger]:
    """Return the triggers that all migrations of the tenants' apps leave. Only `RunSQL` is read."""
    made: dict[tuple[str, str], Trigger] = {}
    bodies: dict[str, str] = {}
    for found in (match for statement in _statements() for match in _STATEMENTS.finditer(statement)):
        if found["made"]:
            made[found["table"], found["made"]] = _trigger(found)
        elif found["dropped"]:
            made.pop((found["there"], found["dropped"]), None)
        else:
            bodies[found["function"]] = found["body"].strip()
    return frozenset(one._replace(body=bodies.get(str(one.body), "")) for one in made.values())


def deviations(schemas: Collection[str]) -> dict[str, list[Deviation]]:
    """Return, by schema of a tenant with all migrations, the triggers that are missing or differ.

    It takes one statement.
    """
    wanted = sorted(expected(), key=lambda trigger: trigger[:2])
    rows = fetch_all(sql.TRIGGERS, list(schemas), [trigger.table for trigger in wanted])
    found = {(schema, table, name): rest for schema, table, name, *rest in rows}
    return {
        schema: [
            Deviation(f"{trigger.name} {what}", remedy)
            for trigger in wanted
            for what, remedy in _wrong(trigger, found.get((schema, trigger.table, trigger.name)))
        ]
        for schema in schemas
    }


def _wrong(trigger: Trigger, found: Sequence[Any] | None) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a trigger, if anything is, and the remedy."""
    if found is None:
        yield "is missing", trigger.sql
        return
    when, body, is_partial, is_enabled = found
    if not is_enabled:
        yield "is disabled", f"ALTER TABLE {trigger.table} ENABLE TRIGGER {trigger.name};"
    elif (when, is_partial) != (trigger.when, trigger.is_partial):
        yield "differs from the one that the migrations make", trigger.sql
    elif trigger.body and body != trigger.body:
        remedy = "(CREATE OR REPLACE the function first, as the app's migrations have it.)"
        yield "calls another function than the migrations make", f"{trigger.sql} {remedy}"


def _statements() -> Iterator[str]:
    labels = {config.label for config in apps.get_app_configs() if config.name in settings.TENANT_APPS}
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    for app, name in sorted(known):
        if app in labels:
            for operation in known[app, name].operations:
                if isinstance(operation, RunSQL):
                    parts = operation.sql if isinstance(operation.sql, list | tuple) else [operation.sql]
                    yield from (part if isinstance(part, str) else part[0] for part in parts)


def _trigger(found: "re.Match[str]") -> Trigger:
    """Return the trigger of a CREATE TRIGGER; its body is the name of the function so far."""
    scope, events, when = found["scope"].upper(), found["events"].upper(), found["when"].upper()
    bits = sum(bit for event, bit in _EVENTS.items() if event in events)
    bits += _ROW * bool(re.search(r"\bROW\b", scope)) + _BEFORE * (when == "BEFORE")
    is_partial = bool(re.search(r"\bOF\b", events) or re.search(r"\bWHEN\b", scope))
    # Where the trigger is missing, OR REPLACE does the same as CREATE TRIGGER.
    made = re.sub(r"^CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", " ".join(found[0].split()), flags=re.I)
    return Trigger(found["table"], found["made"], bits, found["calls"], is_partial, f"{made}();")
