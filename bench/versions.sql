-- Deployment 0 with :versions versions, each promoted over the one before it,
-- the newest of them active.
SET session_replication_role = replica;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state, promoted_over, promotion_seq, promoted_at)
	SELECT '0', v, 'tenant', v, 'ready', v - 1, v, now() - (:versions - v) * interval '1 min'
	FROM generate_series(4, :versions) v;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri, sha256)
	SELECT '0', v, v, 'tenant', 'bench://artifacts/0/' || v, md5(v::text) || md5(v::text)
	FROM generate_series(4, :versions) v;
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule,
		previous_version_id, target_version_id, actor_type, actor_id, session_user_name, created_at,
		keep_until, hash)
	SELECT '0', v, 'tenant', 'deployment.version.promote', 'changed', 'named',
		v - 1, v, 'role', 'postgres', 'postgres', now() - (:versions - v) * interval '1 min',
		now() - (:versions - v) * interval '1 min' + interval '400 days', decode(repeat('5b', 32), 'hex')
	FROM generate_series(4, :versions) v;
UPDATE miosa.deployments SET active_version_id = :'versions', active_release_id = :'versions', seq = :versions,
	recent_served = ARRAY[:versions::text, (:versions - 1)::text, (:versions - 2)::text]
	WHERE id = '0';
RESET session_replication_role;
