"""Scope and member of the directives that are there, in batches; signals are never changed.

Each batch is a transaction of its own and can be repeated, so a migration that was interrupted begins again.
"""
from uuid import UUID

from django.db import migrations, transaction

BATCH_ROWS = 5000

# In the order in which workers lock directives, so that none waits for this while this waits for it.
NEXT = """
SELECT id FROM directives_directive
WHERE id > %s AND subject_type IN ('forum.category', 'forum.thread', 'forum.post')
ORDER BY id LIMIT %s FOR NO KEY UPDATE
"""
# A subject's id is a text, in which somebody may have asked for anything.
FILL = """
WITH batch AS MATERIALIZED (
    SELECT id, subject_type, CASE
        WHEN subject_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN subject_id::uuid END AS subject
    FROM directives_directive WHERE id = ANY(%s)
), found (id, category, member) AS (
    SELECT batch.id, category.id, NULL::uuid
    FROM batch JOIN forums_category AS category ON category.id = batch.subject
    WHERE batch.subject_type = 'forum.category'
    UNION ALL
    SELECT batch.id, thread.category_id, NULL
    FROM batch JOIN forums_thread AS thread ON thread.id = batch.subject
    WHERE batch.subject_type = 'forum.thread'
    UNION ALL
    SELECT batch.id, thread.category_id, post.member_id
    FROM batch JOIN forums_post AS post ON post.id = batch.subject
        JOIN forums_thread AS thread ON thread.id = post.thread_id
    WHERE batch.subject_type = 'forum.post'
)
UPDATE directives_directive AS directive
SET scope = coalesce(nullif(directive.scope, ''), found.category::text),
    member_id = coalesce(directive.member_id, found.member)
FROM found WHERE directive.id = found.id
    AND (directive.scope = '' OR directive.member_id IS NULL AND found.member IS NOT NULL)
"""


def fill(apps, schema_editor):
    """Give every directive the scope and the member of its subject, if that still exists."""
    ids = [UUID(int=0)]
    while ids:
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute(NEXT, [ids[-1], BATCH_ROWS])
            if ids := [pk for (pk,) in cursor.fetchall()]:
                cursor.execute(FILL, [ids])


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('directives', '0003_lasting_columns'),
        ('forums', '0006_members_required'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
