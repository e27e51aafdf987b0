"""Statuses of posts and threads follow from restrictions: those that are there get theirs."""
from django.db import migrations, models


# Of the directive that gave the record its status last; where none is known, of nobody and no directive.
RESTRICT = """
INSERT INTO directives_restriction (id, subject_type, subject_id, kind, name, directive_id,
    actor_type, actor_id, actor_label, requested_at, since)
SELECT gen_random_uuid(), '{subject}', record.id::text, record.status, setting.name,
    coalesce(directive.id, '00000000-0000-0000-0000-000000000000'), coalesce(directive.actor_type, 'system'),
    coalesce(directive.actor_id, 'migration'), coalesce(directive.actor_label, ''),
    coalesce(directive.created_at, record.created_at), coalesce(directive.completed_at, record.created_at)
FROM {table} AS record
JOIN (VALUES {names}) AS setting (status, name) ON setting.status = record.status
LEFT JOIN LATERAL (
    SELECT * FROM directives_directive
    WHERE subject_type = '{subject}' AND subject_id = record.id::text AND status = 'succeeded'
        AND directives_directive.name = setting.name
    ORDER BY completed_at DESC LIMIT 1
) AS directive ON true
"""
POSTS = RESTRICT.format(
    subject='forum.post',
    table='forums_post',
    names="('hidden', 'forum.post.hide'), ('deleted', 'forum.post.delete')",
)
THREADS = RESTRICT.format(
    subject='forum.thread',
    table='forums_thread',
    names="('locked', 'forum.thread.lock'), ('archived', 'forum.thread.archive')",
)


class Migration(migrations.Migration):

    dependencies = [
        ('directives', '0002_restrictions'),
        ('forums', '0001_initial'),
    ]

    operations = [
        # First, since what follows locks the tables until the end.
        migrations.RunSQL(POSTS, migrations.RunSQL.noop),
        migrations.RunSQL(THREADS, migrations.RunSQL.noop),
        migrations.RemoveConstraint(
            model_name='post',
            name='post_status_known',
        ),
        migrations.AddField(
            model_name='thread',
            name='is_hidden',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name='post',
            name='status',
            field=models.CharField(choices=[('published', 'Published'), ('pending', 'Pending'), ('hidden', 'Hidden'), ('deleted', 'Deleted')], default='published', max_length=10),
        ),
        migrations.AddConstraint(
            model_name='post',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['published', 'pending', 'hidden', 'deleted'])), name='post_status_known'),
        ),
    ]
