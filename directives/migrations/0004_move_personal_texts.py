"""Personal texts of directives move into the column `personal`, some thousands in a transaction.

What was moved is not touched again, so that a run that was stopped can be repeated.
"""
import json

from django.db import migrations, transaction

from directives.requesting.idempotency import PURPOSE
from fleetprompt.postgres.rows import as_json
from signals.types import Personal, keyed_digest

BATCH = 2_000
FIRST, LAST = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"

SLUG = "SELECT slug FROM public.tenants_tenant WHERE schema_name = current_schema()"
END_OF_BATCH = "SELECT id FROM directives_directive WHERE id > %s ORDER BY id OFFSET %s LIMIT 1"
# 16 random bytes in base64 for URLs, without padding: the form of `signals.types.new_salt`.
MOVE_REASONS = """
UPDATE directives_directive SET reason = '', personal = personal || jsonb_build_object('reason',
    jsonb_build_array(translate(rtrim(encode(uuid_send(gen_random_uuid()), 'base64'), '='), '+/', '-_'), reason))
WHERE reason <> ''
"""
READ_MARKED = """
SELECT id, name, payload, personal FROM directives_directive
WHERE (payload ?| ARRAY['reason', 'public_text'] OR name = 'forum.post.create') AND {which}
ORDER BY id FOR NO KEY UPDATE
"""
WRITE_MARKED = """
UPDATE directives_directive AS directive SET payload = directive.payload || own.payload,
    personal = directive.personal || jsonb_build_object('payload', own.marked), personal_digest = own.digest
FROM json_to_recordset(%s::json) AS own (id uuid, payload jsonb, marked jsonb, digest text)
WHERE directive.id = own.id
"""


def move(apps, schema_editor):
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        after = FIRST
        while after != LAST:
            with transaction.atomic(using=connection.alias):
                cursor.execute(END_OF_BATCH, [after, BATCH - 1])
                [upto] = cursor.fetchone() or [LAST]
                cursor.execute(f"{MOVE_REASONS} AND id > %s AND id <= %s", [after, upto])
                move_marked(cursor, "id > %s AND id <= %s", [after, upto])
            after = upto


def move_marked(cursor, which, values):
    """Move the marked texts of those directives that a condition names."""
    cursor.execute(SLUG)
    [tenant] = cursor.fetchone() or [""]
    cursor.execute(READ_MARKED.format(which=which), values)
    rows = [
        row
        for pk, name, payload, personal in cursor.fetchall()
        if (row := moved(tenant, pk, name, json.loads(payload), json.loads(personal)))
    ]
    cursor.execute(WRITE_MARKED, [as_json(rows)])


def moved(tenant, pk, name, payload, personal):
    """Return the new values of a directive whose payload has personal texts in the clear; else None."""
    if not isinstance(payload, dict):
        return None
    fields = ("reason", "public_text", *(["content"] if name == "forum.post.create" else []))
    # What is no text was written by hand, and may have no digest.
    values = {key: payload[key] for key in fields if isinstance(payload.get(key), str)}
    if not values:
        return None
    found = {key: Personal(value) for key, value in values.items()}
    salt, reason = personal.get("reason", [None, None])
    if reason and reason == values.get("reason"):
        found["reason"] = Personal(reason, salt)
    values.pop("reason", None)
    return {
        "id": pk,
        "payload": {key: one.commitment for key, one in found.items()},
        "marked": {key: [one.salt, one.value] for key, one in found.items()},
        "digest": keyed_digest(values, purpose=PURPOSE, tenant=tenant) if values else "",
    }


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('directives', '0003_lasting_columns'),
    ]

    operations = [
        migrations.RunPython(move, migrations.RunPython.noop),
    ]
