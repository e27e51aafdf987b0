"""Nothing is left over: no message without work, no open session, no rows of another tenant."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import connection
from django_q.models import OrmQ

from tests.chaos.harness.checks.restrictions import END
from tests.chaos.harness.reading import Town, Violation

EARLY = timedelta(seconds=2)


def check_queue(towns: list[Town]) -> Iterator[Violation]:
    """Check that each message waits for a directive that is due at its time, and no other is there."""
    wanted = {
        (town.slug, directive.scheduled_at.replace(microsecond=0))
        for town in towns
        for directive in town.directives.values()
        if directive.status == "requested"
    }
    for message in OrmQ.objects.all():
        slug = message.name().removeprefix("wake ")
        if not any(slug == one and abs(message.lock - at) < EARLY for one, at in wanted):
            yield Violation(slug, f"message {message.pk}", "an empty queue", f"one for {message.lock}")


def check_sessions() -> Iterator[Violation]:
    """Check that nobody is left in the database, least of all within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, coalesce(state, '') FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        for pid, state in cursor.fetchall():
            yield Violation("", f"session {pid}", "no sessions", state)


def check_apart(town: Town) -> Iterator[Violation]:
    """Check that every mark that a requester left in this tenant is this tenant's own."""
    marks = [
        (pk, _mark(one.idempotency_key)) for pk, one in town.directives.items() if one.causation_id == ""
    ]
    marks += [(name, name.rpartition(" ")[2]) for name in town.effects]
    marks += [(pk, town.contents[post]) for pk, posts in town.posted.items() for post in posts]
    for about, mark in marks:
        if ":" in mark and mark.partition(":")[0] != town.slug:
            yield town.violation(about, f"what is of {town.slug}", mark)


def _mark(key: str) -> str:
    """Return a key without what the project puts before the tenant."""
    return key.partition(":")[2] if key.startswith(("undo:", f"{END}:")) else key
