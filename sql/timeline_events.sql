-- What happened, in order: operations, notes, refused calls, edges and instances.
-- miosa.timeline() shows it to people, miosa_timeline() to programs, and
-- miosa_report() as a page; all read miosa.timeline_events().

-- A name is a deployment's, or the id of a fleet: a rollback of many, which the
-- marks of its events have.
CREATE FUNCTION miosa.timeline_scope(name text, OUT deployment_id text, OUT fleet text, OUT began timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
BEGIN
	SELECT f.id, f.began_at INTO fleet, began FROM miosa.fleet_runs f WHERE f.id = name AND miosa.sees_fleet(f.tenant_id, f.acts_for);
	IF fleet IS NULL THEN
		deployment_id := miosa.find_deployment(name);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.timeline_scope(text) IS 'The fleet of this id and when it began, else the deployment that a name stands for; raises what miosa.find_deployment() does';

-- The first events of a period.
CREATE FUNCTION miosa.timeline_operations(deployment_id text, fleet text, since timestamptz, until timestamptz, most integer)
RETURNS SETOF miosa.audit_events
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	low bigint;
	high bigint;
BEGIN
	IF fleet IS NOT NULL THEN
		-- Its events are not looked for where it was not at work.
		RETURN QUERY SELECT a.* FROM miosa.fleet_runs f, miosa.audit_events a
			WHERE f.id = fleet AND a.created_at >= f.began_at - interval '1 min' AND a.created_at < coalesce(f.ended_at, 'infinity') + interval '1 min'
				AND a.created_at >= coalesce(since, '-infinity') AND a.created_at < coalesce(until, 'infinity')
				AND a.marks ->> 'fleet' = fleet AND miosa.sees_tenant(a.tenant_id)
			ORDER BY a.created_at, a.deployment_id, a.seq LIMIT most;
		RETURN;
	END IF;
	low := coalesce(miosa.seq_at(deployment_id, since, true), 0);
	high := miosa.seq_at(deployment_id, until, false);
	RETURN QUERY SELECT a.* FROM miosa.audit_events a
		WHERE a.deployment_id = deployment_id AND a.seq >= low AND (high IS NULL OR a.seq < high)
			AND a.created_at >= coalesce(since, '-infinity') AND a.created_at < coalesce(until, 'infinity')
		ORDER BY a.seq LIMIT most;
END $$;
COMMENT ON FUNCTION miosa.timeline_operations(text, text, timestamptz, timestamptz, integer) IS 'The first audit events of a deployment, or of a fleet, in a period';

-- Words.

-- A time that edges took.
CREATE FUNCTION miosa.took(ms double precision) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN ms < 9.95 THEN round(ms::numeric, 1) || ' ms' WHEN ms < 999.5 THEN round(ms::numeric) || ' ms'
	WHEN ms < 59950 THEN round(ms::numeric / 1000, 1) || ' s' ELSE miosa.span(ms * interval '1 ms') END;
COMMENT ON FUNCTION miosa.took(double precision) IS 'Milliseconds in words: 3.2 ms, 340 ms, 1.2 s, 12 min';

-- What an event says of itself besides, whatever that is: nothing is left out
-- because this function does not know its name.
CREATE FUNCTION miosa.mark_words(marks jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT string_agg(translate(m.key, '_', ' ') || CASE
			WHEN m.value = 'true'::jsonb THEN ''
			WHEN jsonb_typeof(m.value) = 'object' THEN coalesce(' ' || (
				SELECT string_agg(translate(o.key, '_', ' ') || CASE WHEN o.value = 'true'::jsonb THEN '' ELSE ' ' || (o.value #>> '{}') END, ', ' ORDER BY o.key)
				FROM jsonb_each(m.value) o WHERE o.value <> 'null'::jsonb), '')
			WHEN jsonb_typeof(m.value) = 'array' THEN ' ' || (
				SELECT coalesce(string_agg(e.value, ', ' ORDER BY e.place), 'none')
				FROM jsonb_array_elements_text(m.value) WITH ORDINALITY e (value, place))
			ELSE ' ' || (m.value #>> '{}') END, '; ' ORDER BY m.key)
	FROM jsonb_each($1) m WHERE m.value <> 'null'::jsonb;
END;
COMMENT ON FUNCTION miosa.mark_words(jsonb) IS 'The marks of an audit event in words; null for none';

-- One event in words.
CREATE FUNCTION miosa.event_words(a miosa.audit_events) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.concat_ws(' ', coalesce((SELECT s.short FROM miosa.actions() s WHERE s.action = a.action), a.action), CASE
		WHEN a.target_rule = 'none' THEN miosa.version_name(a.deployment_id, a.marks ->> 'version')
		WHEN a.outcome = 'unchanged' THEN miosa.version_name(a.deployment_id, a.target_version_id) || ' again'
		WHEN a.outcome = 'cutover' THEN miosa.version_name(a.deployment_id, a.target_version_id) || ' cutover'
		ELSE coalesce(miosa.version_name(a.deployment_id, a.previous_version_id), 'none') || ' -> '
			|| coalesce(miosa.version_name(a.deployment_id, a.target_version_id), 'none')
			|| CASE a.outcome WHEN 'pending' THEN ' (pending)' ELSE '' END END)
$$;
COMMENT ON FUNCTION miosa.event_words(miosa.audit_events) IS 'An audit event in words: rollback v3 -> v2';

-- Lines about edges.

-- How an operation ended at the edges.
CREATE FUNCTION miosa.convergence_words(l miosa.convergence_log) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE l.state
		WHEN 'converged' THEN pg_catalog.format('last edge %s after %s', l.last_edge, miosa.took(l.last_ms))
		WHEN 'incomplete' THEN pg_catalog.format('only %s of %s edges', l.confirmed, l.edges) || coalesce(' after ' || miosa.took(l.last_ms), '')
		WHEN 'superseded' THEN CASE WHEN l.edges IS NULL THEN 'edges: superseded before it was sent'
			ELSE pg_catalog.format('edges: superseded after %s of %s', l.confirmed, l.edges) END
		WHEN 'no_edges' THEN 'edges: none receives it'
		WHEN 'unmeasured' THEN 'edges: not measured, too many operations'
		ELSE 'edges: unknown, not seen to the end' END
$$;
COMMENT ON FUNCTION miosa.convergence_words(miosa.convergence_log) IS 'How an operation ended at the edges: last edge cdn-7 after 1.2 s';

-- All lines of an operation about edges.  Those of one that waited for instances
-- begin when routes switch.
CREATE FUNCTION miosa.edge_events(l miosa.convergence_log, asked_at timestamptz,
	OUT at timestamptz, OUT rank integer, OUT kind text, OUT place text, OUT what text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN QUERY SELECT $1.created_at, 2, 'cutover'::text, ''::text, 'routes switch: its instances are healthy'::text, NULL::jsonb
		WHERE $1.created_at > $2
	UNION ALL
	SELECT $1.created_at + (z.value ->> 'ms')::double precision * interval '1 ms', 3, 'zone', z.key,
		format('zone %s: %s after %s', miosa.short(z.key, 16),
			CASE WHEN (z.value ->> 'confirmed')::integer < (z.value ->> 'edges')::integer
				THEN format('%s of %s edges', z.value ->> 'confirmed', z.value ->> 'edges')
				WHEN (z.value ->> 'edges')::integer = 1 THEN 'its edge'
				WHEN (z.value ->> 'edges')::integer = 2 THEN 'both edges'
				ELSE format('all %s edges', z.value ->> 'edges') END,
			miosa.took((z.value ->> 'ms')::double precision)),
		z.value || jsonb_build_object('zone', z.key)
		FROM jsonb_each($1.zones) z WHERE z.value ->> 'ms' IS NOT NULL
	UNION ALL
	SELECT CASE WHEN $1.last_ms IS NOT NULL THEN $1.created_at + $1.last_ms * interval '1 ms' ELSE coalesce($1.taken_at, $1.created_at) END,
		4, 'edges', '', miosa.convergence_words($1),
		jsonb_build_object('state', $1.state, 'edges', $1.edges, 'confirmed', $1.confirmed, 'last_edge', $1.last_edge,
			'first_ms', $1.first_ms, 'p50_ms', $1.p50_ms, 'p99_ms', $1.p99_ms, 'last_ms', $1.last_ms, 'epoch', $1.epoch);
END $$;
COMMENT ON FUNCTION miosa.edge_events(miosa.convergence_log, timestamptz) IS 'Events of miosa.timeline_events() about the edges of one operation';

-- Instances, as their rows have it: only the last change of each is kept, so
-- they are counted by version and state.
CREATE FUNCTION miosa.instance_events(deployment_id text, since timestamptz, until timestamptz,
	OUT at timestamptz, OUT kind text, OUT place text, OUT what text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT max(i.updated_at), 'instances', i.version_id || ' ' || i.state,
		format('%s: %s %s', miosa.version_name($1, i.version_id),
			CASE count(*) WHEN 1 THEN format('instance %s', miosa.short(min(i.id), 16)) ELSE format('%s instances', count(*)) END, i.state)
			|| CASE WHEN max(i.updated_at) - min(i.updated_at) >= interval '1 s'
				THEN format(', the first %s before', miosa.span(max(i.updated_at) - min(i.updated_at))) ELSE '' END
			|| coalesce(': ' || max(i.error_message), ''),
		jsonb_build_object('version_id', i.version_id, 'state', i.state, 'count', count(*), 'first_at', miosa.iso(min(i.updated_at)))
	FROM miosa.runtime_instances i
	WHERE i.deployment_id = $1 AND i.updated_at >= $2 AND i.updated_at < $3
	GROUP BY i.version_id, i.state
	UNION ALL
	SELECT c.since, 'capacity', c.version_id, format('%s: instances %s', miosa.version_name($1, c.version_id), c.state),
		jsonb_build_object('version_id', c.version_id, 'state', c.state)
	FROM miosa.capacity c WHERE c.deployment_id = $1 AND c.since >= $2 AND c.since < $3
	UNION ALL
	SELECT c.asked_at, 'capacity', c.version_id, format('%s: a scheduler accepted the request', miosa.version_name($1, c.version_id)),
		jsonb_build_object('version_id', c.version_id, 'state', c.state)
	FROM miosa.capacity c WHERE c.deployment_id = $1 AND c.asked_at >= $2 AND c.asked_at < $3
	UNION ALL
	SELECT c.last_error_at, 'capacity', c.version_id, format('%s: not accepted: %s', miosa.version_name($1, c.version_id), c.last_error),
		jsonb_build_object('version_id', c.version_id, 'state', c.state, 'error', c.last_error)
	FROM miosa.capacity c WHERE c.deployment_id = $1 AND c.last_error_at >= $2 AND c.last_error_at < $3;
END;
COMMENT ON FUNCTION miosa.instance_events(text, timestamptz, timestamptz) IS 'Events of miosa.timeline_events() about instances: the last change of each, counted by version and state, and requests to schedulers';

-- Refused calls that named a deployment.
CREATE FUNCTION miosa.refusal_events(deployment_id text, since timestamptz, until timestamptz,
	OUT at timestamptz, OUT place text, OUT what text, OUT who text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT r.created_at, r.id::text,
		concat_ws(' ', 'REFUSED', coalesce((SELECT s.short FROM miosa.actions() s WHERE s.action = r.action),
				regexp_replace(r.function_name, '^.*[.]', ''), 'call'),
			'to ' || miosa.version_name($1, r.version_id)) || ': ' || r.condition || CASE WHEN r.count > 1 THEN format(' (%s times)', r.count) ELSE '' END,
		r.actor_type || ':' || r.actor_id,
		jsonb_build_object('condition', r.condition, 'function', r.function_name, 'action', r.action, 'version_id', r.version_id,
			'count', r.count, 'idempotency_key', r.idempotency_key)
	FROM miosa.refusals r
	WHERE r.created_at >= $2 AND r.created_at < $3 AND r.deployment_id = $1
		AND CASE WHEN r.tenant_id IS NULL THEN miosa.sees_all_tenants() ELSE miosa.sees_tenant(r.tenant_id) END;
END;
COMMENT ON FUNCTION miosa.refusal_events(text, timestamptz, timestamptz) IS 'Events of miosa.timeline_events() about refused calls';

-- The first events of a period, in order.  Of a fleet, those of its operations.
-- Edges may acknowledge in the period what was asked for up to a day before it.
CREATE FUNCTION miosa.timeline_events(deployment_id text, fleet text, since timestamptz, until timestamptz, most integer,
	OUT at timestamptz, OUT deployment text, OUT seq bigint, OUT rank integer, OUT kind text, OUT place text, OUT what text,
	OUT who text, OUT reason text, OUT details jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	low CONSTANT timestamptz := coalesce(since, '-infinity');
	high CONSTANT timestamptz := coalesce(until, 'infinity');
BEGIN
	RETURN QUERY
		SELECT e.at, e.deployment_id, e.seq, e.rank, e.kind, e.place, e.what, e.who, e.reason, e.details
		FROM (
			SELECT a.created_at AS at, a.deployment_id, a.seq, 1 AS rank, CASE a.target_rule WHEN 'none' THEN 'note' ELSE 'operation' END AS kind,
				''::text AS place, miosa.event_words(a) AS what, a.actor_type || ':' || a.actor_id AS who, a.reason,
				jsonb_build_object('action', a.action, 'outcome', a.outcome, 'previous_version_id', a.previous_version_id,
					'target_version_id', a.target_version_id, 'idempotency_key', a.idempotency_key, 'marks', a.marks) AS details
			FROM miosa.timeline_operations(deployment_id, fleet, low, high, most) a
			UNION ALL
			SELECT g.at, l.deployment_id, l.seq, g.rank, g.kind, g.place, g.what, NULL, NULL, g.details
			FROM (SELECT o.* FROM miosa.timeline_operations(deployment_id, fleet, low, high, most) o
				UNION ALL
				SELECT o.* FROM miosa.timeline_operations(deployment_id, fleet, low - interval '1 day', low, NULL) o
				WHERE low > '-infinity') a
			JOIN miosa.convergence_log l ON l.deployment_id = a.deployment_id AND l.seq = a.seq
				AND l.created_at + coalesce(l.last_ms, 0) * interval '1 ms' >= low - interval '1 min'
			CROSS JOIN LATERAL miosa.edge_events(l, a.created_at) g
			WHERE g.at >= low AND g.at < high
			UNION ALL
			SELECT a.created_at, a.deployment_id, a.seq, 4, 'edges', '', 'edges: not recorded', NULL, NULL, '{"state": "unknown"}'
			FROM miosa.timeline_operations(deployment_id, fleet, low, high, most) a
			WHERE a.target_rule <> 'none' AND a.outcome <> 'pending' AND a.created_at < clock_timestamp() - interval '15 s'
				AND NOT EXISTS (SELECT FROM miosa.convergence_log l WHERE l.deployment_id = a.deployment_id AND l.seq = a.seq)
			UNION ALL
			SELECT i.at, deployment_id, NULL, 5, i.kind, i.place, i.what, NULL, NULL, i.details
			FROM miosa.instance_events(deployment_id, low, high) i
			UNION ALL
			SELECT r.at, deployment_id, NULL, 6, 'refusal', r.place, r.what, r.who, NULL, r.details
			FROM miosa.refusal_events(deployment_id, low, high) r) e
		ORDER BY e.at, e.deployment_id, e.seq NULLS LAST, e.rank, e.kind COLLATE "C", e.place COLLATE "C" LIMIT most;
END $$;
COMMENT ON FUNCTION miosa.timeline_events(text, text, timestamptz, timestamptz, integer) IS 'The first events of a deployment, or of a fleet, in a period, in order: what miosa.timeline() and miosa_timeline() show';

-- List the events, each with its marks and its reason on lines below it, and at
-- the end how things are now.
CREATE FUNCTION miosa.timeline_rows(deployment text, since timestamptz DEFAULT now() - interval '1 day', until timestamptz DEFAULT NULL,
	OUT at text, OUT op text, OUT what text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
	width CONSTANT integer := 48;
	most CONSTANT integer := 2000;
	scope record;
	event record;
	n integer := 0;
	line text;
	who text;
BEGIN
	SELECT * INTO scope FROM miosa.timeline_scope($1);
	FOR event IN SELECT * FROM miosa.timeline_events(scope.deployment_id, scope.fleet, $2, $3, most + 1) LOOP
		at := to_char(event.at, 'MM-DD HH24:MI:SS.MS');
		n := n + 1;
		IF n > most THEN
			op := '';
			what := 'more: pass a later "since"';
			RETURN NEXT;
			RETURN;
		END IF;
		op := coalesce('#' || event.seq, '');
		line := CASE WHEN scope.fleet IS NOT NULL THEN miosa.short(event.deployment, 16) || ': ' ELSE '' END || event.what;
		who := 'by ' || miosa.short(regexp_replace(event.who, '^[a-z_]+:', ''), 24);
		what := miosa.clip(CASE WHEN length(line || who) < width THEN concat_ws(' ', line, who) ELSE line END, width);
		RETURN NEXT;
		at := '';
		op := '';
		IF length(line || who) >= width THEN
			what := '  ' || who;
			RETURN NEXT;
		END IF;
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(miosa.mark_words(CASE WHEN event.kind IN ('operation', 'note')
			THEN (event.details -> 'marks') - 'fleet' - 'version' END), width - 2, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(event.reason, width - 2, 5) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END LOOP;
	IF n = 0 THEN
		at := '';
		op := '';
		what := 'nothing happened in this period';
		RETURN NEXT;
	END IF;
	IF scope.deployment_id IS NOT NULL AND coalesce($3, 'infinity') > now() THEN
		at := '';
		op := 'now';
		FOR what IN SELECT w.line FROM miosa.verdict_rows(scope.deployment_id) v, miosa.wrap(v.text, width, 2) w (line) LOOP
			RETURN NEXT;
			op := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.timeline_rows(text, timestamptz, timestamptz) IS 'Rows of miosa.timeline()';

-- Enter timeline_rows() from C.
CREATE FUNCTION miosa.timeline(deployment text, since timestamptz DEFAULT now() - interval '1 day', until timestamptz DEFAULT NULL,
	OUT at text, OUT op text, OUT what text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.timeline(text, timestamptz, timestamptz) IS 'What happened to a deployment, or in a fleet, in order, for people, in the session''s time zone: operations, refused calls, edges, instances';

-- Return a page of events.  A cursor is a time, and how many events of that time
-- were returned.
CREATE FUNCTION @extschema@.miosa_timeline(deployment_id text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	"limit" integer DEFAULT 50, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
	place text[];
	scope record;
	start timestamptz := since;
	skip integer := 0;
	result jsonb;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_limit("limit", 200);
	place := miosa.read_cursor(cursor, 'timeline', '(-?[0-9]{1,17}):([0-9]{1,6})');
	SELECT * INTO scope FROM miosa.timeline_scope(deployment_id);
	IF place IS NOT NULL THEN
		start := 'epoch'::timestamptz + place[1]::bigint * '1 microsecond'::interval;
		skip := place[2];
	END IF;
	-- One event more than the limit shows whether there is a next page.
	SELECT jsonb_build_object(
			'data', coalesce(jsonb_agg(jsonb_build_object(
				'at', miosa.iso(p.at), 'deployment_id', p.deployment, 'operation_id', p.deployment || '#' || p.seq, 'kind', p.kind,
				'text', p.what, 'actor', p.who, 'reason', p.reason, 'details', p.details) ORDER BY p.n) FILTER (WHERE p.n <= "limit"), '[]'),
			'next_cursor', CASE WHEN count(*) > "limit" THEN miosa.write_cursor('timeline',
				(max(extract(epoch FROM p.at) * 1000000) FILTER (WHERE p.n = "limit"))::bigint || ':'
				|| max(p.same) FILTER (WHERE p.n = "limit")) END)
		INTO result
		FROM (SELECT e.*, row_number() OVER o - skip AS n, row_number() OVER (PARTITION BY e.at ORDER BY e.ord) AS same
			FROM miosa.timeline_events(scope.deployment_id, scope.fleet, start, until, "limit" + 1 + skip)
				WITH ORDINALITY AS e (at, deployment, seq, rank, kind, place, what, who, reason, details, ord)
			WINDOW o AS (ORDER BY e.ord)) p
		WHERE p.n > 0;
	RETURN result;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_timeline(text, timestamptz, timestamptz, integer, text) IS 'What happened to a deployment, or in a fleet, in order: {"data": [event...], "next_cursor"}';
