"""Whom a signal is about, and its personal values."""
from django.db import migrations, models


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
    ]
