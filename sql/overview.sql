-- What needs somebody: miosa.overview and miosa.wall in psql; miosa_page() shows
-- the same.  What is wrong with a deployment is miosa.verdict_of()'s to say; here
-- those are found for which it has to be asked.

-- How long a change may be on its way before somebody should look.
CREATE FUNCTION miosa.patience() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '10 s'::interval;
COMMENT ON FUNCTION miosa.patience() IS 'How long edges may lack a change before the deployment needs somebody';

-- Look at positions in shared memory, as miosa.stat_endpoint does.  What an edge
-- lacks that is resynchronized, or that has received nothing yet, is not known by
-- its position.
CREATE FUNCTION miosa.late_epoch() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT min(k.epoch) FROM (
			SELECT DISTINCT coalesce(s.acked_epoch, t.acked_epoch) AS epoch
			FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'
			LEFT JOIN miosa.endpoint_stats() s ON s.endpoint = e.name
			LEFT JOIN miosa.endpoint_state t ON t.endpoint = e.name AND s.endpoint IS NULL
			WHERE e.enabled AND NOT coalesce(s.resyncing, t.resync_after IS NOT NULL)) k
		WHERE (SELECT g.created_at FROM miosa.route_log g WHERE g.epoch > k.epoch ORDER BY g.epoch LIMIT 1)
			< clock_timestamp() - miosa.patience());
END $$;
COMMENT ON FUNCTION miosa.late_epoch() IS 'Every enabled edge has confirmed the changes up to here, and one lacks a change behind it for longer than miosa.patience(); null when none does';

-- Deployments that serve nothing: no instance of the active version is healthy,
-- none is asked for, and none is about to start.  Those for which instances are
-- asked are in miosa.overdue.
CREATE FUNCTION miosa.silent_deployments(OUT id text, OUT since timestamptz) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
BEGIN
	RETURN QUERY
	SELECT p.id, n.since
	FROM (SELECT i.deployment_id, i.version_id, max(coalesce(i.healthy_until, i.last_heartbeat_at, i.updated_at)) AS since,
			bool_or(miosa.is_starting(i.state)) AS starts
		FROM miosa.runtime_instances i
		WHERE i.state <> 'healthy' OR coalesce(i.last_heartbeat_at, i.updated_at) <= horizon
		GROUP BY i.deployment_id, i.version_id) n
	JOIN miosa.deployments p ON p.id = n.deployment_id AND p.active_version_id = n.version_id
	JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
	WHERE p.serving_version_id IS NULL AND p.desired_replicas > 0 AND p.state NOT IN ('stopped', 'failed') AND miosa.sees_tenant(p.tenant_id)
		AND (NOT n.starts OR miosa.cutover_due(n.since) <= clock_timestamp())
		AND NOT EXISTS (SELECT FROM miosa.live_instances i WHERE i.deployment_id = p.id AND i.version_id = p.active_version_id)
		AND NOT EXISTS (SELECT FROM miosa.capacity c WHERE c.deployment_id = p.id AND c.version_id = p.active_version_id AND c.state = 'wanted');
END $$;
COMMENT ON FUNCTION miosa.silent_deployments() IS 'Deployments whose active version has lost its instances, and since when';

-- Deployments that may have to be looked at.  Of those that edges lack, the
-- oldest 10,000 changes are read.
CREATE FUNCTION miosa.troubled(OUT id text, OUT rank integer, OUT since timestamptz) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	late CONSTANT bigint := miosa.late_epoch();
	long_ago CONSTANT timestamptz := clock_timestamp() - miosa.patience();
BEGIN
	RETURN QUERY
	WITH lacked AS (
		(SELECT g.deployment_id, g.created_at FROM miosa.route_log g
			WHERE g.epoch > late AND g.kind IN ('route', 'host_removed') ORDER BY g.epoch LIMIT 10000)
		UNION ALL
		(SELECT o.deployment_id, o.created_at FROM miosa.outbox o WHERE o.kind IN ('route', 'host_removed') ORDER BY o.xid LIMIT 10000)
		UNION ALL
		(SELECT f.deployment_id, f.first_failed_at FROM miosa.delivery_failures f LIMIT 10000)
	), found AS (
		SELECT p.id, 1 AS rank, NULL::timestamptz AS since FROM miosa.deployments p
			WHERE p.state = 'failed' AND p.active_version_id IS NOT NULL AND miosa.sees_tenant(p.tenant_id)
		UNION ALL
		SELECT s.id, 1, s.since FROM miosa.silent_deployments() s
		UNION ALL
		SELECT o.id, CASE WHEN o.serving_version_id IS NULL THEN 1 ELSE 2 END, clock_timestamp() - o.waits FROM miosa.overdue_rows(false) o
		UNION ALL
		SELECT p.id, 3, l.since
			FROM (SELECT o.deployment_id, min(o.created_at) AS since FROM lacked o GROUP BY o.deployment_id) l
			JOIN miosa.deployments p ON p.id = l.deployment_id
			WHERE l.since < long_ago AND p.state <> 'stopped' AND p.active_version_id IS NOT NULL AND miosa.sees_tenant(p.tenant_id)
	)
	SELECT DISTINCT ON (f.id) f.id, f.rank, f.since FROM found f ORDER BY f.id, f.rank, f.since;
END $$;
COMMENT ON FUNCTION miosa.troubled() IS 'Deployments that need somebody: rank 1 serves nothing, 2 waits for instances for too long, 3 edges may lack its route; and since when';

-- The verdict on the first of them, those that serve nothing before the others,
-- and the newest trouble first.  For those that edges may lack it is asked edge
-- by edge, which takes long where there are thousands: after a while no more
-- of them are looked at, but three.  The last row has the numbers alone.
CREATE FUNCTION miosa.needs(most integer, OUT deployment_id text, OUT since timestamptz, OUT code text, OUT text text,
	OUT total bigint, OUT unknown bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	long_enough CONSTANT interval := '50 ms';
	ends timestamptz;
	found record;
	d miosa.deployments;
	listed integer := 0;
	looked integer := 0;
	confirmed integer := 0;
	counted bigint;
	done bigint;
	certain bigint := 0;
	uncertain bigint := 0;
BEGIN
	FOR found IN
		SELECT t.id, t.rank, t.since, count(*) FILTER (WHERE t.rank < 3) OVER () AS certain, count(*) FILTER (WHERE t.rank = 3) OVER () AS uncertain
		FROM miosa.troubled() t ORDER BY t.rank, t.since DESC NULLS LAST, t.id LIMIT most + 1000
	LOOP
		certain := found.certain;
		uncertain := found.uncertain;
		EXIT WHEN listed >= most;
		SELECT * INTO d FROM miosa.deployments p WHERE p.id = found.id;
		IF found.rank = 3 THEN
			ends := coalesce(ends, clock_timestamp() + long_enough);
			EXIT WHEN looked >= 3 AND clock_timestamp() > ends;
			looked := looked + 1;
			SELECT e.counted, e.done INTO counted, done FROM miosa.count_edges(d.id) e;
		END IF;
		SELECT v.code, v.text INTO code, text FROM miosa.verdict_of(d, counted, done) v;
		IF found.rank = 3 THEN
			-- The late edges do not receive it, or have just confirmed it.
			CONTINUE WHEN code IN ('ok', 'converged', 'unknown', 'waiting', 'not_switched');
			confirmed := confirmed + 1;
		END IF;
		deployment_id := d.id;
		since := found.since;
		listed := listed + 1;
		RETURN NEXT;
	END LOOP;
	deployment_id := NULL;
	since := NULL;
	code := NULL;
	text := NULL;
	total := certain + confirmed;
	unknown := uncertain - looked;
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa.needs(integer) IS 'The verdict on the first deployments that need somebody; in the last row, without a deployment, how many there are, and of how many more it is not known whether edges lack them';

-- Count the edges of each zone by how far they are.  The worst is one that fails,
-- else the one that has lacked a change for the longest time.
CREATE FUNCTION miosa.zones(OUT zone text, OUT edges bigint, OUT current bigint, OUT late bigint, OUT failing bigint,
	OUT unknown bigint, OUT disabled bigint, OUT worst text, OUT state text, OUT since timestamptz, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
BEGIN
	RETURN QUERY
	WITH judged AS (
		SELECT s.*, CASE WHEN NOT s.enabled THEN 5 WHEN miosa.endpoint_fails(s.state) THEN 1 WHEN s.state = 'resyncing' THEN 2
			WHEN s.undelivered_since < clock_timestamp() - miosa.patience() THEN 3 WHEN s.state = 'healthy' THEN 6 ELSE 4 END AS rank
		FROM miosa.stat_endpoint s JOIN miosa.adapters a ON a.name = s.adapter AND a.role = 'edge'
	), worst AS (
		SELECT DISTINCT ON (j.zone) j.zone, j.name, CASE j.rank WHEN 3 THEN 'late' ELSE j.state END AS state, j.undelivered_since,
			coalesce(CASE WHEN j.last_error_at > coalesce(j.last_success_at, '-infinity') THEN j.last_error END,
				(SELECT f.last_error FROM miosa.delivery_failures f WHERE f.endpoint = j.name AND miosa.sees_deployment(f.deployment_id)
					ORDER BY f.deployment_id LIMIT 1)) AS error
		FROM judged j WHERE j.rank <= 3 ORDER BY j.zone, j.rank, j.undelivered_since NULLS LAST, j.name
	)
	SELECT j.zone, count(*) FILTER (WHERE j.enabled), count(*) FILTER (WHERE j.rank = 6), count(*) FILTER (WHERE j.rank IN (2, 3)),
		count(*) FILTER (WHERE j.rank = 1), count(*) FILTER (WHERE j.rank = 4), count(*) FILTER (WHERE j.rank = 5),
		min(w.name), min(w.state), min(w.undelivered_since), min(w.error)
	FROM judged j LEFT JOIN worst w ON w.zone = j.zone
	GROUP BY j.zone ORDER BY 5 DESC, 4 DESC, j.zone;
END $$;
COMMENT ON FUNCTION miosa.zones() IS 'Edges by zone, the worst zone first: those that are enabled, and of these how many have every change, lack one for too long, fail, or are unknown; none for callers who do not see endpoints';

-- Count the deployments that exist for the caller, as far as that is quick.
CREATE FUNCTION miosa.count_deployments(OUT words text)
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	most CONSTANT integer := 100000;
	n bigint;
BEGIN
	SELECT count(*) INTO n FROM (SELECT FROM miosa.deployments p WHERE miosa.sees_tenant(p.tenant_id) LIMIT most + 1) p;
	words := CASE WHEN n > most THEN format('over %s deployments', most) WHEN n = 1 THEN '1 deployment' ELSE format('%s deployments', n) END;
END $$;
COMMENT ON FUNCTION miosa.count_deployments() IS 'How many deployments there are, in words';

-- The overview in lines.
CREATE FUNCTION miosa.overview_rows(OUT wrong text, OUT since text, OUT next text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	well boolean := true;
	edges record;
	need record;
	listed bigint := 0;
BEGIN
	IF NOT miosa.is_delivering() THEN
		well := false;
		wrong := 'NOT DELIVERING';
		since := coalesce((SELECT miosa.rough_span(clock_timestamp() - d.last_pass_at) FROM miosa.dispatcher() d), '');
		next := miosa.qualify('SELECT * FROM miosa_doctor();');
		RETURN NEXT;
	END IF;
	SELECT coalesce(sum(z.edges), 0) AS n, coalesce(sum(z.failing), 0) AS failing, coalesce(sum(z.late), 0) AS late, min(z.since) AS since
		INTO edges FROM miosa.zones() z;
	IF edges.failing + edges.late > 0 THEN
		well := false;
		wrong := CASE WHEN edges.failing > 0 THEN format('%s EDGE%s DOWN', edges.failing, CASE edges.failing WHEN 1 THEN '' ELSE 'S' END)
			ELSE format('%s EDGE%s LATE', edges.late, CASE edges.late WHEN 1 THEN '' ELSE 'S' END) END;
		since := coalesce(miosa.rough_span(clock_timestamp() - edges.since), '');
		next := 'TABLE miosa.wall;';
		RETURN NEXT;
	END IF;
	FOR need IN SELECT * FROM miosa.needs(20) LOOP
		IF need.deployment_id IS NOT NULL THEN
			well := false;
			listed := listed + 1;
			wrong := split_part(need.text, ':', 1);
			since := coalesce(miosa.rough_span(clock_timestamp() - need.since), 'unknown');
			next := format('SELECT * FROM miosa.status(%L);', miosa.call_name(need.deployment_id));
			RETURN NEXT;
		ELSIF need.total > listed OR need.unknown > 0 THEN
			well := false;
			wrong := CASE WHEN need.total > listed THEN format('and %s more', need.total - listed) ELSE 'UNKNOWN' END;
			since := '';
			next := CASE WHEN need.unknown > 0 THEN format('-- edges may lack %s more, not looked at', need.unknown) ELSE '' END;
			RETURN NEXT;
		END IF;
	END LOOP;
	IF well THEN
		wrong := 'ALL IS WELL';
		since := '';
		next := format('-- %s', miosa.count_deployments()) || CASE WHEN miosa.sees_endpoints()
			THEN format(', %s edge%s', edges.n, CASE edges.n WHEN 1 THEN '' ELSE 's' END) ELSE '' END;
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.overview_rows() IS 'Rows of miosa.overview';

CREATE VIEW miosa.overview AS SELECT * FROM miosa.overview_rows();
COMMENT ON VIEW miosa.overview IS E'What needs somebody, for \\watch 2: one line a deployment, or one that says that all is well';
COMMENT ON COLUMN miosa.overview.wrong IS 'What is wrong, as the verdict begins';
COMMENT ON COLUMN miosa.overview.since IS 'For how long';
COMMENT ON COLUMN miosa.overview.next IS 'Command to type next, which names the deployment';

-- The wall in lines.
CREATE FUNCTION miosa.wall_rows(OUT zone text, OUT edges text, OUT worst text, OUT since text, OUT state text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	z record;
	listed integer := 0;
	more integer := 0;
BEGIN
	FOR z IN
		WITH zones AS MATERIALIZED (
			SELECT * FROM miosa.zones() WITH ORDINALITY o (zone, edges, current, late, failing, unknown, disabled, worst, state, since, error, place)
		)
		SELECT 'all zones' AS zone, sum(o.edges)::bigint AS edges, sum(o.current)::bigint AS current, 0 AS place, NULL AS worst, NULL AS state,
			NULL::timestamptz AS since, NULL AS error FROM zones o HAVING count(*) > 1
		UNION ALL
		SELECT o.zone, o.edges, o.current, o.place, o.worst, o.state, o.since, o.error FROM zones o
		ORDER BY place
	LOOP
		listed := listed + 1;
		IF listed > 40 THEN
			more := more + 1;
			CONTINUE;
		END IF;
		zone := miosa.short(z.zone, 14);
		edges := coalesce(miosa.bar(z.current, z.edges, 12), 'all disabled');
		worst := coalesce(miosa.short(z.worst, 14), '');
		since := coalesce(miosa.rough_span(clock_timestamp() - z.since), '');
		state := coalesce(miosa.clip(z.state || coalesce(': ' || z.error, ''), 12), '');
		RETURN NEXT;
	END LOOP;
	IF more > 0 THEN
		zone := format('and %s more', more);
		edges := '';
		worst := '';
		since := '';
		state := '';
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.wall_rows() IS 'Rows of miosa.wall';

CREATE VIEW miosa.wall AS SELECT * FROM miosa.wall_rows();
COMMENT ON VIEW miosa.wall IS E'Edges by zone, for \\watch 2: how many have every change, and the worst of them; the zone with the most trouble first';
COMMENT ON COLUMN miosa.wall.zone IS 'Zone; the first line is of all zones';
COMMENT ON COLUMN miosa.wall.edges IS 'Edges that have every change, of those that are enabled';
COMMENT ON COLUMN miosa.wall.worst IS 'Edge that fails, else the one that has lacked a change for the longest time';
COMMENT ON COLUMN miosa.wall.since IS 'For how long it has lacked one';
COMMENT ON COLUMN miosa.wall.state IS 'Its state, and its error, shortened; miosa.stat_endpoint has it in full';
