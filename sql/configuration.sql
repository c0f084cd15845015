-- Changes of the configuration are audited: who changed what, from what to what.
--
-- All events of an installation are one chain.  A change takes its place in it
-- when its transaction commits, by a deferred trigger: so the lock on the chain's
-- row is the last one of every transaction, and is held for the commit alone.
--
-- A restored copy begins a chain of its own, with the rows that the restore
-- inserts, and keeps the one that it has brought.

CREATE TABLE miosa.configuration_events (
	chain text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	kind text NOT NULL,
	object text NOT NULL,
	action text NOT NULL,
	was jsonb,
	becomes jsonb,
	reason text,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet,
	created_at timestamptz NOT NULL,
	hash bytea NOT NULL,
	PRIMARY KEY (chain, seq)
);
CREATE INDEX configuration_events_object ON miosa.configuration_events (kind, object, created_at);
CREATE INDEX configuration_events_time ON miosa.configuration_events (created_at);
COMMENT ON TABLE miosa.configuration_events IS 'One event a change of the configuration; append-only for everybody';
COMMENT ON COLUMN miosa.configuration_events.chain IS 'Chain that it belongs to: one for each installation that the database has been';
COMMENT ON COLUMN miosa.configuration_events.seq IS 'Number in the chain, in the order of commits';
COMMENT ON COLUMN miosa.configuration_events.kind IS 'Table whose row was changed; dispatcher for what is no row';
COMMENT ON COLUMN miosa.configuration_events.object IS 'Key of the row, its parts with slashes between them';
COMMENT ON COLUMN miosa.configuration_events.action IS 'insert, update, delete, or what was done';
COMMENT ON COLUMN miosa.configuration_events.was IS 'Values before that have changed; all of a deleted row; never a secret';
COMMENT ON COLUMN miosa.configuration_events.becomes IS 'The same values since; all of a new row';
COMMENT ON COLUMN miosa.configuration_events.reason IS 'Why, if the row says so';
COMMENT ON COLUMN miosa.configuration_events.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.configuration_events.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.configuration_events.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.configuration_events.client_addr IS 'Address of the client; null over a Unix socket';
COMMENT ON COLUMN miosa.configuration_events.created_at IS 'When the change was committed';
COMMENT ON COLUMN miosa.configuration_events.hash IS 'SHA-256 over the event and the hash of the one before it';

CREATE TABLE miosa.configuration_chains (
	chain text COLLATE "C" PRIMARY KEY,
	seq bigint NOT NULL DEFAULT 0,
	hash bytea
) WITH (fillfactor = 10);
COMMENT ON TABLE miosa.configuration_chains IS 'Heads of the chains of configuration events';
COMMENT ON COLUMN miosa.configuration_chains.chain IS 'Chain';
COMMENT ON COLUMN miosa.configuration_chains.seq IS 'Number of its newest event';
COMMENT ON COLUMN miosa.configuration_chains.hash IS 'Hash of that event; null for none';

CREATE TABLE miosa.configuration_chain (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	chain text COLLATE "C" NOT NULL
);
COMMENT ON TABLE miosa.configuration_chain IS 'The chain of this installation; one row, which is not dumped';
COMMENT ON COLUMN miosa.configuration_chain.one IS 'Always true';
COMMENT ON COLUMN miosa.configuration_chain.chain IS 'Chain that new events belong to';
INSERT INTO miosa.configuration_chain (chain) VALUES (gen_random_uuid()::text);
INSERT INTO miosa.configuration_chains (chain) SELECT c.chain FROM miosa.configuration_chain c;
CREATE TRIGGER keep_local BEFORE INSERT OR UPDATE OR DELETE ON miosa.configuration_chain
	FOR EACH ROW EXECUTE FUNCTION miosa.keep_local();
ALTER TABLE miosa.configuration_chain ENABLE REPLICA TRIGGER keep_local;

-- Compute the hash of an event.
CREATE FUNCTION miosa.configuration_hash(event miosa.configuration_events, previous bytea) RETURNS bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_configuration_hash';
COMMENT ON FUNCTION miosa.configuration_hash(miosa.configuration_events, bytea) IS 'The hash that a configuration event should have, after an event with this hash; null for none';

-- Read the actor, as operations do.
CREATE FUNCTION miosa.current_actor(OUT type text, OUT id text)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_current_actor';
COMMENT ON FUNCTION miosa.current_actor() IS 'Type and id of the actor of the current call';

-- Append an event to the chain.  Locks the chain until the transaction ends.
CREATE FUNCTION miosa.note_configuration(kind text, object text, action text, was jsonb, becomes jsonb, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '5 s' AS $$
#variable_conflict use_variable
DECLARE
	e miosa.configuration_events;
	previous bytea;
	actor record;
BEGIN
	-- A subscription brings the origin's events.
	IF miosa.is_applied() THEN
		RETURN;
	END IF;
	SELECT * INTO actor FROM miosa.current_actor();
	SELECT c.chain, c.seq + 1, c.hash INTO e.chain, e.seq, previous FROM miosa.configuration_chains c
		WHERE c.chain = (SELECT o.chain FROM miosa.configuration_chain o) FOR UPDATE;
	e.kind := kind;
	e.object := object;
	e.action := action;
	e.was := was;
	e.becomes := becomes;
	e.reason := reason;
	e.actor_type := actor.type;
	e.actor_id := actor.id;
	e.session_user_name := session_user;
	e.client_addr := inet_client_addr();
	e.created_at := clock_timestamp();
	e.hash := miosa.configuration_hash(e, previous);
	INSERT INTO miosa.configuration_events SELECT (e).*;
	UPDATE miosa.configuration_chains c SET seq = e.seq, hash = e.hash WHERE c.chain = e.chain;
END $$;
COMMENT ON FUNCTION miosa.note_configuration(text, text, text, jsonb, jsonb, text) IS 'Appends an event to the chain of configuration events, which stays locked until the transaction ends';

-- The first argument has the columns of the key, the second those that are left
-- out, each with commas.  An update notes the columns that it changes.  A
-- secret's value is shown as asterisks by its type, so its change is seen in the
-- images of the rows.
CREATE FUNCTION miosa.configuration_event() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
DECLARE
	left_out CONSTANT text[] := string_to_array(TG_ARGV[1], ',');
	was jsonb := to_jsonb(OLD) - left_out;
	becomes jsonb := to_jsonb(NEW) - left_out;
	object text := (SELECT string_agg(coalesce(becomes, was) ->> k, '/' ORDER BY n) FROM unnest(string_to_array(TG_ARGV[0], ',')) WITH ORDINALITY u (k, n));
	secret CONSTANT boolean := TG_TABLE_NAME = 'secrets';
BEGIN
	IF coalesce(becomes, was) ->> 'builtin' = 'true' THEN
		RETURN NULL;
	ELSIF TG_OP = 'UPDATE' THEN
		IF NOT secret THEN
			SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, becomes -> o.key) INTO was, becomes
				FROM jsonb_each(was) o WHERE o.value IS DISTINCT FROM becomes -> o.key;
		END IF;
		IF becomes IS NULL OR secret AND OLD *= NEW THEN
			RETURN NULL;
		END IF;
	END IF;
	PERFORM miosa.note_configuration(TG_TABLE_NAME, object, lower(TG_OP COLLATE "C"), was, becomes, to_jsonb(NEW) ->> 'reason');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.configuration_event() IS 'Trigger: notes a change of a row as a configuration event';

-- Everything about these.
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.endpoints DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', 'generation,origin,created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.adapters DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', '');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.secrets DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', 'value');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.storages DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('prefix', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.freezes DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', 'actor_type,actor_id,created_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.own_plans DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('name', '');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.tenants DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('id', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.tenant_members DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('tenant_id,role_name', 'granted_at');
CREATE CONSTRAINT TRIGGER configuration AFTER INSERT OR UPDATE OR DELETE ON miosa.schemas DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('tenant_id,name', 'version,compatible_from,applied_at,reported_by,reported_at');
-- Of the tables that are fed, what takes something away or moves it.
CREATE CONSTRAINT TRIGGER configuration AFTER DELETE OR UPDATE OF fqdn, deployment_id ON miosa.domains DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('fqdn', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER DELETE ON miosa.deployments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('id', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration_update AFTER UPDATE OF slug, tenant_id ON miosa.deployments DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN ((OLD.slug, OLD.tenant_id) IS DISTINCT FROM (NEW.slug, NEW.tenant_id))
	EXECUTE FUNCTION miosa.configuration_event('id', 'updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER DELETE ON miosa.versions DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION miosa.configuration_event('deployment_id,id', 'created_at,updated_at');
CREATE CONSTRAINT TRIGGER configuration_update AFTER UPDATE OF pinned, state ON miosa.versions DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (OLD.pinned <> NEW.pinned OR OLD.state <> NEW.state AND NEW.state = 'archived')
	EXECUTE FUNCTION miosa.configuration_event('deployment_id,id', 'updated_at');
CREATE CONSTRAINT TRIGGER configuration AFTER UPDATE OF collected_at, deleted_at ON miosa.releases DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN ((OLD.collected_at, OLD.deleted_at) IS DISTINCT FROM (NEW.collected_at, NEW.deleted_at))
	EXECUTE FUNCTION miosa.configuration_event('deployment_id,id', 'updated_at');

-- Keep events as they are, and let heads only move forward.
CREATE FUNCTION miosa.configuration_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'configuration_chains' THEN
		IF (to_jsonb(NEW) ->> 'seq')::bigint > (to_jsonb(OLD) ->> 'seq')::bigint THEN
			RETURN NEW;
		END IF;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', 'configuration events cannot be changed', format('%s on miosa.%I was refused.', TG_OP, TG_TABLE_NAME),
		'Read them with SELECT miosa_configuration_log();');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.configuration_keep() IS 'Trigger: raises FORBIDDEN on changes of configuration events';
CREATE TRIGGER configuration_keep BEFORE UPDATE OR DELETE ON miosa.configuration_events FOR EACH ROW EXECUTE FUNCTION miosa.configuration_keep();
CREATE TRIGGER configuration_truncate BEFORE TRUNCATE ON miosa.configuration_events FOR EACH STATEMENT EXECUTE FUNCTION miosa.configuration_keep();
CREATE TRIGGER configuration_keep BEFORE UPDATE OR DELETE ON miosa.configuration_chains FOR EACH ROW EXECUTE FUNCTION miosa.configuration_keep();
CREATE TRIGGER configuration_truncate BEFORE TRUNCATE ON miosa.configuration_chains FOR EACH STATEMENT EXECUTE FUNCTION miosa.configuration_keep();
ALTER TABLE miosa.configuration_events ENABLE ALWAYS TRIGGER configuration_keep;
ALTER TABLE miosa.configuration_events ENABLE ALWAYS TRIGGER configuration_truncate;

-- Return a page of configuration events.
CREATE FUNCTION @extschema@.miosa_configuration_log(kind text DEFAULT NULL, object text DEFAULT NULL, since timestamptz DEFAULT NULL,
	until timestamptz DEFAULT NULL, "limit" integer DEFAULT 50) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	PERFORM miosa.need_all_tenants();
	PERFORM miosa.check_limit("limit", 200);
	RETURN (SELECT jsonb_build_object('data', coalesce(jsonb_agg(to_jsonb(p) - '{hash,created_at}'::text[]
			|| jsonb_build_object('created_at', miosa.iso(p.created_at), 'hash', encode(p.hash, 'hex')) ORDER BY p.created_at DESC, p.seq DESC), '[]'))
		FROM (SELECT * FROM miosa.configuration_events e
			WHERE (kind IS NULL OR e.kind = kind) AND (object IS NULL OR e.object = object)
				AND (since IS NULL OR e.created_at >= since) AND (until IS NULL OR e.created_at < until)
			ORDER BY e.created_at DESC, e.seq DESC LIMIT "limit") p);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_configuration_log(text, text, timestamptz, timestamptz, integer) IS 'Configuration events, newest first: {"data": [event...]}';

-- The chains, compared with their heads.
CREATE FUNCTION miosa.configuration_problems() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET jit = off AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('chain', p.chain, 'seq', p.seq, 'problem', p.problem) ORDER BY p.chain, p.seq), '[]') FROM (
		SELECT v.chain, v.seq, CASE WHEN v.seq <> v.expected THEN format('event %s of the configuration is missing', v.expected)
			ELSE 'the event of the configuration does not match its hash' END AS problem
		FROM (SELECT e.chain, e.seq, coalesce(lag(e.seq) OVER w, 0) + 1 AS expected, e.hash = miosa.configuration_hash(e, lag(e.hash) OVER w) AS matches
			FROM miosa.configuration_events e WINDOW w AS (PARTITION BY e.chain ORDER BY e.seq)) v
		WHERE v.seq <> v.expected OR NOT v.matches
		UNION ALL
		SELECT coalesce(c.chain, l.chain), coalesce(l.seq, 0), 'the newest event of the configuration is not the head of the chain'
		FROM miosa.configuration_chains c
		FULL JOIN (SELECT DISTINCT ON (e.chain) e.chain, e.seq, e.hash FROM miosa.configuration_events e ORDER BY e.chain, e.seq DESC) l ON l.chain = c.chain
		WHERE (coalesce(l.seq, 0), l.hash) IS DISTINCT FROM (c.seq, c.hash)) p
$$;
COMMENT ON FUNCTION miosa.configuration_problems() IS 'Configuration events that are missing or do not match their hash';

-- One that was kept outside must still be there.
CREATE FUNCTION miosa.configuration_known(chain text, seq bigint, hash bytea) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT jsonb_build_array(jsonb_build_object('chain', $1, 'seq', $2, 'problem', 'the event of the configuration is missing or has another hash than was given'))
	WHERE NOT EXISTS (SELECT FROM miosa.configuration_events e WHERE e.chain = $1 AND e.seq = $2 AND e.hash = $3)
$$;
COMMENT ON FUNCTION miosa.configuration_known(text, bigint, bytea) IS 'The problem if a configuration event is missing or has not this hash';

-- The line of statements.
CREATE FUNCTION miosa.configuration_line() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT format(E'configuration %s %s %s\n', c.chain, c.seq, encode(c.hash, 'hex'))
	FROM miosa.configuration_chains c JOIN miosa.configuration_chain o ON o.chain = c.chain WHERE c.seq > 0
$$;
COMMENT ON FUNCTION miosa.configuration_line() IS 'Head of the configuration events, as statements of the audit trail have it; null before the first one';
