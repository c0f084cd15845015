-- The position of each endpoint with one deployment.  convergence_api.c calls
-- these functions after it has copied shared memory and taken a snapshot.

-- Read the positions of endpoints from shared memory.
CREATE FUNCTION miosa.positions(
	OUT endpoint text, OUT entry integer, OUT generation bigint, OUT acked_epoch bigint, OUT settled_epoch bigint,
	OUT verified_epoch bigint, OUT acked_at timestamptz, OUT resync_after text, OUT health text, OUT last_error text,
	OUT last_error_at timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_positions';
COMMENT ON FUNCTION miosa.positions() IS 'Positions of the endpoints that the dispatcher serves, from shared memory, which is ahead of miosa.endpoint_state; resync_after null means that no resynchronization is under way';

-- The newest route change of a deployment: its epoch and time, whether the
-- dispatcher has still to take it, whether changed settings wait, and the term.
CREATE FUNCTION miosa.newest_change(deployment_id text, OUT id text, OUT tenant_id text, OUT kind text, OUT route_ttl interval,
	OUT epoch bigint, OUT created_at timestamptz, OUT unread boolean, OUT queued boolean, OUT term bigint, OUT moved boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	-- A change that was trimmed from the log is at most as new as the trim.
	SELECT p.id, p.tenant_id, p.kind, p.route_ttl, coalesce(l.epoch, st.trimmed_epoch) AS epoch,
		-- A change that the dispatcher has not taken has a time and no epoch.
		coalesce(q.created_at, l.created_at) AS created_at,
		EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = '' AND o.kind = 'settings') AS unread,
		q.created_at IS NOT NULL AS queued,
		coalesce(st.term, 1) AS term, st.timeline IS DISTINCT FROM i.timeline
			AND st.timeline IS NOT NULL AND i.timeline IS NOT NULL AS moved
	FROM miosa.deployments p
	CROSS JOIN miosa.identity() i
	LEFT JOIN miosa.dispatcher_state st ON true
	LEFT JOIN LATERAL (
		SELECT g.epoch, g.route_seq, g.created_at FROM miosa.route_log g
		WHERE g.deployment_id = p.id AND g.kind IN ('route', 'host_removed')
		ORDER BY g.epoch DESC LIMIT 1) l ON true
	LEFT JOIN LATERAL (
		SELECT max(o.created_at) AS created_at FROM miosa.outbox o
		WHERE o.deployment_id = p.id AND o.kind IN ('route', 'host_removed')
			AND (l.route_seq IS NULL OR l.route_seq < p.route_seq)) q ON true
	-- It is one row in any case; this tells the planner.
	WHERE p.id = $1 LIMIT 1;
END;
COMMENT ON FUNCTION miosa.newest_change(text) IS 'Newest route change of a deployment, as the log, the outbox and the dispatcher''s state show it; no row for an unknown deployment';

-- Purges that caches have still to repeat, by zone.
CREATE FUNCTION miosa.open_repurges(deployment_id text, OUT zone text, OUT epoch bigint, OUT queued boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- One row a zone: purges that its caches have still to repeat.
	SELECT r.zone, max(r.epoch) AS epoch, bool_or(r.queued) AS queued
	FROM (
		SELECT g.host AS zone, g.epoch, false AS queued FROM miosa.route_log g
		WHERE g.deployment_id = $1 AND g.kind = 'repurge'
		UNION ALL
		SELECT o.host, NULL, true FROM miosa.outbox o
		WHERE o.deployment_id = $1 AND o.kind = 'repurge') r
	GROUP BY r.zone;
END;
COMMENT ON FUNCTION miosa.open_repurges(text) IS 'By zone, the newest purge of a deployment that its caches repeat, and whether one is not taken yet';

-- Judge each endpoint of a deployment, in the caller's snapshot.
CREATE FUNCTION miosa.judge(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text, OUT entry integer, OUT behind boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	WITH d AS MATERIALIZED (
		SELECT * FROM miosa.newest_change($1)
	), repurges AS MATERIALIZED (
		SELECT * FROM miosa.open_repurges($1)
	), failures AS MATERIALIZED (
		SELECT f.endpoint, f.last_error FROM miosa.delivery_failures f WHERE f.deployment_id = $1
	), judged AS MATERIALIZED (
		SELECT t.name, t.zone, t.role, t.adapter, t.stage, t.epoch, t.acked_epoch, t.health, t.entry,
			t.plain AND t.reached AS acked,
			t.plain AND NOT t.reached AND t.entry IS NOT NULL AS behind,
			t.enabled AND t.stage = 0 AND t.role = 'edge' AS router, t.acked_at, t.since, t.route_ttl,
			-- Whether time alone may have done it; of this there is more below.
			t.enabled AND t.self_expires AND NOT (t.plain AND t.reached) AND NOT t.queued
				AND clock_timestamp() > t.since + t.route_ttl AS stale,
			CASE
				WHEN NOT t.enabled THEN 'excluded'
				WHEN t.plain AND t.reached THEN CASE
					WHEN t.volatile AND t.verified_epoch >= t.epoch THEN 'verified'
					WHEN t.settles AND t.settled_epoch >= t.epoch THEN 'settled'
					ELSE 'acknowledged' END
				WHEN t.failed THEN 'failed'
				WHEN t.health IN ('backing off', 'misconfigured', 'gone', 'unverified') THEN t.health
				WHEN t.resyncing AND NOT t.queued THEN 'resyncing'
				ELSE 'waiting'
			END AS state,
			CASE WHEN NOT (t.plain AND t.reached) AND t.enabled THEN clock_timestamp() - t.since END AS age,
			CASE
				WHEN NOT t.enabled THEN coalesce(t.reason, 'disabled')
				-- An endpoint is no reason for what the dispatcher has not taken,
				-- nor an error that is older than the change, unless it lasts.
				WHEN t.queued THEN NULL
				WHEN t.failed THEN t.failure
				WHEN NOT (t.plain AND t.reached) AND (t.last_error_at >= t.since
					OR t.health IN ('backing off', 'misconfigured', 'gone')) THEN t.last_error
			END AS error
		FROM (
			SELECT t.*, t.enabled AND t.known AND NOT t.queued AND NOT t.failed AND NOT t.resyncing
					AND t.health <> 'unverified' AS plain,
				t.acked_epoch >= t.epoch AS reached
			FROM (
				SELECT e.name, e.zone, a.role, e.adapter, coalesce(e.stage, a.stage) AS stage, e.enabled, e.reason,
					a.self_expires, a.settle > '0' AS settles, a.volatile, d.route_ttl, d.created_at AS since,
					d.queued OR coalesce(r.queued, false) AS queued, coalesce(greatest(d.epoch, r.epoch), 0) AS epoch,
					p.entry, coalesce(p.acked_epoch, s.acked_epoch) AS acked_epoch,
					coalesce(coalesce(p.generation, s.generation) = e.generation
						AND miosa.epoch_term(coalesce(p.acked_epoch, s.acked_epoch)) >= d.term, false) AND NOT d.unread AND NOT d.moved AS known,
					coalesce(p.settled_epoch, s.settled_epoch) AS settled_epoch,
					coalesce(p.verified_epoch, s.verified_epoch) AS verified_epoch,
					coalesce(p.acked_at, s.acked_at) AS acked_at,
					coalesce(p.health, s.health, 'new') AS health,
					coalesce(p.last_error, s.last_error) AS last_error,
					coalesce(p.last_error_at, s.last_error_at) AS last_error_at,
					coalesce(coalesce(p.resync_after, s.resync_after) < d.id, false) AS resyncing,
					f.endpoint IS NOT NULL AS failed, f.last_error AS failure
				FROM d
				CROSS JOIN miosa.endpoints e
				JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook')
				-- Names are compared by bytes: a sort by the rules of a language costs much.
				LEFT JOIN miosa.positions() p ON p.endpoint = e.name
				-- Looked up only for those without a place in shared memory.
				LEFT JOIN LATERAL (
					SELECT * FROM miosa.endpoint_state s WHERE s.endpoint = e.name AND p.entry IS NULL OFFSET 0) s ON true
				LEFT JOIN repurges r ON r.zone = e.zone AND coalesce(e.stage, a.stage) = 1
				LEFT JOIN failures f ON f.endpoint = e.name
				WHERE miosa.selects(e.selector, d.id, d.tenant_id, d.kind)
				-- Each of these is computed once.
				OFFSET 0
			) t OFFSET 0
		) t
	), zones AS MATERIALIZED (
		SELECT j.zone, bool_and(j.acked) AS acked, max(j.acked_at) AS acked_at
		FROM judged j WHERE j.router GROUP BY j.zone
	)
	SELECT x.name, x.zone, x.role, x.adapter, x.stage, CASE WHEN x.expired THEN 'expired' ELSE x.state END,
		x.acked OR x.expired, nullif(x.epoch, 0), x.acked_epoch, x.health, x.age, x.error, x.entry, x.behind AND NOT x.expired
	FROM (
		-- A cache could fetch the old page until its router had the new route.
		SELECT j.*, CASE WHEN j.stale THEN coalesce((
				SELECT z.acked AND clock_timestamp() > greatest(j.since, z.acked_at) + j.route_ttl
				FROM zones z WHERE z.zone = j.zone), true) ELSE false END AS expired
		FROM judged j
	) x;
END;
COMMENT ON FUNCTION miosa.judge(text) IS 'miosa.convergence_rows() in the caller''s snapshot and in no order, with the endpoint''s entry in shared memory and whether an acknowledgement is all that it lacks';

-- One row for each endpoint that receives the deployment: state (waiting,
-- resyncing, backing off, misconfigured, gone, unverified, failed,
-- acknowledged, settled, verified, expired, excluded), whether it is done,
-- since when it lacks the route and why; those that are not done first. As it
-- is now, whatever the transaction's snapshot shows.
CREATE FUNCTION miosa.convergence_rows(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_rows';
COMMENT ON FUNCTION miosa.convergence_rows(text) IS 'One row for each endpoint that receives the deployment: its state, whether it is done, since when it lacks the route and why; those that are not done first';

-- A set, so that it becomes a part of the statement that calls it.
CREATE FUNCTION miosa.convergence_verdict(deployment_id text, seq bigint, edges bigint, done bigint, expired bigint) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	SELECT CASE
		WHEN $2 IS NOT NULL AND p.seq > $2 AND EXISTS (
			SELECT FROM miosa.audit_events e
			WHERE e.deployment_id = p.id AND e.seq > $2 AND e.outcome <> 'unchanged') THEN 'superseded'
		WHEN p.state = 'pending' AND p.active_version_id IS NOT NULL THEN 'waiting_instances'
		WHEN $3 = 0 THEN 'no_edges'
		WHEN $4 = $3 AND $5 > 0 THEN 'expired'
		WHEN $4 = $3 THEN 'converged'
		WHEN w.stalled THEN 'no_dispatcher'
		WHEN w.state IN ('running', 'starting') THEN 'waiting_edges'
		-- The launcher starts it again within a second, also when the extension was made anew.
		WHEN w.state IN ('aside', 'stopped', 'absent') AND w.launcher THEN 'waiting_edges'
		-- It has not seen yet that it was resumed.
		WHEN w.state = 'paused' AND miosa.pause_reason() IS NULL THEN 'waiting_edges'
		ELSE 'no_dispatcher'
	END
	FROM miosa.deployments p CROSS JOIN miosa.dispatcher() w
	WHERE p.id = $1;
END;
COMMENT ON FUNCTION miosa.convergence_verdict(text, bigint, bigint, bigint, bigint) IS 'The state of an operation, given how many edges receive it, are done, and of these have expired; no row for an unknown deployment';

-- List the edges that lack no more than an acknowledgement, so that a waiter
-- can watch these alone in shared memory.
CREATE FUNCTION miosa.laggards(
	deployment_id text, seq bigint,
	OUT state text, OUT others boolean, OUT endpoint text, OUT entry integer, OUT epoch bigint)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	WITH j AS MATERIALIZED (
		SELECT * FROM miosa.judge($1) r WHERE r.role = 'edge' AND r.state <> 'excluded'
	), c AS (
		SELECT count(*) AS edges, count(*) FILTER (WHERE j.done) AS done,
			count(*) FILTER (WHERE j.state = 'expired') AS expired,
			coalesce(bool_or(NOT j.done AND NOT j.behind), true) AS others
		FROM j
	)
	SELECT v.state, c.others, j.endpoint, j.entry, j.epoch
	FROM c
	LEFT JOIN LATERAL miosa.convergence_verdict($1, $2, c.edges, c.done, c.expired) v (state) ON true
	LEFT JOIN j ON j.behind;
END;
COMMENT ON FUNCTION miosa.laggards(text, bigint) IS 'The state of an operation, whether edges lack something else than an acknowledgement, and which lack just that; one row without an edge when there is none';

-- Build the result of miosa_convergence().
CREATE FUNCTION miosa.convergence_object(deployment_id text, seq bigint) RETURNS SETOF jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	WITH r AS MATERIALIZED (
		SELECT * FROM miosa.judge($1)
	), edges AS (
		SELECT count(*) AS edges, count(*) FILTER (WHERE r.done) AS done,
			count(*) FILTER (WHERE r.state = 'expired') AS expired
		FROM r WHERE r.role = 'edge' AND r.state <> 'excluded'
	), zones AS (
		SELECT r.zone, count(*) AS edges, count(*) FILTER (WHERE r.done) AS done,
			(array_agg(r.endpoint ORDER BY r.age DESC NULLS LAST, r.error IS NULL, r.endpoint)
				FILTER (WHERE NOT r.done))[1] AS slowest,
			(array_agg(r.error ORDER BY r.age DESC NULLS LAST, r.error IS NULL, r.endpoint)
				FILTER (WHERE NOT r.done))[1] AS error
		FROM r WHERE r.role = 'edge' AND r.state <> 'excluded' GROUP BY r.zone
	)
	SELECT jsonb_build_object('data', jsonb_build_object(
		'deployment_id', $1,
		'operation_id', $1 || '#' || coalesce($2, (SELECT p.seq FROM miosa.deployments p WHERE p.id = $1)),
		'state', v.state,
		'paused', CASE WHEN (SELECT w.state FROM miosa.dispatcher() w) <> 'running' THEN miosa.pause_reason() END,
		'edges', e.edges,
		'done', e.done,
		'zones', coalesce((
			SELECT jsonb_agg(jsonb_build_object(
				'zone', z.zone, 'edges', z.edges, 'done', z.done,
				'slowest', z.slowest, 'error', z.error)
				ORDER BY z.edges - z.done DESC, z.zone)
			FROM zones z), '[]'),
		'endpoints', coalesce((
			SELECT jsonb_agg(jsonb_build_object(
				'name', r.endpoint, 'zone', r.zone, 'role', r.role, 'adapter', r.adapter, 'stage', r.stage,
				'state', r.state, 'done', r.done, 'epoch', r.epoch, 'acked_epoch', r.acked_epoch,
				'health', r.health, 'age_seconds', round(extract(epoch FROM r.age), 3), 'error', r.error)
				ORDER BY r.done, r.zone, r.stage, r.endpoint)
			FROM r), '[]')))
	FROM edges e
	LEFT JOIN LATERAL miosa.convergence_verdict($1, $2, e.edges, e.done, e.expired) v (state) ON true;
END;
COMMENT ON FUNCTION miosa.convergence_object(text, bigint) IS 'Result of miosa_convergence(), in the caller''s snapshot; one row';

-- Compute the state with shared memory and tables as of now.
CREATE FUNCTION miosa.convergence_state(deployment_id text, seq bigint) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_state';
COMMENT ON FUNCTION miosa.convergence_state(text, bigint) IS 'converged, expired, waiting_edges, waiting_instances, superseded, no_edges or no_dispatcher, as it is now; seq null means the newest operation; null for an unknown deployment';

-- "dep_1", "shop" or "www.example.com", each of them also with "#7".
CREATE FUNCTION miosa.parse_operation(deployment_or_operation text, OUT deployment_id text, OUT seq bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text[] := regexp_match(deployment_or_operation, '^([^#]{1,255})(?:#([0-9]{1,18}))?$');
BEGIN
	IF part IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'deployment_or_operation', deployment_or_operation,
			'The value must name a deployment by id, host or slug, and for an operation "#" and its number.',
			'For example ''dep_1'', ''www.example.com'' or ''dep_1#42''.');
	END IF;
	deployment_id := miosa.find_deployment(part[1]);
	seq := part[2]::bigint;
	IF NOT EXISTS (SELECT FROM miosa.deployments p
		WHERE p.id = parse_operation.deployment_id AND (parse_operation.seq IS NULL OR p.seq >= parse_operation.seq)) THEN
		PERFORM miosa.raise_condition('DEPLOYMENT_NOT_FOUND', format('deployment or operation "%s" does not exist', deployment_or_operation),
			'There is none of that id, or it belongs to another tenant.',
			'See which there are with SELECT id, name, seq FROM miosa.deployments ORDER BY id;');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.parse_operation(text) IS 'The deployment and number of an operation, or of a deployment with null; raises INVALID_ARGUMENT, DEPLOYMENT_NOT_FOUND';

-- Compiling these queries takes a hundred times longer than running them, and
-- it would be done at every call: so no JIT.
CREATE FUNCTION @extschema@.miosa_convergence(deployment_or_operation text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_convergence';
COMMENT ON FUNCTION @extschema@.miosa_convergence(text) IS 'Which endpoints have acknowledged the present route of a deployment, by zone and endpoint, those that lag first';

-- Wait in C, which watches shared memory.
CREATE FUNCTION @extschema@.miosa_wait_converged(deployment_or_operation text, timeout interval DEFAULT '5 s') RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_wait_converged';
COMMENT ON FUNCTION @extschema@.miosa_wait_converged(text, interval) IS 'Waits until a deployment has converged or timeout has passed; returns the state';
