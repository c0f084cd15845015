-- The response of an operation, and what is stored to return it again.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- The shapes, written in SQL: what C builds must be the same bytes.
CREATE FUNCTION test.iso(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
CREATE FUNCTION test.object(d miosa.deployments) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('id', d.id, 'tenant_id', d.tenant_id, 'name', d.name, 'slug', d.slug, 'kind', d.kind,
		'state', d.state, 'desired_replicas', d.desired_replicas, 'active_version_id', d.active_version_id,
		'active_release_id', d.active_release_id, 'running_artifact_sha256', d.running_artifact_sha256,
		'serving_version_id', d.serving_version_id, 'owner_id', d.owner_id, 'workspace_id', d.workspace_id,
		'project_id', d.project_id, 'source_type', d.source_type, 'auto_deploy', d.auto_deploy,
		'custom_domain_id', d.custom_domain_id, 'linked_database_id', d.linked_database_id,
		'deployment_product', d.deployment_product, 'metadata', d.metadata,
		'external_workspace_id', d.external_workspace_id, 'external_user_id', d.external_user_id,
		'external_project_id', d.external_project_id, 'public_url', d.public_url, 'auto_subdomain', d.auto_subdomain,
		'created_at', test.iso(d.created_at), 'updated_at', test.iso(d.updated_at))
		|| (SELECT jsonb_object_agg(f, d.metadata -> f) FROM unnest(ARRAY['repo_url', 'repo_provider', 'branch',
			'build_command', 'run_command', 'runtime_image', 'current_build_id']) f) $$;
CREATE FUNCTION test.response(d miosa.deployments, a miosa.audit_events, skipped jsonb, warnings jsonb) RETURNS jsonb
LANGUAGE sql AS $$
	SELECT jsonb_build_object('data', test.object(d), 'operation', jsonb_build_object('id', a.deployment_id || '#' || a.seq,
			'previous_version_id', a.previous_version_id, 'target_version_id', a.target_version_id,
			'target_rule', a.target_rule, 'outcome', a.outcome)
		|| jsonb_strip_nulls(jsonb_build_object('skipped', skipped, 'warnings', warnings))) $$;
-- Whether two values are the same bytes, and in the order that jsonb sorts by.
CREATE TYPE test.box AS (content jsonb);
CREATE FUNCTION test.same(one jsonb, other jsonb) RETURNS boolean LANGUAGE sql AS $$
	SELECT ROW(one)::test.box *= ROW(other)::test.box AND ROW(one)::test.box *= ROW(one::text::jsonb)::test.box $$;

-- Promise: times are those of to_char(), also far away.
SELECT count(*) FILTER (WHERE miosa.iso(t) IS DISTINCT FROM test.iso(t)) AS different, count(*)
FROM unnest(ARRAY['2026-01-02 03:04:05.000006+07', '1970-01-01+00', '2199-12-31 23:59:59.999999+00', '0001-01-01+00',
	'0001-01-01 BC', '4713-01-01 BC', '12026-05-06+00', '294276-12-31+00', '1999-12-31 23:59:59.5+00', 'infinity', '-infinity',
	NULL]::timestamptz[]) t;

-- Promise: of every deployment the object is the same, whatever is in it.
SELECT count(test.history('dep_' || i, 3)) FROM generate_series(1, 9) i;
UPDATE miosa.deployments SET name = 'Ünïcode 🚀 "quotes" \ back' || E'\n\t\x01', owner_id = '', workspace_id = ' ',
	auto_deploy = true, desired_replicas = 100000 WHERE id = 'dep_2';
UPDATE miosa.deployments SET metadata = '{"repo_url": "https://git.example/é.git", "branch": null, "build_command": ["make", {"a": 1.00}, []],
	"run_command": {"z": {}, "aa": [1, [2, [3]]], "b": "x"}, "runtime_image": 1e3, "current_build_id": true,
	"repo_provider": -0.50, "other": {"repo_url": "inner"}}' WHERE id = 'dep_3';
UPDATE miosa.deployments SET owner_id = 'o', workspace_id = 'w', project_id = 'p', source_type = 'repo', custom_domain_id = 'cd',
	linked_database_id = 'db', deployment_product = 'dp', external_workspace_id = 'ew', external_user_id = 'eu',
	external_project_id = 'ep', public_url = 'https://shop.example', auto_subdomain = 'https://shop.apps.example' WHERE id = 'dep_4';
-- long values, compressed and not, out of line
UPDATE miosa.deployments SET name = repeat('long name ', 100), owner_id = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32) i),
	metadata = (SELECT jsonb_object_agg('key ' || i, jsonb_build_object('n', i, 'text', md5(i::text), 'list', jsonb_build_array(i, NULL, true)))
		FROM generate_series(1, 500) i) || '{"branch": "main"}' WHERE id = 'dep_5';
UPDATE miosa.deployments SET metadata = '{"repo_url": null, "": "", "a": []}', project_id = 'only' WHERE id = 'dep_6';
UPDATE miosa.deployments SET project_id = 'last', created_at = '1999-12-31 23:59:59.999999+00' WHERE id = 'dep_7';
SELECT count(*) FILTER (WHERE NOT test.same(miosa.deployment_object(d), test.object(d))) AS different, count(*) FROM miosa.deployments d;
SELECT test.same(miosa.deployment_object(NULL), test.object(NULL));
SELECT test.same(miosa_deployment('dep_4'), jsonb_build_object('data', test.object(d))) FROM miosa.deployments d WHERE id = 'dep_4';
-- rows that no table has
SELECT test.same(miosa.deployment_object(d), test.object(d)) FROM jsonb_populate_record(NULL::miosa.deployments,
	'{"created_at": "infinity", "updated_at": "0044-03-15 12:00:00+00 BC", "metadata": [1], "seq": 1}') d;
SELECT test.same(miosa.deployment_object(d), test.object(d)) FROM jsonb_populate_record(NULL::miosa.deployments,
	'{"id": "x", "metadata": "text", "created_at": "12026-05-06"}') d;
-- Promise: the response has the deployment as the operation left it, and what
-- is stored gives the same bytes again.
CREATE TABLE test.responses (deployment_id text, key text, response jsonb, expected jsonb);
CREATE FUNCTION test.run(dep text, version text, key text, promotion boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	response jsonb;
BEGIN
	response := CASE WHEN promotion THEN miosa_promote(dep, version, key) ELSE miosa_rollback(dep, version, key) END;
	INSERT INTO test.responses
		SELECT dep, key, response, test.response(d, a, response #> '{operation,skipped}', response #> '{operation,warnings}')
		FROM miosa.deployments d JOIN miosa.audit_events a ON a.deployment_id = d.id AND a.seq = d.seq WHERE d.id = dep;
END $$;
SELECT count(test.run('dep_' || i, 'ver_1', 'key')) FROM generate_series(1, 7) i;
-- nothing changes: updated_at stays
SELECT test.run('dep_1', 'ver_1', 'key-2');
SELECT test.run('dep_8', 'ver_2', 'key', true);
-- versions are passed over, and warned of
UPDATE miosa.versions SET state = 'archived' WHERE deployment_id = 'dep_8' AND id = 'ver_3';
UPDATE miosa.versions SET metadata = '{"migration_compatibility": "incompatible"}' WHERE deployment_id = 'dep_8' AND id = 'ver_2';
SELECT test.run('dep_8', NULL, 'key-2');
-- instances are missing: another version serves
SELECT test.history('dynamic', 2, 'dynamic');
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, last_heartbeat_at)
	VALUES ('dynamic', 'i1', 'ten_1', 'ver_2', 'healthy', now());
SELECT test.run('dynamic', 'ver_1', 'key');
-- no version is active, and the version has no release
SELECT test.deployment('fresh', 0);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES ('fresh', 'ver_1', 'ten_1', 1, 'ready');
SELECT test.run('fresh', 'ver_1', 'key', true);
SELECT deployment_id, key, test.op(r.response), coalesce(jsonb_array_length(r.response #> '{operation,warnings}'), 0) AS warnings,
	test.same(r.response, r.expected) AS built, test.same(r.response, miosa.stored_response(k)) AS stored,
	test.same(r.response, miosa_rollback(deployment_id, r.response #>> '{operation,target_version_id}', key)) AS replayed
FROM test.responses r JOIN miosa.idempotency_keys k USING (deployment_id, key)
WHERE k.operation = 'rollback' AND (deployment_id, key) <> ('dep_8', 'key-2')
ORDER BY deployment_id, key;
SELECT deployment_id, key, test.op(r.response), coalesce(jsonb_array_length(r.response #> '{operation,warnings}'), 0) AS warnings,
	test.same(r.response, r.expected) AS built, test.same(r.response, miosa.stored_response(k)) AS stored
FROM test.responses r JOIN miosa.idempotency_keys k USING (deployment_id, key)
WHERE k.operation <> 'rollback' OR (deployment_id, key) = ('dep_8', 'key-2')
ORDER BY deployment_id, key;

-- Promise: what is stored is short, and a release that comes later can read it:
-- this is format 1, which never changes.
SELECT k.response - 2 FROM miosa.idempotency_keys k WHERE deployment_id = 'dep_4';
SELECT k.response - 2 FROM miosa.idempotency_keys k WHERE deployment_id = 'dep_7';
SELECT k.response - 2 FROM miosa.idempotency_keys k WHERE deployment_id = 'dynamic';
SELECT pg_column_size(k.response) * 2 < pg_column_size(miosa.stored_response(k)) FROM miosa.idempotency_keys k WHERE deployment_id = 'dep_7';
SELECT jsonb_pretty(miosa.stored_response(k)) FROM (SELECT ('dep', 'key', 'rollback', '\x', jsonb '[1, 2, 820454399000001, "ten", "Name", "slug", "dynamic",
	"pending", "v1", "r1", "0a", "v2", "named", "pending", false, "https://a", "https://b", "ew", "eu", "ep", {"branch": "main"}, "o", "w", "p", "repo", "dp", "cd",
	"db", "v2", 820454399000002, "v3", ["v9"], [{"code": "X"}]]', 7, '2026-01-01 00:00:00+00', '2026-01-02 00:00:00+00')::miosa.idempotency_keys AS k) s;
SELECT miosa.stored_response(('dep', 'key', 'rollback', '\x', jsonb '[1, 2, 820454399000001]', 7, '2026-01-01 00:00:00.5+00',
	'2026-01-02 00:00:00+00')::miosa.idempotency_keys);

-- Promise: a response that is stored as it is, is returned as it is.
UPDATE miosa.idempotency_keys k SET response = r.response FROM test.responses r
	WHERE (k.deployment_id, k.key) = (r.deployment_id, r.key);
SELECT count(*) FILTER (WHERE NOT test.same(r.response, miosa.stored_response(k))) AS different, count(*)
FROM test.responses r JOIN miosa.idempotency_keys k USING (deployment_id, key);
SELECT test.same(miosa_rollback('dep_3', 'ver_1', 'key'), response) FROM test.responses WHERE deployment_id = 'dep_3';

-- Promise: what was superseded is returned with what says so, in either form.
CREATE FUNCTION test.superseded(response jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT response || jsonb_build_object('operation', (response -> 'operation') || jsonb_build_object('replayed', true,
		'superseded_by', format('%s#%s', d.id, d.seq), 'warnings', coalesce(response #> '{operation,warnings}', '[]')
		|| jsonb_build_object('code', 'SUPERSEDED', 'message', format('deployment "%s" has moved since', d.id),
			'detail', format('This is the result of operation %s, which made "%s" active; active now is "%s".',
				response #>> '{operation,id}', response #>> '{operation,target_version_id}', d.active_version_id),
			'hint', 'To act again, call with a new key: SELECT gen_random_uuid();')))
	FROM miosa.deployments d WHERE d.id = response #>> '{data,id}' $$;
UPDATE miosa.versions SET metadata = '{}' WHERE deployment_id = 'dep_8';
SELECT test.op(miosa_promote('dep_8', 'ver_2')), test.op(miosa_promote('dep_2', 'ver_2'));
SELECT test.same(miosa_rollback('dep_8', NULL, 'key-2'), test.superseded(response)) FROM test.responses WHERE (deployment_id, key) = ('dep_8', 'key-2');
SELECT test.same(miosa_rollback('dep_2', 'ver_1', 'key'), test.superseded(response)) FROM test.responses WHERE deployment_id = 'dep_2';
SELECT test.run('dep_2', 'ver_1', 'packed');
SELECT test.op(miosa_promote('dep_2', 'ver_2'));
SELECT test.same(miosa_rollback('dep_2', 'ver_1', 'packed'), test.superseded(response)) FROM test.responses WHERE key = 'packed';

-- What no release has written is refused, not guessed.
SELECT test.refusal(format('SELECT miosa.stored_response((''dep'', ''key'', ''rollback'', ''\x'', %L, 7, now(), now())::miosa.idempotency_keys)', stored))
FROM unnest(ARRAY['[2, "x"]', '[]', 'null', '"text"', '["1"]', '[1.5]', '[1]', '[1, 1, "then"]']) stored;
UPDATE miosa.idempotency_keys SET response = '[2]' WHERE deployment_id = 'dep_3';
SELECT test.refusal($$SELECT miosa_rollback('dep_3', 'ver_1', 'key')$$);
SELECT test.refusal($$SELECT miosa.stored_response((NULL, 'key', 'rollback', '\x', '[1]', 1, now(), now())::miosa.idempotency_keys)$$);
SELECT miosa.stored_response(NULL) IS NULL;

\i :cleanup
