-- Signatures in URIs of artifacts: who may not fetch artifacts reads none, by any
-- relation, any function or any message (attack 7: presigned queries).
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- What is masked.
SELECT uri, miosa.mask_uri(uri) FROM (VALUES
	('https://storage.example.com/a/b.tar?X-Amz-Credential=K&X-Amz-Signature=S'),
	('http://h?sig=S'), ('HTTPS://h/?token=S#f'), ('https://h/a#S'), ('https://key:S@h:8080/a@b?S'), ('https://h/a@b'),
	('az://container/a?sv=1&sig=S'), ('https://h/a'), ('s3://bucket/what?.tar'), ('file:///srv/a?b'), ('test://x'), ('?S'), ('')) u (uri);

-- Two versions with the same artifact but for the signature, one that was
-- collected, one that is being built.
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop') #>> '{data,id}' AS deployment;
SELECT count(miosa_put_version('dep_1', 'ver_' || n, n, storage_uri => 'https://127.0.0.1:1/a.tar?X-Amz-Signature=SIGNATURE' || n,
		fields => '{"build_log_uri": "https://127.0.0.1:1/log?sig=SIGNATURE"}')) AS put
FROM generate_series(1, 4) n;
SELECT miosa_put_version('dep_1', 'ver_5', 5, state => 'building', storage_uri => 'https://127.0.0.1:1/b.tar?X-Amz-Signature=SIGNATURE5') #>> '{release,storage_uri}' AS superuser_sees;
UPDATE miosa.releases SET verified_at = now();
-- Storage is asked, and its warnings are about connections.
SET client_min_messages = error;
SELECT count(miosa_promote('dep_1', 'ver_' || n, 'key-' || n)) FROM generate_series(1, 3) n;
SELECT miosa_rollback('dep_1', idempotency_key => 'key-4') #>> '{operation,target_version_id}' AS target;
UPDATE miosa.releases SET collected_at = now() WHERE id = 'rel_4';
INSERT INTO miosa.route_log (epoch, kind, deployment_id, route_seq, created_at) VALUES (1, 'route', 'dep_1', 1, now());

-- Who is asked for what.
CREATE TABLE test.found (role name, kind text, object text, answered boolean, shows boolean);
GRANT USAGE ON SCHEMA test TO PUBLIC;
-- Whether a statement's result, or the error that it raises, has the word; every
-- change is undone.
CREATE FUNCTION test.finds(statement text, OUT answered boolean, OUT shows boolean) LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
	result text;
BEGIN
	EXECUTE statement INTO result;
	RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = coalesce(result, '');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	answered := SQLSTATE = 'ZZ000';
	shows := strpos(concat(message, detail, hint), 'SIGNATURE') > 0;
END $$;
-- A value for an argument of this name.
CREATE FUNCTION test.value(function text, name text, type regtype) RETURNS text LANGUAGE sql AS $$
	SELECT CASE
		WHEN type = 'text'::regtype AND name IN ('deployment_id', 'deployment', 'id') THEN quote_literal('dep_1')
		WHEN type = 'text'::regtype AND name IN ('version_id', 'target_version_id') THEN quote_literal('ver_1')
		WHEN type = 'text'::regtype AND name = 'version' THEN quote_literal('v1')
		WHEN type = 'text'::regtype AND name = 'release_id' THEN quote_literal('rel_4')
		WHEN type = 'text'::regtype AND name = 'tenant_id' THEN quote_literal('ten_1')
		WHEN type = 'text'::regtype AND name IN ('host', 'fqdn') THEN quote_literal('shop.acme.miosa.app')
		WHEN type = 'text'::regtype AND name = 'state' THEN CASE WHEN function LIKE '%instance' THEN quote_literal('healthy') ELSE quote_literal('ready') END
		WHEN name = 'uri' THEN quote_literal('https://h/a?masked')
		WHEN name = 'epoch' THEN '0'
		WHEN name IN ('limit', 'batch', 'page') THEN '100'
		WHEN name IN ('timeout', 'wait') THEN quote_literal(CASE type WHEN 'interval'::regtype THEN '0 s' ELSE '0' END)
		ELSE 'NULL::' || type::text END $$;
DO $$
DECLARE
	as_role name;
	object record;
	result record;
BEGIN
	FOREACH as_role IN ARRAY ARRAY['miosa_viewer', 'miosa_operator', 'miosa_deployer', 'miosa_agent', 'miosa_auditor', 'pg_monitor', 'miosa_edge', 'miosa_admin'] LOOP
		FOR object IN
			-- Every column that the role may read, and the whole row where it may.
			SELECT 'column' AS kind, format('%s.%s', c.oid::regclass, a.attname) AS name,
				format('SELECT string_agg(%I::text, '' '') FROM %s', a.attname, c.oid::regclass) AS statement
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			WHERE (n.nspname = 'miosa' OR c.relname LIKE 'miosa\_%') AND c.relkind IN ('r', 'v', 'm')
				AND has_column_privilege(as_role, c.oid, a.attnum, 'SELECT') AND has_schema_privilege(as_role, n.oid, 'USAGE')
			UNION ALL
			-- Statistics have samples of values.
			SELECT 'statistics', 'pg_stats', 'SELECT string_agg(concat(s.most_common_vals, s.histogram_bounds), '' '') FROM pg_stats s'
			UNION ALL
			-- Every function that the role may call, also without options.
			SELECT 'function', p.oid::regproc::text, format('SELECT string_agg(f::text, '' '') FROM %s(%s) f', p.oid::regproc,
				(SELECT string_agg(format('%I => %s', arg.name, test.value(p.proname, arg.name, arg.type)), ', ' ORDER BY arg.n)
					FROM unnest(p.proargtypes, p.proargnames[1:p.pronargs]) WITH ORDINALITY arg (type, name, n)
					WHERE arg.n <= p.pronargs - CASE all_of WHEN 1 THEN 0 ELSE p.pronargdefaults END))
			FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace CROSS JOIN generate_series(0, 1) all_of
			WHERE (n.nspname = 'miosa' OR p.proname LIKE 'miosa\_%') AND p.prokind = 'f' AND p.prorettype <> ALL ('{trigger,event_trigger}'::regtype[])
				AND has_function_privilege(as_role, p.oid, 'EXECUTE')
				AND (p.pronargs = 0 OR p.proargnames IS NOT NULL)
				AND p.proname <> 'miosa_wait_converged'
		LOOP
			EXECUTE format('SET LOCAL ROLE %I', as_role);
			SELECT * INTO result FROM test.finds(object.statement);
			RESET ROLE;
			INSERT INTO test.found VALUES (as_role, object.kind, object.name, result.answered, result.shows);
		END LOOP;
	END LOOP;
END $$;
-- As many were read and called as there are rights for.
SELECT role, count(*) FILTER (WHERE kind = 'column') > 0 AS columns, bool_and(answered) FILTER (WHERE kind = 'column') AS all_read,
	count(DISTINCT object) FILTER (WHERE kind = 'function' AND answered) > 0 AS functions
FROM test.found GROUP BY 1 ORDER BY 1;
SELECT o.name AS not_answered
FROM unnest('{miosa_deployment,miosa_version,miosa_versions,miosa_plan,miosa_audit_log,miosa_route,miosa_routes_since,miosa_put_version,miosa_promote,
	miosa_set_version_state,miosa_archive_version,candidates,history,status,verdict,promote}'::text[]) o (name)
WHERE NOT EXISTS (SELECT FROM test.found f WHERE f.role = 'miosa_deployer' AND f.answered AND f.object ~ ('(^|\.)' || o.name || '$'));
-- Those that do not fetch artifacts find none.
SELECT DISTINCT role, kind, object FROM test.found
WHERE shows AND role NOT IN ('miosa_edge', 'miosa_admin') ORDER BY 1, 2, 3;
-- Edges find what they fetch; administrators, who delete artifacts, find all.
SELECT DISTINCT role, object FROM test.found WHERE shows AND role IN ('miosa_edge', 'miosa_admin') ORDER BY 1, 2;

-- What others see.
SET ROLE miosa_viewer;
SELECT miosa_route('shop.acme.miosa.app') #>> '{data,storage_uri}' AS route, miosa_routes_since(0) #>> '{data,0,storage_uri}' AS change;
SELECT storage_uri FROM miosa.routes;
SELECT count(DISTINCT storage_uri) AS shown, count(*) AS releases FROM miosa.release_keeping;
SELECT test.refusal('SELECT storage_uri FROM miosa.releases');
SELECT test.refusal('SELECT artifact_uri FROM miosa.versions');
SELECT test.refusal('SELECT * FROM miosa.releases');
RESET ROLE;

-- A mirror sends back what it was shown, which changes nothing.
CREATE ROLE regress_mirror IN ROLE miosa_deployer;
SET ROLE regress_mirror;
SELECT miosa_put_version('dep_1', v ->> 'id', (v ->> 'version_number')::integer, fields => v, release => r) #- '{release,updated_at}' -> 'release' = r AS same
FROM (SELECT miosa_put_version('dep_1', 'ver_' || n, state => CASE n WHEN 5 THEN 'building' END) FROM unnest('{2,5}'::integer[]) n) p (answer)
CROSS JOIN LATERAL (SELECT p.answer -> 'data', (p.answer -> 'release') - 'updated_at') o (v, r);
RESET ROLE;
SELECT id, storage_uri FROM miosa.releases ORDER BY id;
SELECT id, artifact_uri FROM miosa.versions WHERE artifact_uri IS NOT NULL ORDER BY id;

-- Messages are masked for everybody, since logs have them.
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_6', 6, storage_uri => 'https://127.0.0.1:1/a.tar?X-Amz-Signature=SIGNATURE4')$$);
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_6', 6, storage_uri => 'ht tps://x?sig=SIGNATURE')$$);
SELECT test.refusal($$SELECT miosa_put_version('dep_1', 'ver_1', storage_uri => 'https://x?sig=SIGNATURE')$$);
DROP ROLE regress_mirror;
\i :cleanup
