"""The reason is a personal text and no column; personal texts can be erased and not be changed."""
from importlib import import_module

from django.db import migrations

MOVING = import_module("directives.migrations.0004_move_personal_texts")

# An error may quote what is erased.
ERASE = """
CREATE FUNCTION directives_only_erase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.personal IS NULL THEN
        NEW.last_error := '';
    ELSIF NEW.personal IS DISTINCT FROM OLD.personal THEN
        RAISE EXCEPTION 'personal texts of directives can only be erased' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER directives_only_erased BEFORE UPDATE OF personal ON directives_directive
    FOR EACH ROW EXECUTE FUNCTION directives_only_erase();
"""
ALLOW = """
DROP TRIGGER directives_only_erased ON directives_directive;
DROP FUNCTION directives_only_erase();
"""


def move_rest(apps, schema_editor):
    """Move the texts of directives that were requested since 0004 looked at their ids."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("LOCK TABLE directives_directive")
        cursor.execute(MOVING.MOVE_REASONS)
        MOVING.move_marked(cursor, "NOT personal ? 'payload'", [])


class Migration(migrations.Migration):

    dependencies = [
        ('directives', '0004_move_personal_texts'),
    ]

    operations = [
        migrations.RunPython(move_rest, migrations.RunPython.noop),
        migrations.RemoveField(
            model_name='directive',
            name='reason',
        ),
        migrations.RunSQL(ERASE, ALLOW),
    ]
