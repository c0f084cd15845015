-- When edges had an operation.  The dispatcher measures that in memory
-- (src/delivery/edge_times.c) and writes it once the operation has converged or a
-- newer one has superseded it; one that has not converged after ten seconds is
-- written as incomplete, and again if more becomes known.

CREATE TABLE miosa.convergence_log (
	deployment_id text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	tenant_id text COLLATE "C" NOT NULL,
	epoch bigint NOT NULL,
	state text NOT NULL CHECK (state IN ('converged', 'incomplete', 'superseded', 'no_edges', 'unmeasured', 'unknown')),
	created_at timestamptz NOT NULL,
	taken_at timestamptz,
	edges integer,
	confirmed integer,
	first_ms double precision,
	p50_ms double precision,
	p99_ms double precision,
	last_ms double precision,
	last_edge text COLLATE "C",
	tenths_ms double precision[],
	zones jsonb,
	PRIMARY KEY (deployment_id, seq)
);
COMMENT ON TABLE miosa.convergence_log IS 'When edges had the route of an operation, as the dispatcher saw it; kept as long as the audit event';
COMMENT ON COLUMN miosa.convergence_log.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.convergence_log.seq IS 'Number of the operation, as in miosa.audit_events';
COMMENT ON COLUMN miosa.convergence_log.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.convergence_log.epoch IS 'Position of the change in the route log; of an operation that was superseded before it was sent, that of the newer one';
COMMENT ON COLUMN miosa.convergence_log.state IS 'converged; superseded by a newer operation before that; incomplete for now; no_edges; unmeasured (too many operations at once); unknown (the dispatcher was restarted, or all edges were removed)';
COMMENT ON COLUMN miosa.convergence_log.created_at IS 'When the operation changed the route, from which the times count; for one that waited for instances, when the routes switched';
COMMENT ON COLUMN miosa.convergence_log.taken_at IS 'When the dispatcher had taken the change, after the commit';
COMMENT ON COLUMN miosa.convergence_log.edges IS 'How many edges were to receive it; those that were removed, disabled or set up anew meanwhile are not counted';
COMMENT ON COLUMN miosa.convergence_log.confirmed IS 'How many of them had acknowledged it';
COMMENT ON COLUMN miosa.convergence_log.first_ms IS 'Milliseconds until the first edge had acknowledged it';
COMMENT ON COLUMN miosa.convergence_log.p50_ms IS 'Milliseconds until half of the edges had';
COMMENT ON COLUMN miosa.convergence_log.p99_ms IS 'Milliseconds until 99 of 100 had';
COMMENT ON COLUMN miosa.convergence_log.last_ms IS 'Milliseconds until the last of those that are known to have it had';
COMMENT ON COLUMN miosa.convergence_log.last_edge IS 'Name of that edge';
COMMENT ON COLUMN miosa.convergence_log.tenths_ms IS 'Milliseconds until each tenth of the edges had acknowledged it, as many as are known';
COMMENT ON COLUMN miosa.convergence_log.zones IS 'For each zone: {"edges", "confirmed", "ms": until the last of those}';

-- Count times from a later moment.
CREATE FUNCTION miosa.later(ms double precision, by double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN by = 0 OR ms IS NULL THEN ms ELSE round(greatest(ms - by, 0)::numeric, 1)::double precision END;
COMMENT ON FUNCTION miosa.later(double precision, double precision) IS 'Milliseconds that are counted from so many milliseconds later; never below 0';

-- The same, of all zones.
CREATE FUNCTION miosa.later_zones(zones jsonb, by double precision) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT jsonb_object_agg(z.key, z.value || jsonb_strip_nulls(jsonb_build_object('ms',
		miosa.later((z.value ->> 'ms')::double precision, $2)))) FROM jsonb_each($1) z;
END;
COMMENT ON FUNCTION miosa.later_zones(jsonb, double precision) IS 'Times of zones that are counted from so many milliseconds later';

-- Write reports of the dispatcher: an array for each column.
--
-- A report is about the newest operation that its change shows, and about older
-- ones that the same change superseded before it was sent.  A change of an
-- operation is asked for at the time of its audit event.  One that came later is
-- of something else, of a host, say; unless the operation waited for instances:
-- then its route is the one that leads to its target.
CREATE FUNCTION miosa.write_convergence(deployment_ids text[], version_ids text[], seqs bigint[], epochs bigint[], states text[],
	since timestamptz[], taken_at timestamptz[], edges integer[], confirmed integer[], first_ms double precision[],
	p50_ms double precision[], p99_ms double precision[], last_ms double precision[], last_edges text[], tenths_ms text[], zones text[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	done_ids text[];
	done_seqs bigint[];
BEGIN
	-- Nearly all: the change of one operation, whose last report this is.
	WITH d AS (
		INSERT INTO miosa.convergence_log AS l (deployment_id, seq, tenant_id, epoch, state, created_at, taken_at,
				edges, confirmed, first_ms, p50_ms, p99_ms, last_ms, last_edge, tenths_ms, zones)
			SELECT r.deployment_id, r.seq, e.tenant_id, r.epoch, r.state, r.since, r.taken_at, r.edges, r.confirmed,
				r.first_ms, r.p50_ms, r.p99_ms, r.last_ms, r.last_edge, r.tenths_ms::double precision[], r.zones::jsonb
			FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
				AS r (deployment_id, version_id, seq, epoch, state, since, taken_at, edges, confirmed, first_ms, p50_ms,
				p99_ms, last_ms, last_edge, tenths_ms, zones)
			JOIN miosa.audit_events e ON e.deployment_id = r.deployment_id AND e.seq = r.seq
				AND e.created_at = r.since AND e.outcome <> 'pending' AND e.target_rule <> 'none'
			WHERE r.state <> 'incomplete'
		ON CONFLICT ON CONSTRAINT convergence_log_pkey DO UPDATE SET state = excluded.state,
			edges = excluded.edges, confirmed = excluded.confirmed, first_ms = excluded.first_ms, p50_ms = excluded.p50_ms,
			p99_ms = excluded.p99_ms, last_ms = excluded.last_ms, last_edge = excluded.last_edge, tenths_ms = excluded.tenths_ms,
			zones = excluded.zones, taken_at = excluded.taken_at
		RETURNING l.deployment_id, l.seq)
	SELECT array_agg(d.deployment_id), array_agg(d.seq) INTO done_ids, done_seqs FROM d;
	IF cardinality(done_ids) = cardinality(deployment_ids) THEN
		RETURN;
	END IF;

	INSERT INTO miosa.convergence_log AS l (deployment_id, seq, tenant_id, epoch, state, created_at, taken_at,
			edges, confirmed, first_ms, p50_ms, p99_ms, last_ms, last_edge, tenths_ms, zones)
		SELECT DISTINCT ON (w.deployment_id, w.seq) w.deployment_id, w.seq, w.tenant_id, w.epoch,
			CASE WHEN w.newest THEN w.state ELSE 'superseded' END, w.since + w.early * interval '1 ms', w.taken_at,
			CASE WHEN w.newest THEN w.edges END, CASE WHEN w.newest THEN w.confirmed END,
			CASE WHEN w.newest THEN miosa.later(w.first_ms, w.early) END, CASE WHEN w.newest THEN miosa.later(w.p50_ms, w.early) END,
			CASE WHEN w.newest THEN miosa.later(w.p99_ms, w.early) END, CASE WHEN w.newest THEN miosa.later(w.last_ms, w.early) END,
			CASE WHEN w.newest THEN w.last_edge END,
			CASE WHEN w.newest AND w.tenths_ms IS NOT NULL THEN ARRAY(SELECT miosa.later(t.ms, w.early)
				FROM unnest(w.tenths_ms::double precision[]) WITH ORDINALITY t (ms, place) ORDER BY t.place) END,
			CASE WHEN w.newest THEN miosa.later_zones(w.zones::jsonb, w.early) END
		FROM (
			SELECT r.*, e.seq, e.tenant_id, e.seq = n.seq AS newest, e.created_at,
				-- The report counts from the first operation that it is about.
				greatest(extract(epoch FROM e.created_at - r.since) * 1000, 0)::double precision AS early
			FROM (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) WITH ORDINALITY
					AS u (deployment_id, version_id, reported_seq, epoch, state, since, taken_at, edges, confirmed, first_ms, p50_ms,
					p99_ms, last_ms, last_edge, tenths_ms, zones, place)
				WHERE NOT EXISTS (SELECT FROM unnest(done_ids, done_seqs) AS d (deployment_id, seq)
					WHERE d.deployment_id = u.deployment_id AND d.seq = u.reported_seq) OFFSET 0) r
			CROSS JOIN LATERAL (
				SELECT a.seq, a.outcome = 'pending' AND a.target_version_id IS DISTINCT FROM r.version_id AS waits,
					a.outcome = 'pending' AS waited FROM miosa.audit_events a
				WHERE a.deployment_id = r.deployment_id AND a.seq <= r.reported_seq AND a.target_rule <> 'none'
				ORDER BY a.seq DESC LIMIT 1) n
			LEFT JOIN LATERAL (SELECT o.seq, o.state FROM miosa.convergence_log o
				WHERE o.deployment_id = r.deployment_id ORDER BY o.seq DESC LIMIT 1) m ON true
			JOIN miosa.audit_events e ON e.deployment_id = r.deployment_id AND e.target_rule <> 'none'
				AND e.seq BETWEEN greatest(m.seq, n.seq - 1000) AND n.seq
			WHERE e.created_at >= r.since AND NOT (n.waits AND e.seq = n.seq)
				OR e.seq = n.seq AND n.waited AND NOT n.waits AND (m.seq = n.seq AND m.state <> 'unknown') IS NOT TRUE) w
		ORDER BY w.deployment_id, w.seq, w.place DESC
	ON CONFLICT ON CONSTRAINT convergence_log_pkey DO UPDATE SET epoch = excluded.epoch, state = excluded.state,
		created_at = excluded.created_at, taken_at = excluded.taken_at, edges = excluded.edges, confirmed = excluded.confirmed,
		first_ms = excluded.first_ms, p50_ms = excluded.p50_ms, p99_ms = excluded.p99_ms, last_ms = excluded.last_ms,
		last_edge = excluded.last_edge, tenths_ms = excluded.tenths_ms, zones = excluded.zones
		WHERE l.state IN ('incomplete', 'unknown');
END $$;
COMMENT ON FUNCTION miosa.write_convergence(text[], text[], bigint[], bigint[], text[], timestamptz[], timestamptz[], integer[], integer[],
	double precision[], double precision[], double precision[], double precision[], text[], text[], text[]) IS
	'Writes when edges had operations, as the dispatcher reports it';

-- Operations in this part of the route log that have no row.  Those that this
-- dispatcher measures at the same time replace it.
CREATE FUNCTION miosa.write_unseen(after bigint, until bigint, most integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	reached bigint;
BEGIN
	SELECT coalesce((SELECT l.epoch FROM miosa.route_log l WHERE l.epoch > after AND l.epoch <= until
		ORDER BY l.epoch OFFSET most - 1 LIMIT 1), until) INTO reached;
	INSERT INTO miosa.convergence_log (deployment_id, seq, tenant_id, epoch, state, created_at)
		SELECT e.deployment_id, e.seq, e.tenant_id, c.epoch, 'unknown', e.created_at
		FROM (SELECT l.deployment_id, max(l.epoch) AS epoch, min(l.created_at) AS created_at FROM miosa.route_log l
			WHERE l.epoch > after AND l.epoch <= reached AND l.kind = 'route' GROUP BY l.deployment_id) c
		CROSS JOIN LATERAL (
			SELECT a.* FROM miosa.audit_events a
			WHERE a.deployment_id = c.deployment_id AND a.created_at >= c.created_at AND a.target_rule <> 'none'
				AND a.seq > coalesce((SELECT max(o.seq) FROM miosa.convergence_log o WHERE o.deployment_id = c.deployment_id), 0)
			ORDER BY a.seq DESC LIMIT 1000) e
		ON CONFLICT ON CONSTRAINT convergence_log_pkey DO NOTHING;
	RETURN reached;
END $$;
COMMENT ON FUNCTION miosa.write_unseen(bigint, bigint, integer) IS 'Writes a row that says unknown for operations in a part of the route log that have none; returns the epoch up to which it has read';
