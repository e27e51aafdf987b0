"""What the checks of a deployment share: how they are registered, and how they say where.

They are checks of Django's framework. Those of settings run with `manage.py check`; those that ask the
database run when somebody asks for them: `manage.py doctor`, or `check --deploy --database default`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Protocol, TypeVar

from django.core.checks import CheckMessage, Error, register
from django.db import DatabaseError, ProgrammingError, connection

from fleetprompt.errors import first_line
from fleetprompt.tenants.models import Tenant

TAG = "doctor"
"""The tag of all these checks."""

Findings = Iterator[CheckMessage]
Tenants = Mapping[str, str]
"""The slugs of the tenants to look at, by schema."""

CHECKS: list["Check"] = []
"""All checks, in the order in which they are made."""
NO_TABLES = "fleetprompt.E014"
"""The finding after which nothing else can be asked of the database."""

_NAMED = 5
_Same = TypeVar("_Same", bound=Hashable)


class Check(Protocol):
    """A check, as Django calls it."""

    title: str
    needs_database: bool

    def __call__(self, **options: Any) -> list[CheckMessage]:
        """Return what it finds."""
        ...


class Where(tuple[str, ...]):
    """Names, such as the slugs of the tenants that a finding is about; as a text, the first few of them."""

    __slots__ = ()

    def __str__(self) -> str:
        more = f" and {len(self) - _NAMED} more" if len(self) > _NAMED else ""
        return ", ".join(self[:_NAMED]) + more


def setting(title: str, *, deploy: bool = False) -> Callable[[Callable[[], Findings]], Check]:
    """Register a function as a check of settings.

    Args:
        title: what is so when it finds nothing, such as "times have time zones".
        deploy: whether it makes sense for a deployment only.
    """

    def decorate(function: Callable[[], Findings]) -> Check:
        @wraps(function)
        def check(**kwargs: Any) -> list[CheckMessage]:
            return list(function())

        return _register(check, title, deploy=deploy, needs_database=False)

    return decorate


def database(title: str) -> Callable[[Callable[[Tenants], Findings]], Check]:
    """Register a function as a check that asks the database; it gets the tenants to look at.

    Args:
        title: what is so when it finds nothing.
    """

    def decorate(function: Callable[[Tenants], Findings]) -> Check:
        @wraps(function)
        def check(
            *, databases: Sequence[str] | None = None, tenants: Tenants | None = None, **kwargs: Any
        ) -> list[CheckMessage]:
            if not databases:
                return []
            return list(_told(function(known_tenants() if tenants is None else tenants), title))

        # Migrating runs all checks that are not for deployments, before there are any tables.
        return _register(check, title, deploy=True, needs_database=True)

    return decorate


def known_tenants() -> dict[str, str]:
    """Return the slugs of all tenants by schema; none when there is no table of them yet."""
    try:
        return dict(Tenant.objects.order_by("slug").values_list("schema_name", "slug"))
    except ProgrammingError:
        return {}


def active(tenants: Tenants) -> dict[str, str]:
    """Return those of the tenants that take part."""
    taking_part = set(Tenant.objects.filter(status=Tenant.Status.ACTIVE).values_list("slug", flat=True))
    return {schema: slug for schema, slug in tenants.items() if slug in taking_part}


def grouped(found: Mapping[str, _Same]) -> Iterator[tuple[_Same, Where]]:
    """Give each distinct thing that was found once, with all the tenants where it was.

    Args:
        found: by slug.
    """
    groups: dict[_Same, list[str]] = defaultdict(list)
    for slug, thing in found.items():
        groups[thing].append(slug)
    for thing, slugs in groups.items():
        yield thing, Where(slugs)


def ask(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def _told(findings: Findings, title: str) -> Findings:
    """Give the findings; a database that refuses or goes away in the middle is one more."""
    try:
        yield from findings
    except DatabaseError as error:
        if not connection.is_usable():
            connection.close()
        yield Error(
            f"not known whether {title}: {first_line(error)}",
            hint="Mend the other findings first, and look again.",
            id="doctor.E002",
        )


def _register(check: Any, title: str, *, deploy: bool, needs_database: bool) -> Check:
    # Django looks at the parameters, and would look at the function's own.
    del check.__wrapped__
    check.title, check.needs_database = title, needs_database
    register(check, TAG, deploy=deploy)
    made: Check = check
    CHECKS.append(made)
    return made
