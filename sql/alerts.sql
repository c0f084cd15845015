-- Watched deployments, and the alerts about deployments that Alertmanager sends.
--
-- src/operation/watch.c decides what an alert does.  An alert is known by its
-- fingerprint and the time it began, so that a message that arrives again, or
-- after its own end, does nothing.

CREATE TABLE miosa.watches (
	deployment_id text COLLATE "C" PRIMARY KEY,
	bake interval NOT NULL
		CONSTRAINT "bake must be from 1 second to 30 days" CHECK (bake BETWEEN '1 s' AND '30 days'),
	on_alert text NOT NULL CHECK (on_alert IN ('rollback', 'hold', 'notify')),
	labels jsonb NOT NULL CHECK (jsonb_typeof(labels) = 'object'),
	reason text,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE miosa.watches IS 'What an alert about a deployment does; one about another deployment is only sent to hooks';
COMMENT ON COLUMN miosa.watches.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.watches.bake IS 'How long after a version became active an alert acts';
COMMENT ON COLUMN miosa.watches.on_alert IS 'rollback, hold or notify';
COMMENT ON COLUMN miosa.watches.labels IS 'Labels that an alert must have to act, with their values';
COMMENT ON COLUMN miosa.watches.reason IS 'Why it is watched, in the caller''s words';
COMMENT ON COLUMN miosa.watches.created_at IS 'Since when it is watched like this';

-- The key finds an alert again; alerts_rollback says of which versions alerts have
-- rolled back, and to which.
CREATE TABLE miosa.alerts (
	deployment_id text COLLATE "C" NOT NULL,
	fingerprint text COLLATE "C" NOT NULL,
	starts_at timestamptz NOT NULL,
	name text,
	labels jsonb NOT NULL,
	annotations jsonb NOT NULL,
	version_id text COLLATE "C",
	target_version_id text COLLATE "C",
	done text NOT NULL CHECK (done IN ('rollback', 'hold', 'notified', 'recorded')),
	why text NOT NULL,
	condition text,
	seq bigint,
	number bigint,
	received_at timestamptz NOT NULL,
	resolved_at timestamptz,
	keep_until timestamptz NOT NULL,
	PRIMARY KEY (deployment_id, fingerprint, starts_at)
);
CREATE INDEX alerts_rollback ON miosa.alerts (deployment_id) WHERE done = 'rollback';
CREATE UNIQUE INDEX alerts_number ON miosa.alerts (number) WHERE number IS NOT NULL;
CREATE INDEX alerts_unnumbered ON miosa.alerts (received_at) WHERE number IS NULL AND done = 'notified';
CREATE INDEX alerts_late ON miosa.alerts (deployment_id, received_at) WHERE seq IS NULL;
CREATE INDEX alerts_expiry ON miosa.alerts (keep_until);
COMMENT ON TABLE miosa.alerts IS 'Alerts about deployments, with what each one did and why; kept as long as audit events';
COMMENT ON COLUMN miosa.alerts.deployment_id IS 'Deployment, by the label miosa_deployment';
COMMENT ON COLUMN miosa.alerts.fingerprint IS 'Alertmanager''s fingerprint of the labels';
COMMENT ON COLUMN miosa.alerts.starts_at IS 'When the alert began to fire';
COMMENT ON COLUMN miosa.alerts.name IS 'Label alertname';
COMMENT ON COLUMN miosa.alerts.labels IS 'Labels';
COMMENT ON COLUMN miosa.alerts.annotations IS 'Annotations';
COMMENT ON COLUMN miosa.alerts.version_id IS 'Version that was active when the alert came';
COMMENT ON COLUMN miosa.alerts.target_version_id IS 'Version that the alert rolled back to';
COMMENT ON COLUMN miosa.alerts.done IS 'rollback, hold, notified (it is sent to hooks) or recorded';
COMMENT ON COLUMN miosa.alerts.why IS 'Why this was done, and no more';
COMMENT ON COLUMN miosa.alerts.condition IS 'Condition that refused the rollback; null: none was tried, or it was done';
COMMENT ON COLUMN miosa.alerts.seq IS 'Number of the operation or of the note in the audit events; null: the deployment was locked, and the note follows when it is free';
COMMENT ON COLUMN miosa.alerts.number IS 'Number of the message to hooks, by the dispatcher; null: not yet, or there is none';
COMMENT ON COLUMN miosa.alerts.received_at IS 'When it came';
COMMENT ON COLUMN miosa.alerts.resolved_at IS 'When it ended; null while it fires';
COMMENT ON COLUMN miosa.alerts.keep_until IS 'Until when it is kept';

-- No foreign key: the dispatcher writes it.
CREATE TABLE miosa.alert_receivers (
	receiver text COLLATE "C" PRIMARY KEY,
	number bigint NOT NULL,
	sent_at timestamptz NOT NULL
);
COMMENT ON TABLE miosa.alert_receivers IS 'Which alerts hooks have received; written by the dispatcher alone';
COMMENT ON COLUMN miosa.alert_receivers.receiver IS 'Endpoint';
COMMENT ON COLUMN miosa.alert_receivers.number IS 'Newest alert that it has accepted, or the newest one when it was added';
COMMENT ON COLUMN miosa.alert_receivers.sent_at IS 'When that was';

-- Watching.

-- Refuse what a watch cannot have.
CREATE FUNCTION miosa.check_watch(bake interval, on_alert text, alerts jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	problem text;
BEGIN
	IF bake IS NULL OR bake < '1 s' OR bake > '30 days' THEN
		PERFORM miosa.refuse_value('argument', 'bake', bake::text, 'The time must be from 1 second to 30 days.',
			'Pass, for example, bake => ''15 min''.');
	ELSIF on_alert IS NULL OR on_alert NOT IN ('rollback', 'hold', 'notify') THEN
		PERFORM miosa.refuse_value('argument', 'on_alert', on_alert, 'Valid values are "rollback" (the default), "hold" and "notify".',
			'Pass, for example, on_alert => ''rollback''.');
	END IF;
	problem := CASE WHEN alerts IS NULL OR jsonb_typeof(alerts) <> 'object' THEN 'The value must be an object of labels.'
		ELSE (SELECT format('The value of label "%s" must be a text.', l.key) FROM jsonb_each(alerts) l
			WHERE jsonb_typeof(l.value) <> 'string' ORDER BY l.key LIMIT 1) END;
	IF problem IS NOT NULL THEN
		PERFORM miosa.refuse_value('argument', 'alerts', alerts::text, problem,
			'Pass, for example, alerts => ''{"severity": "critical"}''.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_watch(interval, text, jsonb) IS 'Raises INVALID_ARGUMENT for a watch with a value that is not allowed';

-- Watch a deployment.
CREATE FUNCTION @extschema@.miosa_watch(deployment_id text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', idempotency_key text DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	arguments text[];
	response jsonb;
BEGIN
	PERFORM miosa.check_watch(bake, on_alert, alerts);
	arguments := ARRAY[extract(epoch FROM bake)::text, on_alert, encode(sha256(convert_to(alerts::text, 'UTF8')), 'hex')];
	response := miosa.note_begin('watch', deployment_id, key, arguments, reason);
	IF response IS NULL THEN
		INSERT INTO miosa.watches AS w (deployment_id, bake, on_alert, labels, reason)
			VALUES (deployment_id, bake, on_alert, alerts, reason)
			ON CONFLICT ON CONSTRAINT watches_pkey DO UPDATE SET bake = excluded.bake, on_alert = excluded.on_alert,
				labels = excluded.labels, reason = excluded.reason, created_at = excluded.created_at;
		response := miosa.note_write('watch', deployment_id, key, arguments, reason,
			jsonb_build_object('watch', jsonb_build_object('bake_seconds', trim_scale(extract(epoch FROM bake)), 'on_alert', on_alert, 'alerts', alerts)));
	END IF;
	RETURN response;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_watch(text, interval, text, jsonb, text, text) IS 'Has alerts about a deployment roll it back, hold it or only notify, while its active version is younger than the bake time';

-- Watch it no longer.
CREATE FUNCTION @extschema@.miosa_unwatch(deployment_id text, idempotency_key text DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	arguments CONSTANT text[] := '{}';
	key CONSTANT text := miosa.request_key(idempotency_key);
	response jsonb := miosa.note_begin('unwatch', deployment_id, key, arguments, reason);
	n bigint;
BEGIN
	IF response IS NULL THEN
		DELETE FROM miosa.watches w WHERE w.deployment_id = deployment_id;
		GET DIAGNOSTICS n = ROW_COUNT;
		response := miosa.note_write('unwatch', deployment_id, key, arguments, reason,
			jsonb_build_object('unwatch', jsonb_build_object('watched', n > 0)));
	END IF;
	RETURN response;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_unwatch(text, text, text) IS 'Ends the watch of a deployment: alerts about it only notify';

-- Alerts.

-- The deployment that an alert names.
CREATE FUNCTION miosa.alert_deployment(name text, OUT deployment_id text, OUT why text)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	ids CONSTANT text[] := CASE WHEN length(name) BETWEEN 1 AND 255 THEN miosa.deployments_named(name) END;
BEGIN
	IF cardinality(ids) = 1 THEN
		deployment_id := ids[1];
	ELSIF cardinality(ids) > 1 THEN
		why := format('slug "%s" is not unique: deployments %s%s have it', name, array_to_string(ids[1:5], ', '),
			CASE WHEN cardinality(ids) > 5 THEN ', ...' ELSE '' END);
	ELSE
		why := format('there is no deployment "%s"', miosa.clip(miosa.show(name), 255));
	END IF;
END $$;
COMMENT ON FUNCTION miosa.alert_deployment(text) IS 'The deployment of this id, host or slug, or why there is none; name: label miosa_deployment of an alert';

-- Take an alert, or several.
CREATE FUNCTION @extschema@.miosa_alert(payload jsonb) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_alert';
COMMENT ON FUNCTION @extschema@.miosa_alert(jsonb) IS 'Takes the body that Alertmanager''s webhook sends (version 4), and does what the watches of the deployments say: {"data": {"alerts": [{"deployment_id", "fingerprint", "done", "operation_id", "why"}]}}';

-- What the dispatcher sends to hooks.

-- The position of a hook; a new one begins after the newest number.
CREATE FUNCTION miosa.alert_begin(receiver text) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	INSERT INTO miosa.alert_receivers AS r (receiver, number, sent_at)
		SELECT $1, coalesce(max(a.number), 0), clock_timestamp() FROM miosa.alerts a WHERE a.number IS NOT NULL
		ON CONFLICT ON CONSTRAINT alert_receivers_pkey DO UPDATE SET number = r.number
		RETURNING r.number
$$;
COMMENT ON FUNCTION miosa.alert_begin(text) IS 'The number of the newest alert that a hook has accepted, or does not need';

-- Number the alerts for hooks, and return the newest number.  The receivers know
-- numbers of alerts that retention has deleted.
CREATE FUNCTION miosa.alert_number() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	newest bigint;
BEGIN
	SELECT greatest((SELECT max(a.number) FROM miosa.alerts a WHERE a.number IS NOT NULL), (SELECT max(r.number) FROM miosa.alert_receivers r), 0) INTO newest;
	WITH new AS (
		SELECT a.ctid AS place, row_number() OVER (ORDER BY a.received_at, a.deployment_id, a.fingerprint, a.starts_at) AS n
		FROM miosa.alerts a WHERE a.number IS NULL AND a.done = 'notified'),
	numbered AS (
		UPDATE miosa.alerts a SET number = newest + new.n FROM new WHERE a.ctid = new.place RETURNING a.number)
	SELECT coalesce(max(m.number), newest) INTO newest FROM numbered m;
	RETURN newest;
END $$;
COMMENT ON FUNCTION miosa.alert_number() IS 'Gives numbers to alerts for hooks that have none; returns the newest number, 0 for none';

-- Leave the notes of alerts that have found their deployment locked: the alert was
-- not judged, and is when it comes again.  Nothing is waited for here.
CREATE FUNCTION miosa.alert_note_late() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	a record;
	late boolean := false;
	response jsonb;
BEGIN
	FOR a IN SELECT l.* FROM miosa.alerts l JOIN miosa.deployments d ON d.id = l.deployment_id
		WHERE l.seq IS NULL ORDER BY l.deployment_id, l.received_at, l.fingerprint LIMIT 100
	LOOP
		PERFORM FROM miosa.deployments d WHERE d.id = a.deployment_id FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			late := true;
			CONTINUE;
		END IF;
		-- The same alert may have come again before the lock was free.
		CONTINUE WHEN NOT EXISTS (SELECT FROM miosa.alerts l WHERE l.deployment_id = a.deployment_id
			AND l.fingerprint = a.fingerprint AND l.starts_at = a.starts_at AND l.seq IS NULL);
		response := miosa.note_write('alert', a.deployment_id, NULL, '{}',
			left(miosa.show(concat('alert ', coalesce(a.name, a.fingerprint), ': ' || coalesce(a.annotations ->> 'summary', a.annotations ->> 'description'))), 1000),
			jsonb_build_object('alert', jsonb_strip_nulls(jsonb_build_object('fingerprint', a.fingerprint, 'starts_at', miosa.iso(a.starts_at), 'alertname', a.name,
				'status', CASE WHEN a.done = 'recorded' THEN 'resolved' ELSE 'firing' END, 'done', a.done, 'why', a.why, 'condition', a.condition,
				'received_at', miosa.iso(a.received_at)))));
		UPDATE miosa.alerts l SET seq = split_part(response #>> '{operation,id}', '#', 2)::bigint
			WHERE l.deployment_id = a.deployment_id AND l.fingerprint = a.fingerprint AND l.starts_at = a.starts_at;
	END LOOP;
	RETURN late;
END $$;
COMMENT ON FUNCTION miosa.alert_note_late() IS 'Leaves the notes of alerts whose deployment was locked; true: some are locked still';

-- The next alert for a hook, of deployments that its selector includes.
CREATE FUNCTION miosa.alert_next(receiver text, OUT number bigint, OUT received_at timestamptz, OUT content text, OUT id text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT a.number, a.received_at, jsonb_build_object('deployment_id', a.deployment_id, 'tenant_id', d.tenant_id, 'version_id', a.version_id,
			'alertname', a.name, 'fingerprint', a.fingerprint, 'starts_at', miosa.iso(a.starts_at), 'labels', a.labels, 'annotations', a.annotations,
			'why', a.why, 'condition', a.condition, 'operation_id', a.deployment_id || '#' || a.seq)::text,
		concat('alert:', a.deployment_id, ':', a.fingerprint, ':', (extract(epoch FROM a.starts_at) * 1000000)::bigint)
	FROM miosa.alert_receivers r
	JOIN miosa.endpoints e ON e.name = r.receiver
	JOIN miosa.alerts a ON a.number > r.number
	JOIN miosa.deployments d ON d.id = a.deployment_id
	WHERE r.receiver = $1 AND miosa.selects(e.selector, d.id, d.tenant_id, d.kind)
	ORDER BY a.number LIMIT 1
$$;
COMMENT ON FUNCTION miosa.alert_next(text) IS 'The first alert that a hook has not accepted';

-- Note that a hook has accepted an alert, or does not need those before.
CREATE FUNCTION miosa.alert_sent(receiver text, number bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	UPDATE miosa.alert_receivers r SET number = $2, sent_at = clock_timestamp() WHERE r.receiver = $1 AND r.number < $2
$$;
COMMENT ON FUNCTION miosa.alert_sent(text, bigint) IS 'Records that a hook has accepted an alert';

-- An endpoint of this name that comes later is another one.
CREATE FUNCTION miosa.endpoints_forget() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa.alert_receivers r WHERE r.receiver = OLD.name;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.endpoints_forget() IS 'Trigger: forgets which alerts an endpoint has received that is removed';
CREATE TRIGGER endpoints_forget AFTER DELETE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_forget();

-- The newest operation that moved the pointer, or switched routes to it; those that
-- follow it, and refused calls, move nothing.
CREATE FUNCTION miosa.active_since(deployment_id text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT a.created_at FROM miosa.audit_events a
	WHERE a.deployment_id = $1 AND a.outcome IN ('changed', 'pending', 'cutover') ORDER BY a.seq DESC LIMIT 1
$$;
COMMENT ON FUNCTION miosa.active_since(text) IS 'Since when the active version of a deployment is active, by the audit events; null when they do not reach back';

-- For people.

-- A watch in words.
CREATE FUNCTION miosa.watch_line(w miosa.watches) RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT miosa.clip(concat_ws(', ', format('%s on alert', $1.on_alert),
		CASE WHEN $1.on_alert = 'notify' THEN NULL WHEN l.time IS NULL THEN 'not now' WHEN l.time <= '0' THEN format('%s have passed', miosa.span($1.bake))
			ELSE format('%s of %s left', miosa.span(l.time), miosa.span($1.bake)) END,
		CASE WHEN $1.labels <> '{}' THEN 'if ' || (SELECT string_agg(k.key || '=' || k.value, ' ' ORDER BY k.key) FROM jsonb_each_text($1.labels) k) END), 64)
	FROM (SELECT $1.bake - (clock_timestamp() - miosa.active_since($1.deployment_id)) AS time OFFSET 0) l
$$;
COMMENT ON FUNCTION miosa.watch_line(miosa.watches) IS 'What alerts do, for how much longer, and which ones; at most 64 characters';

-- Describe the response of miosa_watch() or miosa_unwatch() in rows of (item,
-- value).
CREATE FUNCTION miosa.watch_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	w miosa.watches;
BEGIN
	SELECT * INTO w FROM miosa.watches o WHERE o.deployment_id = id;
	item := 'result';
	value := format('%s (#%s)', CASE WHEN w.deployment_id IS NULL THEN 'not watched' ELSE 'watched' END,
		split_part(response -> 'operation' ->> 'id', '#', 2));
	RETURN NEXT;
	IF w.deployment_id IS NOT NULL THEN
		item := 'watched';
		value := miosa.watch_line(w);
		RETURN NEXT;
	END IF;
	item := 'next';
	FOR value IN SELECT p.line FROM miosa.paste('SELECT * FROM miosa.status', miosa.call_name(id)) p (line) LOOP
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.watch_lines(text, jsonb) IS 'Rows of miosa.watch() or miosa.unwatch(), from the response';

-- For the functions below, whichever other functions have these names.

-- Watch a deployment.
CREATE FUNCTION miosa.call_watch(deployment_id text, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_watch($1, $2, $3, $4, $5, $6);
COMMENT ON FUNCTION miosa.call_watch(text, interval, text, jsonb, text, text) IS 'Calls the extension''s miosa_watch';

-- Watch it no longer.
CREATE FUNCTION miosa.call_unwatch(deployment_id text, idempotency_key text, reason text) RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE
RETURN @extschema@.miosa_unwatch($1, $2, $3);
COMMENT ON FUNCTION miosa.call_unwatch(text, text, text) IS 'Calls the extension''s miosa_unwatch';

-- Do the work of miosa.watch().
CREATE FUNCTION miosa.watch_rows(deployment text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.watch_lines(f.id, miosa.call_watch(f.id, $2, $3, $4, $6, $5)) l
$$;
COMMENT ON FUNCTION miosa.watch_rows(text, interval, text, jsonb, text, text) IS 'Rows of miosa.watch()';

-- Enter watch_rows() from C.
CREATE FUNCTION miosa.watch(deployment text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.watch(text, interval, text, jsonb, text, text) IS 'Watches a deployment, for people: rows of (item, value)';

-- Do the work of miosa.unwatch().
CREATE FUNCTION miosa.unwatch_rows(deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id)
	CROSS JOIN LATERAL miosa.watch_lines(f.id, miosa.call_unwatch(f.id, $3, $2)) l
$$;
COMMENT ON FUNCTION miosa.unwatch_rows(text, text, text) IS 'Rows of miosa.unwatch()';

-- Enter unwatch_rows() from C.
CREATE FUNCTION miosa.unwatch(deployment text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.unwatch(text, text, text) IS 'Ends the watch of a deployment, for people: rows of (item, value)';
