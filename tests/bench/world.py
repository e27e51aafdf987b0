"""Resources shared by measurements: server, clusters, and tenants created on first use."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection
from psycopg import sql
from uuid_utils.compat import uuid7

from directives.queueing import clusters
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import SCHEMA_PREFIX, Tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from forums.models import Category, Post, Thread
from signals.types import Actor
from tests.bench.cluster import Cluster, running
from tests.bench.server import Server
from tests.bench.sizes import Sizes
from tests.support import lose_wake_ups

REQUESTER = Actor("system", "bench")
HOT = ("directives_directive", "signals_signal", "forums_post")


class World:
    """One installation on a server of its own.

    Attributes:
        round: the number of the round, from 1.
        say: is told what takes long.
    """

    def __init__(
        self, server: Server, sizes: Sizes, folder: Path, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.server, self.sizes, self.folder, self.say = server, sizes, folder, say
        self.round = 1
        self._known: set[str] = set()
        self._superuser = server.connect()
        self._clusters = self._numbers = 0
        call_command("migrate_schemas", shared=True, verbosity=0)
        # The sweep is part of running; sealing is measured by itself, not at a minute's whim.
        self.seal_after("2100-01-01")

    def seal_after(self, moment: str) -> None:
        """Have clusters seal by their schedule from a moment on."""
        self.execute(
            "UPDATE public.django_q_schedule SET next_run = %s WHERE name = %s", moment, clusters.SEAL
        )

    def close(self) -> None:
        """Give the connections back."""
        self._superuser.close()
        connection.close()

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, committed at once; return its rows."""
        cursor = self._superuser.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def execute_in(self, slug: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Do the same in a tenant's schema."""
        self._superuser.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema(slug))))
        try:
            return self.execute(statement, *values)
        finally:
            self._superuser.execute("RESET search_path")

    def tenant(self, slug: str) -> str:
        """Make the tenant with a thread to post in, unless it is there; return its slug."""
        if slug not in self._known:
            self._known.add(slug)
            create_tenant(slug, name=slug.title(), domain=f"{slug}.bench.localhost")
            with in_tenant(slug):
                category = content.create_category("general", "General", actor=REQUESTER)
                content.create_thread(category, "Welcome", actor=REQUESTER)
        return slug

    def knows(self, slug: str) -> bool:
        """Return whether the tenant was asked for before."""
        return slug in self._known

    def many(self) -> list[str]:
        """Make as many tenants as are wanted, those that are there already aside; return their slugs."""
        slugs = []
        for number in range(self.sizes.tenants):
            slugs.append(f"many{number}")
            if not self.knows(slugs[-1]) and number % 100 == 0:
                self.say(f"  making tenants: {number} of {self.sizes.tenants}")
            self.tenant(slugs[-1])
        return slugs

    def posts(self, slug: str, count: int) -> list[str]:
        """Make published posts in the tenant; return their ids."""
        with in_tenant(self.tenant(slug)):
            [thread] = Thread.objects.filter(category__in=Category.objects.filter(slug="general"))[:1]
            made = [
                Post(id=uuid7(), thread=thread, content=f"Buy now, offer {number}", author_id="spammer")
                for number in range(count)
            ]
            Post.objects.bulk_create(made, batch_size=1_000)
        return [str(post.pk) for post in made]

    def suspend(self, slug: str) -> None:
        """Let no cluster touch the tenant any more, and forget what waits to wake one."""
        Tenant.objects.filter(slug=slug).update(status=Tenant.Status.SUSPENDED)
        lose_wake_ups()

    def activate(self, slug: str) -> None:
        """Let clusters work in the tenant."""
        Tenant.objects.filter(slug=slug).update(status=Tenant.Status.ACTIVE)

    def settle(self, *slugs: str) -> None:
        """Have the server do now what it would do some time, and not during a measurement."""
        for slug in slugs:
            for table in HOT:
                self.execute(f'VACUUM (ANALYZE) "{schema(slug)}".{table}')
        self.execute("VACUUM (ANALYZE) public.django_q_ormq")
        self.execute("CHECKPOINT")

    @contextmanager
    def cluster(self, *, workers: int = 2, **environment: str) -> Iterator[Cluster]:
        """Run a qcluster for a block; see `running`."""
        self._clusters += 1
        with running(
            self.folder / f"cluster{self._clusters}.log", workers=workers, **environment
        ) as cluster:
            yield cluster

    def numbers(self, count: int) -> range:
        """Return numbers that nobody had before."""
        self._numbers += count
        return range(self._numbers - count, self._numbers)


def schema(slug: str) -> str:
    """Return the name of a tenant's schema."""
    return f"{SCHEMA_PREFIX}{slug}"


def hides(posts: Sequence[str], name: str = "forum.post.hide") -> list[tuple[str, dict[str, str]]]:
    """Return what `request_many` wants to have to hide the posts."""
    return [(name, {"post_id": post}) for post in posts]
