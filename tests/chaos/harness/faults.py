"""The faults, one function per kind: it strikes a target that the dice choose, and says which."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any, TypeVar

import psutil
from django.conf import settings
from psycopg import sql

from tests.chaos.apps import LIMIT
from tests.chaos.harness.cuts import ASKED_WITHIN_SECONDS, cut_sessions
from tests.chaos.harness.requests import POSTS
from tests.chaos.harness.schedule import Fault
from tests.chaos.harness.world import World

T = TypeVar("T")


class Missed(Exception):
    """There was nothing to strike; the fault is to be tried a moment later."""


def kill_process(world: World, fault: Fault) -> str:
    """SIGKILL one process of a cluster: a worker, the one that fetches or the one that reports."""
    process = _choose(_members(world), fault.dice)
    process.kill()
    return f"process {process.pid}"


def stop_process(world: World, fault: Fault) -> str:
    """SIGSTOP one process of a cluster until every lease it can hold is over, then let it go on."""
    process = _choose(_members(world), fault.dice)
    seconds = LIMIT + settings.DIRECTIVES_LEASE_SECONDS + 0.5 + 1.5 * fault.seconds
    process.suspend()
    world.stopped.add(process.pid)
    world.later(seconds, lambda: _go_on(process))
    return f"process {process.pid} for {seconds:.1f} s"


def kill_cluster(world: World, fault: Fault) -> str:
    """SIGKILL all processes of a cluster; another one is started in its place."""
    cluster = _choose(world.clusters, fault.dice)
    cluster.kill()
    cluster.start()
    return f"cluster {world.clusters.index(cluster)}"


def kill_requester(world: World, fault: Fault) -> str:
    """SIGKILL a requester; another one goes on with its journal."""
    numbers = [number for number, process in world.requesters.items() if process.poll() is None]
    number = _choose(numbers, fault.dice)
    world.requesters[number].kill()
    world.requesters[number].wait()
    return f"requester {number}"


def kill_sealer(world: World, fault: Fault) -> str:
    """SIGKILL the process that seals, wherever it is."""
    if not world.kill_sealer():
        raise Missed
    return "sealer"


def kill_backend(world: World, fault: Fault) -> str:
    """SIGKILL the server process of one connection, so that PostgreSQL goes through crash recovery."""
    pid = _choose(_backends(world), fault.dice)
    os.kill(pid, signal.SIGKILL)
    world.server.wait_until_it_answers()
    return f"backend {pid}"


def kill_server(world: World, fault: Fault) -> str:
    """SIGKILL PostgreSQL's main process and start the server again."""
    world.server.kill()
    return "postmaster"


def restart_fast(world: World, fault: Fault) -> str:
    """Restart PostgreSQL as an operator does."""
    world.server.restart("fast")
    return "server"


def restart_immediate(world: World, fault: Fault) -> str:
    """Restart PostgreSQL without letting it write down what it has in memory."""
    world.server.restart("immediate")
    return "server"


def cut_connection(world: World, fault: Fault) -> str:
    """End one of the database's sessions."""
    pid = _choose(_backends(world), fault.dice)
    _execute(world, "SELECT pg_terminate_backend(%s)", [pid])
    return f"session {pid}"


def cut_all_connections(world: World, fault: Fault) -> str:
    """End all sessions of the database, and ask for something soon: how long it takes is measured."""
    slug = _choose(world.slugs, fault.dice)
    after = fault.seconds * ASKED_WITHIN_SECONDS
    cut_sessions(world.server)
    world.ask(slug, after)
    return f"all sessions; {slug} was asked {after:.2f} s after"


def cancel_statements(world: World, fault: Fault) -> str:
    """Cancel whatever statements run, as an impatient administrator does."""
    canceled = _execute(
        world,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state = 'active'",
    )
    return _some(canceled, "statements")


def delete_wake_ups(world: World, fault: Fault) -> str:
    """Delete most messages of the queue, those for later and those being worked on included."""
    share = 0.5 + fault.seconds / 2
    return _some(
        _execute(world, "DELETE FROM public.django_q_ormq WHERE random() <= %s", [share]), "messages"
    )


def double_wake_ups(world: World, fault: Fault) -> str:
    """Send messages of the queue once more, and for now: doubled, and early."""
    copied = _execute(
        world,
        "INSERT INTO public.django_q_ormq (key, payload, lock) SELECT key, payload, now()"
        " FROM public.django_q_ormq ORDER BY random() LIMIT 50",
    )
    return _some(copied, "messages")


def expire_leases(world: World, fault: Fault) -> str:
    """Let all leases of a tenant run out now, as a clock that jumps would."""
    slug = _choose(world.slugs, fault.dice)
    statement = sql.SQL(
        "UPDATE {} SET lease_expires_at = now() - interval '1 second' WHERE status = 'running'"
    ).format(_table(slug, "directives_directive"))
    return f"{_some(_execute(world, statement), 'leases')} of {slug}"


def hold_subject(world: World, fault: Fault) -> str:
    """Keep a post and its thread locked for a moment."""
    slug = _choose(world.slugs, fault.dice)
    post = f"post {int(fault.dice * 1000) % POSTS:02}"
    statement = sql.SQL(
        "SELECT 1 FROM {} AS post JOIN {} AS thread ON thread.id = post.thread_id"
        " WHERE post.external_id = %s FOR UPDATE"
    ).format(_table(slug, "forums_post"), _table(slug, "forums_thread"))
    return f"{post} of {slug} for {_hold(world, fault, statement, [post]):.1f} s"


def hold_claims(world: World, fault: Fault) -> str:
    """Keep a tenant's claims waiting for a moment."""
    slug = _choose(world.slugs, fault.dice)
    statement = sql.SQL("SELECT pg_advisory_xact_lock(hashtext(%s))")
    return f"claims of {slug} for {_hold(world, fault, statement, [f'org_{slug}.claim']):.1f} s"


KINDS: dict[str, Callable[[World, Fault], str]] = {
    "kill_process": kill_process,
    "stop_process": stop_process,
    "kill_cluster": kill_cluster,
    "kill_requester": kill_requester,
    "kill_sealer": kill_sealer,
    "kill_backend": kill_backend,
    "kill_server": kill_server,
    "restart_fast": restart_fast,
    "restart_immediate": restart_immediate,
    "cut_connection": cut_connection,
    "cut_all_connections": cut_all_connections,
    "cancel_statements": cancel_statements,
    "delete_wake_ups": delete_wake_ups,
    "double_wake_ups": double_wake_ups,
    "expire_leases": expire_leases,
    "hold_subject": hold_subject,
    "hold_claims": hold_claims,
}
SERVER_RESTARTS = ("kill_backend", "kill_server", "restart_fast", "restart_immediate")


def _choose(among: Sequence[T], dice: float) -> T:
    if not among:
        raise Missed
    return among[int(dice * len(among))]


def _some(count: int, what: str) -> str:
    if not count:
        raise Missed
    return f"{count} {what}"


def _members(world: World) -> list[psutil.Process]:
    return [process for cluster in world.clusters for process in cluster.members()]


def _go_on(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()


def _backends(world: World) -> list[int]:
    with closing(world.server.connect()) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid"
        )
        return [pid for (pid,) in found.fetchall()]


def _table(slug: str, name: str) -> sql.Identifier:
    return sql.Identifier(f"org_{slug}", name)


def _execute(world: World, statement: Any, arguments: Sequence[Any] = ()) -> int:
    """Run one statement, waiting for nobody's locks for long; return how many rows it was about."""
    with closing(world.server.connect()) as connection:
        connection.execute("SET lock_timeout = '1s'")
        return connection.execute(statement, arguments).rowcount


def _hold(world: World, fault: Fault, statement: sql.Composable, arguments: Sequence[Any]) -> float:
    """Hold what the statement locks, until `World.tend` lets go of it; return for how many seconds."""
    connection = world.server.connect()
    try:
        connection.execute("SET lock_timeout = '1s'")
        connection.execute("BEGIN")
        connection.execute(statement, arguments)
    except BaseException:
        connection.close()
        raise
    seconds = 0.3 + 2 * fault.seconds
    world.later(seconds, connection.close)
    return seconds
