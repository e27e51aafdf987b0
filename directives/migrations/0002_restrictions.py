"""Restrictions, and when a directive was asked for last."""
import django.db.models.functions.datetime
import signals.types
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('directives', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='directive',
            name='expires_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='directive',
            name='requested_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
        ),
        migrations.CreateModel(
            name='Restriction',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('subject_type', models.CharField(max_length=255)),
                ('subject_id', models.CharField(max_length=255)),
                ('kind', models.CharField(max_length=50)),
                ('name', models.CharField(max_length=255)),
                ('directive_id', models.UUIDField()),
                ('actor_type', models.CharField(max_length=10)),
                ('actor_id', models.CharField(max_length=255)),
                ('actor_label', models.CharField(blank=True, default='', max_length=255)),
                ('requested_at', models.DateTimeField()),
                ('since', models.DateTimeField()),
                ('until', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_by', models.UUIDField(null=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('subject_type', 'subject_id', 'kind', 'actor_type', 'actor_id'), name='restriction_active'), models.CheckConstraint(condition=models.Q(('actor_type__in', ('user', 'agent', 'system'))), name='restriction_actor_type'), models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('ended_by__isnull', True)), models.Q(('ended_at__isnull', False), ('ended_by__isnull', False)), _connector='OR'), name='restriction_ended_by')],
            },
            bases=(signals.types.ActorAndSubject, models.Model),
        ),
    ]
