-- What test/sql/hints.sql does for each schema: every refusal's HINT, run as
-- it stands, and what is shown as CONTEXT.
CREATE FUNCTION test.hint(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	hint text;
	context text;
	found text[];
	statement text;
BEGIN
	BEGIN
		EXECUTE test.call(call);
		RETURN 'not refused';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	END;
	INSERT INTO test.seen VALUES (call);
	-- The caller's own frames, and none of ours.
	IF context <> format(E'SQL statement "%s"\nPL/pgSQL function test.hint(text) line 10 at EXECUTE', test.call(call)) THEN
		hint := concat_ws(E'\n', hint, 'CONTEXT: ' || context);
	END IF;
	found := ARRAY(SELECT m[1] FROM regexp_matches(hint, '\m((?:SELECT|CALL|TABLE|UPDATE|INSERT|SET|BEGIN)\M(?:[^;'']|''[^'']*'')*;)', 'g') m);
	-- The same call once more is a retry only with the caller's key.
	IF call ~ '\mk-1\M' AND found[1] !~ '\mk-1\M' AND substring(found[1] FROM 'miosa[_.]\w+') = substring(call FROM 'miosa[_.]\w+') THEN
		RETURN concat_ws(' ', state, '(LOSES THE KEY)', hint);
	END IF;
	BEGIN
		FOREACH statement IN ARRAY found LOOP
			EXECUTE statement;
		END LOOP;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		RETURN concat_ws(' ', state, CASE WHEN found = '{}' THEN '(nothing to run)' WHEN SQLSTATE = 'ZZ000' THEN '(runs)'
			ELSE format('(FAILS: %s %s)', SQLSTATE, SQLERRM) END, hint);
	END;
END $$;
CREATE TABLE test.seen (call text);

SELECT test.history('dep_1', 3);
SELECT test.deployment('dep_2', 1);
SELECT test.history('dep_3', 3);
SELECT test.history('dep_4', 3);
SELECT test.history('dep_5', 3);
UPDATE miosa.deployments SET slug = 'shop-' || right(id, 1);
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_3' AND id = 'ver_3';
UPDATE miosa.releases SET collected_at = now(), collected_by = 'collector' WHERE deployment_id = 'dep_4' AND id = 'rel_2';
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_new', 'ten_1', 9, 'building');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_5', 'ten_1', 5, 'ready');
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri) VALUES ('dep_1', 'rel_5', 'ver_5', 'ten_1', 'http://127.0.0.1:1/dist.tar.zst');
-- for what an incident adds: dep_6 is held, dep_7 is frozen, dep_8 has bad versions,
-- dep_9 has a schema that older versions do not fit
SELECT test.history('dep_' || i, 3) FROM generate_series(6, 9) i;
UPDATE miosa.deployments SET slug = 'shop-' || right(id, 1);
SELECT test.value($$miosa_hold('dep_6', 'INC-6')$$) IS NULL, test.value($$miosa_put_freeze('gala', now() + '1 day', selector => '{"ids": ["dep_7"]}')$$),
	test.value($$miosa_mark_bad('dep_8', 'ver_2', 'errors')$$), test.value($$miosa_report_schema('shop', 3, 3)$$),
	test.value($$miosa_set_deployment('dep_9', schema_name => 'shop')$$) \g /dev/null
UPDATE miosa.versions SET schema_version = version_number WHERE deployment_id = 'dep_9';
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_8', 'ver_bare', 'ten_1', 4, 'created'),
	('dep_6', 'ver_4', 'ten_1', 4, 'ready'), ('dep_7', 'ver_4', 'ten_1', 4, 'ready');
SELECT test.history('dep_one', 1);
RESET search_path;
SET client_min_messages = error;

\set ECHO queries
-- what people and programs say, and keep: the reason, the key and the rest
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_4', 'ver_2', idempotency_key => 'k-1', reason => 'after miosa_promote() of it''s', attribution => '{"a": 1}', cutover => 'immediate')$$,
	$$SELECT * FROM miosa.rollback('shop-4', 'v2', reason => 'INC-7', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.promote('shop-4', 'v2', expected_active => 'v3')$$,
	$$SELECT miosa_promote('dep_1', 'ver_5', 'k-1', reason => 'INC-7')$$,
	$$SELECT * FROM miosa.promote('shop-1', 'v5', reason => 'INC-7', idempotency_key => 'k-1')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- two in a row
SELECT test.op(result) FROM (SELECT test.value($$miosa_rollback('dep_5', reason => 'first')$$) AS result) r;
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_5', reason => 'second')$$,
	$$SELECT * FROM miosa.rollback('shop-5', reason => 'second')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- the other refusals of operations
SET miosa_rollback.on_incompatible = 'refuse';
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_3', 'ver_2')$$,
	$$SELECT * FROM miosa.rollback('shop-3')$$,
	$$SELECT miosa_rollback('dep_2')$$,
	$$SELECT * FROM miosa.rollback('shop-2')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_9')$$,
	$$SELECT * FROM miosa.rollback('shop-1', 'v99')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_new')$$,
	$$SELECT * FROM miosa.rollback('shop-1', 'ver_new')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', expected_active => 'ver_2')$$,
	$$SELECT * FROM miosa.rollback('shop-1', 'v1', expected_active => 'v2')$$,
	$$SELECT miosa_rollback('nosuch')$$,
	$$SELECT * FROM miosa.rollback('nosuch')$$,
	$$SELECT miosa_rollback('no such')$$,
	$$SELECT * FROM miosa.status(NULL)$$,
	$$SELECT miosa_promote('dep_1', NULL)$$,
	$$SELECT * FROM miosa.promote('shop-1', NULL)$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', cutover => 'now')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', idempotency_key => repeat('k', 300))$$,
	$$SELECT * FROM miosa.candidates('nosuch')$$,
	$$SELECT * FROM miosa.history('shop-1', 0)$$,
	$$SELECT miosa_wait_converged('nosuch')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
RESET miosa_rollback.on_incompatible;
-- a lock that a prepared transaction has
SET miosa_rollback.lock_wait = '10 ms';
BEGIN;
SELECT id FROM miosa.deployments WHERE id = 'dep_2' FOR UPDATE;
PREPARE TRANSACTION 'miosa_hints';
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_2', 'ver_1')$$,
	$$SELECT * FROM miosa.rollback('shop-2', 'v1')$$,
	$$SELECT miosa_put_deployment('dep_2', 'ten_1', 'Shop')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
ROLLBACK PREPARED 'miosa_hints';
RESET miosa_rollback.lock_wait;
SELECT count(*) FROM (SELECT test.value($$miosa_rollback('dep_1', 'ver_1', 'used')$$)) r;
SELECT test.hint($$SELECT miosa_rollback('dep_1', 'ver_2', 'used')$$);
-- holds, freezes and marks
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_promote('dep_6', 'ver_1', 'k-1', reason => 'INC-7', automatic => true)$$,
	$$SELECT miosa_release('dep_1', idempotency_key => 'k-1')$$,
	$$SELECT miosa_release('dep_6', promote => 'newest', idempotency_key => 'k-1')$$,
	$$SELECT miosa_release('dep_6', promote => 'oldest', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.release('shop-6', promote => 'newest', idempotency_key => 'k-1')$$,
	$$SELECT miosa_hold('dep_6', until => '2020-01-01', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.hold('shop-6', until => '2020-01-01', idempotency_key => 'k-1')$$,
	$$SELECT miosa_promote('dep_7', 'ver_1', 'k-1', attribution => '{"a": 1}')$$,
	$$SELECT * FROM miosa.promote('shop-7', 'v1', reason => 'INC-7', idempotency_key => 'k-1')$$,
	$$SELECT miosa_promote('dep_7', 'ver_1', 'k-1', break_glass => true)$$,
	$$SELECT miosa_put_freeze('gala 1', now() + '1 day')$$,
	$$SELECT miosa_put_freeze('gala', now() - '1 day'::interval)$$,
	$$SELECT miosa_put_freeze('gala', now() + '1 day', selector => '{"host": "x"}')$$,
	$$SELECT miosa_remove_freeze('nosuch')$$,
	$$SELECT miosa_promote('dep_8', 'ver_2', 'k-1', reason => 'it''s fine')$$,
	$$SELECT * FROM miosa.promote('shop-8', 'v2', idempotency_key => 'k-1')$$,
	$$SELECT miosa_mark_bad('dep_8', 'ver_9', 'errors', idempotency_key => 'k-1')$$,
	$$SELECT miosa_mark_bad('dep_8', 'ver_3', ' ', idempotency_key => 'k-1')$$,
	$$SELECT miosa_mark_bad('dep_8', 'ver_bare', 'it''s slow', 'artifact', 'k-1')$$,
	$$SELECT miosa_clear_bad('dep_8', 'ver_bare', scope => 'artifact', idempotency_key => 'k-1')$$,
	$$SELECT miosa_mark_bad('dep_8', 'ver_1', 'errors', 'everything', 'k-1')$$,
	$$SELECT miosa_clear_bad('dep_8', 'ver_9', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.mark_bad('shop-8', 'v1', ' ', 'deployment', 'k-1')$$,
	$$SELECT * FROM miosa.clear_bad('shop-8', 'v9', idempotency_key => 'k-1')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
SET miosa_rollback.automatic = on;
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT * FROM miosa.promote('shop-6', 'v1', reason => 'INC-7', idempotency_key => 'k-1')$$,
	$$UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_6'$$,
	$$UPDATE miosa.deployments SET active_version_id = 'ver_4' WHERE id = 'dep_7'$$]) WITH ORDINALITY u (call, n) ORDER BY n;
RESET miosa_rollback.automatic;
-- the schema, and what served at a moment or for long enough
SET miosa_rollback.on_schema_mismatch = 'refuse';
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_9', 'ver_2', 'k-1')$$,
	$$SELECT * FROM miosa.rollback('shop-9', idempotency_key => 'k-1')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
RESET miosa_rollback.on_schema_mismatch;
SET miosa_rollback.min_served = '1 d';
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_9', idempotency_key => 'k-1', mark_bad => true, reason => 'INC-7', hold_for => '1 h')$$,
	$$SELECT * FROM miosa.rollback('shop-9', reason => 'INC-7', idempotency_key => 'k-1', hold => false)$$]) WITH ORDINALITY u (call, n) ORDER BY n;
RESET miosa_rollback.min_served;
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback('dep_9', idempotency_key => 'k-1', served_at => '2020-01-01 00:00:00+00')$$,
	$$SELECT * FROM miosa.rollback('shop-9', idempotency_key => 'k-1', served_at => now() + '1 day')$$,
	$$SELECT miosa_rollback('dep_9', 'ver_1', idempotency_key => 'k-1', served_at => '2020-01-01 00:00:00+00')$$,
	$$SELECT miosa_rollback('dep_9', idempotency_key => 'k-1', mark_bad => true)$$,
	$$SELECT miosa_rollback('dep_9', idempotency_key => 'k-1', hold => false, hold_for => '1 h')$$,
	$$SELECT miosa_rollback('dep_9', idempotency_key => 'k-1', hold_for => '-1 h')$$,
	$$SELECT miosa_report_schema('shop', -1)$$,
	$$SELECT miosa_report_schema('shop', 3, 4)$$,
	$$SELECT miosa_report_schema('shop', 3, tenant_id => 'ten_9')$$,
	$$SELECT miosa_put_schema('shop', ARRAY[''])$$,
	$$SELECT miosa_remove_schema('nosuch')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- undo
SELECT test.op(test.value($$miosa_undo('dep_9')$$));
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_undo('dep_9', reason => 'it''s back')$$,
	$$SELECT * FROM miosa.undo('shop-9', reason => 'it''s back')$$,
	$$SELECT miosa_undo('dep_9', 'dep_9#2', 'k-1', 'INC-7')$$,
	$$SELECT * FROM miosa.undo('shop-9', '#2', reason => 'INC-7', idempotency_key => 'k-1')$$,
	$$SELECT miosa_undo('dep_2', idempotency_key => 'k-1')$$,
	$$SELECT miosa_undo('dep_9', 'dep_8#1', 'k-1')$$,
	$$SELECT miosa_undo('dep_9', '#99', 'k-1')$$,
	$$SELECT miosa_undo('dep_6', '#4', 'k-1')$$,
	$$SELECT * FROM miosa.undo('shop-9', 'x', idempotency_key => 'k-1')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_undo('dep_one', idempotency_key => 'k-1', reason => 'INC-7')$$,
	$$SELECT * FROM miosa.undo('dep_one', idempotency_key => 'k-1')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- fleets
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rollback_many('{"ids": ["dep_2", "dep_7"]}', idempotency_key => 'k-1', reason => 'it''s INC-7', cutover => 'immediate')$$,
	$$SELECT * FROM miosa.rollback_many('{"ids": ["dep_2", "dep_7"]}', 'INC-7', idempotency_key => 'k-1')$$,
	$$SELECT miosa_rollback_many('{"id": "dep_2"}', idempotency_key => 'k-1')$$,
	$$SELECT miosa_rollback_many('{"ids": "dep_2"}', mode => 'all', idempotency_key => 'k-1')$$,
	$$SELECT miosa_rollback_many('{"ids": "dep_2"}', mode => 'best_effort', idempotency_key => 'k-1', mark_bad => true)$$,
	$$SELECT miosa_plan_many('{}')$$,
	$$SELECT * FROM miosa.plan_many('[]')$$,
	$$CALL miosa_rollback_fleet('{"kind": "all"}', idempotency_key => 'k-1')$$,
	$$CALL miosa_rollback_fleet('{"ids": "dep_7"}', idempotency_key => 'k-1', batch => 0)$$,
	$$SELECT miosa.fleet_step('flt_000000000000', 10)$$,
	$$SELECT miosa_wait_converged('flt_000000000000')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
SELECT count(*) FROM (SELECT test.value($$miosa_rollback_many('{"ids": "dep_2"}', mode => 'best_effort', idempotency_key => 'used')$$)) r;
SELECT test.hint($$SELECT miosa_rollback_many('{"ids": "dep_7"}', idempotency_key => 'used')$$);
-- watches and alerts
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_watch('dep_9', '0 s', idempotency_key => 'k-1')$$,
	$$SELECT miosa_watch('dep_9', on_alert => 'panic', idempotency_key => 'k-1')$$,
	$$SELECT miosa_watch('dep_9', alerts => '[]', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.watch('shop-9', '0 s', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.watch('nosuch', idempotency_key => 'k-1')$$,
	$$SELECT miosa_unwatch('nosuch', idempotency_key => 'k-1')$$,
	$$SELECT * FROM miosa.unwatch('nosuch', idempotency_key => 'k-1')$$,
	$$SELECT miosa_alert('{"version": "3"}')$$,
	$$SELECT miosa_alert(NULL)$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- the life of deployments, and what happened to them
SELECT count(*) FROM (SELECT test.value($$miosa_put_domain('a.example.com', 'dep_9')$$)) r;
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_rename_deployment('dep_9', 'shop-8', 'k-1')$$,
	$$SELECT miosa_rename_deployment('dep_9', 'a.b', 'k-1')$$,
	$$SELECT miosa_move_host('nosuch.example.com', 'dep_9', idempotency_key => 'k-1')$$,
	$$SELECT miosa_move_host('shop-8.acme.miosa.app', 'dep_9', idempotency_key => 'k-1')$$,
	$$SELECT miosa_move_host('a.example.com', 'dep_8', 'dep_7', 'k-1')$$,
	$$SELECT miosa_move_host('a.example.com', 'nosuch', idempotency_key => 'k-1')$$,
	$$SELECT miosa_unpublish('dep_9', 'k-1', expected_active => 'ver_1')$$,
	$$SELECT miosa_unpublish('nosuch', 'k-1')$$,
	$$SELECT miosa_remove_deployment('dep_9', idempotency_key => 'k-1')$$,
	$$SELECT miosa_timeline('nosuch')$$,
	$$SELECT miosa_timeline('dep_9', "limit" => 0)$$,
	$$SELECT * FROM miosa.timeline('nosuch')$$,
	$$SELECT miosa_report('nosuch')$$,
	$$SELECT miosa_report('dep_9', now(), now() - '1 h'::interval)$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- calls that return their refusal have the same hints
CREATE FUNCTION test.raise_tried(call text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	error CONSTANT jsonb := test.value(call) -> 'error';
BEGIN
	RAISE EXCEPTION USING ERRCODE = error ->> 'sqlstate', MESSAGE = error ->> 'message', HINT = error ->> 'hint';
END $$;
SELECT test.hint(format('SELECT test.raise_tried(%L)', call)) ~ '^MR\w+ \(runs\) .*k-1' FROM unnest(ARRAY[
	$$miosa_try_promote('dep_6', 'ver_1', 'k-1', automatic => true)$$,
	$$miosa_try_promote('dep_7', 'ver_1', 'k-1')$$,
	$$miosa_try_rollback('dep_4', 'ver_2', 'k-1')$$]) call;
-- everything else
SELECT test.hint(call) FROM unnest(ARRAY[
	$$SELECT miosa_archive_version('dep_1', 'ver_1')$$,
	$$WITH p AS (SELECT miosa_pin_version('dep_3', 'ver_1') AS v) SELECT miosa_archive_version('dep_3', v -> 'data' ->> 'id') FROM p$$,
	$$DELETE FROM miosa.audit_events$$,
	$$SELECT miosa_pin_version('dep_4', 'ver_2')$$,
	$$SELECT miosa_put_version('dep_4', 'ver_7', storage_uri => (SELECT storage_uri FROM miosa.releases WHERE deployment_id = 'dep_4' AND id = 'rel_2'))$$,
	$$SELECT miosa_confirm_collected('dep_4', 'rel_1')$$,
	$$SELECT miosa_confirm_collected('dep_4', 'nosuch')$$,
	$$SELECT miosa_put_deployment('dep_9', 'ten_9')$$,
	$$SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"active_version_id": "ver_2"}')$$,
	$$SELECT miosa_put_domain('no host', 'dep_1')$$,
	$$SELECT miosa_set_version_state('dep_1', 'ver_1', 'nosuch')$$,
	$$SELECT miosa_put_endpoint('edge', 'nosuch', 'http://10.0.0.1')$$,
	$$SELECT miosa_put_endpoint('edge', 'webhook', 'http://10.0.0.1', secret => 'nosuch')$$,
	$$SELECT miosa_redrive('nosuch')$$,
	$$SELECT miosa_set_endpoint('nosuch', true)$$,
	$$SELECT miosa_put_secret('s', ' ')$$,
	$$SELECT miosa_put_storage('s3', 'x')$$,
	$$SELECT miosa_remove_storage('s3://nosuch/')$$,
	$$SELECT miosa_audit_log("limit" => 0)$$,
	$$SELECT miosa_convergence('no such')$$,
	$$SELECT miosa_convergence('dep_1#99')$$,
	$$SELECT miosa_test_endpoint('nosuch')$$,
	$$SELECT miosa_remove_endpoint('nosuch')$$,
	$$SELECT miosa_test_storage('nosuch')$$,
	$$SELECT miosa_put_storage('s3://b/', 'https://s3.invalid', secret => 'nosuch')$$,
	$$UPDATE miosa.adapters SET timeout = '1 s' WHERE name = 'webhook'$$,
	$$DELETE FROM miosa.plans WHERE name = 'free'$$,
	$$UPDATE miosa.deployments SET serving_version_id = 'ver_1' WHERE id = 'dep_1'$$,
	$$UPDATE miosa.deployments SET route_seq = route_seq + 1 WHERE id = 'dep_1'$$,
	$$UPDATE miosa.deployments SET active_version_id = 'ver_9' WHERE id = 'dep_1'$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', idempotency_key => ' ')$$,
	$$SELECT miosa_rollback('dep_1', 'ver_1', idempotency_key => E'a\tb')$$]) WITH ORDINALITY u (call, n) ORDER BY n;
-- functions that take a key, and no call above of which is refused
SELECT p.oid::regproc FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'miosa_rollback')
WHERE 'idempotency_key' = ANY (p.proargnames) AND has_function_privilege('miosa_operator', p.oid, 'execute') AND p.proname <> 'fleet_begin'
	AND NOT EXISTS (SELECT FROM test.seen s WHERE s.call ~ format('\mmiosa%s%s\(', CASE WHEN p.pronamespace = 'miosa'::regnamespace THEN '\.' ELSE '' END,
		CASE WHEN p.pronamespace = 'miosa'::regnamespace THEN p.proname ELSE substr(p.proname, 6) END)) ORDER BY 1;
-- what the doctor proposes
SELECT test.value('(SELECT to_jsonb(array_agg(fix)) FROM miosa_doctor() WHERE item = ''endpoints'')');
\set ECHO none
