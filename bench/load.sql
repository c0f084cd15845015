-- The rows that the benchmark works on: :deployments deployments of three
-- ready versions each, the first of them active, whose artifacts no probe is
-- set up for. Ids are numbers, because pgbench can compute those. :seq is the
-- number of operations that each has had (0).
\if :{?seq}
\else
\set seq 0
\endif
SET synchronous_commit = off;
SET session_replication_role = replica;
INSERT INTO miosa.tenants (id, slug) VALUES ('tenant', 'bench');
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state,
		active_version_id, active_release_id, running_artifact_sha256, seq)
	SELECT d, 'tenant', 'Deployment ' || d, 'd' || d, 'running',
		'1', '1', repeat('1', 64), :seq
	FROM generate_series(0, :deployments - 1) d;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT d, v, 'tenant', v, 'ready'
	FROM generate_series(0, :deployments - 1) d, generate_series(1, 3) v;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id,
		tenant_id, storage_uri, sha256)
	SELECT d, v, v, 'tenant', 'bench://artifacts/' || d || '/' || v,
		repeat(v::text, 64)
	FROM generate_series(0, :deployments - 1) d, generate_series(1, 3) v;
RESET session_replication_role;
RESET synchronous_commit;

-- The key "replay" of the first deployments, at most 1000, is known from now on.
SELECT count(miosa_rollback(d::text, '2', 'replay'))
	FROM generate_series(0, least(:deployments, 1000) - 1) d \g /dev/null

-- The same responses as they are returned, which a replay has to build.
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE bench.responses (
	deployment_id text NOT NULL,
	key text NOT NULL,
	response jsonb NOT NULL,
	PRIMARY KEY (deployment_id, key)
);
INSERT INTO bench.responses
	SELECT k.deployment_id, k.key, miosa.stored_response(k) FROM miosa.idempotency_keys k;

-- A response of the usual length, which the planner takes for a constant.
SELECT format('CREATE FUNCTION bench.response() RETURNS jsonb
	LANGUAGE sql IMMUTABLE RETURN %L::jsonb', k.response)
	FROM miosa.idempotency_keys k LIMIT 1 \gexec
