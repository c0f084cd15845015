-- Fleets: rollbacks of all deployments that a selector matches.  What decides is
-- in C (src/operation/fleet.c).

-- One row a call.  It is written by few calls, so it may have what a row of a
-- rollback could not afford.
CREATE TABLE miosa.fleet_runs (
	id text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C",
	acts_for text COLLATE "C" NOT NULL,
	idempotency_key text COLLATE "C",
	mode text NOT NULL CHECK (mode IN ('atomic', 'best_effort', 'batches')),
	selector jsonb NOT NULL,
	served_at timestamptz,
	attribution jsonb,
	cutover text,
	accept_unverified boolean NOT NULL,
	hold boolean,
	hold_for interval,
	mark_bad boolean NOT NULL,
	reason text,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	total bigint NOT NULL,
	done bigint NOT NULL DEFAULT 0,
	refused bigint NOT NULL DEFAULT 0,
	"position" text COLLATE "C" NOT NULL DEFAULT '',
	refusals jsonb NOT NULL DEFAULT '[]',
	response jsonb,
	last_deployment_id text COLLATE "C",
	last_route_seq bigint,
	began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	ended_at timestamptz,
	UNIQUE (acts_for, idempotency_key)
);
CREATE INDEX fleet_runs_time ON miosa.fleet_runs (began_at);
COMMENT ON TABLE miosa.fleet_runs IS 'Rollbacks of many deployments in one call, for 400 days; miosa.fleets shows them for people';
COMMENT ON COLUMN miosa.fleet_runs.id IS 'Id of the fleet; audit events of its deployments have it in marks';
COMMENT ON COLUMN miosa.fleet_runs.tenant_id IS 'Owner of all its deployments; null: of several, or not known yet';
COMMENT ON COLUMN miosa.fleet_runs.acts_for IS 'For whom the caller acted: empty for all tenants, else tenant: or role: and its name; a key counts among calls for the same';
COMMENT ON COLUMN miosa.fleet_runs.idempotency_key IS 'Key of the call, if it had one; also that of each deployment''s operation';
COMMENT ON COLUMN miosa.fleet_runs.mode IS 'atomic, best_effort or batches';
COMMENT ON COLUMN miosa.fleet_runs.selector IS 'Which deployments';
COMMENT ON COLUMN miosa.fleet_runs.served_at IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.attribution IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.cutover IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.accept_unverified IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.hold IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.hold_for IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.mark_bad IS 'As in the call';
COMMENT ON COLUMN miosa.fleet_runs.reason IS 'Why, in the caller''s words';
COMMENT ON COLUMN miosa.fleet_runs.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.fleet_runs.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.fleet_runs.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.fleet_runs.total IS 'How many deployments the selector matched when the call began; at the end, how many there were';
COMMENT ON COLUMN miosa.fleet_runs.done IS 'Deployments that were rolled back, or were so already';
COMMENT ON COLUMN miosa.fleet_runs.refused IS 'Deployments that were refused';
COMMENT ON COLUMN miosa.fleet_runs."position" IS 'Last deployment of the last batch; the next one begins behind it';
COMMENT ON COLUMN miosa.fleet_runs.refusals IS 'Of a fleet in batches, the first hundred or so refused deployments with their conditions';
COMMENT ON COLUMN miosa.fleet_runs.response IS 'Response of a call in one statement, which the same call returns again';
COMMENT ON COLUMN miosa.fleet_runs.last_deployment_id IS 'Deployment whose route it has changed last; null: none';
COMMENT ON COLUMN miosa.fleet_runs.last_route_seq IS 'That deployment''s route change';
COMMENT ON COLUMN miosa.fleet_runs.began_at IS 'When the call began';
COMMENT ON COLUMN miosa.fleet_runs.advanced_at IS 'When it last ended a batch, or all';
COMMENT ON COLUMN miosa.fleet_runs.ended_at IS 'When all were done; null: not yet';

SELECT pg_extension_config_dump('miosa.fleet_runs', '');

-- Selectors, for freezes too.

-- Check a selector; one that matches nothing is valid.
CREATE FUNCTION miosa.check_deployment_selector(selector jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_deployment_selector';
COMMENT ON FUNCTION miosa.check_deployment_selector(jsonb) IS 'Raises INVALID_ARGUMENT unless the value is a selector of deployments';

-- Match one deployment.
CREATE FUNCTION miosa.selects_deployment(selector jsonb, deployment_id text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_selects_deployment';
COMMENT ON FUNCTION miosa.selects_deployment(jsonb, text) IS 'Whether a selector of deployments matches this one, in the statement''s snapshot';

-- For policies.
CREATE FUNCTION miosa.sees_fleet(tenant_id text, acts_for text) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_fleet';
COMMENT ON FUNCTION miosa.sees_fleet(text, text) IS 'Whether a fleet exists for the caller, by these columns of its row';

-- Costs of these statements are guessed from selectors, and compiling them would
-- take longer than most run: so no JIT.
CREATE FUNCTION @extschema@.miosa_rollback_many(
	selector jsonb,
	served_at timestamptz DEFAULT NULL,
	mode text DEFAULT 'atomic',
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_rollback_many';
COMMENT ON FUNCTION @extschema@.miosa_rollback_many(jsonb, timestamptz, text, text, text, jsonb, text, boolean, boolean, interval, boolean) IS
	'Rolls all deployments that a selector matches back in one statement: all or none of them, or those that can be';

-- The same without doing it.
CREATE FUNCTION @extschema@.miosa_plan_many(selector jsonb, served_at timestamptz DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'miosa_plan_many';
COMMENT ON FUNCTION @extschema@.miosa_plan_many(jsonb, timestamptz) IS
	'What miosa_rollback_many would do now: each deployment with its versions, and the outcome or the condition that refuses it';

-- The steps of miosa_rollback_fleet().
CREATE FUNCTION miosa.fleet_begin(selector jsonb, served_at timestamptz, mode text, idempotency_key text, reason text, attribution jsonb,
	cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, batch integer DEFAULT 500)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'mrb_fleet_begin_row';
COMMENT ON FUNCTION miosa.fleet_begin(jsonb, timestamptz, text, text, text, jsonb, text, boolean, boolean, interval, boolean, integer) IS
	'Begins a fleet that works in batches, or finds the one with the same key; null when no deployment matches';

-- One batch.
CREATE FUNCTION miosa.fleet_step(fleet_id text, batch integer)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'mrb_fleet_step_row';
COMMENT ON FUNCTION miosa.fleet_step(text, integer) IS 'Rolls the next deployments of a fleet back; false when there was none left';

-- What the dispatcher has taken and not delivered is in its memory.  It is waited
-- for as long as anything is acknowledged: an edge that is down holds nobody up.  A
-- call lasts a second at most, so that the procedure can commit.
CREATE FUNCTION miosa.fleet_pace(most bigint DEFAULT 200000)
RETURNS boolean LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	seen bigint;
	now record;
BEGIN
	FOR turn IN 0 .. 10 LOOP
		SELECT coalesce(w.pending, 0) AS pending, w.acknowledged INTO now FROM miosa.dispatcher() w;
		IF now.pending <= most THEN
			RETURN true;
		END IF;
		seen := coalesce(seen, now.acknowledged);
		IF turn < 10 THEN
			PERFORM pg_sleep(0.1);
		END IF;
	END LOOP;
	RETURN CASE WHEN now.acknowledged = seen THEN false END;
END $$;
COMMENT ON FUNCTION miosa.fleet_pace(bigint) IS 'Waits for a second until no more deliveries than that are pending; false when none was acknowledged, null when some were';

-- What a fleet has come to, as JSON.
CREATE FUNCTION miosa.fleet_object(fleet_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT jsonb_build_object('data', jsonb_build_object('fleet_id', f.id, 'mode', f.mode, 'total', f.total, 'done', f.done,
			'refused', f.refused, 'began_at', miosa.iso(f.began_at), 'ended_at', miosa.iso(f.ended_at), 'refusals', f.refusals))
		FROM miosa.fleet_runs f WHERE f.id = $1 AND miosa.sees_fleet(f.tenant_id, f.acts_for));
END $$;
COMMENT ON FUNCTION miosa.fleet_object(text) IS 'How far a fleet has come, and which of its deployments were refused first';

-- Roll a fleet back in batches.  A procedure that commits can neither be SECURITY
-- DEFINER nor set a search_path, so all that it does is to call the steps.
CREATE PROCEDURE @extschema@.miosa_rollback_fleet(
	selector jsonb,
	served_at timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL,
	attribution jsonb DEFAULT NULL,
	cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false,
	hold boolean DEFAULT NULL,
	hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false,
	batch integer DEFAULT 500,
	INOUT result jsonb DEFAULT NULL)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	fleet pg_catalog.text;
	unpaced pg_catalog.int4 := 0;
	delivered pg_catalog.bool;
BEGIN
	fleet := miosa.fleet_begin(selector, served_at, NULL, idempotency_key, reason, attribution, cutover, accept_unverified,
		hold, hold_for, mark_bad, batch);
	COMMIT;
	LOOP
		EXIT WHEN NOT coalesce(miosa.fleet_step(fleet, batch), false);
		COMMIT;
		-- Where nothing is delivered, wait in vain now and then only.
		IF unpaced OPERATOR(pg_catalog.>) 0 THEN
			unpaced := unpaced OPERATOR(pg_catalog.-) 1;
			CONTINUE;
		END IF;
		LOOP
			delivered := miosa.fleet_pace();
			COMMIT;
			EXIT WHEN delivered IS NOT NULL;
		END LOOP;
		unpaced := CASE WHEN delivered THEN 0 ELSE 20 END;
	END LOOP;
	COMMIT;
	result := coalesce(miosa.fleet_object(fleet), '{"data": {"total": 0, "done": 0, "refused": 0, "fleet_id": null}}');
END $$;
COMMENT ON PROCEDURE @extschema@.miosa_rollback_fleet(jsonb, timestamptz, text, text, jsonb, text, boolean, boolean, interval, boolean, integer, jsonb) IS
	'Rolls all deployments that a selector matches back in batches that commit; a call with the same key continues where one was interrupted';

-- The newest route change of a fleet, as miosa.newest_change() of a deployment; and
-- whether the fleet is at work, or any of its deployments waits for instances.
-- Changes of a transaction get their epochs in the order of their deployments, so
-- that the last one has the highest.
CREATE FUNCTION miosa.fleet_change(fleet_id text, OUT tenant_id text, OUT kind text, OUT route_ttl interval,
	OUT epoch bigint, OUT created_at timestamptz, OUT unread boolean, OUT queued boolean, OUT term bigint, OUT moved boolean,
	OUT last_deployment_id text, OUT works boolean, OUT waits boolean)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1
BEGIN ATOMIC
	SELECT '', '', '1 year'::interval, CASE WHEN f.last_deployment_id IS NULL THEN 0 ELSE coalesce(l.epoch, st.trimmed_epoch) END, f.advanced_at,
		EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = '' AND o.kind = 'settings'),
		l.epoch IS NULL AND EXISTS (SELECT FROM miosa.outbox o WHERE o.deployment_id = f.last_deployment_id
			AND o.kind IN ('route', 'host_removed') AND o.route_seq >= f.last_route_seq),
		coalesce(st.term, 1), st.timeline IS DISTINCT FROM i.timeline AND st.timeline IS NOT NULL AND i.timeline IS NOT NULL,
		coalesce(f.last_deployment_id, ''), f.ended_at IS NULL,
		EXISTS (SELECT FROM miosa.deployments p JOIN miosa.audit_events e ON e.deployment_id = p.id
			WHERE p.waiting_since IS NOT NULL AND e.marks ? 'fleet' AND e.marks ->> 'fleet' = f.id)
	FROM miosa.fleet_runs f
	CROSS JOIN miosa.identity() i
	LEFT JOIN miosa.dispatcher_state st ON true
	LEFT JOIN LATERAL (
		SELECT g.epoch FROM miosa.route_log g WHERE g.deployment_id = f.last_deployment_id AND g.kind IN ('route', 'host_removed')
			AND g.route_seq >= f.last_route_seq
		ORDER BY g.epoch LIMIT 1) l ON true
	WHERE f.id = $1 LIMIT 1;
END;
COMMENT ON FUNCTION miosa.fleet_change(text) IS 'Newest route change of a fleet, whether it is at work, and whether any of its deployments waits for instances';

-- How many edges have all that a fleet has changed so far.
CREATE FUNCTION miosa.fleet_edges(fleet_id text, OUT edges integer, OUT done integer)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_fleet_edges';
COMMENT ON FUNCTION miosa.fleet_edges(text) IS 'How many edges receive any deployment of a fleet, and how many have acknowledged all that it has changed so far, as it is now';

-- For people.

-- The newest fleets, for \watch.  The log of route changes is kept for an hour.
CREATE FUNCTION miosa.fleets_rows(OUT fleet text, OUT total bigint, OUT done bigint, OUT refused bigint, OUT rate text, OUT remaining text, OUT converged text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	run miosa.fleet_runs;
	per_second numeric;
BEGIN
	FOR run IN SELECT * FROM miosa.fleet_runs f WHERE miosa.sees_fleet(f.tenant_id, f.acts_for) ORDER BY f.began_at DESC LIMIT 20 LOOP
		fleet := run.id;
		total := run.total;
		done := run.done;
		refused := run.refused;
		per_second := (run.done + run.refused) / greatest(extract(epoch FROM run.advanced_at - run.began_at), 0.001);
		rate := round(per_second) || '/s';
		remaining := CASE WHEN run.ended_at IS NOT NULL THEN ''
			WHEN run.advanced_at < clock_timestamp() - '1 min'::interval THEN 'stalled'
			WHEN per_second = 0 THEN '?'
			ELSE miosa.rough_span((greatest(run.total - run.done - run.refused, 0) / per_second) * '1 s'::interval) END;
		converged := CASE WHEN run.advanced_at > clock_timestamp() - '1 hour'::interval
			THEN (SELECT e.done || '/' || e.edges FROM miosa.fleet_edges(run.id) e) ELSE '' END;
		RETURN NEXT;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.fleets_rows() IS 'Rows of miosa.fleets';

CREATE VIEW miosa.fleets AS SELECT * FROM miosa.fleets_rows();
COMMENT ON VIEW miosa.fleets IS E'Progress of the newest 20 fleets, for \\watch 1';
COMMENT ON COLUMN miosa.fleets.fleet IS 'Id of the fleet, as miosa_wait_converged() takes it';
COMMENT ON COLUMN miosa.fleets.total IS 'Deployments that it is about';
COMMENT ON COLUMN miosa.fleets.done IS 'Deployments that were rolled back, or were so already';
COMMENT ON COLUMN miosa.fleets.refused IS 'Deployments that were refused';
COMMENT ON COLUMN miosa.fleets.rate IS 'Deployments a second';
COMMENT ON COLUMN miosa.fleets.remaining IS 'Time that the rest will take; stalled: no batch has ended for a minute; empty: all are done';
COMMENT ON COLUMN miosa.fleets.converged IS 'Edges that have acknowledged all that the fleet has changed so far, of those that receive any of it; empty when its last change is an hour old';

-- Call the functions for programs; hints call those of the console.
CREATE FUNCTION miosa.call_rollback_many(selector jsonb, served_at timestamptz, mode text, idempotency_key text, reason text, attribution jsonb,
	cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE SET jit = off
AS 'MODULE_PATHNAME', 'mrb_call_rollback_many';
COMMENT ON FUNCTION miosa.call_rollback_many(jsonb, timestamptz, text, text, text, jsonb, text, boolean, boolean, interval, boolean) IS
	'Calls miosa_rollback_many; hints call functions of the console';

-- As if the caller had called it: no CONTEXT shows the console's functions.
CREATE FUNCTION miosa.call_plan_many(selector jsonb, served_at timestamptz) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE SET jit = off
AS 'MODULE_PATHNAME', 'mrb_call_plan_many';
COMMENT ON FUNCTION miosa.call_plan_many(jsonb, timestamptz) IS 'Calls miosa_plan_many, from within the console';

-- A response as rows: a summary, those that are refused, the others.
CREATE FUNCTION miosa.fleet_lines(response jsonb, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT l.deployment, l."from", l."to", l.outcome FROM (
		SELECT 0 AS part, 0::bigint AS place, coalesce(d ->> 'fleet_id', '') AS deployment, '' AS "from", '' AS "to",
			CASE WHEN d ? 'would_succeed' THEN format('%s would succeed', d ->> 'would_succeed') ELSE format('%s done', d ->> 'done') END
				|| format(', %s refused, of %s', d ->> 'refused', d ->> 'total') AS outcome
		FROM (SELECT $1 -> 'data') r (d)
		UNION ALL
		SELECT CASE WHEN m.o ? 'condition' THEN 1 ELSE 2 END, m.place,
			-- One that does not exist for the caller is named as it was given.
			miosa.short(coalesce(miosa.call_name(miosa.seen_deployment(m.o ->> 'deployment_id')), m.o ->> 'deployment_id'), 22),
			coalesce(miosa.version_name(m.o ->> 'deployment_id', m.o ->> 'from'), ''),
			coalesce(miosa.version_name(m.o ->> 'deployment_id', m.o ->> 'to'), ''),
			miosa.clip(coalesce((m.o ->> 'condition') || ': ' || (m.o ->> 'message'), m.o ->> 'outcome'), 36)
		FROM jsonb_array_elements($1 -> 'data' -> 'deployments') WITH ORDINALITY m (o, place)) l
	ORDER BY l.part, l.place
$$;
COMMENT ON FUNCTION miosa.fleet_lines(jsonb) IS 'The response of a fleet, or of a plan, in rows of 80 columns';

-- Do the work of miosa.rollback_many().
CREATE FUNCTION miosa.rollback_many_rows(selector jsonb, reason text DEFAULT NULL, mode text DEFAULT 'atomic',
	idempotency_key text DEFAULT NULL, served_at timestamptz DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.call_rollback_many($1, $5, $3, $4, $2, NULL, $6, $7, $8, $9, $10) r
	CROSS JOIN LATERAL miosa.fleet_lines(r) l
$$;
COMMENT ON FUNCTION miosa.rollback_many_rows(jsonb, text, text, text, timestamptz, text, boolean, boolean, interval, boolean) IS 'Rows of miosa.rollback_many()';

-- Enter rollback_many_rows() from C.
CREATE FUNCTION miosa.rollback_many(selector jsonb, reason text DEFAULT NULL, mode text DEFAULT 'atomic',
	idempotency_key text DEFAULT NULL, served_at timestamptz DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.rollback_many(jsonb, text, text, text, timestamptz, text, boolean, boolean, interval, boolean) IS
	'Rolls all deployments that a selector matches back, for people: a row each, those that are refused first';

-- Do the work of miosa.plan_many().
CREATE FUNCTION miosa.plan_many_rows(selector jsonb, served_at timestamptz DEFAULT NULL,
	OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.call_plan_many($1, $2) r CROSS JOIN LATERAL miosa.fleet_lines(r) l
$$;
COMMENT ON FUNCTION miosa.plan_many_rows(jsonb, timestamptz) IS 'Rows of miosa.plan_many()';

-- Enter plan_many_rows() from C.
CREATE FUNCTION miosa.plan_many(selector jsonb, served_at timestamptz DEFAULT NULL,
	OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.plan_many(jsonb, timestamptz) IS 'What miosa.rollback_many would do now, for people: a row each, those that would be refused first';
