"""The migrations of `directives` and one more, as of a later version of the code.

To time it, or to see what it does:

    with one_more_migration():
        call_command("migrate_schemas")

For another process there is `DJANGO_SETTINGS_MODULE=tests.later_settings`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.test import override_settings

from directives import migrations
from fleetprompt.tenants import schemas

# Django looks for migrations in all of a package's folders.
__path__ += migrations.__path__


@contextmanager
def one_more_migration(package: str = "tests.later") -> Iterator[None]:
    """Let the code have the migration for a block; what was migrated in it stays in the database."""
    modules = {**settings.MIGRATION_MODULES, "directives": package}
    with override_settings(MIGRATION_MODULES=modules):
        # A process reads the migrations of its code once.
        schemas._expected.cache_clear()
        try:
            yield
        finally:
            schemas._expected.cache_clear()
