-- What miosa_report() shows, row by row; src/api/report.c makes the page.  All
-- values come as text, as people read them, and positions on axes as numbers.

-- The subject and the period; without one what happened in the last day, or all of
-- a fleet.
CREATE FUNCTION miosa.report_head(name text, since timestamptz, until timestamptz, OUT deployment_id text, OUT fleet text,
	OUT began timestamptz, OUT ended timestamptz, OUT title text, OUT verdict text, OUT period text, OUT zone text, OUT made text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	format CONSTANT text := 'YYYY-MM-DD HH24:MI:SS';
	argument text;
BEGIN
	SELECT s.deployment_id, s.fleet, s.began INTO deployment_id, fleet, began FROM miosa.timeline_scope(name) s;
	ended := coalesce(until, clock_timestamp());
	began := coalesce(since, began - interval '1 min', ended - interval '1 day');
	IF NOT isfinite(began) OR NOT isfinite(ended) OR began >= ended THEN
		argument := CASE WHEN until IS NULL OR isfinite(until) AND since IS NOT NULL THEN 'since' ELSE 'until' END;
		PERFORM miosa.refuse_value('argument', argument, CASE argument WHEN 'since' THEN since ELSE until END::text,
			'The period must have a beginning, and an end after it.', format('For example the last hour: SELECT miosa_report(%L, now() - interval ''1 hour'');', miosa.show(name)));
	END IF;
	-- Without a beginning: a little before the first event.
	IF since IS NULL THEN
		began := coalesce((SELECT date_trunc('second', greatest(began, e.at - (ended - e.at) / 20 - interval '1 s'))
			FROM miosa.timeline_events(deployment_id, fleet, began, ended, 1) e), began);
	END IF;
	title := coalesce('fleet ' || fleet, (SELECT format('%s (%s)', p.name, p.id) FROM miosa.deployments p WHERE p.id = deployment_id));
	IF deployment_id IS NOT NULL THEN
		verdict := (SELECT v.text FROM miosa.verdict_rows(deployment_id) v);
	END IF;
	period := to_char(began, format) || ' to ' || to_char(ended, format);
	zone := current_setting('TimeZone') || to_char(ended, ' ("UTC"OF)');
	made := to_char(clock_timestamp(), format);
END $$;
COMMENT ON FUNCTION miosa.report_head(text, timestamptz, timestamptz) IS 'The subject and the period of miosa_report()';

-- The table of events.
CREATE FUNCTION miosa.report_events(deployment_id text, fleet text, since timestamptz, until timestamptz, most integer,
	OUT at text, OUT op text, OUT kind text, OUT what text, OUT who text, OUT why text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT to_char(e.at, 'YYYY-MM-DD HH24:MI:SS.MS'), CASE WHEN $2 IS NULL THEN '#' || e.seq ELSE e.deployment || '#' || e.seq END, e.kind, e.what, e.who,
		concat_ws('; ', CASE WHEN e.kind IN ('operation', 'note') THEN miosa.mark_words((e.details -> 'marks') - 'fleet' - 'version') END, e.reason)
	FROM miosa.timeline_events($1, $2, $3, $4, $5) WITH ORDINALITY
		AS e (at, deployment, seq, rank, kind, place, what, who, reason, details, ord) ORDER BY e.ord
$$;
COMMENT ON FUNCTION miosa.report_events(text, text, timestamptz, timestamptz, integer) IS 'Rows of the timeline in miosa_report()';

-- Which version routes led to, and when: positions in parts of the period.  One
-- that waited for instances served when routes switched, if that is recorded.
CREATE FUNCTION miosa.report_served(deployment_id text, since timestamptz, until timestamptz,
	OUT start double precision, OUT "end" double precision, OUT version text, OUT began text, OUT ended text, OUT color integer)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	WITH events AS (
		(SELECT a.seq, a.created_at, a.previous_version_id, a.target_version_id, a.outcome FROM miosa.audit_events a
			WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending', 'cutover') AND a.created_at < $2 ORDER BY a.seq DESC LIMIT 20)
		UNION ALL
		SELECT a.seq, a.created_at, a.previous_version_id, a.target_version_id, a.outcome FROM miosa.timeline_operations($1, NULL, $2, $3, 1000) a
			WHERE a.outcome IN ('changed', 'pending', 'cutover')
	), moves AS (
		SELECT e.seq, CASE e.outcome WHEN 'pending' THEN l.created_at ELSE e.created_at END AS at, e.target_version_id AS version_id
		FROM events e LEFT JOIN miosa.convergence_log l ON e.outcome = 'pending' AND l.deployment_id = $1 AND l.seq = e.seq AND l.created_at > e.created_at
		UNION ALL
		-- What the first event found.
		(SELECT 0, '-infinity', e.previous_version_id FROM events e ORDER BY e.seq LIMIT 1)
		UNION ALL
		SELECT 0, '-infinity', coalesce(p.serving_version_id, p.active_version_id) FROM miosa.deployments p
			WHERE p.id = $1 AND NOT EXISTS (SELECT FROM events)
	), spans AS (
		SELECT m.version_id, greatest(m.at, $2) AS began, least(coalesce(lead(m.at) OVER (ORDER BY m.at, m.seq), 'infinity'), $3) AS ended
		FROM moves m WHERE m.at IS NOT NULL
	)
	SELECT (extract(epoch FROM s.began - $2) / extract(epoch FROM $3 - $2))::double precision,
		(extract(epoch FROM s.ended - $2) / extract(epoch FROM $3 - $2))::double precision,
		coalesce(miosa.version_name($1, s.version_id), 'none'), to_char(s.began, 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(s.ended, 'YYYY-MM-DD HH24:MI:SS.MS'),
		CASE WHEN s.version_id IS NULL THEN 0 ELSE 1 + (dense_rank() OVER (ORDER BY s.version_id IS NULL, miosa.version_name($1, s.version_id)))::integer % 6 END
	FROM spans s WHERE s.ended > s.began ORDER BY s.began
$$;
COMMENT ON FUNCTION miosa.report_served(text, timestamptz, timestamptz) IS 'Bars of miosa_report(): which version routes led to, and when';

-- How edges converged: an operation a row, or all operations of a fleet in one.
-- points: milliseconds until each tenth; of a fleet, until all edges of each
-- tenth of its deployments had them, from its first operation on.
CREATE FUNCTION miosa.report_edges(deployment_id text, fleet text, since timestamptz, until timestamptz,
	OUT title text, OUT at text, OUT state text, OUT confirmed text, OUT first_ms text, OUT p50_ms text, OUT p99_ms text, OUT last_ms text,
	OUT last_edge text, OUT points text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT '#' || l.seq || ' ' || miosa.event_words(a), to_char(l.created_at, 'YYYY-MM-DD HH24:MI:SS.MS'), l.state,
		l.confirmed || ' of ' || l.edges, l.first_ms::text, l.p50_ms::text, l.p99_ms::text, l.last_ms::text, l.last_edge,
		CASE WHEN l.confirmed > 0 THEN array_to_string(l.tenths_ms, ' ') END
	FROM (SELECT o AS event FROM miosa.timeline_operations($1, NULL, $3, $4, 2000) o WHERE $2 IS NULL AND o.target_rule <> 'none' ORDER BY o.seq DESC LIMIT 50) n
	CROSS JOIN LATERAL (SELECT (n.event).*) a
	LEFT JOIN miosa.convergence_log l ON l.deployment_id = a.deployment_id AND l.seq = a.seq
	WHERE l.seq IS NOT NULL
	UNION ALL
	SELECT 'fleet ' || $2, to_char(min(f.began), 'YYYY-MM-DD HH24:MI:SS.MS'), string_agg(DISTINCT f.state, ', '),
		count(f.ms) || ' of ' || count(*), min(f.ms)::text, (percentile_disc(0.5) WITHIN GROUP (ORDER BY f.ms))::text,
		(percentile_disc(0.99) WITHIN GROUP (ORDER BY f.ms))::text, max(f.ms)::text, (array_agg(f.last_edge ORDER BY f.ms DESC NULLS LAST))[1],
		array_to_string(percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1}'::double precision[]) WITHIN GROUP (ORDER BY f.ms), ' ')
	FROM (SELECT coalesce(l.state, 'unknown') AS state, l.last_edge, min(a.created_at) OVER () AS began,
			CASE WHEN l.state = 'converged' THEN round(extract(epoch FROM l.created_at - min(a.created_at) OVER ()) * 1000 + l.last_ms::numeric, 1) END AS ms
		FROM miosa.timeline_operations(NULL, $2, $3, $4, NULL) a
		LEFT JOIN miosa.convergence_log l ON l.deployment_id = a.deployment_id AND l.seq = a.seq WHERE $2 IS NOT NULL) f
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION miosa.report_edges(text, text, timestamptz, timestamptz) IS 'How edges converged, for miosa_report(): the newest 50 operations of a deployment, or a fleet as a whole';

-- Instances as they are now.
CREATE FUNCTION miosa.report_instances(deployment_id text, OUT version text, OUT state text, OUT n text, OUT first_at text, OUT last_at text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	SELECT miosa.version_name($1, i.version_id), i.state, count(*)::text,
		to_char(min(i.updated_at), 'YYYY-MM-DD HH24:MI:SS.MS'), to_char(max(i.updated_at), 'YYYY-MM-DD HH24:MI:SS.MS')
	FROM miosa.runtime_instances i WHERE i.deployment_id = $1 GROUP BY i.version_id, i.state ORDER BY 1, 2
$$;
COMMENT ON FUNCTION miosa.report_instances(text) IS 'Instances by version and state, for miosa_report()';

-- Healthy instances over time, a version a row.  points: pairs of a part of the
-- period and the number from there on; one for each of 600 pieces of the period.
CREATE FUNCTION miosa.report_capacity(deployment_id text, since timestamptz, until timestamptz, OUT version text, OUT first_at text,
	OUT most bigint, OUT most_at text, OUT last bigint, OUT color integer, OUT points text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
	WITH changes AS (
		SELECT i.version_id, i.healthy_at AS at, 1 AS step FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.healthy_at < $3
		UNION ALL
		SELECT i.version_id, i.healthy_until, -1 FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.healthy_at IS NOT NULL AND i.healthy_until < $3
	), counts AS (
		SELECT c.version_id, greatest(c.at, $2) AS at, (sum(sum(c.step)) OVER (PARTITION BY c.version_id ORDER BY greatest(c.at, $2)))::bigint AS n
		FROM changes c GROUP BY c.version_id, greatest(c.at, $2)
	), pieces AS (
		SELECT DISTINCT ON (c.version_id, p.piece) c.version_id, c.at, c.n, p.part
		FROM counts c CROSS JOIN LATERAL (SELECT q.part, floor(q.part * 600) AS piece
			FROM (SELECT extract(epoch FROM c.at - $2) / extract(epoch FROM $3 - $2) AS part) q) p
		ORDER BY c.version_id, p.piece, c.at DESC
	)
	SELECT miosa.version_name($1, m.version_id), to_char(m.first_at, 'YYYY-MM-DD HH24:MI:SS.MS'), m.most, to_char(m.most_at, 'YYYY-MM-DD HH24:MI:SS.MS'), m.last,
		1 + (dense_rank() OVER (ORDER BY miosa.version_name($1, m.version_id)))::integer % 6,
		(SELECT string_agg(round(p.part, 5) || ' ' || p.n, ' ' ORDER BY p.at) FROM pieces p WHERE p.version_id = m.version_id)
	FROM (SELECT c.version_id, min(c.at) AS first_at, max(c.n) AS most, (array_agg(c.at ORDER BY c.n DESC, c.at))[1] AS most_at,
			(array_agg(c.n ORDER BY c.at DESC))[1] AS last
		FROM counts c GROUP BY c.version_id) m
	WHERE m.most > 0 ORDER BY m.first_at, 1 LIMIT 20
$$;
COMMENT ON FUNCTION miosa.report_capacity(text, timestamptz, timestamptz) IS 'Healthy instances of each version over time, for miosa_report(); of those that ended 7 days ago nothing is known';

-- Make the page.
CREATE FUNCTION @extschema@.miosa_report(deployment_or_fleet text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_report';
COMMENT ON FUNCTION @extschema@.miosa_report(text, timestamptz, timestamptz) IS 'What happened to a deployment, or in a fleet, as one HTML page that needs nothing else';
