-- What one would write without the extension: the same work in PL/pgSQL,
-- listeners notified by the transaction itself, audit events without hashes.
CREATE FUNCTION bench.rollback(deployment text, version text, idempotency_key text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	request bytea := sha256(convert_to('rollback ' || version, 'UTF8'));
	at timestamptz;
	stored record;
	moved miosa.deployments;
	target record;
	retention record;
	previous text;
	response jsonb;
BEGIN
	SELECT k.fingerprint, k.response INTO stored FROM miosa.idempotency_keys k
		WHERE k.deployment_id = deployment AND k.key = idempotency_key
		AND k.expires_at > clock_timestamp();
	IF FOUND THEN
		IF stored.fingerprint <> request THEN
			RAISE EXCEPTION 'key % was used for another request', idempotency_key;
		END IF;
		RETURN stored.response;
	END IF;

	SELECT v.state, r.id, r.sha256, r.collected_at INTO target
		FROM miosa.versions v
		LEFT JOIN miosa.releases r
		ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
		WHERE v.deployment_id = deployment AND v.id = version;
	IF target.state IS DISTINCT FROM 'ready' OR target.collected_at IS NOT NULL THEN
		RAISE EXCEPTION 'version % cannot be restored', version;
	END IF;

	SELECT p.active_version_id INTO previous FROM miosa.deployments p
		WHERE p.id = deployment FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'deployment % does not exist', deployment;
	END IF;
	SELECT k.fingerprint, k.response INTO stored FROM miosa.idempotency_keys k
		WHERE k.deployment_id = deployment AND k.key = idempotency_key
		AND k.expires_at > clock_timestamp();
	IF FOUND THEN
		RETURN stored.response;
	END IF;
	SELECT v.state, r.id, r.sha256, r.collected_at INTO target
		FROM miosa.versions v
		LEFT JOIN miosa.releases r
		ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
		WHERE v.deployment_id = deployment AND v.id = version;
	IF target.state IS DISTINCT FROM 'ready' OR target.collected_at IS NOT NULL THEN
		RAISE EXCEPTION 'version % cannot be restored', version;
	END IF;

	at := clock_timestamp();
	UPDATE miosa.deployments p SET active_version_id = version,
			active_release_id = target.id, running_artifact_sha256 = target.sha256,
			serving_version_id = NULL, state = 'running',
			recent_served = (ARRAY[version] || array_remove(p.recent_served, version))[1:3],
			seq = p.seq + 1, route_seq = p.route_seq + 1,
			last_rollback_at = at, updated_at = at
		WHERE p.id = deployment RETURNING * INTO moved;
	response := jsonb_build_object('data', miosa.deployment_object(moved),
		'operation', jsonb_build_object('id', deployment || '#' || moved.seq,
			'previous_version_id', previous, 'target_version_id', version,
			'target_rule', 'named', 'outcome', 'changed'));
	SELECT n.idempotency_retention, n.audit_retention INTO retention
		FROM miosa.tenants t JOIN miosa.plans n ON n.name = t.plan
		WHERE t.id = moved.tenant_id;
	INSERT INTO miosa.idempotency_keys (deployment_id, key, operation,
			fingerprint, response, seq, created_at, expires_at)
		VALUES (deployment, idempotency_key, 'rollback',
			request, response, moved.seq, at, at + retention.idempotency_retention);
	INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action,
			outcome, target_rule, previous_version_id, target_version_id,
			actor_type, actor_id, session_user_name, client_addr,
			idempotency_key, created_at, keep_until)
		VALUES (deployment, moved.seq, moved.tenant_id, 'deployment.rollback',
			'changed', 'named', previous, version,
			'role', session_user, session_user, inet_client_addr(),
			idempotency_key, at, at + retention.audit_retention);
	INSERT INTO miosa.outbox (deployment_id, kind, route_seq, created_at)
		VALUES (deployment, 'route', moved.route_seq, at);
	PERFORM pg_notify('bench_route', json_build_object('deployment_id', deployment,
		'version_id', version)::text);
	PERFORM miosa.wake();
	RETURN response;
END $$;
