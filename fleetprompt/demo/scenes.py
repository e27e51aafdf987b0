"""Sample communities of the demo: tenants, made when they are missing, and the new threads of each run."""

from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from django.utils import timezone
from django.utils.text import slugify

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from forums.models import Category, Post, Thread
from signals.types import Actor

_ACTOR = Actor("system", "demo", "the demo")
_EXTERNAL = "demo-run-"
_BETWEEN_POSTS = timedelta(minutes=7)
_COMMUNITIES = (
    ("harbor", "Harbor Model Boats", "Workbench", "Which varnish for a cedar deck?"),
    ("orchard", "Orchard Growers", "Trees", "Is autumn grafting a mistake?"),
)
"""Slug, name, category and thread of each community; its posts are in the text file `<slug>.txt`."""


class Mark(StrEnum):
    """A moderator's opinion of a post: the first character of its line in the samples."""

    FINE = " "
    SPAM = "!"
    MISJUDGED = "?"
    """Fine, although it looks like spam."""
    PRIVATE = "#"
    """It gives away where a member lives."""


class Scene(NamedTuple):
    """One community's thread of this run."""

    tenant: str
    domain: str
    thread: Thread
    posts: list[tuple[Post, Mark]]

    def marked(self, *marks: Mark) -> list[Post]:
        """Return the posts with one of `marks`, in their order."""
        return [post for post, mark in self.posts if mark in marks]


def prepare() -> tuple[int, Scene, Scene]:
    """Make what this run needs.

    Returns:
        the number of the run, the harbor's scene and the orchard's.

    Raises:
        ValidationError: a tenant is missing and cannot be made, as when its domain is another's.
    """
    earlier = 0
    for slug, name, *_ in _COMMUNITIES:
        if not Tenant.objects.filter(slug=slug).exists():
            create_tenant(slug, name=name, domain=f"{slug}.localhost")
        with in_tenant(slug):
            earlier = max(earlier, Thread.objects.filter(external_id__startswith=_EXTERNAL).count())
    run = earlier + 1
    harbor, orchard = (_scene(slug, category, title, run) for slug, _, category, title in _COMMUNITIES)
    return run, harbor, orchard


def _scene(slug: str, category: str, title: str, run: int) -> Scene:
    lines = Path(__file__).with_name(f"{slug}.txt").read_text(encoding="utf-8").splitlines()
    begin = timezone.now() - _BETWEEN_POSTS * len(lines)
    with in_tenant(slug) as tenant:
        group = Category.objects.filter(slug=slugify(category)).first() or content.create_category(
            slugify(category), category, actor=_ACTOR
        )
        thread = content.create_thread(
            group, f"{title} (run {run})", actor=_ACTOR, external_id=f"{_EXTERNAL}{run}"
        )
        posts = [
            (_post(thread, line, begin + _BETWEEN_POSTS * number), Mark(line[0]))
            for number, line in enumerate(lines)
        ]
        return Scene(slug, tenant.domains.all()[0].domain, thread, posts)


def _post(thread: Thread, line: str, posted_at: datetime) -> Post:
    author, text = line[2:].split(": ", 1)
    return content.create_post(
        thread, text, actor=_ACTOR, author_id=slugify(author), author_label=author, posted_at=posted_at
    )
