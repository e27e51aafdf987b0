"""200,000 directives and 600,000 signals in one tenant: bounded queries, and no whole table is read."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleetprompt.tenants.context import in_tenant
from tests.admin import client_of
from tests.big import TABLES, asked, seq_scans
from tests.big_pages import DIRECTIVES, SIGNALS, make_tenant, pages
from tests.support import empty_tenants, owner_cursor


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_page_reads_a_whole_table_or_asks_without_end(database):
    client = client_of("ada", superuser=True)
    with in_tenant("alpha"):
        looked_at = list(pages(make_tenant()))
        with connection.cursor() as cursor:
            for table, expected in zip(TABLES, (DIRECTIVES, SIGNALS), strict=True):
                cursor.execute(f"SELECT count(*) FROM {table}")
                assert cursor.fetchone()[0] >= expected
    try:
        wrong = [problem for page in looked_at for problem in _problems(client, page)]
        assert not wrong, "\n\n".join(wrong)
    finally:
        _shrink()


def _problems(client, page):
    with CaptureQueriesContext(connection) as captured:
        client.text(page.path)
    count = asked(captured)
    if count > page.queries:
        yield f"{page.name}: {count} queries, {page.queries} expected at most"
    with in_tenant("alpha"):
        yield from (f"{page.name} scans: {sql}" for sql in seq_scans(captured))


def _shrink():
    """Give the tables back small: those who come after look at plans too."""
    empty_tenants()
    with in_tenant("alpha"), owner_cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"VACUUM (FULL, ANALYZE) {table}")
