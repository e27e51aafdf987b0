"""Checks of what keeps signals as they are: triggers in every tenant, and the rights of the role."""

from collections.abc import Iterable, Iterator

from django.core import checks

from fleetprompt.checkup import Findings, Tenants, Where, ask, database, grouped
from fleetprompt.postgres import guard
from fleetprompt.tenants.checks.tables import complete
from signals.triggers import Trigger, expected

_TRIGGERS = """
    SELECT nspname, relname, tgname, tgtype::int, tgenabled::text, btrim(prosrc, E' \\n\\t')
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE NOT tgisinternal AND nspname = ANY(%s) AND relname = ANY(%s)
"""
_Found = dict[tuple[str, str], tuple[Trigger, str]]
_FIRING = ("O", "A")
"""How `pg_trigger.tgenabled` says that it works in a normal session."""


@database("signals cannot be changed")
def triggers(tenants: Tenants) -> Findings:
    """Compare every tenant's triggers with those that the migrations make."""
    ready = complete(tenants)
    wanted = expected()
    found: dict[str, _Found] = {schema: {} for schema in ready}
    for schema, table, name, when, enabled, body in ask(
        _TRIGGERS, list(ready), [trigger.table for trigger in wanted]
    ):
        found[schema][table, name] = Trigger(table, name, when, body), enabled
    wrong = {slug: tuple(_wrong(wanted, found[schema])) for schema, slug in ready.items()}
    for faults, where in grouped({slug: faults for slug, faults in wrong.items() if faults}):
        yield checks.Error(
            f"what is append-only can be changed: {'; '.join(what for what, _ in faults)}",
            hint="As the tables' owner, in the tenant's schema (SET search_path = org_…): "
            f"{' '.join(mend for _, mend in faults)} Then find out who changed them.",
            obj=where,
            id="signals.E001",
        )


@database("the program's role cannot change signals")
def rights(tenants: Tenants) -> Findings:
    """Ask what the connected role could do to append-only tables, or to what guards them."""
    for weakness in guard.weaknesses():
        where = Where(tenants[schema] for schema in weakness.schemas if schema in tenants)
        if where or not weakness.schemas:
            yield checks.Warning(
                weakness.text,
                hint="Use two database roles, one that owns the tables and one that the program connects "
                "as (docs/operations.md), and run `manage.py migrate_schemas`.",
                obj=where or None,
                id="signals.W001",
            )


def _wrong(wanted: Iterable[Trigger], found: _Found) -> Iterator[tuple[str, str]]:
    """Give what is wrong with triggers, and the statement that mends it."""
    for trigger in sorted(wanted):
        known, enabled = found.get((trigger.table, trigger.name), (None, ""))
        if known is None:
            yield f"{trigger.name} is missing", trigger.sql
        elif enabled not in _FIRING:
            mend = f"ALTER TABLE {trigger.table} ENABLE TRIGGER {trigger.name};"
            yield f"{trigger.name} is disabled", mend
        elif known.when != trigger.when:
            yield f"{trigger.name} is another one than the migrations make", trigger.sql
        elif trigger.body and known.body != trigger.body:
            yield (
                f"{trigger.name} calls another function than the migrations make",
                f"{trigger.sql} (CREATE OR REPLACE the function first, as the app's migrations have it.)",
            )
