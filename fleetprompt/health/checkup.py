"""Registration of a deployment's checks, and the tenants that a finding is about.

They are checks of Django's framework. Those of settings run with `manage.py check`; those of the database
run with `manage.py doctor` and `check --deploy --database default`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.checks import CheckMessage, Error, register
from django.db import DatabaseError, ProgrammingError, connection

from fleetprompt.errors import first_line
from fleetprompt.tenants.models import Tenant

TAG = "doctor"
"""The tag of all these checks."""

Findings = Iterator[CheckMessage]
Tenants = Mapping[str, str]
"""Slugs of the tenants to check, by schema."""

CHECKS: list["Check"] = []
"""All checks in their order."""
NO_TABLES = "fleetprompt.E014"
"""The finding after which no other check of the database can run."""

_MAX_NAMES = 5
_Same = TypeVar("_Same", bound=Hashable)


class Where(tuple[str, ...]):
    """Names, such as the tenants of a finding; `str` gives the first few."""

    __slots__ = ()

    def __str__(self) -> str:
        more = f" and {len(self) - _MAX_NAMES} more" if len(self) > _MAX_NAMES else ""
        return ", ".join(self[:_MAX_NAMES]) + more


@dataclass(eq=False)
class Check:
    """A check of Django's framework: called with its options, it returns the findings."""

    title: str
    """The statement that holds without findings, such as "times have time zones"."""
    find: Callable[..., Findings]
    needs_database: bool

    def __call__(
        self, *, databases: Sequence[str] | None = None, tenants: Tenants | None = None, **options: Any
    ) -> list[CheckMessage]:
        """Return the findings; an error of the database is one more."""
        if not self.needs_database:
            return list(self.find())
        return list(self._ask(tenants)) if databases else []

    def _ask(self, tenants: Tenants | None) -> Findings:
        try:
            yield from self.find(known_tenants() if tenants is None else tenants)
        except DatabaseError as error:
            if not connection.is_usable():
                connection.close()
            yield Error(
                f"not known whether {self.title}: {first_line(error)}",
                hint="Mend the other findings first, and look again.",
                id="doctor.E002",
            )


def setting(title: str, *, deploy: bool = False) -> Callable[[Callable[[], Findings]], Check]:
    """Register a function as a check of settings.

    Args:
        deploy: whether it is for deployments only.
    """
    return lambda find: _register(Check(title, find, needs_database=False), deploy=deploy)


def database(title: str) -> Callable[[Callable[[Tenants], Findings]], Check]:
    """Register a function as a check of the database; its argument is the tenants to check."""
    # Migrating runs the checks that are not for deployments, before there are tables.
    return lambda find: _register(Check(title, find, needs_database=True), deploy=True)


def _register(check: Check, *, deploy: bool) -> Check:
    register(check, TAG, deploy=deploy)
    CHECKS.append(check)
    return check


def known_tenants() -> dict[str, str]:
    """Return the slugs of all tenants by schema; none while their table is missing."""
    try:
        return dict(Tenant.objects.order_by("slug").values_list("schema_name", "slug"))
    except ProgrammingError:
        return {}


def active(tenants: Tenants) -> dict[str, str]:
    """Return those of the tenants that are active."""
    slugs = set(Tenant.objects.filter(status=Tenant.Status.ACTIVE).values_list("slug", flat=True))
    return {schema: slug for schema, slug in tenants.items() if slug in slugs}


def grouped(found: Mapping[str, _Same]) -> Iterator[tuple[_Same, Where]]:
    """Give each distinct value once, with all tenants that have it.

    Args:
        found: values by slug.
    """
    groups: dict[_Same, list[str]] = defaultdict(list)
    for slug, thing in found.items():
        groups[thing].append(slug)
    for thing, slugs in groups.items():
        yield thing, Where(slugs)
