"""Admin pages of signals: a read-only list that filters and searches by indexes, and a page each."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.models import Signal
from signals.types import Actor, Subject
from tests.admin import client_of
from tests.support import TESTER, ask, make_forum, run

LIST = "/admin/signals/signal/"
HOSTILE = "<script>alert(1)</script>"
MO = Actor("user", "7", "Mo")


def emit(name="forum.post.hidden", payload=None, **options):
    """Emit a signal in the tenant alpha under a key of its own."""
    with in_tenant("alpha"):
        options = {"dedupe_key": str(uuid4()), "actor": TESTER, **options}
        return bus.emit(name, payload or {}, **options).signal


def shown(client, **query):
    """Return the list's answer and the names that it shows."""
    answer = client.get(LIST, query)
    assert answer.status_code == 200, answer
    return answer, [signal.name for signal in answer.context["cl"].result_list]


@pytest.fixture
def client(database):
    return client_of("ann", group="Auditor")


def test_the_list_tells_what_happened_to_what_by_whom_and_why(client):
    with in_tenant("alpha"):
        forum = make_forum(1)
        directive = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, reason="Advert").directive
        run(directive)
    answer, names = shown(client)
    assert names[0] in ("directive.succeeded", "forum.post.hidden")
    html = answer.content.decode()
    assert f'href="/admin/forums/post/{forum.posts[0].pk}/change/">Post 0</a>' in html
    assert f'href="/admin/directives/directive/{directive.pk}/change/">Hide post</a>' in html
    assert "tester" in html
    assert "Advert" in html


def test_it_is_newest_first_whatever_the_address_says(client):
    for number in range(3):
        emit(f"test.number.n{number}")
    for query in ({}, {"o": "2"}, {"o": "-1.3"}, {"o": "x"}):
        assert shown(client, **query)[1] == ["test.number.n2", "test.number.n1", "test.number.n0"]


FILTERS = {
    "name": ({"name": "test.a"}, ["test.a"]),
    "a name that nobody has": ({"name": "test.nobody"}, []),
    "a name of any length": ({"name": "x" * 5000}, []),
    "actor": ({"actor": "user:7"}, ["test.b"]),
    "no actor's form": ({"actor": "7"}, []),
    "subject type": ({"subject_type": "zoo.animal"}, ["test.c"]),
    "two at once": ({"name": "test.b", "actor": "user:7"}, ["test.b"]),
    "two that no signal has": ({"name": "test.a", "actor": "user:7"}, []),
    "until a day": ({"recorded_at_to_0": "2020-01-01"}, []),
    "from a day": ({"recorded_at_from_0": "2020-01-01"}, ["test.c", "test.b", "test.a"]),
    "from a time to come": (
        {"recorded_at_from_0": "2999-01-01", "recorded_at_from_1": "10:00:00"},
        [],
    ),
    "no date": ({"recorded_at_from_0": "rubbish"}, []),
    "no time": ({"recorded_at_to_0": "2999-01-01", "recorded_at_to_1": "rubbish"}, []),
    "a time alone": ({"recorded_at_to_1": "10:00:00"}, []),
    "the end of the calendar": ({"recorded_at_to_0": "9999-12-31"}, ["test.c", "test.b", "test.a"]),
    "its beginning": ({"recorded_at_from_0": "0001-01-01"}, ["test.c", "test.b", "test.a"]),
}


@pytest.fixture
def three(client):
    emit("test.a")
    emit("test.b", actor=MO)
    emit("test.c", subject=Subject("zoo.animal", "cat"))
    return client


@pytest.mark.parametrize("case", FILTERS)
def test_filters(three, case):
    query, expected = FILTERS[case]
    assert shown(three, **query)[1] == expected


def test_a_day_ends_with_its_last_fraction_of_a_second(three):
    today = timezone.localdate()
    day = {"recorded_at_from_0": str(today), "recorded_at_to_0": str(today)}
    assert len(shown(three, **day)[1]) == 3
    assert shown(three, recorded_at_to_0=str(today - timedelta(days=1)))[1] == []


def test_filters_offer_what_there_is(three):
    html = shown(three)[0].content.decode()
    for offered in ("test.b", 'value="user:7"', "Mo (user)", "tester (system)", "zoo.animal"):
        assert offered in html


@pytest.mark.parametrize("query", ["payload__x=1", "source__regex=(", "id=1", "nothing=1"])
def test_other_conditions_are_refused(client, query):
    assert client.get(f"{LIST}?{query}").status_code == 400


def test_search_finds_by_each_kind_of_id(client):
    subject = Subject("zoo.animal", "cat 1")
    found = emit(
        "test.found", dedupe_key="key%_:1", subject=subject, correlation_id="co-1", causation_id="ca-1"
    )
    emit("test.other", dedupe_key="keys", correlation_id="co", causation_id="ca")
    terms = [str(found.pk), f" {found.pk} ", "key%_:1", "key%", "co-1", "ca-1", "cat 1", "zoo.animal:cat 1"]
    for term in terms:
        assert shown(client, q=term)[1] == ["test.found"], term
    for term in (
        "ey%_:1",
        "cat",
        "zoo.animal:",
        "co-1 ca-1",
        "x" * 5000,
        "'\"\\%_",
        ":",
    ):
        assert shown(client, q=term)[1] == [], term
    assert len(shown(client, q="  ")[1]) == 2


def test_search_and_filters_go_together(client):
    emit("test.a", correlation_id="one")
    emit("test.b", correlation_id="one")
    assert shown(client, q="one", name="test.b")[1] == ["test.b"]


def test_an_empty_list_says_what_to_do(client):
    assert "There are no signals yet" in client.get(LIST).content.decode()
    for query in ({"q": "x"}, {"name": "test.a"}):
        emit("test.b")
        assert "Show everything" in client.get(LIST, query).content.decode()


def test_hostile_texts_are_escaped(client):
    signal = emit(
        payload={"reason": HOSTILE, HOSTILE: [HOSTILE]},
        metadata={"x": HOSTILE},
        actor=Actor("agent", HOSTILE, HOSTILE),
        subject=Subject("zoo.animal", HOSTILE),
        dedupe_key=HOSTILE,
        correlation_id=HOSTILE,
        causation_id=HOSTILE,
    )
    for page in (LIST, f"{LIST}{signal.pk}/change/", f"{LIST}?q={HOSTILE}&name={HOSTILE}"):
        html = client.get(page).content.decode()
        assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_a_page_links_to_directive_subject_and_the_same_request(client):
    with in_tenant("alpha"):
        forum = make_forum(1)
        post = {"post_id": str(forum.posts[0].pk)}
        directive = ask("forum.post.hide", post, reason="Advert", correlation_id="batch").directive
        run(directive)
        signal = Signal.objects.get(name="forum.post.hidden")
        started = Signal.objects.get(name="directive.started")
    html = client.get(f"{LIST}{signal.pk}/change/").content.decode()
    for link in (
        f"/admin/directives/directive/{directive.pk}/change/",
        f"/admin/forums/post/{forum.posts[0].pk}/change/",
        f"{LIST}{started.pk}/change/",
        f"{LIST}?q=batch",
    ):
        assert f'href="{link}"' in html
    assert "published" in html  # of the payload
    assert "<form" not in html.partition('id="content"')[2]


def test_of_a_large_batch_a_page_shows_fifty_and_says_so(client):
    for _ in range(52):
        last = emit(correlation_id="big")
    answer = client.get(f"{LIST}{last.pk}/change/")
    assert len(answer.context["related"]) == 50
    assert "All of them" in answer.content.decode()


@pytest.mark.parametrize("pk", [uuid4(), "rubbish", "_00", "x" * 3000])
def test_no_such_signal_leads_to_the_first_page(client, pk):
    answer = client.get(f"{LIST}{pk}/change/")
    assert (answer.status_code, answer.url) == (302, "/admin/")


def test_nobody_writes_superusers_included(client):
    signal = emit()
    root = client_of("root", superuser=True)
    for user in (client, root):
        assert user.get(f"{LIST}add/").status_code == 403
        assert user.post(f"{LIST}add/", {"name": "a.b"}).status_code == 403
        assert user.post(f"{LIST}{signal.pk}/change/", {"name": "a.b"}).status_code == 403
        assert user.get(f"{LIST}{signal.pk}/delete/").status_code == 403
        assert user.post(f"{LIST}{signal.pk}/delete/", {"post": "yes"}).status_code == 403
        assert "delete" not in user.get(LIST).content.decode().partition('id="content"')[2]
    with in_tenant("alpha"):
        assert Signal.objects.get().name == signal.name


def test_who_may_not_view_sees_nothing(client):
    signal = emit()
    nobody = client_of("bob")
    for page in (LIST, f"{LIST}{signal.pk}/change/", f"{LIST}{uuid4()}/change/", f"{LIST}export/csv/"):
        assert nobody.get(page).status_code == 403
        assert Client(headers={"host": "alpha.localhost"}).get(page).status_code == 302


def test_a_list_takes_as_many_queries_for_fifty_rows_as_for_two(client):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            shown(client)
        return len(captured)

    emit("test.a", subject=Subject("forum.post", str(uuid4())), causation_id=str(uuid4()))
    few = queries()
    for number in range(60):
        emit(f"test.n{number}", subject=Subject("forum.post", str(uuid4())), causation_id=str(uuid4()))
    assert queries() == few
