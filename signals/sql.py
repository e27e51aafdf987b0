"""SQL that the ORM cannot say. `{columns}` of signals are those of `signals.audit.format.events`."""
# ruff: noqa: S608 -- no text of users is put into a statement

# PostgreSQL holds times that Python does not. These texts are the same whatever the session's settings.
TIME_TEXT = """
    CASE WHEN NOT isfinite({column}) THEN {column}::text
    ELSE to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || CASE WHEN {column} < '0001-01-01Z' THEN ' BC' ELSE '' END END
"""
_RECORDED_TEXT = TIME_TEXT.format(column="s.recorded_at")
# A time that Python cannot read is beyond every horizon anyway.
_RECORDED = "least(greatest(s.recorded_at, '0001-01-02Z'), '9999-12-30Z')"
_UNSEALED = """
    FROM signals_signal AS s
    WHERE NOT EXISTS (SELECT FROM signals_sealentry AS e WHERE e.signal_id = s.id)
"""

# Sealing

NEXT_TO_SEAL = f"""
    SELECT {{columns}}, {_RECORDED}
    {_UNSEALED} AND (%(since)s::timestamptz IS NULL OR s.recorded_at >= %(since)s)
    ORDER BY s.recorded_at, s.id LIMIT %(limit)s
"""
ENTER = """
    INSERT INTO signals_sealentry (signal_id, seal, index, leaf)
    SELECT signal_id, %s, place - 1, leaf
    FROM unnest(%s::uuid[], %s::bytea[]) WITH ORDINALITY AS given (signal_id, leaf, place)
"""
READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
CLOCK = "SELECT clock_timestamp()"
# A transaction that has read the activity before would be shown the same again.
FORGET_ACTIVITY = "SELECT pg_stat_clear_snapshot()"
# Sessions of people and programs; an autovacuum worker has no user and inserts nothing.
ACTIVITY = """
    SELECT min(xact_start),
        count(*) FILTER (WHERE query = '<insufficient privilege>'),
        count(*) FILTER (WHERE state = 'disabled')
    FROM pg_stat_activity
    WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
"""
PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
LOCK = "SELECT {function}(hashtext(%s))"
# Dumps, restores and other host names leave it as it is; two databases never have the same.
DATABASE_MADE = """
    SELECT applied FROM public.django_migrations WHERE app = 'tenants' AND name = '0001_initial'
"""

# Verifying and publishing

ENTRIES = """
    SELECT {columns}, e.signal_id::text, e.index, e.leaf, s.recorded_at < %s, s.personal::text
    FROM signals_sealentry AS e LEFT JOIN signals_signal AS s ON s.id = e.signal_id
    WHERE e.seal = %s AND e.index >= %s ORDER BY e.index LIMIT %s
"""
ENTRY_AT = """
    SELECT e.signal_id::text, s.name
    FROM signals_sealentry AS e LEFT JOIN signals_signal AS s ON s.id = e.signal_id
    WHERE e.seal = %s AND e.index = %s
"""
SIGNAL = "SELECT {columns}, s.personal::text FROM signals_signal AS s WHERE s.id = %s"
UNSEALED_BETWEEN = f"""
    SELECT s.id::text {_UNSEALED}
        AND (s.recorded_at, s.id) > (%s, %s) AND (s.recorded_at, s.id) < (%s, %s) LIMIT 2
"""
UNSEALED_BEFORE = f"""
    SELECT s.id::text, s.name, {_RECORDED_TEXT},
        (SELECT coalesce(max(number), 0) + 1 FROM signals_seal WHERE horizon <= s.recorded_at),
        {_RECORDED}, count(*) OVER ()
    {_UNSEALED} AND s.recorded_at < %s ORDER BY s.recorded_at, s.id LIMIT %s
"""
COUNT_UNSEALED = f"""
    SELECT count(*) FILTER (WHERE s.recorded_at < %s), count(*) FILTER (WHERE s.recorded_at < %s), count(*)
    {_UNSEALED}
"""
UNSEALED_PERSONAL = f"""
    SELECT s.id::text, s.name, s.payload::text, s.personal::text {_UNSEALED}
        AND (%(since)s::timestamptz IS NULL OR s.recorded_at >= %(since)s)
        AND (s.personal IS NOT NULL OR s.payload::text LIKE '%%"$personal"%%')
"""
STRAY_ENTRIES = """
    SELECT e.seal, count(*) FROM signals_sealentry AS e LEFT JOIN signals_seal AS s ON s.number = e.seal
    WHERE s.number IS NULL OR e.seal <= %s GROUP BY e.seal ORDER BY e.seal
"""

# Pruning

ALL_BEFORE = """
    SELECT bool_and(s.recorded_at < %s)
    FROM signals_sealentry AS e JOIN signals_signal AS s ON s.id = e.signal_id WHERE e.seal = %s
"""
REMOVE_SIGNALS = """
    DELETE FROM signals_signal AS s USING signals_sealentry AS e
    WHERE e.signal_id = s.id AND e.seal BETWEEN %s AND %s
"""
REMOVE_ENTRIES = "DELETE FROM signals_sealentry WHERE seal BETWEEN %s AND %s"
TRANSACTION = "SELECT pg_current_xact_id()::text::bigint"

# Checks, for each schema

# A signal recorded before the newest seal's horizon is sealed.
OLDEST_UNSEALED = f"""
    SELECT {_RECORDED}
    FROM {{schema}}.signals_signal AS s
    WHERE s.recorded_at >= coalesce(
            (SELECT horizon FROM {{schema}}.signals_seal ORDER BY number DESC LIMIT 1), '-infinity')
        AND s.recorded_at < clock_timestamp() - %(late)s
        AND NOT EXISTS (SELECT FROM {{schema}}.signals_sealentry AS e WHERE e.signal_id = s.id)
    ORDER BY s.recorded_at LIMIT 1
"""
NEWEST_SEALS = """
    SELECT {columns}, horizon > clock_timestamp() FROM {schema}.signals_seal,
        (SELECT max(number) AS newest FROM {schema}.signals_seal) AS known
    WHERE number = newest OR (number > newest - %(recent)s AND NOT key = ANY(%(keys)s))
    ORDER BY number = newest, number DESC LIMIT 2
"""
FIRST_SEALED_AT = "SELECT sealed_at FROM {schema}.signals_seal ORDER BY number LIMIT 1"

# Tables are found by their names and schemas, the objects of a schema by pg_depend: no catalogue that grows
# with the number of tenants is read as a whole.
TABLE_DEVIATIONS = """
WITH space AS MATERIALIZED (
    SELECT oid AS nsp, nspname::text AS schema FROM pg_namespace
     WHERE nspname = ANY(%(schemas)s) OR nspname = 'public'
), place AS MATERIALIZED (
    SELECT schema, name, nsp, c.* FROM space CROSS JOIN unnest(%(tables)s::text[]) AS given (name)
      LEFT JOIN pg_class c ON c.relname = name AND c.relnamespace = nsp
     WHERE schema = ANY(%(schemas)s)
), wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(column_tables)s::text[], %(columns)s::text[], %(types)s::text[],
                         %(defaults)s::text[]) AS given (of, name, type, value)
)
SELECT schema, name, kind, what FROM place CROSS JOIN LATERAL (VALUES
    ('missing', '', oid IS NULL),
    ('kind', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
             WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'thing' END,
             relkind <> 'r'),
    ('unlogged', '', relkind = 'r' AND relpersistence <> 'p'),
    ('shadowed', '', schema = current_schema()
                     AND to_regclass(quote_ident(name)) IS DISTINCT FROM oid::regclass),
    ('row security', '', relrowsecurity OR relforcerowsecurity)
) AS state (kind, what, holds) WHERE holds
 UNION ALL
SELECT schema, name, 'policy', quote_ident(polname) FROM place JOIN pg_policy ON polrelid = place.oid
 UNION ALL
SELECT schema, name, 'rule', quote_ident(rulename)
  FROM place JOIN pg_rewrite ON ev_class = place.oid WHERE relkind = 'r'
 UNION ALL
SELECT schema, name, 'child', inhrelid::regclass::text FROM place JOIN pg_inherits ON inhparent = place.oid
 UNION ALL
SELECT schema, name, 'parent', inhparent::regclass::text FROM place JOIN pg_inherits ON inhrelid = place.oid
 UNION ALL
SELECT schema, name, 'trigger', quote_ident(tgname) FROM place JOIN pg_trigger ON tgrelid = place.oid
 WHERE NOT tgisinternal AND NOT name || '.' || tgname = ANY(%(triggers)s)
 UNION ALL
SELECT schema, place.name, 'column', quote_ident(wanted.name)
  FROM place JOIN wanted ON of = place.name
  LEFT JOIN pg_attribute ON attrelid = place.oid AND attname = wanted.name AND NOT attisdropped
  LEFT JOIN pg_type ON pg_type.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = place.oid AND adnum = attnum
 WHERE relkind = 'r'
   AND (attname IS NULL OR attgenerated <> '' OR atttypid <> to_regtype(type)
        OR format_type(atttypid, atttypmod) <> regexp_replace(type, '^varchar', 'character varying')
        OR attcollation <> typcollation
        OR value <> lower(coalesce(pg_get_expr(adbin, adrelid), '')))
 UNION ALL
SELECT schema, name, 'unique', indexrelid::regclass::text
  FROM place JOIN pg_index ON indrelid = place.oid
 WHERE (indisunique OR indisexclusion)
   AND NOT (indpred IS NULL AND indexprs IS NULL AND indisunique
            AND indcollation::oid[] <@ ARRAY[0, 'pg_catalog."default"'::regcollation]::oid[]
            AND name || '.' || (SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute
                                 WHERE attrelid = indrelid AND attnum = ANY(indkey)) = ANY(%(unique)s))
 UNION ALL
SELECT schema, '', 'function', p.oid::regprocedure::text
  FROM space JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = nsp
                             AND d.classid = 'pg_proc'::regclass
  JOIN pg_proc p ON p.oid = d.objid
 WHERE NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
   AND EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname
                  AND o.pronamespace = 'pg_catalog'::regnamespace)
 UNION ALL
SELECT schema, '', 'operator', o.oid::regoperator::text
  FROM space JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = nsp
                             AND d.classid = 'pg_operator'::regclass
  JOIN pg_operator o ON o.oid = d.objid
 WHERE NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
"""
TRIGGERS = """
    SELECT nspname, relname, tgname, tgtype::int,
        CASE WHEN lanname = 'plpgsql' AND proconfig IS NULL AND NOT prosecdef
            THEN btrim(prosrc, E' \\n\\t') END,
        tgqual IS NOT NULL OR tgattr::text <> '', tgenabled IN ('O', 'A')
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    JOIN pg_language ON pg_language.oid = prolang JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE NOT tgisinternal AND nspname = ANY(%s) AND relname = ANY(%s)
"""
