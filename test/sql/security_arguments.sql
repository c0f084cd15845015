-- Odd arguments: every function and procedure of the extension is called with
-- nulls, texts with quotes, backslashes, format specifiers, newlines, hidden
-- characters and 1 MB, the ends of numbers and times, arrays with nulls and more
-- dimensions, and JSON of the wrong kind.  The calls are generated from the
-- catalog, so that a new function is covered.  The caller is a superuser.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
\set SHOW_CONTEXT never
SET client_min_messages = error;
SELECT test.history('dep_own', 3), test.history('dep_dynamic', 2, 'dynamic');
INSERT INTO miosa.storages (prefix, endpoint) VALUES ('s3://own/', 'http://127.0.0.1:9');
INSERT INTO miosa.endpoints (name, adapter, url, enabled) VALUES ('edge', 'webhook', 'http://127.0.0.1:9', false);
INSERT INTO miosa.secrets (name, value) VALUES ('dep_own', 'KEY:SECRET');

-- Values by type; the first of each is what stands for the other arguments.
CREATE TABLE test.odd (type regtype, n serial, value text);
INSERT INTO test.odd (type, value)
	SELECT 'text'::regtype, unnest(ARRAY['''dep_own''', '''''', '''%s%n%%''', 'E''a\nb\\''''"''', 'E''\u202e''', 'E''\u0001''', 'repeat(''x'', 1000000)',
		'''ver_2''', '''dep_own#1''', '''edge''', '''{"a": [1, {}]}''', '''9223372036854775808'''])
	UNION ALL SELECT 'integer', unnest(ARRAY['1', '0', '-1', '2147483647', '-2147483648'])
	UNION ALL SELECT 'bigint', unnest(ARRAY['1', '0', '-1', '9223372036854775807', '-9223372036854775808'])
	UNION ALL SELECT 'boolean', unnest(ARRAY['false', 'true'])
	UNION ALL SELECT 'jsonb', unnest(ARRAY['''{}''', '''[]''', '''null''', '''"x"''', '''1e1000''', '''{"name": 1, "role": {}, "url": ["a"], "tenant": null}''',
		'(repeat(''['', 5000) || repeat('']'', 5000))'])
	UNION ALL SELECT 'text[]', unnest(ARRAY['''{dep_own}''', '''{}''', '''{NULL}''', '''{{dep_own,NULL},{b,c}}''', '''[5:6]={a,b}'''])
	UNION ALL SELECT 'tid[]', unnest(ARRAY['''{}''', '''{NULL}''', 'ARRAY[''(0,0)'', ''(4294967295,65535)'']'])
	UNION ALL SELECT 'timestamptz', unnest(ARRAY['''2026-01-01''', '''infinity''', '''-infinity''', '''294276-12-31''', '''4713-01-01 BC'''])
	UNION ALL SELECT 'interval', unnest(ARRAY['''0''', '''-178000000 years''', '''178000000 years'''])
	UNION ALL SELECT 'inet', unnest(ARRAY['''::/0''', '''0.0.0.0/0'''])
	UNION ALL SELECT 'regtype', unnest(ARRAY['''text''', '0'])
	UNION ALL SELECT 'uuid', '''00000000-0000-0000-0000-000000000000'''
	UNION ALL SELECT 'json', '''{}''';

-- miosa_wait_converged() waits, and what tests storages and endpoints connects.
CREATE VIEW test.routines AS
	SELECT p.oid, format('%s %s', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT count(*) FROM' END, p.oid::regproc) AS call, p.proargtypes::oid[] AS types
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	WHERE p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND p.proname NOT IN ('miosa_wait_converged', 'miosa_purge_expired');
-- Each argument with each value and null, the others with the usual value or null.
CREATE VIEW test.calls AS
	WITH arguments AS MATERIALIZED (
		SELECT r.oid, a.n, a.type, (SELECT o.value FROM test.odd o WHERE o.type = a.type ORDER BY o.n LIMIT 1) AS usual
		FROM test.routines r CROSS JOIN LATERAL unnest(r.types) WITH ORDINALITY a (type, n))
	SELECT DISTINCT r.oid, format('%s(%s)', r.call, (
			SELECT string_agg(format('%s::%s', coalesce(CASE WHEN a.n = v.n THEN v.value WHEN others.usual THEN a.usual END, 'NULL'), a.type::regtype), ', ' ORDER BY a.n)
			FROM arguments a WHERE a.oid = r.oid)) AS call
	FROM test.routines r
	CROSS JOIN (VALUES (true), (false)) others (usual)
	CROSS JOIN LATERAL (
		SELECT NULL::bigint AS n, NULL::text AS value
		UNION ALL
		SELECT a.n, NULL FROM arguments a WHERE a.oid = r.oid
		UNION ALL
		SELECT a.n, o.value FROM arguments a JOIN test.odd o ON o.type = a.type WHERE a.oid = r.oid) v;

-- What became of a call, which is undone.
CREATE FUNCTION test.outcome(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE call;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		RETURN CASE SQLSTATE WHEN 'ZZ000' THEN 'done' ELSE SQLSTATE || ' ' || SQLERRM END;
	END;
END $$;
CREATE TABLE test.outcomes AS
	SELECT c.oid, c.call, test.outcome(c.call) AS outcome FROM test.calls c;
SELECT count(*) > 2000 AS many, count(*) FILTER (WHERE outcome = 'done') > 200 AS done, count(*) FILTER (WHERE outcome LIKE 'MR%') > 500 AS refused FROM test.outcomes;

-- Attack 9: a function is brought down by an argument.  What only the owner may
-- call, other functions call: an internal error is a fault of theirs.
CREATE VIEW test.granted AS
	SELECT r.oid FROM test.routines r WHERE EXISTS (
		SELECT FROM pg_roles g WHERE g.rolname ~ '^(miosa|pg)_' AND g.rolname <> 'miosa_owner' AND has_function_privilege(g.oid, r.oid, 'EXECUTE'));
SELECT o.oid::regprocedure AS "internal error", o.oid IN (SELECT g.oid FROM test.granted g) AS granted, min(left(o.outcome, 80)) FROM test.outcomes o
WHERE o.outcome LIKE 'XX%' GROUP BY o.oid ORDER BY o.oid::regprocedure::text COLLATE "C";
-- Attack 9: a text of 1 MB is repeated, also in the log of the server.  A step of
-- maintenance, which administrators may call, repeats where it should go on.
SELECT o.oid::regprocedure AS "repeats it" FROM test.outcomes o
WHERE length(o.outcome) > 4000 AND o.oid IN (SELECT g.oid FROM test.granted g) ORDER BY 1;
\i :cleanup
