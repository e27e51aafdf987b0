"""Runs of all checks of a deployment, one by one."""

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks.registry import registry
from django.db import DatabaseError, NotSupportedError, connection

from fleetprompt.errors import first_line
from fleetprompt.health import checkup
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.context import unknown

CONNECT_SECONDS = 10
"""Time limit for a connection to the database."""

NUMBER_OF_OTHERS = 2
"""Checks that are no deployment's: the connection to the database, and Django's own."""


Examined = tuple[str, list[checks.CheckMessage] | None]
"""The title of a check, and its findings; None when it could not run, because an earlier one failed."""


def examine(slug: str | None = None) -> Iterator[Examined]:
    """Run the checks and give their results, settings first.

    Checks that need the database are not made when it does not answer or has no tables.

    Args:
        slug: the only tenant to check; all by default.

    Raises:
        UnknownTenant: there is no tenant of that name.
    """
    for check in checkup.CHECKS:
        if not check.needs_database:
            yield _run(check.title, check)
    title, found = _run("the database answers", _reach)
    yield title, found
    usable = not found
    yield _run("Django's own checks find nothing", _django, databases=["default"] if usable else None)
    tenants = checkup.known_tenants() if usable else {}
    if usable and slug is not None:
        tenants = {schema: known for schema, known in tenants.items() if known == slug}
        if not tenants:
            raise unknown("--tenant", slug)
    for check in checkup.CHECKS:
        if check.needs_database:
            found = None
            if usable:
                _, found = _run(check.title, check, databases=["default"], tenants=tenants)
                usable = not any(finding.id == checkup.NO_TABLES for finding in found or ())
            yield check.title, found


def _run(title: str, check: Callable[..., list[checks.CheckMessage]], **options: Any) -> Examined:
    findings = check(app_configs=None, **options)
    return title, [finding for finding in findings if not finding.is_silenced()]


def _reach(**options: Any) -> list[checks.CheckMessage]:
    connection.settings_dict.setdefault("OPTIONS", {}).setdefault("connect_timeout", CONNECT_SECONDS)
    try:
        fetch_all("SELECT 1")
    except NotSupportedError as error:
        what = f"the database is too old: {first_line(error)}"
        return [checks.Error(what, hint="Use a newer PostgreSQL.", id="fleetprompt.E010")]
    except DatabaseError as error:
        what = f"the database does not answer: {first_line(error)}"
        return [checks.Error(what, hint="Start it, or correct DATABASE_URL.", id="doctor.E001")]
    return []


def _django(databases: list[str] | None, **options: Any) -> list[checks.CheckMessage]:
    """Return the findings of other apps' checks; those for deployments in production only."""
    return [
        finding
        for check in registry.get_checks(include_deployment_checks=not settings.DEBUG)
        if checkup.TAG not in check.tags
        for finding in check(app_configs=None, databases=databases)
    ]
