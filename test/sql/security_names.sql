-- Attack 10: names that somebody else has taken.  A role that may create objects
-- in public makes functions, operators, types and tables that look like ours or
-- like the server's; none of them is ever called or read by us.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\set arguments :abs_srcdir '/arguments.sql'
\i :fixture
\set ECHO none
\i :arguments
\set ECHO all
SET client_min_messages = error;

-- Every body is parsed when it is created, or runs with a search_path of its
-- own. A procedure that commits can do neither: it names everything (lint). Nor do
-- functions in SQL of a row, which only our own functions may call.
SELECT p.oid::regprocedure, l.lanname FROM pg_depend d
JOIN pg_proc p ON p.oid = d.objid JOIN pg_language l ON l.oid = p.prolang
WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
	AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
	AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
	AND NOT (l.lanname = 'sql' AND EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (p.proargtypes::oid[]) AND t.typtype = 'c')
		AND NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner))
ORDER BY p.proname;
-- Functions in C that others may call, or that run with their owner's rights, do
-- too. These run no statement of their own, or call one of those above.
SELECT p.oid::regprocedure FROM pg_depend d
JOIN pg_proc p ON p.oid = d.objid JOIN pg_language l ON l.oid = p.prolang
WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
	AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	AND l.lanname = 'c' AND p.prosrc <> 'mrb_overload' AND p.prorettype <> 'trigger'::regtype
	AND (p.prosecdef OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner))
	AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
ORDER BY p.proname;

-- What the functions are called, and those of the server that they use.
CREATE SCHEMA log;
CREATE TABLE log.target AS
	SELECT DISTINCT p.proname AS name, p.prokind = 'p' AS procedure FROM pg_proc p WHERE p.proname LIKE 'miosa\_%' AND p.pronamespace = 'public'::regnamespace;
INSERT INTO log.target SELECT DISTINCT p.proname, false FROM pg_proc p
	WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
		AND p.proname IN ('format', 'lower', 'length', 'now', 'left', 'quote_ident', 'quote_literal', 'jsonb_build_object', 'count', 'array_agg',
			'to_jsonb', 'current_setting', 'regexp_replace', 'regexp_match', 'octet_length', 'cardinality', 'clock_timestamp', 'generate_series', 'unnest',
			'sha256', 'encode', 'pg_has_role', 'has_function_privilege', 'string_agg', 'jsonb_agg', 'aclexplode', 'max', 'substr', 'btrim',
			'greatest', 'upper', 'abs', 'array_position', 'split_part', 'set_config', 'pg_sleep', 'jsonb_each', 'jsonb_strip_nulls', 'array_to_string');

-- All calls of them, in their own schema; of people's; and of what triggers do.
CREATE TABLE log.call (n integer GENERATED ALWAYS AS IDENTITY, text text);
INSERT INTO log.call (text) SELECT format('%s miosa.%I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' WHEN 'f' THEN 'SELECT' END, p.proname,
		(SELECT string_agg(regexp_replace(test.plausible(a.name, a.type), '::(text|boolean|json|jsonb|integer|bigint|interval|uuid)', '::pg_catalog.\1'), ', ' ORDER BY a.n)
			FROM unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY a (name, type, n)))
	FROM pg_proc p WHERE p.pronamespace = 'miosa'::regnamespace AND (p.proname LIKE 'miosa\_%' OR p.prosrc = 'mrb_entry_console') ORDER BY p.prokind = 'p', p.proname;
UPDATE log.call SET text = replace(replace(text, 'pg_catalog.integer', 'pg_catalog.int4'), 'pg_catalog.boolean', 'pg_catalog.bool');
UPDATE log.call SET text = replace(text, 'pg_catalog.bigint', 'pg_catalog.int8');
INSERT INTO log.call (text) SELECT format('SELECT * FROM miosa.%I', c.relname) FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('v', 'm') ORDER BY 1;
INSERT INTO log.call (text) SELECT format('UPDATE miosa.%1$I SET %2$I = %2$I', c.relname, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 2))
	FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r' ORDER BY 1;
INSERT INTO log.call (text) VALUES ('UPDATE miosa.deployments SET active_version_id = ''ver_1'''), ('UPDATE miosa.deployments SET slug = ''other'''),
	('UPDATE miosa.tenants SET slug = ''other'''), ('UPDATE miosa.domains SET state = ''removed'''), ('DELETE FROM miosa.domains'),
	('UPDATE miosa.versions SET state = ''archived'' WHERE id OPERATOR(pg_catalog.=) ''ver_1'''), ('DELETE FROM miosa.releases'),
	('INSERT INTO miosa.plans (name, audit_retention, idempotency_retention, artifact_retention) VALUES (''own'', ''1 day'', ''1 day'', ''1 day'')'),
	('DELETE FROM miosa.audit_events'), ('DELETE FROM miosa.versions'), ('DELETE FROM miosa.deployments');
CREATE FUNCTION log.outcome(call pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RAISE SQLSTATE 'OK000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- A role that has no right but to create.
CREATE ROLE regress_mallory;
GRANT CREATE ON SCHEMA public TO regress_mallory;
GRANT USAGE ON SCHEMA log TO PUBLIC;
GRANT SELECT ON log.target TO PUBLIC;
CREATE SEQUENCE log.fooled;
GRANT ALL ON SEQUENCE log.fooled TO PUBLIC;
CREATE FUNCTION log.fooled() RETURNS bigint LANGUAGE sql VOLATILE SET search_path = pg_catalog RETURN (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM log.fooled s);
CREATE FUNCTION log.note() RETURNS boolean LANGUAGE sql SET search_path = pg_catalog RETURN nextval('log.fooled') > 0;

-- Overloads that are better, or as good, for some calls, and operators and types
-- that are found before the server's when public comes first.
CREATE PROCEDURE log.overload() LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	arguments text;
BEGIN
	FOR t IN SELECT * FROM log.target LOOP
		FOREACH arguments IN ARRAY ARRAY['"limit" integer, y integer DEFAULT 1', 'x text DEFAULT NULL, y integer DEFAULT NULL', 'VARIADIC x text[]', 'x text, y text, z text, more integer DEFAULT 1',
			'x varchar', 'artifacts boolean, y integer DEFAULT 1', 'x name, y name DEFAULT NULL', 'x bigint, y integer DEFAULT 1', 'x char, y jsonb DEFAULT NULL', 'x anyelement, y anyelement',
			'x text', 'x text, y text', 'x text, y text, z text', 'x jsonb'] LOOP
			BEGIN
				EXECUTE format('CREATE %s public.%I(%s) %s LANGUAGE sql AS ''SELECT log.note()::pg_catalog.text''', CASE WHEN t.procedure THEN 'PROCEDURE' ELSE 'FUNCTION' END,
					t.name, arguments, CASE WHEN NOT t.procedure THEN 'RETURNS pg_catalog.text' END);
			EXCEPTION WHEN duplicate_function THEN
				NULL;
			END;
		END LOOP;
	END LOOP;
	FOR t IN SELECT o.oprname AS name, o.oprleft::regtype AS l, o.oprright::regtype AS r FROM pg_operator o
		WHERE o.oprkind = 'b' AND o.oprnamespace = 'pg_catalog'::regnamespace
			AND o.oprleft = ANY ('{text,integer,bigint,boolean,jsonb,timestamptz,interval,name,oid,anyarray,real,double precision,numeric,"char",inet,xid8}'::regtype[])
	LOOP
		EXECUTE format('CREATE OR REPLACE FUNCTION public.fake(%s, %s) RETURNS pg_catalog.bool LANGUAGE sql AS ''SELECT log.note()''', t.l, t.r);
		EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.fake)', t.name, t.l, t.r);
	END LOOP;
	FOREACH arguments IN ARRAY '{text,int4,int8,jsonb,bool,timestamptz,interval,name,record}'::text[] LOOP
		EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.text CHECK (log.note())', arguments);
	END LOOP;
	FOREACH arguments IN ARRAY '{deployments,versions,pg_class,pg_proc,pg_roles,pg_settings,pg_extension}'::text[] LOOP
		EXECUTE format('CREATE VIEW public.%I AS SELECT log.note()', arguments);
	END LOOP;
END $$;

-- Before CREATE EXTENSION.
\i :cleanup
SET client_min_messages = error;
SET ROLE regress_mallory;
CALL log.overload();
RESET ROLE;
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 500 AS many FROM pg_catalog.pg_proc WHERE proowner OPERATOR(pg_catalog.=) 'regress_mallory'::pg_catalog.regrole;
-- Functions of our names stop it, with whatever search_path.
\set VERBOSITY terse
SET search_path = public, pg_catalog;
CREATE EXTENSION miosa_rollback SCHEMA public;
SET search_path = pg_catalog;
CREATE EXTENSION miosa_rollback SCHEMA public;
\set VERBOSITY default
-- Where it has a schema of its own, or they are dropped, nothing is in the way.
CREATE SCHEMA ops;
CREATE EXTENSION miosa_rollback SCHEMA ops;
DROP EXTENSION miosa_rollback;
DROP SCHEMA ops;
SELECT last_value, is_called FROM log.fooled;
SELECT format('DROP ROUTINE %s', p.oid::regprocedure) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'miosa\_%' \gexec
SET search_path = public, pg_catalog;
CREATE EXTENSION miosa_rollback SCHEMA public;
SET search_path = pg_catalog;
SELECT last_value, is_called FROM log.fooled;
-- A schema of our name that somebody has made.
DROP EXTENSION miosa_rollback;
CREATE SCHEMA miosa AUTHORIZATION regress_mallory;
\set SHOW_CONTEXT never
CREATE EXTENSION miosa_rollback SCHEMA public;
\set SHOW_CONTEXT errors
DROP SCHEMA miosa;
CREATE EXTENSION miosa_rollback SCHEMA public;

-- After it, and with public first.
SELECT 'DROP OWNED BY regress_mallory CASCADE' \gexec
GRANT CREATE ON SCHEMA public TO regress_mallory;
GRANT ALL ON SEQUENCE log.fooled TO PUBLIC;
SELECT public.miosa_put_tenant('ten_1', 'acme') IS NOT NULL AS ok;
SELECT public.miosa_put_deployment('dep_1', 'ten_1', 'shop') IS NOT NULL AS ok;
SELECT count(public.miosa_put_version('dep_1', 'ver_' || i, i, storage_uri => 's3://bucket/' || i)) FROM generate_series(1, 3) i;
SELECT public.miosa_promote('dep_1', 'ver_2') IS NOT NULL AS ok;
SELECT public.miosa_put_domain('shop.example.com', 'dep_1') IS NOT NULL AS ok;
SET ROLE regress_mallory;
CALL log.overload();
RESET ROLE;
SELECT last_value, is_called FROM log.fooled;
SET search_path = public, pg_catalog;
CREATE TABLE log.ended AS SELECT c.n, log.outcome(c.text), log.fooled() AS fooled FROM log.call c;
SET search_path = pg_catalog;
SELECT last_value, is_called FROM log.fooled;
SELECT left(c.text, 80) AS call, e.outcome, e.fooled FROM log.ended e JOIN log.call c ON c.n = e.n
	WHERE e.fooled > 0 OR e.outcome !~ '^(OK000|MR...|22...|2D000|23...|0A000|42501)$' ORDER BY c.n;
SELECT count(*) FILTER (WHERE outcome = 'OK000') > 40 AS many_succeed FROM log.ended;
-- What pg_cron runs, as it stands in the jobs, and what the doctor and hints say.
TRUNCATE miosa.maintenance;
SELECT string_agg(format('%s;', command), ' ') AS jobs FROM miosa.maintenance_jobs() WHERE command ~ '^CALL' \gset
SET search_path = public, pg_catalog;
:jobs
CALL miosa.maintain();
CALL miosa.verify_artifacts();
SET search_path = pg_catalog;
SELECT count(*) AS maintained FROM miosa.maintenance;
SELECT last_value, is_called FROM log.fooled;
-- The console.
SELECT item, left(value, 40) AS value FROM miosa.status('shop') LIMIT 1;
SELECT count(*) FROM miosa.rollback('shop', 'v1', 'a reason');
SELECT last_value, is_called FROM log.fooled;

DROP OWNED BY regress_mallory CASCADE;
DROP ROLE regress_mallory;
DROP SCHEMA log CASCADE;
SET miosa_rollback.allow_drop = on;
DROP EXTENSION miosa_rollback;
