"""The table of directives."""

import django.db.models.functions.datetime
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Directive',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=255)),
                ('status', models.CharField(choices=[('requested', 'Requested'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('canceled', 'Canceled')], default='requested', max_length=10)),
                ('payload', models.JSONField(default=dict)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('result', models.JSONField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, default='', max_length=1000)),
                ('idempotency_key', models.CharField(max_length=512)),
                ('actor_type', models.CharField(max_length=10)),
                ('actor_id', models.CharField(max_length=255)),
                ('actor_label', models.CharField(blank=True, default='', max_length=255)),
                ('subject_type', models.CharField(blank=True, default='', max_length=255)),
                ('subject_id', models.CharField(blank=True, default='', max_length=255)),
                ('ordering_key', models.CharField(blank=True, default='', max_length=512)),
                ('correlation_id', models.CharField(blank=True, default='', max_length=255)),
                ('causation_id', models.CharField(blank=True, default='', max_length=255)),
                ('scheduled_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('queued_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('lease_expires_at', models.DateTimeField(blank=True, null=True)),
                ('operations', models.JSONField(blank=True, db_default={}, default=dict, editable=False)),
                ('earlier_successes', models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ('claim_token', models.UUIDField(editable=False, null=True)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('max_attempts', models.PositiveIntegerField(default=5)),
                ('last_error', models.CharField(blank=True, default='', max_length=2000)),
                ('last_error_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'ordering': ['-created_at', '-id'],
                'default_permissions': ['view'],
                'indexes': [models.Index(condition=models.Q(('status', 'requested')), fields=['queued_at', 'id'], name='directive_due'), models.Index(condition=models.Q(('status', 'running')), fields=['id'], name='directive_running'), models.Index(condition=models.Q(('status__in', ['requested', 'running'])), fields=['ordering_key', 'queued_at', 'id'], name='directive_line'), models.Index(condition=models.Q(('status', 'requested')), fields=['scheduled_at'], name='directive_scheduled'), models.Index(condition=models.Q(('ordering_key', ''), _negated=True), fields=['ordering_key', 'queued_at', 'id'], name='directive_history'), models.Index(fields=['-created_at', '-id'], name='directive_created'), models.Index(fields=['status', '-created_at', '-id'], name='directive_by_status'), models.Index(fields=['name', '-created_at', '-id'], name='directive_by_name'), models.Index(fields=['actor_type', 'actor_id', '-created_at', '-id'], name='directive_by_actor'), models.Index(fields=['subject_type', 'subject_id', '-created_at', '-id'], name='directive_by_subject'), models.Index(fields=['correlation_id', '-created_at', '-id'], name='directive_by_batch'), models.Index(condition=models.Q(('causation_id', ''), _negated=True), fields=['causation_id', '-created_at', '-id'], name='directive_by_cause'), models.Index(condition=models.Q(('completed_at__isnull', False)), fields=['status', 'completed_at'], name='directive_completed')],
                'constraints': [models.UniqueConstraint(fields=('idempotency_key',), name='directive_key', opclasses=['varchar_pattern_ops']), models.CheckConstraint(condition=models.Q(('status__in', ['requested', 'running', 'succeeded', 'failed', 'canceled'])), name='directive_status_known'), models.CheckConstraint(condition=models.Q(('actor_type__in', ('user', 'agent', 'system'))), name='directive_actor_type'), models.CheckConstraint(condition=models.Q(models.Q(('lease_expires_at__isnull', False), ('status', 'running')), models.Q(models.Q(('status', 'running'), _negated=True), ('lease_expires_at__isnull', True)), _connector='OR'), name='directive_lease_while_running'), models.CheckConstraint(condition=models.Q(('attempt__lte', models.F('max_attempts'))), name='directive_attempts'), models.UniqueConstraint(condition=models.Q(('status', 'running'), models.Q(('ordering_key', ''), _negated=True)), fields=('ordering_key',), name='directive_one_running')],
            },
        ),
        # Room on each page for new versions of its rows: a directive changes several times.
        migrations.RunSQL(
            "ALTER TABLE directives_directive SET (fillfactor = 70)",
            "ALTER TABLE directives_directive RESET (fillfactor)",
        ),
    ]
