-- Capacity: whether a dynamic version has the instances that it needs, and the
-- switch of routes when it has.

-- An instance without a heartbeat is not healthy.  But while the server was
-- down, or another one took over, no heartbeat could arrive: then all heartbeats
-- begin anew, with the server or with the term.
CREATE FUNCTION miosa.server_started() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_postmaster_start_time();
COMMENT ON FUNCTION miosa.server_started() IS 'When the server was started; tests replace it';

-- The oldest heartbeat that still counts.
CREATE FUNCTION miosa.heartbeat_horizon() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	timeout CONSTANT interval := miosa.setting('heartbeat_timeout');
	horizon CONSTANT timestamptz := clock_timestamp() - timeout;
BEGIN
	RETURN CASE WHEN timeout = '0' OR miosa.server_started() > horizon
			OR (SELECT s.term_since > horizon OR s.timeline <> i.timeline
				FROM miosa.dispatcher_state s CROSS JOIN miosa.identity() i)
		THEN '-infinity' ELSE horizon END;
END $$;
COMMENT ON FUNCTION miosa.heartbeat_horizon() IS 'Instances whose last heartbeat is older than this do not count as healthy (miosa_rollback.heartbeat_timeout)';

CREATE VIEW miosa.live_instances WITH (security_invoker) AS
	SELECT i.deployment_id, i.version_id, i.id, i.address, i.port FROM miosa.runtime_instances i
	WHERE i.state = 'healthy' AND coalesce(i.last_heartbeat_at, i.updated_at) > (SELECT miosa.heartbeat_horizon());
COMMENT ON VIEW miosa.live_instances IS 'Instances that serve: healthy, with a heartbeat after miosa.heartbeat_horizon()';
COMMENT ON COLUMN miosa.live_instances.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.live_instances.version_id IS 'Version that it runs';
COMMENT ON COLUMN miosa.live_instances.id IS 'Opaque id';
COMMENT ON COLUMN miosa.live_instances.address IS 'Address that routers reach it at';
COMMENT ON COLUMN miosa.live_instances.port IS 'Port that routers reach it at';

-- A heartbeat of the future would keep an instance alive for ever.
CREATE FUNCTION miosa.instances_clock() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.last_heartbeat_at := least(NEW.last_heartbeat_at, clock_timestamp());
	NEW.updated_at := least(NEW.updated_at, clock_timestamp());
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.instances_clock() IS 'Trigger: limits last_heartbeat_at and updated_at of an instance to the present';

CREATE TRIGGER instances_clock BEFORE INSERT OR UPDATE ON miosa.runtime_instances
	FOR EACH ROW WHEN (NEW.last_heartbeat_at > clock_timestamp() OR NEW.updated_at > clock_timestamp())
	EXECUTE FUNCTION miosa.instances_clock();

-- How many instances a version had at a time is counted from these columns, so
-- that reports which come at once need not wait for each other.  A restore brings
-- its own.
CREATE FUNCTION miosa.instances_healthy() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NEW.state = 'healthy' THEN
		NEW.healthy_at := coalesce(NEW.healthy_at, NEW.updated_at);
		NEW.healthy_until := NULL;
	ELSE
		NEW.healthy_until := NEW.updated_at;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.instances_healthy() IS 'Trigger: notes when an instance became healthy, and when it ceased to be';

CREATE TRIGGER instances_healthy_insert BEFORE INSERT ON miosa.runtime_instances
	FOR EACH ROW WHEN (NEW.state = 'healthy' AND NEW.healthy_at IS NULL)
	EXECUTE FUNCTION miosa.instances_healthy();
CREATE TRIGGER instances_healthy_update BEFORE UPDATE ON miosa.runtime_instances
	FOR EACH ROW WHEN ((NEW.state = 'healthy') <> (OLD.state = 'healthy'))
	EXECUTE FUNCTION miosa.instances_healthy();

-- The states in which an instance has ended.
CREATE FUNCTION miosa.has_ended(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('stopped', 'failed', 'error', 'destroyed');
COMMENT ON FUNCTION miosa.has_ended(text) IS 'Whether an instance in this state has ended';

-- Switch routes to the active version when its healthy instances are enough,
-- or when it has waited for miosa_rollback.cutover_deadline and has one; set
-- the state running when the capacity is there, and ask schedulers no longer.
-- True when routes switched. The caller holds the lock of the deployment's
-- row.
CREATE FUNCTION miosa.complete_capacity(deployment_id text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_complete_capacity';
COMMENT ON FUNCTION miosa.complete_capacity(text) IS 'Switches routes to the active version when its healthy instances are enough, or it has one and has waited for miosa_rollback.cutover_deadline; true when routes switched';

-- The end of cutover_deadline.
CREATE FUNCTION miosa.cutover_due(since timestamptz) RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_cutover_due';
COMMENT ON FUNCTION miosa.cutover_due(timestamptz) IS 'When one healthy instance is enough for an active version that waits since then (miosa_rollback.cutover_deadline)';

-- What schedulers are asked for.
--
-- Only an operation asks for instances: that some are missing later is for
-- the scheduler to see, which may have reasons that we do not know.

-- Look for a scheduler whose selector matches the deployment.
CREATE FUNCTION miosa.has_scheduler(deployment_id text, or_had boolean) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN EXISTS (SELECT FROM miosa.deployments p
		JOIN miosa.endpoints e ON miosa.selects(e.selector, p.id, p.tenant_id, p.kind)
		JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'scheduler'
		WHERE p.id = $1 AND (e.enabled OR or_had));
END $$;
COMMENT ON FUNCTION miosa.has_scheduler(text, boolean) IS 'Whether there is a scheduler that is asked for instances of a deployment; or_had: one that is disabled counts as well';

-- The caller holds the lock of the deployment's row and queues work of the
-- kind capacity.
CREATE FUNCTION miosa.want_capacity(deployment_id text, version_id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	INSERT INTO miosa.capacity AS c (deployment_id, version_id, state) VALUES ($1, $2, 'wanted')
		ON CONFLICT ON CONSTRAINT capacity_pkey DO UPDATE SET state = 'wanted', asked_at = NULL,
			since = CASE c.state WHEN 'wanted' THEN c.since ELSE EXCLUDED.since END,
			last_error = CASE c.state WHEN 'wanted' THEN c.last_error END,
			last_error_at = CASE c.state WHEN 'wanted' THEN c.last_error_at END;
END $$;
COMMENT ON FUNCTION miosa.want_capacity(text, text) IS 'Requests instances of a version from schedulers';

-- Given are the values before the change. The caller holds the lock of the
-- deployment's row.
CREATE FUNCTION miosa.revise_capacity(deployment_id text, old_replicas integer, was_stopped boolean) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_revise_capacity';
COMMENT ON FUNCTION miosa.revise_capacity(text, integer, boolean) IS 'After a change of desired_replicas or state: requests missing instances from schedulers, or withdraws requests, and switches routes when enough instances are healthy';

-- The pass.

-- Settle the capacity of a deployment under the lock of its row.  Returns the
-- number of changes; null, having done nothing, when the row is locked.
CREATE FUNCTION miosa.settle_capacity(deployment_id text) RETURNS integer
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_settle_capacity';
COMMENT ON FUNCTION miosa.settle_capacity(text) IS 'Switches routes, withdraws requests for instances that are running, and drains versions that are not needed, as is due for a deployment';

-- The end of drain_delay; a negative delay has none.
CREATE FUNCTION miosa.drain_due(since timestamptz) RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_drain_due';
COMMENT ON FUNCTION miosa.drain_due(timestamptz) IS 'When a version that is idle since then is drained (miosa_rollback.drain_delay); infinity if the delay is negative';

-- The caller holds the lock of the deployment's row, and the version has a row in
-- miosa.capacity.
CREATE FUNCTION miosa.begin_drain(deployment_id text, version_id text) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_begin_drain';
COMMENT ON FUNCTION miosa.begin_drain(text, text) IS 'Asks schedulers to stop all instances of a version; false when one of these is locked';

-- Deployments are looked at as one range of ids; only the few in which
-- something may be due are locked, and what is due is decided under the lock.
-- The locks of all that is changed are held until the caller commits, so a page
-- ends early rather than hold them long.
--
-- Switches routes whose instances are there or whose
-- miosa_rollback.cutover_deadline has passed, notes idle versions, drains
-- those that are idle for miosa_rollback.drain_delay. Waits for no lock and
-- ends early when there is much to do. next: where the next page begins, null
-- after the last one; changed: how much was done; next_due: when the first
-- deployment of the page has something to do again, null for never. Raises
-- INVALID_ARGUMENT, NOT_PRIMARY.
CREATE FUNCTION miosa.capacity_pass(after text, "limit" integer, OUT next text, OUT changed integer,
	OUT next_due timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
	enough CONSTANT interval := '50 ms';
	started CONSTANT timestamptz := clock_timestamp();
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
	last text;
	due text;
	more integer;
	busy boolean := false;
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_limit("limit", 100000);
	after := coalesce(after, '');
	changed := 0;
	SELECT p.id INTO next FROM miosa.deployments p WHERE p.id > after ORDER BY p.id OFFSET "limit" - 1 LIMIT 1;
	last := coalesce(next, (SELECT max(p.id) FROM miosa.deployments p));
	FOR due IN
		-- Waiting for instances.
		SELECT p.id FROM miosa.deployments p
			WHERE p.id > after AND p.id <= last AND (p.serving_version_id IS NOT NULL OR p.state = 'pending')
				AND p.state <> 'stopped' AND EXISTS (SELECT FROM miosa.versions v
					WHERE v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static')
		UNION
		SELECT c.deployment_id FROM miosa.capacity c
			WHERE c.deployment_id > after AND c.deployment_id <= last AND c.state <> 'drained'
				AND (c.state <> 'idle' OR miosa.drain_due(c.since) <= started)
		UNION
		-- Instances of versions that are not kept (capacity.c).
		SELECT i.deployment_id FROM miosa.runtime_instances i
			JOIN miosa.deployments p ON p.id = i.deployment_id
			WHERE i.deployment_id > after AND i.deployment_id <= last AND p.id > after AND p.id <= last
				AND i.version_id <> p.active_version_id AND i.version_id <> ALL (p.recent_served[1:2])
				AND p.serving_version_id IS NULL AND p.state NOT IN ('stopped', 'pending')
				AND i.state <> 'stopping' AND NOT miosa.has_ended(i.state)
				AND coalesce(i.last_heartbeat_at, i.updated_at) > horizon
				AND NOT EXISTS (SELECT FROM miosa.versions v
					WHERE v.deployment_id = p.id AND v.id = p.active_version_id AND v.promoted_over = i.version_id)
				AND NOT EXISTS (SELECT FROM miosa.capacity c
					WHERE c.deployment_id = i.deployment_id AND c.version_id = i.version_id AND c.state <> 'drained')
		ORDER BY 1
	LOOP
		more := miosa.settle_capacity(due);
		busy := busy OR more IS NULL;
		changed := changed + coalesce(more, 0);
		IF clock_timestamp() > started + enough THEN
			next := due;
			last := due;
			EXIT;
		END IF;
	END LOOP;
	SELECT min(d.at) INTO next_due
		FROM (SELECT miosa.cutover_due(p.waiting_since) AS at FROM miosa.deployments p
				WHERE p.id > after AND p.id <= last AND p.serving_version_id IS NOT NULL AND p.state <> 'stopped'
			UNION ALL
			SELECT miosa.drain_due(c.since) FROM miosa.capacity c
				WHERE c.deployment_id > after AND c.deployment_id <= last AND c.state = 'idle'
			UNION ALL
			SELECT clock_timestamp() + '1 s'::interval WHERE busy) d
		WHERE d.at > started AND d.at < 'infinity';
END $$;
COMMENT ON FUNCTION miosa.capacity_pass(text, integer) IS 'Settles the capacity of a page of deployments for which something is due: those with ids above after (empty: from the start), at most limit';

-- Status polls.

-- Locks the deployment's row only when that changes something, and does not
-- wait for it. False when nothing was done: the row is locked, the version is
-- unknown or runs in no instances, or the number is not from 0 to 100000.
-- Raises NOT_PRIMARY.
CREATE FUNCTION miosa.take_poll(deployment_id text, version_id text, endpoint text, healthy integer) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_take_poll';
COMMENT ON FUNCTION miosa.take_poll(text, text, text, integer) IS 'Records the number of healthy instances of a version that a status poll of a scheduler endpoint found; with the instances that are reported otherwise, as many count as healthy from now on';
