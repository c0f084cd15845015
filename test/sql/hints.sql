-- Every HINT runs as it is pasted, wherever the extension's functions are, and
-- no refusal shows where in our code it was.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\set hints :abs_srcdir '/hints.sql'
\set QUIET on
SET client_min_messages = error;

\echo # in schema public
\i :fixture
\set ECHO none
CREATE FUNCTION test.call(call text) RETURNS text LANGUAGE sql AS $$ SELECT call $$;
CREATE FUNCTION test.value(call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	EXECUTE 'SELECT ' || test.call(call) INTO result;
	RETURN result;
END $$;
\i :hints

\echo # in a schema that is not in the search_path
DROP EXTENSION miosa_rollback CASCADE;
CREATE SCHEMA "Ops";
SET search_path = "Ops", public;
\i :fixture
\set ECHO none
CREATE FUNCTION test.call(call text) RETURNS text LANGUAGE sql AS $$ SELECT regexp_replace(call, '(SELECT |CALL |FROM |^)miosa_', '\1"Ops".miosa_', 'g') $$;
CREATE FUNCTION test.value(call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	EXECUTE 'SELECT ' || test.call(call) INTO result;
	RETURN result;
END $$;
\i :hints

\echo # in a schema that was renamed
ALTER SCHEMA "Ops" RENAME TO other;
\set ECHO queries
CALL other.miosa_maintain();
CALL other.miosa_verify_artifacts();
SELECT other.miosa_archive_version('dep_1', 'ver_3') -> 'data' ->> 'state';
SELECT test.op(other.miosa_promote('dep_1', 'ver_2'));
SELECT count(*) > 0 FROM miosa.candidates('dep_1');
SELECT value FROM miosa.rollback('dep_1', 'v1') WHERE item = 'result';
SELECT command FROM miosa.maintenance_jobs() WHERE command ~ 'CALL';
-- names that are written into functions and would be looked up when these run
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback') AND p.prosrc ~ 'Ops';
\set ECHO none
DROP SCHEMA test CASCADE;
DROP EXTENSION miosa_rollback CASCADE;
DROP SCHEMA other;
