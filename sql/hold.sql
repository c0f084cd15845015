-- Holds: a deployment that automatic promotions must leave as it is.
--
-- A rollback opens one, a person's promotion lifts it (src/operation/hold.c).  One
-- row a deployment at most; that of a hold that has ended is no hold, and is
-- overwritten or removed later.  What was is in the marks of the audit events.

CREATE TABLE miosa.holds (
	deployment_id text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C" NOT NULL,
	since timestamptz NOT NULL,
	until timestamptz,
	seq bigint NOT NULL,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	reason text,
	held bigint NOT NULL DEFAULT 0,
	waiting_version_id text COLLATE "C",
	waiting_since timestamptz
);
COMMENT ON TABLE miosa.holds IS 'Deployments that refuse automatic promotions; one row each at most, which is deleted when the hold is lifted';
COMMENT ON COLUMN miosa.holds.deployment_id IS 'Deployment';
COMMENT ON COLUMN miosa.holds.tenant_id IS 'Owner';
COMMENT ON COLUMN miosa.holds.since IS 'When it was opened';
COMMENT ON COLUMN miosa.holds.until IS 'When it ends by itself, and is no hold any more; null: when it is lifted';
COMMENT ON COLUMN miosa.holds.seq IS 'Number of the operation that opened it';
COMMENT ON COLUMN miosa.holds.actor_type IS 'Type of who opened it, as in miosa.audit_events';
COMMENT ON COLUMN miosa.holds.actor_id IS 'Id of who opened it';
COMMENT ON COLUMN miosa.holds.reason IS 'Why';
COMMENT ON COLUMN miosa.holds.held IS 'Promotions that it has refused, as far as a dispatcher has counted them';
COMMENT ON COLUMN miosa.holds.waiting_version_id IS 'Newest version that these promotions named';
COMMENT ON COLUMN miosa.holds.waiting_since IS 'When the first promotion of that version was refused';

-- Compare the end of a hold with the clock.
CREATE FUNCTION miosa.is_open(until timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN until IS NULL OR until > clock_timestamp();
COMMENT ON FUNCTION miosa.is_open(timestamptz) IS 'Whether a hold that ends then is open; null: it does not end by itself';

-- Look a version's number up.
CREATE FUNCTION miosa.version_number(deployment_id text, version_id text) RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT v.version_number FROM miosa.versions v WHERE v.deployment_id = $1 AND v.id = $2
$$;
COMMENT ON FUNCTION miosa.version_number(text, text) IS 'Number of a version; null when there is none';

-- Count refused promotions, and keep the newest version.  The deployment is locked,
-- as by everything that writes its hold.
CREATE FUNCTION miosa.remember_held(deployment_id text, version_id text, count bigint, at timestamptz, wait boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
BEGIN
	IF wait THEN
		PERFORM FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE;
	ELSE
		PERFORM FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE SKIP LOCKED;
		IF NOT FOUND THEN
			RETURN NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id);
		END IF;
	END IF;
	UPDATE miosa.holds h SET held = h.held + count,
			waiting_version_id = CASE WHEN n.newer THEN version_id ELSE h.waiting_version_id END,
			waiting_since = CASE WHEN n.newer THEN at ELSE h.waiting_since END
		FROM (SELECT coalesce(miosa.version_number(deployment_id, version_id)
				> coalesce(miosa.version_number(deployment_id, o.waiting_version_id), 0), false) AS newer
			FROM miosa.holds o WHERE o.deployment_id = deployment_id) n
		WHERE h.deployment_id = deployment_id AND h.since <= at;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa.remember_held(text, text, bigint, timestamptz, boolean) IS 'Has a hold count promotions of a version that were refused at a time; false, without wait, while the deployment is locked';

-- What an operation did to the hold.
CREATE FUNCTION miosa.hold_words(hold jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	until CONSTANT text := CASE WHEN hold ->> 'until' IS NULL THEN 'until lifted'
		ELSE to_char((hold ->> 'until')::timestamptz, '"until" MM-DD HH24:MI') END;
BEGIN
	RETURN CASE WHEN hold ? 'opened' THEN 'held against automatic promotions ' || until
		WHEN hold ? 'kept' THEN 'still held, ' || until
		ELSE 'hold lifted' || CASE hold -> 'was' ->> 'held' WHEN '0' THEN '' WHEN '1' THEN '; 1 promotion had been refused'
			ELSE format('; %s promotions had been refused', hold -> 'was' ->> 'held') END END;
END $$;
COMMENT ON FUNCTION miosa.hold_words(jsonb) IS 'Describes the member hold of an operation, or of an event''s marks, in one line';

-- Lines of miosa.status() about the hold.
CREATE FUNCTION miosa.held_lines(deployment_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	hold miosa.holds;
BEGIN
	SELECT * INTO hold FROM miosa.holds h WHERE h.deployment_id = deployment_id AND miosa.is_open(h.until);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'held';
	value := miosa.clip(format('for %s by %s, %s', miosa.span(clock_timestamp() - hold.since), miosa.short(hold.actor_id, 24),
		coalesce('ends in ' || miosa.span(hold.until - clock_timestamp()), 'until lifted')), 64);
	RETURN NEXT;
	item := '';
	IF hold.reason IS NOT NULL THEN
		value := '  ' || miosa.clip(hold.reason, 62);
		RETURN NEXT;
	END IF;
	IF hold.held > 0 THEN
		value := miosa.clip(format('  %s promotion%s refused', hold.held, CASE WHEN hold.held = 1 THEN '' ELSE 's' END)
			|| coalesce(', ' || miosa.version_name(deployment_id, hold.waiting_version_id) || ' waits', ''), 64);
		RETURN NEXT;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.held_lines(text) IS 'Lines of miosa.status() about the hold';

-- For people.
CREATE FUNCTION miosa.open_hold_rows(OUT deployment text, OUT age text, OUT ends text, OUT held bigint, OUT waiting text, OUT why text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY
	SELECT miosa.short(h.deployment_id, 16), miosa.rough_span(clock_timestamp() - h.since),
		coalesce(miosa.rough_span(h.until - clock_timestamp()), 'never'), h.held,
		coalesce(miosa.version_name(h.deployment_id, h.waiting_version_id), ''),
		miosa.clip(h.actor_id || coalesce(': ' || h.reason, ''), 24)
	FROM miosa.holds h
	WHERE miosa.is_open(h.until) AND miosa.sees_tenant(h.tenant_id)
	ORDER BY h.since, h.deployment_id;
END $$;
COMMENT ON FUNCTION miosa.open_hold_rows() IS 'Rows of miosa.open_holds';

CREATE VIEW miosa.open_holds AS SELECT * FROM miosa.open_hold_rows();
COMMENT ON VIEW miosa.open_holds IS 'Open holds, for people, the oldest first';
COMMENT ON COLUMN miosa.open_holds.deployment IS 'Deployment';
COMMENT ON COLUMN miosa.open_holds.age IS 'For how long it has been held';
COMMENT ON COLUMN miosa.open_holds.ends IS 'How soon the hold ends by itself';
COMMENT ON COLUMN miosa.open_holds.held IS 'Promotions that were refused';
COMMENT ON COLUMN miosa.open_holds.waiting IS 'Newest version that these promotions named';
COMMENT ON COLUMN miosa.open_holds.why IS 'Who opened it, and why';

-- Hold a deployment, for the console.
CREATE FUNCTION miosa.call_hold(deployment_id text, reason text, until timestamptz, idempotency_key text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_hold';
COMMENT ON FUNCTION miosa.call_hold(text, text, timestamptz, text) IS 'Calls miosa_hold';

-- Lift a hold; hints name the deployment as the caller did.
CREATE FUNCTION miosa.call_release(deployment_id text, promote text, reason text, idempotency_key text, name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_release';
COMMENT ON FUNCTION miosa.call_release(text, text, text, text, text) IS 'Calls miosa_release; hints name the deployment by this name';

-- Describe the response of miosa_hold() or miosa_release().
CREATE FUNCTION miosa.hold_lines(id text, response jsonb, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	hold CONSTANT jsonb := response -> 'operation' -> 'hold';
BEGIN
	item := 'result';
	value := format('%s (#%s)', CASE WHEN hold ? 'lifted' THEN 'released' ELSE 'held' END,
		split_part(response -> 'operation' ->> 'id', '#', 2));
	RETURN NEXT;
	item := 'hold';
	value := miosa.hold_words(hold);
	RETURN NEXT;
	IF hold -> 'was' ->> 'waiting_version_id' IS NOT NULL THEN
		item := 'waited';
		value := miosa.version_line(id, hold -> 'was' ->> 'waiting_version_id', NULL);
		RETURN NEXT;
	END IF;
	item := 'next';
	FOR value IN SELECT p.line FROM miosa.paste(CASE WHEN hold ? 'lifted' THEN 'SELECT * FROM miosa.status' ELSE 'SELECT * FROM miosa.release' END,
			miosa.call_name(id)) p (line) LOOP
		RETURN NEXT;
		item := '';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.hold_lines(text, jsonb) IS 'Rows of miosa.hold() or miosa.release(), from the response';

-- Do the work of miosa.hold().
CREATE FUNCTION miosa.hold_rows(deployment text, reason text DEFAULT NULL, until timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT l.* FROM miosa.find_deployment($1) f (id) CROSS JOIN LATERAL miosa.hold_lines(f.id, miosa.call_hold(f.id, $2, $3, $4)) l
$$;
COMMENT ON FUNCTION miosa.hold_rows(text, text, timestamptz, text) IS 'Rows of miosa.hold()';

-- Enter hold_rows() from C.
CREATE FUNCTION miosa.hold(deployment text, reason text DEFAULT NULL, until timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.hold(text, text, timestamptz, text) IS 'Holds a deployment against automatic promotions, for people: rows of (item, value)';

-- Do the work of miosa.release().
CREATE FUNCTION miosa.release_rows(deployment text, promote text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	id CONSTANT text := miosa.find_deployment(deployment);
	response CONSTANT jsonb := miosa.call_release(id, promote, reason, idempotency_key, miosa.call_name(id));
BEGIN
	IF promote IS NULL THEN
		RETURN QUERY SELECT l.* FROM miosa.hold_lines(id, response) l;
	ELSE
		RETURN QUERY SELECT l.* FROM miosa.operation_lines(id, response) l;
	END IF;
END $$;
COMMENT ON FUNCTION miosa.release_rows(text, text, text, text) IS 'Rows of miosa.release()';

-- Enter release_rows() from C.
CREATE FUNCTION miosa.release(deployment text, promote text DEFAULT NULL, reason text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.release(text, text, text, text) IS 'Lifts the hold of a deployment, for people: rows of (item, value); promote => ''newest'' promotes the version that waits';
