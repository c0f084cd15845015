-- What a shard needs besides the extension: run this script in its database,
-- as a superuser, after CREATE EXTENSION miosa_rollback.  It can be run again.
--
--   psql -d SHARD -v ON_ERROR_STOP=1 -f miosa_shard.sql

\set ON_ERROR_STOP on
BEGIN;

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'miosa_rollback') THEN
		RAISE EXCEPTION 'database "%" does not have the extension miosa_rollback', current_database()
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CREATE EXTENSION miosa_rollback;';
	END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS miosa_shard;
GRANT USAGE ON SCHEMA miosa_shard TO PUBLIC;

CREATE TABLE IF NOT EXISTS miosa_shard.parcels (
	deployment_id text COLLATE "C" PRIMARY KEY,
	parcel jsonb NOT NULL,
	taken_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE miosa_shard.parcels IS 'Deployments that were taken from this shard, until the other one has them';

-- Moves of a deployment are numbered, so that a step of an earlier one that comes
-- late does nothing.
CREATE TABLE IF NOT EXISTS miosa_shard.moved (
	deployment_id text COLLATE "C" PRIMARY KEY,
	number bigint NOT NULL,
	here boolean NOT NULL,
	moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS moved_at ON miosa_shard.moved (moved_at);
COMMENT ON TABLE miosa_shard.moved IS 'Deployments that have come to this shard or left it: the number of the last move, and whether it is here since';

CREATE TABLE IF NOT EXISTS miosa_shard.copies (
	deployment_id text COLLATE "C" NOT NULL,
	set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	parcel jsonb NOT NULL,
	settled boolean NOT NULL DEFAULT false,
	PRIMARY KEY (deployment_id, set_aside_at)
);
COMMENT ON TABLE miosa_shard.copies IS 'Deployments that were on two shards, and whose copy here did not count; settled: the other shard has sent its route since';

-- SHA-256, as miosa_router.bucket_of() has it.
CREATE OR REPLACE FUNCTION miosa_shard.bucket_of(key text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (get_byte(sha256(convert_to(key, 'UTF8')), 0) << 8 | get_byte(sha256(convert_to(key, 'UTF8')), 1)) & 1023;
COMMENT ON FUNCTION miosa_shard.bucket_of(text) IS 'Bucket of a deployment, or of a host';
CREATE INDEX IF NOT EXISTS deployments_bucket ON miosa.deployments (miosa_shard.bucket_of(id));

-- A call that was on its way here when its bucket moved must not add a deployment
-- or a host: the other shard would not know.
CREATE TABLE IF NOT EXISTS miosa_shard.buckets (
	bucket integer PRIMARY KEY,
	here boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE miosa_shard.buckets IS 'Whether deployments and hosts of a bucket may be added to this shard';
INSERT INTO miosa_shard.buckets SELECT n FROM generate_series(0, 1023) n ON CONFLICT DO NOTHING;

-- The lock is held until the end of the transaction, so who closes the bucket
-- waits for it.
CREATE OR REPLACE FUNCTION miosa_shard.check_bucket(key text, what text, here boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	place record;
BEGIN
	SELECT b.bucket, b.here INTO place FROM miosa_shard.buckets b WHERE b.bucket = miosa_shard.bucket_of(key) FOR SHARE;
	IF NOT coalesce($3, place.here) THEN
		PERFORM miosa.raise_condition('DEPLOYMENT_BUSY', format('%s "%s" is being moved', what, key),
			format('Its bucket %s has left this shard.', place.bucket), 'Retry with the same idempotency key.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_shard.check_bucket(text, text, boolean) IS 'Raises DEPLOYMENT_BUSY if the bucket has left this shard; here: what is known of the deployment by itself';

CREATE OR REPLACE FUNCTION miosa_shard.check_deployment() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- Locks first, then reads with a new snapshot whether it has left.
	PERFORM FROM miosa_shard.buckets b WHERE b.bucket = miosa_shard.bucket_of(NEW.id) FOR SHARE;
	PERFORM miosa_shard.check_bucket(NEW.id, 'deployment', (SELECT m.here FROM miosa_shard.moved m WHERE m.deployment_id = NEW.id));
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa_shard.check_deployment() IS 'Trigger: refuses a new deployment that belongs to another shard by now';
-- After deployments_insert, which waits for one of this id that is being taken.
CREATE OR REPLACE TRIGGER miosa_shard_deployment BEFORE INSERT ON miosa.deployments
	FOR EACH ROW EXECUTE FUNCTION miosa_shard.check_deployment();

-- Settings of the session at the router, for this statement's transaction: what
-- the role that calls may set here.
CREATE OR REPLACE FUNCTION miosa_shard.adopt(context text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	FOR n IN 1 .. coalesce(cardinality(context), 0) / 2 LOOP
		IF current_setting(context[2 * n - 1], true) IS DISTINCT FROM context[2 * n] THEN
			PERFORM set_config(context[2 * n - 1], context[2 * n], true);
		END IF;
	END LOOP;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa_shard.adopt(text[]) IS 'Sets these settings for the transaction; true';

-- What a function has told a gateway besides its result: headers and a status, which
-- the router's session repeats (miosa_router.received()).
CREATE OR REPLACE FUNCTION miosa_shard.answer(result jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	headers text := nullif(current_setting('response.headers', true), '');
	status text := nullif(current_setting('response.status', true), '');
BEGIN
	RETURN CASE WHEN headers IS NULL AND status IS NULL THEN result
		ELSE jsonb_build_object('miosa_shard.answer', result, 'headers', headers::jsonb, 'status', status) END;
END $$;
COMMENT ON FUNCTION miosa_shard.answer(jsonb) IS 'A result, with what a gateway has to know besides it, if there is anything';

-- What a router compares: the configuration that all shards have alike, by name,
-- with a digest of each row.  A secret's digest has 16 bits: enough to see that two
-- differ, too few to find a value by.
CREATE OR REPLACE FUNCTION miosa_shard.digest(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN left(encode(sha256(convert_to(content, 'UTF8')), 'hex'), 12);
COMMENT ON FUNCTION miosa_shard.digest(text) IS 'The first characters of a digest';

-- pg_dump has neither triggers nor indexes of the extension's tables.
CREATE OR REPLACE FUNCTION miosa_shard.lacking() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY(SELECT 'trigger miosa_shard_deployment' WHERE NOT EXISTS (SELECT FROM pg_trigger t
			WHERE t.tgrelid = 'miosa.deployments'::regclass AND t.tgname = 'miosa_shard_deployment' AND t.tgenabled <> 'D')
		UNION ALL SELECT 'index deployments_bucket' WHERE NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
			WHERE i.indrelid = 'miosa.deployments'::regclass AND c.relname = 'deployments_bucket'))
$$;
COMMENT ON FUNCTION miosa_shard.lacking() IS 'What this script makes on tables of the extension, and is not there, after a restore for instance';

-- Only of what exists for the caller.
CREATE OR REPLACE FUNCTION miosa_shard.identity() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('extension', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'miosa_rollback'),
		'site', current_setting('miosa_rollback.site', true),
		'origin', miosa.origin(),
		-- Servers that were copied have the same system identifier
		'system', (SELECT concat_ws(' ', p.system_identifier, extract(epoch FROM pg_postmaster_start_time())) FROM pg_control_system() p),
		'database', (SELECT d.oid::text FROM pg_database d WHERE d.datname = current_database()),
		'lacking', miosa_shard.lacking(),
		'parcels', (SELECT coalesce(jsonb_agg(p.deployment_id ORDER BY p.deployment_id), '[]') FROM miosa_shard.parcels p WHERE c.all_tenants),
		'copies', (SELECT coalesce(jsonb_object_agg(o.deployment_id, o.settled), '{}') FROM (SELECT o.deployment_id, bool_and(o.settled) AS settled
			FROM miosa_shard.copies o GROUP BY o.deployment_id) o WHERE c.all_tenants),
		'plans', (SELECT coalesce(jsonb_object_agg(p.name, miosa_shard.digest(to_jsonb(p)::text)), '{}') FROM miosa.plans p WHERE c.all_tenants),
		'tenants', (SELECT coalesce(jsonb_object_agg(t.id, miosa_shard.digest(concat_ws(' ', t.slug, t.plan))), '{}')
			FROM miosa.tenants t WHERE miosa.sees_tenant(t.id)),
		'members', (SELECT coalesce(jsonb_object_agg(m.role_name || ' ' || m.tenant_id, miosa_shard.digest(array_to_string(m.scopes, ' '))), '{}')
			FROM miosa.tenant_members m WHERE c.all_tenants),
		'adapters', (SELECT coalesce(jsonb_object_agg(a.name, miosa_shard.digest((to_jsonb(a) - '{created_at,updated_at}'::text[])::text)), '{}')
			FROM miosa.adapters a WHERE c.all_tenants),
		'endpoints', (SELECT coalesce(jsonb_object_agg(e.name, miosa_shard.digest((to_jsonb(e) - '{created_at,updated_at,generation,origin}'::text[])::text)), '{}')
			FROM miosa.endpoints e WHERE c.all_tenants),
		'secrets', (SELECT coalesce(jsonb_object_agg(s.name, left(miosa_shard.digest((to_jsonb(s) - '{value,previous,created_at}'::text[])::text || ' ' || s.name
				|| ' ' || coalesce(miosa.reveal(s.value), '') || ' ' || coalesce(miosa.reveal(s.previous), '')), 4)), '{}')
			FROM miosa.secrets s WHERE c.all_tenants),
		'storages', (SELECT coalesce(jsonb_object_agg(s.prefix, miosa_shard.digest((to_jsonb(s) - '{created_at,updated_at}'::text[])::text)), '{}')
			FROM miosa.storages s WHERE c.all_tenants),
		'schemas', (SELECT coalesce(jsonb_object_agg(concat_ws(' ', s.name, s.tenant_id), miosa_shard.digest((to_jsonb(s) - '{applied_at,reported_at}'::text[])::text)), '{}')
			FROM miosa.schemas s WHERE c.all_tenants),
		'freezes', (SELECT coalesce(jsonb_object_agg(f.name, miosa_shard.digest((to_jsonb(f) - '{created_at}'::text[])::text)), '{}')
			FROM miosa.freezes f WHERE c.all_tenants))
	FROM (SELECT miosa.sees_all_tenants() AS all_tenants) c
$$;
COMMENT ON FUNCTION miosa_shard.identity() IS 'Version of the extension, site, and digests of the configuration of this shard';

-- What people call deployments by.
CREATE OR REPLACE FUNCTION miosa_shard.named(name text) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT miosa.deployments_named($1) || ARRAY(SELECT f.id FROM miosa.fleet_runs f WHERE f.id = $1 AND miosa.sees_fleet(f.tenant_id, f.acts_for))
$$;
COMMENT ON FUNCTION miosa_shard.named(text) IS 'Deployments of this id, host or slug, and the fleet of this id, that exist for the caller';

-- The directory of hosts, of which each shard has the entries of its buckets: a
-- host is on the shards once, though each shard's rows are unique only by
-- themselves.  An entry is claimed, then held, by a deployment of any shard.
CREATE TABLE IF NOT EXISTS miosa_shard.hosts (
	host text COLLATE "C" PRIMARY KEY,
	deployment_id text COLLATE "C" NOT NULL,
	state text NOT NULL CHECK (state IN ('claimed', 'held')),
	claimed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE miosa_shard.hosts IS 'Which deployment may have a host';

CREATE OR REPLACE FUNCTION miosa_shard.host_name(fqdn text) RETURNS text
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT miosa.check_host($1)
$$;
COMMENT ON FUNCTION miosa_shard.host_name(text) IS 'The host name as it is stored, or INVALID_ARGUMENT';

-- That a host is taken is said to everybody, and not by whom.
CREATE OR REPLACE FUNCTION miosa_shard.has_host(host text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = $1 AND m.state <> 'removed') OR miosa.managed_deployment($1) IS NOT NULL
$$;
COMMENT ON FUNCTION miosa_shard.has_host(text) IS 'Whether a deployment of this shard has the host, put or managed';

CREATE OR REPLACE FUNCTION miosa_shard.managed_by(host text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT miosa.seen_deployment(miosa.managed_deployment($1))
$$;
COMMENT ON FUNCTION miosa_shard.managed_by(text) IS 'Deployment of this shard that exists for the caller and whose managed host this is; null for none';

CREATE OR REPLACE FUNCTION miosa_shard.sees_host(host text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = $1 AND m.state <> 'removed' AND miosa.sees_tenant(m.tenant_id))
$$;
COMMENT ON FUNCTION miosa_shard.sees_host(text) IS 'Whether a deployment of this shard that exists for the caller has the host';

CREATE OR REPLACE FUNCTION miosa_shard.host_entry(host text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('deployment_id', h.deployment_id, 'state', h.state, 'claimed_at', h.claimed_at,
		'age', extract(epoch FROM clock_timestamp() - h.claimed_at))
	FROM (SELECT 1) o LEFT JOIN miosa_shard.hosts h ON h.host = $1 WHERE h.host IS NOT NULL
	UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM miosa_shard.hosts h WHERE h.host = $1)
$$;
COMMENT ON FUNCTION miosa_shard.host_entry(text) IS 'The directory''s entry of a host; null for none';

-- The entry may be of a deployment of another shard, and whether that exists for the
-- caller is not known here.
CREATE OR REPLACE FUNCTION miosa_shard.host_deployment(host text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT h.deployment_id FROM miosa_shard.hosts h WHERE h.host = $1 AND miosa.sees_all_tenants()
$$;
COMMENT ON FUNCTION miosa_shard.host_deployment(text) IS 'Deployment that has a host by the directory; null for none, and for who does not act for all tenants';

-- Null when the deployment has claimed the host; else the entry that is there, which
-- is the deployment's own if it holds the host.
-- Passed as expected, that entry is taken over if it is still the same.
CREATE OR REPLACE FUNCTION miosa_shard.claim_host(host text, deployment_id text, expected jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	entry jsonb;
BEGIN
	PERFORM miosa_shard.check_bucket(host, 'host', NULL);
	INSERT INTO miosa_shard.hosts AS h (host, deployment_id, state) VALUES (host, deployment_id, 'claimed')
		ON CONFLICT ON CONSTRAINT hosts_pkey DO UPDATE
			SET deployment_id = EXCLUDED.deployment_id, state = 'claimed', claimed_at = clock_timestamp()
			WHERE h.deployment_id = EXCLUDED.deployment_id AND h.state = 'claimed'
				OR (h.state, h.claimed_at) = (expected ->> 'state', (expected ->> 'claimed_at')::timestamptz);
	entry := miosa_shard.host_entry(host);
	RETURN CASE WHEN entry ->> 'deployment_id' <> deployment_id OR entry ->> 'state' = 'held'
		THEN entry - 'deployment_id' || jsonb_build_object('own', entry ->> 'deployment_id' = deployment_id) END;
END $$;
COMMENT ON FUNCTION miosa_shard.claim_host(text, text, jsonb) IS 'Claims a host for a deployment; null, or the entry of another one';

CREATE OR REPLACE FUNCTION miosa_shard.confirm_host(host text, deployment_id text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT miosa_shard.check_bucket($1, 'host', NULL);
	WITH done AS (UPDATE miosa_shard.hosts h SET state = 'held' WHERE h.host = $1 AND h.deployment_id = $2 RETURNING 1)
	SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION miosa_shard.confirm_host(text, text) IS 'Whether the claim was still the deployment''s; it is held then';

CREATE OR REPLACE FUNCTION miosa_shard.release_host(host text, deployment_id text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT miosa_shard.check_bucket($1, 'host', NULL);
	WITH done AS (DELETE FROM miosa_shard.hosts h WHERE h.host = $1 AND ($2 IS NULL OR h.deployment_id = $2) RETURNING 1)
	SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION miosa_shard.release_host(text, text) IS 'Removes an entry, of that deployment if one is given';

CREATE OR REPLACE FUNCTION miosa_shard.host_list(after text, OUT host text, OUT deployment_id text) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.fqdn, m.deployment_id FROM miosa.domains m
	WHERE m.fqdn > $1 AND m.state <> 'removed' AND miosa.sees_tenant(m.tenant_id) ORDER BY m.fqdn LIMIT 1000
$$;
COMMENT ON FUNCTION miosa_shard.host_list(text) IS 'The next thousand hosts of this shard';

-- Slugs have entries in the same directory, by tenant: "tenant/slug".  Null when the
-- deployment has the slug, or the call is for this shard to refuse.
CREATE OR REPLACE FUNCTION miosa_shard.slug_wanted(id text, tenant_id text, name text, slug text, fields jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	IF jsonb_typeof(fields) = 'object' THEN
		name := coalesce(name, fields ->> 'name');
		slug := coalesce(slug, fields ->> 'slug');
	END IF;
	SELECT p.* INTO d FROM miosa.deployments p WHERE p.id = id;
	tenant_id := coalesce(d.tenant_id, tenant_id);
	slug := coalesce(slug, CASE WHEN d.id IS NULL THEN miosa.default_slug(id, coalesce(name, id)) END);
	RETURN (SELECT jsonb_build_object('key', t.id || '/' || slug, 'tenant_id', t.id, 'slug', slug, 'host', miosa.managed_host(slug, t.slug))
		FROM miosa.tenants t WHERE t.id = tenant_id AND miosa.sees_tenant(t.id) AND slug IS DISTINCT FROM d.slug
			AND slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$');
END $$;
COMMENT ON FUNCTION miosa_shard.slug_wanted(text, text, text, text, jsonb) IS 'Slug that a deployment is to be given, with its entry and its host; null for none';

CREATE OR REPLACE FUNCTION miosa_shard.slug_owner(tenant_id text, slug text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT (SELECT p.id FROM miosa.deployments p WHERE p.tenant_id = $1 AND p.slug = $2 AND miosa.sees_tenant(p.tenant_id))
$$;
COMMENT ON FUNCTION miosa_shard.slug_owner(text, text) IS 'Deployment of this shard that has a slug; null for none';

CREATE OR REPLACE FUNCTION miosa_shard.slug_list(after text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('id', l.id, 'key', l.tenant_id || '/' || l.slug) ORDER BY l.id), '[]')
	FROM (SELECT p.id, p.tenant_id, p.slug FROM miosa.deployments p WHERE p.id > $1 AND miosa.sees_tenant(p.tenant_id) ORDER BY p.id LIMIT 1000) l
$$;
COMMENT ON FUNCTION miosa_shard.slug_list(text) IS 'Slugs of the next thousand deployments of this shard';

-- End the dispatcher of this database and wait until it is gone: what it has in
-- memory about rows that are deleted is not sent any more.  The launcher starts another
-- one within a second.
CREATE OR REPLACE FUNCTION miosa_shard.restart_dispatcher() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	dispatcher integer := (SELECT d.pid FROM miosa.dispatcher() d);
BEGIN
	IF dispatcher IS NOT NULL AND NOT pg_terminate_backend(dispatcher, 10000)
		AND EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = dispatcher) THEN
		PERFORM miosa.raise_condition('DEPLOYMENT_BUSY', format('the dispatcher of shard "%s" does not end', current_database()),
			format('It is process %s, and was waited for 10 s.', dispatcher), 'Repeat the call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_shard.restart_dispatcher() IS 'Ends the dispatcher, which is started again, and waits until it has ended';

-- Between two restarts the dispatcher shall deliver what others have queued.
CREATE OR REPLACE FUNCTION miosa_shard.rest() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	FOR n IN 1 .. 100 LOOP
		EXIT WHEN EXISTS (SELECT FROM miosa.dispatcher() d WHERE d.state = 'running') AND NOT EXISTS (SELECT FROM miosa.outbox);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_shard.rest() IS 'Waits until the dispatcher has taken what is queued, for 5 s at most';

-- A host that was removed here and is put on another shard: it must not be removed
-- from edges any more.
CREATE OR REPLACE FUNCTION miosa_shard.forget_host(host text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	forgotten boolean;
BEGIN
	DELETE FROM miosa.removed_hosts r WHERE r.host = host;
	forgotten := FOUND;
	DELETE FROM miosa.outbox o WHERE o.kind = 'host_removed' AND o.host = host;
	forgotten := forgotten OR FOUND;
	DELETE FROM miosa.route_log l WHERE l.kind = 'host_removed' AND l.host = host AND l.epoch > (SELECT coalesce(min(s.acked_epoch), 0)
		FROM miosa.endpoint_state s);
	RETURN forgotten OR FOUND;
END $$;
COMMENT ON FUNCTION miosa_shard.forget_host(text) IS 'Forgets that a host was removed here; whether it had been';

-- Moving a deployment.  It is taken from its shard in one transaction, with all rows, and
-- kept as a parcel until the other shard has it, so that at every moment one place has
-- it, and never two shards.  Audit events stay where they were written as well, since
-- nobody may delete them; miosa_shard.moved says that they are not counted there.

CREATE OR REPLACE FUNCTION miosa_shard.has_trail(deployment_id text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = $1) OR EXISTS (SELECT FROM miosa.audit_checkpoints c WHERE c.deployment_id = $1)
$$;
COMMENT ON FUNCTION miosa_shard.has_trail(text) IS 'Whether this shard has audit events of a deployment';

-- What a move needs to know before anything is taken.

CREATE OR REPLACE FUNCTION miosa_shard.arrival(deployment_id text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('present', EXISTS (SELECT FROM miosa.deployments d WHERE d.id = $1),
		'number', coalesce((SELECT m.number FROM miosa_shard.moved m WHERE m.deployment_id = $1), 0),
		'seq', t.seq, 'hash', encode(t.hash, 'hex'))
	FROM (SELECT 1) o LEFT JOIN (
		SELECT e.seq, e.hash FROM (
			SELECT a.seq, a.hash FROM miosa.audit_events a WHERE a.deployment_id = $1
			UNION ALL
			SELECT c.seq, c.hash FROM miosa.audit_checkpoints c WHERE c.deployment_id = $1 AND c.hash IS NOT NULL) e
		ORDER BY e.seq DESC LIMIT 1) t ON true
$$;
COMMENT ON FUNCTION miosa_shard.arrival(text) IS 'What this shard has of a deployment that may move to it: whether it is there, the number of its last move, its newest audit event';

-- Null when nothing of the deployment is here.  What the other shard has of the audit
-- trail must be the beginning of the one that is here.
CREATE OR REPLACE FUNCTION miosa_shard.departure(deployment_id text, arrival jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	left_here boolean := EXISTS (SELECT FROM miosa_shard.moved m WHERE m.deployment_id = deployment_id AND NOT m.here);
BEGIN
	SELECT p.* INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT FOUND AND (left_here OR (arrival ->> 'present')::boolean OR NOT miosa_shard.has_trail(deployment_id)) THEN
		RETURN NULL;
	ELSIF (arrival ->> 'present')::boolean THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('deployment "%s" is on both shards', deployment_id),
			'One of them was restored from a backup, or both were given it.', 'At the router: CALL miosa_router.resolve_misplaced();');
	ELSIF miosa.audit_known(deployment_id, (arrival ->> 'seq')::bigint, decode(arrival ->> 'hash', 'hex')) IS NOT NULL AND arrival ->> 'seq' IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('deployment "%s" cannot move to a shard that has another audit trail of it', deployment_id),
			format('Event "%s#%s" of that shard is missing here, or is another one.', deployment_id, arrival ->> 'seq'),
			'Move it to another shard: audit events are not deleted before they have expired.');
	END IF;
	RETURN jsonb_build_object('tenant_id', d.tenant_id, 'slug', d.slug,
		'number', greatest((arrival ->> 'number')::bigint, (SELECT m.number FROM miosa_shard.moved m WHERE m.deployment_id = deployment_id)) + 1,
		'hosts', ARRAY(SELECT m.fqdn FROM miosa.domains m WHERE m.deployment_id = deployment_id AND m.state <> 'removed'));
END $$;
COMMENT ON FUNCTION miosa_shard.departure(text, jsonb) IS 'What a shard has to have for a deployment of this one that moves there, and the number of the move; null if it is not here';

CREATE OR REPLACE FUNCTION miosa_shard.check_arrival(deployment_id text, departure jsonb) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	other text;
	host text;
BEGIN
	IF departure ->> 'tenant_id' IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = departure ->> 'tenant_id') THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', departure ->> 'tenant_id'),
			format('Deployment "%s" belongs to it.', deployment_id), 'At the router: SELECT miosa_put_tenant(id, slug); then repeat the call.');
	END IF;
	SELECT d.id INTO other FROM miosa.deployments d
		WHERE d.tenant_id = departure ->> 'tenant_id' AND d.slug = departure ->> 'slug' AND d.id <> deployment_id;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is taken', departure ->> 'slug'), format('Deployment "%s" has it.', other),
			format('Slugs are unique within a tenant: SELECT miosa_rename_deployment(%L, ''another-slug''); then repeat the call.', deployment_id));
	END IF;
	SELECT m.fqdn, m.deployment_id INTO host, other FROM miosa.domains m
		WHERE m.fqdn = ANY (ARRAY(SELECT h.value FROM jsonb_array_elements_text(departure -> 'hosts') h)) AND m.state <> 'removed' AND m.deployment_id <> deployment_id
		ORDER BY m.fqdn LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host), format('Deployment "%s" has it.', other),
			format('Remove it from one of the two: SELECT miosa_remove_domain(%L); then repeat the call.', host));
	END IF;
END $$;
COMMENT ON FUNCTION miosa_shard.check_arrival(text, jsonb) IS 'Raises INVALID_ARGUMENT if a deployment of another shard cannot become one of this shard';

-- Deleting fires no trigger, so edges are told nothing: the other shard tells them.
CREATE OR REPLACE FUNCTION miosa_shard.take_rows(deployment_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
	parcel jsonb := jsonb_build_object('deployment_id', deployment_id);
	rows jsonb;
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['audit_events', 'audit_checkpoints'] LOOP
		EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(t)), ''[]'') FROM miosa.%I t WHERE t.deployment_id = $1', name) INTO rows USING deployment_id;
		parcel := parcel || jsonb_build_object(name, rows);
	END LOOP;
	-- What a statement deletes is the newest state of a row, also of one that was
	-- changed without a lock on the deployment.
	FOREACH name IN ARRAY ARRAY['runtime_instances', 'holds', 'watches', 'alerts', 'idempotency_keys', 'capacity', 'removed_hosts', 'domains',
		'releases', 'versions', 'deployments']
	LOOP
		EXECUTE format('WITH t AS (DELETE FROM miosa.%I o WHERE o.%I = $1 RETURNING *) SELECT coalesce(jsonb_agg(to_jsonb(t)), ''[]'') FROM t',
			name, CASE name WHEN 'deployments' THEN 'id' ELSE 'deployment_id' END) INTO rows USING deployment_id;
		parcel := parcel || jsonb_build_object(name, rows);
	END LOOP;
	RETURN parcel;
END $$;
COMMENT ON FUNCTION miosa_shard.take_rows(text) IS 'Deletes the rows of a deployment and returns them';

-- Everything of a deployment that exists.  Alerts that all hooks have received are
-- not sent again by the other shard.
CREATE OR REPLACE FUNCTION miosa_shard.pack(deployment_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	parcel jsonb;
BEGIN
	parcel := miosa_shard.take_rows(deployment_id) || (SELECT jsonb_build_object('term', s.term, 'last_epoch', s.last_epoch) FROM miosa.dispatcher_state s)
		|| jsonb_build_object('unsent', ARRAY(SELECT o.host FROM miosa.outbox o WHERE o.deployment_id = deployment_id AND o.kind = 'host_removed'),
			'alerts_sent', (SELECT coalesce(min(r.number), 0) FROM miosa.alert_receivers r JOIN miosa.endpoints e ON e.name = r.receiver));
	DELETE FROM miosa.outbox o WHERE o.deployment_id = deployment_id;
	DELETE FROM miosa.route_log l WHERE l.deployment_id = deployment_id;
	DELETE FROM miosa.delivery_failures f WHERE f.deployment_id = deployment_id;
	RETURN parcel;
END $$;
COMMENT ON FUNCTION miosa_shard.pack(text) IS 'Takes the rows of a deployment and what is queued for it, and returns what another shard has to know';

-- Others lock a host before its deployment, and lock its bucket to add one.
CREATE OR REPLACE FUNCTION miosa_shard.lock_deployment(deployment_id text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	PERFORM FROM miosa.domains m WHERE m.deployment_id = deployment_id ORDER BY m.fqdn FOR UPDATE;
	PERFORM FROM miosa.deployments d WHERE d.id = deployment_id FOR UPDATE;
	PERFORM FROM miosa_shard.buckets b WHERE b.bucket = miosa_shard.bucket_of(deployment_id) FOR UPDATE;
	PERFORM FROM miosa.deployments d WHERE d.id = deployment_id FOR UPDATE;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION miosa_shard.lock_deployment(text) IS 'Locks a deployment with its hosts, and whether one may be added; whether it is there';

-- Of one that was removed, the audit trail moves, so that one of the same id goes
-- on from its numbers.
CREATE OR REPLACE FUNCTION miosa_shard.take_deployment(deployment_id text, number bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	there boolean := miosa_shard.lock_deployment(deployment_id);
BEGIN
	IF EXISTS (SELECT FROM miosa_shard.parcels p WHERE p.deployment_id = deployment_id) THEN
		RETURN true;
	ELSIF NOT there AND (NOT miosa_shard.has_trail(deployment_id)
			OR EXISTS (SELECT FROM miosa_shard.moved m WHERE m.deployment_id = deployment_id AND NOT m.here)) THEN
		RETURN false;
	END IF;
	INSERT INTO miosa_shard.moved AS m (deployment_id, number, here) VALUES (deployment_id, number, false)
		ON CONFLICT ON CONSTRAINT moved_pkey DO UPDATE SET number = EXCLUDED.number, here = false, moved_at = clock_timestamp()
		WHERE m.number < EXCLUDED.number;
	IF FOUND THEN
		INSERT INTO miosa_shard.parcels (deployment_id, parcel) SELECT deployment_id, miosa_shard.pack(deployment_id) WHERE there
			UNION ALL SELECT deployment_id, jsonb_build_object('deployment_id', deployment_id,
				'audit_events', (SELECT jsonb_agg(to_jsonb(a)) FROM miosa.audit_events a WHERE a.deployment_id = $1),
				'audit_checkpoints', (SELECT jsonb_agg(to_jsonb(c)) FROM miosa.audit_checkpoints c WHERE c.deployment_id = $1)) WHERE NOT there;
	END IF;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION miosa_shard.take_deployment(text, bigint) IS 'Takes a deployment from this shard, once; whether there is a parcel of it';

CREATE OR REPLACE FUNCTION miosa_shard.parcel(deployment_id text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT (SELECT p.parcel FROM miosa_shard.parcels p WHERE p.deployment_id = $1)
$$;
COMMENT ON FUNCTION miosa_shard.parcel(text) IS 'The parcel of a deployment that was taken from this shard; null for none';

-- Retention has passed here over no more than there: where it has removed more there,
-- the rest of what is left here has expired as well.
CREATE OR REPLACE FUNCTION miosa_shard.write_trail(parcel jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
	deployment CONSTANT text := parcel ->> 'deployment_id';
	there miosa.audit_checkpoints;
	last record;
BEGIN
	SELECT * INTO there FROM jsonb_populate_recordset(NULL::miosa.audit_checkpoints, parcel -> 'audit_checkpoints') c;
	SELECT a.seq, a.hash INTO last FROM miosa.audit_events a WHERE a.deployment_id = deployment ORDER BY a.seq DESC LIMIT 1;
	IF there.hash IS NOT NULL AND last.seq < there.seq THEN
		INSERT INTO miosa.audit_checkpoints AS c (deployment_id, seq, hash) VALUES (deployment, last.seq, last.hash)
			ON CONFLICT ON CONSTRAINT audit_checkpoints_pkey DO UPDATE SET seq = EXCLUDED.seq, hash = EXCLUDED.hash WHERE c.seq < EXCLUDED.seq;
		DELETE FROM miosa.audit_events a WHERE a.deployment_id = deployment;
	END IF;
	IF there.hash IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = deployment) THEN
		INSERT INTO miosa.audit_checkpoints AS c (deployment_id, seq, hash) VALUES (deployment, there.seq, there.hash)
			ON CONFLICT ON CONSTRAINT audit_checkpoints_pkey DO UPDATE SET seq = EXCLUDED.seq, hash = EXCLUDED.hash WHERE c.seq < EXCLUDED.seq;
	END IF;
	INSERT INTO miosa.audit_events SELECT a.* FROM jsonb_populate_recordset(NULL::miosa.audit_events, parcel -> 'audit_events') a
		WHERE a.seq > coalesce((SELECT c.seq FROM miosa.audit_checkpoints c WHERE c.deployment_id = deployment), 0)
		ON CONFLICT DO NOTHING;
	-- Where the trail of one that was removed ends
	IF there.deleted_at IS NOT NULL THEN
		INSERT INTO miosa.audit_checkpoints AS c (deployment_id, last_seq, last_hash, deleted_at) VALUES (deployment, there.last_seq, there.last_hash, there.deleted_at)
			ON CONFLICT ON CONSTRAINT audit_checkpoints_pkey DO UPDATE
				SET last_seq = EXCLUDED.last_seq, last_hash = EXCLUDED.last_hash, deleted_at = EXCLUDED.deleted_at;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_shard.write_trail(jsonb) IS 'Inserts the audit events of a deployment that was taken from another shard';

-- A row that is in the way is an error, and the parcel stays.
CREATE OR REPLACE FUNCTION miosa_shard.write_rows(parcel jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
	name text;
BEGIN
	DELETE FROM miosa.domains m USING jsonb_populate_recordset(NULL::miosa.domains, parcel -> 'domains') n WHERE n.fqdn = m.fqdn AND m.state = 'removed';
	DELETE FROM miosa.removed_hosts r USING jsonb_populate_recordset(NULL::miosa.removed_hosts, parcel -> 'removed_hosts') n WHERE n.host = r.host;
	FOREACH name IN ARRAY ARRAY['deployments', 'versions', 'releases', 'domains', 'removed_hosts', 'capacity', 'idempotency_keys',
		'alerts', 'watches', 'holds', 'runtime_instances']
	LOOP
		EXECUTE format('INSERT INTO miosa.%I SELECT * FROM jsonb_populate_recordset(NULL::miosa.%I, $1)', name, name) USING parcel -> name;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_shard.write_rows(jsonb) IS 'Inserts the rows of a deployment that was taken from another shard';

-- Numbers of alerts count on their shard: one that was sent there gets a number that
-- no hook is waiting for.
CREATE OR REPLACE FUNCTION miosa_shard.renumber_alerts(parcel jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_set($1, '{alerts}', coalesce((SELECT jsonb_agg(a.value || jsonb_build_object('number',
			CASE WHEN (a.value ->> 'number')::bigint <= ($1 ->> 'alerts_sent')::bigint
				THEN least((SELECT min(o.number) FROM miosa.alerts o WHERE o.number IS NOT NULL), 0) - a.ordinality END))
		FROM jsonb_array_elements($1 -> 'alerts') WITH ORDINALITY a), '[]'))
$$;
COMMENT ON FUNCTION miosa_shard.renumber_alerts(jsonb) IS 'The parcel, with numbers of alerts that are this shard''s';

CREATE OR REPLACE FUNCTION miosa_shard.put_parcel(parcel jsonb, number bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	deployment CONSTANT text := parcel ->> 'deployment_id';
	host text;
BEGIN
	-- Waits for another call that puts it
	INSERT INTO miosa_shard.moved AS m (deployment_id, number, here) VALUES (deployment, number, true)
		ON CONFLICT ON CONSTRAINT moved_pkey DO UPDATE SET number = EXCLUDED.number, here = true, moved_at = clock_timestamp()
		WHERE m.number < EXCLUDED.number;
	IF NOT FOUND THEN
		RETURN EXISTS (SELECT FROM miosa_shard.moved m WHERE m.deployment_id = deployment AND m.number = number AND m.here);
	END IF;
	PERFORM miosa_shard.check_arrival(deployment, jsonb_build_object('tenant_id', parcel #> '{deployments,0,tenant_id}',
		'slug', parcel #> '{deployments,0,slug}', 'hosts', jsonb_path_query_array(parcel, '$.domains[*] ? (@.state != "removed").fqdn')));
	PERFORM miosa_shard.write_trail(parcel);
	-- Of an earlier move away from here
	DELETE FROM miosa_shard.parcels p WHERE p.deployment_id = deployment;
	IF parcel #>> '{deployments,0,id}' IS NULL THEN
		RETURN true;
	END IF;
	PERFORM miosa_shard.write_rows(miosa_shard.renumber_alerts(parcel));
	PERFORM miosa_shard.send_route(deployment, parcel);
	IF EXISTS (SELECT FROM miosa.capacity c WHERE c.deployment_id = deployment AND c.state <> 'drained') THEN
		PERFORM miosa.queue(deployment, 'capacity', NULL);
	END IF;
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa_shard.put_parcel(jsonb, bigint) IS 'Makes a deployment that was taken from another shard one of this shard, once, and sends its route; false if it has moved on since';

-- Edges compare the epochs of a deployment: those of here go on above those of there.
CREATE OR REPLACE FUNCTION miosa_shard.send_route(deployment_id text, parcel jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	host text;
BEGIN
	UPDATE miosa.dispatcher_state s SET term = greatest(s.term, (parcel ->> 'term')::bigint),
		last_epoch = greatest(s.last_epoch, (parcel ->> 'last_epoch')::bigint);
	FOR host IN SELECT h.value FROM jsonb_array_elements_text(parcel -> 'unsent') h
		WHERE NOT EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = h.value AND m.state = 'active') AND miosa.managed_deployment(h.value) IS NULL
	LOOP
		PERFORM miosa.queue(deployment_id, 'host_removed', host);
	END LOOP;
	PERFORM miosa.queue(deployment_id, 'route', NULL);
END $$;
COMMENT ON FUNCTION miosa_shard.send_route(text, jsonb) IS 'Sends the route of a deployment with epochs above those of the shard that had it, and what that one has not sent';

CREATE OR REPLACE FUNCTION miosa_shard.drop_parcel(deployment_id text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH done AS (DELETE FROM miosa_shard.parcels p WHERE p.deployment_id = $1 RETURNING 1)
	SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION miosa_shard.drop_parcel(text) IS 'Forgets a parcel, once the other shard has the deployment';

-- Turning back: from here on the move that has this number cannot arrive.  False if
-- it has.
CREATE OR REPLACE FUNCTION miosa_shard.bar_deployment(deployment_id text, number bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	INSERT INTO miosa_shard.moved AS m (deployment_id, number, here) VALUES (deployment_id, number, false)
		ON CONFLICT ON CONSTRAINT moved_pkey DO UPDATE SET number = EXCLUDED.number, here = false, moved_at = clock_timestamp()
		WHERE m.number < EXCLUDED.number;
	RETURN FOUND OR EXISTS (SELECT FROM miosa_shard.moved m WHERE m.deployment_id = deployment_id AND m.number = number AND NOT m.here);
END $$;
COMMENT ON FUNCTION miosa_shard.bar_deployment(text, bigint) IS 'Keeps the move of this number from arriving here; false if it has arrived';

-- The deployment is here again, or still.
CREATE OR REPLACE FUNCTION miosa_shard.keep_deployment(deployment_id text, number bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	parcel jsonb;
BEGIN
	PERFORM miosa_shard.lock_deployment(deployment_id);
	parcel := miosa_shard.parcel(deployment_id);
	IF parcel IS NOT NULL THEN
		RETURN miosa_shard.put_parcel(parcel, number);
	END IF;
	INSERT INTO miosa_shard.moved AS m (deployment_id, number, here) VALUES (deployment_id, number, true)
		ON CONFLICT ON CONSTRAINT moved_pkey DO UPDATE SET number = EXCLUDED.number, here = true, moved_at = clock_timestamp()
		WHERE m.number < EXCLUDED.number;
	RETURN EXISTS (SELECT FROM miosa_shard.moved m WHERE m.deployment_id = deployment_id AND m.number = number AND m.here);
END $$;
COMMENT ON FUNCTION miosa_shard.keep_deployment(text, bigint) IS 'Turns a move back on the shard that it began on: puts the parcel back, if there is one';

-- Moving a bucket.

CREATE OR REPLACE FUNCTION miosa_shard.close_bucket(bucket integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE miosa_shard.buckets b SET here = false WHERE b.bucket = $1
$$;
COMMENT ON FUNCTION miosa_shard.close_bucket(integer) IS 'Refuses new deployments and hosts of a bucket from here on';

CREATE OR REPLACE FUNCTION miosa_shard.open_bucket(bucket integer, entries jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa_shard.hosts h WHERE miosa_shard.bucket_of(h.host) = bucket;
	INSERT INTO miosa_shard.hosts SELECT * FROM jsonb_populate_recordset(NULL::miosa_shard.hosts, entries);
	UPDATE miosa_shard.buckets b SET here = true WHERE b.bucket = bucket;
END $$;
COMMENT ON FUNCTION miosa_shard.open_bucket(integer, jsonb) IS 'Makes a bucket one of this shard, with its entries of the directory of hosts';

CREATE OR REPLACE FUNCTION miosa_shard.bucket_hosts(bucket integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(to_jsonb(h)), '[]') FROM miosa_shard.hosts h WHERE miosa_shard.bucket_of(h.host) = $1
$$;
COMMENT ON FUNCTION miosa_shard.bucket_hosts(integer) IS 'The entries of a bucket in the directory of hosts';

CREATE OR REPLACE FUNCTION miosa_shard.drop_hosts(bucket integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa_shard.hosts h USING miosa_shard.buckets b WHERE b.bucket = $1 AND NOT b.here AND miosa_shard.bucket_of(h.host) = $1
$$;
COMMENT ON FUNCTION miosa_shard.drop_hosts(integer) IS 'Forgets the entries of a bucket that has left, in the directory of hosts';

-- Also what was removed and has an audit trail here.
CREATE OR REPLACE FUNCTION miosa_shard.bucket_list(bucket integer) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY(SELECT d.id FROM miosa.deployments d WHERE miosa_shard.bucket_of(d.id) = $1
		UNION
		SELECT c.deployment_id FROM miosa.audit_checkpoints c WHERE miosa_shard.bucket_of(c.deployment_id) = $1
			AND NOT EXISTS (SELECT FROM miosa_shard.moved m WHERE m.deployment_id = c.deployment_id AND NOT m.here)
		ORDER BY 1)
$$;
COMMENT ON FUNCTION miosa_shard.bucket_list(integer) IS 'Deployments of a bucket that are here';

-- Deployments that are on two shards.

CREATE OR REPLACE FUNCTION miosa_shard.deployment_list(after text) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.id FROM miosa.deployments d WHERE d.id > $1 AND miosa.sees_tenant(d.tenant_id) ORDER BY d.id LIMIT 1000
$$;
COMMENT ON FUNCTION miosa_shard.deployment_list(text) IS 'The next thousand deployments of this shard';

CREATE OR REPLACE FUNCTION miosa_shard.latest_moves() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY(SELECT m.deployment_id FROM miosa_shard.moved m ORDER BY m.moved_at DESC LIMIT 1000)
$$;
COMMENT ON FUNCTION miosa_shard.latest_moves() IS 'The last thousand deployments that have come or left';

-- The number of the last move; -1 for one that is not here, -2 for one that was and
-- has been removed.
CREATE OR REPLACE FUNCTION miosa_shard.move_numbers(deployments text[]) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_object_agg(i.id, CASE WHEN d.id IS NOT NULL THEN coalesce(m.number, 0)
		WHEN m.here OR m.here IS NULL AND miosa_shard.has_trail(i.id) THEN -2 ELSE -1 END), '{}')
	FROM unnest($1) i (id)
	LEFT JOIN miosa.deployments d ON d.id = i.id
	LEFT JOIN miosa_shard.moved m ON m.deployment_id = i.id
$$;
COMMENT ON FUNCTION miosa_shard.move_numbers(text[]) IS 'Which of these deployments are here, and how often they have moved';

-- Take the copy that does not count.  Its audit events stay, and are not counted.
CREATE OR REPLACE FUNCTION miosa_shard.set_aside(deployment_id text, number bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	hosts text[];
BEGIN
	IF NOT miosa_shard.lock_deployment(deployment_id) THEN
		RETURN false;
	END IF;
	hosts := ARRAY(SELECT h.host FROM miosa.hosts h WHERE h.deployment_id = deployment_id);
	INSERT INTO miosa_shard.moved AS m (deployment_id, number, here) VALUES (deployment_id, number, false)
		ON CONFLICT ON CONSTRAINT moved_pkey DO UPDATE SET number = greatest(m.number, EXCLUDED.number), here = false, moved_at = clock_timestamp();
	INSERT INTO miosa_shard.copies (deployment_id, parcel)
		SELECT deployment_id, p.parcel || jsonb_build_object('unsent', p.parcel -> 'unsent' || to_jsonb(hosts)) FROM (SELECT miosa_shard.pack(deployment_id)) p (parcel);
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa_shard.set_aside(text, bigint) IS 'Takes a copy of a deployment that does not count from this shard, and keeps it';

CREATE OR REPLACE FUNCTION miosa_shard.unsettled(OUT deployment_id text, OUT parcel jsonb) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT c.deployment_id, jsonb_build_object('term', c.parcel -> 'term', 'last_epoch', c.parcel -> 'last_epoch', 'unsent', c.parcel -> 'unsent')
	FROM miosa_shard.copies c WHERE NOT c.settled ORDER BY c.set_aside_at
$$;
COMMENT ON FUNCTION miosa_shard.unsettled() IS 'Copies that did not count, of which the other shard has not sent the route yet';

CREATE OR REPLACE FUNCTION miosa_shard.settle_copy(deployment_id text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	UPDATE miosa_shard.copies c SET settled = true WHERE c.deployment_id = $1 AND NOT c.settled
$$;
COMMENT ON FUNCTION miosa_shard.settle_copy(text) IS 'Notes that the shard whose copy counts has sent its route';

CREATE OR REPLACE FUNCTION miosa_shard.drop_copies(deployment_id text) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH done AS (DELETE FROM miosa_shard.copies c WHERE c.deployment_id = $1 AND c.settled RETURNING 1)
	SELECT count(*) FROM done
$$;
COMMENT ON FUNCTION miosa_shard.drop_copies(text) IS 'Deletes copies of a deployment that did not count; how many there were';

-- The audit trail.  Events of deployments that have left are counted where these are.

CREATE OR REPLACE FUNCTION miosa_shard.moved_away(OUT deployments bigint, OUT events bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT (SELECT count(*) FROM miosa_shard.moved m WHERE NOT m.here AND miosa_shard.has_trail(m.deployment_id)),
		(SELECT count(*) FROM miosa_shard.moved m JOIN miosa.audit_events a ON a.deployment_id = m.deployment_id WHERE NOT m.here)
$$;
COMMENT ON FUNCTION miosa_shard.moved_away() IS 'How many deployments have left this shard, and how many audit events of theirs are here';

CREATE OR REPLACE FUNCTION miosa_shard.audit_verify_all() RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	answer jsonb;
	schema name;
BEGIN
	SELECT e.extnamespace::regnamespace::name INTO schema FROM pg_extension e WHERE e.extname = 'miosa_rollback';
	-- In the caller's snapshot, both
	EXECUTE format('SELECT %I.miosa_audit_verify_all()', schema) INTO answer;
	RETURN jsonb_set(answer, '{data}', answer -> 'data' || (SELECT jsonb_build_object('deployments', (answer #>> '{data,deployments}')::bigint - m.deployments,
		'events', (answer #>> '{data,events}')::bigint - m.events, 'moved_events', m.events) FROM miosa_shard.moved_away() m));
END $$;
COMMENT ON FUNCTION miosa_shard.audit_verify_all() IS 'As miosa_audit_verify_all(), but events of deployments that have left are verified and not counted: moved_events';

-- One step of a move, for the router.  Moves concern all tenants.
CREATE OR REPLACE FUNCTION miosa_shard.move_step(step text, key text, number bigint, content jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	PERFORM miosa.require_all_tenants('function miosa_move_deployment');
	CASE step
	WHEN 'allowed' THEN NULL;
	WHEN 'arrival' THEN RETURN miosa_shard.arrival(key);
	WHEN 'departure' THEN RETURN miosa_shard.departure(key, content);
	WHEN 'check' THEN PERFORM miosa_shard.check_arrival(key, content);
	WHEN 'take' THEN RETURN to_jsonb(miosa_shard.take_deployment(key, number));
	WHEN 'restart' THEN PERFORM miosa_shard.restart_dispatcher();
	WHEN 'rest' THEN PERFORM miosa_shard.rest();
	WHEN 'parcel' THEN RETURN miosa_shard.parcel(key);
	WHEN 'put' THEN RETURN to_jsonb(miosa_shard.put_parcel(content, number));
	WHEN 'drop' THEN RETURN to_jsonb(miosa_shard.drop_parcel(key));
	WHEN 'bar' THEN RETURN to_jsonb(miosa_shard.bar_deployment(key, number));
	WHEN 'keep' THEN RETURN to_jsonb(miosa_shard.keep_deployment(key, number));
	WHEN 'close' THEN PERFORM miosa_shard.close_bucket(number::integer);
	WHEN 'open' THEN PERFORM miosa_shard.open_bucket(number::integer, content);
	WHEN 'hosts' THEN RETURN miosa_shard.bucket_hosts(number::integer);
	WHEN 'drop_hosts' THEN PERFORM miosa_shard.drop_hosts(number::integer);
	WHEN 'list' THEN RETURN to_jsonb(miosa_shard.bucket_list(number::integer));
	WHEN 'set_aside' THEN RETURN to_jsonb(miosa_shard.set_aside(key, number));
	WHEN 'unsettled' THEN RETURN (SELECT coalesce(jsonb_agg(to_jsonb(u)), '[]') FROM miosa_shard.unsettled() u);
	WHEN 'send_route' THEN PERFORM miosa_shard.send_route(key, content);
	WHEN 'settle' THEN PERFORM miosa_shard.settle_copy(key);
	WHEN 'drop_copies' THEN RETURN to_jsonb(miosa_shard.drop_copies(key));
	END CASE;
	RETURN 'true';
END $$;
COMMENT ON FUNCTION miosa_shard.move_step(text, text, bigint, jsonb) IS 'One step of a move of a deployment or of a bucket; FORBIDDEN for who does not act for all tenants';

-- What the doctor asks.
CREATE OR REPLACE FUNCTION miosa_shard.moves_seen(deployments text[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.require_all_tenants('function miosa_move_deployment');
	RETURN CASE WHEN deployments IS NULL THEN to_jsonb(miosa_shard.latest_moves()) ELSE miosa_shard.move_numbers(deployments) END;
END $$;
COMMENT ON FUNCTION miosa_shard.moves_seen(text[]) IS 'Which of these deployments are here, with the number of their last move; null: deployments that have come or left lately';

-- The steps of maintenance are the extension's, called by the router; it is a
-- procedure that the extension's own last step asks for.
CREATE OR REPLACE FUNCTION miosa_shard.maintained(began timestamptz, removed bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO miosa.maintenance (began_at, ended_at, removed, run_by)
		SELECT $1, clock_timestamp(), $2, miosa.caller() FROM miosa.require_all_tenants('function maintained') a
		ON CONFLICT (only_row) DO UPDATE SET began_at = excluded.began_at, ended_at = excluded.ended_at,
			removed = excluded.removed, run_by = excluded.run_by
$$;
COMMENT ON FUNCTION miosa_shard.maintained(timestamptz, bigint) IS 'Records that miosa_maintain() of the router has finished here';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA miosa_shard FROM PUBLIC;
-- An index calls bucket_of() as whoever writes.
GRANT EXECUTE ON FUNCTION miosa_shard.adopt(text[]), miosa_shard.answer(jsonb), miosa_shard.bucket_of(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.identity() TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_shard.named(text) TO miosa_viewer, miosa_auditor;
GRANT EXECUTE ON FUNCTION miosa_shard.host_deployment(text) TO miosa_viewer, miosa_edge;
GRANT EXECUTE ON FUNCTION miosa_shard.host_name(text), miosa_shard.has_host(text), miosa_shard.sees_host(text), miosa_shard.claim_host(text, text, jsonb),
	miosa_shard.confirm_host(text, text), miosa_shard.release_host(text, text), miosa_shard.host_list(text), miosa_shard.forget_host(text),
	miosa_shard.restart_dispatcher(), miosa_shard.deployment_list(text), miosa_shard.maintained(timestamptz, bigint),
	miosa_shard.managed_by(text), miosa_shard.slug_wanted(text, text, text, text, jsonb), miosa_shard.slug_owner(text, text), miosa_shard.slug_list(text),
	miosa_shard.move_step(text, text, bigint, jsonb) TO miosa_admin;
GRANT EXECUTE ON FUNCTION miosa_shard.moves_seen(text[]) TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_shard.audit_verify_all(), miosa_shard.moved_away() TO miosa_auditor;

COMMIT;
