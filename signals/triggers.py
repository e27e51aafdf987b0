"""Which triggers every tenant must have: those that the migrations of its apps make and do not drop."""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
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


class Trigger(NamedTuple):
    """A trigger: on which table, when, as `pg_trigger.tgtype` says it, and the body of its function.

    Those that migrations make have the statement that makes one, also where there is another one.
    """

    table: str
    name: str
    when: int
    body: str
    sql: str = ""


@cache
def expected() -> frozenset[Trigger]:
    """Return the triggers that are there after all migrations of the tenants' apps.

    Only statements of `RunSQL` are seen.
    """
    made: dict[tuple[str, str], tuple[int, str, str]] = {}
    bodies: dict[str, str] = {}
    for sql in _statements():
        for found in _STATEMENTS.finditer(sql):
            if found["made"]:
                made[found["table"], found["made"]] = _when(found), found["calls"], _sql(found)
            elif found["dropped"]:
                made.pop((found["there"], found["dropped"]), None)
            else:
                bodies[found["function"]] = found["body"].strip()
    return frozenset(
        Trigger(table, name, when, bodies.get(function, ""), sql)
        for (table, name), (when, function, sql) in made.items()
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


def _sql(found: "re.Match[str]") -> str:
    # Where the trigger is missing, this does the same as CREATE TRIGGER.
    made = " ".join(found[0].split())
    return re.sub(r"^CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", made, flags=re.IGNORECASE) + "();"
