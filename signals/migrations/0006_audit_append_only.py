"""Triggers that refuse to change the audit log, and let go of sealed signals only where a pruning says so."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION signals_refuse_unpruned() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    covered integer;
    pruned integer;
BEGIN
    EXECUTE format('SELECT max(last_seal) FROM %1$I.signals_pruning'
        ' WHERE transaction = pg_current_xact_id()::text::bigint', TG_TABLE_SCHEMA) INTO pruned;
    IF TG_TABLE_NAME = 'signals_sealentry' THEN
        covered := OLD.seal;
    ELSE
        EXECUTE format('SELECT seal FROM %1$I.signals_sealentry WHERE signal_id = $1', TG_TABLE_SCHEMA)
            INTO covered USING OLD.id;
    END IF;
    IF covered <= pruned THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'signals are append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END;
$$;
DROP TRIGGER signals_append_only ON signals_signal;
CREATE TRIGGER signals_append_only BEFORE UPDATE ON signals_signal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER signals_only_pruned BEFORE DELETE ON signals_signal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_unpruned();
CREATE TRIGGER sealentry_append_only BEFORE UPDATE ON signals_sealentry
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER sealentry_only_pruned BEFORE DELETE ON signals_sealentry
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_unpruned();
CREATE TRIGGER sealentry_never_truncated BEFORE TRUNCATE ON signals_sealentry
    FOR EACH STATEMENT EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE ON signals_seal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER seal_never_truncated BEFORE TRUNCATE ON signals_seal
    FOR EACH STATEMENT EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER pruning_append_only BEFORE UPDATE OR DELETE ON signals_pruning
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER pruning_never_truncated BEFORE TRUNCATE ON signals_pruning
    FOR EACH STATEMENT EXECUTE FUNCTION signals_refuse_change();
"""
ALLOW = """
DROP TRIGGER signals_append_only ON signals_signal;
DROP TRIGGER signals_only_pruned ON signals_signal;
CREATE TRIGGER signals_append_only BEFORE UPDATE OR DELETE ON signals_signal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
DROP TRIGGER sealentry_append_only ON signals_sealentry;
DROP TRIGGER sealentry_only_pruned ON signals_sealentry;
DROP TRIGGER sealentry_never_truncated ON signals_sealentry;
DROP TRIGGER seal_append_only ON signals_seal;
DROP TRIGGER seal_never_truncated ON signals_seal;
DROP TRIGGER pruning_append_only ON signals_pruning;
DROP TRIGGER pruning_never_truncated ON signals_pruning;
DROP FUNCTION signals_refuse_unpruned();
"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0005_audit_log")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
