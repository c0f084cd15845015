-- What served when, by the audit events of a deployment and the times that are
-- in its versions.

-- An operation that waits for instances leaves what served before it serving;
-- versions.switched_at says when routes switched after all.  A version that has
-- switched again since has lost the earlier time: then it is not known what served.
CREATE FUNCTION miosa.serving_periods(deployment_id text, OUT version_id text, OUT known boolean, OUT began timestamptz, OUT ended timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH oldest AS MATERIALIZED (
		SELECT a.seq, a.previous_version_id, a.created_at FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1
	), moves AS (
		SELECT a.seq, a.outcome, a.target_version_id, a.created_at, lead(a.created_at) OVER w AS next_at, lead(a.outcome) OVER w AS next_outcome
		FROM miosa.audit_events a WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending', 'cutover') WINDOW w AS (ORDER BY a.seq)
	), switches AS (
		-- The oldest event found a version active, since its promotion at most.
		SELECT o.seq - 0.5 AS place, o.previous_version_id AS version_id, true AS known, coalesce(least(v.promoted_at, o.created_at), o.created_at) AS at
		FROM oldest o LEFT JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = o.previous_version_id
		UNION ALL
		SELECT m.seq, m.target_version_id, w.known, CASE WHEN m.outcome = 'pending' AND w.known THEN v.switched_at ELSE m.created_at END
		FROM moves m LEFT JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = m.target_version_id
		CROSS JOIN LATERAL (SELECT m.outcome <> 'pending' OR v.switched_at >= m.created_at AND coalesce(v.switched_at < m.next_at, true) AS known) w
		WHERE w.known OR m.next_outcome IS DISTINCT FROM 'cutover' AND (v.id IS NULL OR v.switched_at >= m.next_at)
	), numbered AS (
		SELECT s.*, count(*) FILTER (WHERE s.changes) OVER (ORDER BY s.place) AS n
		FROM (SELECT o.*, (o.version_id, o.known) IS DISTINCT FROM (lag(o.version_id) OVER p, lag(o.known) OVER p) OR row_number() OVER p = 1 AS changes
			FROM switches o WINDOW p AS (ORDER BY o.place)) s
	)
	SELECT p.version_id, p.known, p.began, lead(p.began) OVER (ORDER BY p.n)
	FROM (SELECT n.n, min(n.version_id) AS version_id, bool_and(n.known) AS known, min(n.at) AS began FROM numbered n GROUP BY n.n) p
$$;
COMMENT ON FUNCTION miosa.serving_periods(text) IS 'What routes resolved to, from and until (null: still), in order: a version or, if null, nothing; where that is not known, the active version';

-- Where the events do not reach back, the version that was promoted over another
-- one says until when that was active; of loaded ones, the next.
CREATE FUNCTION miosa.longest_served(deployment_id text, OUT version_id text, OUT longest interval) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	WITH periods AS MATERIALIZED (
		SELECT p.version_id, p.known, p.began, p.ended FROM miosa.serving_periods($1) p WHERE p.version_id IS NOT NULL
	)
	SELECT p.version_id, max(coalesce(p.ended, clock_timestamp()) - p.began) FILTER (WHERE p.known) FROM periods p GROUP BY p.version_id
	UNION ALL
	SELECT o.id, max(coalesce(s.promoted_at, o.next_at) - o.promoted_at)
	FROM (SELECT v.id, v.promoted_at, CASE WHEN v.promotion_seq IS NULL
				THEN lead(v.promoted_at) OVER (PARTITION BY v.promotion_seq IS NULL ORDER BY v.promoted_at, v.version_number) END AS next_at
			FROM miosa.versions v WHERE v.deployment_id = $1 AND v.promoted_at IS NOT NULL) o
	LEFT JOIN miosa.versions s ON s.deployment_id = $1 AND s.promoted_over = o.id AND s.promoted_at >= o.promoted_at
	WHERE NOT EXISTS (SELECT FROM periods p WHERE p.version_id = o.id)
	GROUP BY o.id
$$;
COMMENT ON FUNCTION miosa.longest_served(text) IS 'For how long each version served at a stretch, at most; null, or no row, when that is not known';
