"""The documented database, made once for the tests that follow the documents."""

import shutil
from collections.abc import Iterator

import pytest
from django.conf import settings

from fleetprompt.tenants.provisioning import create_tenant
from tests.documented import Database, documented_database

SLUGS = ("north", "south")


@pytest.fixture(scope="session")
def _documented(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[Database]:
    with django_db_blocker.unblock(), documented_database() as made:
        with made.in_use():
            for slug in SLUGS:
                create_tenant(slug, name=slug.title(), domain=f"{slug}.localhost")
        yield made


@pytest.fixture
def documented(_documented: Database, django_db_blocker: pytest.FixtureRequest) -> Iterator[Database]:
    """Run the test in a database with two roles, set up as the documents say, with two tenants."""
    # The checkpoints there are of the tests' own database, and then of this one.
    shutil.rmtree(settings.AUDIT_FOLDER, ignore_errors=True)
    with django_db_blocker.unblock(), _documented.in_use():
        yield _documented
    shutil.rmtree(settings.AUDIT_FOLDER, ignore_errors=True)
