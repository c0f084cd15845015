-- The state of each endpoint with one deployment.  What decides it is in C
-- (src/delivery/edge_state.c), which reads these functions, and positions in
-- shared memory.

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

-- Judge each endpoint that receives a deployment.
CREATE FUNCTION miosa.judge(
	deployment_id text,
	OUT endpoint text, OUT zone text, OUT role text, OUT adapter text, OUT stage integer,
	OUT state text, OUT done boolean, OUT epoch bigint, OUT acked_epoch bigint,
	OUT health text, OUT age interval, OUT error text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_judge';
COMMENT ON FUNCTION miosa.judge(text) IS 'miosa.convergence_rows() in no order, in the snapshot of the function in C that calls it';

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

-- Decide the state of an operation.
CREATE FUNCTION miosa.operation_state(deployment_id text, seq bigint, edges bigint, done bigint, expired bigint) RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_operation_state';
COMMENT ON FUNCTION miosa.operation_state(text, bigint, bigint, bigint, bigint) IS 'The state of an operation, given how many edges receive it, are done, and of these have expired; null for an unknown deployment';

-- Build the result of miosa_convergence(), as text first: each level of jsonb
-- would copy those in it.
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
	SELECT json_build_object('data', json_build_object(
		'deployment_id', $1,
		'operation_id', $1 || '#' || coalesce($2, (SELECT p.seq FROM miosa.deployments p WHERE p.id = $1)),
		'state', miosa.operation_state($1, $2, e.edges, e.done, e.expired),
		'paused', CASE WHEN (SELECT w.state FROM miosa.dispatcher() w) <> 'running' THEN miosa.pause_reason() END,
		'edges', e.edges,
		'done', e.done,
		'zones', coalesce((
			SELECT json_agg(json_build_object(
				'zone', z.zone, 'edges', z.edges, 'done', z.done,
				'slowest', z.slowest, 'error', z.error)
				ORDER BY z.edges - z.done DESC, z.zone)
			FROM zones z), '[]'),
		'endpoints', coalesce((
			SELECT json_agg(json_build_object(
				'name', r.endpoint, 'zone', r.zone, 'role', r.role, 'adapter', r.adapter, 'stage', r.stage,
				'state', r.state, 'done', r.done, 'epoch', r.epoch, 'acked_epoch', r.acked_epoch,
				'health', r.health, 'age_seconds', round(extract(epoch FROM r.age), 3), 'error', r.error)
				ORDER BY r.done, r.zone, r.stage, r.endpoint)
			FROM r), '[]')))::jsonb
	FROM edges e;
END;
COMMENT ON FUNCTION miosa.convergence_object(text, bigint) IS 'Result of miosa_convergence(), in the caller''s snapshot; one row';

-- Compute the state with shared memory and tables as of now.
CREATE FUNCTION miosa.convergence_state(deployment_id text, seq bigint) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_convergence_state';
COMMENT ON FUNCTION miosa.convergence_state(text, bigint) IS 'converged, expired, waiting_edges, waiting_instances, superseded, no_edges or no_dispatcher, as it is now; seq null means the newest operation; null for an unknown deployment';

-- "dep_1", "shop" or "www.example.com", each of them also with "#7"; and fleets.
CREATE FUNCTION miosa.parse_operation(deployment_or_operation text, OUT deployment_id text, OUT seq bigint, OUT fleet_id text)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	part text[] := regexp_match(deployment_or_operation, '^([^#]{1,255})(?:#([0-9]{1,18}))?$');
BEGIN
	IF deployment_or_operation ~ '^flt_[0-9a-f]{12}$' THEN
		SELECT f.id, coalesce(f.last_deployment_id, '') INTO fleet_id, deployment_id FROM miosa.fleet_runs f
			WHERE f.id = deployment_or_operation AND miosa.sees_fleet(f.tenant_id, f.acts_for);
		IF FOUND THEN
			RETURN;
		END IF;
		IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_or_operation OR p.slug = deployment_or_operation) THEN
			PERFORM miosa.raise_condition('DEPLOYMENT_NOT_FOUND', format('fleet "%s" does not exist', deployment_or_operation),
				'There is none of that id, or it belongs to another tenant.', 'See the fleets with TABLE miosa.fleets;');
		END IF;
	END IF;
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
COMMENT ON FUNCTION miosa.parse_operation(text) IS 'The deployment and number of an operation, or of a deployment with null; or a fleet, with the deployment that it changed last; raises INVALID_ARGUMENT, DEPLOYMENT_NOT_FOUND';

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
