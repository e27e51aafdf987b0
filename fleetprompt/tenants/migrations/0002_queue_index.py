from django.db import migrations


class Migration(migrations.Migration):
    """Lets clusters find the oldest messages without reading those for later: django-q2 has no index for it."""

    dependencies = [("tenants", "0001_initial"), ("django_q", "0007_ormq")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS django_q_ormq_lock ON public.django_q_ormq (lock)",
            "DROP INDEX IF EXISTS public.django_q_ormq_lock",
        )
    ]
