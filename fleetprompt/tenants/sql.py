"""SQL of this package that the ORM cannot say; templates take quoted names only."""

TENANT_BY_NAME = "SELECT {columns} FROM public.tenants_tenant WHERE slug = %s OR schema_name = %s"
TABLE_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
TABLES_OF_SCHEMA = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
SCHEMAS_WITH_TABLES = """
SELECT schemaname FROM pg_tables WHERE tablename = ANY(%s) AND schemaname = ANY(%s)
 GROUP BY schemaname HAVING count(*) = %s
"""
APPLIED_MIGRATIONS = "SELECT app, name FROM {schema}.django_migrations"
ROWS_OF_SCHEMA = "SELECT %({name})s, row.* FROM ({select}) row"

SET_LOCK_TIMEOUT = "SET lock_timeout = {milliseconds}"
SET_LOCAL_LOCK_TIMEOUT = "SET LOCAL lock_timeout = {milliseconds}"
DROP_SCHEMA = "DROP SCHEMA IF EXISTS {schema} CASCADE"
SET_COMMENT = "COMMENT ON SCHEMA {schema} IS '{comment}'"
COMMENT = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"
