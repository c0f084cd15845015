-- Settings of a session that change how SQL is read and how values are written: no
-- answer depends on them.  A session reads a function once, so each setting has a
-- session of its own.
\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\set fixture :abs_srcdir '/fixture.sql'
\set sessions :abs_builddir '/results/session_settings.part.sql'
\i :fixture
SELECT test.history('dep_1', 3), test.history('dep_2', 3);
SELECT miosa_hold('dep_2', reason => 'why') #>> '{operation,outcome}';
CREATE ROLE regress_other;
GRANT SELECT ON miosa.tenants, miosa.plans, miosa.versions, miosa.releases TO regress_other;
SELECT miosa_put_schema('app', '{app}') IS NOT NULL, miosa_set_deployment('dep_1', schema_name => 'app') IS NOT NULL;
CREATE SCHEMA app;
CREATE TABLE app.orders (id uuid, note text, at date, n bigint);
UPDATE miosa.versions SET metadata = '{"requires": {"columns": {"app.orders": {"id": "uuid", "note": "text", "at": "date", "n": "int8"}}}}'
	WHERE deployment_id = 'dep_1' AND id = 'ver_2';
SELECT miosa_rollback('dep_2', 'ver_1', 'kept', hold_for => '1 day 2 hours') #>> '{operation,id}';
SELECT miosa_put_adapter('rated', '{"rate": 1234.56, "settle": "1 min"}', 'haproxy-map') IS NOT NULL;
CREATE TABLE test.statement AS SELECT miosa.audit_content(1, '2026-03-01', NULL, '{dep_1}') AS content;

-- The answer of a call, or how it is refused; what it did is undone.
CREATE FUNCTION test.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE call INTO answer;
	RAISE EXCEPTION SQLSTATE 'TTTTT';
EXCEPTION WHEN SQLSTATE 'TTTTT' THEN
	RETURN answer;
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', state || ' ' || message, '  DETAIL: ' || detail, '  HINT: ' || hint);
END $$;
CREATE FUNCTION test.watched() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM miosa_watch('dep_1', '12 hours 34 min 56 s');
	RETURN (SELECT marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' ORDER BY seq DESC LIMIT 1);
END $$;
CREATE TABLE test.calls (n integer GENERATED ALWAYS AS IDENTITY, call text, answer text);
INSERT INTO test.calls (call) VALUES
	($$SELECT concat_ws(' | ', fix, needs) FROM miosa_doctor() WHERE item = 'grants'$$),
	($$SELECT count(*) > 0 FROM miosa_doctor()$$),
	($$SELECT count(*) FROM regexp_matches(miosa_page(), 'dep_[12]#[0-9]+', 'g')$$),
	($$SELECT count(*) > 0 FROM regexp_matches(miosa_page('dep_1'), 'v3', 'g')$$),
	($$SELECT miosa_mark_bad('dep_1', 'ver_1', 'it leaks') #>> '{operation,outcome}'$$),
	($$SELECT miosa_mark_bad('dep_1', 'ver_1', E' \n')$$),
	($$SELECT miosa_put_storage('s3://bucket', 'http://127.0.0.1:9000') #>> '{data,prefix}'$$),
	($$SELECT miosa_put_storage('s3://bucket/', 'http://127.0.0.1:9000', addressing => 'virtual')$$),
	($$SELECT miosa_put_endpoint('e', 'caddy', 'http://127.0.0.1:70000')$$),
	($$SELECT miosa_put_endpoint('e', 'caddy', E'http://127.0.0.1/\\')$$),
	($$SELECT miosa_put_endpoint('e', 'caddy', 'http://[::1]:2019') #>> '{data,url}'$$),
	($$SELECT miosa_put_plan(E'p \\')$$),
	($$SELECT miosa_put_deployment('dep_3', 'ten_1', 'shop', desired_replicas => -1)$$),
	($$SELECT miosa_put_deployment('dep_3', 'ten_1', 'shop', fields => '{"created_at": "2026-03-01T00:00:00Z"}') #>> '{data,created_at}'$$),
	($$SELECT miosa_put_domain('EXAMPLE.com', 'dep_1') #>> '{data,fqdn}'$$),
	($$SELECT miosa_put_domain('ex_.com', 'dep_1')$$),
	($$SELECT miosa_audit_verify_statement('number 1')$$),
	($$SELECT miosa_audit_verify_statement(content) #>> '{data,problems}' FROM test.statement$$),
	($$SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'key', E'it''s \\ why'))$$),
	($$SELECT miosa_rollback('dep_1', 'ver_1', E'it''s \\ a key', E'it''s \\ why', cutover => 'x')$$),
	($$SELECT test.op(miosa_rollback('dep_2', 'ver_2', hold => true, hold_for => '1 day 2 hours'))$$),
	($$SELECT miosa_rollback('dep_2', 'ver_1', 'kept', hold_for => '1 day 2 hours') #>> '{operation,id}'$$),
	($$SELECT concat(fits, why) FROM miosa.schema_fits('dep_1') WHERE version = 'v2'$$),
	($$SELECT jsonb_array_length(miosa_audit_log() -> 'data')$$),
	($$SELECT jsonb_array_length(miosa_audit_log(actor => 'role:' || session_user) -> 'data')$$),
	($$SELECT miosa_put_plan('p', '30 days', '1 day', '7 days') -> 'data'$$),
	($$SELECT miosa_put_adapter('other', '{}', 'rated') -> 'data' -> 'rate'$$),
	($$SELECT miosa_put_adapter('other', '{}', 'rated') -> 'data' -> 'settle'$$),
	($$SELECT right(miosa_put_endpoint('e', 'caddy', 'http://127.0.0.1:2019') #>> '{data,created_at}', 6)$$),
	($$SELECT right(miosa_put_storage('s3://bucket', 'http://127.0.0.1:9000') #>> '{data,created_at}', 6)$$),
	($$SELECT test.watched()$$),
	($$SELECT string_agg(concat_ws(' ', version, artifact, note), ', ') FROM miosa.candidates('dep_1')$$),
	($$SELECT jsonb_agg(c ->> 'result') FROM jsonb_array_elements(miosa_plan('dep_1') #> '{data,checks}') c$$),
	($$SELECT string_agg(DISTINCT item, ' ') FROM miosa.status('dep_2')$$),
	($$SELECT md5((miosa_deployment('dep_1') #- '{data,updated_at}')::text)$$),
	($$SELECT miosa_audit_verify('dep_1') #>> '{data,verified}'$$);

-- By default
\c -
SET client_min_messages = error;
UPDATE test.calls SET answer = test.answer(call);
SELECT call, answer FROM test.calls ORDER BY n;

-- As they are not by default
SELECT format($f$\c -
SET client_min_messages = error;
SET %s;
SELECT call, a AS answer FROM test.calls, test.answer(call) a WHERE a IS DISTINCT FROM answer ORDER BY n;$f$, s)
FROM unnest(ARRAY[
	'standard_conforming_strings = off',
	'backslash_quote = off',
	'quote_all_identifiers = on',
	'array_nulls = off',
	'transform_null_equals = on',
	'bytea_output = escape',
	'DateStyle = ''German, DMY''',
	'IntervalStyle = iso_8601',
	'TimeZone = ''Asia/Kathmandu''',
	'extra_float_digits = -15',
	'default_transaction_isolation = serializable',
	'plan_cache_mode = force_generic_plan',
	'enable_seqscan = off',
	'jit_above_cost = 0',
	'search_path = miosa, pg_catalog, public']) s \g :sessions
\i :sessions

-- The extension is created as well.
\c -
SET standard_conforming_strings = off;
SET quote_all_identifiers = on;
SET session_replication_role = replica;
SET array_nulls = off;
SET miosa_rollback.allow_drop = on;
SET client_min_messages = warning;
DROP EXTENSION miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
SELECT left(request ->> 'body', 40) FROM miosa.adapters WHERE name = 'caddy';
DROP ROLE regress_other;
DROP SCHEMA app CASCADE;
\set cleanup :abs_srcdir '/cleanup.sql'
\i :cleanup
