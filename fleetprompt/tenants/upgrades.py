"""Upgrades of all tenants: finds those that lack migrations or seeds, and works on those only."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

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
    outcome: str
    """`migrated`, `supplied` (missing seeds were made), `up to date` or `failed`."""
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
    upgrade, outcome = plan.apply, "migrated"
    if plan.is_empty:
        upgrade, outcome = plan.finish, "supplied"
        lacking = seeds.lacking(names)
        yield from (Result(name, "up to date") for name in names if name not in lacking)
        names = [name for name in names if name in lacking]
    for name in names:
        result = Result(name, outcome)
        try:
            upgrade(name)
        except Exception as error:
            _prepare_session()
            result = Result(name, "failed", plan.running, error)
        yield result


def _prepare_session() -> None:
    """Prepare the session for the next schema; raise an error if the server does not answer."""
    connection.close_if_unusable_or_obsolete()
    execute(_SET_LOCK_TIMEOUT.format(milliseconds=plans.LOCK_TIMEOUT_MILLISECONDS))
