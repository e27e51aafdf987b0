"""Whose a claim is: a worker that never got the answer to one finds by it what it had claimed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a column without a default, which takes no time however many directives there are."""

    dependencies = [("directives", "0004_hot_rows")]

    operations = [
        migrations.AddField(
            model_name="directive", name="claim_token", field=models.UUIDField(editable=False, null=True)
        ),
    ]
