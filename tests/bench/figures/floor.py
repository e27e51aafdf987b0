"""Lower bound: the statements of one directive as prepared SQL through pgbench."""

import os
import re
import subprocess
from pathlib import Path

from fleetprompt.postgres import embedded
from tests.bench.clock import Unsound
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.server import APPLICATION, DATABASE
from tests.bench.world import World, schema
from tests.recipes.forums import WITH_MEMBER

CLIENTS = 2
FLOOR, INSERTS = "floor", "inserts"
_SIGNAL = """INSERT INTO signals_signal (id, name, dedupe_key, payload, metadata, actor_type, actor_id,
actor_label, subject_type, subject_id, source, correlation_id, causation_id, personal) VALUES """
_COLUMNS = """(id, name, status, payload, metadata, personal, idempotency_key, actor_type, actor_id,
actor_label, subject_type, subject_id, ordering_key, correlation_id, causation_id, attempt, max_attempts,
last_error)"""

_PERSONAL = "jsonb_build_object('reason', jsonb_build_array('AAAAAAAAAAAAAAAAAAAAAA', 'spam'))"


def _uuid(kind: str, number: str) -> str:
    return f"('{kind}' || lpad(to_hex({number}), 30, '0'))::uuid"


def _values(number: str) -> str:
    """Return one requested directive; pgbench would take a colon in a literal for a variable."""
    post = f"{_uuid('b0', number)}::text"
    return (
        f"{_uuid('d0', number)}, 'forum.post.hide', 'requested', jsonb_build_object('post_id', {post}),"
        f" '{{}}'::jsonb, {_PERSONAL}, 'forum.post.hide-floor-' || {post} || '-1', 'system', 'bench', '',"
        f" 'forum.post', {post}, 'forum.post-' || {post}, 'batch of the floor', '', 0, 5, ''"
    )


def _signal(name: str, payload: str, personal: str = "NULL") -> str:
    # A dedupe key and ids as long as those of the real thing.
    return (
        f"(uuidv7(), '{name}', '{name}-floor-' || {_uuid('d0', ':n::bigint')}::text || '-1', {payload},"
        f" '{{}}'::jsonb, 'system', 'bench', '', 'forum.post', {_uuid('b0', ':n::bigint')}::text,"
        f" 'directives', 'batch of the floor', {_uuid('d0', ':n::bigint')}::text, {personal})"
    )


_RESULT = (
    "jsonb_build_object('type', 'forum.post.hide', 'tenant', 'floor', 'changed', true, 'status', 'hidden',"
    f" 'before', 'published', 'after', 'hidden', 'revision', 2, 'post_id', {_uuid('b0', ':n::bigint')})"
)
_CHANGE = (
    "jsonb_build_object('before', 'published', 'after', 'hidden', 'revision', 2,"
    f" 'reason', jsonb_build_object('$personal', '{'0' * 64}'))"
)
_ABOUT = "'name', 'forum.post.hide', 'attempt', 1"
_NUMBER = """\\set i :i + 1
\\set n :first + :client_id * :share + :i
"""
UNIT = _NUMBER + ";\n".join(
    statement.replace("\n", " ")
    for statement in (
        "BEGIN",
        "UPDATE directives_directive SET status = 'running', attempt = attempt + 1, started_at = NULL,"
        " lease_expires_at = now() + interval '60 seconds'"
        f" WHERE id = {_uuid('d0', ':n::bigint')} AND status = 'requested'",
        _SIGNAL + _signal("directive.started", f"jsonb_build_object({_ABOUT}, 'worker', 'host-12345')"),
        "COMMIT",
        "BEGIN",
        f"SELECT status, revision FROM forums_post WHERE id = {_uuid('b0', ':n::bigint')} FOR UPDATE",
        "UPDATE forums_post SET status = 'hidden', revision = revision + 1"
        f" WHERE id = {_uuid('b0', ':n::bigint')}",
        _SIGNAL
        + _signal("forum.post.hidden", _CHANGE, _PERSONAL)
        + ", "
        + _signal("directive.succeeded", f"jsonb_build_object({_ABOUT}, 'result', {_RESULT})"),
        f"UPDATE directives_directive SET status = 'succeeded', result = {_RESULT}, completed_at = now(),"
        f" lease_expires_at = NULL WHERE id = {_uuid('d0', ':n::bigint')} AND status = 'running'"
        " AND attempt = 1",
        "COMMIT;\n",
    )
)
ROW = _NUMBER + f"INSERT INTO directives_directive {_COLUMNS} VALUES ({_values(':n::bigint')});\n"


def measure_floor(world: World) -> Taken:
    """Take prepared directives through their two transactions, each its own row."""
    count, first = world.sizes.wave, world.round * 10_000_000
    _prepare(world, first, count)
    rate = _pgbench(world, UNIT, first=first, count=count, clients=CLIENTS)
    done = "SELECT count(*) FROM directives_directive WHERE status = 'succeeded' AND id BETWEEN %s AND %s"
    [(succeeded,)] = world.execute_in(FLOOR, done, _id("d0", first + 1), _id("d0", first + count))
    if succeeded != count:
        raise Unsound(f"{succeeded} of the floor's {count} units were done")
    return Taken(rate)


def measure_inserts(world: World) -> Taken:
    """Insert one directive's row in each transaction, with one client."""
    world.tenant(INSERTS)
    world.suspend(INSERTS)
    count = world.sizes.singles
    return Taken(_pgbench(world, ROW, first=world.round * 10_000_000, count=count, clients=1, slug=INSERTS))


def _prepare(world: World, first: int, count: int) -> None:
    world.tenant(FLOOR)
    world.suspend(FLOOR)
    numbers = f"generate_series({first + 1}, {first + count}) AS n"
    world.execute_in(
        FLOOR,
        f"{WITH_MEMBER.format('spammer')} INSERT INTO forums_post (id, revision, content, status,"
        " author_type, author_id, author_label, member_id, thread_id)"
        f" SELECT {_uuid('b0', 'n')}, 1, 'Offer ' || n,"
        " 'published', 'human', 'spammer', '', member_id, (SELECT id FROM forums_thread LIMIT 1)"
        f" FROM {numbers}, member",
    )
    world.execute_in(
        FLOOR, f"INSERT INTO directives_directive {_COLUMNS} SELECT {_values('n')} FROM {numbers}"
    )
    world.settle(FLOOR)


def _id(kind: str, number: int) -> str:
    return f"{kind}{number:030x}"


def _pgbench(
    world: World, script: str, *, first: int, count: int, clients: int, slug: str = FLOOR
) -> float:
    """Run a script `count` times altogether; return how many times a second."""
    path = Path(world.folder) / f"{slug}.sql"
    path.write_text(script)
    share = count // clients
    done = subprocess.run(
        [
            *(str(embedded.programs() / "pgbench"), "-n", "-M", "prepared", "-f", str(path)),
            *("-c", str(clients), "-j", str(clients), "-t", str(share)),
            *("-D", "i=0", "-D", f"first={first}", "-D", f"share={share}"),
            *("-h", str(world.server.socket), "-U", APPLICATION, DATABASE),
        ],
        env={**os.environ, "PGOPTIONS": f"-c search_path={schema(slug)}"},
        capture_output=True,
        text=True,
        check=False,
    )
    tps = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or not tps or "aborted" in done.stderr:
        raise Unsound(f"pgbench: {done.stderr.strip() or done.stdout.strip()}")
    return float(tps[1])


MEASUREMENTS = [
    Measurement("floor", "two transactions of raw SQL, pgbench", "units/s", measure_floor),
    Measurement("inserts", "single-row INSERT transactions, pgbench", "rows/s", measure_inserts),
]
# Yardsticks have no target.
ROWS: list[Row] = []
