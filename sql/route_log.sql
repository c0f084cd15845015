-- Trim the log of route changes.  An endpoint whose position lies before the
-- trimmed part is resynchronized when it comes back, and so is one that is more
-- than 50,000 changes behind (replay.c).  So the trim stops at the positions of
-- enabled endpoints, and only up to a limit: an endpoint that is down for days
-- must not fill the disk.
CREATE FUNCTION miosa.trim_route_log("limit" integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	trimmed bigint := (SELECT t.trimmed_epoch FROM miosa.dispatcher_state t);
	-- Others commit after our transaction has begun.
	at CONSTANT timestamptz := clock_timestamp();
	upto bigint;
	number bigint;
BEGIN
	SELECT greatest(least(min(least(s.acked_epoch, s.settled_epoch)), t.last_epoch), t.last_epoch - 100000) INTO upto
		FROM miosa.dispatcher_state t
		LEFT JOIN (miosa.endpoints e JOIN miosa.endpoint_state s ON s.endpoint = e.name
			JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.alerts) ON e.enabled
		GROUP BY t.last_epoch;
	WITH gone AS (
		DELETE FROM miosa.route_log g
		WHERE g.epoch IN (
			-- Without a gap, so that nothing is left behind the epoch that
			-- the next call begins at; a time in the future does not count,
			-- unless the clock was just set back a little.
			SELECT p.epoch FROM (
				SELECT o.epoch, bool_and(o.created_at NOT BETWEEN at - '1 hour'::interval AND at + '1 min'::interval) OVER (ORDER BY o.epoch) AS old
				FROM (SELECT l.epoch, l.created_at FROM miosa.route_log l
					WHERE l.epoch > trimmed AND l.epoch <= upto ORDER BY l.epoch LIMIT "limit") o) p
			WHERE p.old)
		RETURNING g.epoch
	)
	SELECT count(*), max(gone.epoch) INTO number, upto FROM gone;
	UPDATE miosa.dispatcher_state t SET trimmed_epoch = upto WHERE upto > t.trimmed_epoch;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa.trim_route_log(integer) IS 'Deletes at most so many route changes that are older than an hour and that every enabled endpoint but schedulers has, or that are not among the newest 100,000; returns how many';

-- Routes as they are delivered to edges.  Its readers need not be able to read
-- the URIs in releases, so it has its owner's rights.
CREATE VIEW miosa.routes WITH (security_barrier) AS
	SELECT p.id AS deployment_id, p.tenant_id, v.id AS version_id,
		v.version_number, v.kind, r.id AS release_id, miosa.shown_uri(r.storage_uri) AS storage_uri, r.sha256,
		p.seq, p.route_seq, p.route_ttl, p.state
	FROM miosa.deployments p
	LEFT JOIN miosa.versions v
		ON v.deployment_id = p.id AND v.id = coalesce(p.serving_version_id, p.active_version_id)
	LEFT JOIN miosa.releases r
		ON r.deployment_id = p.id AND r.deployment_version_id = v.id
	WHERE miosa.sees_tenant(p.tenant_id);
COMMENT ON VIEW miosa.routes IS 'The present route of every deployment';
COMMENT ON COLUMN miosa.routes.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.routes.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.routes.version_id IS 'Version that serves; null before the first promotion';
COMMENT ON COLUMN miosa.routes.version_number IS 'Its number';
COMMENT ON COLUMN miosa.routes.kind IS 'Its kind';
COMMENT ON COLUMN miosa.routes.release_id IS 'Its release';
COMMENT ON COLUMN miosa.routes.storage_uri IS 'Where its artifact is; without its query for those who do not fetch artifacts';
COMMENT ON COLUMN miosa.routes.sha256 IS 'SHA-256 of its artifact';
COMMENT ON COLUMN miosa.routes.seq IS 'Newest operation';
COMMENT ON COLUMN miosa.routes.route_seq IS 'Newest route change';
COMMENT ON COLUMN miosa.routes.route_ttl IS 'How long edges may keep it by themselves';
COMMENT ON COLUMN miosa.routes.state IS 'State of the deployment';
