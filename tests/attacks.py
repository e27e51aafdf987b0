"""SQL attacks of a user with the application's role; the database must refuse all."""

# `{owner}`, `{database}` and `{schema}` are filled in. The search path is the tenant's, then public.
ATTACKS = [
    # Signals.
    "UPDATE signals_signal SET payload = '{{}}'",
    "UPDATE signals_signal SET name = name",
    "UPDATE signals_signal SET personal = NULL, name = name",
    "UPDATE signals_signal SET personal = '{{}}'",
    "DELETE FROM signals_signal",
    "DELETE FROM ONLY {schema}.signals_signal WHERE false",
    "TRUNCATE signals_signal",
    "TRUNCATE signals_signal CASCADE",
    "INSERT INTO signals_signal SELECT * FROM signals_signal"
    " ON CONFLICT (dedupe_key) DO UPDATE SET name = 'a.b'",
    "MERGE INTO signals_signal s USING signals_signal t ON s.id = t.id WHEN MATCHED THEN DELETE",
    "WITH gone AS (DELETE FROM signals_signal RETURNING *) SELECT count(*) FROM gone",
    "BEGIN; LOCK TABLE signals_signal IN ACCESS EXCLUSIVE MODE",
    # Seals.
    "UPDATE signals_seal SET signature = ''",
    "DELETE FROM signals_sealentry",
    "TRUNCATE signals_pruning",
    # Triggers and roles.
    "SET session_replication_role = replica",
    "SELECT set_config('session_replication_role', 'replica', false)",
    "ALTER ROLE CURRENT_USER SET session_replication_role = replica",
    "ALTER DATABASE {database} SET session_replication_role = replica",
    "ALTER TABLE signals_signal DISABLE TRIGGER ALL",
    "ALTER TABLE signals_signal DISABLE TRIGGER signals_append_only",
    "ALTER TABLE signals_signal ENABLE REPLICA TRIGGER signals_append_only",
    "DROP TRIGGER signals_append_only ON signals_signal",
    "ALTER TRIGGER signals_append_only ON signals_signal RENAME TO harmless",
    "CREATE TRIGGER first BEFORE UPDATE ON signals_signal FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE OR REPLACE FUNCTION signals_refuse_change() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN RETURN OLD; END $$",
    "DROP FUNCTION signals_refuse_change() CASCADE",
    "ALTER FUNCTION signals_refuse_change() RENAME TO harmless",
    "UPDATE pg_trigger SET tgenabled = 'D'",
    "DELETE FROM pg_trigger",
    # The table itself.
    "ALTER TABLE signals_signal ALTER COLUMN payload TYPE text USING 'x'",
    "ALTER TABLE signals_signal DROP COLUMN payload",
    "ALTER TABLE signals_signal RENAME TO signals_gone",
    "ALTER TABLE signals_signal OWNER TO CURRENT_USER",
    "ALTER TABLE signals_signal SET SCHEMA public",
    "ALTER TABLE signals_signal ENABLE ROW LEVEL SECURITY",
    "CREATE RULE nothing AS ON INSERT TO signals_signal DO INSTEAD NOTHING",
    "CREATE INDEX ON signals_signal (name)",
    "DROP TABLE signals_signal CASCADE",
    "DROP SCHEMA {schema} CASCADE",
    "ALTER SCHEMA {schema} RENAME TO gone",
    "DROP DATABASE {database}",
    # More rights.
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "GRANT {owner} TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE {owner} PASSWORD 'mine'",
    "CREATE ROLE mine SUPERUSER",
    "GRANT UPDATE ON signals_signal TO CURRENT_USER; UPDATE signals_signal SET name = 'a.b'",
    "REASSIGN OWNED BY {owner} TO CURRENT_USER",
    "DROP OWNED BY {owner} CASCADE",
    # Objects that hide the real ones in the search path.
    "CREATE TABLE mine (id int)",
    "CREATE TABLE public.mine (id int)",
    "CREATE TEMPORARY TABLE signals_signal (id int)",
    "CREATE VIEW mine AS SELECT * FROM signals_signal",
    "CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
    "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION hstore",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION signals_refuse_change()",
    # The record of migrations.
    "DELETE FROM django_migrations",
    "UPDATE django_migrations SET name = name",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('signals', '9999', now())",
    "DELETE FROM public.django_migrations",
    # The server.
    "COPY signals_signal TO PROGRAM 'true'",
    "COPY signals_signal FROM PROGRAM 'true'",
    "COPY signals_signal TO '/tmp/signals'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT lo_export(1, '/tmp/signals')",
    "ALTER SYSTEM SET session_replication_role = replica",
    "SELECT pg_reload_conf()",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "SELECT pg_create_physical_replication_slot('mine')",
]
REFUSED = "42501"
"""Insufficient privilege."""
# Refused as well, in other words.
OTHERWISE = {
    "CREATE EXTENSION hstore": {"58P01", "0A000"},
    # By the trigger: the role may only erase.
    "UPDATE signals_signal SET personal = '{}'": {"23001"},
}
