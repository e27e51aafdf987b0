"""Versions of texts, sources of external ids, and what keeps members and authors the same.

From here on a new post needs a member. The posts that are there get theirs in 0005, the slow part.
"""
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid_utils.compat
from django.db import migrations, models

# Not deferred: a migration that fills the column could not alter its table in the same transaction.
SAME_AUTHOR = """
ALTER TABLE forums_post ADD CONSTRAINT post_member_and_author
    FOREIGN KEY (member_id, author_type, author_id) REFERENCES forums_member (id, author_type, author_id)
    ON UPDATE CASCADE NOT VALID;
ALTER TABLE forums_post ADD CONSTRAINT post_member_given CHECK (member_id IS NOT NULL) NOT VALID
"""
NO_CONSTRAINTS = """
ALTER TABLE forums_post DROP CONSTRAINT post_member_and_author, DROP CONSTRAINT post_member_given
"""
SOURCE = models.CharField(db_default='import', default='import', max_length=50)
VERSION = models.PositiveIntegerField(db_default=1, default=1, editable=False)


class Migration(migrations.Migration):

    dependencies = [
        ('forums', '0003_lasting_columns'),
    ]

    operations = [
        migrations.CreateModel(
            name='ContentVersion',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('subject_type', models.CharField(max_length=255)),
                ('subject_id', models.CharField(max_length=255)),
                ('version', models.PositiveIntegerField()),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'ordering': ['subject_type', 'subject_id', 'version'],
                'default_permissions': ['view'],
            },
        ),
        migrations.AddConstraint(
            model_name='contentversion',
            constraint=models.UniqueConstraint(fields=('subject_type', 'subject_id', 'version'), name='content_version_once'),
        ),
        migrations.AddField(model_name='category', name='source', field=SOURCE),
        migrations.AddField(model_name='thread', name='source', field=SOURCE),
        migrations.AddField(model_name='post', name='source', field=SOURCE),
        migrations.AddField(model_name='thread', name='version', field=VERSION),
        migrations.AddField(model_name='post', name='version', field=VERSION),
        migrations.AlterModelOptions(
            name='member',
            options={'ordering': ['author_type', 'author_id'], 'permissions': [('link_member', 'Can link members to users')]},
        ),
        migrations.AlterField(
            model_name='member',
            name='author_type',
            field=models.CharField(choices=[('human', 'Human'), ('agent', 'Agent'), ('system', 'System')], max_length=10),
        ),
        migrations.AlterModelOptions(
            name='post',
            options={'base_manager_name': 'objects', 'ordering': ['created_at', 'id']},
        ),
        migrations.AddConstraint(
            model_name='member',
            constraint=models.UniqueConstraint(fields=('id', 'author_type', 'author_id'), name='member_and_author'),
        ),
        migrations.AlterField(
            model_name='post',
            name='member',
            field=models.ForeignKey(blank=True, db_constraint=False, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='posts', to='forums.member'),
        ),
        migrations.RunSQL(SAME_AUTHOR, NO_CONSTRAINTS),
    ]
