-- Behind PostgREST: its form of errors, and the key in a header.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 3);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_4', 'ten_1', 4, 'building');
-- The error as PostgREST reads it: SQLSTATE, body, then status and headers.
CREATE FUNCTION test.http(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	body text;
	response text;
BEGIN
	EXECUTE call;
	RETURN 'answered';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, body = MESSAGE_TEXT, response = PG_EXCEPTION_DETAIL;
	IF state <> 'PGRST' THEN
		RETURN state || ' ' || body;
	END IF;
	RETURN format('%s %s %s %s', response::jsonb ->> 'status', body::jsonb ->> 'code', body::jsonb ->> 'message',
		nullif(response::jsonb ->> 'headers', '{}'));
END $$;

-- Promise: without request.method the plain form, with it PostgREST's, whose
-- body has the four members that PostgREST asks for.
SELECT test.http($$SELECT miosa_rollback('dep_9', 'ver_1')$$);
SET request.method = '';
SELECT test.http($$SELECT miosa_rollback('dep_9', 'ver_1')$$);
SET request.method = 'POST';
SELECT miosa_rollback('dep_9', 'ver_1');
DO $$
DECLARE
	body text;
	response text;
BEGIN
	PERFORM miosa_rollback('dep_1', E'ver"\\\n', NULL);
EXCEPTION WHEN SQLSTATE 'PGRST' THEN
	GET STACKED DIAGNOSTICS body = MESSAGE_TEXT, response = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '% %', (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(body::jsonb) k),
		(SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(response::jsonb) k);
	RAISE NOTICE '%', jsonb_pretty(body::jsonb);
END $$;

-- Promise: the exact status, the platform's code where it publishes one, else
-- ours, and Retry-After where it helps.
SELECT test.http($$SELECT miosa_rollback('dep 9', 'ver_1')$$);
SELECT test.http($$SELECT miosa_rollback(NULL, 'ver_1')$$);
SELECT test.http($$SELECT miosa_promote('dep_1', NULL)$$);
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_1', '')$$);
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_1', cutover => 'x')$$);
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_9')$$);
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_4')$$);
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_1', expected_active => 'ver_2')$$);
SELECT test.http(format('SELECT miosa.raise_condition(%L, ''said'', NULL, NULL)', c))
FROM unnest(ARRAY['INVALID_ARGUMENT', 'FORBIDDEN', 'DEPLOYMENT_NOT_FOUND', 'VERSION_NOT_FOUND', 'VERSION_NOT_READY', 'VERSION_IN_USE',
	'NO_PREVIOUS_VERSION', 'MIGRATION_INCOMPATIBLE', 'ROLLBACK_REPEATED', 'IDEMPOTENCY_PAYLOAD_MISMATCH', 'ARTIFACT_GONE',
	'ACTIVE_VERSION_CHANGED', 'DEPLOYMENT_BUSY', 'HELD', 'FROZEN', 'STORAGE_UNAVAILABLE', 'NOT_PRIMARY']) c;

-- Promise: the key may come from the header, in both forms; an argument wins.
SET request.headers = '{"accept": "*/*", "idempotency-key": "\"header-1\""}';
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'header-1'));
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_2')$$);
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'argument-1'));
SET request.headers = '{"idempotency-key": "header-2"}';
SELECT test.op(miosa_rollback('dep_1'));
SELECT test.op(miosa_rollback('dep_1'));
SELECT key FROM miosa.idempotency_keys WHERE deployment_id = 'dep_1' ORDER BY seq;
-- Promise: a replay says so in a header, beside those that are set already.
SHOW response.headers;
BEGIN;
SELECT set_config('response.headers', '[{"X-Mine": "1"} ] ', true);
SELECT test.op(miosa_rollback('dep_1'));
SHOW response.headers;
SELECT set_config('response.headers', '[ ]', true);
SELECT test.op(miosa_rollback('dep_1'));
SHOW response.headers;
ROLLBACK;
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_2', 'header-3'));
SHOW response.headers;
ROLLBACK;
-- and for what moves nothing
SET request.headers = '{"idempotency-key": "header-4"}';
SELECT n, miosa_mark_bad('dep_1', 'ver_1', 'slow') #>> '{operation,id}' AS id FROM generate_series(1, 2) n;
SELECT test.http($$SELECT miosa_clear_bad('dep_1', 'ver_1')$$), test.http($$SELECT miosa_watch('dep_1')$$), test.http($$SELECT miosa_unwatch('dep_1')$$),
	test.http($$SELECT miosa_rename_deployment('dep_1', 'new')$$), test.http($$SELECT miosa_remove_deployment('dep_1')$$),
	test.http($$SELECT miosa_hold('dep_1')$$);
SELECT test.op(miosa_clear_bad('dep_1', 'ver_1', idempotency_key => 'header-5'));
-- no key in it, or none that could be one
SET request.headers = '{"accept": "*/*"}';
SELECT test.http($$SELECT miosa_rollback('dep_1')$$);
SET request.headers = '{"idempotency-key": ""}';
SELECT test.http($$SELECT miosa_rollback('dep_1', 'ver_3')$$);
-- A key that cannot be read is never taken for none.
SELECT h.headers, test.http(format('SELECT set_config(''request.headers'', %L, true), miosa_rollback(''dep_1'', ''ver_3'')', h.headers))
FROM unnest(ARRAY['[]', '7', 'null', '{', '{"idempotency-key": "x"', '{"idempotency-key": 7}', '{"idempotency-key": ["x"]}', '{"idempotency-key": null}',
	'{"idempotency-key": {"key": "x"}}', '{"Idempotency-Key": "x"}', '{"IDEMPOTENCY-KEY": "x", "idempotency-key": "x"}',
	'{"idempotency-key": "\u0000"}', '{"idempotency-key": 1e999999}']) h (headers);
SELECT n, test.http(format('SELECT set_config(''request.headers'', %L, true), miosa_rollback(''dep_1'', ''ver_3'')',
	'{"a": ' || repeat('[', n) || repeat(']', n) || '}'))
FROM unnest(ARRAY[101, 10000, 1000000]) n;
SELECT test.count('dep_1');
RESET request.headers;

-- Promise: the arguments have the names that gateways call by.
SELECT proname, pg_get_function_arguments(oid) FROM pg_proc
WHERE proname IN ('miosa_rollback', 'miosa_promote', 'miosa_plan') AND 'deployment_id' = ANY (proargnames)
ORDER BY proname;
SELECT test.op(miosa_rollback(deployment_id => 'dep_1', version_id => 'ver_2'));
RESET request.method;

\i :cleanup
