"""Adds a column with an index."""
# ruff: noqa: N999

from pkgutil import iter_modules

from django.db import migrations, models

from directives import migrations as present

LAST = max(module.name for module in iter_modules(present.__path__))


class Migration(migrations.Migration):
    dependencies = [("directives", LAST)]
    operations = [
        migrations.AddField("directive", "later", models.CharField(max_length=20, null=True)),
        migrations.AddIndex("directive", models.Index(fields=["later"], name="directive_later")),
    ]
