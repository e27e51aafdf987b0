"""One index for dedupe keys instead of two: it finds a key and the beginning of one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("signals", "0006_audit_append_only")]
    operations = [
        # The new index first: at no time are keys not unique.
        migrations.AddConstraint(
            model_name="signal",
            constraint=models.UniqueConstraint(
                fields=["dedupe_key"], opclasses=["varchar_pattern_ops"], name="signal_key"
            ),
        ),
        migrations.AlterField(
            model_name="signal",
            name="dedupe_key",
            field=models.CharField(max_length=512),
        ),
    ]
