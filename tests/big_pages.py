"""The pages that must stay fast in a very big tenant, and the tenant that they are tried in."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from directives.models import Directive
from forums import content
from forums.models import Post
from signals.models import Signal
from tests.big import fill
from tests.recipes.forums import WITH_MEMBER
from tests.support import TESTER, owner_cursor

DIRECTIVES = 200_000
SIGNALS = 600_000

_POSTS = f"""
{WITH_MEMBER.format("ann")}
INSERT INTO forums_post (id, thread_id, content, status, author_type, author_id, author_label, member_id,
    revision)
SELECT md5('subject ' || n)::uuid, %s, 'Post ' || n, 'published', 'human', 'ann', 'Ann', member_id, 1
FROM generate_series(0, %s - 1) AS n, member
"""


class Page(NamedTuple):
    """A page, and how many queries it may take at most."""

    name: str
    path: str
    queries: int


def make_tenant(directives: int = DIRECTIVES, signals: int = SIGNALS) -> UUID:
    """Fill the active tenant: all directives are about the posts of one thread; return the thread's id."""
    category = content.create_category("general", "General", actor=TESTER)
    thread = content.create_thread(category, "Everything happens here", actor=TESTER)
    with owner_cursor() as cursor:
        cursor.execute(_POSTS, [thread.pk, max(directives // 10, 1)])
        cursor.execute("ANALYZE forums_post")
    fill(directives, signals)
    return thread.pk


def pages(thread: UUID) -> Iterator[Page]:
    """Return the pages to look at in the active tenant that `make_tenant` filled."""
    failed = Directive.objects.filter(status="failed").order_by("-created_at")[0]
    post = Post.objects.get(pk=failed.subject_id)
    signal = Signal.objects.order_by("-recorded_at")[0]
    listing = "directives/directive/"
    yield Page("overview", "", 25)
    yield Page("directives", listing, 25)
    for name, query in (
        ("status", "status=failed"),
        ("snoozed", "status=snoozed"),
        ("name", "name=forum.post.hide"),
        ("actor", f"actor={failed.actor_type}:{failed.actor_id}"),
        ("subject type", "subject_type=forum.post"),
        ("last 7 days", "within=7d"),
        ("dates", "created_at_from_0=2020-01-01&created_at_to_0=2099-01-01"),
        ("two filters", "status=failed&name=forum.post.hide"),
    ):
        yield Page(f"directives by {name}", f"{listing}?{query}", 25)
    for name, term in (
        ("id", str(failed.pk)),
        ("key", failed.idempotency_key[:30]),
        ("correlation id", failed.correlation_id),
        ("subject", failed.subject_id),
        ("nothing", "no such thing"),
    ):
        yield Page(f"search by {name}", f"{listing}?q={term}", 25)
    far = min(100, Directive.objects.count() // 50)
    yield Page("directives, a far page", f"{listing}?p={far}", 25)
    yield Page("a directive", f"{listing}{failed.pk}/change/", 30)
    yield Page("a batch", f"{listing}batch/{failed.correlation_id}/", 20)
    yield Page("a post", f"forums/post/{post.pk}/change/", 30)
    yield Page("history of a post", f"forums/post/{post.pk}/history/", 30)
    yield Page("a thread", f"forums/thread/{thread}/change/", 30)
    yield Page("history of a thread", f"forums/thread/{thread}/history/", 30)
    yield Page("signals", "signals/signal/", 25)
    yield Page("signals by name", "signals/signal/?name=directive.started", 25)
    yield Page("signals by actor", f"signals/signal/?actor={failed.actor_type}:{failed.actor_id}", 25)
    yield Page("search for signals", f"signals/signal/?q={failed.pk}", 25)
    yield Page("search for a text in signals", "signals/signal/?q=Reason 7", 25)
    yield Page("a signal", f"signals/signal/{signal.pk}/change/", 25)
