"""Test helpers besides fixtures: sample forums, server processes, waiting."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.models import F
from django.db.models.functions import Least, Now
from django.test.utils import setup_databases, teardown_databases
from psycopg.pq import TransactionStatus

from directives import requests, runner
from directives.executing import attempts
from directives.lifecycle import claims
from directives.models import Directive
from directives.outcomes import Outcome
from directives.requests import Requested
from fleetprompt.operators import clusters
from fleetprompt.postgres.owner import as_owner, login
from fleetprompt.tenants.context import active_tenant, in_tenant
from forums import content
from forums.models import Category, Member, Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests.recipes import forums

TENANTS = ("alpha", "beta")
TESTER = Actor("system", "tester")
needs_two_roles = pytest.mark.skipif(
    "OWNER" not in settings.DATABASES["default"], reason="DATABASE_OWNER_URL names no owner"
)
FORUM_DATA = Path(
    os.environ.get("TEST_FORUM_DATA")
    or Path(settings.BASE_DIR).parent.joinpath("shared", "data", "youtube-spam")
)
ABSENT = "0199e9a4-4c5f-7000-8000-00000000dead"
"""The id of nothing, the same in every process, so that parallel runs agree on their tests."""
# As the superuser who owns it, without a connection of its own for each test. Most tables are empty
# already, and looking costs less than deleting. A transaction that somebody left open is to be told
# of, not waited for.
_EMPTYING = """
CREATE SCHEMA tests;
GRANT USAGE ON SCHEMA tests TO PUBLIC;
CREATE FUNCTION tests.empty_tenants(tenants text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET session_replication_role = replica SET lock_timeout = '60s' AS $$
DECLARE
    path text;
    is_filled boolean;
BEGIN
    FOR path IN
        SELECT format('%I.%I', nspname, relname)
          FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE relkind = 'r' AND (
            nspname = ANY(tenants) AND relname NOT IN (
                'django_migrations', 'django_content_type', 'auth_permission', 'auth_group',
                'auth_group_permissions')
            OR nspname = 'public' AND relname IN (
                'django_q_ormq', 'django_q_task', 'django_admin_log', 'django_session',
                'fleetprompt_cache', 'auth_user_user_permissions', 'auth_user_groups', 'auth_user'))
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', path) INTO is_filled;
        IF is_filled THEN
            EXECUTE format('DELETE FROM %s', path);
        END IF;
    END LOOP;
END $$
"""


@dataclass
class Forum:
    """A sample forum."""

    category: Category
    thread: Thread
    posts: list[Post]


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """Return the cases as parameters of a test; all but each `every`th one are left to the long run."""
    return [pytest.param(case, marks=[pytest.mark.long] * bool(n % every)) for n, case in enumerate(cases)]


def make_forum(posts: int = 3) -> Forum:
    """Make a category with a thread of `posts` posts in the active tenant."""
    category = forums.category.make(slug="general", name="General")
    thread = forums.thread.make(category=category, title="Welcome")
    made = [forums.post.make(thread=thread, content=f"Post {number}") for number in range(posts)]
    return Forum(category, thread, made)


def create_forum(posts: int = 3) -> Forum:
    """Create the same as people do, with the signals that tell of it."""
    category = content.create_category("general", "General", actor=TESTER)
    thread = content.create_thread(category, "Welcome", actor=TESTER)
    made = [
        content.create_post(thread, f"Post {number}", actor=TESTER, author_id="ann")
        for number in range(posts)
    ]
    return Forum(category, thread, made)


def written_by(name: str, post: Post) -> Member:
    """Make a member, if there is none of that name, and let them have written the post."""
    member, _ = Member.objects.get_or_create(author_type="human", author_id=name)
    Post.objects.filter(pk=post.pk).update(author_type="human", author_id=name, member=member)
    return member


def ask(name: str, payload: dict[str, Any], **options: Any) -> Requested:
    """Request a directive as the tester, unless `actor` says otherwise."""
    return requests.request(name, payload, **{"actor": TESTER, **options})


def ask_animal(name: str, animal: str = "cat", **options: Any) -> Directive:
    """Request `zoo.animal.<name>` under a key of its own; return the directive.

    Keywords that are fields of the zoo's payload go there, the others to `request`.
    """
    fields = {key: options.pop(key) for key in ("note", "seconds", "times") if key in options}
    options.setdefault("idempotency_key", f"{name}:{animal}:{time.monotonic_ns()}")
    return ask(f"zoo.animal.{name}", {"animal": animal, **fields}, **options).directive


def run(directive: Directive, **options: Any) -> Outcome:
    """Run one directive and bring its fields up to date."""
    outcome = runner.run(directive.id, **options)
    directive.refresh_from_db()
    return outcome


def effects(name: str) -> int:
    """Count the effects that the zoo's handlers left under `name`."""
    return Category.objects.filter(name=name).count()


def signal_names(directive: Directive) -> list[str]:
    """Return the names of the directive's signals, in their order."""
    return list(Signal.objects.filter(causation_id=str(directive.id)).values_list("name", flat=True))


def states(*directives: Directive) -> list[str]:
    """Return the directives' statuses as they are stored now."""
    found = dict(Directive.objects.filter(pk__in=[d.pk for d in directives]).values_list("pk", "status"))
    return [found[directive.pk] for directive in directives]


def messages() -> int:
    """Count the queue's messages, those for later included."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM public.django_q_ormq")
        return int(cursor.fetchone()[0])


def change(directive: Directive, **fields: Any) -> None:
    """Change a stored directive behind the project's back, and the given one with it."""
    Directive.objects.filter(pk=directive.pk).update(**fields)
    directive.refresh_from_db()


def make_due(directive: Directive) -> None:
    """Let the time come for which the directive is scheduled.

    A place that it had for later comes with it, at the end of those that are due; nothing that has
    run stands in the future. A retry keeps its place.
    """
    change(
        directive,
        scheduled_at=Now() - timedelta(seconds=1),
        queued_at=Least(F("queued_at"), Now()),
    )


def claim(directive: Directive) -> Directive:
    """Claim the directive as a worker does, with a lease that outlasts the test; return the attempt."""
    [claimed] = claims.claim(active_tenant(), 1, only=directive.id, token=uuid4()).directives
    change(directive, lease_expires_at=Now() + timedelta(hours=1))
    return claimed


def expire_lease(directive: Directive) -> None:
    """Let the lease of the running directive run out."""
    change(directive, lease_expires_at=Now() - timedelta(seconds=1))


def crash(directive: Directive, *, begun: bool = True) -> None:
    """Leave the directive as a worker does that dies: claimed, begun unless told otherwise, stalled."""
    claimed = claim(directive)
    if begun:
        attempts._begin(claimed)
    expire_lease(directive)


def in_threads(*functions: Callable[[], Any], tenant: str = "alpha") -> list[Any]:
    """Call the functions at the same time, each on a connection of its own; return what they gave.

    An exception counts as what the function gave.
    """
    results: list[Any] = [None] * len(functions)
    start = threading.Barrier(len(functions))

    def call(index: int) -> None:
        try:
            with in_tenant(tenant):
                start.wait()
                results[index] = functions[index]()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=[index]) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@contextmanager
def meanwhile(function: Callable[[], Any], tenant: str = "alpha") -> Iterator[list[Any]]:
    """Run the function in a thread during a block; its result is in the list after the block."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.extend(in_threads(function, tenant=tenant)))
    thread.start()
    try:
        yield results
    finally:
        thread.join()


@contextmanager
def gate(name: str) -> Iterator[Callable[[], None]]:
    """Keep `zoo.animal.wait` with that note waiting until the block calls what it is given."""

    def call(function: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(hashtext(%s))", [name])

    call("pg_advisory_lock")
    try:
        yield lambda: call("pg_advisory_unlock")
    finally:
        # For a block that failed before; unlocking twice is a mere warning.
        call("pg_advisory_unlock")


def begun(directive: Directive) -> bool:
    """Return whether a worker has begun the directive's current attempt."""
    return Directive.objects.filter(pk=directive.pk, status="running", started_at__isnull=False).exists()


def ended(directives: Sequence[Directive]) -> bool:
    """Return whether all the directives have ended."""
    waiting = Directive.objects.filter(pk__in=[d.pk for d in directives]).exclude(
        status__in=Directive.TERMINAL
    )
    return not waiting.exists()


def worker_of(directive: Directive) -> int:
    """Return the process id of the worker that started the directive's latest attempt."""
    started = Signal.objects.filter(causation_id=str(directive.id), name="directive.started").last()
    assert started
    return int(started.payload["worker"].rsplit(":", 1)[1])


@contextmanager
def owner_cursor() -> Iterator[Any]:
    """Give a cursor of the database's owner in the active schema, for tests that go past the guards.

    The tests' owner is a superuser. The connection is another one, which commits each statement.
    """
    owner: Any = type(connections["default"])(login(), "default")
    owner.set_tenant(connection.tenant)
    try:
        with owner.cursor() as cursor:
            yield cursor
    finally:
        owner.close()


def empty_tenants() -> None:
    """Delete every row of the test tenants, the queue and the cache, past triggers and foreign keys."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tests.empty_tenants(%s)", [[f"org_{slug}" for slug in TENANTS]])
    # Or the seals of the next test would be compared with those of this one.
    shutil.rmtree(settings.AUDIT_FOLDER, ignore_errors=True)


def is_idle() -> bool:
    """Return whether the connection is open and usable, outside of any transaction."""
    wrapped = connection.connection
    if wrapped is None or wrapped.closed or connection.in_atomic_block:
        return False
    return bool(wrapped.info.transaction_status == TransactionStatus.IDLE)


def renew_session() -> None:
    """Leave the connection's session as a new one is. A new connection costs 15 ms: it knows no table."""
    with connection.cursor() as cursor:
        # DISCARD ALL without DEALLOCATE ALL, of which psycopg would not hear.
        cursor.execute(
            "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;"
            " SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
        )
    connection.init_connection_state()


def make_databases() -> Any:
    """Make the test database, as the server's superuser; return what `remove_databases` needs."""
    # What a run left that was killed has the checkpoints of another database.
    shutil.rmtree(settings.AUDIT_FOLDER, ignore_errors=True)
    with _as_superuser():
        databases = setup_databases(verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            cursor.execute(_EMPTYING)
        return databases


def remove_databases(databases: Any) -> None:
    """Remove the test database."""
    connection.close()
    with _as_superuser():
        teardown_databases(databases, verbosity=0)


def _as_superuser() -> Any:
    # Without a second role there is nobody to become, and no database yet that could be asked.
    return as_owner() if connection.settings_dict.get("OWNER") else nullcontext()


@contextmanager
def own_database() -> Iterator[None]:
    """Use an empty database for a block, as a run of the tests does; it is removed after it."""
    databases = make_databases()
    try:
        yield
        # The server notices a moment later that a stopped process has gone.
        wait_until(lambda: other_sessions() == 0, "nobody else uses the database")
    finally:
        remove_databases(databases)


def somebody_waits() -> bool:
    """Return whether a session of the tests' database waits for a lock."""
    with connection.cursor() as cursor:
        # Inside a transaction the first look would be repeated for ever.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


def other_sessions() -> int:
    """Count the sessions of other connections and processes on the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def database_url(settings: dict[str, Any] | None = None) -> str:
    """Return the URL of the database that the tests use, for a process of its own.

    Args:
        settings: the login, as Django's connection settings; the application's by default.
    """
    other: Any = type(connections["default"])(settings or connection.settings_dict, "default")
    params = other.get_connection_params()
    host = quote(params.get("host") or "", safe="")
    port = f":{params['port']}" if params.get("port") else ""
    login = quote(params.get("user") or "postgres", safe="")
    if params.get("password"):
        login += ":" + quote(params["password"], safe="")
    return f"postgresql://{login}@{host}{port}/{params['dbname']}"


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a process that shares the tests' settings and database."""
    # The width of the terminal that the tests run in would change what commands print.
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url(),
        "DATABASE_OWNER_URL": database_url(login()) if connection.settings_dict.get("OWNER") else "",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def manage(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a management command in a process of its own and return how it ended."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lose_wake_ups() -> None:
    """Delete every message of the queue."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.django_q_ormq")


@contextmanager
def qcluster(log: Path, *, workers: int = 2, **extra: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a real qcluster for a block, with its output in `log`; stop it, and all its children, after."""
    variables = environment(CLUSTER_WORKERS=str(workers), **extra)
    with clusters.running(log, **variables) as cluster:
        yield cluster.process


def wait_until(done: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    """Return what `done` gives as soon as it is true; fail when it never is, with the directives' state."""
    deadline = time.monotonic() + seconds
    while not (value := done()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what} ({value!r})\n{_situation()}")
        time.sleep(0.05)
    return value


def _situation() -> str:
    """Return the queue's messages and each tenant's directives by status, one line each."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT schema_name FROM public.tenants_tenant ORDER BY 1 LIMIT 20")
            lines = [f"messages: {messages()}"]
            for (schema,) in cursor.fetchall():
                cursor.execute(
                    "SELECT name, status, attempt, count(*), max(last_error)"
                    f' FROM "{schema}".directives_directive GROUP BY 1, 2, 3 ORDER BY 1, 2, 3'
                )
                lines += [" ".join(map(str, (schema, *row))) for row in cursor.fetchall()]
    # The failure that is reported matters more, whatever keeps its state from being read.
    except Exception as error:
        return f"the state cannot be read: {error}"
    return "\n".join(lines)
