-- The rows that rollbacks of the first :count deployments write, all given; with
-- holds or without.
WITH moved AS (
	UPDATE miosa.deployments p SET active_version_id = :version,
		active_release_id = :version, running_artifact_sha256 = repeat(:version, 64),
		serving_version_id = NULL, state = 'running',
		recent_served = (ARRAY[:version] || array_remove(p.recent_served, :version))[1:3],
		seq = p.seq + 1, route_seq = p.route_seq + 1,
		audit_head = decode(repeat('5b', 32), 'hex'),
		last_rollback_at = clock_timestamp(), updated_at = clock_timestamp()
	WHERE p.id IN (SELECT d::text FROM generate_series(0, :count - 1) d)
	RETURNING p.id, p.seq, p.route_seq
), event AS (
	INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action,
		outcome, target_rule, previous_version_id, target_version_id,
		actor_type, actor_id, session_user_name, idempotency_key, marks,
		created_at, keep_until, hash)
	SELECT m.id, m.seq, 'tenant', 'deployment.rollback',
		'changed', 'named', '1', :version,
		'role', 'postgres', 'postgres', :key, :marks,
		clock_timestamp(), clock_timestamp() + '1 year', decode(repeat('5b', 32), 'hex')
	FROM moved m
), keyed AS (
	INSERT INTO miosa.idempotency_keys (deployment_id, key, operation,
		fingerprint, response, seq, created_at, expires_at)
	SELECT m.id, :key, 'rollback',
		decode(repeat('5b', 32), 'hex'), bench.response(), m.seq,
		clock_timestamp(), clock_timestamp() + '1 day'
	FROM moved m
), queued AS (
	INSERT INTO miosa.outbox (xid, deployment_id, kind, route_seq, created_at)
	SELECT pg_current_xact_id(), m.id, 'route', m.route_seq, clock_timestamp()
	FROM moved m
), held AS (
	INSERT INTO miosa.holds (deployment_id, tenant_id, since, seq, actor_type, actor_id)
	SELECT m.id, 'tenant', clock_timestamp(), m.seq, 'role', 'postgres' FROM moved m
	WHERE ':hold'::boolean
) SELECT count(bench.response()), (SELECT miosa.wake()) FROM moved m;
