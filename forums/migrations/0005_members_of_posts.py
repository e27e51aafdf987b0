"""Members of the posts that are there, in batches, and the indexes of external ids.

No transaction is around them all. Each step can be repeated: an interrupted migration begins again.
"""
from uuid import UUID

from django.db import migrations, transaction

BATCH_ROWS = 5000

# In the order in which directives lock posts, so that none waits for this while this waits for it.
NEXT = """
SELECT id FROM forums_post WHERE id > %s AND member_id IS NULL ORDER BY id LIMIT %s FOR NO KEY UPDATE
"""
MAKE_MEMBERS = """
INSERT INTO forums_member (id, author_type, author_id, label)
SELECT gen_random_uuid(), author_type, author_id, max(author_label) FROM forums_post
WHERE id = ANY(%s) GROUP BY author_type, author_id ORDER BY author_type, author_id
ON CONFLICT DO NOTHING
"""
FILL = """
UPDATE forums_post AS post SET member_id = member.id FROM forums_member AS member
WHERE post.id = ANY(%s)
    AND (member.author_type, member.author_id) = (post.author_type, post.author_id)
"""


def fill(apps, schema_editor):
    """Give every post its author's member."""
    ids = [UUID(int=0)]
    while ids:
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute(NEXT, [ids[-1], BATCH_ROWS])
            if ids := [pk for (pk,) in cursor.fetchall()]:
                cursor.execute(MAKE_MEMBERS, [ids])
                cursor.execute(FILL, [ids])


def index(apps, schema_editor):
    """Build the indexes of the constraints that 0006 adds; for a million rows writers wait a second or two.

    With CONCURRENTLY this would wait for every transaction of the database, such as another tenant's backup.
    """
    for table in ('category', 'thread', 'post'):
        name = f'{table}_external_id'
        schema_editor.execute(f'DROP INDEX IF EXISTS {name}')
        schema_editor.execute(f'CREATE UNIQUE INDEX {name} ON forums_{table} (source, external_id)')


def drop(apps, schema_editor):
    """Drop them."""
    for table in ('category', 'thread', 'post'):
        schema_editor.execute(f'DROP INDEX IF EXISTS {table}_external_id')


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('forums', '0004_versions_and_sources'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(index, drop),
    ]
