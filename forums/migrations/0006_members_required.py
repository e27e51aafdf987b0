"""A member for every post, and external ids that are unique per source.

The table is read while it can be written; PostgreSQL then takes the check for a proof that the column is full.
"""
import django.db.models.deletion
from django.db import migrations, models

VALIDATE = """
ALTER TABLE forums_post VALIDATE CONSTRAINT post_member_given;
ALTER TABLE forums_post VALIDATE CONSTRAINT post_member_and_author
"""
EXTERNAL_ID = models.CharField(blank=True, max_length=255, null=True)


def unique_per_source(model):
    """Return the operations that replace the constraint on an external id, with the index of 0005."""
    name = f'{model}_external_id'
    added = migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f'ALTER TABLE forums_{model} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}',
                f'ALTER TABLE forums_{model} DROP CONSTRAINT {name}',
            )
        ],
        state_operations=[
            migrations.AddConstraint(model, models.UniqueConstraint(fields=('source', 'external_id'), name=name))
        ],
    )
    return [added, migrations.AlterField(model, 'external_id', EXTERNAL_ID)]


class Migration(migrations.Migration):

    dependencies = [
        ('forums', '0005_members_of_posts'),
    ]

    operations = [
        migrations.RunSQL(VALIDATE, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='post',
            name='member',
            field=models.ForeignKey(blank=True, db_constraint=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='posts', to='forums.member'),
        ),
        migrations.RunSQL(
            'ALTER TABLE forums_post DROP CONSTRAINT post_member_given',
            'ALTER TABLE forums_post ADD CONSTRAINT post_member_given CHECK (member_id IS NOT NULL) NOT VALID',
        ),
        *unique_per_source('category'),
        *unique_per_source('thread'),
        *unique_per_source('post'),
    ]
