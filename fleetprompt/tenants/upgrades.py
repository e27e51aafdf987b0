"""Upgrades of all tenants: finds those that lack migrations or seeds, and works on those only."""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import connection

from fleetprompt.postgres.queries import execute
from fleetprompt.tenants import plans, seeds
from fleetprompt.tenants.context import return_to_public
from fleetprompt.tenants.plans import MigrationFailed, Plan
from fleetprompt.tenants.schemas import History, histories
from fleetprompt.tenants.sql import SET_LOCK_TIMEOUT


class Failure(NamedTuple):
    """A schema that could not be upgraded: its name, the migration that failed if one did, the error."""

    schema: str
    migration: str
    error: BaseException


@dataclass
class Report:
    """Result of an upgrade: schemas that were migrated, schemas that got missing seeds, failures."""

    migrated: list[str] = field(default_factory=list)
    supplied: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def behind(schemas: Collection[str]) -> list[str]:
    """Return those of the schemas that lack migrations or cannot be planned for."""
    report = Report()
    try:
        waiting = [name for plan, names in _plans(schemas, report) if not plan.is_empty for name in names]
    finally:
        return_to_public()
    return waiting + [failure.schema for failure in report.failures]


def migrate_all(schemas: Collection[str], report: Report, advance: Callable[[int], None]) -> None:
    """Upgrade schemas, as the database's owner and outside of any transaction.

    A failure stops no other schema; a lock that is held for longer than `LOCK_TIMEOUT_MILLISECONDS` is a
    failure. Schemas that are up to date are not touched. The public schema is active afterwards.

    Args:
        report: is added to.
        advance: is called with the number of schemas that were finished.

    Raises:
        OperationalError: the database does not answer.
    """
    try:
        _limit_waiting()
        found = _plans(schemas, report)
        advance(len(report.failures))
        for plan, names in found:
            if plan.is_empty:
                lacking = seeds.lacking(names)
                advance(len(names) - len(lacking))
                _work(lacking, plan.finish, report.supplied, report, advance)
            else:
                _work(names, plan.apply, report.migrated, report, advance)
    finally:
        return_to_public()


def _plans(schemas: Collection[str], report: Report) -> list[tuple[Plan, list[str]]]:
    groups: dict[History, list[str]] = defaultdict(list)
    for schema, history in histories(schemas).items():
        groups[history or frozenset()].append(schema)
    found = []
    for history, names in groups.items():
        try:
            found.append((Plan(names[0], history), names))
        except Exception as error:
            _restore_session()
            report.failures += [Failure(name, "", error) for name in names]
    return found


def _work(
    names: Collection[str],
    function: Callable[[str], None],
    done: list[str],
    report: Report,
    advance: Callable[[int], None],
) -> None:
    for name in names:
        try:
            function(name)
            done.append(name)
        except Exception as error:
            migration = str(error) if isinstance(error, MigrationFailed) else ""
            cause = error.__cause__ if migration else None
            report.failures.append(Failure(name, migration, cause or error))
            _restore_session()
        advance(1)


def _restore_session() -> None:
    """Prepare the session for the next schema; raise an error if the server does not answer."""
    connection.close_if_unusable_or_obsolete()
    _limit_waiting()


def _limit_waiting() -> None:
    execute(SET_LOCK_TIMEOUT.format(milliseconds=plans.LOCK_TIMEOUT_MILLISECONDS))
