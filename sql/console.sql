-- The console: functions that people call in psql.
--
-- Everything fits into 80 columns: rows of (item, value) with values of at
-- most 64 characters, and calls to paste that are split where SQL allows it.
-- A deployment is named by its id, a host, or a slug that only one tenant
-- uses; a version by its id or its number as v12.

-- People look deployments up by slug alone; a rollback does not change it.
CREATE INDEX deployments_slug ON miosa.deployments (slug);

-- Those of other tenants do not exist: each way of naming one passes them by.
CREATE FUNCTION miosa.deployments_named(name text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	host CONSTANT text := miosa.clean_host(name);
	found_id text;
BEGIN
	IF miosa.sees_deployment(name) THEN
		SELECT p.id INTO found_id FROM miosa.deployments p WHERE p.id = name;
	END IF;
	found_id := coalesce(found_id, (miosa.domain_of_host(host)).deployment_id, miosa.seen_deployment(miosa.managed_deployment(host)));
	IF found_id IS NOT NULL THEN
		RETURN ARRAY[found_id];
	END IF;
	RETURN ARRAY(SELECT p.id FROM miosa.deployments p WHERE p.slug = name AND miosa.sees_tenant(p.tenant_id) ORDER BY p.id LIMIT 6);
END $$;
COMMENT ON FUNCTION miosa.deployments_named(text) IS 'The deployment of this id or host, else those of this slug: none, one, or the first six';

-- Raises INVALID_ARGUMENT (also for a slug that two tenants use, with the
-- ids), DEPLOYMENT_NOT_FOUND.
CREATE FUNCTION miosa.find_deployment(name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	ids text[];
BEGIN
	IF length(name) > 255 THEN
		PERFORM miosa.refuse_length('deployment name', length(name), 'characters', 255, 'Name it by id, host or slug.');
	ELSIF name IS NULL OR name = '' OR name ~ '[[:cntrl:]]' OR miosa.show(name) <> name THEN
		PERFORM miosa.refuse_value('deployment name', NULL, miosa.show(name),
			CASE name WHEN '' THEN 'The name is empty.' ELSE 'The name has control characters.' END,
			'Name it by id, host or slug.');
	END IF;
	ids := miosa.deployments_named(name);
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
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT CASE WHEN length(p.slug) < length(p.id) AND miosa.seen_deployment(miosa.managed_deployment(p.slug)) IS NULL
			AND NOT EXISTS (SELECT FROM miosa.deployments o WHERE o.slug = p.slug AND o.id <> p.id AND miosa.sees_tenant(o.tenant_id))
			AND NOT EXISTS (SELECT FROM miosa.deployments o WHERE o.id = p.slug AND miosa.sees_tenant(o.tenant_id))
			AND (miosa.domain_of_host(p.slug)).fqdn IS NULL
		THEN p.slug ELSE p.id END
		FROM miosa.deployments p WHERE p.id = $1);
END $$;
COMMENT ON FUNCTION miosa.call_name(text) IS 'The shortest name by which the console functions find a deployment: its slug if no other deployment has that name, else its id';

-- A version as v12, for people.
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

-- Look for one event by index, which is cheaper than a count.
CREATE FUNCTION miosa.has_events(deployment_id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT (SELECT a.seq FROM miosa.audit_events a WHERE a.deployment_id = $1 ORDER BY a.seq LIMIT 1) IS NOT NULL
$$;
COMMENT ON FUNCTION miosa.has_events(text) IS 'Whether a deployment has audit events';

-- The newest time of each version, from its events, else from its promotion.
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

-- Roll back; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_rollback(deployment_id text, version_id text, idempotency_key text, reason text,
	expected_active text, attribution jsonb, cutover text, accept_unverified boolean,
	hold boolean, hold_for interval, mark_bad boolean, served_at timestamptz, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_rollback';
COMMENT ON FUNCTION miosa.call_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz, text) IS 'Calls miosa_rollback; hints name the deployment by this name';

-- Promote; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_promote(deployment_id text, version_id text, idempotency_key text, reason text,
	expected_active text, attribution jsonb, cutover text, accept_unverified boolean,
	automatic boolean, accept_bad boolean, break_glass boolean, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_promote';
COMMENT ON FUNCTION miosa.call_promote(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean, text) IS 'Calls miosa_promote; hints name the deployment by this name';

-- The extension's own schema may be one where others can make functions too,
-- and a call that is resolved when it runs could find an overload of theirs,
-- which would run with our owner's rights.  The call in this body is resolved
-- once, when the extension is made.

-- Plan a rollback to the default target.
CREATE FUNCTION miosa.call_plan(deployment_id text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_plan($1, NULL::text, NULL::timestamptz);
COMMENT ON FUNCTION miosa.call_plan(text) IS 'Calls the extension''s miosa_plan, whichever other functions have its name';

-- Rolling back and promoting.  People call functions in C, which call those
-- with _rows behind their names (src/api/entry_points.c).

-- Describe the response of a rollback or a promotion in rows of (item, value).
CREATE FUNCTION miosa.operation_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	name text := miosa.call_name(id);
	operation jsonb;
	seq bigint;
	data jsonb;
	skipped jsonb;
	edges record;
	dispatcher text;
	line text;
BEGIN
	operation := response -> 'operation';
	seq := split_part(operation ->> 'id', '#', 2);
	data := response -> 'data';

	item := 'result';
	value := format('%s (#%s)', operation ->> 'outcome', seq)
		|| CASE operation ->> 'outcome'
			WHEN 'unchanged' THEN ': it was active; its route is sent again'
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

	IF operation ? 'hold' THEN
		item := 'hold';
		value := miosa.hold_words(operation -> 'hold');
		RETURN NEXT;
	END IF;

	SELECT * INTO edges FROM miosa.count_edges(id);
	item := 'edges';
	dispatcher := miosa.dispatcher_words();
	value := CASE WHEN edges.counted = 0 THEN 'none'
			WHEN dispatcher = 'running' THEN format('%s will be updated', edges.counted)
			ELSE format('%s to be updated', edges.counted) END
		|| CASE WHEN edges.failing > 0 THEN format(', %s of them failing', edges.failing) ELSE '' END
		|| CASE WHEN edges.excluded > 0 THEN format(', %s disabled', edges.excluded) ELSE '' END;
	RETURN NEXT;
	IF dispatcher <> 'running' AND edges.counted > 0 THEN
		item := 'NOT SENT';
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
		FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.undo', name, '#' || seq) p (line) LOOP
			value := line;
			RETURN NEXT;
			item := '';
		END LOOP;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.operation_lines(text, jsonb) IS 'Rows of miosa.rollback(), miosa.promote() or miosa.undo(), from the response';

-- One line about a version: number, id, and when it served.
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

-- Do the work of miosa.rollback().
CREATE FUNCTION miosa.rollback_rows(deployment text, version text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, served_at timestamptz DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.operation_lines(f.id, miosa.call_rollback(f.id, miosa.find_version(f.id, $2), $4, $3,
		miosa.find_version(f.id, $5), NULL, $6, $7, $8, $9, $10, $11, miosa.call_name(f.id))) l
$$;
COMMENT ON FUNCTION miosa.rollback_rows(text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamptz) IS 'Rows of miosa.rollback()';

-- Enter rollback_rows() from C.
CREATE FUNCTION miosa.rollback(deployment text, version text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL, hold_for interval DEFAULT NULL,
	mark_bad boolean DEFAULT false, served_at timestamptz DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.rollback(text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamptz) IS 'Rolls a deployment back, for people: rows of (item, value); without a version to the previous one';

-- Do the work of miosa.promote().
CREATE FUNCTION miosa.promote_rows(deployment text, version text, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.operation_lines(f.id, miosa.call_promote(f.id, miosa.find_version(f.id, $2), $4, $3,
		miosa.find_version(f.id, $5), NULL, $6, $7, NULL, $8, $9, miosa.call_name(f.id))) l
$$;
COMMENT ON FUNCTION miosa.promote_rows(text, text, text, text, text, text, boolean, boolean, boolean) IS 'Rows of miosa.promote()';

-- Enter promote_rows() from C.
CREATE FUNCTION miosa.promote(deployment text, version text, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, expected_active text DEFAULT NULL, cutover text DEFAULT NULL,
	accept_unverified boolean DEFAULT false, accept_bad boolean DEFAULT false,
	break_glass boolean DEFAULT false, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.promote(text, text, text, text, text, text, boolean, boolean, boolean) IS 'Makes a version active, for people: rows of (item, value)';

-- Undo; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_undo(deployment_id text, operation_id text, idempotency_key text, reason text, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_undo';
COMMENT ON FUNCTION miosa.call_undo(text, text, text, text, text) IS 'Calls miosa_undo; hints name the deployment by this name';

-- Do the work of miosa.undo().
CREATE FUNCTION miosa.undo_rows(deployment text, operation text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.operation_lines(f.id, miosa.call_undo(f.id, $2, $4, $3, miosa.call_name(f.id))) l
$$;
COMMENT ON FUNCTION miosa.undo_rows(text, text, text, text) IS 'Rows of miosa.undo()';

-- Enter undo_rows() from C.
CREATE FUNCTION miosa.undo(deployment text, operation text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.undo(text, text, text, text) IS 'Undoes the newest operation of a deployment, for people: rows of (item, value)';

-- Renaming, and moving a host.

-- The calls in these bodies are resolved once, as that of call_plan() is.
CREATE FUNCTION miosa.call_rename(deployment_id text, slug text, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_rename_deployment($1, $2, $3, $4);
COMMENT ON FUNCTION miosa.call_rename(text, text, text, text) IS 'Calls the extension''s miosa_rename_deployment, whichever other functions have its name';

-- The same for a host.
CREATE FUNCTION miosa.call_move_host(host text, deployment_id text, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_move_host($1, $2, NULL::text, $3, $4);
COMMENT ON FUNCTION miosa.call_move_host(text, text, text, text) IS 'Calls the extension''s miosa_move_host, whichever other functions have its name';

-- Describe the response of either in rows of (item, value).
CREATE FUNCTION miosa.host_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	event miosa.audit_events;
	line text;
BEGIN
	SELECT * INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = id AND a.seq = split_part(response #>> '{operation,id}', '#', 2)::bigint;
	item := 'result';
	value := CASE WHEN event.marks ->> 'from' = event.marks ->> 'to' THEN 'unchanged'
			WHEN event.action = 'deployment.rename' THEN 'renamed' ELSE 'moved' END || format(' (#%s)', event.seq);
	RETURN NEXT;
	FOR item, value IN SELECT l.key, miosa.clip(event.marks ->> l.key, 64) FROM unnest(ARRAY['host', 'from', 'to']) l (key)
		WHERE event.marks ? l.key LOOP
		RETURN NEXT;
	END LOOP;
	item := 'next';
	FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.status', miosa.call_name(id)) p (line) LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.host_lines(text, jsonb) IS 'Rows of miosa.rename() or miosa.move_host(), from the response';

-- Do the work of miosa.rename().
CREATE FUNCTION miosa.rename_rows(deployment text, slug text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.call_rename(f.id, $2, $4, $3) r (response)
	CROSS JOIN LATERAL miosa.host_lines(f.id, r.response) l
$$;
COMMENT ON FUNCTION miosa.rename_rows(text, text, text, text) IS 'Rows of miosa.rename()';

-- Enter rename_rows() from C.
CREATE FUNCTION miosa.rename(deployment text, slug text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.rename(text, text, text, text) IS 'Gives a deployment another slug, for people: rows of (item, value)';

-- Do the work of miosa.move_host().
CREATE FUNCTION miosa.move_host_rows(host text, deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($2) f (id)
	CROSS JOIN LATERAL miosa.call_move_host($1, f.id, $4, $3) r (response)
	CROSS JOIN LATERAL miosa.host_lines(f.id, r.response) l
$$;
COMMENT ON FUNCTION miosa.move_host_rows(text, text, text, text) IS 'Rows of miosa.move_host()';

-- Enter move_host_rows() from C.
CREATE FUNCTION miosa.move_host(host text, deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.move_host(text, text, text, text) IS 'Moves a host to a deployment from the one that has it, for people: rows of (item, value)';

-- Marking versions as bad.

-- Mark a version, or take its mark away, and say what follows.
CREATE FUNCTION miosa.bad_lines(mark boolean, deployment text, version text, reason text, scope text, idempotency_key text,
	OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	id CONSTANT text := miosa.find_deployment(deployment);
	name CONSTANT text := miosa.call_name(id);
	version_id CONSTANT text := miosa.find_version(id, version);
	short CONSTANT text := miosa.version_name(id, version_id);
	-- What it takes to mark it again.
	before CONSTANT text := CASE WHEN mark THEN reason ELSE miosa.bad_mark(id, version_id) ->> 'reason' END;
	operation jsonb;
	line text;
BEGIN
	operation := miosa.note_bad(mark, id, version_id, reason, scope, idempotency_key) -> 'operation';
	item := 'result';
	value := format('%s (#%s)%s', CASE WHEN mark THEN 'marked as bad' ELSE 'mark taken away' END,
		split_part(operation ->> 'id', '#', 2), CASE WHEN operation ->> 'replayed' = 'true' THEN ', REPLAYED' ELSE '' END);
	RETURN NEXT;
	item := 'version';
	value := miosa.version_line(id, version_id, NULL);
	RETURN NEXT;
	IF scope = 'artifact' THEN
		item := 'artifact';
		value := miosa.short(miosa.artifact_name(id, version_id), 40) || ' of all versions';
		RETURN NEXT;
	END IF;
	item := 'WARNING';
	FOR line IN SELECT w.line FROM jsonb_array_elements(operation -> 'warnings') o,
			LATERAL miosa.wrap(o.value ->> 'message', 64, 2) w (line) LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
	item := 'rollback';
	value := coalesce('would go to ' || miosa.version_name(id, miosa.default_target(id)), 'has no target');
	RETURN NEXT;
	item := 'undo';
	FOR line IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.' || CASE WHEN mark THEN 'clear_bad' ELSE 'mark_bad' END,
			VARIADIC ARRAY[name, short] || CASE WHEN NOT mark OR scope = 'artifact' THEN ARRAY[before] END
				|| CASE WHEN scope = 'artifact' THEN ARRAY[scope] END) p (line) WHERE before IS NOT NULL LOOP
		value := line;
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.bad_lines(boolean, text, text, text, text, text) IS 'Rows of miosa.mark_bad() or miosa.clear_bad()';

-- Do the work of miosa.mark_bad().
CREATE FUNCTION miosa.mark_bad_rows(deployment text, version text, reason text, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM miosa.bad_lines(true, $1, $2, $3, $4, $5)
$$;
COMMENT ON FUNCTION miosa.mark_bad_rows(text, text, text, text, text) IS 'Rows of miosa.mark_bad()';

-- Enter mark_bad_rows() from C.
CREATE FUNCTION miosa.mark_bad(deployment text, version text, reason text, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.mark_bad(text, text, text, text, text) IS 'Marks a version, or with scope artifact all versions with its artifact, as bad, for people: rows of (item, value)';

-- Do the work of miosa.clear_bad().
CREATE FUNCTION miosa.clear_bad_rows(deployment text, version text, reason text DEFAULT NULL, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT * FROM miosa.bad_lines(false, $1, $2, $3, $4, $5)
$$;
COMMENT ON FUNCTION miosa.clear_bad_rows(text, text, text, text, text) IS 'Rows of miosa.clear_bad()';

-- Enter clear_bad_rows() from C.
CREATE FUNCTION miosa.clear_bad(deployment text, version text, reason text DEFAULT NULL, scope text DEFAULT 'deployment',
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.clear_bad(text, text, text, text, text) IS 'Takes a mark of miosa.mark_bad() away, for people: rows of (item, value)';

-- Where one can go back to.  The planner takes each deployment for one of the
-- usual size; without bitmaps it reads the newest versions and events of a
-- large one by index, and not all of them.

-- List the newest 50 versions, and judge each with the plan of a rollback.
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
	listed text[];
	gone text[];
BEGIN
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = miosa.find_deployment(deployment);
	-- What a rollback would do is the plan's to say, also what storage has.
	plan := miosa.call_plan(d.id) -> 'data';
	chosen := plan ->> 'target_version_id';
	refused := jsonb_path_exists(plan, '$.checks[*] ? (@.result == "failed"
		&& (@.check == "artifact_present" || @.check == "migration_compatible" || @.check == "schema_fits"))');
	-- Not joined with all that served: the planner expects few of those.
	listed := ARRAY(SELECT o.id FROM miosa.versions o WHERE o.deployment_id = d.id ORDER BY o.version_number DESC LIMIT 50);
	gone := ARRAY(SELECT s.value ->> 'version_id' FROM jsonb_array_elements(plan -> 'skipped') s
		WHERE s.value ->> 'code' = 'ARTIFACT_GONE');
	RETURN QUERY
		-- Why a version is bad goes on in lines below it.
		SELECT CASE n.place WHEN 1 THEN c.version ELSE '' END, CASE n.place WHEN 1 THEN c.last_served ELSE '' END,
			CASE n.place WHEN 1 THEN c.served ELSE '' END, CASE n.place WHEN 1 THEN c.artifact ELSE '' END,
			CASE n.place WHEN 1 THEN c.expires ELSE '' END, CASE n.place WHEN 1 THEN c.live ELSE '' END, n.line
		FROM (SELECT v.version_number, 'v' || v.version_number AS version,
			CASE WHEN v.id = d.active_version_id THEN 'now'
				ELSE coalesce(miosa.rough_span(now() - coalesce(s.ended, s.began)) || ' ago', 'never') END AS last_served,
			miosa.rough_span(coalesce(s.ended, CASE WHEN v.id = d.active_version_id THEN now() END) - s.began) AS served,
			CASE WHEN r.id IS NULL THEN 'none'
				WHEN r.collected_at IS NOT NULL THEN 'collected'
				WHEN m.missing THEN 'missing'
				WHEN r.verified_at IS NOT NULL THEN 'seen ' || miosa.rough_span(now() - r.verified_at)
				ELSE 'unverified' END AS artifact,
			CASE WHEN k.release_id IS NULL THEN ''
				WHEN k.kept_as IS NOT NULL THEN 'never'
				WHEN k.due THEN CASE WHEN EXISTS (SELECT FROM miosa.stored_keeping o
					-- Looked up; without OFFSET all releases are hashed.
					WHERE o.storage_uri = k.storage_uri AND NOT o.due AND miosa.sees_tenant(o.tenant_id) OFFSET 0) THEN 'shared' ELSE 'now' END
				ELSE coalesce(miosa.rough_span(k.expires_at - now()), 'never') END AS expires,
			CASE WHEN v.kind = 'static' THEN '' ELSE miosa.clip((SELECT count(*) FROM miosa.live_instances i
				WHERE i.deployment_id = d.id AND i.version_id = v.id)::text, 6) END AS live,
			CASE WHEN v.id = d.active_version_id THEN 'active' || coalesce(', ' || m.bad, '')
				WHEN v.state <> 'ready' THEN v.state
				WHEN r.collected_at IS NOT NULL OR m.missing THEN 'gone'
				WHEN m.bad IS NOT NULL THEN m.bad
				WHEN v.id = chosen AND refused THEN 'default refused'
				ELSE concat_ws(' ', CASE WHEN v.id = chosen THEN 'default' END, CASE WHEN v.id = h.waiting_version_id THEN 'held' END,
					CASE WHEN m.marked THEN 'schema!' END) END AS note
		FROM (SELECT * FROM miosa.versions o WHERE o.deployment_id = d.id ORDER BY o.version_number DESC LIMIT 50) v
		LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
		LEFT JOIN miosa.stored_keeping k ON k.deployment_id = r.deployment_id AND k.release_id = r.id
		LEFT JOIN miosa.holds h ON h.deployment_id = v.deployment_id AND miosa.is_open(h.until)
		LEFT JOIN (SELECT DISTINCT ON (e.version_id) e.version_id, e.began, e.ended FROM miosa.served_by_events(d.id, NULL) e
			WHERE e.version_id = ANY (listed)
			ORDER BY e.version_id, e.ended DESC NULLS FIRST, e.began DESC) o ON o.version_id = v.id
		CROSS JOIN LATERAL (SELECT coalesce(o.began, v.promoted_at) AS began, o.ended) s
		CROSS JOIN LATERAL (SELECT v.id = ANY (gone) OR v.id IS DISTINCT FROM chosen AND r.missing_at IS NOT NULL AS missing,
			'incompatible' IN (v.metadata ->> 'migration_compatibility', r.metadata ->> 'migration_compatibility')
				OR cardinality(miosa.schema_marks(d.id, v.id)) > 0
				OR d.schema_name IS NOT NULL AND (miosa.schema_finding(d.id, v.id)).result IN ('warning', 'failed') AS marked,
			'bad: ' || (miosa.bad_mark(d.id, v.id) ->> 'reason') AS bad) m) c
		CROSS JOIN LATERAL (SELECT w.line, w.place FROM miosa.wrap(c.note, 15, 4) WITH ORDINALITY w (line, place)
			UNION ALL SELECT '', 1 WHERE c.note = '') n
		ORDER BY c.version_number DESC, n.place;
END $$;
COMMENT ON FUNCTION miosa.candidates_rows(text) IS 'Rows of miosa.candidates()';

-- Enter candidates_rows() from C.
CREATE FUNCTION miosa.candidates(deployment text, OUT version text, OUT last_served text, OUT served text,
	OUT artifact text, OUT expires text, OUT live text, OUT note text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.candidates(text) IS 'The newest 50 versions of a deployment, for people: when each served, its artifact and how long that is kept, its live instances, and whether it can be made active';

-- What happened.

-- Describe what an operation did besides.
CREATE FUNCTION miosa.mark_lines(marks jsonb) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	IF marks ? 'undo_of' THEN
		RETURN NEXT miosa.clip('undoes #' || split_part(marks ->> 'undo_of', '#', 2), 50);
	END IF;
	IF marks ? 'break_glass' THEN
		RETURN NEXT miosa.clip('broke the glass of freeze ' || (marks ->> 'break_glass'), 50);
	END IF;
	IF marks ? 'hold' THEN
		RETURN NEXT miosa.clip(miosa.hold_words(marks -> 'hold'), 50);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.mark_lines(jsonb) IS 'Lines of miosa.history() about the marks of an audit event';

-- List the newest events, each with its marks and its reason on lines below it.
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
			replace(coalesce((SELECT a.short FROM miosa.actions() a WHERE a.action = event.action), event.action), '_refused', ' refused'),
			miosa.short(CASE event.outcome
				WHEN 'refused' THEN event.marks ->> 'refused'
				WHEN 'unchanged' THEN CASE WHEN event.marks ? 'version' THEN miosa.version_name(found_id, event.marks ->> 'version')
					WHEN event.target_rule <> 'none' THEN miosa.version_name(found_id, event.target_version_id) || ' again'
					ELSE coalesce(event.marks ->> 'host', '') END
				WHEN 'cutover' THEN miosa.version_name(found_id, event.target_version_id) || ' cutover'
				ELSE coalesce(miosa.version_name(found_id, event.previous_version_id), 'none') || ' -> '
					|| coalesce(miosa.version_name(found_id, event.target_version_id), 'none') END,
				CASE WHEN event.target_rule = 'none' THEN 28 ELSE 16 END),
			miosa.short(event.actor_id, 24)), 52);
		RETURN NEXT;
		op := '';
		at := '';
		FOR what IN SELECT '  ' || m.line FROM miosa.mark_lines(event.marks) m (line) LOOP
			RETURN NEXT;
		END LOOP;
		FOR what IN SELECT '  ' || w.line FROM miosa.wrap(event.reason, 50, 10) w (line) LOOP
			RETURN NEXT;
		END LOOP;
		IF event.marks ? 'fleet' THEN
			what := '  fleet ' || miosa.clip(event.marks ->> 'fleet', 40);
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.history_rows(text, integer) IS 'Rows of miosa.history()';

-- Enter history_rows() from C.
CREATE FUNCTION miosa.history(deployment text, "limit" integer DEFAULT 10, OUT op text, OUT at text, OUT what text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.history(text, integer) IS 'The newest operations of a deployment, for people, in the session''s time zone, with their reasons below; miosa_audit_log() has them in full';
