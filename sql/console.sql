-- The console: what people type in psql, and what they see.
--
-- Everything fits into 80 columns: rows of (item, value) with values of at
-- most 64 characters, and calls to paste that are split where SQL allows it.
-- A deployment is named by its id, a host, or a slug that only one tenant
-- uses; a version by its id or its number as v12.

-- People look deployments up by slug alone; a rollback does not change it.
CREATE INDEX deployments_slug ON miosa.deployments (slug);

CREATE FUNCTION miosa.short(value text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT CASE WHEN length(t) <= $2 THEN t ELSE left(t, $2 - 2 - ($2 - 2) / 3) || '..' || right(t, ($2 - 2) / 3) END
	FROM regexp_replace($1, '[[:cntrl:]]+', ' ', 'g') t
$$;
COMMENT ON FUNCTION miosa.short(text, integer) IS 'The text on one line of at most so many characters, its middle left out: ids differ at their ends';

CREATE FUNCTION miosa.clip(value text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT CASE WHEN length(t) <= $2 THEN t ELSE left(t, $2 - 2) || '..' END
	FROM regexp_replace($1, '[[:cntrl:]]+', ' ', 'g') t
$$;
COMMENT ON FUNCTION miosa.clip(text, integer) IS 'The text on one line of at most so many characters, its end left out: for what people wrote and for error messages';

CREATE FUNCTION miosa.wrap(value text, width integer, most integer) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
	rest text := regexp_replace(value, '[[:cntrl:]]+', ' ', 'g');
	line text;
BEGIN
	FOR i IN 1 .. most - 1 LOOP
		EXIT WHEN length(rest) <= width;
		-- At the last space that fits; in the middle of a word if there is none.
		line := coalesce(substring(left(rest, width + 1) FROM '^(.*[^ ]) '), left(rest, width));
		RETURN NEXT line;
		rest := ltrim(substr(rest, length(line) + 1));
	END LOOP;
	IF rest <> '' THEN
		RETURN NEXT miosa.clip(rest, width);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.wrap(text, integer, integer) IS 'The text on lines of at most so many characters, at most so many lines';

CREATE FUNCTION miosa.span(value interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT CASE
		WHEN s < 1 THEN '<1 s'
		WHEN s < 60 THEN s::integer || ' s'
		WHEN s < 3600 THEN trunc(s / 60)::integer || ' min'
		WHEN s < 86400 THEN trunc(s / 3600)::integer || ' h'
			|| CASE WHEN trunc(mod(s, 3600) / 60) > 0 THEN ' ' || trunc(mod(s, 3600) / 60)::integer || ' min' ELSE '' END
		ELSE trunc(s / 86400)::integer || ' d'
			|| CASE WHEN trunc(mod(s, 86400) / 3600) > 0 THEN ' ' || trunc(mod(s, 86400) / 3600)::integer || ' h' ELSE '' END
		END
	FROM (SELECT trunc(extract(epoch FROM $1)) AS s) e
$$;
COMMENT ON FUNCTION miosa.span(interval) IS 'A duration in two units at most: 45 s, 12 min, 2 h 5 min, 3 d 4 h';

CREATE FUNCTION miosa.rough_span(value interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substring(miosa.span(value) FROM '^\S+ \S+');
COMMENT ON FUNCTION miosa.rough_span(interval) IS 'A duration in one unit, for narrow columns: 45 s, 12 min, 2 h, 3 d';

-- A call can be pasted even when a name in it is longer than a line: SQL joins
-- string literals that stand on lines of their own.
CREATE FUNCTION miosa.paste(call text, VARIADIC arguments text[]) RETURNS SETOF text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	width CONSTANT integer := 64;
	whole text;
	line text := call || '(';
	argument text;
	piece text;
	n integer := 0;
BEGIN
	SELECT call || '(' || string_agg(quote_literal(a.value), ', ' ORDER BY a.place) || ');' INTO whole
		FROM unnest(arguments) WITH ORDINALITY a (value, place);
	IF length(whole) <= width THEN
		RETURN NEXT whole;
		RETURN;
	END IF;
	RETURN NEXT line;
	FOREACH argument IN ARRAY arguments LOOP
		n := n + 1;
		LOOP
			piece := left(argument, width - 8);
			argument := substr(argument, width - 7);
			EXIT WHEN argument = '';
			RETURN NEXT quote_literal(piece);
		END LOOP;
		RETURN NEXT quote_literal(piece) || CASE WHEN n = cardinality(arguments) THEN ');' ELSE ',' END;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.paste(text, text[]) IS 'Lines of at most 64 characters that make up a call of a function with these text arguments';

-- Raises INVALID_ARGUMENT (also for a slug that two tenants use, with the
-- ids), DEPLOYMENT_NOT_FOUND.
CREATE FUNCTION miosa.find_deployment(name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	host text := miosa.clean_host(name);
	found_id text;
	ids text[];
BEGIN
	IF name IS NULL OR name = '' OR length(name) > 255 OR name ~ '[[:cntrl:]]' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid name of a deployment',
			CASE WHEN name IS NULL THEN 'It is null.' WHEN name = '' THEN 'It is empty.'
				WHEN length(name) > 255 THEN 'It is longer than 255 characters.'
				ELSE 'It has control characters.' END,
			'Name it by id, host or slug.');
	END IF;
	SELECT p.id INTO found_id FROM miosa.deployments p WHERE p.id = name;
	found_id := coalesce(found_id, (miosa.domain_of_host(host)).deployment_id, miosa.managed_deployment(host));
	IF found_id IS NOT NULL THEN
		RETURN found_id;
	END IF;
	ids := ARRAY(SELECT p.id FROM miosa.deployments p WHERE p.slug = name ORDER BY p.id LIMIT 6);
	IF cardinality(ids) = 0 THEN
		PERFORM miosa.no_deployment(name);
	ELSIF cardinality(ids) > 1 THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is not unique', name),
			format('Deployments of that slug: %s%s.', array_to_string(ids[1:5], ', '),
				CASE WHEN cardinality(ids) > 5 THEN ', ...' ELSE '' END),
			'Name it by one of these ids, or by a host.');
	END IF;
	RETURN ids[1];
END $$;
COMMENT ON FUNCTION miosa.find_deployment(text) IS 'Id of the deployment of this id, host or slug';

-- Raises INVALID_ARGUMENT, VERSION_NOT_FOUND.
CREATE FUNCTION miosa.find_version(deployment_id text, name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	found_id text;
BEGIN
	IF name IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT v.id INTO found_id FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = name;
	IF NOT FOUND AND name ~ '^[vV][0-9]{1,9}$' THEN
		SELECT v.id INTO found_id FROM miosa.versions v
			WHERE v.deployment_id = deployment_id AND v.version_number = substr(name, 2)::integer;
	END IF;
	IF found_id IS NULL THEN
		PERFORM miosa.check_id(name, 'version id');
		PERFORM miosa.no_version(deployment_id, name);
	END IF;
	RETURN found_id;
END $$;
COMMENT ON FUNCTION miosa.find_version(text, text) IS 'Id of the version of this id or number (v12); null for null';

-- The shorter of id and slug, for people and for calls to paste.
CREATE FUNCTION miosa.call_name(deployment_id text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN length(p.slug) < length(p.id) AND miosa.managed_deployment(p.slug) IS NULL
			AND NOT EXISTS (SELECT FROM miosa.deployments o WHERE o.slug = p.slug AND o.id <> p.id)
			AND NOT EXISTS (SELECT FROM miosa.deployments o WHERE o.id = p.slug)
			AND (miosa.domain_of_host(p.slug)).fqdn IS NULL
		THEN p.slug ELSE p.id END
	FROM miosa.deployments p WHERE p.id = $1
$$;
COMMENT ON FUNCTION miosa.call_name(text) IS 'The shortest name by which the console functions find a deployment: its slug if nothing else is called so, else its id';

CREATE FUNCTION miosa.version_name(deployment_id text, version_id text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
	SELECT coalesce((SELECT 'v' || v.version_number FROM miosa.versions v
		WHERE v.deployment_id = $1 AND v.id = $2), miosa.short($2, 20))
$$;
COMMENT ON FUNCTION miosa.version_name(text, text) IS 'A version as people write it, v12; its id when it is not there any more';

-- When versions were active, by the audit events.  Old events are not needed
-- to roll back; without any, the time of the promotion is all that is known.
CREATE FUNCTION miosa.served_by_events(deployment_id text, before_seq bigint, OUT version_id text, OUT began timestamptz, OUT ended timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT e.target_version_id, e.created_at, lead(e.created_at) OVER (ORDER BY e.seq)
	FROM (SELECT a.target_version_id, a.created_at, a.seq FROM miosa.audit_events a
		WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending') AND ($2 IS NULL OR a.seq < $2)
		ORDER BY a.seq DESC LIMIT 500) e
	UNION ALL
	-- What the oldest event found active.
	SELECT e.previous_version_id, v.promoted_at, e.created_at
	FROM (SELECT a.* FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1) e
	JOIN miosa.versions v ON v.deployment_id = $1 AND v.id = e.previous_version_id
$$;
COMMENT ON FUNCTION miosa.served_by_events(text, bigint) IS 'When versions were active by the newest 500 events: from and until (null: still); before_seq: as it was before that operation, null for now';

CREATE FUNCTION miosa.has_events(deployment_id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT (SELECT a.seq FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1) IS NOT NULL
$$;
COMMENT ON FUNCTION miosa.has_events(text) IS 'Whether a deployment has audit events';

CREATE FUNCTION miosa.served(deployment_id text, before_seq bigint, OUT version_id text, OUT began timestamptz, OUT ended timestamptz)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT DISTINCT ON (s.version_id) s.version_id, s.began, s.ended
	FROM (SELECT e.version_id, e.began, e.ended FROM miosa.served_by_events($1, $2) e
		UNION ALL
		SELECT v.id, v.promoted_at, NULL FROM miosa.versions v
			WHERE v.deployment_id = $1 AND v.promoted_at IS NOT NULL AND NOT miosa.has_events($1)) s
	WHERE s.version_id IS NOT NULL
	ORDER BY s.version_id, s.ended DESC NULLS FIRST, s.began DESC
$$;
COMMENT ON FUNCTION miosa.served(text, bigint) IS 'When each version was last active: from and until (null: still, or not known); before_seq: as it was before that operation, null for now';

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
COMMENT ON FUNCTION miosa.dispatcher_words() IS 'State of the dispatcher in words; running, or what keeps it from telling edges';

CREATE FUNCTION miosa.call_rollback(deployment_id text, version_id text, idempotency_key text, reason text,
	expected_active text, cutover text, accept_unverified boolean, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_rollback';
COMMENT ON FUNCTION miosa.call_rollback(text, text, text, text, text, text, boolean, text) IS 'What miosa_rollback does, for people who know the deployment by this name: hints name it so';

CREATE FUNCTION miosa.call_promote(deployment_id text, version_id text, idempotency_key text, reason text,
	expected_active text, cutover text, accept_unverified boolean, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_promote';
COMMENT ON FUNCTION miosa.call_promote(text, text, text, text, text, text, boolean, text) IS 'What miosa_promote does, for people who know the deployment by this name: hints name it so';

-- The extension's own schema may be one where others can make functions too,
-- and a call that is resolved when it runs could find an overload of theirs,
-- which would run with our owner's rights.  The call in this body is resolved
-- once, when the extension is made.

CREATE FUNCTION miosa.call_plan(deployment_id text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_plan($1, NULL::text);
COMMENT ON FUNCTION miosa.call_plan(text) IS 'Calls miosa_plan, whatever else is called so';

-- Rolling back and promoting.  People call functions in C, which call those
-- with _rows behind their names (src/api/console_api.c).

CREATE FUNCTION miosa.operate(promotion boolean, deployment text, version text, reason text, idempotency_key text,
	expected_active text, cutover text, accept_unverified boolean, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	id text := miosa.find_deployment(deployment);
	name text := miosa.call_name(id);
	target text := miosa.find_version(id, version);
	expected text := miosa.find_version(id, expected_active);
	response jsonb;
	operation jsonb;
	seq bigint;
	data jsonb;
	skipped jsonb;
	edges record;
	dispatcher text;
	line text;
BEGIN
	response := CASE WHEN promotion
		THEN miosa.call_promote(id, target, idempotency_key, reason, expected, cutover, accept_unverified, name)
		ELSE miosa.call_rollback(id, target, idempotency_key, reason, expected, cutover, accept_unverified, name) END;
	operation := response -> 'operation';
	seq := split_part(operation ->> 'id', '#', 2);
	data := response -> 'data';

	item := 'result';
	value := format('%s (#%s)', operation ->> 'outcome', seq)
		|| CASE operation ->> 'outcome'
			WHEN 'unchanged' THEN ': it was active; edges are told again'
			WHEN 'pending' THEN ': waits for healthy instances'
			ELSE '' END
		|| coalesce(', REPLAYED: superseded by #' || split_part(operation ->> 'superseded_by', '#', 2), '');
	RETURN NEXT;

	IF operation ->> 'previous_version_id' <> operation ->> 'target_version_id' THEN
		item := 'from';
		value := miosa.version_line(id, operation ->> 'previous_version_id', seq);
		RETURN NEXT;
	END IF;
	item := 'to';
	value := miosa.version_line(id, operation ->> 'target_version_id', seq);
	RETURN NEXT;

	item := 'skipped';
	FOR skipped IN SELECT s.value FROM jsonb_array_elements(operation -> 'skipped') s LOOP
		value := miosa.clip(format('v%s: %s', skipped ->> 'version_number', skipped ->> 'why'), 64);
		RETURN NEXT;
	END LOOP;

	IF data ->> 'serving_version_id' IS NOT NULL THEN
		item := 'serving';
		value := miosa.version_name(id, data ->> 'serving_version_id') || ' until enough instances are healthy';
		RETURN NEXT;
	END IF;

	SELECT count(*) FILTER (WHERE c.state <> 'excluded') AS told,
			count(*) FILTER (WHERE c.state = 'excluded') AS excluded,
			count(*) FILTER (WHERE c.state <> 'excluded' AND c.health IN ('backing off', 'misconfigured', 'gone', 'unverified')) AS failing
		INTO edges
		FROM miosa.convergence_rows(id) c WHERE c.role = 'edge';
	item := 'edges';
	dispatcher := miosa.dispatcher_words();
	value := CASE WHEN edges.told = 0 THEN 'none is told'
			WHEN dispatcher = 'running' THEN format('%s will be told', edges.told)
			ELSE format('%s to be told', edges.told) END
		|| CASE WHEN edges.failing > 0 THEN format(', %s of them failing', edges.failing) ELSE '' END
		|| CASE WHEN edges.excluded > 0 THEN format(', %s disabled', edges.excluded) ELSE '' END;
	RETURN NEXT;
	IF dispatcher <> 'running' AND edges.told > 0 THEN
		item := 'NOT TOLD';
		value := miosa.clip('dispatcher ' || dispatcher, 64);
		RETURN NEXT;
	END IF;

	item := 'next';
	FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.status', name) p (line) LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
	IF operation ->> 'outcome' IN ('changed', 'pending') AND operation ->> 'previous_version_id' IS NOT NULL
		AND operation ->> 'superseded_by' IS NULL THEN
		item := 'undo';
		FOR line IN SELECT p.line FROM miosa.paste(
				CASE WHEN promotion THEN 'SELECT * FROM miosa.rollback' ELSE 'SELECT * FROM miosa.promote' END,
				name, miosa.version_name(id, operation ->> 'previous_version_id')) p (line) LOOP
			value := line;
			RETURN NEXT;
			item := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.operate(boolean, text, text, text, text, text, text, boolean) IS 'What miosa.rollback and miosa.promote have in common';

CREATE FUNCTION miosa.version_line(deployment_id text, version_id text, before_seq bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT t.name || '  ' || miosa.short($2, least(30, 62 - length(t.name) - length(t.past))) || t.past
	FROM (SELECT miosa.version_name($1, $2) AS name, coalesce(CASE
			WHEN s.ended IS NOT NULL AND s.ended < now() - '1 s'::interval THEN
				', served ' || miosa.span(s.ended - s.began) || ' until ' || miosa.span(now() - s.ended) || ' ago'
			WHEN s.began < now() - '1 s'::interval THEN ', served ' || miosa.span(coalesce(s.ended, now()) - s.began)
		END, '') AS past
		FROM (SELECT) one LEFT JOIN miosa.served($1, $3) s ON s.version_id = $2) t
$$;
COMMENT ON FUNCTION miosa.version_line(text, text, bigint) IS 'A version for people: number, id, how long it served and until when, before the operation of that number (null: now)';

CREATE FUNCTION miosa.rollback_rows(deployment text, version text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM miosa.operate(false, $1, $2, $3, $4, $5, $6, $7)
$$;
COMMENT ON FUNCTION miosa.rollback_rows(text, text, text, text, text, text, boolean) IS 'Rows of miosa.rollback()';

CREATE FUNCTION miosa.rollback(deployment text, version text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_console';
COMMENT ON FUNCTION miosa.rollback(text, text, text, text, text, text, boolean) IS 'Roll a deployment back, for people: rows of (item, value); without a version to the one before';

CREATE FUNCTION miosa.promote_rows(deployment text, version text, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM miosa.operate(true, $1, $2, $3, $4, $5, $6, $7)
$$;
COMMENT ON FUNCTION miosa.promote_rows(text, text, text, text, text, text, boolean) IS 'Rows of miosa.promote()';

CREATE FUNCTION miosa.promote(deployment text, version text, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_console';
COMMENT ON FUNCTION miosa.promote(text, text, text, text, text, text, boolean) IS 'Make a version active, for people: rows of (item, value)';

CREATE FUNCTION miosa.count_instances(deployment_id text, version_id text, OUT healthy integer, OUT starting integer)
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT (SELECT count(*)::integer FROM miosa.live_instances i WHERE i.deployment_id = $1 AND i.version_id = $2),
		(SELECT count(*)::integer FROM miosa.runtime_instances i WHERE i.deployment_id = $1 AND i.version_id = $2
			AND i.state IN ('pending', 'provisioning', 'starting'))
$$;
COMMENT ON FUNCTION miosa.count_instances(text, text) IS 'How many instances of a version serve, and how many are not yet so far';

CREATE FUNCTION miosa.lasting_error(asked miosa.capacity) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN asked.last_error_at > coalesce(asked.asked_at, '-infinity') AND asked.last_error_at >= asked.since
	THEN asked.last_error END;
COMMENT ON FUNCTION miosa.lasting_error(miosa.capacity) IS 'Why schedulers do not take what is wanted now; null when they took it since, or were not asked yet';

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
			format('took it %s ago', miosa.span(clock_timestamp() - asked.asked_at))
		WHEN NOT miosa.has_scheduler(deployment_id, false) THEN 'none is asked: no scheduler of it is enabled'
		ELSE format('asked for %s, none took it yet', miosa.span(clock_timestamp() - asked.since)) END;
	RETURN NEXT;
	IF miosa.lasting_error(asked) IS NOT NULL THEN
		item := '';
		FOR value IN SELECT '  ' || w.line FROM miosa.wrap(miosa.lasting_error(asked), 62, 3) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.scheduler_lines(text, text) IS 'Lines of miosa.status() about what schedulers are asked for';

CREATE FUNCTION miosa.is_overdue(d miosa.deployments) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN coalesce(d.waiting_since + miosa.setting('cutover_deadline')::interval < clock_timestamp(), false);
COMMENT ON FUNCTION miosa.is_overdue(miosa.deployments) IS 'Whether a deployment waits for instances longer than miosa_rollback.cutover_deadline';

-- Status.  It never says OK unless every edge has confirmed what shall serve
-- and, where instances are needed, one of them is healthy.

CREATE FUNCTION miosa.status_rows(deployment text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	active miosa.versions;
	event miosa.audit_events;
	edges record;
	row record;
	name text;
	version text;
	dispatcher text := miosa.dispatcher_words();
	-- A standby sees what the primary's dispatcher has confirmed.
	telling boolean := dispatcher = 'running' OR pg_is_in_recovery();
	convergence text;
	instances record;
	target text;
	hosts text[];
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = miosa.find_deployment(deployment);
	name := miosa.call_name(d.id);
	version := coalesce(miosa.version_name(d.id, d.active_version_id), 'none');
	SELECT * INTO active FROM miosa.versions v WHERE v.deployment_id = d.id AND v.id = d.active_version_id;
	SELECT * INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = d.id AND a.outcome IN ('changed', 'pending') ORDER BY a.seq DESC LIMIT 1;
	SELECT * INTO instances FROM miosa.count_instances(d.id, d.active_version_id);
	SELECT count(*) FILTER (WHERE c.state <> 'excluded') AS told,
			count(*) FILTER (WHERE c.done AND c.state <> 'excluded') AS done,
			count(*) FILTER (WHERE c.state = 'expired') AS expired,
			count(*) FILTER (WHERE c.state = 'excluded') AS excluded
		INTO edges
		FROM miosa.convergence_rows(d.id) c WHERE c.role = 'edge';
	convergence := miosa.convergence_state(d.id, NULL);

	item := 'verdict';
	value := CASE
		WHEN d.active_version_id IS NULL THEN 'NOT PUBLISHED: no version is active'
		WHEN d.state IN ('stopped', 'failed') THEN format('NOT SERVING: the deployment is %s', d.state)
		WHEN d.serving_version_id IS NOT NULL AND instances.healthy = 0 AND miosa.is_overdue(d) THEN
			miosa.clip(format('OVERDUE: %s has no healthy instance for %s, %s is served', version,
				miosa.span(clock_timestamp() - d.waiting_since), miosa.version_name(d.id, d.serving_version_id)), 64)
		WHEN d.serving_version_id IS NOT NULL THEN
			miosa.clip(format('NOT SWITCHED: %s waits for instances%s, %s is served', version,
				coalesce(' for ' || miosa.span(clock_timestamp() - d.waiting_since), ''),
				miosa.version_name(d.id, d.serving_version_id)), 64)
		WHEN active.kind <> 'static' AND instances.healthy = 0 AND d.desired_replicas > 0 THEN
			format('NOT SERVING: %s has no healthy instance', version)
		WHEN edges.told = 0 THEN 'UNKNOWN: no edge is told of this deployment'
		WHEN edges.done < edges.told AND NOT telling THEN
			format('NOT CONVERGED: %s of %s edges confirmed %s, nobody tells', edges.done, edges.told, version)
		WHEN edges.done < edges.told THEN
			format('NOT CONVERGED: %s of %s edges confirmed %s', edges.done, edges.told, version)
		WHEN convergence = 'waiting_instances' THEN
			format('WAITING: %s of %s instances of %s are healthy', instances.healthy, d.desired_replicas, version)
		WHEN convergence NOT IN ('converged', 'expired') THEN
			format('NOT CONVERGED: %s', replace(convergence, '_', ' '))
		WHEN NOT telling THEN
			format('CONVERGED on %s, but changes are not told now', version)
		ELSE format('OK: %s edge%s confirmed %s', edges.done, CASE WHEN edges.done = 1 THEN '' ELSE 's' END, version)
	END;
	RETURN NEXT;

	item := 'deployment';
	value := miosa.short(d.name, 30) || '  ' || miosa.short(d.id, 30);
	RETURN NEXT;
	item := 'state';
	value := d.state;
	RETURN NEXT;
	item := 'active';
	value := CASE WHEN d.active_version_id IS NULL THEN 'none' ELSE
		version || '  ' || miosa.short(d.active_version_id, 30)
		|| coalesce(', since ' || miosa.span(now() - event.created_at), '') END;
	RETURN NEXT;
	IF event.seq IS NOT NULL THEN
		item := 'by';
		value := miosa.short(format('%s #%s, %s %s', CASE event.action WHEN 'deployment.rollback' THEN 'rollback'
			WHEN 'deployment.version.promote' THEN 'promotion' ELSE event.action END,
			event.seq, event.actor_type, miosa.short(event.actor_id, 30)), 64);
		RETURN NEXT;
		IF event.reason IS NOT NULL THEN
			item := 'reason';
			value := miosa.clip(event.reason, 64);
			RETURN NEXT;
		END IF;
	END IF;
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

	item := 'schema';
	target := miosa.default_target(d.id);
	SELECT miosa.clip(format('a rollback to %s meets the marked change of %s', miosa.version_name(d.id, target),
			string_agg(miosa.version_name(d.id, m.id), ', ' ORDER BY m.place)), 64)
		INTO value FROM unnest(miosa.schema_marks(d.id, target)) WITH ORDINALITY m (id, place) HAVING count(*) > 0;
	IF FOUND THEN
		RETURN NEXT;
	END IF;

	item := 'hosts';
	hosts := ARRAY(SELECT h.host FROM miosa.hosts h WHERE h.deployment_id = d.id ORDER BY h.managed, h.host LIMIT 4);
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
		SELECT format('and %s more', count(*) - 3) INTO value FROM miosa.hosts h WHERE h.deployment_id = d.id;
		RETURN NEXT;
	END IF;

	item := 'edges';
	value := format('%s of %s confirmed', edges.done, edges.told)
		|| CASE WHEN edges.expired > 0 THEN format(', %s by expiry alone', edges.expired) ELSE '' END
		|| CASE WHEN edges.excluded > 0 THEN format(', %s disabled', edges.excluded) ELSE '' END;
	RETURN NEXT;
	item := 'waiting';
	FOR row IN SELECT * FROM miosa.convergence_rows(d.id) c
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
	IF edges.told - edges.done > 5 THEN
		value := format('and %s more', edges.told - edges.done - 5);
		RETURN NEXT;
	END IF;
	item := 'dispatcher';
	value := miosa.clip(dispatcher, 64);
	RETURN NEXT;

	item := 'next';
	IF NOT telling THEN
		value := miosa.qualify('SELECT * FROM miosa_doctor();');
		RETURN NEXT;
	ELSIF edges.done < edges.told THEN
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

CREATE FUNCTION miosa.status(deployment text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_console';
COMMENT ON FUNCTION miosa.status(text) IS 'How a deployment is, for people: rows of (item, value)';

-- Deployments that wait for instances for too long, or that serve nothing
-- for as long because the scheduler did not bring any.
CREATE FUNCTION miosa.overdue_rows(OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval,
	OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT p.id, v.id AS version_id, p.serving_version_id, clock_timestamp() - coalesce(p.waiting_since, c.since),
		p.desired_replicas, i.healthy, i.starting, c.asked_at, miosa.lasting_error(c)
	FROM miosa.deployments p
	JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
	LEFT JOIN miosa.capacity c ON c.deployment_id = p.id AND c.version_id = v.id AND c.state = 'wanted'
	CROSS JOIN LATERAL miosa.count_instances(p.id, v.id) i
	WHERE p.state <> 'stopped' AND p.desired_replicas > 0 AND i.healthy = 0
		AND coalesce(p.waiting_since, c.since) < (SELECT clock_timestamp() - miosa.setting('cutover_deadline')::interval)
$$;
COMMENT ON FUNCTION miosa.overdue_rows() IS 'Rows of miosa.overdue';

CREATE VIEW miosa.overdue AS SELECT * FROM miosa.overdue_rows();
COMMENT ON VIEW miosa.overdue IS 'Deployments whose active version has waited for longer than miosa_rollback.cutover_deadline and still has no healthy instance';
COMMENT ON COLUMN miosa.overdue.id IS 'Deployment';
COMMENT ON COLUMN miosa.overdue.version_id IS 'Active version, which waits';
COMMENT ON COLUMN miosa.overdue.serving_version_id IS 'Version that serves instead; null: the active one, so nothing does';
COMMENT ON COLUMN miosa.overdue.waits IS 'How long it has waited';
COMMENT ON COLUMN miosa.overdue.desired_replicas IS 'Instances that are wanted';
COMMENT ON COLUMN miosa.overdue.healthy IS 'Instances that are healthy';
COMMENT ON COLUMN miosa.overdue.starting IS 'Instances that are starting';
COMMENT ON COLUMN miosa.overdue.asked_at IS 'When a scheduler last took the request for instances; null: none yet';
COMMENT ON COLUMN miosa.overdue.last_error IS 'Why the last request was not taken';

-- Where one can go back to.  The planner takes each deployment for one of the
-- usual size; without bitmaps it reads the newest versions and events of a
-- large one by index, and not all of them.

CREATE FUNCTION miosa.candidates_rows(deployment text, OUT version text, OUT last_served text, OUT served text,
	OUT artifact text, OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_bitmapscan = off AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	plan jsonb;
	chosen text;
	refused boolean;
	gone text[];
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = miosa.find_deployment(deployment);
	-- What a rollback would do is the plan's to say, also what storage has.
	plan := miosa.call_plan(d.id) -> 'data';
	chosen := plan ->> 'target_version_id';
	refused := jsonb_path_exists(plan, '$.checks[*] ? (@.result == "failed"
		&& (@.check == "artifact_present" || @.check == "migration_compatible"))');
	gone := ARRAY(SELECT s.value ->> 'version_id' FROM jsonb_array_elements(plan -> 'skipped') s
		WHERE s.value ->> 'code' = 'ARTIFACT_GONE');
	RETURN QUERY
		SELECT 'v' || v.version_number,
			CASE WHEN v.id = d.active_version_id THEN 'now'
				ELSE coalesce(miosa.rough_span(now() - coalesce(s.ended, s.began)) || ' ago', 'never') END,
			miosa.rough_span(coalesce(s.ended, CASE WHEN v.id = d.active_version_id THEN now() END) - s.began),
			CASE WHEN r.id IS NULL THEN 'none'
				WHEN r.collected_at IS NOT NULL THEN 'collected'
				WHEN m.missing THEN 'missing'
				WHEN r.verified_at IS NOT NULL THEN 'seen ' || miosa.rough_span(now() - r.verified_at)
				ELSE 'unverified' END,
			CASE WHEN k.release_id IS NULL THEN ''
				WHEN k.kept_as IS NOT NULL THEN 'never'
				WHEN k.due THEN CASE WHEN EXISTS (SELECT FROM miosa.release_keeping o
					-- Looked up; without OFFSET all releases are hashed.
					WHERE o.storage_uri = k.storage_uri AND NOT o.due OFFSET 0) THEN 'shared' ELSE 'now' END
				ELSE coalesce(miosa.rough_span(k.expires_at - now()), 'never') END,
			CASE WHEN v.kind = 'static' THEN '' ELSE miosa.clip((SELECT count(*) FROM miosa.live_instances i
				WHERE i.deployment_id = d.id AND i.version_id = v.id)::text, 6) END,
			CASE WHEN v.id = d.active_version_id THEN 'active'
				WHEN v.state <> 'ready' THEN v.state
				WHEN r.collected_at IS NOT NULL OR m.missing THEN 'gone'
				WHEN v.id = chosen AND refused THEN 'default refused'
				ELSE concat_ws(' ', CASE WHEN v.id = chosen THEN 'default' END, CASE WHEN m.marked THEN 'schema!' END) END
		FROM (SELECT * FROM miosa.versions o WHERE o.deployment_id = d.id ORDER BY o.version_number DESC LIMIT 50) v
		LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
		LEFT JOIN miosa.release_keeping k ON k.deployment_id = r.deployment_id AND k.release_id = r.id
		LEFT JOIN (SELECT DISTINCT ON (e.version_id) e.version_id, e.began, e.ended FROM miosa.served_by_events(d.id, NULL) e
			ORDER BY e.version_id, e.ended DESC NULLS FIRST, e.began DESC) o ON o.version_id = v.id
		CROSS JOIN LATERAL (SELECT coalesce(o.began, v.promoted_at) AS began, o.ended) s
		CROSS JOIN LATERAL (SELECT v.id = ANY (gone) OR v.id IS DISTINCT FROM chosen AND r.missing_at IS NOT NULL AS missing,
			'incompatible' IN (v.metadata ->> 'migration_compatibility', r.metadata ->> 'migration_compatibility')
				OR cardinality(miosa.schema_marks(d.id, v.id)) > 0 AS marked) m
		ORDER BY v.version_number DESC;
END $$;
COMMENT ON FUNCTION miosa.candidates_rows(text) IS 'Rows of miosa.candidates()';

CREATE FUNCTION miosa.candidates(deployment text, OUT version text, OUT last_served text, OUT served text,
	OUT artifact text, OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_console';
COMMENT ON FUNCTION miosa.candidates(text) IS 'The newest 50 versions of a deployment, for people: when each served, its artifact and how long that is kept, its live instances, and whether one can go there';

-- What happened.

CREATE FUNCTION miosa.history_rows(deployment text, "limit" integer DEFAULT 10, OUT op text, OUT at text, OUT what text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	found_id text := miosa.find_deployment(deployment);
	event miosa.audit_events;
BEGIN
	PERFORM miosa.check_limit(history_rows."limit", 1000);
	FOR event IN
		SELECT * FROM miosa.audit_events a WHERE a.deployment_id = found_id
		ORDER BY a.seq DESC LIMIT history_rows."limit"
	LOOP
		op := '#' || event.seq;
		at := to_char(event.created_at, 'MM-DD HH24:MI:SS');
		what := miosa.clip(format('%s %s by %s',
			coalesce((SELECT a.short FROM miosa.actions() a WHERE a.action = event.action), event.action),
			miosa.short(CASE event.outcome
				WHEN 'unchanged' THEN miosa.version_name(found_id, event.target_version_id) || ' again'
				WHEN 'cutover' THEN miosa.version_name(found_id, event.target_version_id) || ' cutover'
				ELSE coalesce(miosa.version_name(found_id, event.previous_version_id), 'none') || ' -> '
					|| coalesce(miosa.version_name(found_id, event.target_version_id), 'none') END, 16),
			miosa.short(event.actor_id, 24)), 52);
		RETURN NEXT;
		op := '';
		at := '';
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(event.reason, 50, 10) w (line) LOOP
			RETURN NEXT;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.history_rows(text, integer) IS 'Rows of miosa.history()';

CREATE FUNCTION miosa.history(deployment text, "limit" integer DEFAULT 10, OUT op text, OUT at text, OUT what text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_console';
COMMENT ON FUNCTION miosa.history(text, integer) IS 'The newest operations of a deployment, for people, in the session''s time zone, with their reasons below; miosa_audit_log() has them in full';

-- Progress, for \watch 1: the deployments that changed last, as long as they
-- are young or not done.

CREATE FUNCTION miosa.bar(done bigint, total bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN total = 0 THEN 'nobody is told' ELSE
	repeat('#', (6 * done / total)::integer) || repeat('-', 6 - (6 * done / total)::integer)
	|| ' ' || done || '/' || total END;
COMMENT ON FUNCTION miosa.bar(bigint, bigint) IS 'A bar of six signs and the two numbers; full only when all are done';

CREATE FUNCTION miosa.instances_progress(deployment_id text, OUT age text, OUT bar text, OUT error text)
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT coalesce(miosa.span(clock_timestamp() - coalesce(p.waiting_since, c.since)), ''),
		miosa.bar(least(i.healthy, p.desired_replicas), p.desired_replicas),
		coalesce(miosa.clip(miosa.lasting_error(c), 13), '')
	FROM miosa.deployments p
	JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id AND v.kind <> 'static'
	CROSS JOIN LATERAL miosa.count_instances(p.id, v.id) i
	LEFT JOIN miosa.capacity c ON c.deployment_id = p.id AND c.version_id = v.id AND c.state = 'wanted'
	WHERE p.id = $1 AND p.desired_replicas > 0 AND p.state <> 'stopped'
		AND (p.serving_version_id IS NOT NULL OR p.state = 'pending')
$$;
COMMENT ON FUNCTION miosa.instances_progress(text) IS 'What miosa.progress says about instances while a deployment waits for them; null when it does not';

-- What an endpoint has of the log is written now and then, so that a change
-- can count as under way for half a second longer than it is.
CREATE FUNCTION miosa.changed_lately(OUT id text, OUT seq bigint, OUT at timestamptz, OUT number bigint, OUT cut boolean)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	WITH entries AS MATERIALIZED (
		(SELECT g.deployment_id, g.created_at, g.epoch FROM miosa.route_log g
			WHERE g.kind IN ('route', 'host_removed') ORDER BY g.epoch DESC LIMIT 1000)
		UNION ALL
		(SELECT o.deployment_id, o.created_at, NULL FROM miosa.outbox o
			WHERE o.kind IN ('route', 'host_removed') ORDER BY o.xid LIMIT 1000)
	), changed AS (
		SELECT p.id, p.seq, max(l.created_at) AS at, CASE WHEN bool_and(l.epoch IS NOT NULL) THEN max(l.epoch) END AS epoch,
			p.serving_version_id IS NOT NULL OR p.state = 'pending' AS waits
		FROM entries l JOIN miosa.deployments p ON p.id = l.deployment_id
		GROUP BY p.id
	), behind AS (
		SELECT min(CASE WHEN s.resync_after IS NULL THEN coalesce(s.acked_epoch, 0) ELSE 0 END) AS epoch
		FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter AND a.role = 'edge'
		LEFT JOIN miosa.endpoint_state s ON s.endpoint = e.name
		WHERE e.enabled
	)
	SELECT c.id, c.seq, c.at, count(*) OVER (), (SELECT count(*) FROM entries) >= 1000
	FROM changed c CROSS JOIN behind b
	WHERE c.at >= now() - '10 min'::interval OR c.epoch IS NULL OR c.epoch > b.epoch OR c.waits
		OR EXISTS (SELECT FROM miosa.delivery_failures f WHERE f.deployment_id = c.id)
	ORDER BY c.at DESC, c.id LIMIT 20
$$;
COMMENT ON FUNCTION miosa.changed_lately() IS 'The last 20 deployments that changed and are young or perhaps not everywhere, how many there are of these, and whether the log was read in part';

CREATE FUNCTION miosa.progress_rows(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	changed record;
	zone record;
	waits record;
BEGIN
	FOR changed IN SELECT * FROM miosa.changed_lately()
	LOOP
		SELECT * INTO waits FROM miosa.instances_progress(changed.id);
		FOR zone IN
			WITH told AS (
				SELECT * FROM miosa.convergence_rows(changed.id) c WHERE c.role = 'edge' AND c.state <> 'excluded'
			), summed AS (
				SELECT t.zone, grouping(t.zone) AS whole, count(*) FILTER (WHERE t.done) AS done, count(*) AS total,
					(array_agg(t.endpoint ORDER BY t.age DESC NULLS LAST, t.endpoint) FILTER (WHERE NOT t.done))[1] AS slowest,
					(array_agg(t.error ORDER BY t.age DESC NULLS LAST, t.endpoint)
						FILTER (WHERE NOT t.done AND t.error IS NOT NULL))[1] AS error
				FROM told t GROUP BY ROLLUP (t.zone)
			)
			SELECT s.*, w.done = w.total AS finished
			FROM summed s JOIN summed w ON w.whole = 1
			-- Zones have lines of their own when not all are equally far.
			WHERE s.whole = 1 OR EXISTS (SELECT FROM summed o
				WHERE o.whole = 0 AND o.done * s.total <> s.done * o.total)
			ORDER BY s.whole DESC, s.total - s.done DESC, s.zone
		LOOP
			EXIT WHEN zone.finished AND changed.at < now() - '10 min'::interval AND waits.bar IS NULL;
			operation := CASE WHEN zone.whole = 1
				THEN miosa.short(miosa.call_name(changed.id), 15 - length(changed.seq::text)) || '#' || changed.seq
				ELSE miosa.short('  ' || zone.zone, 16) END;
			age := CASE WHEN zone.whole = 1 THEN miosa.span(clock_timestamp() - changed.at) ELSE '' END;
			edges := miosa.bar(zone.done, zone.total);
			slowest := coalesce(miosa.short(zone.slowest, 12), '');
			last_error := coalesce(miosa.clip(zone.error, 13), '');
			RETURN NEXT;
			IF zone.whole = 1 AND waits.bar IS NOT NULL THEN
				operation := '  instances';
				age := waits.age;
				edges := waits.bar;
				slowest := '';
				last_error := waits.error;
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
COMMENT ON VIEW miosa.progress IS 'How far the newest route changes have come, for \watch 1: deployments that changed in the last 10 minutes or are not yet everywhere';
COMMENT ON COLUMN miosa.progress.operation IS 'Deployment and newest operation; below it instances, or a zone';
COMMENT ON COLUMN miosa.progress.age IS 'Time since the change; of instances: since they are waited for';
COMMENT ON COLUMN miosa.progress.edges IS 'Edges that confirmed it, of those that are told; instances that are healthy, of those that are wanted';
COMMENT ON COLUMN miosa.progress.slowest IS 'Edge that lacks it longest';
COMMENT ON COLUMN miosa.progress.last_error IS 'Why, shortened; miosa.status() has it whole';
