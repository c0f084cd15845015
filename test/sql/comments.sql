-- Everything that the extension makes says what it is, and every function
-- declares how it behaves.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
-- Objects and columns without a comment: none.
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback')
	AND (d.classid = 'pg_proc'::regclass OR d.classid = 'pg_namespace'::regclass
		OR d.classid = 'pg_class'::regclass AND (SELECT relkind FROM pg_class WHERE oid = d.objid) IN ('r', 'v'))
	AND obj_description(d.objid, d.classid::regclass::name) IS NULL
ORDER BY 1;
SELECT c.relname, a.attname AS column_without_comment
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'v') AND col_description(c.oid, a.attnum) IS NULL
ORDER BY 1, a.attnum;
-- Comments that are not one sentence of at most 200 characters: none.  The
-- rest is in docs/reference.md.
SELECT pg_describe_object(c.classoid, c.objoid, c.objsubid) AS too_long, length(c.description)
FROM pg_description c JOIN pg_depend d ON (d.classid, d.objid) = (c.classoid, c.objoid)
	AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback')
WHERE length(c.description) > 200 OR c.description ~ '[^ ]\.(\s|$)'
ORDER BY 1;
-- \df+ is for people: every function for programs is entered through C, so that
-- no body is printed, and no comment or list of columns makes all lines long.
SELECT p.oid::regprocedure AS not_in_c
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid JOIN pg_language l ON l.oid = p.prolang
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback')
	AND p.pronamespace <> 'miosa'::regnamespace AND l.lanname <> 'c';
\o | awk '{ n += length($0) + 1 } END { print NR < 60 ? "too few lines" : n < 260000 ? "of a size to read" : n " characters are too many" }'
\df+ miosa_*
\o
-- Every table has a primary key (logical replication needs it).
SELECT c.relname AS without_key FROM pg_class c
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary);
-- No parsed expression of ours, as a view or a function with RETURN or BEGIN
-- ATOMIC has it, uses the row type of a table: the newest releases of
-- PostgreSQL would not let users add columns that have the table rewritten.
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) AS uses_row, t.oid::regtype AS row_type
FROM pg_class c JOIN pg_type t ON t.typrelid = c.oid
JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n'
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'p') AND (p.oid IS NULL OR p.prosqlbody IS NOT NULL)
ORDER BY 1, 2;
-- No object of ours outside of the schema miosa but the functions miosa_*.
SELECT pg_describe_object(d.classid, d.objid, 0) AS outside
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback')
	AND p.pronamespace <> 'miosa'::regnamespace AND p.proname NOT LIKE 'miosa\_%';
DROP EXTENSION miosa_rollback CASCADE;
