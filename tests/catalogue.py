"""Describes a schema from PostgreSQL's catalogues, to compare schemas object by object."""

import re
from typing import Any

from tests.support import owner_cursor

_PARTS = {
    "schema": """
        SELECT pg_get_userbyid(nspowner), array(SELECT a::text FROM unnest(nspacl) a ORDER BY 1)
          FROM pg_namespace WHERE oid = %(oid)s""",
    "relations": """
        SELECT c.relname, c.relkind::text, c.relpersistence::text, c.reloptions, t.reloptions,
               c.relreplident::text, c.relrowsecurity, c.relhasrules, pg_get_userbyid(c.relowner),
               array(SELECT a::text FROM unnest(c.relacl) a ORDER BY 1), obj_description(c.oid, 'pg_class')
          FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.relnamespace = %(oid)s""",
    "columns": """
        SELECT c.relname, c.relkind::text,
               row_number() OVER (PARTITION BY c.oid ORDER BY attnum), attname,
               format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid),
               attidentity::text, attgenerated::text, collname,
               attstorage::text, attcompression::text, attstattarget, attoptions, attacl::text,
               col_description(c.oid, attnum)
          FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
          LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
          LEFT JOIN pg_collation k ON k.oid = attcollation
         WHERE c.relnamespace = %(oid)s""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid), condeferrable,
               condeferred, convalidated, confrelid::regclass::text, conindid::regclass::text
          FROM pg_constraint WHERE connamespace = %(oid)s""",
    "indexes": """
        SELECT indrelid::regclass::text, c.relname,
               replace(pg_get_indexdef(c.oid), ' ON ' || quote_ident(%(name)s) || '.', ' ON '),
               c.reloptions,
               indisunique, indisprimary, indisvalid, indisclustered, indisreplident
          FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = %(oid)s""",
    "triggers": """
        SELECT c.relname, pg_get_triggerdef(t.oid, true), tgenabled::text, tgfoid::regprocedure::text
          FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
         WHERE NOT tgisinternal AND c.relnamespace = %(oid)s""",
    "functions": """
        SELECT proname, prosrc, lanname, provolatile::text, prosecdef, proisstrict, proconfig, proacl::text,
               pg_get_userbyid(proowner), pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
          FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE pronamespace = %(oid)s""",
    "sequences": """
        SELECT c.relname, format_type(seqtypid, NULL), seqstart, seqincrement, seqmax, seqmin, seqcache,
               seqcycle, pg_sequence_last_value(c.oid), deptype::text, refobjid::regclass::text, refobjsubid
          FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid
          LEFT JOIN pg_depend ON objid = c.oid AND deptype IN ('a', 'i') AND classid = 'pg_class'::regclass
         WHERE c.relnamespace = %(oid)s""",
    "everything in it": """
        SELECT type, replace(identity, quote_ident(%(name)s) || '.', '')
          FROM pg_depend, LATERAL pg_identify_object(classid, objid, objsubid)
         WHERE refclassid = 'pg_namespace'::regclass AND refobjid = %(oid)s""",
}
# When a migration was applied, and in which order a group got its permissions, differ each time.
_NOT_COMPARED = {"django_migrations": "applied", "auth_group_permissions": "id"}


def described(schema: str) -> dict[str, list[Any]]:
    """Return everything that a schema is made of, by kinds, without the schema's name."""
    with owner_cursor() as cursor:
        # Names are written without their schema while it alone is looked in.
        cursor.execute(f'SET search_path = "{schema}"')
        cursor.execute("SELECT oid, nspname FROM pg_namespace WHERE nspname = %s", [schema])
        oid, name = cursor.fetchone()
        found = {}
        for part, sql in _PARTS.items():
            cursor.execute(sql, {"oid": oid, "name": name})
            found[part] = sorted([tuple(map(_respelt, row)) for row in cursor.fetchall()], key=repr)
        return found


def rows(schema: str) -> dict[str, list[Any]]:
    """Return the rows of all tables of a schema that have some, as texts, by table."""
    found = {}
    with owner_cursor() as cursor:
        cursor.execute(
            "SELECT tablename, quote_ident(tablename) FROM pg_tables WHERE schemaname = %s", [schema]
        )
        for table, quoted in cursor.fetchall():
            name = quoted.replace("%", "%%")
            sql = f'SELECT (to_jsonb(t) - %s)::text FROM "{schema}".{name} t ORDER BY 1'
            cursor.execute(sql, [_NOT_COMPARED.get(table, "")])
            found[table] = [text for (text,) in cursor.fetchall()]
    return {table: texts for table, texts in found.items() if texts}


def _respelt(value: Any) -> Any:
    """Return an expression as PostgreSQL writes it when it has read what it wrote itself.

    Where a migration says `status IN (…)`, it casts a list of literals, and each literal the next time.
    """
    if not isinstance(value, str):
        return value
    return re.sub(r"\(ARRAY\[((?:'\w+'::character varying(?:, )?)+)\]\)::text\[\]", _respelt_list, value)


def _respelt_list(found: "re.Match[str]") -> str:
    return f"ARRAY[{', '.join(f'({literal})::text' for literal in found[1].split(', '))}]"
