"""Sets the stage: the two tenants, when they are missing, and this run's new thread in each."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone
from django.utils.text import slugify

from fleetprompt.demo.forums import HARBOR, ORCHARD, Community, Mark
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from forums.models import Category, Post, Thread
from signals.types import Actor

DEMO = Actor("system", "demo", "the demo")
_EXTERNAL = "demo-run-"


@dataclass(frozen=True)
class Scene:
    """One community's thread of this run."""

    tenant: str
    domain: str
    thread: Thread
    posts: list[tuple[Post, Mark]]

    def marked(self, *marks: Mark) -> list[Post]:
        """Return the posts of which a moderator would say one of `marks`, in their order."""
        return [post for post, mark in self.posts if mark in marks]


def prepare() -> tuple[int, Scene, Scene]:
    """Make what this run needs.

    Returns:
        the number of the run, the harbor's scene and the orchard's.

    Raises:
        ValidationError: a tenant is missing and cannot be made, as when its domain is another's.
    """
    tenants = [(_tenant(community), community) for community in (HARBOR, ORCHARD)]
    run = 1 + max(_last_run(tenant) for tenant, _ in tenants)
    harbor, orchard = (_scene(tenant, community, run) for tenant, community in tenants)
    return run, harbor, orchard


def _tenant(community: Community) -> Tenant:
    found: Tenant | None = Tenant.objects.filter(slug=community.slug).first()
    return found or create_tenant(community.slug, name=community.name, domain=community.domain)


def _last_run(tenant: Tenant) -> int:
    with in_tenant(tenant.slug):
        names = Thread.objects.filter(external_id__startswith=_EXTERNAL).values_list(
            "external_id", flat=True
        )
        numbers = [(name or "").removeprefix(_EXTERNAL) for name in names]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _scene(tenant: Tenant, community: Community, run: int) -> Scene:
    with in_tenant(tenant.slug):
        thread = content.create_thread(
            _category(community.category),
            f"{community.title} (run {run})",
            actor=DEMO,
            external_id=f"{_EXTERNAL}{run}",
        )
        posts = _posts(thread, community)
    domain = tenant.domains.values_list("domain", flat=True).first()
    return Scene(tenant.slug, domain or community.domain, thread, posts)


def _category(name: str) -> Category:
    slug = slugify(name)
    return Category.objects.filter(slug=slug).first() or content.create_category(slug, name, actor=DEMO)


def _posts(thread: Thread, community: Community) -> list[tuple[Post, Mark]]:
    first = timezone.now() - timedelta(minutes=7 * len(community.posts))
    return [
        (
            content.create_post(
                thread,
                sample.text,
                actor=DEMO,
                author_id=slugify(sample.author),
                author_label=sample.author,
                posted_at=first + timedelta(minutes=7 * number),
            ),
            sample.mark,
        )
        for number, sample in enumerate(community.posts)
    ]
