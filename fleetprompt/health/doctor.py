"""Makes all checks of a deployment, one by one, and gives what each found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks.registry import registry
from django.db import DatabaseError, connection

from fleetprompt.errors import first_line
from fleetprompt.health import checkup
from fleetprompt.tenants.context import unknown

CONNECT_SECONDS = 10
"""How long the database has to accept a connection."""

_BESIDE = 2
"""Django's own checks, and whether the database answers, are two more."""


@dataclass(frozen=True)
class Examined:
    """What one check found."""

    title: str
    """What is so when it found nothing."""
    findings: list[checks.CheckMessage] = field(default_factory=list)
    is_made: bool = True
    """False when it could not be made, since something before it failed."""


def number_of_checks() -> int:
    """Return how many checks there are."""
    return len(checkup.CHECKS) + _BESIDE


def examine(slug: str | None = None) -> Iterator[Examined]:
    """Make the checks and give what each found, settings first.

    Checks that need the database are given as not made when it does not answer or has no tables.

    Args:
        slug: look at this tenant only; at all by default.

    Raises:
        UnknownTenant: there is no tenant of that name.
    """
    for check in checkup.CHECKS:
        if not check.needs_database:
            yield _make(check.title, check)
    reached = _make("the database answers", _reach)
    yield reached
    yield _make(
        "Django's own checks find nothing", _django, databases=None if reached.findings else ["default"]
    )
    usable = not reached.findings
    tenants = _scope(slug) if usable else {}
    for check in checkup.CHECKS:
        if check.needs_database:
            if not usable:
                yield Examined(check.title, is_made=False)
                continue
            found = _make(check.title, check, databases=["default"], tenants=tenants)
            yield found
            usable = not any(finding.id == checkup.NO_TABLES for finding in found.findings)


def _make(title: str, check: Callable[..., list[checks.CheckMessage]], **options: Any) -> Examined:
    findings = check(app_configs=None, **options)
    return Examined(title, [finding for finding in findings if not finding.is_silenced()])


def _reach(**options: Any) -> list[checks.CheckMessage]:
    connection.settings_dict.setdefault("OPTIONS", {}).setdefault("connect_timeout", CONNECT_SECONDS)
    try:
        checkup.ask("SELECT 1")
    except DatabaseError as error:
        what = f"the database does not answer: {first_line(error)}"
        return [checks.Error(what, hint="Start it, or mend DATABASE_URL.", id="doctor.E001")]
    return []


def _django(databases: list[str] | None, **options: Any) -> list[checks.CheckMessage]:
    """Return what checks find that are not the project's; those for production only there."""
    return [
        finding
        for check in registry.get_checks(include_deployment_checks=not settings.DEBUG)
        if checkup.TAG not in check.tags
        for finding in check(app_configs=None, databases=databases)
    ]


def _scope(slug: str | None) -> dict[str, str]:
    tenants = checkup.known_tenants()
    if slug is None:
        return tenants
    if slug not in tenants.values():
        raise unknown("--tenant", slug)
    return {schema: known for schema, known in tenants.items() if known == slug}
