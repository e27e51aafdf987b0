"""Which triggers every tenant must have: those that the migrations of its apps make and do not drop."""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations import RunSQL
from django.db.migrations.loader import MigrationLoader

_STATEMENTS = re.compile(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s+(?P<made>\w+)\s+(?P<when>BEFORE|AFTER)\s+"
    r"(?P<events>.+?)\s+ON\s+(?P<table>\w+)(?P<scope>.*?)EXECUTE\s+(?:FUNCTION|PROCEDURE)\s+(?P<calls>\w+)"
    r"|DROP\s+TRIGGER\s+(?:IF\s+EXISTS\s+)?(?P<dropped>\w+)\s+ON\s+(?P<there>\w+)"
    r"|CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+(?P<function>\w+)\s*\([^)]*\)\s+RETURNS\s+trigger\b.*?"
    r"AS\s+(?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)",
    re.IGNORECASE | re.DOTALL,
)
# How PostgreSQL writes it in pg_trigger.tgtype.
_ROW, _BEFORE = 1, 2
_EVENTS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}
_TRIGGERS = """
    SELECT nspname, relname, tgname, tgtype::int,
        CASE WHEN lanname = 'plpgsql' AND proconfig IS NULL AND NOT prosecdef
            THEN btrim(prosrc, E' \\n\\t') END,
        tgqual IS NOT NULL OR tgattr::text <> '', tgenabled::text
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    JOIN pg_language ON pg_language.oid = prolang JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE NOT tgisinternal AND nspname = ANY(%s) AND relname = ANY(%s)
"""
_FIRING = ("O", "A")
"""How `pg_trigger.tgenabled` says that it works in a normal session."""


class Deviation(NamedTuple):
    """What is not as it should be: a sentence, and what mends it, SQL as a rule."""

    text: str
    mend: str


class Trigger(NamedTuple):
    """A trigger: on which table, when, as `pg_trigger.tgtype` says it, and the body of its function.

    The body is None where the function has settings or rights of its own: the same text may do something
    else then. Then whether it fires only for some rows (WHEN) or columns (OF). Those that migrations make
    have the statement that makes one, also where there is another one.
    """

    table: str
    name: str
    when: int
    body: str | None
    is_partial: bool
    sql: str = ""


@cache
def expected() -> frozenset[Trigger]:
    """Return the triggers that are there after all migrations of the tenants' apps.

    Only statements of `RunSQL` are seen.
    """
    made: dict[tuple[str, str], tuple[int, str, bool, str]] = {}
    bodies: dict[str, str] = {}
    for sql in _statements():
        for found in _STATEMENTS.finditer(sql):
            if found["made"]:
                made[found["table"], found["made"]] = (
                    _when(found),
                    found["calls"],
                    _is_partial(found),
                    _sql(found),
                )
            elif found["dropped"]:
                made.pop((found["there"], found["dropped"]), None)
            else:
                bodies[found["function"]] = found["body"].strip()
    return frozenset(
        Trigger(table, name, when, bodies.get(function, ""), is_partial, sql)
        for (table, name), (when, function, is_partial, sql) in made.items()
    )


def deviations(schemas: Collection[str]) -> dict[str, list[Deviation]]:
    """Return, by schema, which of the expected triggers are not there as they should be; one statement.

    Args:
        schemas: of tenants that have all migrations.
    """
    wanted = expected()
    found: dict[str, dict[tuple[str, str], tuple[Trigger, str]]] = {schema: {} for schema in schemas}
    with connection.cursor() as cursor:
        cursor.execute(_TRIGGERS, [list(schemas), [trigger.table for trigger in wanted]])
        for schema, *columns, enabled in cursor.fetchall():
            trigger = Trigger(*columns)
            found[schema][trigger.table, trigger.name] = trigger, enabled
    return {schema: list(_wrong(wanted, known)) for schema, known in found.items()}


def _wrong(
    wanted: Iterable[Trigger], found: dict[tuple[str, str], tuple[Trigger, str]]
) -> Iterator[Deviation]:
    for trigger in sorted(wanted, key=lambda trigger: trigger[:2]):
        known, enabled = found.get((trigger.table, trigger.name), (None, ""))
        if known is None:
            yield Deviation(f"{trigger.name} is missing", trigger.sql)
        elif enabled not in _FIRING:
            mend = f"ALTER TABLE {trigger.table} ENABLE TRIGGER {trigger.name};"
            yield Deviation(f"{trigger.name} is disabled", mend)
        elif (known.when, known.is_partial) != (trigger.when, trigger.is_partial):
            yield Deviation(f"{trigger.name} is another one than the migrations make", trigger.sql)
        elif trigger.body and known.body != trigger.body:
            yield Deviation(
                f"{trigger.name} calls another function than the migrations make",
                f"{trigger.sql} (CREATE OR REPLACE the function first, as the app's migrations have it.)",
            )


def _statements() -> Iterator[str]:
    labels = {config.label for config in apps.get_app_configs() if config.name in settings.TENANT_APPS}
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    for app, name in sorted(known):
        if app in labels:
            for operation in known[app, name].operations:
                if isinstance(operation, RunSQL):
                    parts = operation.sql if isinstance(operation.sql, list | tuple) else [operation.sql]
                    yield from (part if isinstance(part, str) else part[0] for part in parts)


def _when(found: "re.Match[str]") -> int:
    events = sum(bit for event, bit in _EVENTS.items() if event in found["events"].upper())
    row = _ROW if re.search(r"\bROW\b", found["scope"], re.IGNORECASE) else 0
    return row + (_BEFORE if found["when"].upper() == "BEFORE" else 0) + events


def _is_partial(found: "re.Match[str]") -> bool:
    return bool(
        re.search(r"\bOF\b", found["events"], re.IGNORECASE)
        or re.search(r"\bWHEN\b", found["scope"], re.IGNORECASE)
    )


def _sql(found: "re.Match[str]") -> str:
    # Where the trigger is missing, this does the same as CREATE TRIGGER.
    made = " ".join(found[0].split())
    return re.sub(r"^CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", made, flags=re.IGNORECASE) + "();"
