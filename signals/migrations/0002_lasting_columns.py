"""Members of signals, and personal values that can be erased."""
from django.db import migrations, models


# An UPDATE may set `personal` to NULL and change nothing else, byte by byte.
ERASE = """
CREATE FUNCTION signals_refuse_all_but_erasing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.personal IS NOT NULL AND NEW.personal IS NULL THEN
        OLD.personal := NULL;
        IF OLD *= NEW THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'signals are append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END;
$$;
CREATE OR REPLACE TRIGGER signals_append_only BEFORE UPDATE ON signals_signal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_all_but_erasing();
"""
REFUSE = """
CREATE OR REPLACE TRIGGER signals_append_only BEFORE UPDATE ON signals_signal
    FOR EACH ROW EXECUTE FUNCTION signals_refuse_change();
DROP FUNCTION signals_refuse_all_but_erasing();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('signals', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='signal',
            name='member_id',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='signal',
            name='personal',
            field=models.JSONField(null=True),
        ),
        migrations.RunSQL(ERASE, REFUSE),
    ]
