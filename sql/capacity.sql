-- Capacity: whether a dynamic version has the instances that it needs, and
-- what happens when it gets them.

-- An instance that is not heard of is not healthy.  But while the server was
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
COMMENT ON FUNCTION miosa.heartbeat_horizon() IS 'Instances that were last heard of before this count as not healthy (miosa_rollback.heartbeat_timeout)';

CREATE VIEW miosa.live_instances AS
	SELECT i.deployment_id, i.version_id, i.id, i.address, i.port FROM miosa.runtime_instances i
	WHERE i.state = 'healthy' AND coalesce(i.last_heartbeat_at, i.updated_at) > (SELECT miosa.heartbeat_horizon());
COMMENT ON VIEW miosa.live_instances IS 'Instances that serve: healthy, and heard of lately';
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
COMMENT ON FUNCTION miosa.instances_clock() IS 'Trigger: an instance was heard of, and has changed, now at the latest';

CREATE TRIGGER instances_clock BEFORE INSERT OR UPDATE ON miosa.runtime_instances
	FOR EACH ROW WHEN (NEW.last_heartbeat_at > clock_timestamp() OR NEW.updated_at > clock_timestamp())
	EXECUTE FUNCTION miosa.instances_clock();

-- The states in which an instance has ended.
CREATE FUNCTION miosa.has_ended(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('stopped', 'failed', 'error', 'destroyed');
COMMENT ON FUNCTION miosa.has_ended(text) IS 'Whether an instance in this state runs no more';

-- Switch routes to the active version when its healthy instances are enough,
-- or when it has waited for miosa_rollback.cutover_deadline and has one; set
-- the state running when the capacity is there, and ask schedulers no longer.
-- True when routes switched. The caller holds the lock of the deployment's
-- row.
CREATE FUNCTION miosa.complete_capacity(deployment_id text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_complete_capacity';
COMMENT ON FUNCTION miosa.complete_capacity(text) IS 'Switch routes to the active version when its healthy instances are enough, or it has one and has waited for miosa_rollback.cutover_deadline; true when routes switched';

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
COMMENT ON FUNCTION miosa.want_capacity(text, text) IS 'Notes that schedulers are to be asked for instances of a version';

-- A count that was not asked for yet is asked for even if it is there: a
-- scheduler that was asked to stop the version may still do so.
--
-- The caller holds the lock of the deployment's row.
CREATE FUNCTION miosa.forget_wanted(deployment_id text, version_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa.capacity c
		WHERE c.deployment_id = deployment_id AND c.version_id = version_id AND c.state = 'wanted'
			AND (c.asked_at IS NOT NULL OR NOT miosa.has_scheduler(deployment_id, false));
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION miosa.forget_wanted(text, text) IS 'Ask schedulers no longer for instances of a version, unless none was asked yet; whether that changed something';

-- The caller holds the lock of the deployment's row.
CREATE FUNCTION miosa.ask_again(deployment_id text, more boolean) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_ask_again';
COMMENT ON FUNCTION miosa.ask_again(text, boolean) IS 'Has schedulers asked for instances of the active version if some are missing and more are wanted than before; for nothing when the deployment is stopped';

-- The versions whose instances stay: what serves, what is to serve, and what
-- a rollback or its undoing would go to.
CREATE FUNCTION miosa.kept_versions(deployment_id text, active_version_id text, serving_version_id text,
	recent_served text[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN array_remove(ARRAY[$2, $3,
		(SELECT v.promoted_over FROM miosa.versions v WHERE v.deployment_id = $1 AND v.id = $2)]
		|| $4[1:2], NULL);
END $$;
COMMENT ON FUNCTION miosa.kept_versions(text, text, text, text[]) IS 'Versions of a deployment whose instances are never drained';

-- A version that is needed again is idle no longer; if it is left again, its
-- time begins anew.  What schedulers were asked for stays recorded.
--
-- The caller holds the lock of the deployment's row.
CREATE FUNCTION miosa.forget_idle(deployment_id text, kept text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	DELETE FROM miosa.capacity c
		WHERE c.deployment_id = $1 AND c.state = 'idle' AND c.version_id = ANY ($2) AND NOT c.stop_asked;
	UPDATE miosa.capacity c SET state = 'drained', since = clock_timestamp()
		WHERE c.deployment_id = $1 AND c.state = 'idle' AND c.version_id = ANY ($2);
END $$;
COMMENT ON FUNCTION miosa.forget_idle(text, text[]) IS 'Keeps the instances of versions that are needed again';

-- Draining.  Instances are marked as stopping under the deployment's lock
-- before a scheduler is asked, and what is stopping never counts: a rollback
-- to the version either comes before and keeps it, or finds no instances and
-- asks for new ones.

-- The caller holds the lock of the deployment's row.
CREATE FUNCTION miosa.drain_version(deployment_id text, version_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	locked integer;
BEGIN
	-- A transaction of many heartbeats may have some of them and wait for us.
	SELECT count(*) INTO locked FROM (SELECT FROM miosa.runtime_instances i
		WHERE i.deployment_id = deployment_id AND i.version_id = version_id AND NOT miosa.has_ended(i.state)
		FOR NO KEY UPDATE SKIP LOCKED) l;
	IF locked < (SELECT count(*) FROM miosa.runtime_instances i
		WHERE i.deployment_id = deployment_id AND i.version_id = version_id AND NOT miosa.has_ended(i.state)) THEN
		RETURN false;
	END IF;
	UPDATE miosa.runtime_instances i SET state = 'stopping', updated_at = clock_timestamp()
		WHERE i.deployment_id = deployment_id AND i.version_id = version_id
			AND i.state <> 'stopping' AND NOT miosa.has_ended(i.state);
	UPDATE miosa.capacity c SET state = 'draining', since = clock_timestamp(), asked_at = NULL, stop_asked = true,
			last_error = NULL, last_error_at = NULL
		WHERE c.deployment_id = deployment_id AND c.version_id = version_id;
	PERFORM miosa.queue(deployment_id, 'capacity', NULL);
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.drain_version(text, text) IS 'Marks the instances of an idle version as stopping and has schedulers asked to stop them; false, having done nothing, when one of them is locked';

-- Instances without a heartbeat since they were asked to stop are gone.
--
-- The caller holds the lock of the deployment's row.
CREATE FUNCTION miosa.end_drain(deployment_id text, version_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	horizon timestamptz := miosa.heartbeat_horizon();
BEGIN
	IF EXISTS (SELECT FROM miosa.runtime_instances i
		WHERE i.deployment_id = deployment_id AND i.version_id = version_id
			AND NOT miosa.has_ended(i.state) AND greatest(i.last_heartbeat_at, i.updated_at) > horizon) THEN
		RETURN false;
	END IF;
	UPDATE miosa.capacity c SET state = 'drained', since = clock_timestamp()
		WHERE c.deployment_id = deployment_id AND c.version_id = version_id AND c.state = 'draining'
			AND (c.asked_at IS NOT NULL OR NOT miosa.has_scheduler(deployment_id, true));
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	UPDATE miosa.runtime_instances i SET state = 'stopped', updated_at = clock_timestamp()
		FROM (SELECT r.id FROM miosa.runtime_instances r
			WHERE r.deployment_id = deployment_id AND r.version_id = version_id AND NOT miosa.has_ended(r.state)
			FOR NO KEY UPDATE SKIP LOCKED) gone
		WHERE i.deployment_id = deployment_id AND i.id = gone.id;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.end_drain(text, text) IS 'Notes that a draining version is drained, if a scheduler was asked and no instance of it is heard of; whether that is so';

-- The pass.

-- Settle the capacity of a deployment under the lock of its row.  Returns the
-- number of changes; null, having done nothing, when the row is locked.
CREATE FUNCTION miosa.settle_capacity(deployment_id text) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	delay interval := miosa.setting('drain_delay')::interval;
	was miosa.deployments;
	d miosa.deployments;
	kept text[];
	settled boolean;
	asked record;
	n integer := 0;
	more integer;
BEGIN
	PERFORM FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE SKIP LOCKED;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT * INTO was FROM miosa.deployments p WHERE p.id = deployment_id;
	-- A row that was loaded does not know since when it waits.
	UPDATE miosa.deployments p SET waiting_since = clock_timestamp()
		WHERE p.id = deployment_id AND p.serving_version_id IS NOT NULL AND p.waiting_since IS NULL;
	-- While a dump is restored, deployments are there before any instance is.
	IF (was.serving_version_id IS NOT NULL OR was.state = 'pending') AND EXISTS (SELECT FROM miosa.runtime_instances) THEN
		PERFORM miosa.complete_capacity(deployment_id);
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF (was.state, was.serving_version_id) IS DISTINCT FROM (d.state, d.serving_version_id) THEN
		n := n + 1;
	END IF;
	kept := miosa.kept_versions(d.id, d.active_version_id, d.serving_version_id, d.recent_served);
	settled := d.serving_version_id IS NULL AND d.state NOT IN ('stopped', 'pending')
		AND miosa.convergence_state(d.id, NULL) IN ('converged', 'expired', 'no_edges');

	FOR asked IN
		SELECT c.version_id, c.state, c.since, c.version_id = ANY (kept) AS kept,
			(SELECT count(*) FROM miosa.live_instances i
				WHERE i.deployment_id = c.deployment_id AND i.version_id = c.version_id) AS healthy
		FROM miosa.capacity c WHERE c.deployment_id = deployment_id AND c.state <> 'drained' ORDER BY c.version_id
	LOOP
		CASE asked.state
		WHEN 'wanted' THEN
			IF d.state = 'stopped' THEN
				DELETE FROM miosa.capacity c WHERE c.deployment_id = deployment_id AND c.version_id = asked.version_id;
				n := n + 1;
			ELSIF asked.healthy >= d.desired_replicas AND miosa.forget_wanted(deployment_id, asked.version_id) THEN
				n := n + 1;
			ELSIF settled AND NOT asked.kept THEN
				-- What was asked for may come yet.
				UPDATE miosa.capacity c SET state = 'idle', since = clock_timestamp()
					WHERE c.deployment_id = deployment_id AND c.version_id = asked.version_id;
				n := n + 1;
			END IF;
		WHEN 'idle' THEN
			IF asked.kept THEN
				PERFORM miosa.forget_idle(deployment_id, kept);
				n := n + 1;
			ELSIF settled AND miosa.drain_due(asked.since, delay) <= clock_timestamp() THEN
				n := n + miosa.drain_version(deployment_id, asked.version_id)::integer;
			END IF;
		WHEN 'draining' THEN
			n := n + miosa.end_drain(deployment_id, asked.version_id)::integer;
		END CASE;
	END LOOP;

	IF settled THEN
		INSERT INTO miosa.capacity AS c (deployment_id, version_id, state)
			SELECT DISTINCT i.deployment_id, i.version_id, 'idle'
			FROM miosa.runtime_instances i
			JOIN miosa.versions v ON v.deployment_id = i.deployment_id AND v.id = i.version_id AND v.kind <> 'static'
			WHERE i.deployment_id = deployment_id AND i.version_id <> ALL (kept)
				AND i.state <> 'stopping' AND NOT miosa.has_ended(i.state)
				AND coalesce(i.last_heartbeat_at, i.updated_at) > miosa.heartbeat_horizon()
			ON CONFLICT ON CONSTRAINT capacity_pkey DO UPDATE
				SET state = 'idle', since = EXCLUDED.since, asked_at = NULL, last_error = NULL, last_error_at = NULL
				WHERE c.state = 'drained';
		GET DIAGNOSTICS more = ROW_COUNT;
		n := n + more;
	END IF;
	RETURN n;
END $$;
COMMENT ON FUNCTION miosa.settle_capacity(text) IS 'Does for a deployment what is due: switches routes, withdraws requests for instances that are there, and drains what is not needed';

-- The end of drain_delay; a negative delay has none.
CREATE FUNCTION miosa.drain_due(since timestamptz, delay interval) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN delay >= '0' THEN since + delay ELSE 'infinity' END;
COMMENT ON FUNCTION miosa.drain_due(timestamptz, interval) IS 'When a version that is idle since then is drained; a negative delay: never';

-- Deployments are looked at as one range of ids; only the few in which
-- something may be due are locked.  The locks of all that is changed are held
-- until the caller commits, so a page ends early rather than hold them long.
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
	deadline CONSTANT interval := miosa.setting('cutover_deadline');
	delay CONSTANT interval := miosa.setting('drain_delay');
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
				AND (c.state <> 'idle' OR miosa.drain_due(c.since, delay) <= started)
		UNION
		-- Instances that are not needed.
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
		FROM (SELECT p.waiting_since + deadline AS at FROM miosa.deployments p
				WHERE p.id > after AND p.id <= last AND p.serving_version_id IS NOT NULL AND p.state <> 'stopped'
			UNION ALL
			SELECT miosa.drain_due(c.since, delay) FROM miosa.capacity c
				WHERE c.deployment_id > after AND c.deployment_id <= last AND c.state = 'idle'
			UNION ALL
			SELECT clock_timestamp() + '1 s'::interval WHERE busy) d
		WHERE d.at > started AND d.at < 'infinity';
END $$;
COMMENT ON FUNCTION miosa.capacity_pass(text, integer) IS 'Does what is due for the capacity of a page of deployments: those with ids above after (empty: from the start), at most limit';

-- Status polls.  A scheduler that answers with a number gets as many
-- rows, named after the endpoint, beside the instances that are reported.
--
-- A number does not distinguish an instance that was asked to stop from one that
-- serves.  So as many of the polled as were asked to stop count as those, until
-- a poll finds fewer or they were not heard of for long: while a version is
-- draining a poll is how they are heard of, after a return it is not.

-- draining: the version is being drained; present, stale: healthy rows, and
-- those of them that were not heard of lately; leftover: rows that are
-- stopping; stopping: how many of these are still there; wanted: healthy rows
-- that there should be.
CREATE FUNCTION miosa.poll_rows(deployment_id text, version_id text, endpoint text, healthy integer,
	OUT draining boolean, OUT present integer, OUT stale integer, OUT leftover integer,
	OUT stopping integer, OUT wanted integer)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
BEGIN
	WITH rows AS (
		SELECT r.state, r.reported_by IS NOT DISTINCT FROM $3 AS own,
			coalesce(r.last_heartbeat_at, r.updated_at) > h.horizon AS fresh,
			CASE WHEN h.timeout > '0' THEN greatest(r.last_heartbeat_at, r.updated_at) > h.horizon
				ELSE r.updated_at > clock_timestamp() - miosa.setting('cutover_deadline')::interval END AS ending
		FROM miosa.runtime_instances r
		CROSS JOIN (SELECT miosa.heartbeat_horizon() AS horizon, miosa.setting('heartbeat_timeout')::interval AS timeout) h
		WHERE r.deployment_id = $1 AND r.version_id = $2 AND r.state IN ('healthy', 'stopping')
	), counted AS (
		SELECT EXISTS (SELECT FROM miosa.capacity c
				WHERE c.deployment_id = $1 AND c.version_id = $2 AND c.state = 'draining') AS draining,
			count(*) FILTER (WHERE r.own AND r.state = 'healthy') AS present,
			count(*) FILTER (WHERE r.own AND r.state = 'healthy' AND NOT r.fresh) AS stale,
			count(*) FILTER (WHERE r.own AND r.state = 'stopping') AS leftover,
			count(*) FILTER (WHERE r.own AND r.state = 'stopping' AND r.ending) AS ending,
			greatest($4 - count(*) FILTER (WHERE NOT r.own AND CASE r.state WHEN 'healthy' THEN r.fresh ELSE r.ending END), 0) AS room
		FROM rows r
	), stopped AS (
		SELECT c.*, least(CASE WHEN c.draining THEN c.leftover ELSE c.ending END, c.room) AS stopping FROM counted c
	)
	SELECT t.draining, t.present, t.stale, t.leftover, t.stopping, CASE WHEN t.draining THEN 0 ELSE t.room - t.stopping END
		INTO draining, present, stale, leftover, stopping, wanted
		FROM stopped t;
END $$;
COMMENT ON FUNCTION miosa.poll_rows(text, text, text, integer) IS 'What a poll of an endpoint that found so many healthy instances of a version means for the rows that it counts';

-- Locks the deployment's row only when that changes something, and does not
-- wait for it. False when nothing was done: the row is locked, the version is
-- unknown or runs in no instances, or the number is not from 0 to 100000.
-- Raises NOT_PRIMARY.
CREATE FUNCTION miosa.take_poll(deployment_id text, version_id text, endpoint text, healthy integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	prefix CONSTANT text := endpoint || ':' || version_id || ':';
	timeout CONSTANT interval := miosa.setting('heartbeat_timeout');
	-- Heartbeats are written as often as they are compared with the horizon.
	recent CONSTANT interval := CASE WHEN timeout > '0' THEN least(timeout / 4, '10 s') ELSE '10 s' END;
	rows record;
	d miosa.deployments;
BEGIN
	PERFORM miosa.require_primary();
	IF healthy IS NULL OR healthy NOT BETWEEN 0 AND 100000 OR endpoint IS NULL
		OR NOT EXISTS (SELECT FROM miosa.versions v
			WHERE v.deployment_id = deployment_id AND v.id = version_id AND v.kind <> 'static') THEN
		RETURN false;
	END IF;
	SELECT * INTO rows FROM miosa.poll_rows(deployment_id, version_id, endpoint, healthy);
	IF rows.present <> rows.wanted OR rows.stale > 0 OR rows.leftover <> rows.stopping THEN
		PERFORM FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RETURN false;
		END IF;
		SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
		SELECT * INTO rows FROM miosa.poll_rows(deployment_id, version_id, endpoint, healthy);
		-- The highest numbers go first.
		UPDATE miosa.runtime_instances i SET state = 'stopped', last_heartbeat_at = clock_timestamp(), updated_at = clock_timestamp()
			FROM (SELECT r.id, r.state, row_number() OVER (PARTITION BY r.state ORDER BY length(r.id), r.id) AS place
				FROM miosa.runtime_instances r
				WHERE r.deployment_id = deployment_id AND r.version_id = version_id AND r.reported_by = endpoint
					AND r.state IN ('healthy', 'stopping')) o
			WHERE i.deployment_id = deployment_id AND i.id = o.id
				AND o.place > CASE o.state WHEN 'healthy' THEN rows.wanted ELSE rows.stopping END;
		INSERT INTO miosa.runtime_instances AS i (deployment_id, id, tenant_id, version_id, release_id, state,
				last_heartbeat_at, reported_by)
			SELECT deployment_id, prefix || n, d.tenant_id, version_id,
				(SELECT r.id FROM miosa.releases r WHERE r.deployment_id = deployment_id AND r.deployment_version_id = version_id),
				'healthy', clock_timestamp(), endpoint
			FROM generate_series(1, rows.wanted + (SELECT count(*)::integer FROM miosa.runtime_instances r
				WHERE r.deployment_id = deployment_id AND r.version_id = version_id)) n
			LEFT JOIN miosa.runtime_instances o ON o.deployment_id = deployment_id AND o.id = prefix || n
			WHERE o.id IS NULL OR o.reported_by = endpoint AND o.version_id = version_id AND o.state IN ('stopped', 'failed', 'error')
			ORDER BY n LIMIT greatest(rows.wanted - rows.present, 0)
			ON CONFLICT ON CONSTRAINT runtime_instances_pkey DO UPDATE SET state = 'healthy', release_id = EXCLUDED.release_id,
				error_message = NULL, last_heartbeat_at = EXCLUDED.last_heartbeat_at, updated_at = clock_timestamp();
	END IF;
	UPDATE miosa.runtime_instances i SET last_heartbeat_at = clock_timestamp()
		FROM (SELECT r.id FROM miosa.runtime_instances r
			WHERE r.deployment_id = deployment_id AND r.version_id = version_id AND r.reported_by = endpoint
				AND (r.state = 'healthy' OR r.state = 'stopping' AND rows.draining)
				AND coalesce(r.last_heartbeat_at, r.updated_at) < clock_timestamp() - recent
			FOR NO KEY UPDATE SKIP LOCKED) heard
		WHERE i.deployment_id = deployment_id AND i.id = heard.id;
	IF d.id IS NOT NULL THEN
		PERFORM miosa.complete_capacity(deployment_id);
	END IF;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.take_poll(text, text, text, integer) IS 'Records the number of healthy instances of a version that a status poll of a scheduler endpoint found; with the instances that are reported otherwise, as many count as healthy from now on';
