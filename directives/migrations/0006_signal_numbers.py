"""Counters for signals that repeat, above the numbers of those that are stored."""

from django.db import migrations, models

# Keys of operations end in `:{directive}:{attempt}`, and from the second on in `:{number}`. The highest number
# counts, not how many there are: some may have been pruned.
_OPERATIONS = """
UPDATE directives_directive AS directive SET operations = counted.operations
FROM (
    SELECT id, jsonb_object_agg(name, jsonb_build_array(attempt, number)) AS operations
    FROM (
        SELECT directive.id, directive.attempt, signal.name,
            max(coalesce(nullif(split_part(tail, ':', 2), '')::integer, 1)) AS number
        FROM signals_signal AS signal
        JOIN directives_directive AS directive ON directive.id::text = signal.causation_id,
            split_part(signal.dedupe_key, signal.causation_id || ':', 2) AS tail
        WHERE signal.name IN ('directive.snoozed', 'directive.run_requested', 'directive.canceled',
                'directive.rerun_requested')
            AND tail ~ '^[0-9]+(:[0-9]{1,9})?$' AND split_part(tail, ':', 1) = directive.attempt::text
        GROUP BY directive.id, directive.attempt, signal.name
    ) AS named GROUP BY id
) AS counted WHERE directive.id = counted.id
"""
# A rerun counts a success that it finds, so the last one is left to it.
_SUCCESSES = """
UPDATE directives_directive AS directive SET earlier_successes = counted.number
FROM (
    SELECT directive.id, max(CASE WHEN signal.dedupe_key LIKE '%:' || signal.causation_id THEN 1
        ELSE substring(signal.dedupe_key FROM ':([0-9]{1,9})$')::integer END)
        - (directive.status = 'succeeded')::integer AS number
    FROM signals_signal AS signal
    JOIN directives_directive AS directive ON directive.id::text = signal.causation_id
    WHERE signal.source = directive.name AND (
        (directive.status <> 'succeeded' AND signal.dedupe_key LIKE '%:' || signal.causation_id)
        OR (signal.dedupe_key LIKE '%:' || signal.causation_id || ':%' AND signal.dedupe_key ~ ':[0-9]{1,9}$')
    ) GROUP BY directive.id
) AS counted WHERE directive.id = counted.id AND counted.number > 0
"""


class Migration(migrations.Migration):
    dependencies = [("directives", "0005_claim_token"), ("signals", "0007_one_key_index")]
    operations = [
        migrations.AddField(
            model_name="directive",
            name="operations",
            field=models.JSONField(blank=True, db_default={}, default=dict, editable=False),
        ),
        migrations.AddField(
            model_name="directive",
            name="earlier_successes",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.RunSQL(_OPERATIONS, migrations.RunSQL.noop),
        migrations.RunSQL(_SUCCESSES, migrations.RunSQL.noop),
    ]
