"""Tables of signals and of the audit log, and the triggers that make them append-only."""

import fleetprompt.postgres.queries
import uuid_utils.compat
from django.db import migrations, models


# Signals and the audit log are append-only. Sealed signals are deleted only in the transaction of a pruning
# that covers their seals.
REFUSE = """
CREATE FUNCTION signals_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'signals are append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END;
$$;
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
CREATE TRIGGER signals_never_truncated BEFORE TRUNCATE ON signals_signal
    FOR EACH STATEMENT EXECUTE FUNCTION signals_refuse_change();
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
DROP TRIGGER signals_never_truncated ON signals_signal;
DROP TRIGGER signals_append_only ON signals_signal;
DROP TRIGGER signals_only_pruned ON signals_signal;
DROP TRIGGER sealentry_append_only ON signals_sealentry;
DROP TRIGGER sealentry_only_pruned ON signals_sealentry;
DROP TRIGGER sealentry_never_truncated ON signals_sealentry;
DROP TRIGGER seal_append_only ON signals_seal;
DROP TRIGGER seal_never_truncated ON signals_seal;
DROP TRIGGER pruning_append_only ON signals_pruning;
DROP TRIGGER pruning_never_truncated ON signals_pruning;
DROP FUNCTION signals_refuse_change();
DROP FUNCTION signals_refuse_unpruned();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Pruning',
            fields=[
                ('number', models.PositiveIntegerField(primary_key=True, serialize=False)),
                ('previous', models.CharField(max_length=64)),
                ('key', models.CharField(max_length=64)),
                ('signature', models.CharField(max_length=88)),
                ('last_seal', models.PositiveIntegerField()),
                ('last_hash', models.CharField(max_length=64)),
                ('signals', models.PositiveBigIntegerField()),
                ('before', models.DateTimeField()),
                ('pruned_at', models.DateTimeField()),
                ('transaction', models.BigIntegerField()),
            ],
            options={
                'ordering': ['number'],
                'abstract': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Seal',
            fields=[
                ('number', models.PositiveIntegerField(primary_key=True, serialize=False)),
                ('previous', models.CharField(max_length=64)),
                ('key', models.CharField(max_length=64)),
                ('signature', models.CharField(max_length=88)),
                ('root', models.CharField(max_length=64)),
                ('size', models.PositiveIntegerField()),
                ('horizon', models.DateTimeField()),
                ('sealed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['number'],
                'abstract': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='SealEntry',
            fields=[
                ('signal_id', models.UUIDField(primary_key=True, serialize=False)),
                ('seal', models.PositiveIntegerField()),
                ('index', models.PositiveIntegerField()),
                ('leaf', models.BinaryField(max_length=32)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('seal', 'index'), name='sealentry_place')],
            },
        ),
        migrations.CreateModel(
            name='Signal',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=255)),
                ('dedupe_key', models.CharField(max_length=512)),
                ('payload', models.JSONField(default=dict)),
                ('metadata', models.JSONField(default=dict)),
                ('occurred_at', models.DateTimeField(db_default=fleetprompt.postgres.queries.ClockTimestamp())),
                ('recorded_at', models.DateTimeField(db_default=fleetprompt.postgres.queries.ClockTimestamp(), editable=False)),
                ('actor_type', models.CharField(max_length=10)),
                ('actor_id', models.CharField(max_length=255)),
                ('actor_label', models.CharField(default='', max_length=255)),
                ('subject_type', models.CharField(default='', max_length=255)),
                ('subject_id', models.CharField(default='', max_length=255)),
                ('source', models.CharField(default='', max_length=255)),
                ('correlation_id', models.CharField(default='', max_length=255)),
                ('causation_id', models.CharField(default='', max_length=255)),
            ],
            options={
                'ordering': ['recorded_at', 'id'],
                'permissions': [('export_signal', 'Can export signals')],
                'default_permissions': ['view'],
                'indexes': [models.Index(fields=['subject_type', 'subject_id', 'recorded_at'], name='signal_subject'), models.Index(fields=['causation_id', 'recorded_at'], name='signal_causation'), models.Index(fields=['correlation_id', 'recorded_at'], name='signal_correlation'), models.Index(fields=['name', 'recorded_at', 'id'], name='signal_name_order'), models.Index(fields=['actor_type', 'actor_id', 'recorded_at', 'id'], name='signal_actor_order'), models.Index(fields=['recorded_at', 'id'], name='signal_order')],
                'constraints': [models.UniqueConstraint(fields=('dedupe_key',), name='signal_key', opclasses=['varchar_pattern_ops']), models.CheckConstraint(condition=models.Q(('actor_type__in', ('user', 'agent', 'system'))), name='signal_actor_type')],
            },
        ),
        migrations.RunSQL(REFUSE, ALLOW),
    ]
