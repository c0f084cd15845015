-- The audit events of some years: :events of them, :operations of each
-- deployment, newest last, three seconds apart; and 100,000 more of the
-- deployment "busy". Half of the deployments' events belong to one tenant, the
-- others to 500. Some values are rare, and theirs are the oldest events. They are
-- kept for 400 days, and their hashes only have the length of real ones.

-- Indexes are built at the end: an index that is not ready is not written to.
CREATE FUNCTION bench.audit_tables() RETURNS SETOF regclass
LANGUAGE sql
BEGIN ATOMIC
	SELECT 'miosa.audit_events'::regclass UNION SELECT t.relid FROM pg_partition_tree('miosa.audit_events') t;
END;
UPDATE pg_index SET indisready = false, indisvalid = false
	WHERE indrelid IN (SELECT bench.audit_tables());

SET synchronous_commit = off;
SET session_replication_role = replica;
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state, active_version_id,
		active_release_id, running_artifact_sha256, seq)
	VALUES ('busy', 'tenant', 'Busy', 'busy', 'running', '1', '1', repeat('1', 64), 100000);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'busy', v, 'tenant', v, 'ready' FROM generate_series(1, 1000) v;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri, sha256)
	SELECT 'busy', v, v, 'tenant', 'bench://artifacts/busy/' || v, repeat('1', 64)
	FROM generate_series(1, 1000) v;
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id)
	SELECT 'www.d' || d || '.test', d, 'tenant' FROM generate_series(0, :deployments - 1, 10) d;
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule,
		previous_version_id, target_version_id, actor_type, actor_id, session_user_name, created_at,
		keep_until, hash)
	SELECT i % :deployments, 1 + i / :deployments,
		CASE i % :deployments % 2 WHEN 0 THEN 'tenant' ELSE 'tenant-' || i % :deployments % 1000 END,
		CASE WHEN i < 3 THEN 'deployment.unpublish' WHEN i % 3 = 0 THEN 'deployment.version.promote' ELSE 'deployment.rollback' END,
		'changed', 'named', 1 + i / :deployments % 2, 2 - i / :deployments % 2,
		'user', CASE WHEN i < 3 THEN 'rare' ELSE 'user_' || i % 4999 END, 'app',
		now() - (:events - i) * interval '3 s',
		now() - (:events - i) * interval '3 s' + interval '400 days', decode(repeat('5b', 32), 'hex')
	FROM generate_series(0, :events - 1) i;
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule,
		previous_version_id, target_version_id, actor_type, actor_id, session_user_name, created_at,
		keep_until, hash)
	SELECT 'busy', i, 'tenant', CASE WHEN i < 3 THEN 'deployment.unpublish' ELSE 'deployment.rollback' END,
		'changed', 'named', 1 + i % 1000, 1 + (i + 1) % 1000,
		'user', CASE WHEN i < 3 THEN 'rare' ELSE 'user_' || i % 4999 END, 'app',
		now() - (100000 - i) * interval '1 min',
		now() - (100000 - i) * interval '1 min' + interval '400 days', decode(repeat('5b', 32), 'hex')
	FROM generate_series(1, 100000) i;
RESET session_replication_role;
SELECT format('REINDEX TABLE %s', t) FROM bench.audit_tables() t
	WHERE (SELECT c.relkind FROM pg_class c WHERE c.oid = t) = 'r' \gexec
UPDATE pg_index SET indisready = true, indisvalid = true
	WHERE indrelid IN (SELECT bench.audit_tables());

-- Times of a statement in milliseconds: so many, or as many as there are in
-- two seconds. The first run, which reads what is not in memory, does not
-- count unless it is the only one.
CREATE FUNCTION bench.times(statement text, most integer) RETURNS float8[]
LANGUAGE plpgsql AS $$
DECLARE
	start CONSTANT timestamptz := clock_timestamp();
	before timestamptz;
	ms float8[] := '{}';
BEGIN
	LOOP
		before := clock_timestamp();
		EXECUTE statement;
		ms := ms || 1000 * extract(epoch FROM clock_timestamp() - before)::float8;
		EXIT WHEN cardinality(ms) > most OR clock_timestamp() > start + '2 s'::interval;
	END LOOP;
	RETURN CASE cardinality(ms) WHEN 1 THEN ms ELSE ms[2:] END;
END $$;
