"""A tenant with very many directives and signals, and a check that queries on them read no whole table."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection, transaction

from tests.support import owner_cursor

TABLES = ("directives_directive", "signals_signal")

_DIRECTIVES = """
INSERT INTO directives_directive (
    id, name, status, payload, metadata, result, personal, idempotency_key, actor_type, actor_id,
    actor_label, subject_type, subject_id, ordering_key, correlation_id, causation_id, scheduled_at,
    queued_at, started_at, completed_at, lease_expires_at, attempt, max_attempts, last_error,
    last_error_at, created_at
)
SELECT
    ('0d' || lpad(to_hex(n), 30, '0'))::uuid, name, status, jsonb_build_object('post_id', subject_id), '{}',
    CASE WHEN status = 'succeeded' THEN '{"changed": true, "status": "hidden"}'::jsonb END,
    jsonb_build_object('reason', jsonb_build_array('AAAAAAAAAAAAAAAAAAAAAA', 'Reason ' || n %% 100)),
    name || ':big:' || subject_id || ':' || n, kind, kind || ' ' || n %% 40,
    initcap(kind) || ' ' || n %% 40, 'forum.' || split_part(name, '.', 2), subject_id,
    CASE WHEN status = 'running' THEN '' ELSE 'forum.post:' || subject_id END, 'batch ' || n / 50,
    CASE WHEN n %% 25 = 0 THEN ('0d' || lpad(to_hex(n - 1), 30, '0'))::uuid::text ELSE '' END, due, due,
    CASE WHEN status IN ('running', 'succeeded', 'failed') THEN at + interval '1 second' END,
    CASE WHEN status IN ('succeeded', 'failed', 'canceled') THEN at + interval '2 seconds' END,
    CASE WHEN status = 'running' THEN now() + interval '1 day' END,
    CASE WHEN status = 'requested' THEN 0 ELSE 1 END, 5,
    CASE WHEN status = 'failed' THEN 'DirectiveError: no' ELSE '' END,
    CASE WHEN status = 'failed' THEN at + interval '2 seconds' END, at
FROM (
    SELECT n, at, status, name, kind, md5('subject ' || n %% %(subjects)s)::uuid::text AS subject_id,
        CASE WHEN status = 'requested' AND n %% 2 = 0 THEN now() + interval '1 day' ELSE at END AS due
    FROM (
        SELECT n, now() - interval '90 days' * (1 - n::float / %(directives)s) AS at,
            CASE WHEN n > %(directives)s - 200 THEN 'requested' WHEN n > %(directives)s - 220 THEN 'running'
                WHEN n %% 20 = 0 THEN 'failed' WHEN n %% 97 = 0 THEN 'canceled'
                ELSE 'succeeded' END AS status,
            (ARRAY['forum.post.hide', 'forum.post.hide', 'forum.post.unhide', 'forum.post.delete',
                'forum.thread.lock', 'forum.thread.unlock', 'forum.post.extinct'])[1 + n %% 7] AS name,
            (ARRAY['user', 'user', 'user', 'agent', 'system'])[1 + n %% 5] AS kind
        FROM generate_series(1, %(directives)s) AS n
    ) AS numbered
) AS prepared
"""
_SIGNALS = """
INSERT INTO signals_signal (
    id, name, dedupe_key, payload, metadata, occurred_at, recorded_at, actor_type, actor_id,
    actor_label, subject_type, subject_id, source, correlation_id, causation_id, personal
)
SELECT
    ('51' || lpad(to_hex(n), 30, '0'))::uuid, signal, signal || ':big:' || n,
    jsonb_build_object('name', d.name, 'attempt', d.attempt), '{}', at, at, d.actor_type, d.actor_id,
    d.actor_label, d.subject_type, d.subject_id, 'directives', d.correlation_id, d.id::text,
    CASE WHEN n %% 3 = 0 THEN d.personal END
FROM (
    SELECT n,
        (ARRAY['directive.requested', 'directive.started', 'directive.succeeded'])[1 + n %% 3] AS signal,
        now() - interval '90 days' * (1 - n::float / %(signals)s) AS at,
        ('0d' || lpad(to_hex(1 + (n - 1) %% %(directives)s), 30, '0'))::uuid AS directive_id
    FROM generate_series(1, %(signals)s) AS n
) AS made JOIN directives_directive AS d ON d.id = made.directive_id
"""


def fill(directives: int, signals: int) -> None:
    """Put directives and signals of the last 90 days into the active tenant, past the project's code.

    There are seven names, one of them without a handler, 120 actors at most, batches of 50, ten
    directives on each subject, and 200 that wait; the subjects do not exist. Ids grow with time, as
    they do in production, and the planner knows the tables.
    """
    numbers = {"directives": directives, "signals": signals, "subjects": max(directives // 10, 1)}
    with owner_cursor() as cursor:
        # VACUUM trusts only rows whose commit is on the disk, and the tests do not wait for that.
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(_DIRECTIVES, numbers)
        cursor.execute(_SIGNALS, numbers)
        for table in TABLES:
            cursor.execute(f"VACUUM (ANALYZE) {table}")


def seq_scans(queries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return those of the captured queries that read one of the big tables from end to end.

    What was set for a transaction counts for its queries here too.

    Args:
        queries: what `CaptureQueriesContext` captured, in the tenant that is active now.
    """
    found = []
    with transaction.atomic(), connection.cursor() as cursor:
        for query in queries:
            sql = query["sql"].strip(" \n(")
            if sql.startswith("SET LOCAL"):
                cursor.execute(sql)
            elif sql == "COMMIT":
                cursor.execute("SET LOCAL enable_seqscan TO DEFAULT")
            elif sql.startswith(("SELECT", "WITH")) and _scans(cursor, query["sql"]):
                found.append(query["sql"])
    return found


def asked(queries: Iterable[Mapping[str, Any]]) -> int:
    """Return how many of the captured queries ask for something."""
    return sum(query["sql"].strip(" \n(").startswith(("SELECT", "WITH")) for query in queries)


def _scans(cursor: Any, sql: str) -> bool:
    cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
    [(plan,)] = cursor.fetchall()
    return any(node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES for node in nodes(plan))


def nodes(value: Any) -> Iterable[dict[str, Any]]:
    """Return the nodes of a plan that EXPLAIN gave as JSON."""
    if isinstance(value, dict):
        if "Node Type" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from nodes(item)
