-- Refusals that are returned and kept: miosa_try_rollback(), miosa_try_promote().
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
SELECT test.history('dep_1', 3);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('dep_1', 'ver_4', 'ten_1', 4, 'building');

-- Promise: they are the raising functions in every argument, name, default and
-- right, and so are their overloads.
CREATE FUNCTION test.interface(function text) RETURNS TABLE (line text) LANGUAGE sql AS $$
	SELECT format('%s -> %s %s %s %s %s %s', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.provolatile, p.proparallel,
		p.prosecdef, p.proconfig, (SELECT array_agg(a.grantee::regrole::text ORDER BY a.grantee::regrole::text COLLATE "C") FROM aclexplode(p.proacl) a))
	FROM pg_proc p WHERE p.proname = function $$;
SELECT f.raises, count(*) AS overloads, (SELECT count(*) FROM (
		(SELECT line FROM test.interface(f.raises) EXCEPT SELECT line FROM test.interface(f.tries))
		UNION ALL (SELECT line FROM test.interface(f.tries) EXCEPT SELECT line FROM test.interface(f.raises))) d) AS different
FROM (VALUES ('miosa_rollback', 'miosa_try_rollback'), ('miosa_promote', 'miosa_try_promote')) f (raises, tries)
CROSS JOIN LATERAL test.interface(f.tries) GROUP BY f.raises, f.tries ORDER BY f.raises;

-- Promise: a call that succeeds gives the same answer and leaves the same.
SELECT test.op(miosa_try_rollback('dep_1', 'ver_1', 'key-1', 'why')), test.op(miosa_try_promote('dep_1', 'ver_3'));
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'key-1', 'why'));
SELECT seq, action, outcome, reason, idempotency_key FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq > 3 ORDER BY seq;

-- Promise: a refusal has what the error has, and HINTs propose the same form.
SELECT jsonb_pretty(miosa_try_promote('dep_1', 'ver_9'));
CREATE FUNCTION test.compare(function text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	returned jsonb;
	raised text;
	of_it jsonb;
BEGIN
	-- Both see the same; what the first one writes is undone.
	BEGIN
		EXECUTE format('SELECT miosa_try_%s(%s)', function, arguments) INTO returned;
		RAISE EXCEPTION 'undo';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	of_it := returned -> 'error';
	raised := replace(replace(test.refusal(format('SELECT miosa_%s(%s)', function, arguments)), 'miosa_rollback(', 'miosa_try_rollback('),
		'miosa_promote(', 'miosa_try_promote(');
	RETURN format('%s %s: %s', of_it ->> 'code', of_it ->> 'status', raised = regexp_replace(
		concat_ws(E'\n', (of_it ->> 'sqlstate') || ' ' || (of_it ->> 'message'), '  DETAIL: ' || coalesce(of_it ->> 'detail', ''), '  HINT: ' || coalesce(of_it ->> 'hint', '')),
		'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?|\w{3} \w{3} \d\d \d\d:\d\d:\d\d(\.\d+)? \d{4} \w+', '<time>', 'g'));
END $$;
SELECT test.deployment('dep_2', 1), test.history('dep_3', 2), test.history('dep_4', 3), test.history('dep_5', 3);
SELECT test.op(miosa_promote('dep_2', 'ver_1')), test.op(miosa_rollback('dep_3'));
SET miosa_rollback.on_incompatible = 'refuse';
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_4' AND id = 'ver_3';
UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = 'dep_5' AND id = 'rel_2';
SELECT c.function, c.arguments, test.compare(c.function, c.arguments) FROM (VALUES
	('rollback', '''dep_9'''), ('rollback', '''dep 9'''), ('rollback', 'NULL::text'), ('promote', '''dep_1'', NULL::text'),
	('rollback', '''dep_1'', ''ver_9'''), ('rollback', '''dep_1'', ''ver_4'''), ('promote', '''dep_1'', ''ver_4'''),
	('rollback', '''dep_1'', ''ver_2'', expected_active => ''ver_2'''), ('rollback', '''dep_1'', ''ver_2'', ''key-1'''),
	('rollback', '''dep_1'', ''ver_2'', '''''), ('rollback', '''dep_1'', reason => repeat(''x'', 5000)'),
	('promote', '''dep_1'', ''ver_1'', attribution => ''[]'''), ('rollback', '''dep_1'', cutover => ''x'''),
	('rollback', '''dep_2'''), ('rollback', '''dep_3'''), ('rollback', '''dep_4'', reason => ''it''''s'', idempotency_key => ''k'''),
	('rollback', '''dep_5'', ''ver_2'', reason => ''it''''s'', idempotency_key => ''k'''), ('promote', '''dep_5'', ''ver_2'', ''k''')
	) c (function, arguments);
SELECT miosa_try_promote('dep_5', 'ver_2', 'k', 'it''s') -> 'error' ->> 'hint' AS hint;
SET search_path = pg_catalog;
SELECT public.miosa_try_promote('dep_5', 'ver_2', 'k') -> 'error' ->> 'hint' AS qualified;
RESET search_path;

-- Promise: the refusal is an event of the deployment, which moves nothing; the
-- key stays unused.
SELECT md5(p::text) AS before, p.seq FROM (SELECT d.id, d.active_version_id, d.serving_version_id, d.state, d.recent_served, d.route_seq, d.last_rollback_at,
	d.updated_at, d.active_release_id, d.running_artifact_sha256, d.seq FROM miosa.deployments d WHERE d.id = 'dep_4') p \gset
BEGIN;
SELECT miosa_try_rollback('dep_4', NULL, 'key-4', 'at night', attribution => '{"external_user_id": "u-4"}') -> 'error' ->> 'code' AS code;
SELECT count(*) AS queued FROM miosa.outbox WHERE xid = pg_current_xact_id();
COMMIT;
SELECT seq - :seq AS seq, action, outcome, target_rule, previous_version_id, target_version_id, actor_type, idempotency_key, reason, attribution, marks,
	keep_until > created_at AS kept FROM miosa.audit_events WHERE deployment_id = 'dep_4' AND seq > :seq;
SELECT md5(p::text) = :'before' AS unmoved FROM (SELECT d.id, d.active_version_id, d.serving_version_id, d.state, d.recent_served, d.route_seq, d.last_rollback_at,
	d.updated_at, d.active_release_id, d.running_artifact_sha256, d.seq - 1 FROM miosa.deployments d WHERE d.id = 'dep_4') p;
SELECT count(*) FROM miosa.idempotency_keys WHERE deployment_id = 'dep_4';
SELECT miosa_try_rollback('dep_4', 'ver_8') -> 'error' ->> 'code' AS code;
SELECT marks FROM miosa.audit_events WHERE deployment_id = 'dep_4' ORDER BY seq DESC LIMIT 1;
UPDATE miosa.versions SET metadata = '{}' WHERE deployment_id = 'dep_4' AND id = 'ver_3';
SELECT test.op(miosa_try_rollback('dep_4', NULL, 'key-4', 'at night', attribution => '{"external_user_id": "u-4"}'));
SELECT miosa_audit_verify('dep_4') #> '{data,verified}' AS verified;
SELECT regexp_replace(what, ' by .*', '') AS what FROM miosa.history('dep_4', 3);
SELECT e ->> 'action' AS action, e ->> 'outcome' AS outcome, e #> '{metadata,marks}' AS marks
FROM jsonb_array_elements(miosa_audit_log('dep_4') -> 'data') WITH ORDINALITY d (e, n) ORDER BY n LIMIT 2;
-- Nor does it count as an operation that came later.
SELECT test.op(miosa_rollback('dep_4', 'ver_1', 'key-5')), miosa_try_rollback('dep_4', 'ver_9') -> 'error' ->> 'code' AS code;
SELECT miosa_rollback('dep_4', 'ver_1', 'key-5') #> '{operation,superseded_by}' AS superseded;
SELECT miosa_convergence('dep_4#' || (SELECT d.seq - 1 FROM miosa.deployments d WHERE d.id = 'dep_4')) #>> '{data,state}' AS state;

-- Promise: who tries again and again does not fill the chain: one event for a key
-- and condition, or else for a caller, version and condition in a minute; and
-- some in a minute at most.
CREATE FUNCTION test.tried(dep text, version text, key text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT d.seq FROM miosa.deployments d WHERE d.id = dep);
BEGIN
	PERFORM miosa_try_rollback(dep, version, key) FROM generate_series(1, 5);
	RETURN (SELECT d.seq - before FROM miosa.deployments d WHERE d.id = dep);
END $$;
SELECT test.history('dep_6', 2);
SELECT test.tried('dep_6', 'ver_7'), test.tried('dep_6', 'ver_8'), test.tried('dep_6', 'ver_8', 'k-1'), test.tried('dep_6', 'ver_8', 'k-2');
SELECT sum(test.tried('dep_6', 'ver_8', 'many-' || n)) FROM generate_series(1, 40) n;

-- Promise: a refusal rolls back what the call did, locks included.
SELECT test.history('dep_7', 2);
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_7' AND id = 'ver_2';
SELECT miosa_try_rollback('dep_7', 'ver_1', 'key-7') -> 'error' ->> 'code' AS code;
BEGIN;
SELECT miosa_try_rollback('dep_7', 'ver_1', 'key-7') -> 'error' ->> 'code' AS code;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'miosa.deployments'::regclass AND mode <> 'AccessShareLock';
COMMIT;

-- Promise: the refusal is committed and rolled back with its transaction, whose
-- other statements go on.
BEGIN;
SELECT miosa_try_promote('dep_7', 'ver_6', 'key-8') -> 'error' ->> 'code' AS code;
SELECT test.op(miosa_promote('dep_7', 'ver_2', 'key-9'));
COMMIT;
SELECT action, outcome FROM miosa.audit_events WHERE deployment_id = 'dep_7' AND idempotency_key IN ('key-8', 'key-9') ORDER BY seq;
BEGIN;
SELECT miosa_try_promote('dep_7', 'ver_6', 'key-10') -> 'error' ->> 'code' AS code;
ROLLBACK;
SELECT count(*) FROM miosa.audit_events WHERE deployment_id = 'dep_7' AND idempotency_key = 'key-10';

-- Promise: every other error is raised, as it is.
BEGIN READ ONLY;
SELECT test.code($$SELECT miosa_try_rollback('dep_7', 'ver_2')$$);
ROLLBACK;
CREATE FUNCTION test.trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('test.trouble') = 'MR423' THEN
		RAISE 'a trigger refuses' USING ERRCODE = 'MR423', HINT = 'ask it';
	END IF;
	PERFORM 1 / 0;
	RETURN NEW;
END $$;
CREATE TRIGGER trouble BEFORE INSERT ON miosa.audit_events FOR EACH ROW WHEN (NEW.outcome <> 'refused') EXECUTE FUNCTION test.trouble();
SET test.trouble = '22012';
SELECT test.code($$SELECT miosa_try_rollback('dep_7', 'ver_2')$$);
-- A trigger may refuse in our name.
SET test.trouble = 'MR423';
SELECT miosa_try_rollback('dep_7', 'ver_2');
DROP TRIGGER trouble ON miosa.audit_events;

-- Promise: who may not act leaves nothing in the chain of a deployment.
CREATE ROLE regress_caller;
GRANT USAGE ON SCHEMA test TO regress_caller;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA test TO regress_caller;
SELECT sum(seq) AS events FROM miosa.deployments \gset
SET ROLE regress_caller;
SELECT test.code($$SELECT miosa_try_rollback('dep_1', 'ver_9')$$);
RESET ROLE;
GRANT miosa_deployer TO regress_caller;
SET ROLE regress_caller;
SELECT test.code($$SELECT miosa_try_rollback('dep_1', 'ver_9')$$);
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:boss';
SELECT miosa_try_promote('dep_1', 'ver_9') -> 'error' ->> 'code' AS code;
ROLLBACK;
RESET ROLE;
SELECT sum(seq) = :events AS none FROM miosa.deployments;
SET ROLE regress_caller;
SELECT miosa_try_promote('dep_1', 'ver_9') -> 'error' ->> 'code' AS code;
RESET ROLE;
SELECT actor_type, actor_id FROM miosa.audit_events WHERE outcome = 'refused' ORDER BY created_at DESC LIMIT 1;
REVOKE USAGE ON SCHEMA test FROM regress_caller;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA test FROM regress_caller;
DROP ROLE regress_caller;

-- Promise: a gateway answers with the status, and commits.
BEGIN;
SET LOCAL request.method = 'POST';
SET LOCAL request.headers = '{"idempotency-key": "from-header"}';
SELECT miosa_try_promote('dep_1', 'ver_9') -> 'error' ->> 'code' AS code;
SELECT current_setting('response.status') AS status, current_setting('response.headers', true) AS headers;
SET LOCAL request.headers = '{"Idempotency-Key": "x"}';
SELECT miosa_try_promote('dep_1', 'ver_9') -> 'error' ->> 'message' AS message;
SELECT current_setting('response.status') AS status;
SELECT miosa_try_promote('dep_1', 'ver_9', attribution => '[]') -> 'error' ->> 'code' AS code;
-- Functions that raise still do so.
SELECT test.code($$SELECT miosa_promote('dep_1', 'ver_9')$$) LIKE 'PGRST%' AS raised;
COMMIT;
SELECT action, marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND idempotency_key = 'from-header';

\i :cleanup
