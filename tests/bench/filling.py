"""Very many rows at once, as the project would have written them, past its code."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.world import World, schema
from tests.recipes.forums import WITH_MEMBER

_POSTS = f"""
{WITH_MEMBER.format("spammer")}
INSERT INTO forums_post (id, revision, content, status, author_type, author_id, author_label, member_id,
    thread_id)
SELECT uuidv7(), 1, 'Buy now, offer ' || n, 'published', 'human', 'spammer', '', member_id,
    (SELECT id FROM forums_thread LIMIT 1)
FROM generate_series(1, %s) AS n, member RETURNING id::text
"""
_REASON = "jsonb_build_object('reason', jsonb_build_array('AAAAAAAAAAAAAAAAAAAAAA', 'spam'))"
_COLUMNS = """
id, name, status, payload, metadata, result, personal, idempotency_key, actor_type, actor_id, actor_label,
subject_type, subject_id, ordering_key, correlation_id, causation_id, scheduled_at, queued_at, started_at,
completed_at, attempt, max_attempts, last_error, created_at
"""
_DUE = f"""
INSERT INTO directives_directive ({_COLUMNS})
SELECT uuidv7(), 'forum.post.hide', 'requested', jsonb_build_object('post_id', post), '{{}}', NULL,
    {_REASON}, 'forum.post.hide:%(slug)s:' || post || ':1', 'system', 'bench', '', 'forum.post', post,
    'forum.post:' || post, 'crowd', '', now(), now(), NULL, NULL, 0, 5, '', now()
FROM unnest(%%s::text[]) AS post
"""
_FINISHED = f"""
INSERT INTO directives_directive ({_COLUMNS})
SELECT id, 'forum.post.hide', 'succeeded', jsonb_build_object('post_id', post), '{{}}',
    jsonb_build_object('type', 'forum.post.hide', 'tenant', '%(slug)s', 'changed', true, 'status', 'hidden',
        'before', 'published', 'after', 'hidden', 'revision', 2, 'post_id', post),
    {_REASON}, 'forum.post.hide:%(slug)s:' || post || ':1', 'system', 'bench ' || n %%%% 40, '',
    'forum.post', post, 'forum.post:' || post, 'batch ' || n / 50, '', at, at, at + interval '1 second',
    at + interval '2 seconds', 1, 5, '', at
FROM (
    SELECT n, uuidv7(at - now()) AS id, uuidv7(at - now())::text AS post, at
    FROM (SELECT n, now() - interval '90 days' * (1 - n::float / (%%s + 1)) AS at
        FROM generate_series(1, %%s) AS n) AS timed
) AS made
"""
_SIGNALS = """
INSERT INTO signals_signal (id, name, dedupe_key, payload, metadata, occurred_at, recorded_at, actor_type,
    actor_id, actor_label, subject_type, subject_id, source, correlation_id, causation_id, personal)
SELECT uuidv7(s.at - now()), s.name, s.name || ':%(slug)s:' || d.id || ':' || s.attempt,
    jsonb_build_object('name', d.name, 'attempt', s.attempt) || s.facts, '{}', s.at, s.at, d.actor_type,
    d.actor_id, '', d.subject_type, d.subject_id, 'directives', d.correlation_id, d.id::text, s.personal
FROM directives_directive AS d, LATERAL (VALUES
    ('directive.requested', d.created_at, 0, jsonb_build_object('reason', jsonb_build_object('$personal',
        encode(sha256(d.id::text::bytea), 'hex')), 'idempotency_key', d.idempotency_key,
        'scheduled_at', d.scheduled_at), d.personal),
    ('directive.started', d.started_at, 1, jsonb_build_object('worker', 'host:12345'), NULL),
    ('directive.succeeded', d.completed_at, 1, jsonb_build_object('result', d.result), NULL)
) AS s (name, at, attempt, facts, personal)
WHERE d.status = 'succeeded' ORDER BY d.created_at LIMIT %%s
"""


def fill_due(world: World, slug: str, count: int) -> None:
    """Have `count` more posts wait to be hidden; nobody is woken."""
    posts = [post for [post] in world.execute_in(slug, _POSTS, count)]
    world.execute_in(slug, _DUE % {"slug": slug}, posts)


def fill_finished(world: World, slug: str, directives: int, signals: int) -> None:
    """Give the tenant a past of 90 days: directives that succeeded, and three signals of each."""
    with _without_indexes(world, slug, "directives_directive"):
        world.execute_in(slug, _FINISHED % {"slug": slug}, directives, directives)
    with _without_indexes(world, slug, "signals_signal"):
        world.execute_in(slug, _SIGNALS % {"slug": slug}, signals)


@contextmanager
def _without_indexes(world: World, slug: str, table: str) -> Iterator[None]:
    """Drop the table's indexes for a block, constraints aside: making them afterwards is much quicker."""
    found = world.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND NOT EXISTS"
        " (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
        f'"{schema(slug)}".{table}',
    )
    for name, _ in found:
        world.execute(f"DROP INDEX {name}")
    yield
    for _, definition in found:
        world.execute(definition)
