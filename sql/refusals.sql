-- Refused calls.  A condition ends the transaction of its call, so the
-- dispatcher writes them, from shared memory.

CREATE TABLE miosa.refusals (
	id bigint PRIMARY KEY,
	created_at timestamptz NOT NULL,
	count bigint NOT NULL,
	condition text NOT NULL,
	function_name text,
	action text,
	deployment_id text COLLATE "C",
	version_id text COLLATE "C",
	tenant_id text COLLATE "C",
	idempotency_key text COLLATE "C",
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet
);
CREATE INDEX refusals_time ON miosa.refusals (created_at);
COMMENT ON TABLE miosa.refusals IS 'Refused calls, the same one within a second in one row; append-only for everybody, and kept for 30 days';
COMMENT ON COLUMN miosa.refusals.id IS 'Number, in the order of the calls';
COMMENT ON COLUMN miosa.refusals.created_at IS 'When the call was refused, the first of several';
COMMENT ON COLUMN miosa.refusals.count IS 'How many calls';
COMMENT ON COLUMN miosa.refusals.condition IS 'Condition that was raised, as INVALID_ARGUMENT';
COMMENT ON COLUMN miosa.refusals.function_name IS 'Function that was called, or of the trigger; null when it is gone';
COMMENT ON COLUMN miosa.refusals.action IS 'As in miosa.audit_events, for operations; else null';
COMMENT ON COLUMN miosa.refusals.deployment_id IS 'Deployment that the call named, which may not exist; null when there was none';
COMMENT ON COLUMN miosa.refusals.version_id IS 'Version that the call named';
COMMENT ON COLUMN miosa.refusals.tenant_id IS 'Owner of the deployment, if the caller acts for it; else null, and the row is shown to those who act for all tenants';
COMMENT ON COLUMN miosa.refusals.idempotency_key IS 'Key of the call, if it had one';
COMMENT ON COLUMN miosa.refusals.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.refusals.actor_id IS 'Id of the actor, of that type; the role if it may not speak for others';
COMMENT ON COLUMN miosa.refusals.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.refusals.client_addr IS 'Address of the client; null over a Unix socket';

-- Write refusals that the ring has had.  A row that is there already was written
-- by a process that was ended before it could remove the entry.  A hold counts
-- those that it has refused; one whose deployment is locked comes again later.
CREATE FUNCTION miosa.write_refusals(refusals jsonb) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	later bigint[] := '{}';
	r record;
BEGIN
	FOR r IN SELECT e.* FROM jsonb_to_recordset($1) e (id bigint, at bigint, count bigint, condition text, acts boolean, deployment_id text, version_id text)
		WHERE e.condition = 'HELD' AND e.acts AND NOT EXISTS (SELECT FROM miosa.refusals w WHERE w.id = e.id)
		-- Locks are taken in the order of ids.
		ORDER BY e.deployment_id, e.id
	LOOP
		IF NOT miosa.remember_held(r.deployment_id, r.version_id, r.count, timestamptz '2000-01-01 00:00:00+00' + r.at * interval '1 microsecond', false) THEN
			later := later || r.id;
		END IF;
	END LOOP;
	INSERT INTO miosa.refusals (id, created_at, count, condition, function_name, action, deployment_id, version_id, tenant_id,
			idempotency_key, actor_type, actor_id, session_user_name, client_addr)
		SELECT r.id, timestamptz '2000-01-01 00:00:00+00' + r.at * interval '1 microsecond', r.count, r.condition,
			(SELECT concat(p.pronamespace::regnamespace, '.', p.proname) FROM pg_proc p WHERE p.oid = r.function), r.action,
			r.deployment_id, r.version_id,
			CASE WHEN r.acts THEN (SELECT d.tenant_id FROM miosa.deployments d WHERE d.id = r.deployment_id) END,
			r.idempotency_key, r.actor_type, r.actor_id, r.session_user_name, r.client_addr::inet
		FROM jsonb_to_recordset($1) r (id bigint, at bigint, count bigint, condition text, function oid, action text, acts boolean,
			deployment_id text, version_id text, idempotency_key text, actor_type text, actor_id text, session_user_name text, client_addr text)
		WHERE r.id <> ALL (later)
		ON CONFLICT ON CONSTRAINT refusals_pkey DO NOTHING;
	RETURN later;
END $$;
COMMENT ON FUNCTION miosa.write_refusals(jsonb) IS 'Writes refused calls; returns the ids of those that have to wait';

CREATE TRIGGER refusals_keep BEFORE UPDATE OR DELETE ON miosa.refusals
	FOR EACH ROW EXECUTE FUNCTION miosa.rows_keep('30 days', 'refused calls',
		'Read them: SELECT * FROM miosa.refusals ORDER BY id DESC LIMIT 50;');
CREATE TRIGGER refusals_truncate BEFORE TRUNCATE ON miosa.refusals
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.rows_keep('30 days', 'refused calls',
		'Read them: SELECT * FROM miosa.refusals ORDER BY id DESC LIMIT 50;');
ALTER TABLE miosa.refusals ENABLE ALWAYS TRIGGER refusals_keep;
ALTER TABLE miosa.refusals ENABLE ALWAYS TRIGGER refusals_truncate;
