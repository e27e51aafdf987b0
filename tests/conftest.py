"""Fixtures: a real PostgreSQL with two tenants, real commits, real qcluster processes."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from fasteners import InterProcessLock

from directives import tasks
from directives.executing import attempts
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from tests.browser.web import MISSING
from tests.support import (
    TENANTS,
    Forum,
    empty_tenants,
    is_idle,
    make_databases,
    make_forum,
    remove_databases,
    renew_session,
)


# While the tests are imported nearly everything stays, and after that it stays to the end: the garbage
# collector would look through all of it again and again, for a fifth of the CPU time of the tests.
def pytest_collection() -> None:
    """Let the garbage collector rest while the tests are imported."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what there is before the first test."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Any:
    """Say at the very end that the browser tests did not run."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    if count := sum(MISSING in str(report.longrepr) for report in skipped):
        terminalreporter.write_line(
            f"{count} browser tests were skipped: {MISSING}.", yellow=True, bold=True
        )


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_modify_db_settings: None, django_db_blocker: pytest.FixtureRequest, worker_id: str
) -> Iterator[None]:
    """Make the test database. pytest-django's own version does so only for tests with its marker.

    Each process of a parallel run has a database of its own.
    """
    lock = InterProcessLock(settings.BASE_DIR / "var" / f"tests-{worker_id}.lock")
    if not lock.acquire(blocking=False):
        pytest.exit("Another run of the tests uses this checkout; wait for its end.", returncode=1)
    with django_db_blocker.unblock():
        databases = make_databases()
        assert connection.settings_dict["NAME"].startswith("test_")
        yield
        remove_databases(databases)
    lock.release()


@pytest.fixture(scope="session")
def _tenants_exist(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> None:
    with django_db_blocker.unblock():
        for slug in TENANTS:
            create_tenant(slug, name=slug.title(), domain=f"{slug}.localhost")


@pytest.fixture
def database(_tenants_exist: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Give a test the database, with real commits, and empty the tenants after it."""
    with django_db_blocker.unblock():
        connection.set_schema_to_public()
        attempts.seconds_by_name.clear()
        tasks._batch_size = tasks.FIRST_BATCH_SIZE
        yield
        if not is_idle():
            connection.close()
        connection.set_schema_to_public()
        for tenant in Tenant.objects.exclude(slug__in=TENANTS):
            delete_tenant(tenant.slug)
        empty_tenants()
        renew_session()


@pytest.fixture
def alpha(database: None) -> Iterator[Tenant]:
    """Run the test inside the tenant alpha."""
    with in_tenant("alpha") as tenant:
        yield tenant


@pytest.fixture
def forum(alpha: Tenant) -> Forum:
    """A category, an open thread and three published posts in the tenant alpha."""
    return make_forum()
