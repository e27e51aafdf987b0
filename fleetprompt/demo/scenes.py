"""Tenants of the demo, made when they are missing, and the new threads of each run."""

from datetime import timedelta
from typing import NamedTuple

from django.utils import timezone
from django.utils.text import slugify

from fleetprompt.demo.forums import HARBOR, ORCHARD, Community, Mark
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from forums.models import Category, Post, Thread
from signals.types import Actor

_ACTOR = Actor("system", "demo", "the demo")
_EXTERNAL = "demo-run-"
_MINUTES_BETWEEN_POSTS = 7


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
    communities = [(_tenant(community), community) for community in (HARBOR, ORCHARD)]
    run = 1 + max(_last_run(tenant) for tenant, _ in communities)
    harbor, orchard = (_scene(tenant, community, run) for tenant, community in communities)
    return run, harbor, orchard


def _tenant(community: Community) -> Tenant:
    found: Tenant | None = Tenant.objects.filter(slug=community.slug).first()
    return found or create_tenant(community.slug, name=community.name, domain=f"{community.slug}.localhost")


def _last_run(tenant: Tenant) -> int:
    with in_tenant(tenant.slug):
        threads = Thread.objects.filter(external_id__regex=rf"^{_EXTERNAL}\d+$")
        names = [str(name) for name in threads.values_list("external_id", flat=True)]
    return max((int(name.removeprefix(_EXTERNAL)) for name in names), default=0)


def _scene(tenant: Tenant, community: Community, run: int) -> Scene:
    first = timezone.now() - timedelta(minutes=_MINUTES_BETWEEN_POSTS * len(community.posts))
    slug = slugify(community.category)
    with in_tenant(tenant.slug):
        category = Category.objects.filter(slug=slug).first() or content.create_category(
            slug, community.category, actor=_ACTOR
        )
        title, key = f"{community.title} (run {run})", f"{_EXTERNAL}{run}"
        thread = content.create_thread(category, title, actor=_ACTOR, external_id=key)
        posts = [
            content.create_post(
                thread,
                sample.text,
                actor=_ACTOR,
                author_id=slugify(sample.author),
                author_label=sample.author,
                posted_at=first + timedelta(minutes=_MINUTES_BETWEEN_POSTS * number),
            )
            for number, sample in enumerate(community.posts)
        ]
    domain = tenant.domains.values_list("domain", flat=True)[0]
    marks = [sample.mark for sample in community.posts]
    return Scene(tenant.slug, domain, thread, list(zip(posts, marks, strict=True)))
