"""Upgrades of all tenants: finds those that lack migrations or seeds, and works on those only."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from django.db import connection

from fleetprompt.postgres.queries import execute
from fleetprompt.tenants import plans, seeds
from fleetprompt.tenants.context import return_to_public
from fleetprompt.tenants.plans import Plan
from fleetprompt.tenants.schemas import History, histories

_SET_LOCK_TIMEOUT = "SET lock_timeout = {milliseconds}"


class Result(NamedTuple):
    """Result for one schema; of a failure also the migration that failed, if one did, and the error."""

    schema: str
    outcome: Literal["migrated", "supplied", "up to date", "failed"]
    """`supplied`: missing seeds were made."""
    migration: str = ""
    error: Exception | None = None


def migrate_all(schemas: Collection[str]) -> Iterator[Result]:
    """Upgrade schemas, as the database's owner and outside of any transaction; give the results.

    A failure stops no other schema; a lock that is held for longer than `LOCK_TIMEOUT_MILLISECONDS` is a
    failure. Schemas that are up to date are not touched. The public schema is active afterwards.

    Raises:
        OperationalError: the database does not answer.
    """
    groups: dict[History, list[str]] = defaultdict(list)
    try:
        _prepare_session()
        for schema, history in histories(schemas).items():
            groups[history or frozenset()].append(schema)
        for history, names in groups.items():
            yield from _upgrade(history, names)
    finally:
        return_to_public()


def _upgrade(history: History, names: Sequence[str]) -> Iterator[Result]:
    """Upgrade the schemas with one history, which share a plan."""
    try:
        plan = Plan(names[0], history)
    except Exception as error:
        _prepare_session()
        yield from (Result(name, "failed", error=error) for name in names)
        return
    if plan.is_empty:
        lacking = seeds.lacking(names)
        yield from (Result(name, "up to date") for name in names if name not in lacking)
        yield from _work(plan, plan.finish, lacking, "supplied")
    else:
        yield from _work(plan, plan.apply, names, "migrated")


def _work(
    plan: Plan,
    function: Callable[[str], None],
    names: Collection[str],
    outcome: Literal["migrated", "supplied"],
) -> Iterator[Result]:
    for name in names:
        result = Result(name, outcome)
        try:
            function(name)
        except Exception as error:
            _prepare_session()
            result = Result(name, "failed", plan.running, error)
        yield result


def _prepare_session() -> None:
    """Prepare the session for the next schema; raise an error if the server does not answer."""
    connection.close_if_unusable_or_obsolete()
    execute(_SET_LOCK_TIMEOUT.format(milliseconds=plans.LOCK_TIMEOUT_MILLISECONDS))
