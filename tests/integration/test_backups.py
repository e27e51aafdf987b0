"""The commands of docs/guides/back-up.md after a real loss: due work continues, each effect once."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from directives import tasks
from directives.models import Directive
from fleetprompt.postgres import embedded, grants
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Domain, Tenant
from signals.models import Signal
from tests.docs.pages import DOCS, ROOT, blocks
from tests.recipes import tenants
from tests.support import (
    ask_animal,
    change,
    crash,
    effects,
    ended,
    environment,
    lose_wake_ups,
    owner_cursor,
    qcluster,
    run,
    states,
    wait_until,
)

SEAL = ("audit", "seal", "--all-tenants")
PATH = Path(__file__).relative_to(ROOT)
VERIFY = ("audit", "verify", "--all-tenants")
CHECKS = [VERIFY, ("doctor",)]
"""Management commands that must pass on a restored database while a cluster runs."""
DUMP, RESTORE, DUMP_ONE, _ONE, TAKE_OUT, ACKNOWLEDGE = [
    block.text for block in blocks(DOCS / "guides/back-up.md") if block.note == f"by {PATH}"
]
DELETE, RESTORE_ONE, REGISTER = _ONE.strip().splitlines()


@dataclass(frozen=True)
class Work:
    """Directives of a tenant in every state, and what its signals said."""

    slug: str
    finished: Directive
    failed: Directive
    due: Directive
    running: Directive
    later: Directive
    signals: list[tuple[object, ...]]

    def states(self) -> list[str]:
        """Return the statuses as they are stored."""
        return states(self.finished, self.failed, self.due, self.running, self.later)

    def effects(self) -> list[int]:
        """Count the effects of each."""
        every = (self.finished, self.failed, self.due, self.running, self.later)
        return [effects(directive.payload["animal"]) for directive in every]


def fill(slug: str) -> Work:
    """Leave directives of every kind in a tenant, about animals that no other test knows."""
    with in_tenant(slug):
        names = [f"{kind} {uuid4().hex[:8]}" for kind in ("cat", "owl", "ant", "dog", "bat")]
        finished, failed, due, running, later = (
            ask_animal("refuse" if name.startswith("owl") else "work", animal=name) for name in names
        )
        run(finished)
        run(failed)
        crash(running)
        change(later, scheduled_at=timezone.now() + timezone.timedelta(days=1))
        return Work(slug, finished, failed, due, running, later, said())


def said() -> list[tuple[object, ...]]:
    """Return what the active tenant's signals say, in their order."""
    return list(Signal.objects.values_list("id", "name", "dedupe_key", "recorded_at", "payload"))


def follow(commands: str, folder, slug: str = "") -> None:
    """Run documented commands in a shell, about this tenant in place of the documented one."""
    for documented, real in (
        ("org_harbor", f"org_{slug}"),
        ("tenant restore harbor", f"tenant restore {slug}"),
        ("tenant delete harbor", f"tenant delete {slug}"),
        ("--tenant harbor", f"--tenant {slug}"),
        ("python manage.py", f"{sys.executable} {settings.BASE_DIR}/manage.py"),
    ):
        commands = commands.replace(documented, real)
    # The programs of the server's own version: on another server, those on the path.
    programs = f"{embedded.programs()}:" if connection.settings_dict.get("EMBEDDED") else ""
    done = subprocess.run(
        ["bash", "-euc", f"cd {folder}; {commands}"],  # noqa: S607
        cwd=settings.BASE_DIR,
        env={**environment(), "PATH": programs + os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def assert_restored(*works: Work) -> None:
    """Check that the tenants are as they were, and that the database guards them."""
    for work in works:
        with in_tenant(work.slug):
            assert said() == work.signals
            assert work.states() == ["succeeded", "failed", "requested", "running", "requested"]
    assert grants.weaknesses() == []


def assert_goes_on(log, *works: Work) -> None:
    """Check that a cluster finishes what was due and takes over what was running, each effect once."""

    def done() -> bool:
        # As the schedule does every minute.
        tasks.sweep()
        return all(_ended(work) for work in works)

    with qcluster(log, DATABASE_OWNER_URL=""):
        wait_until(done, "what was due has been done")
        for check in CHECKS:
            assert passes(*check)
    for work in works:
        with in_tenant(work.slug):
            assert work.states() == ["succeeded", "failed", "succeeded", "succeeded", "requested"]
            assert work.effects() == [1, 0, 1, 1, 0]
            assert said()[: len(work.signals)] == work.signals
            work.running.refresh_from_db()
            assert work.running.attempt == 2


def passes(*command: str) -> bool:
    """Run a management command; return whether it passes."""
    try:
        call_command(*command)
    except CommandError:
        return False
    return True


def _ended(work: Work) -> bool:
    with in_tenant(work.slug):
        return ended([work.due, work.running])


@pytest.mark.long
def test_the_whole_comes_back_and_one_tenant_out_of_it_and_goes_on(documented, tmp_path, capsys):
    works = [fill("north"), fill("south")]
    assert passes(*SEAL)
    follow(DUMP, tmp_path)
    with in_tenant("north"):
        run(ask_animal("work", animal="too late"))
    assert passes(*SEAL)
    documented.make_anew()
    follow(RESTORE, tmp_path)
    assert set(Tenant.objects.values_list("slug", "domains__domain")) == {
        ("north", "north.localhost"),
        ("south", "south.localhost"),
    }
    assert_restored(*works)
    assert not passes(*VERIFY)
    assert "an older backup was restored" in capsys.readouterr().out
    follow(ACKNOWLEDGE, tmp_path, "north")
    assert passes(*VERIFY)
    follow(DELETE, tmp_path, "north")
    follow(TAKE_OUT, tmp_path, "north")
    follow(REGISTER, tmp_path, "north")
    assert_restored(*works)
    assert_goes_on(tmp_path / "log", *works)


@pytest.mark.long
def test_one_tenant_comes_back_beside_the_others_and_goes_on(documented, tmp_path):
    tenants.domain.make(tenant=Tenant.objects.get(slug="north"), domain="pole.localhost")
    work, other = fill("north"), fill("south")
    assert passes(*SEAL)
    follow(DUMP_ONE, tmp_path, "north")
    before = Tenant.objects.filter(slug="north").values("name", "status", "created_at").get()
    with in_tenant("north"):
        run(ask_animal("work", animal="too late"))
    follow(DELETE, tmp_path, "north")
    lose_wake_ups()
    follow(RESTORE_ONE, tmp_path, "north")
    assert tasks.work("north") == 0, "nobody touches it before it is registered"
    follow(REGISTER, tmp_path, "north")
    tenant = Tenant.objects.filter(slug="north")
    assert tenant.values("name", "status", "created_at").get() == before
    assert [domain.domain for domain in tenant.get().domains.all()] == ["north.localhost", "pole.localhost"]
    assert_restored(work, other)
    assert passes(*VERIFY)
    assert_goes_on(tmp_path / "log", work, other)


ROW = {
    "slug": "ghost",
    "name": "Ghost",
    "status": "active",
    "domains": ["ghost.localhost"],
    "created_at": "2020-01-31T09:00:00.123456+00:00",
}


@pytest.mark.parametrize(
    ("rows", "slug", "said"),
    [
        ([ROW], "ghost", "slug: there is no schema 'org_ghost'; restore it first"),
        ([ROW], "spirit", "does not have the tenant 'spirit'; it has: ghost"),
        ([ROW], "north", "does not have the tenant 'north'"),
        ([{**ROW, "slug": "north"}], "north", "slug: a tenant 'north' exists already"),
        ([{**ROW, "domains": ["south.localhost"]}], "ghost", "belongs to the tenant 'south'"),
        ([{**ROW, "domains": []}], "ghost", r"--from: expected .* \[0\]\.domains: "),
        ([{**ROW, "created_at": "2020-01-31T09:00"}], "ghost", r"--from: expected .* \[0\]\.created_at: "),
        *(
            (
                [{**ROW, "created_at": wrong}],
                "ghost",
                "created_at: expected a time from 2000-01-01 until now",
            )
            for wrong in (
                "0001-01-01T00:00:00+14:00",
                "9999-12-31T23:59:59-14:00",
                "1999-12-31T23:59:59+00:00",
                "2090-01-01T00:00:00+00:00",
            )
        ),
        (
            [{**ROW, "domains": ["a.localhost", "A.localhost"]}],
            "ghost",
            "domain: 'a.localhost' is named twice",
        ),
        ([{**ROW, "domains": ["ghost\0.localhost"]}], "ghost", "domain: expected a host name"),
        ([{**ROW, "name": "\ud800"}], "ghost", "--from: expected "),
        ({}, "ghost", "--from: expected a file with what `tenant list --format json` prints; the whole: "),
        (None, "ghost", "No such file"),
    ],
)
def test_what_cannot_be_restored_is_refused_and_changes_nothing(documented, tmp_path, rows, slug, said):
    file = tmp_path / "tenants.json"
    if rows is not None:
        file.write_text(json.dumps(rows))
    before = list(Domain.objects.values_list("tenant__slug", "domain"))
    with pytest.raises(CommandError, match=said):
        call_command("tenant", "restore", slug, file=str(file))
    assert list(Domain.objects.values_list("tenant__slug", "domain")) == before


@pytest.mark.parametrize("time", ["0001-01-01 00:00:00+14:00", "9999-12-31 23:59:59-14:00"])
def test_a_tenant_with_a_time_that_python_cannot_hold_stops_no_other(documented, tmp_path, time):
    assert passes(*SEAL)
    fill("south")
    with owner_cursor() as cursor:
        cursor.execute("SELECT created_at FROM public.tenants_tenant WHERE slug = 'north'")
        [(right,)] = cursor.fetchall()
        cursor.execute("UPDATE public.tenants_tenant SET created_at = %s WHERE slug = 'north'", [time])
    with pytest.raises(CommandError, match="a value that the program cannot read"):
        call_command("tenant", "list")
    for command in (("audit", "seal", "--tenant", "north"), ("tenant", "delete", "north", "--yes")):
        with pytest.raises(CommandError, match="a value that the program cannot read"):
            call_command(*command)
    assert Tenant.objects.filter(slug="north", status="active").exists()
    assert tasks.sweep() == ["south"]
    assert list(tasks.seal()) == ["south"]
    with owner_cursor() as cursor:
        cursor.execute("UPDATE public.tenants_tenant SET created_at = %s WHERE slug = 'north'", [right])
    assert passes("tenant", "list")
