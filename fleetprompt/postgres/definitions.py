"""SQL that generates the statements of a schema's definition from PostgreSQL's catalogues.

Each takes the columns of `IDENTITY`, and runs while the schema alone is on the search path: names are
then written without it. None reads a whole catalogue of tables, indexes or constraints: with a thousand
tenants these have a hundred thousand rows.
"""

IDENTITY = """
SELECT n.oid, nspname AS name, relations,
       relations || array(SELECT indexrelid FROM pg_index WHERE indrelid = ANY(relations)) AS everything
  FROM pg_namespace n, LATERAL (
       SELECT array(SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass
                       AND refclassid = 'pg_namespace'::regclass AND refobjid = n.oid) AS relations) found
 WHERE nspname = %s
"""
# Objects of other kinds than the statements below make, and options that they do not copy.
NOT_CLONEABLE = """
SELECT pg_describe_object(d.classid, d.objid, 0)
  FROM pg_depend d
  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
 WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = %(oid)s
   AND (c.relkind IN ('r', 'S') OR (p.prorettype = 'trigger'::regtype AND p.proacl IS NULL
        AND strpos(concat(p.prosrc, p.proconfig::text), %(name)s) = 0)) IS NOT TRUE
 UNION ALL
SELECT pg_describe_object('pg_class'::regclass, c.oid, 0)
  FROM pg_class c
 WHERE c.oid = ANY(%(everything)s::oid[])
   AND (c.relpersistence <> 'p' OR c.relrowsecurity OR c.relhasrules OR c.relispartition
        OR c.reltablespace <> 0 OR c.reloftype <> 0 OR c.relreplident NOT IN ('d', 'n')
        OR c.relkind = 'r' AND c.relam <> (SELECT oid FROM pg_am WHERE amname = 'heap')
        OR EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee <> c.relowner)
        OR EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))
        OR EXISTS (SELECT FROM pg_index WHERE indexrelid = c.oid AND (indisclustered OR NOT indisvalid))
        OR EXISTS (SELECT FROM pg_description WHERE objoid = c.oid AND c.relkind IN ('i', 'S')))
 UNION ALL
SELECT pg_describe_object('pg_class'::regclass, c.oid, a.attnum)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = ANY(%(everything)s::oid[]) AND c.relkind IN ('r', 'i') AND a.attnum > 0
   AND NOT a.attisdropped
   AND (a.attoptions IS NOT NULL OR a.attacl IS NOT NULL OR coalesce(a.attstattarget, -1) <> -1
        OR a.attcompression <> '' OR (c.relkind = 'r' AND a.attstorage <> t.typstorage))
 UNION ALL
SELECT pg_describe_object(d.classoid, d.objoid, 0)
  FROM pg_description d
 WHERE d.classoid IN ('pg_constraint'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass)
   AND d.objoid IN (
       SELECT oid FROM pg_constraint WHERE conrelid = ANY(%(relations)s::oid[])
       UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = %(oid)s
       UNION ALL SELECT oid FROM pg_trigger WHERE tgrelid = ANY(%(relations)s::oid[]))
 UNION ALL
SELECT format('rights in the schema %%I', nspname)
  FROM pg_namespace n
 WHERE oid = %(oid)s AND EXISTS (SELECT FROM aclexplode(nspacl) WHERE grantee <> nspowner)
"""

_SEQUENCE = """
format('INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s START WITH %%s CACHE %%s %%s',
       seqincrement, seqmin, seqmax, seqstart, seqcache,
       CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
"""
SEQUENCES = f"""
SELECT format('CREATE SEQUENCE %%I AS %%s %%s', s.relname, format_type(seqtypid, NULL), {_SEQUENCE})
  FROM pg_class s JOIN pg_sequence ON seqrelid = s.oid
 WHERE s.oid = ANY(%(relations)s::oid[])
   AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = s.oid AND deptype = 'i' AND refobjsubid > 0)
"""  # noqa: S608
# PostgreSQL always writes the function's own name with its schema.
FUNCTIONS = """
SELECT 'CREATE FUNCTION ' || quote_ident(proname)
       || substr(pg_get_functiondef(oid),
                 length(format('CREATE OR REPLACE FUNCTION %%I.%%I', %(name)s, proname)) + 1)
  FROM pg_proc WHERE pronamespace = %(oid)s
"""
_OPTIONS = """
(SELECT string_agg(format('%%s%%s = %%L', prefix, split_part(setting, '=', 1),
                          substr(setting, strpos(setting, '=') + 1)), ', ')
   FROM (SELECT '' AS prefix, unnest(c.reloptions) AS setting
         UNION ALL SELECT 'toast.', unnest(reloptions) FROM pg_class WHERE oid = c.reltoastrelid) settings)
"""
_COLUMN = f"""
concat_ws(' ', quote_ident(attname), format_type(atttypid, atttypmod),
  CASE WHEN attcollation <> typcollation THEN
    (SELECT format('COLLATE %%I.%%I', nspname, collname)
       FROM pg_collation k JOIN pg_namespace n ON n.oid = collnamespace WHERE k.oid = attcollation) END,
  CASE WHEN attgenerated <> '' THEN format('GENERATED ALWAYS AS (%%s)%%s', pg_get_expr(adbin, adrelid),
                                           CASE attgenerated WHEN 's' THEN ' STORED' END)
       WHEN atthasdef THEN 'DEFAULT ' || pg_get_expr(adbin, adrelid)
       WHEN attidentity <> '' THEN
    (SELECT format('GENERATED %%s AS IDENTITY (SEQUENCE NAME %%I %%s)',
                   CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, s.relname,
                   {_SEQUENCE})
       FROM pg_depend JOIN pg_class s ON s.oid = objid JOIN pg_sequence ON seqrelid = s.oid
      WHERE refobjid = c.oid AND refobjsubid = attnum AND deptype = 'i') END,
  CASE WHEN attnotnull THEN
    concat((SELECT format('CONSTRAINT %%I ', conname) FROM pg_constraint
             WHERE conrelid = c.oid AND contype = 'n' AND conkey = ARRAY[attnum]), 'NOT NULL') END)
"""  # noqa: S608
TABLES = f"""
SELECT format('CREATE TABLE %%I (%%s)%%s', c.relname,
              (SELECT string_agg({_COLUMN}, ', ' ORDER BY attnum)
                 FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
                 LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
                WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
              ' WITH (' || {_OPTIONS} || ')')
  FROM pg_class c WHERE c.oid = ANY(%(relations)s::oid[]) AND c.relkind = 'r' ORDER BY c.relname
"""  # noqa: S608
OWNED = """
SELECT format('ALTER SEQUENCE %%I OWNED BY %%I.%%I', s.relname, c.relname, attname)
  FROM pg_class s JOIN pg_depend ON objid = s.oid AND deptype = 'a' AND classid = 'pg_class'::regclass
  JOIN pg_class c ON c.oid = refobjid JOIN pg_attribute ON attrelid = c.oid AND attnum = refobjsubid
 WHERE s.relkind = 'S' AND s.oid = ANY(%(relations)s::oid[])
"""
ROWS = """
SELECT format('INSERT INTO %%1$I (%%2$s) OVERRIDING SYSTEM VALUE SELECT %%2$s FROM %%3$I.%%1$I',
              relname, string_agg(quote_ident(attname), ', ' ORDER BY attnum), %(name)s)
  FROM pg_class c JOIN pg_attribute ON attrelid = c.oid
 WHERE c.oid = ANY(%(relations)s::oid[]) AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
   AND attgenerated = ''
 GROUP BY relname ORDER BY relname
"""
VALUES = """
SELECT format('SELECT setval(%%L, last_value, is_called) FROM %%I.%%I',
              quote_ident(relname), %(name)s, relname)
  FROM pg_class WHERE oid = ANY(%(relations)s::oid[]) AND relkind = 'S' ORDER BY relname
"""
# Foreign keys last: they need the keys that they refer to.
CONSTRAINTS = """
SELECT format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', relname, conname, pg_get_constraintdef(k.oid))
  FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid
 WHERE conrelid = ANY(%(relations)s::oid[]) AND contype IN ('p', 'u', 'c', 'x', 'f')
 ORDER BY contype = 'f', relname, k.oid
"""
INDEXES = """
SELECT pg_get_indexdef(indexrelid, 0, true)
  FROM pg_index
 WHERE indrelid = ANY(%(relations)s::oid[])
   AND NOT EXISTS (SELECT FROM pg_constraint
                    WHERE conrelid = indrelid AND conindid = indexrelid AND contype IN ('p', 'u', 'x'))
 ORDER BY indexrelid
"""
INDEX_OPTIONS = f"""
SELECT format('ALTER INDEX %%I SET (%%s)', c.relname, {_OPTIONS})
  FROM pg_class c
 WHERE c.oid = ANY(%(everything)s::oid[]) AND c.relkind = 'i' AND c.reloptions IS NOT NULL
   AND c.oid IN (SELECT conindid FROM pg_constraint
                  WHERE conrelid = ANY(%(relations)s::oid[]) AND contype IN ('p', 'u', 'x'))
"""  # noqa: S608
TRIGGERS = """
SELECT pg_get_triggerdef(t.oid, true)
       || CASE WHEN tgenabled <> 'O' THEN format('; ALTER TABLE %%I %%s TRIGGER %%I', relname,
            CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END,
            tgname) ELSE '' END
  FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
 WHERE tgrelid = ANY(%(relations)s::oid[]) AND NOT tgisinternal ORDER BY t.oid
"""
COMMENTS = """
SELECT CASE objsubid WHEN 0 THEN format('COMMENT ON TABLE %%I IS %%L', relname, description)
       ELSE format('COMMENT ON COLUMN %%I.%%I IS %%L', relname, attname, description) END
  FROM pg_description JOIN pg_class c ON c.oid = objoid AND classoid = 'pg_class'::regclass
  LEFT JOIN pg_attribute ON attrelid = c.oid AND attnum = objsubid
 WHERE c.oid = ANY(%(relations)s::oid[]) AND relkind = 'r'
"""
