"""SQL of directives: what the ORM cannot say, or takes longer to put into words than the database to do."""

LOCK_CLAIMS = "SELECT pg_advisory_xact_lock(hashtext(current_schema() || '.claim'))"
"""Two claims at once could each miss what the other one sees, and start two directives of one line; a claim
takes milliseconds, so they queue up here. The constraint `directive_one_running` is the second guard."""

TENANT_STATUS = "SELECT status FROM public.tenants_tenant WHERE schema_name = current_schema()"

FIND_OBSTACLE = f"""
SELECT set_config('directives.obstacle', (
    EXISTS (SELECT FROM directives_directive
        WHERE status = 'running' AND lease_expires_at <= clock_timestamp())
    OR ({TENANT_STATUS}) IS DISTINCT FROM 'active'
)::text, true)
"""  # noqa: S608 -- a constant
"""Whether leases have expired, or the tenant is suspended or gone: then the quick claim takes nothing."""
NO_OBSTACLE = "AND NOT current_setting('directives.obstacle')::boolean"

CLAIM = """
WITH due (id) AS MATERIALIZED (
    {due} AND (%s::uuid IS NULL OR id = %s) {condition}
    ORDER BY queued_at, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE directives_directive AS directive
    SET status = 'running', attempt = attempt + 1, started_at = NULL, claim_token = %s,
        -- The statement's time is the message's, from before it waited for the lock.
        lease_expires_at = clock_timestamp() + make_interval(secs => %s)
    FROM due WHERE directive.id = due.id RETURNING {columns}
){signals}
SELECT * FROM claimed {complete} ORDER BY queued_at, id
"""
CLAIMED_ONES = """
(SELECT *, row_number() OVER (ORDER BY queued_at, id) AS place FROM claimed) AS directive,
    (SELECT %s::text, %s::text, %s::uuid[]) AS given (worker, tenant, ids)
"""
"""The rows of a claim's signals."""

RELEASE = """
UPDATE directives_directive SET lease_expires_at = clock_timestamp()
WHERE status = 'running' AND claim_token = %s
"""

KEEP_TEXTS = """
SELECT id FROM directives_directive
WHERE id = ANY(%s) AND personal IS NOT NULL ORDER BY id FOR KEY SHARE
"""
"""A lock that only erasing waits for. A claim would skip a row that is locked against it."""

# By their keys alone, which PostgreSQL plans in no time.
HOLD = """
SELECT id, status, attempt, clock_timestamp() FROM directives_directive
WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""

RENEW = """
UPDATE directives_directive AS directive
SET lease_expires_at = statement_timestamp() + make_interval(secs => %s)
FROM unnest(%s::uuid[], %s::int[]) AS mine (id, attempt)
WHERE (directive.id, directive.attempt, directive.status) = (mine.id, mine.attempt, 'running')
"""

# The status is hidden from the planner, which would read all that are running.
SUCCEED = """
UPDATE directives_directive AS directive
SET status = 'succeeded', result = own.result,
    started_at = coalesce(own.started_at, directive.started_at),
    completed_at = statement_timestamp(), lease_expires_at = NULL
FROM json_to_recordset(%s) AS own (id uuid, attempt int, started_at timestamptz, result jsonb)
WHERE (directive.id, directive.attempt) = (own.id, own.attempt) AND directive.status || '' = 'running'
    -- What was erased meanwhile would be back in its signals.
    AND directive.personal IS NOT NULL
"""

SET_ASIDE = """
UPDATE directives_directive
SET status = 'failed', completed_at = clock_timestamp(), lease_expires_at = NULL,
    last_error = %(error)s, last_error_at = clock_timestamp(),
    metadata = CASE WHEN %(lost)s::jsonb = '[]' THEN metadata ELSE
        CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END
        || jsonb_build_object(%(key)s::text,
            CASE jsonb_typeof(metadata -> %(key)s::text)
                WHEN 'array' THEN metadata -> %(key)s::text ELSE '[]' END
            || %(lost)s::jsonb)
        END
WHERE id = %(id)s AND attempt = %(attempt)s AND status IN ('requested', 'running')
"""

COUNT_OPERATION = """
jsonb_set(operations, ARRAY[%s], jsonb_build_array(attempt, 1 + CASE operations #>> ARRAY[%s, '0']
    WHEN attempt::text THEN (operations #>> ARRAY[%s, '1'])::int ELSE 0 END))
"""
"""`operations` with one more of a signal, counted anew in each attempt: its number there."""

LONGEST_WAIT = """
SELECT extract(epoch FROM statement_timestamp() - min(scheduled_at))::float8 FROM directives_directive
WHERE status = 'requested' AND scheduled_at <= statement_timestamp()
"""
"""Age in seconds of the oldest overdue directive, which may wait behind another; NULL without one."""

# Each part reads one index in its order, up to a limit: a table full of one status costs no more.
COUNTS = """
SELECT
  (SELECT count(*) FROM (
     SELECT FROM {schema}.directives_directive
     WHERE status = 'requested' AND scheduled_at <= statement_timestamp()
     ORDER BY scheduled_at LIMIT %(limit)s) AS rows),
  (SELECT count(*) FROM (
     SELECT FROM {schema}.directives_directive
     WHERE status = 'requested' AND scheduled_at > statement_timestamp()
     ORDER BY scheduled_at LIMIT %(limit)s) AS rows),
  (SELECT count(*) FROM (
     SELECT FROM {schema}.directives_directive WHERE status = 'running' LIMIT %(limit)s) AS rows),
  (SELECT count(*) FROM (
     SELECT FROM {schema}.directives_directive WHERE status = 'running'
     -- The sweep brings back what has stalled within two minutes.
     AND lease_expires_at < statement_timestamp() - interval '5 minutes' LIMIT %(limit)s) AS rows),
  (SELECT scheduled_at FROM {schema}.directives_directive WHERE status = 'requested'
   ORDER BY scheduled_at LIMIT 1),
  (SELECT lease_expires_at FROM {schema}.directives_directive WHERE status = 'running'
   ORDER BY lease_expires_at LIMIT 1)
"""

COUNT_FAILED = """
SELECT
  (SELECT count(*) FROM (
     SELECT FROM directives_directive WHERE status = 'failed' AND completed_at >= %(since)s
     ORDER BY completed_at DESC LIMIT %(limit)s) AS rows),
  (SELECT count(*) FROM (
     SELECT FROM directives_directive WHERE status = 'failed' AND completed_at IS NOT NULL
     ORDER BY completed_at DESC LIMIT %(limit)s) AS rows)
"""
"""How many failed since a time, and ever."""

COUNT_BY_HOUR = """
SELECT hour, status, (SELECT count(*) FROM (
    SELECT FROM directives_directive
    WHERE status = wanted.status AND completed_at >= hour AND completed_at < hour + interval '1 hour'
    ORDER BY completed_at LIMIT %(limit)s) AS rows)
FROM unnest(%(hours)s::timestamptz[]) AS hour, unnest(%(outcomes)s::text[]) AS wanted (status)
"""

HAS_NO_ACTIVITY = """
SELECT 1 WHERE COALESCE(GREATEST(
  (SELECT recorded_at FROM {schema}.signals_signal WHERE name = 'directive.started'
   ORDER BY recorded_at DESC LIMIT 1),
  (SELECT completed_at FROM {schema}.directives_directive
   WHERE status = 'succeeded' AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT 1),
  (SELECT completed_at FROM {schema}.directives_directive
   WHERE status = 'failed' AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT 1)
), '-infinity') < %(late)s
"""
"""A row where no worker has started or ended a directive since a time.

The end counts: what waited behind it is due only from then on."""

UNKNOWN_NAMES = """
SELECT DISTINCT name FROM (
  SELECT name FROM {schema}.directives_directive WHERE status = 'requested'
  ORDER BY scheduled_at LIMIT %(limit)s
) AS rows WHERE name <> ALL(%(known)s)
"""

# PostgreSQL looks at the restrictions as they were when the statement began, also for a record whose lock
# it had to wait for. The revision as of then tells: each restriction that begins or ends bumps it.
LOCK_RESTRICTED = """
SELECT subject.{key}::text, subject.revision,
    (SELECT seen.revision FROM {table} AS seen WHERE seen.{key} = subject.{key}),
    (SELECT json_agg(json_build_array(id, kind, name, directive_id, actor_type, actor_id, actor_label,
        requested_at, since, until) ORDER BY since, id) FROM directives_restriction
     WHERE subject_type = %s::text AND subject_id = subject.{key}::text AND ended_at IS NULL){columns}
FROM {table} AS subject WHERE subject.{key} = ANY(%s::{key_type}[])
ORDER BY subject.{key} FOR NO KEY UPDATE OF subject
"""
ACTIVE_RESTRICTIONS = """
SELECT subject_id, id, kind, name, directive_id, actor_type, actor_id, actor_label,
    requested_at, since, until
FROM directives_restriction WHERE subject_type = %s AND subject_id = ANY(%s) AND ended_at IS NULL
ORDER BY since, id
"""
END_RESTRICTIONS = """
UPDATE directives_restriction AS restriction SET ended_at = clock_timestamp(), ended_by = own.by
FROM json_to_recordset(%s) AS own (id uuid, by uuid)
WHERE restriction.id = own.id AND restriction.ended_at IS NULL
"""
RESCHEDULE_RESTRICTIONS = """
UPDATE directives_restriction AS restriction SET until = own.until
FROM json_to_recordset(%s) AS own (id uuid, until timestamptz)
WHERE restriction.id = own.id AND restriction.ended_at IS NULL
"""
# Everything is sent: joining the directives would read all of them, where PostgreSQL knows no better. The
# rows are locked in the order of their keys; the condition is true of a row as it is when it is locked.
# A subject whose status somebody wrote by hand may have an active restriction all the same.
APPLY_RESTRICTIONS = """
WITH own AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS own ({types}, expected bigint, id uuid, kind text,
        name text, directive_id uuid, actor_type text, actor_id text, actor_label text,
        requested_at timestamptz, until timestamptz)
), found AS MATERIALIZED (
    SELECT subject.{key} AS key, subject.revision{columns} FROM {table} AS subject
    WHERE subject.{key} = ANY(%(keys)s::{key_type}[]) AND (NOT %(only_unrestricted)s OR ({unrestricted}))
    ORDER BY subject.{key} FOR NO KEY UPDATE
), begun AS (
    INSERT INTO directives_restriction (id, subject_type, subject_id, kind, name, directive_id,
        actor_type, actor_id, actor_label, requested_at, since, until)
    SELECT id, %(subject_type)s, key::text, kind, name, directive_id,
        actor_type, actor_id, actor_label, requested_at, clock_timestamp(), until
    FROM found JOIN own USING (key) WHERE kind IS NOT NULL AND coalesce(expected = revision, true)
    ON CONFLICT DO NOTHING RETURNING id
)
UPDATE {table} AS subject SET revision = found.revision + 1{changes}
FROM found JOIN own USING (key) LEFT JOIN begun USING (id)
WHERE subject.{key} = found.key AND (own.kind IS NULL OR begun.id IS NOT NULL)
RETURNING found.key::text, found.revision{before}
"""
