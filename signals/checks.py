"""Checks of what keeps signals as they are: triggers in every tenant, and the rights of the role."""

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
_FIRING = ("O", "A")
"""How `pg_trigger.tgenabled` says that it works in a normal session."""


@database("signals cannot be changed")
def triggers(tenants: Tenants) -> Findings:
    """Compare every tenant's triggers with those that the migrations make."""
    ready = complete(tenants)
    wanted = expected()
    found: dict[str, dict[tuple[str, str], tuple[Trigger, str]]] = {schema: {} for schema in ready}
    for schema, table, name, when, enabled, body in ask(
        _TRIGGERS, list(ready), [trigger.table for trigger in wanted]
    ):
        found[schema][table, name] = Trigger(table, name, when, body), enabled
    wrong = {
        slug: "; ".join(filter(None, (_wrong(trigger, found[schema]) for trigger in sorted(wanted))))
        for schema, slug in ready.items()
    }
    for what, where in grouped({slug: text for slug, text in wrong.items() if text}):
        yield checks.Error(
            f"what is append-only can be changed: {what}",
            hint="Make the triggers again as the migrations do (`manage.py sqlmigrate signals 0006`), or "
            "ALTER TABLE … ENABLE TRIGGER; then find out who changed them.",
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


def _wrong(wanted: Trigger, found: dict[tuple[str, str], tuple[Trigger, str]]) -> str:
    """Return what is wrong with a trigger; empty when nothing is."""
    known = found.get((wanted.table, wanted.name))
    if known is None:
        return f"{wanted.name} is missing"
    trigger, enabled = known
    if enabled not in _FIRING:
        return f"{wanted.name} is disabled"
    if trigger.when != wanted.when or (wanted.body and trigger.body != wanted.body):
        return f"{wanted.name} is another one than the migrations make"
    return ""
