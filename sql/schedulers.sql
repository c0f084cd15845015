-- Schedulers: what the dispatcher asks them for, and what they answered.

-- What polls count is looked up for all versions at once.
CREATE INDEX runtime_instances_polled ON miosa.runtime_instances (deployment_id, version_id) WHERE reported_by IS NOT NULL;

-- Polls are also the heartbeat of instances that were requested long ago: those
-- of a version that serves or is to serve, even when a poll has found none.
--
-- state: wanted, draining or null, when it is only polled; count: how many
-- instances it is to have; instances: which of them to start, or to stop,
-- where the adapter sends one request for each; unknown: how many more are
-- missing;
-- asked: whether a scheduler took the request since an operation last asked
-- for it; watchers: endpoints whose polls are its heartbeat; workload: its
-- name where it runs, the version's metadata "workload", else made of the
-- deployment's slug and its number.
CREATE FUNCTION miosa.capacity_requests(
	ids text[],
	OUT deployment_id text, OUT tenant_id text, OUT deployment_kind text,
	OUT version_id text, OUT version_number integer, OUT kind text,
	OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT operation_id text, OUT workload text,
	OUT state text, OUT count integer, OUT missing integer, OUT unknown integer, OUT since timestamptz, OUT asked boolean,
	OUT instances text[], OUT watchers text[])
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH asked AS MATERIALIZED (
		SELECT DISTINCT unnest($1) AS id
	), wanted AS MATERIALIZED (
		SELECT c.deployment_id, c.version_id, c.state, c.since, c.asked_at IS NOT NULL AS asked
		FROM miosa.capacity c WHERE $1 IS NULL AND c.state IN ('wanted', 'draining')
		UNION ALL
		SELECT c.deployment_id, c.version_id, c.state, c.since, c.asked_at IS NOT NULL
		FROM asked a CROSS JOIN LATERAL (
			SELECT * FROM miosa.capacity c WHERE c.deployment_id = a.id AND c.state IN ('wanted', 'draining') OFFSET 0) c
	), polled AS MATERIALIZED (
		SELECT i.deployment_id, i.version_id, i.reported_by, i.state
		FROM miosa.runtime_instances i WHERE $1 IS NULL AND i.reported_by IS NOT NULL
		UNION ALL
		SELECT i.deployment_id, i.version_id, i.reported_by, i.state
		FROM asked a CROSS JOIN LATERAL (
			SELECT * FROM miosa.runtime_instances i WHERE i.deployment_id = a.id AND i.reported_by IS NOT NULL OFFSET 0) i
	), watched AS MATERIALIZED (
		SELECT i.deployment_id, i.version_id, array_agg(DISTINCT i.reported_by) AS watchers
		FROM polled i CROSS JOIN LATERAL (SELECT * FROM miosa.deployments p WHERE p.id = i.deployment_id OFFSET 0) p
		WHERE NOT miosa.has_ended(i.state) OR i.version_id IN (p.active_version_id, p.serving_version_id)
		GROUP BY i.deployment_id, i.version_id
	)
	-- Looked up one by one, so that one deployment among many costs no more.
	SELECT p.id, p.tenant_id, p.kind, v.id, v.version_number, v.kind, r.id, r.storage_uri, r.sha256,
		p.id || '#' || p.seq::text, coalesce(v.metadata ->> 'workload', p.slug || '-v' || v.version_number::text),
		w.state, n.count, n.missing, greatest(0, n.missing - cardinality(l.instances)),
		w.since, coalesce(w.asked, false), l.instances, t.watchers
	FROM wanted w
	FULL JOIN watched t ON t.deployment_id = w.deployment_id AND t.version_id = w.version_id
	CROSS JOIN LATERAL (
		SELECT * FROM miosa.deployments p WHERE p.id = coalesce(w.deployment_id, t.deployment_id) OFFSET 0) p
	CROSS JOIN LATERAL (
		SELECT * FROM miosa.versions v
		WHERE v.deployment_id = p.id AND v.id = coalesce(w.version_id, t.version_id) OFFSET 0) v
	LEFT JOIN LATERAL (
		SELECT * FROM miosa.releases r
		WHERE r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id OFFSET 0) r ON true
	CROSS JOIN LATERAL (
		SELECT CASE w.state WHEN 'wanted' THEN p.desired_replicas ELSE 0 END AS count,
			CASE w.state WHEN 'wanted' THEN greatest(0, p.desired_replicas - (
				SELECT count(*)::integer FROM miosa.live_instances i
				WHERE i.deployment_id = p.id AND i.version_id = v.id)) ELSE 0 END AS missing) n
	CROSS JOIN LATERAL (
		SELECT CASE w.state
			WHEN 'wanted' THEN ARRAY(
				SELECT i.id FROM miosa.runtime_instances i
				WHERE i.deployment_id = p.id AND i.version_id = v.id AND i.reported_by IS NULL AND i.state <> 'destroyed'
					-- What is stopping can be started once it has stopped.
					AND (i.state <> 'stopping' OR coalesce(i.last_heartbeat_at, i.updated_at) <= miosa.heartbeat_horizon())
					AND NOT EXISTS (SELECT FROM miosa.live_instances o WHERE o.deployment_id = p.id AND o.id = i.id)
				-- More than are missing: for each that is gone another one starts.
				ORDER BY i.id LIMIT CASE WHEN n.missing > 0 THEN n.missing + 1000 ELSE 0 END)
			WHEN 'draining' THEN ARRAY(
				SELECT i.id FROM miosa.runtime_instances i
				WHERE i.deployment_id = p.id AND i.version_id = v.id AND i.reported_by IS NULL AND i.state = 'stopping'
				ORDER BY i.id)
			ELSE '{}' END AS instances) l
	WHERE p.state <> 'stopped' OR w.state IS DISTINCT FROM 'wanted'
$$;
COMMENT ON FUNCTION miosa.capacity_requests(text[]) IS 'Requests to schedulers and polls that are due, one row for each version of the deployments named; null: of all';

-- Waits for no lock; returns the versions whose rows were locked.
CREATE FUNCTION miosa.note_asked(
	deployment_ids text[], version_ids text[], states text[], errors text[], at timestamptz[],
	OUT deployment_id text, OUT version_id text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	WITH given AS (
		SELECT g.deployment_id, g.version_id, g.state, max(g.at) FILTER (WHERE g.error IS NULL) AS taken_at,
			max(g.at) FILTER (WHERE g.error IS NOT NULL) AS failed_at,
			(array_agg(g.error ORDER BY g.at DESC) FILTER (WHERE g.error IS NOT NULL))[1] AS error
		FROM unnest($1, $2, $3, $4, $5) g (deployment_id, version_id, state, error, at)
		GROUP BY g.deployment_id, g.version_id, g.state
	), free AS (
		SELECT c.deployment_id, c.version_id, c.state
		FROM given g JOIN miosa.capacity c
			ON c.deployment_id = g.deployment_id AND c.version_id = g.version_id AND c.state = g.state
		FOR NO KEY UPDATE OF c SKIP LOCKED
	), noted AS (
		UPDATE miosa.capacity c SET asked_at = coalesce(g.taken_at, c.asked_at),
				stop_asked = c.stop_asked AND (c.state <> 'wanted' OR g.taken_at IS NULL),
				last_error = coalesce(g.error, c.last_error), last_error_at = coalesce(g.failed_at, c.last_error_at)
			FROM given g JOIN free f ON f.deployment_id = g.deployment_id AND f.version_id = g.version_id AND f.state = g.state
			WHERE c.deployment_id = g.deployment_id AND c.version_id = g.version_id AND c.state = g.state
	)
	SELECT g.deployment_id, g.version_id
		FROM given g JOIN miosa.capacity c
			ON c.deployment_id = g.deployment_id AND c.version_id = g.version_id AND c.state = g.state
		WHERE NOT EXISTS (SELECT FROM free f
			WHERE f.deployment_id = g.deployment_id AND f.version_id = g.version_id AND f.state = g.state)
$$;
COMMENT ON FUNCTION miosa.note_asked(text[], text[], text[], text[], timestamptz[]) IS 'Records in miosa.capacity which requests schedulers have accepted (error null), and why they did not accept others, while the versions are still in those states';
