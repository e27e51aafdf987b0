"""Stores the content type of directives as the name of a group."""
# ruff: noqa: N999

from pkgutil import iter_modules

from django.db import migrations

from directives import migrations as present

LAST = max(module.name for module in iter_modules(present.__path__))


def write_down(apps, schema_editor):
    if schema_editor.connection.schema_name == "public":
        return
    directive = apps.get_model("directives", "Directive")
    content_type = apps.get_model("contenttypes", "ContentType").objects.get_for_model(directive)
    apps.get_model("auth", "Group").objects.create(name=f"content type {content_type.pk}")


class Migration(migrations.Migration):
    dependencies = [
        ("directives", LAST),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(write_down, migrations.RunPython.noop)]
