"""The member and the scope of directives, and their personal texts."""
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('directives', '0002_restrictions'),
    ]

    operations = [
        migrations.AddField(
            model_name='directive',
            name='member_id',
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='directive',
            name='personal',
            field=models.JSONField(blank=True, db_default={}, default=dict, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='directive',
            name='personal_digest',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name='directive',
            name='scope',
            field=models.CharField(blank=True, db_default='', default='', editable=False, max_length=255),
        ),
    ]
