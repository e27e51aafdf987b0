"""Checks of the guards of append-only tables: triggers, tables, and the rights of the role."""

from collections.abc import Mapping

from django.core import checks

from fleetprompt.health.checks.tables import complete
from fleetprompt.health.checkup import Findings, Tenants, Where, database, grouped
from fleetprompt.postgres import grants
from signals.storage import tables, triggers
from signals.storage.triggers import Deviation


@database("signals cannot be changed")
def unchanging(tenants: Tenants) -> Findings:
    """Compare every tenant's triggers with those that the migrations make."""
    ready, text = complete(tenants), "what is append-only can be changed"
    yield from _told(
        ready, triggers.deviations(ready), "signals.E001", text, "Then find out who changed them."
    )


@database("append-only tables show and take every row")
def shown(tenants: Tenants) -> Findings:
    """Compare the tables with their models: policies, rules and the like may hide rows or drop new ones."""
    ready, text = complete(tenants), "what is append-only may be hidden or lost"
    advice = "Then find out who did it, and run `audit verify`."
    yield from _told(ready, tables.deviations(ready), "signals.E002", text, advice)


@database("the program's role cannot change signals")
def rights(tenants: Tenants) -> Findings:
    """Ask what the connected role could do to append-only tables, or to what guards them."""
    for weakness in grants.weaknesses():
        where = Where(tenants[schema] for schema in weakness.schemas if schema in tenants)
        if where or not weakness.schemas:
            yield checks.Warning(
                weakness.text,
                hint="Use two database roles, one that owns the tables and one that the program connects "
                "as (docs/guides/separate-database-roles.md), and run `manage.py migrate_schemas`.",
                obj=where or None,
                id="signals.W001",
            )


def _told(
    tenants: Tenants, wrong: Mapping[str, list[Deviation]], check_id: str, text: str, advice: str
) -> Findings:
    found = {tenants[schema]: tuple(deviations) for schema, deviations in wrong.items() if deviations}
    for deviations, where in grouped(found):
        texts = "; ".join(deviation.text for deviation in deviations)
        remedies = " ".join(deviation.remedy for deviation in deviations)
        hint = (
            f"As the tables' owner, in the tenant's schema (SET search_path = org_…): {remedies} {advice}"
        )
        yield checks.Error(f"{text}: {texts}", hint=hint, obj=where, id=check_id)
