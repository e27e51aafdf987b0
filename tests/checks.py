"""Helpers for tests of the doctor's checks."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import owner_cursor


def found(check, **options):
    """Make one check, as the doctor does; return its findings by id."""
    return {finding.id: finding for finding in check(app_configs=None, databases=["default"], **options)}


@contextmanager
def altered(before: str, after: str) -> Iterator[None]:
    """Have the database's owner do something for a block, and undo it after that."""
    with owner_cursor() as cursor:
        cursor.execute(before)
    try:
        yield
    finally:
        with owner_cursor() as cursor:
            cursor.execute(after)


def other_migration_name(schema: str):
    """Let a schema lack a migration for a block, as far as its records say."""
    update = f"UPDATE {schema}.django_migrations SET name = %s WHERE app = 'sessions' AND name = %s"
    names = ("'0001_other'", "'0001_initial'")
    return altered(update % names, update % names[::-1])
