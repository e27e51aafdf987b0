"""Fewer index entries for each change of a directive, and room for the change on its own page."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directives", "0003_indexes")]
    operations = [
        # The new index first: at no time are keys not unique.
        migrations.AddConstraint(
            model_name="directive",
            constraint=models.UniqueConstraint(
                fields=["idempotency_key"], opclasses=["varchar_pattern_ops"], name="directive_key"
            ),
        ),
        migrations.AlterField(
            model_name="directive",
            name="idempotency_key",
            field=models.CharField(max_length=512),
        ),
        migrations.RemoveIndex(model_name="directive", name="directive_lease"),
        migrations.AddIndex(
            model_name="directive",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["id"], name="directive_running"
            ),
        ),
        migrations.RunSQL(
            "ALTER TABLE directives_directive SET (fillfactor = 70)",
            "ALTER TABLE directives_directive RESET (fillfactor)",
        ),
    ]
