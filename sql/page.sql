-- What miosa_page() shows, row by row; src/api/page.c makes the page.  Values come
-- as text, as people read them, but for numbers that the page reckons with.
-- Nothing here decides anything: verdicts, zones and progress are those of the
-- console.

-- For how long something has been so, and since when.
CREATE FUNCTION miosa.since_words(at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN at IS NULL THEN 'since when is unknown' ELSE format('for %s, since %s', miosa.span(greatest(clock_timestamp() - at, '0')),
	to_char(at, CASE WHEN at > clock_timestamp() - '20 h'::interval THEN 'HH24:MI:SS' ELSE 'YYYY-MM-DD HH24:MI' END)) END;
COMMENT ON FUNCTION miosa.since_words(timestamptz) IS 'For how long something has been so, and since when, in the session''s time zone';

-- A call of the console to paste, on as many lines as it needs.
CREATE FUNCTION miosa.paste_lines(call text, deployment_id text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT string_agg(p.line, E'\n' ORDER BY p.place) FROM miosa.paste(call, miosa.call_name(deployment_id)) WITH ORDINALITY p (line, place));
COMMENT ON FUNCTION miosa.paste_lines(text, text) IS 'A call of a console function with this deployment, in one text';

-- The subject; when the page was made, and on a standby of when its data is.
CREATE FUNCTION miosa.page_head(name text, OUT deployment_id text, OUT title text, OUT made text, OUT database text, OUT old text,
	OUT dispatcher text, OUT delivering boolean, OUT deployments text, OUT endpoints boolean, OUT clock text,
	OUT doctor text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	as_of CONSTANT jsonb := miosa.stamp_as_of('{}') -> 'as_of';
	now CONSTANT timestamptz := clock_timestamp();
BEGIN
	IF name IS NOT NULL THEN
		deployment_id := miosa.find_deployment(name);
		title := (SELECT p.name FROM miosa.deployments p WHERE p.id = deployment_id);
	END IF;
	made := to_char(now, 'YYYY-MM-DD HH24:MI:SS') || ' ' || current_setting('TimeZone');
	clock := to_char(now, 'HH24:MI:SS');
	database := current_database();
	old := CASE WHEN as_of IS NULL THEN NULL
		WHEN as_of ->> 'lag_seconds' IS NULL THEN 'A standby made it, and how old its data is, is unknown: it is not connected to a primary, or has only just been'
			|| coalesce('. The newest change that it has is of ' || to_char((as_of ->> 'time')::timestamptz, 'YYYY-MM-DD HH24:MI:SS'), '')
		ELSE format('A standby made it, from data of %s, at most %s s old', to_char((as_of ->> 'time')::timestamptz, 'YYYY-MM-DD HH24:MI:SS'),
			as_of ->> 'lag_seconds') END;
	dispatcher := miosa.dispatcher_words();
	delivering := miosa.is_delivering();
	endpoints := miosa.sees_endpoints();
	doctor := miosa.qualify('SELECT * FROM miosa_doctor();');
	IF name IS NULL THEN
		deployments := miosa.count_deployments();
	END IF;
END $$;
COMMENT ON FUNCTION miosa.page_head(text) IS 'The head of miosa_page()';

-- Deployments that need somebody.
CREATE FUNCTION miosa.page_needs(most integer, OUT id text, OUT name text, OUT code text, OUT text text, OUT since text, OUT next text,
	OUT total bigint, OUT unknown bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT n.deployment_id, p.name, n.code, n.text, CASE WHEN p.id IS NOT NULL THEN miosa.since_words(n.since) END,
		miosa.paste_lines('SELECT * FROM miosa.status', n.deployment_id), n.total, n.unknown
	FROM miosa.needs($1) WITH ORDINALITY n (deployment_id, since, code, text, total, unknown, place)
	LEFT JOIN miosa.deployments p ON p.id = n.deployment_id ORDER BY n.place
$$;
COMMENT ON FUNCTION miosa.page_needs(integer) IS 'Deployments that need somebody, for miosa_page(); in the last row how many, and of how many more that is unknown';

-- Changes under way, as miosa.progress has them.  To count edges takes long where
-- there are thousands: after a while the others are only counted, but one.
CREATE FUNCTION miosa.page_progress(OUT name text, OUT operation text, OUT age text, OUT kind text, OUT done bigint, OUT total bigint,
	OUT slowest text, OUT error text, OUT more bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	long_enough CONSTANT interval := '30 ms';
	started CONSTANT timestamptz := clock_timestamp();
	changed record;
	zone record;
	left_out bigint := 0;
	looked integer := 0;
BEGIN
	FOR changed IN SELECT * FROM miosa.changed_lately() LOOP
		left_out := greatest(left_out, changed.number - 20);
		IF looked > 0 AND clock_timestamp() > started + long_enough THEN
			left_out := left_out + 1;
			CONTINUE;
		END IF;
		looked := looked + 1;
		SELECT p.name INTO name FROM miosa.deployments p WHERE p.id = changed.id;
		operation := changed.id || '#' || changed.seq;
		age := miosa.span(greatest(clock_timestamp() - changed.at, '0'));
		SELECT * INTO zone FROM miosa.zones_progress(changed.id) z WHERE z.whole;
		IF NOT zone.finished THEN
			kind := 'edges';
			done := zone.done;
			total := zone.total;
			slowest := zone.slowest;
			error := zone.error;
			RETURN NEXT;
		END IF;
		IF changed.waits THEN
			FOR kind, done, total, slowest, error IN
				SELECT 'instances', i.healthy, p.desired_replicas, NULL, miosa.lasting_error(c)
				FROM miosa.deployments p CROSS JOIN LATERAL miosa.count_instances(p.id, p.active_version_id) i
				LEFT JOIN miosa.capacity c ON c.deployment_id = p.id AND c.version_id = p.active_version_id AND c.state = 'wanted'
				WHERE p.id = changed.id AND p.desired_replicas > 0
			LOOP
				RETURN NEXT;
			END LOOP;
		END IF;
	END LOOP;
	IF left_out > 0 THEN
		name := NULL;
		operation := NULL;
		more := left_out;
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.page_progress() IS 'Changes under way, for miosa_page(); in a last row how many changed deployments were not looked at';

-- Edges by zone.
CREATE FUNCTION miosa.page_zones(OUT zone text, OUT edges bigint, OUT current bigint, OUT late bigint, OUT failing bigint, OUT unknown bigint,
	OUT disabled bigint, OUT worst text, OUT state text, OUT since text, OUT error text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT z.zone, z.edges, z.current, z.late, z.failing, z.unknown, z.disabled, z.worst, z.state,
		CASE WHEN z.since IS NOT NULL THEN 'lacks a change ' || miosa.since_words(z.since) END, z.error
	FROM miosa.zones() WITH ORDINALITY z (zone, edges, current, late, failing, unknown, disabled, worst, state, since, error, place)
	ORDER BY z.place
$$;
COMMENT ON FUNCTION miosa.page_zones() IS 'Edges by zone, for miosa_page()';

-- What operations and refused calls came in the last hour, the newest 10,000 of
-- each.
CREATE FUNCTION miosa.page_hour(OUT kind text, OUT what text, OUT n text, OUT "all" boolean) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	WITH events AS (
		SELECT a.action, CASE WHEN a.target_rule <> 'none' THEN a.outcome END AS outcome FROM miosa.audit_events a
		WHERE a.created_at > clock_timestamp() - '1 h'::interval AND miosa.sees_tenant(a.tenant_id) ORDER BY a.created_at DESC LIMIT 10000
	), refused AS (
		SELECT r.condition, r.count FROM miosa.refusals r
		WHERE r.created_at > clock_timestamp() - '1 h'::interval
			AND CASE WHEN r.tenant_id IS NULL THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(r.tenant_id) END
		ORDER BY r.created_at DESC LIMIT 10000
	)
	SELECT o.kind, o.what, o.n::text, o."all" FROM (
		SELECT 1 AS place, 'operation' AS kind, coalesce((SELECT s.short FROM miosa.actions() s WHERE s.action = e.action), e.action)
			|| coalesce(' ' || e.outcome, '') AS what, count(*)::numeric AS n, (SELECT count(*) FROM events) < 10000 AS "all"
		FROM events e GROUP BY e.action, e.outcome
		UNION ALL
		SELECT 2, 'refusal', r.condition, sum(r.count), (SELECT count(*) FROM refused) < 10000 FROM refused r GROUP BY r.condition) o
	ORDER BY o.place, o.n DESC, o.what
$$;
COMMENT ON FUNCTION miosa.page_hour() IS 'Operations and refused calls of the last hour, counted, for miosa_page()';

-- The newest operations of all deployments.
CREATE FUNCTION miosa.page_recent(most integer, OUT at text, OUT id text, OUT name text, OUT what text, OUT who text, OUT why text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT to_char(e.created_at, 'HH24:MI:SS'), e.deployment_id || '#' || e.seq, p.name, miosa.event_words(e.a), e.actor_type || ':' || e.actor_id, e.reason
	FROM (SELECT a, a.deployment_id, a.seq, a.created_at, a.actor_type, a.actor_id, a.reason FROM miosa.audit_events a
		WHERE a.created_at > clock_timestamp() - '1 h'::interval AND miosa.sees_tenant(a.tenant_id)
		ORDER BY a.created_at DESC LIMIT $1) e
	LEFT JOIN miosa.deployments p ON p.id = e.deployment_id
	ORDER BY e.created_at DESC, e.deployment_id, e.seq DESC
$$;
COMMENT ON FUNCTION miosa.page_recent(integer) IS 'The newest operations of the last hour, for miosa_page()';

-- Holds and freezes.
CREATE FUNCTION miosa.page_stops(most integer, OUT kind text, OUT name text, OUT "when" text, OUT who text, OUT why text, OUT next text, OUT n bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT s.kind, s.name, s."when", s.who, s.why, s.next, s.n FROM (
		(SELECT 1 AS place, f.begins AS at, 'frozen' AS kind, f.name, CASE WHEN f.begins <= clock_timestamp() THEN 'ends in ' || miosa.span(f.ends - clock_timestamp())
				ELSE 'begins in ' || miosa.span(f.begins - clock_timestamp()) END || coalesce(', tenant ' || f.tenant_id, ', all tenants') AS "when",
			f.actor_type || ':' || f.actor_id AS who, f.reason AS why, NULL AS next, count(*) OVER () AS n
		FROM miosa.freezes f WHERE f.ends > clock_timestamp() AND miosa.sees_freeze(f.tenant_id, f.selector) ORDER BY f.begins, f.name LIMIT $1)
		UNION ALL
		(SELECT 2, h.since, 'held', h.deployment_id, miosa.since_words(h.since)
				|| coalesce(', ends in ' || miosa.span(h.until - clock_timestamp()), '')
				|| CASE WHEN h.held > 0 THEN format(', %s promotion%s refused', h.held, CASE h.held WHEN 1 THEN '' ELSE 's' END) ELSE '' END
				|| coalesce(', ' || miosa.version_name(h.deployment_id, h.waiting_version_id) || ' waits', ''),
			h.actor_type || ':' || h.actor_id, h.reason, miosa.paste_lines('SELECT * FROM miosa.release', h.deployment_id), h.n
		FROM (SELECT h.*, count(*) OVER () AS n FROM miosa.holds h WHERE miosa.is_open(h.until) AND miosa.sees_tenant(h.tenant_id)
			ORDER BY h.since DESC, h.deployment_id LIMIT $1) h)) s
	ORDER BY s.place, CASE WHEN s.place = 1 THEN s.at END, s.at DESC, s.name
$$;
COMMENT ON FUNCTION miosa.page_stops(integer) IS 'Freezes and open holds, so many of each, for miosa_page(); n: how many there are of that kind';

-- The call in this body is resolved once, as that of call_plan() is.
CREATE FUNCTION miosa.call_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT d.item, d.status, d.seen, d.fix, d.needs FROM @extschema@.miosa_doctor() d;
END;
COMMENT ON FUNCTION miosa.call_doctor() IS 'Calls the extension''s miosa_doctor, whichever other functions have its name';

-- What the doctor says, to those who may call it.
CREATE FUNCTION miosa.page_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
BEGIN
	IF NOT miosa.sees_all_tenants() OR NOT EXISTS (SELECT FROM pg_proc p
			JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'miosa_rollback'
			WHERE p.proname = 'miosa_doctor' AND p.pronamespace <> 'miosa'::regnamespace
				AND has_function_privilege(miosa.caller()::name, p.oid, 'EXECUTE')) THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT d.item, d.status, d.seen, d.fix FROM miosa.call_doctor() WITH ORDINALITY d (item, status, seen, fix, needs, place)
		ORDER BY array_position('{fail,warn,ok}', d.status), d.place;
END $$;
COMMENT ON FUNCTION miosa.page_doctor() IS 'Findings of miosa_doctor(), the worst first, for miosa_page(); none for callers who may not call it';

-- Lines of miosa.status(), those that belong together in one text.
CREATE FUNCTION miosa.page_status(deployment_id text, OUT item text, OUT value text) RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT max(g.item), string_agg(g.value, E'\n' ORDER BY g.place)
	FROM (SELECT s.item, s.value, s.place, count(nullif(s.item, '')) OVER (ORDER BY s.place) AS paragraph
		FROM miosa.status_rows($1) WITH ORDINALITY s (item, value, place)) g
	GROUP BY g.paragraph ORDER BY g.paragraph
$$;
COMMENT ON FUNCTION miosa.page_status(text) IS 'Items of miosa.status(), for miosa_page()';

-- Versions, each with the whole of its note.
CREATE FUNCTION miosa.page_candidates(deployment_id text, OUT version text, OUT last_served text, OUT served text, OUT artifact text,
	OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT max(g.version), max(g.last_served), max(g.served), max(g.artifact), max(g.expires), max(g.live), string_agg(g.note, ' ' ORDER BY g.place)
	FROM (SELECT c.*, count(nullif(c.version, '')) OVER (ORDER BY c.place) AS paragraph
		FROM miosa.candidates_rows($1) WITH ORDINALITY c (version, last_served, served, artifact, expires, live, note, place)) g
	GROUP BY g.paragraph ORDER BY g.paragraph
$$;
COMMENT ON FUNCTION miosa.page_candidates(text) IS 'Rows of miosa.candidates(), for miosa_page()';

-- Operations, each with its marks and its reason.
CREATE FUNCTION miosa.page_history(deployment_id text, OUT op text, OUT at text, OUT what text, OUT why text) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SET jit = off AS $$
	SELECT max(g.op), max(g.at), max(g.what) FILTER (WHERE g.op <> ''), string_agg(btrim(g.what), ' ' ORDER BY g.place) FILTER (WHERE g.op = '')
	FROM (SELECT h.*, count(nullif(h.op, '')) OVER (ORDER BY h.place) AS paragraph
		FROM miosa.history_rows($1, 10) WITH ORDINALITY h (op, at, what, place)) g
	GROUP BY g.paragraph ORDER BY g.paragraph
$$;
COMMENT ON FUNCTION miosa.page_history(text) IS 'Rows of miosa.history(), for miosa_page()';

-- Edges of a deployment by zone.
CREATE FUNCTION miosa.page_edges(deployment_id text, OUT zone text, OUT edge text, OUT state text, OUT age text, OUT error text,
	OUT done boolean, OUT zone_done bigint, OUT zone_edges bigint, OUT place bigint)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET jit = off AS $$
	SELECT c.zone, c.endpoint, c.state, CASE WHEN NOT c.done THEN miosa.span(c.age) END, c.error, c.done,
		count(*) FILTER (WHERE c.done AND c.state <> 'excluded') OVER zone, count(*) FILTER (WHERE c.state <> 'excluded') OVER zone,
		row_number() OVER (PARTITION BY c.zone ORDER BY c.state = 'excluded', c.done, c.age DESC NULLS LAST, c.endpoint)
	FROM miosa.convergence_rows($1) c WHERE c.role = 'edge'
	WINDOW zone AS (PARTITION BY c.zone)
	ORDER BY count(*) FILTER (WHERE NOT c.done AND c.state <> 'excluded') OVER zone DESC, c.zone, 9
$$;
COMMENT ON FUNCTION miosa.page_edges(text) IS 'Edges of a deployment, the zone that lacks the route most first, for miosa_page()';

-- Make the page.
CREATE FUNCTION @extschema@.miosa_page(deployment text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_page';
COMMENT ON FUNCTION @extschema@.miosa_page(text) IS 'What needs somebody now, or all about one deployment, as one HTML page that needs nothing else and reloads itself';
