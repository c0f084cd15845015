-- Status and progress of deployments, for people.

-- Describe the dispatcher in one line.
CREATE FUNCTION miosa.dispatcher_words() RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT CASE
		WHEN pg_is_in_recovery() THEN 'none: this server is a standby'
		WHEN d.state = 'not preloaded' THEN 'none: shared_preload_libraries lacks miosa_rollback'
		WHEN r.reason IS NOT NULL THEN 'paused: ' || r.reason
		WHEN d.stalled THEN 'STUCK' || coalesce(', no pass for ' || miosa.span(clock_timestamp() - d.last_pass_at), '')
			|| coalesce(': ' || d.error, '')
		WHEN d.state = 'running' THEN 'running'
		ELSE d.state || coalesce(': ' || d.error, '')
	END
	FROM miosa.dispatcher() d, (SELECT miosa.pause_reason() AS reason) r
$$;
COMMENT ON FUNCTION miosa.dispatcher_words() IS 'State of the dispatcher, for people: running, or why it does not deliver';

-- The states in which an instance may become healthy.
CREATE FUNCTION miosa.is_starting(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('pending', 'provisioning', 'starting');
COMMENT ON FUNCTION miosa.is_starting(text) IS 'Whether an instance in this state is about to start';

-- Count the instances of a version.
CREATE FUNCTION miosa.count_instances(deployment_id text, version_id text, OUT healthy integer, OUT starting integer)
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT (SELECT count(*)::integer FROM miosa.live_instances i WHERE i.deployment_id = $1 AND i.version_id = $2),
		(SELECT count(*)::integer FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.version_id = $2
			AND miosa.is_starting(i.state))
$$;
COMMENT ON FUNCTION miosa.count_instances(text, text) IS 'Numbers of instances of a version that are healthy, and that are starting';

-- The error of a scheduler's request that no success has followed.  The body is
-- quoted for the reason that read.sql gives.
CREATE FUNCTION miosa.lasting_error(asked miosa.capacity) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN asked.last_error_at > coalesce(asked.asked_at, '-infinity') AND asked.last_error_at >= asked.since
		THEN asked.last_error END
$$;
COMMENT ON FUNCTION miosa.lasting_error(miosa.capacity) IS 'Why schedulers do not accept the present request; null when they have accepted it since, or were not asked yet';

-- Describe what schedulers were asked for.
CREATE FUNCTION miosa.scheduler_lines(deployment_id text, version_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	asked miosa.capacity;
BEGIN
	SELECT * INTO asked FROM miosa.capacity c
		WHERE c.deployment_id = deployment_id AND c.version_id = version_id AND c.state = 'wanted';
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'scheduler';
	value := CASE WHEN asked.asked_at IS NOT NULL THEN
			format('accepted %s ago', miosa.span(clock_timestamp() - asked.asked_at))
		WHEN NOT miosa.has_scheduler(deployment_id, false) THEN 'no scheduler is enabled for it'
		ELSE format('requested for %s, not accepted yet', miosa.span(clock_timestamp() - asked.since)) END;
	RETURN NEXT;
	IF miosa.lasting_error(asked) IS NOT NULL THEN
		item := '';
		FOR value IN SELECT '  ' || w.line FROM miosa.wrap(miosa.lasting_error(asked), 62, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.scheduler_lines(text, text) IS 'Lines of miosa.status() about requests to schedulers';

-- Compare the time of waiting with cutover_deadline.
CREATE FUNCTION miosa.is_overdue(waiting_since timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN coalesce(miosa.cutover_due(waiting_since) <= clock_timestamp(), false);
COMMENT ON FUNCTION miosa.is_overdue(timestamptz) IS 'Whether a deployment waits for instances longer than miosa_rollback.cutover_deadline';

-- Count the edges of a deployment, as convergence_rows() shows them.
CREATE FUNCTION miosa.count_edges(deployment_id text, OUT counted bigint, OUT done bigint, OUT expired bigint,
	OUT excluded bigint, OUT failing bigint)
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT count(*) FILTER (WHERE c.state <> 'excluded'), count(*) FILTER (WHERE c.done AND c.state <> 'excluded'),
		count(*) FILTER (WHERE c.state = 'expired'), count(*) FILTER (WHERE c.state = 'excluded'),
		count(*) FILTER (WHERE c.state <> 'excluded' AND miosa.endpoint_fails(c.health))
	FROM miosa.convergence_rows($1) c WHERE c.role = 'edge'
$$;
COMMENT ON FUNCTION miosa.count_edges(text) IS 'How many edges receive a deployment, are done, of these by expiry alone, are disabled, and fail';

-- A standby sees what the primary's dispatcher has confirmed.
CREATE FUNCTION miosa.is_delivering() RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN pg_is_in_recovery() OR miosa.dispatcher_words() = 'running';
COMMENT ON FUNCTION miosa.is_delivering() IS 'Whether changes are delivered now';

-- The one place that decides how a deployment is; docs/reference.md lists the
-- codes.  It never says ok unless every edge has confirmed the active version
-- and, where instances are needed, one of them is healthy.
CREATE FUNCTION miosa.verdict_of(d miosa.deployments, counted bigint, done bigint, OUT code text, OUT text text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	version CONSTANT text := coalesce(miosa.version_name(d.id, d.active_version_id), 'none');
	serving CONSTANT text := miosa.version_name(d.id, d.serving_version_id);
	needs_instances CONSTANT boolean := d.desired_replicas > 0 AND EXISTS (SELECT FROM miosa.versions v
		WHERE v.deployment_id = d.id AND v.id = d.active_version_id AND v.kind <> 'static');
	healthy CONSTANT integer := (SELECT i.healthy FROM miosa.count_instances(d.id, d.active_version_id) i);
	waits CONSTANT text := miosa.span(clock_timestamp() - d.waiting_since);
	confirmed CONSTANT text := format('%s of %s edges confirmed %s', done, counted, version);
	convergence text;
BEGIN
	IF d.active_version_id IS NULL THEN
		code := 'not_published';
		text := 'NOT PUBLISHED: no version is active';
	ELSIF d.state IN ('stopped', 'failed') THEN
		code := 'not_serving';
		text := format('NOT SERVING: the deployment is %s', d.state);
	ELSIF d.serving_version_id IS NOT NULL AND healthy = 0 AND miosa.is_overdue(d.waiting_since) THEN
		code := 'overdue';
		text := miosa.clip(format('OVERDUE: %s has no healthy instance for %s, %s is served', version, waits, serving), 64);
	ELSIF d.serving_version_id IS NOT NULL THEN
		code := 'not_switched';
		text := miosa.clip(format('NOT SWITCHED: %s waits for instances%s, %s is served', version,
			coalesce(' for ' || waits, ''), serving), 64);
	ELSIF needs_instances AND healthy = 0 THEN
		code := 'not_serving';
		text := format('NOT SERVING: %s has no healthy instance', version);
	ELSIF counted = 0 THEN
		code := 'unknown';
		text := 'UNKNOWN: no edge receives this deployment';
	ELSIF done < counted THEN
		code := 'not_converged';
		text := 'NOT CONVERGED: ' || confirmed || CASE WHEN miosa.is_delivering() THEN '' ELSE ', not delivering' END;
	ELSE
		convergence := miosa.convergence_state(d.id, NULL);
		IF convergence = 'waiting_instances' THEN
			code := 'waiting';
			text := format('WAITING: %s of %s instances of %s are healthy', healthy, d.desired_replicas, version);
		ELSIF convergence NOT IN ('converged', 'expired') THEN
			code := 'not_converged';
			text := format('NOT CONVERGED: %s', replace(convergence, '_', ' '));
		ELSIF NOT miosa.is_delivering() THEN
			code := 'converged';
			text := format('CONVERGED on %s, but delivery is stopped', version);
		ELSE
			code := 'ok';
			text := format('OK: %s edge%s confirmed %s', done, CASE WHEN done = 1 THEN '' ELSE 's' END, version);
		END IF;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.verdict_of(miosa.deployments, bigint, bigint) IS 'Verdict on a deployment, given how many edges receive it and how many of these are done';

-- The verdict alone, by the names that people use.
CREATE FUNCTION miosa.verdict_rows(deployment text, OUT code text, OUT text text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT j.code, j.text
	FROM miosa.deployments p
	CROSS JOIN LATERAL miosa.count_edges(p.id) e
	CROSS JOIN LATERAL miosa.verdict_of(p, e.counted, e.done) j
	WHERE p.id = miosa.find_deployment($1)
$$;
COMMENT ON FUNCTION miosa.verdict_rows(text) IS 'Row of miosa.verdict()';

-- Enter verdict_rows() from C.
CREATE FUNCTION miosa.verdict(deployment text, OUT code text, OUT text text)
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.verdict(text) IS 'The verdict on a deployment: a code for programs, and the text that miosa.status() shows';

-- Status.

-- Lines of miosa.status() about the active version, the operation that made it
-- active, its actor and reason.
CREATE FUNCTION miosa.active_lines(d miosa.deployments, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
	event miosa.audit_events;
BEGIN
	SELECT * INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = d.id AND a.outcome IN ('changed', 'pending') ORDER BY a.seq DESC LIMIT 1;
	item := 'active';
	value := CASE WHEN d.active_version_id IS NULL THEN 'none' ELSE
		miosa.version_name(d.id, d.active_version_id) || '  ' || miosa.short(d.active_version_id, 30)
		|| coalesce(', since ' || miosa.span(now() - event.created_at), '') END;
	RETURN NEXT;
	IF event.seq IS NOT NULL THEN
		item := 'by';
		value := miosa.short(format('%s #%s, %s %s', CASE event.action WHEN 'deployment.rollback' THEN 'rollback'
			WHEN 'deployment.version.promote' THEN 'promotion' WHEN 'deployment.undo' THEN 'undo' ELSE event.action END,
			event.seq, event.actor_type, miosa.short(event.actor_id, 30)), 64);
		RETURN NEXT;
		IF event.reason IS NOT NULL THEN
			item := 'reason';
			value := miosa.clip(event.reason, 64);
			RETURN NEXT;
		END IF;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.active_lines(miosa.deployments) IS 'Lines of miosa.status() about the active version';

-- Lines of miosa.status() about hosts: three of them, and how many more.
CREATE FUNCTION miosa.host_lines(deployment_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	hosts text[];
BEGIN
	item := 'hosts';
	hosts := ARRAY(SELECT h.host FROM miosa.hosts h WHERE h.deployment_id = deployment_id ORDER BY h.managed, h.host LIMIT 4);
	IF cardinality(hosts) = 0 THEN
		value := 'none';
		RETURN NEXT;
	END IF;
	FOR i IN 1 .. least(cardinality(hosts), 3) LOOP
		value := miosa.short(hosts[i], 64);
		RETURN NEXT;
		item := '';
	END LOOP;
	IF cardinality(hosts) > 3 THEN
		SELECT format('and %s more', count(*) - 3) INTO value FROM miosa.hosts h WHERE h.deployment_id = deployment_id;
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.host_lines(text) IS 'Lines of miosa.status() about hosts';

-- Lines of miosa.status() about edges that have not confirmed: five of them
-- with their errors, and how many more.
CREATE FUNCTION miosa.waiting_lines(deployment_id text, number bigint, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	row record;
BEGIN
	item := 'waiting';
	FOR row IN SELECT * FROM miosa.convergence_rows(deployment_id) c
		WHERE c.role = 'edge' AND NOT c.done AND c.state <> 'excluded' ORDER BY c.stage, c.zone, c.endpoint LIMIT 5
	LOOP
		value := miosa.clip(format('%s (%s): %s', miosa.short(row.endpoint, 24), miosa.short(row.zone, 12), row.state)
			|| coalesce(' for ' || miosa.span(row.age), ''), 64);
		RETURN NEXT;
		item := '';
		FOR value IN SELECT '  ' || w.line FROM miosa.wrap(row.error, 62, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END LOOP;
	IF number > 5 THEN
		value := format('and %s more', number - 5);
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.waiting_lines(text, bigint) IS 'Lines of miosa.status() about the edges that have not confirmed, of which there are so many';

-- Describe a deployment in rows of (item, value), the verdict first.
CREATE FUNCTION miosa.status_rows(deployment text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	active miosa.versions;
	edges record;
	name text;
	dispatcher text := miosa.dispatcher_words();
	delivering boolean := dispatcher = 'running' OR pg_is_in_recovery();
	instances record;
	target text;
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = miosa.find_deployment(deployment);
	name := miosa.call_name(d.id);
	SELECT * INTO active FROM miosa.versions v WHERE v.deployment_id = d.id AND v.id = d.active_version_id;
	SELECT * INTO instances FROM miosa.count_instances(d.id, d.active_version_id);
	SELECT * INTO edges FROM miosa.count_edges(d.id);

	item := 'verdict';
	value := (SELECT j.text FROM miosa.verdict_of(d, edges.counted, edges.done) j);
	RETURN NEXT;

	item := 'deployment';
	value := miosa.short(d.name, 30) || '  ' || miosa.short(d.id, 30);
	RETURN NEXT;
	item := 'state';
	value := d.state;
	RETURN NEXT;
	RETURN QUERY SELECT * FROM miosa.active_lines(d);
	RETURN QUERY SELECT * FROM miosa.held_lines(d.id);
	RETURN QUERY SELECT * FROM miosa.frozen_lines(d);
	item := 'bad';
	FOR value IN SELECT w.line FROM miosa.wrap('it is marked as bad: ' || (miosa.bad_mark(d.id, d.active_version_id) ->> 'reason'), 64, 3) w (line) LOOP
		RETURN NEXT;
		item := '';
	END LOOP;
	IF d.serving_version_id IS NOT NULL THEN
		item := 'serving';
		value := miosa.version_line(d.id, d.serving_version_id, NULL);
		RETURN NEXT;
	END IF;
	IF active.kind <> 'static' THEN
		item := 'instances';
		value := format('%s healthy, %s starting, %s wanted', instances.healthy, instances.starting, d.desired_replicas);
		RETURN NEXT;
		FOR item, value IN SELECT * FROM miosa.scheduler_lines(d.id, d.active_version_id) LOOP
			RETURN NEXT;
		END LOOP;
	END IF;

	item := 'watched';
	FOR value IN SELECT miosa.watch_line(w) FROM miosa.watches w WHERE w.deployment_id = d.id LOOP
		RETURN NEXT;
	END LOOP;

	item := 'schema';
	target := miosa.default_target(d.id);
	SELECT miosa.clip(format('a rollback to %s crosses the marked change of %s', miosa.version_name(d.id, target),
			string_agg(miosa.version_name(d.id, m.id), ', ' ORDER BY m.place)), 64)
		INTO value FROM unnest(miosa.schema_marks(d.id, target)) WITH ORDINALITY m (id, place) HAVING count(*) > 0;
	IF FOUND THEN
		RETURN NEXT;
	END IF;
	IF d.schema_name IS NOT NULL AND (miosa.schema_finding(d.id, target)).result IN ('warning', 'failed') THEN
		value := miosa.clip(format('%s does not fit schema %s', miosa.version_name(d.id, target), d.schema_name), 64);
		RETURN NEXT;
	END IF;

	RETURN QUERY SELECT * FROM miosa.host_lines(d.id);

	item := 'edges';
	value := format('%s of %s confirmed', edges.done, edges.counted)
		|| CASE WHEN edges.expired > 0 THEN format(', %s by expiry alone', edges.expired) ELSE '' END
		|| CASE WHEN edges.excluded > 0 THEN format(', %s disabled', edges.excluded) ELSE '' END;
	RETURN NEXT;
	RETURN QUERY SELECT * FROM miosa.waiting_lines(d.id, edges.counted - edges.done);
	item := 'dispatcher';
	value := miosa.clip(dispatcher, 64);
	RETURN NEXT;

	item := 'next';
	IF NOT delivering THEN
		value := miosa.qualify('SELECT * FROM miosa_doctor();');
		RETURN NEXT;
	ELSIF edges.done < edges.counted THEN
		value := 'TABLE miosa.progress;';
		RETURN NEXT;
	ELSE
		FOR value IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.candidates', name) p (line) LOOP
			RETURN NEXT;
			item := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.status_rows(text) IS 'Rows of miosa.status()';

-- Enter status_rows() from C.
CREATE FUNCTION miosa.status(deployment text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.status(text) IS 'State of a deployment, for people: rows of (item, value)';

-- Deployments that wait for instances for too long, or that serve nothing
-- for as long because the scheduler did not bring any.
--
-- An operation requests the instances that it lacks, so the requests lead to
-- these deployments. Those that wait without one were loaded, and are found by
-- deployments_waiting; requested: leave them out.
CREATE FUNCTION miosa.all_overdue(requested boolean, OUT tenant_id text, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval,
	OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT p.tenant_id, p.id, v.id AS version_id, p.serving_version_id, clock_timestamp() - coalesce(p.waiting_since, w.since),
		p.desired_replicas, 0, i.starting, w.asked_at, w.error
	FROM (SELECT c.deployment_id, c.version_id, c.since, c.asked_at, miosa.lasting_error(c) AS error
			FROM miosa.capacity c WHERE c.state = 'wanted'
		UNION ALL
		SELECT l.id, l.active_version_id, NULL, NULL, NULL FROM miosa.deployments l
			WHERE NOT $1 AND l.waiting_since IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.capacity c
				WHERE c.deployment_id = l.id AND c.version_id = l.active_version_id AND c.state = 'wanted')) w
	JOIN miosa.deployments p ON p.id = w.deployment_id AND p.active_version_id = w.version_id
	JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
	CROSS JOIN LATERAL (SELECT count(*)::integer AS starting FROM miosa.runtime_instances i
		WHERE i.deployment_id = p.id AND i.version_id = v.id AND miosa.is_starting(i.state)) i
	WHERE p.state <> 'stopped' AND p.desired_replicas > 0
		AND miosa.cutover_due(coalesce(p.waiting_since, w.since)) <= (SELECT clock_timestamp())
		-- The horizon of heartbeats is looked for once, and not for each of them.
		AND NOT EXISTS (SELECT FROM miosa.live_instances l WHERE l.deployment_id = p.id AND l.version_id = v.id);
END $$;
COMMENT ON FUNCTION miosa.all_overdue(boolean) IS 'Rows of miosa.overdue of all tenants; requested: only those for which schedulers are asked';

-- Those that the caller may see.
CREATE FUNCTION miosa.overdue_rows(requested boolean, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval,
	OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT o.id, o.version_id, o.serving_version_id, o.waits, o.desired_replicas, o.healthy, o.starting, o.asked_at, o.last_error
		FROM miosa.all_overdue($1) o WHERE miosa.sees_tenant(o.tenant_id);
END $$;
COMMENT ON FUNCTION miosa.overdue_rows(boolean) IS 'Rows of miosa.overdue; requested: only those for which schedulers are asked';

CREATE VIEW miosa.overdue AS SELECT * FROM miosa.overdue_rows(false);
COMMENT ON VIEW miosa.overdue IS 'Deployments whose active version has waited for longer than miosa_rollback.cutover_deadline and still has no healthy instance';
COMMENT ON COLUMN miosa.overdue.id IS 'Deployment';
COMMENT ON COLUMN miosa.overdue.version_id IS 'Active version, which waits';
COMMENT ON COLUMN miosa.overdue.serving_version_id IS 'Version that serves instead; null: none, because routes lead to the active one';
COMMENT ON COLUMN miosa.overdue.waits IS 'How long it has waited';
COMMENT ON COLUMN miosa.overdue.desired_replicas IS 'Instances that are wanted';
COMMENT ON COLUMN miosa.overdue.healthy IS 'Instances that are healthy';
COMMENT ON COLUMN miosa.overdue.starting IS 'Instances that are starting';
COMMENT ON COLUMN miosa.overdue.asked_at IS 'When a scheduler last accepted the request for instances; null: none yet';
COMMENT ON COLUMN miosa.overdue.last_error IS 'Why the last request was not accepted';

-- Progress, for \watch 1: the deployments that changed last, as long as they
-- are young or not done.

-- Whether routes, or the state, wait for instances.
CREATE FUNCTION miosa.waits_for_instances(serving_version_id text, state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN serving_version_id IS NOT NULL OR state = 'pending';
COMMENT ON FUNCTION miosa.waits_for_instances(text, text) IS 'Whether a deployment waits for instances of its active version';

-- Describe the instances of a deployment that waits for them.
--
-- In PL/pgSQL, which keeps the plan for the next deployment of miosa.progress.
CREATE FUNCTION miosa.instances_progress(deployment_id text, OUT age text, OUT bar text, OUT error text)
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
BEGIN
	SELECT coalesce(miosa.span(clock_timestamp() - coalesce(p.waiting_since, c.since)), ''),
			miosa.bar(least(i.healthy, p.desired_replicas), p.desired_replicas),
			coalesce(miosa.clip(miosa.lasting_error(c), 13), '')
		INTO age, bar, error
		FROM miosa.deployments p
		JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
		CROSS JOIN LATERAL miosa.count_instances(p.id, v.id) i
		LEFT JOIN miosa.capacity c ON c.deployment_id = p.id AND c.version_id = v.id AND c.state = 'wanted'
		WHERE p.id = $1 AND p.desired_replicas > 0 AND p.state <> 'stopped'
			AND miosa.waits_for_instances(p.serving_version_id, p.state);
END $$;
COMMENT ON FUNCTION miosa.instances_progress(text) IS 'Line of miosa.progress about instances while a deployment waits for them; null when it does not';

-- What an endpoint has of the log is written now and then, so that a change
-- can count as under way for half a second longer than it is.
CREATE FUNCTION miosa.changed_lately(OUT id text, OUT seq bigint, OUT at timestamptz, OUT waits boolean, OUT number bigint, OUT cut boolean)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH entries AS MATERIALIZED (
		(SELECT g.deployment_id, g.created_at, g.epoch FROM miosa.route_log g
			WHERE g.kind IN ('route', 'host_removed') ORDER BY g.epoch DESC LIMIT 1000)
		UNION ALL
		(SELECT o.deployment_id, o.created_at, NULL FROM miosa.outbox o
			WHERE o.kind IN ('route', 'host_removed') ORDER BY o.xid LIMIT 1000)
	), changed AS (
		SELECT p.id, p.seq, l.at, l.epoch, miosa.waits_for_instances(p.serving_version_id, p.state) AS waits
		FROM (SELECT e.deployment_id, max(e.created_at) AS at, CASE WHEN bool_and(e.epoch IS NOT NULL) THEN max(e.epoch) END AS epoch
			FROM entries e GROUP BY e.deployment_id) l
		JOIN miosa.deployments p ON p.id = l.deployment_id AND miosa.sees_tenant(p.tenant_id)
	), behind AS (
		SELECT min(CASE WHEN s.resync_after IS NULL THEN coalesce(s.acked_epoch, 0) ELSE 0 END) AS epoch
		FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'
		LEFT JOIN miosa.endpoint_state s ON s.endpoint = e.name
		WHERE e.enabled
	)
	SELECT c.id, c.seq, c.at, c.waits, count(*) OVER (), (SELECT count(*) FROM entries) >= 1000
	FROM changed c CROSS JOIN behind b
	WHERE c.at >= now() - '10 min'::interval OR c.epoch IS NULL OR c.epoch > b.epoch OR c.waits
		OR EXISTS (SELECT FROM miosa.delivery_failures f WHERE f.deployment_id = c.id)
	ORDER BY c.at DESC, c.id LIMIT 20;
END $$;
COMMENT ON FUNCTION miosa.changed_lately() IS 'The last 20 deployments that changed within 10 minutes or may not have converged, whether each waits for instances, the number of all of these, and whether the log was read only in part';

-- Count the edges of a deployment, also by zone where zones differ.  Where all
-- have confirmed none does, and nothing else is looked for.
CREATE FUNCTION miosa.zones_progress(deployment_id text, OUT zone text, OUT whole boolean, OUT done bigint, OUT total bigint,
	OUT slowest text, OUT error text, OUT finished boolean)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
BEGIN
	SELECT true, count(*) FILTER (WHERE c.done), count(*) INTO whole, done, total
		FROM miosa.convergence_rows($1) c WHERE c.role = 'edge' AND c.state <> 'excluded';
	finished := zones_progress.done = zones_progress.total;
	IF finished THEN
		RETURN NEXT;
		RETURN;
	END IF;
	RETURN QUERY
		WITH counted AS (
			SELECT * FROM miosa.convergence_rows($1) c WHERE c.role = 'edge' AND c.state <> 'excluded'
		), summed AS (
			SELECT t.zone, grouping(t.zone) = 1 AS whole, count(*) FILTER (WHERE t.done) AS done, count(*) AS total,
				(array_agg(t.endpoint ORDER BY t.age DESC NULLS LAST, t.endpoint) FILTER (WHERE NOT t.done))[1] AS slowest,
				(array_agg(t.error ORDER BY t.age DESC NULLS LAST, t.endpoint)
					FILTER (WHERE NOT t.done AND t.error IS NOT NULL))[1] AS error
			FROM counted t GROUP BY ROLLUP (t.zone)
		)
		SELECT s.*, w.done = w.total
		FROM summed s JOIN summed w ON w.whole
		-- Zones have lines of their own when not all are equally far.
		WHERE s.whole OR EXISTS (SELECT FROM summed o WHERE NOT o.whole AND o.done * s.total <> s.done * o.total)
		ORDER BY s.whole DESC, s.total - s.done DESC, s.zone;
END $$;
COMMENT ON FUNCTION miosa.zones_progress(text) IS 'Edges of a deployment that confirmed its route, and how many receive it: the whole first, then each zone if zones differ; the edge that has lacked it longest, and its error';

-- List the deployments of changed_lately() with their edges, by zone where
-- zones differ.
CREATE FUNCTION miosa.progress_rows(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	changed record;
	zone record;
	instances_age text;
	instances_bar text;
	instances_error text;
BEGIN
	FOR changed IN SELECT * FROM miosa.changed_lately()
	LOOP
		instances_bar := NULL;
		IF changed.waits THEN
			SELECT i.age, i.bar, i.error INTO instances_age, instances_bar, instances_error FROM miosa.instances_progress(changed.id) i;
		END IF;
		FOR zone IN SELECT * FROM miosa.zones_progress(changed.id)
		LOOP
			EXIT WHEN zone.finished AND changed.at < now() - '10 min'::interval AND instances_bar IS NULL;
			operation := CASE WHEN zone.whole
				THEN miosa.short(miosa.call_name(changed.id), 15 - length(changed.seq::text)) || '#' || changed.seq
				ELSE miosa.short('  ' || zone.zone, 16) END;
			age := CASE WHEN zone.whole THEN miosa.span(clock_timestamp() - changed.at) ELSE '' END;
			edges := coalesce(miosa.bar(zone.done, zone.total),
				(SELECT split_part(j.text, ':', 1) FROM miosa.deployments p CROSS JOIN LATERAL miosa.verdict_of(p, 0, 0) j
				WHERE p.id = changed.id));
			slowest := coalesce(miosa.short(zone.slowest, 12), '');
			last_error := coalesce(miosa.clip(zone.error, 13), '');
			RETURN NEXT;
			IF zone.whole AND instances_bar IS NOT NULL THEN
				operation := '  instances';
				age := instances_age;
				edges := instances_bar;
				slowest := '';
				last_error := instances_error;
				RETURN NEXT;
			END IF;
		END LOOP;
	END LOOP;
	IF changed.number > 20 THEN
		operation := format('and %s%s more', CASE WHEN changed.cut THEN 'over ' ELSE '' END, changed.number - 20);
		age := '';
		edges := '';
		slowest := '';
		last_error := '';
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.progress_rows() IS 'Rows of miosa.progress';

CREATE VIEW miosa.progress AS SELECT * FROM miosa.progress_rows();
COMMENT ON VIEW miosa.progress IS E'Progress of the newest route changes, for \\watch 1: deployments that changed in the last 10 minutes or have not converged';
COMMENT ON COLUMN miosa.progress.operation IS 'Deployment and newest operation; below it instances, or a zone';
COMMENT ON COLUMN miosa.progress.age IS 'Time since the change; for instances: since the deployment waits for them';
COMMENT ON COLUMN miosa.progress.edges IS 'Edges that confirmed it, of those that receive it, or the verdict when there is none; instances that are healthy, of those that are wanted';
COMMENT ON COLUMN miosa.progress.slowest IS 'Edge that has lacked it longest';
COMMENT ON COLUMN miosa.progress.last_error IS 'Last error of that edge, shortened; miosa.status() has it in full';
