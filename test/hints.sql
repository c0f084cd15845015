-- What test/sql/hints.sql does for each schema: every refusal's HINT, run as
-- it stands, and what is shown as CONTEXT.
CREATE FUNCTION test.hint(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	hint text;
	context text;
	found text;
BEGIN
	BEGIN
		EXECUTE test.call(call);
		RETURN 'not refused';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	END;
	INSERT INTO test.seen VALUES (state);
	-- The caller's own frames, and none of ours.
	IF context <> format(E'SQL statement "%s"\nPL/pgSQL function test.hint(text) line 9 at EXECUTE', test.call(call)) THEN
		hint := concat_ws(E'\n', hint, 'CONTEXT: ' || context);
	END IF;
	found := substring(hint FROM '\m((SELECT|CALL|TABLE|UPDATE|INSERT|SET) .*;)');
	BEGIN
		IF found IS NOT NULL THEN
			EXECUTE found;
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		RETURN concat_ws(' ', state, CASE WHEN found IS NULL THEN '(nothing to run)' WHEN SQLSTATE = 'ZZ000' THEN '(runs)'
			ELSE format('(FAILS: %s %s)', SQLSTATE, SQLERRM) END, hint);
	END;
END $$;
CREATE TABLE test.seen (state text);

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
-- conditions that none of these raises: what takes a second session or server
SELECT s FROM unnest('{MR400,MR403,MR404,MR44V,MR409,MR49U,MR49P,MR49M,MR49R,MR49I,MR410,MR412,MR423,MR503,MR53P}'::text[]) s
WHERE s NOT IN (SELECT state FROM test.seen) ORDER BY s;
-- what the doctor proposes
SELECT test.value('(SELECT to_jsonb(array_agg(fix)) FROM miosa_doctor() WHERE item = ''endpoints'')');
\set ECHO none
