"""Checks of what keeps signals as they are: triggers in every tenant, and the rights of the role."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from django.core import checks

from fleetprompt.health.checks.tables import complete
from fleetprompt.health.checkup import Findings, Tenants, Where, database, grouped
from fleetprompt.postgres import guard
from signals.storage import tables, triggers
from signals.storage.triggers import Deviation

_AS_OWNER = "As the tables' owner, in the tenant's schema (SET search_path = org_…)"


@database("signals cannot be changed")
def unchanging(tenants: Tenants) -> Findings:
    """Compare every tenant's triggers with those that the migrations make."""
    for deviations, where in _deviating(triggers.deviations, tenants):
        yield checks.Error(
            f"what is append-only can be changed: {_texts(deviations)}",
            hint=f"{_AS_OWNER}: {_mends(deviations)} Then find out who changed them.",
            obj=where,
            id="signals.E001",
        )


@database("append-only tables show and take every row")
def shown(tenants: Tenants) -> Findings:
    """Compare the tables with their models: what stands before one may hide rows, or swallow new ones."""
    for deviations, where in _deviating(tables.deviations, tenants):
        yield checks.Error(
            f"what is append-only may be hidden or lost: {_texts(deviations)}",
            hint=f"{_AS_OWNER}: {_mends(deviations)} Then find out who did it, and run `audit verify`.",
            obj=where,
            id="signals.E002",
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


def _deviating(
    look: Callable[[Collection[str]], Mapping[str, list[Deviation]]], tenants: Tenants
) -> Iterator[tuple[tuple[Deviation, ...], Where]]:
    ready = complete(tenants)
    found = {ready[schema]: tuple(deviations) for schema, deviations in look(ready).items() if deviations}
    return grouped(found)


def _texts(deviations: Iterable[Deviation]) -> str:
    return "; ".join(deviation.text for deviation in deviations)


def _mends(deviations: Iterable[Deviation]) -> str:
    return " ".join(deviation.mend for deviation in deviations)
