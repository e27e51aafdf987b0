"""A trigger that refuses to change signals, in every tenant's schema."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION signals_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'signals are append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END;
$$;
CREATE TRIGGER signals_append_only BEFORE UPDATE OR DELETE ON signals_signal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
CREATE TRIGGER signals_never_truncated BEFORE TRUNCATE ON signals_signal
    FOR EACH STATEMENT EXECUTE FUNCTION signals_refuse_change();
"""
ALLOW = """
DROP TRIGGER signals_append_only ON signals_signal;
DROP TRIGGER signals_never_truncated ON signals_signal;
DROP FUNCTION signals_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0001_initial")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
