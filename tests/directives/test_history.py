"""A subject's history: its directives and signals, and those of its parts, in one timeline by indexes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from directives.display import history
from directives.display.history import MAX_NESTED, PAGE_SIZE, Place
from directives.models import Directive
from fleetprompt.errors import Refused
from fleetprompt.tenants.context import in_tenant
from forums import content
from forums.models import Post
from signals import bus
from signals.models import Signal
from signals.types import Subject
from tests.admin import client_of
from tests.big import asked, seq_scans
from tests.recipes.forums import WITH_MEMBER
from tests.signals.test_admin import HOSTILE
from tests.support import ABSENT, TESTER, ask, create_forum, owner_cursor, run


@pytest.fixture
def client(database):
    return client_of("ann", group="Auditor")


@pytest.fixture
def forum(alpha):
    """The sample forum with the signals of its making, which these tests look at."""
    return create_forum()


def page_of(thread, *place):
    return history.page(thread.subject, [(Post.SUBJECT_TYPE, thread.posts.all())], *place)


def emit(name, subject, **options):
    return bus.emit(
        name, {}, **{"dedupe_key": str(uuid4()), "actor": TESTER, "subject": subject, **options}
    ).signal


def told(page):
    """Return what a page of a history tells: directives with their signals, signals alone."""
    return [
        (happening.directive.name, [entry.signal.name for entry in happening.entries])
        if happening.directive
        else happening.entries[0].signal.name
        for happening in page.happenings
    ]


HIDDEN = (
    "forum.post.hide",
    ["directive.requested", "directive.started", "forum.post.hidden", "directive.succeeded"],
)


def test_a_thread_tells_of_itself_and_its_posts_newest_first(forum):
    other = content.create_thread(forum.category, "Another", actor=TESTER)
    content.create_post(other, "Elsewhere", actor=TESTER, author_id="bob")
    run(ask("forum.post.hide", {"post_id": str(forum.posts[1].pk)}).directive)
    ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)})
    emit("outside.seen", forum.posts[0].subject)
    assert told(page_of(forum.thread)) == [
        "outside.seen",
        ("forum.thread.lock", ["directive.requested"]),
        HIDDEN,
        *["forum.post.created"] * 3,
        "forum.thread.created",
    ]
    assert told(history.page(forum.posts[1].subject)) == [HIDDEN, "forum.post.created"]
    assert told(history.page(forum.posts[2].subject)) == ["forum.post.created"]
    assert told(history.page(other.subject)) == ["forum.thread.created"]


def test_a_signal_of_a_directive_about_something_else_stands_alone(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "Hi",
        "author_id": "bot",
        "client_request_id": "1",
    }
    run(ask("forum.post.create", payload).directive)
    post = Post.objects.get(author_id="bot")
    assert told(history.page(post.subject)) == ["forum.post.created"]
    thread = told(page_of(forum.thread))
    assert thread[0][0] == "forum.post.create"
    assert "forum.post.created" in thread[0][1]
    assert thread.count("forum.post.created") == 3


@pytest.mark.parametrize("causation", ["", "rubbish", "{x}", ABSENT, ABSENT.upper()])
def test_a_causation_that_is_no_directive_leaves_a_signal_alone(forum, causation):
    emit("outside.seen", forum.thread.subject, causation_id=causation)
    assert told(page_of(forum.thread))[0] == "outside.seen"


def pages(thread, limit):
    """Return what all pages tell, read one after the other."""
    before, found = None, []
    while True:
        page = page_of(thread, before, limit)
        assert len(page.happenings) <= limit
        found += page.happenings
        if page.older is None:
            return found
        # What a link says is what the next page understands.
        before = Place.parse(str(page.older))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_meet_without_a_gap_or_a_repetition(forum, limit):
    for number in range(3):
        ask("forum.post.hide", {"post_id": str(forum.posts[number].pk)})
        emit("outside.seen", forum.posts[number].subject)
        ask("forum.post.unhide", {"post_id": str(forum.posts[number].pk)})
    same_time = datetime(2020, 1, 1, tzinfo=UTC)
    Directive.objects.filter(name="forum.post.hide").update(created_at=same_time)
    emit("outside.again", forum.thread.subject)
    everything = pages(forum.thread, 1000)
    assert len(everything) == 6 + 4 + 4
    places = [happening.place for happening in everything]
    assert places == sorted(places, reverse=True)
    assert [happening.place for happening in pages(forum.thread, limit)] == places


def test_of_a_directive_with_many_signals_the_newest_are_shown(forum):
    directive = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
    for number in range(MAX_NESTED):
        last = emit(f"outside.n{number}", forum.thread.subject, causation_id=str(directive.pk))
    [happening] = [found for found in page_of(forum.thread).happenings if found.directive]
    assert happening.is_cut
    assert len(happening.entries) == MAX_NESTED
    assert happening.entries[-1].signal == last


@pytest.mark.parametrize("text", ["", "rubbish", "2020-01-01T00:00:00Z", "2020-01-01_x", "x_" + ABSENT])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(Refused, match="before"):
        Place.parse(text)


def test_a_place_without_a_zone_or_at_the_end_of_the_calendar_is_refused():
    for at in ("2020-01-01T00:00:00", "9999-12-31T23:59:59Z"):
        with pytest.raises(Refused, match="before"):
            Place.parse(f"{at}_{uuid4()}")


def urls(record):
    kind = type(record).__name__.lower()
    return f"/admin/forums/{kind}/{record.pk}/change/", f"/admin/forums/{kind}/{record.pk}/history/"


def test_the_page_of_a_hidden_post_says_by_whom_and_why(client):
    with in_tenant("alpha"):
        forum = create_forum(1)
        directive = ask(
            "forum.post.hide", {"post_id": str(forum.posts[0].pk)}, reason="An advert"
        ).directive
        run(directive)
    detail, whole = urls(forum.posts[0])
    html = client.get(detail).content.decode()
    head = html.partition('class="fp-columns"')[0].partition('class="fp-page"')[2]
    for said in (
        "Hidden",
        "by system:tester",
        "An advert",
        f"/admin/directives/directive/{directive.pk}/change/",
        whole,
    ):
        assert said in head
    assert "Post 0" in html
    html = client.get(whole).content.decode()
    for said in ("Hide post", "An advert", "forum.post.hidden", "forum.post.created"):
        assert said in html


def test_the_page_of_a_thread_shows_its_newest_posts_and_leads_to_all(client):
    with in_tenant("alpha"):
        forum = create_forum(22)
    answer = client.get(urls(forum.thread)[0])
    assert [row[0].pk for row in answer.context["newest"].rows] == [post.pk for post in forum.posts[:1:-1]]
    html = answer.content.decode()
    assert urls(forum.posts[21])[0] in html
    assert f"/threads/{forum.thread.pk}/" in html
    assert client.get(answer.context["newest"].url).context["cl"].result_count == 22
    assert len(answer.context["page"].happenings) == 10


def test_the_page_of_a_category_shows_its_threads(client):
    with in_tenant("alpha"):
        forum = create_forum(1)
    answer = client.get(urls(forum.category)[0])
    assert urls(forum.thread)[0] in answer.content.decode()
    assert client.get(answer.context["newest"].url).context["cl"].result_count == 1
    assert told(client.get(urls(forum.category)[1]).context["page"]) == ["forum.category.created"]


def test_a_post_is_linked_where_readers_find_it(client):
    with in_tenant("alpha"):
        forum = create_forum(51)
    answer = client.get(urls(forum.posts[50])[0])
    url, _, anchor = answer.context["public_url"].partition("#")
    assert f'id="{anchor}"' in client.get(url).content.decode()


def test_hostile_texts_are_escaped(client):
    with in_tenant("alpha"):
        forum = create_forum(0)
        category = content.create_category("x", HOSTILE, actor=TESTER)
        thread = content.create_thread(category, HOSTILE, actor=TESTER)
        post = content.create_post(thread, HOSTILE, actor=TESTER, author_id=HOSTILE, author_label=HOSTILE)
        run(ask("forum.post.hide", {"post_id": str(post.pk)}, reason=HOSTILE).directive)
        bus.emit(
            "outside.seen",
            {HOSTILE: {"x": HOSTILE}},
            dedupe_key=HOSTILE,
            actor=TESTER,
            subject=thread.subject,
        )
    assert forum
    for record in (category, thread, post):
        for page in urls(record):
            html = client.get(page).content.decode()
            assert HOSTILE not in html
            assert "&lt;script&gt;" in html


def test_an_older_page_follows_the_link(client):
    with in_tenant("alpha"):
        forum = create_forum(PAGE_SIZE + 5)
    page = urls(forum.thread)[1]
    first = client.get(page)
    assert len(first.context["page"].happenings) == PAGE_SIZE
    html = first.content.decode()
    link = html.partition('href="?before=')[2].partition('"')[0]
    second = client.get(f"{page}?before={link}")
    assert told(second.context["page"])[-1] == "forum.thread.created"
    assert len(second.context["page"].happenings) == 6
    assert "?before=" not in second.content.decode()
    empty = client.get(page, {"before": f"2000-01-01T00:00:00Z_{uuid4()}"})
    assert "Nothing older" in empty.content.decode()


@pytest.mark.parametrize("before", ["rubbish", "\x00", "9" * 3000, "2020-01-01T00:00:00_1"])
def test_a_bad_place_is_a_bad_request(client, before):
    with in_tenant("alpha"):
        forum = create_forum(0)
    assert client.get(urls(forum.thread)[1], {"before": before}).status_code == 400


def test_who_may_not_view_directives_sees_no_history(database):
    with in_tenant("alpha"):
        forum = create_forum(1)
    reader = client_of("rita")
    detail, whole = urls(forum.posts[0])
    assert reader.get(detail).status_code == reader.get(whole).status_code == 403
    with in_tenant("alpha"):
        user = forum and Permission.objects.get(codename="view_post")
        user.user_set.add(*user.user_set.model.objects.all())
    answer = reader.get(detail)
    assert answer.status_code == 200
    assert "page" not in answer.context
    assert whole not in answer.content.decode()
    assert reader.get(whole).status_code == 403


def test_nobody_writes_a_subject(client):
    root = client_of("root", superuser=True)
    with in_tenant("alpha"):
        forum = create_forum(1)
    for record in (forum.category, forum.thread, forum.posts[0]):
        for page in urls(record):
            assert root.post(page, {"status": "hidden"}).status_code == 403
        assert (
            root.get(f"/admin/forums/{type(record).__name__.lower()}/{uuid4()}/history/").status_code == 302
        )


@pytest.fixture
def large(database):
    """Make 20,000 directives and 72,000 signals, most about the 10,000 posts of one thread."""
    with in_tenant("alpha"):
        forum = create_forum(0)
        other = content.create_thread(forum.category, "Other", actor=TESTER)
        for statement in LARGE:
            with owner_cursor() as cursor:
                cursor.execute(statement, {"thread": forum.thread.pk, "other": other.pk})
    return forum.thread


LARGE = [
    f"{WITH_MEMBER.format('ann')} INSERT INTO forums_post (id, revision, created_at, thread_id,"
    " content, status, author_type, author_id, author_label, member_id)"
    " SELECT gen_random_uuid(), 1, now() - n * interval '1 second',"
    " CASE WHEN n <= 10000 THEN %(thread)s::uuid ELSE %(other)s::uuid END, 'Post ' || n, 'published',"
    " 'human', 'ann', '', member_id FROM generate_series(1, 12000) AS n, member",
    "INSERT INTO directives_directive (id, name, status, payload, metadata, personal, idempotency_key,"
    " actor_type, actor_id, actor_label, subject_type, subject_id, ordering_key, correlation_id,"
    " causation_id, scheduled_at, queued_at, attempt, max_attempts, last_error, created_at)"
    " SELECT gen_random_uuid(), 'forum.post.hide', 'succeeded', '{}', '{}', '{}', gen_random_uuid()::text,"
    " 'user', '7', 'Mo', 'forum.post', id::text, '', '', '', at, at, 1, 5, '', at FROM forums_post,"
    " generate_series(1, 2) AS n, LATERAL"
    " (SELECT now() - random() * interval '90 days' * n AS at WHERE id IS NOT NULL) AS t"
    " WHERE thread_id = %(thread)s::uuid ORDER BY at",
    "INSERT INTO signals_signal (id, name, dedupe_key, payload, metadata, occurred_at, recorded_at,"
    " actor_type, actor_id, actor_label, subject_type, subject_id, source, correlation_id, causation_id)"
    " SELECT gen_random_uuid(), 'directive.n' || n, gen_random_uuid()::text, '{}', '{}', created_at,"
    " created_at + n * interval '1 second', 'user', '7', 'Mo', subject_type, subject_id, 'directives', '',"
    " id::text FROM directives_directive, generate_series(1, 3) AS n ORDER BY created_at",
    "INSERT INTO signals_signal (id, name, dedupe_key, payload, metadata, occurred_at, recorded_at,"
    " actor_type, actor_id, actor_label, subject_type, subject_id, source, correlation_id, causation_id)"
    " SELECT gen_random_uuid(), 'forum.post.created', gen_random_uuid()::text, '{}', '{}', created_at,"
    " created_at, 'system', 'x', '', 'forum.post', id::text, 'forums', '', '' FROM forums_post",
    # As autovacuum leaves them.
    "VACUUM (ANALYZE) forums_post, directives_directive, signals_signal",
]


LISTED = [
    "",
    "p=150",
    "name=directive.n1",
    "name=forum.post.created&p=9",
    "actor=user:7&p=99",
    "actor=system:x",
    "subject_type=forum.post",
    "recorded_at_from_0=2020-01-01",
    "name=directive.n1&actor=user:7",
    "name=directive.n1&actor=system:x",
    "q=x",
    "q=forum",
    "q=forum.post:1",
    "q={signal.pk}",
    "q={signal.subject_id}",
    "q={signal.causation_id}",
]
"""Query strings of the list of signals."""


@pytest.mark.long
def test_large_pages_take_few_queries_and_no_scan(client, large):
    with in_tenant("alpha"):
        for days in (None, 30, 85):
            place = days and Place(datetime.now(UTC) - timedelta(days=days), UUID(int=0))
            with CaptureQueriesContext(connection) as captured:
                page = page_of(large, place)
            assert len(page.happenings) == PAGE_SIZE
            assert_cheap(captured, 5)
        post = Post.objects.filter(thread=large).first()
        signal = Signal.objects.filter(subject_id=str(post.pk), name="directive.n2").first()
    pages = [*urls(large), *urls(post), f"/admin/signals/signal/{signal.pk}/change/"]
    pages += [f"/admin/signals/signal/?{query.format(signal=signal)}" for query in LISTED]
    for page in pages:
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(page)
        assert answer.status_code == 200, page
        with in_tenant("alpha"):
            assert_cheap(captured, 30)
    html = client.get("/admin/signals/signal/").content.decode()
    assert "10,000+ signals" in html
    assert "10000" not in html


def assert_cheap(captured, most):
    """Check that there are at most so many queries, and that none reads a large table from end to end."""
    assert 0 < asked(captured) <= most
    assert seq_scans(captured) == []


def test_latest_change_is_the_one_to_the_status_that_it_has(forum):
    post = {"post_id": str(forum.posts[0].pk)}
    run(ask("forum.post.hide", post, reason="first").directive)
    run(ask("forum.post.unhide", post).directive)
    directive = ask("forum.post.hide", post, reason="second").directive
    run(directive)
    found = history.latest_change(forum.posts[0].subject, "hidden")
    assert found
    assert found.causation_id == str(directive.pk)
    assert history.latest_change(forum.posts[1].subject, "published") is None
    assert history.latest_change(Subject("zoo.animal", "x"), "hidden") is None
