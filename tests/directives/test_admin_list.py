"""The list of directives in the admin: columns, filters, search, and speed with many rows."""

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directives import operations
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from signals.types import Actor
from tests.admin import client_of
from tests.big import asked, fill, seq_scans
from tests.support import TESTER, ask, ask_animal, change, claim, empty_tenants, make_forum, run

URL = "/admin/directives/directive/"
HOST = {"host": "alpha.localhost"}


@pytest.fixture
def client(database):
    return client_of("root", superuser=True)


def read(client, **parameters):
    """Return the list's page; it must be one."""
    page = client.get(f"{URL}?{urlencode(parameters)}")
    assert page.status_code == 200, page
    return page


def ids(client, **parameters):
    return [row.pk for row in read(client, **parameters).context["cl"].result_list]


def test_a_row_says_what_was_asked_by_whom_why_and_how_it_went(client):
    with in_tenant("alpha"):
        thread = make_forum().thread
        lock = ask("forum.thread.lock", {"thread_id": str(thread.pk)}, reason="Too <b>hot</b>").directive
        run(lock)
    text = read(client).content.decode()
    for shown in ("Succeeded", "Lock thread", "forum.thread.lock", "tester", "1 of 5", "<time datetime="):
        assert shown in text
    assert f'href="/admin/forums/thread/{thread.pk}/change/"' in text
    assert "Welcome" in text
    assert "Too &lt;b&gt;hot" in text
    assert "<b>hot" not in text


def test_a_long_reason_is_cut_and_whole_on_hover(client):
    reason = "because " * 50 + "of that"
    with in_tenant("alpha"):
        ask_animal("work", reason=reason)
    text = read(client).content.decode()
    assert f'title="{reason}"' in text
    assert text.count("of that") == 1


def test_the_subjects_of_a_page_are_found_at_once(client):
    with in_tenant("alpha"):
        posts = make_forum(30).posts
    counts = []
    for some_posts in (posts[:2], posts[2:]):
        with in_tenant("alpha"):
            for post in some_posts:
                ask("forum.post.hide", {"post_id": str(post.pk)})
        read(client)
        with CaptureQueriesContext(connection) as queries:
            read(client)
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.fixture
def each_state(client):
    """One directive in each state that people tell apart, by its name."""
    with in_tenant("alpha"):
        rows = {name: ask_animal("work", animal=name) for name in ("succeeded", "canceled", "running")}
        rows["failed"] = ask_animal("refuse", animal="failed")
        rows["snoozed"] = ask_animal("work", scheduled_at=timezone.now() + timedelta(hours=1))
        rows["requested"] = ask_animal("work", animal="requested")
        run(rows["succeeded"]), run(rows["failed"]), claim(rows["running"])
        operations.cancel(rows["canceled"].pk, actor=TESTER, reason="no")
    return rows


def test_the_status_filter_tells_snoozed_ones_from_due_ones(client, each_state):
    for state, directive in each_state.items():
        assert ids(client, status=state) == [directive.pk], state
        assert f"{state.title()}</span>" in read(client, status=state).content.decode()


def test_the_name_filter_offers_handlers_and_names_that_only_the_table_knows(client, each_state):
    with in_tenant("alpha"):
        change(each_state["canceled"], name="zoo.animal.extinct")
    page = read(client, name="zoo.animal.extinct")
    assert [row.pk for row in page.context["cl"].result_list] == [each_state["canceled"].pk]
    text = page.content.decode()
    assert '<option value="zoo.animal.extinct" selected>' in text
    assert '<option value="forum.post.hide"' in text
    assert ids(client, name="zoo.animal.refuse") == [each_state["failed"].pk]


def test_the_actor_filter_offers_each_actor_once_under_its_newest_label(client):
    with in_tenant("alpha"):
        ask_animal("work", actor=Actor("agent", "bot", "Old name"))
        newest = ask_animal("work", actor=Actor("agent", "bot", "New name"))
        ask_animal("work", actor=Actor("system", "bot"))
    page = read(client, actor="agent:bot")
    text = page.content.decode()
    assert text.count('<option value="agent:bot"') == 1
    assert "New name (agent)" in text
    assert "Old name (agent)" not in text
    assert len(page.context["cl"].result_list) == 2
    assert page.context["cl"].result_list[0].pk == newest.pk


def test_at_most_a_hundred_actors_are_offered_and_others_can_be_asked_for(client):
    with in_tenant("alpha"):
        for number in range(103):
            directive = ask_animal("work", actor=Actor("agent", f"bot {number:03}"))
    page = read(client, actor="agent:bot 102")
    assert [row.pk for row in page.context["cl"].result_list] == [directive.pk]
    assert page.content.decode().count('<option value="agent:bot') == 101, "the one asked for as well"


def test_the_subject_type_filter(client, each_state):
    with in_tenant("alpha"):
        lock = ask("forum.thread.lock", {"thread_id": str(make_forum().thread.pk)}).directive
    assert ids(client, subject_type="forum.thread") == [lock.pk]
    assert len(ids(client, subject_type="zoo.animal")) == len(each_state)


def test_the_time_filters(client):
    with in_tenant("alpha"):
        old, new = ask_animal("work"), ask_animal("work")
        change(old, created_at=timezone.now() - timedelta(days=3))
    assert ids(client, within="24h") == [new.pk]
    assert ids(client, within="7d") == [new.pk, old.pk]
    day = f"{old.created_at:%Y-%m-%d}"
    assert ids(client, created_at_from_0=day, created_at_to_0=day) == [old.pk]
    assert ids(client, created_at_to_0=day, created_at_to_1="23:59:59") == [old.pk]
    assert ids(client, created_at_from_0=f"{new.created_at:%Y-%m-%d}") == [new.pk]


def test_a_day_is_the_users_day(client):
    with in_tenant("alpha"):
        directive = ask_animal("work")
        change(directive, created_at="2026-03-10T20:00:00Z")
    client.cookies["timezone"] = "Asia%2FTokyo"
    tenth, eleventh = (
        ids(client, created_at_from_0=day, created_at_to_0=day) for day in ("2026-03-10", "2026-03-11")
    )
    assert (tenth, eleventh) == ([], [directive.pk])


def test_a_range_takes_both_halves_of_an_hour_that_the_clocks_show_twice(client):
    times = ["00:29:59", "00:30:00", "01:30:00", "01:30:59.5", "01:31:00"]
    with in_tenant("alpha"):
        made = [ask_animal("work", animal=f"a{number}") for number in range(len(times))]
        for directive, time in zip(made, times, strict=True):
            change(directive, created_at=f"2026-10-25T{time}Z")
    client.cookies["timezone"] = "Europe%2FParis"
    day = {"created_at_from_0": "2026-10-25", "created_at_to_0": "2026-10-25"}
    found = ids(client, **day, created_at_from_1="02:30:00", created_at_to_1="02:30:59")
    assert set(found) == {directive.pk for directive in made[1:4]}


def test_a_range_to_a_time_that_the_clocks_never_show_leaves_nothing_out(client):
    with in_tenant("alpha"):
        before, after = ask_animal("work", animal="a"), ask_animal("work", animal="b")
        change(before, created_at="2026-03-29T00:59:00Z")
        change(after, created_at="2026-03-29T01:01:00Z")
    client.cookies["timezone"] = "Europe%2FParis"
    day = "2026-03-29"
    assert after.pk in ids(client, created_at_from_0=day, created_at_from_1="02:30:00")
    assert before.pk in ids(client, created_at_to_0=day, created_at_to_1="02:30:00")


def test_a_range_is_of_the_zone_in_which_it_was_typed(client):
    with in_tenant("alpha"):
        directive = ask_animal("work")
        change(directive, created_at="2026-03-10T20:00:00Z")
    client.cookies["timezone"] = "Asia%2FTokyo"
    day = {"created_at_from_0": "2026-03-11", "created_at_to_0": "2026-03-11"}
    text = client.get(URL, day).content.decode()
    assert re.search(r'type="hidden" name="created_at_zone" value="Asia/Tokyo"', text)
    client.cookies["timezone"] = "America%2FNew_York"
    assert ids(client, **day, created_at_zone="Asia/Tokyo") == [directive.pk]
    assert ids(client, **day) == []
    assert "in Asia/Tokyo" in client.get(URL, {**day, "created_at_zone": "Asia/Tokyo"}).content.decode()
    assert ids(client, created_at_zone="Mars/Olympus") == [directive.pk]


@pytest.mark.parametrize(
    "parameters",
    [
        {"created_at_from_0": "2026-01-01", "created_at_zone": "Mars/Olympus"},
        {"status": "sleeping"},
        {"name": "x" * 5000},
        {"actor": "nobody"},
        {"actor": "user:"},
        {"actor": "user:" + "9" * 999},
        {"subject_type": "no such"},
        {"within": "ages"},
        {"created_at_from_0": "yesterday"},
        {"created_at_from_0": "2026-02-30", "created_at_from_1": "00:00"},
        {"created_at_from_1": "10:00"},
        {"created_at_from_0": "2026-01-01", "created_at_from_1": "25:99"},
        {"created_at_from_0": "9999-12-31"},
        {"created_at_to_0": "0001-01-01", "created_at_to_1": "00:00"},
    ],
)
def test_a_filter_value_that_nothing_can_have_finds_nothing(client, parameters):
    with in_tenant("alpha"):
        ask_animal("work")
    page = read(client, **parameters)
    assert not page.context["cl"].result_list
    assert "No directive matches." in page.content.decode()
    for zone in ("Pacific%2FKiritimati", "Etc%2FGMT%2B12"):
        client.cookies["timezone"] = zone
        assert ids(client, **parameters) == []


def test_the_last_second_of_the_calendar_is_an_end(client):
    with in_tenant("alpha"):
        directive = ask_animal("work")
    assert ids(client, created_at_to_0="9999-12-31") == [directive.pk]


@pytest.mark.parametrize("lookup", ["reason__contains", "payload__animal", "status__exact", "nonsense"])
def test_other_columns_are_no_filters(client, lookup):
    assert client.get(f"{URL}?{lookup}=cat").status_code == 400


@pytest.mark.parametrize(
    "query", ["p=0", "p=-1", "p=999", "p=x", "o=99", "o=-", "o=7.-7", "all=", "_facets=1"]
)
def test_odd_paging_and_ordering_are_answered(client, query):
    with in_tenant("alpha"):
        ask_animal("work")
    assert client.get(f"{URL}?{query}", follow=True).status_code == 200


def test_the_search_finds_by_id_key_correlation_and_subject(client, each_state):
    with in_tenant("alpha"):
        post = make_forum().posts[0]
        hide = ask("forum.post.hide", {"post_id": str(post.pk)}, correlation_id="Batch-7").directive
    wanted = [
        str(hide.pk),
        str(hide.pk).upper(),
        f"  {hide.pk}\t",
        hide.pk.hex,
        hide.idempotency_key,
        hide.idempotency_key[:-3],
        "Batch-7",
        str(post.pk),
        str(post.pk).upper(),
        f"forum.post:{post.pk}",
        f"forum.post:{post.pk}".upper(),
    ]
    for term in wanted:
        assert ids(client, q=term) == [hide.pk], term
    assert len(ids(client, q="zoo.animal:succeeded")) == 1
    assert ids(client, q=f"forum.thread:{post.pk}") == []


@pytest.mark.parametrize(
    "term",
    [
        "nothing",
        "x" * 100_000,
        "%",
        "_",
        "\\",
        "'; --",
        "forum.post:",
        ":",
        "é" * 513,
        "💥",
    ],
)
def test_rubbish_finds_nothing(client, term):
    with in_tenant("alpha"):
        ask_animal("work")
    assert ids(client, q=term) == []


def test_a_blank_search_finds_all(client):
    with in_tenant("alpha"):
        ask_animal("work")
    assert len(ids(client, q="   ")) == 1


def test_an_empty_list_says_what_to_do(client):
    assert "Nothing has been requested yet." in read(client).content.decode()


def test_those_who_may_not_view_directives_see_no_list(database):
    assert client_of("ann").get(URL).status_code == 403


# What follows only reads, in a tenant with many rows.

BIG = 20_000
MOST = 18
"""How many queries a page may take."""


@pytest.fixture(scope="module")
def big(_tenants_exist, django_db_blocker):
    """Fill a tenant once for all tests of this module that only read."""
    with django_db_blocker.unblock():
        connection.set_schema_to_public()
        with in_tenant("alpha"):
            fill(directives=BIG, signals=3 * BIG)
        yield client_of("root", superuser=True)
        connection.set_schema_to_public()
        empty_tenants()
        connection.close()


def some():
    """Return what identifies a directive in the middle of the big tenant."""
    with in_tenant("alpha"):
        return Directive.objects.filter(status="succeeded")[BIG // 3]


SEARCHES = {
    "id": lambda one: str(one.pk),
    "key": lambda one: one.idempotency_key,
    "beginning of a key": lambda one: one.idempotency_key[:-2],
    "correlation id": lambda one: one.correlation_id,
    "subject id": lambda one: one.subject_id,
    "subject": lambda one: str(one.subject),
    "everything's beginning": lambda one: "forum.",
    "nothing": lambda one: "no such thing",
}
LISTS = [
    {},
    {"p": "2"},
    {"p": "200"},
    {"o": "7"},
    *(
        {"status": state}
        for state in ("requested", "snoozed", "running", "succeeded", "failed", "canceled")
    ),
    {"name": "forum.post.hide"},
    {"name": "forum.post.extinct"},
    {"name": "no.such"},
    {"actor": "user:user 5"},
    {"actor": "agent:nobody"},
    {"subject_type": "forum.post"},
    {"subject_type": "forum.thread"},
    {"within": "24h"},
    {"within": "30d"},
    {"created_at_from_0": "2020-01-01", "created_at_to_0": "2100-01-01"},
    {"status": "failed", "name": "forum.post.hide"},
    {"status": "succeeded", "subject_type": "forum.post", "within": "30d"},
]


def measured(client, url):
    """Return how many queries a page took; none of them may read a whole table."""
    with CaptureQueriesContext(connection) as queries:
        page = client.get(url)
    assert page.status_code == 200
    with in_tenant("alpha"):
        assert seq_scans(queries.captured_queries) == []
    return asked(queries.captured_queries)


@pytest.mark.parametrize("parameters", LISTS, ids=urlencode)
def test_a_big_list_takes_few_queries_and_no_scan(big, parameters):
    assert measured(big, f"{URL}?{urlencode(parameters)}") <= MOST


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_big_search_takes_few_queries_and_no_scan(big, kind):
    term = SEARCHES[kind](some())
    assert measured(big, f"{URL}?{urlencode({'q': term})}") <= MOST


def test_a_big_list_does_not_count_to_the_end(big):
    text = big.get(URL).content.decode()
    assert "10,000+ directives" in text
    assert "20000" not in text
    assert "10000" not in text
    assert "across all pages" not in text
    assert "Filter the list to 500 or fewer" in text


def test_a_page_of_a_directive_takes_few_queries_and_no_scan(big):
    assert measured(big, f"{URL}{some().pk}/change/") <= MOST


def test_what_would_read_all_rows_is_told(big):
    with in_tenant("alpha"):
        with CaptureQueriesContext(connection) as queries:
            list(Directive.objects.filter(personal__reason__1="Reason 1"))
            list(Directive.objects.order_by("-created_at", "-id")[:10])
        assert len(seq_scans(queries.captured_queries)) == 1
