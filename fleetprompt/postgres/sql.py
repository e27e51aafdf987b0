"""SQL of this package that the ORM cannot say; templates take quoted names only."""

LOCK_IN_TRANSACTION = "SELECT pg_advisory_xact_lock(hashtext(%s))"
LOCK_IN_SESSION = "SELECT pg_advisory_lock(hashtext(%s))"
TRY_LOCK_IN_SESSION = "SELECT pg_try_advisory_lock(hashtext(%s))"

CREATE_SCHEMA = "CREATE SCHEMA {schema}"
SET_SEARCH_PATH = "SET LOCAL search_path = {schema}"

ROLE_EXISTS = "SELECT 1 FROM pg_roles WHERE rolname = %s"
TEMPORARY_RIGHT = "SELECT current_database(), has_database_privilege(%s, current_database(), 'TEMPORARY')"
GRANT_SCHEMA = (
    "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {role}; GRANT USAGE ON SCHEMA {schema} TO {role}"
)
REVOKE_TEMPORARY = "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {role}"
GRANT_RELATION = "REVOKE ALL ON {relation} FROM PUBLIC, {role}; GRANT {privileges} ON {relation} TO {role};"
SCHEMAS_WITH_WRONG_RIGHTS = """
SELECT nspname FROM pg_namespace
 WHERE nspname = ANY(%s)
   AND (NOT has_schema_privilege(%s, oid, 'USAGE') OR has_schema_privilege(%s, oid, 'CREATE'))
"""
RELATION_RIGHTS = """
SELECT relname, relkind, granted, array_agg(nspname)
  FROM (SELECT c.relname::text, c.relkind::text, n.nspname::text,
               array(SELECT privilege_type FROM aclexplode(c.relacl) WHERE grantee IN (0, r.oid)
                      UNION
                     SELECT privilege_type || ' (' || attname || ')'
                       FROM pg_attribute, aclexplode(attacl)
                      WHERE attrelid = c.oid AND grantee IN (0, r.oid) ORDER BY 1) AS granted
          FROM pg_namespace n
          JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
                          AND d.classid = 'pg_class'::regclass
          JOIN pg_class c ON c.oid = d.objid
          JOIN pg_roles r ON r.rolname = %s
         WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
           AND pg_has_role(c.relowner, 'MEMBER')) found
 GROUP BY relname, relkind, granted
"""

CURRENT_ROLE = """
SELECT current_user::text, rolsuper, rolcreaterole,
       pg_has_role('pg_execute_server_program', 'MEMBER') OR pg_has_role('pg_write_server_files', 'MEMBER'),
       has_database_privilege(current_database(), 'CREATE'),
       has_database_privilege(current_database(), 'TEMPORARY')
  FROM pg_roles WHERE rolname = current_user
"""
RIGHTS_ON_TABLES = """
SELECT array_agg(DISTINCT nspname::text) FILTER (WHERE pg_has_role(relowner, 'MEMBER')),
       array_agg(DISTINCT nspname::text) FILTER (
           WHERE has_table_privilege(pg_class.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES')
           OR has_any_column_privilege(pg_class.oid, 'REFERENCES')
           OR has_any_column_privilege(pg_class.oid, 'UPDATE') AND EXISTS (
               SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
                  AND has_column_privilege(pg_class.oid, attnum, 'UPDATE')
                  AND NOT relname || '.' || attname = ANY(%s))),
       array_agg(DISTINCT nspname::text) FILTER (WHERE has_schema_privilege(relnamespace, 'CREATE'))
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relname = ANY(%s) AND relkind IN ('r', 'p')
"""

NO_SEQUENTIAL_SCANS = "SET LOCAL enable_seqscan TO off"
STATEMENT_TIMESTAMP = "SELECT statement_timestamp()"

# A plain SELECT DISTINCT would read the whole index; PostgreSQL has no skip scan for it.
DISTINCT_BY_INDEX = """
WITH RECURSIVE found AS (
    (SELECT {names}, 1 AS place FROM {table} ORDER BY {order} LIMIT 1)
    UNION ALL
    SELECT {following}, found.place + 1 FROM found CROSS JOIN LATERAL (
        SELECT {names} FROM {table} WHERE ({keys}) > ({last}) ORDER BY {order} LIMIT 1
    ) AS next WHERE found.place < %s
) SELECT {names} FROM found ORDER BY place
"""
# A materialized CTE is evaluated once, in this very statement.
INSERT_RECORDS = """
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS at)
INSERT INTO {table} ({columns}) SELECT {values}
  FROM json_populate_record(NULL::{table}, %s) AS common, clock,
       json_populate_recordset(NULL::{table}, %s) WITH ORDINALITY AS own ORDER BY own.ordinality
    ON CONFLICT DO NOTHING RETURNING {returned}
"""
