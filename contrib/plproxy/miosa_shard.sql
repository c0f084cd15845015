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

-- Only of what exists for the caller.
CREATE OR REPLACE FUNCTION miosa_shard.identity() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('extension', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'miosa_rollback'),
		'site', current_setting('miosa_rollback.site', true),
		'origin', miosa.origin(),
		'parcels', (SELECT coalesce(jsonb_agg(p.deployment_id ORDER BY p.deployment_id), '[]') FROM miosa_shard.parcels p WHERE c.all_tenants),
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
	SELECT EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = $1 AND m.state <> 'removed')
$$;
COMMENT ON FUNCTION miosa_shard.has_host(text) IS 'Whether a deployment of this shard has the host';

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
	WITH done AS (UPDATE miosa_shard.hosts h SET state = 'held' WHERE h.host = $1 AND h.deployment_id = $2 RETURNING 1)
	SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION miosa_shard.confirm_host(text, text) IS 'Whether the claim was still the deployment''s; it is held then';

CREATE OR REPLACE FUNCTION miosa_shard.release_host(host text, deployment_id text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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

-- End the dispatcher of this database and wait until it is gone: what it has in
-- memory about rows that are deleted is not sent any more.  The launcher starts another
-- one within a second.
CREATE OR REPLACE FUNCTION miosa_shard.restart_dispatcher() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	dispatcher integer := (SELECT d.pid FROM miosa.dispatcher() d);
BEGIN
	PERFORM pg_terminate_backend(dispatcher, 10000);
END $$;
COMMENT ON FUNCTION miosa_shard.restart_dispatcher() IS 'Ends the dispatcher, which is started again, and waits until it has ended';

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
-- nobody may delete them.

CREATE OR REPLACE FUNCTION miosa_shard.require_all_tenants(what text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT miosa.require_all_tenants($1)
$$;
COMMENT ON FUNCTION miosa_shard.require_all_tenants(text) IS 'Raises FORBIDDEN unless the caller acts for all tenants; what: the function that concerns them';

-- Deleting fires no trigger, so edges are told nothing: the other shard tells them.
CREATE OR REPLACE FUNCTION miosa_shard.take_rows(deployment_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
	parcel jsonb := '{}';
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

CREATE OR REPLACE FUNCTION miosa_shard.take_deployment(deployment_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	parcel jsonb;
BEGIN
	PERFORM miosa.require_all_tenants('function miosa_move_deployment');
	PERFORM FROM miosa.deployments d WHERE d.id = deployment_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN (SELECT p.parcel FROM miosa_shard.parcels p WHERE p.deployment_id = deployment_id);
	END IF;
	parcel := miosa_shard.take_rows(deployment_id) || (SELECT jsonb_build_object('term', s.term, 'last_epoch', s.last_epoch) FROM miosa.dispatcher_state s)
		|| jsonb_build_object('unsent', ARRAY(SELECT o.host FROM miosa.outbox o WHERE o.deployment_id = deployment_id AND o.kind = 'host_removed'));
	DELETE FROM miosa.outbox o WHERE o.deployment_id = deployment_id;
	DELETE FROM miosa.route_log l WHERE l.deployment_id = deployment_id;
	DELETE FROM miosa.delivery_failures f WHERE f.deployment_id = deployment_id;
	INSERT INTO miosa_shard.parcels (deployment_id, parcel) VALUES (deployment_id, parcel);
	RETURN parcel;
END $$;
COMMENT ON FUNCTION miosa_shard.take_deployment(text) IS 'Takes a deployment from this shard, once; returns its parcel, null if it is not here';

CREATE OR REPLACE FUNCTION miosa_shard.write_rows(parcel jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $$
DECLARE
	name text;
BEGIN
	-- The checkpoint first: it must not pass over events that are there.
	INSERT INTO miosa.audit_checkpoints SELECT * FROM jsonb_populate_recordset(NULL::miosa.audit_checkpoints, parcel -> 'audit_checkpoints') c
		WHERE c.seq IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.audit_checkpoints o WHERE o.deployment_id = c.deployment_id)
			AND NOT EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = c.deployment_id);
	FOREACH name IN ARRAY ARRAY['audit_events', 'deployments', 'versions', 'releases', 'domains', 'removed_hosts', 'capacity', 'idempotency_keys',
		'alerts', 'watches', 'holds', 'runtime_instances']
	LOOP
		EXECUTE format('INSERT INTO miosa.%I SELECT * FROM jsonb_populate_recordset(NULL::miosa.%I, $1) ON CONFLICT DO NOTHING', name, name)
			USING parcel -> name;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_shard.write_rows(jsonb) IS 'Inserts the rows of a deployment that was taken from another shard';

CREATE OR REPLACE FUNCTION miosa_shard.put_parcel(parcel jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	deployment text := parcel #>> '{deployments,0,id}';
	host text;
BEGIN
	PERFORM miosa.require_all_tenants('function miosa_move_deployment');
	IF EXISTS (SELECT FROM miosa.deployments d WHERE d.id = deployment) THEN
		RETURN false;
	ELSIF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = parcel #>> '{deployments,0,tenant_id}') THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', parcel #>> '{deployments,0,tenant_id}'), NULL,
			'At the router: SELECT miosa_put_tenant(id, slug); then repeat the call.');
	END IF;
	PERFORM miosa_shard.write_rows(parcel);
	-- Of an earlier move away from here
	DELETE FROM miosa_shard.parcels p WHERE p.deployment_id = deployment;
	-- Edges compare the epochs of a deployment: those of here go on above those of there.
	UPDATE miosa.dispatcher_state s SET term = greatest(s.term, (parcel ->> 'term')::bigint),
		last_epoch = greatest(s.last_epoch, (parcel ->> 'last_epoch')::bigint);
	FOR host IN SELECT h.value FROM jsonb_array_elements_text(parcel -> 'unsent') h
		WHERE NOT EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = h.value AND m.state = 'active')
	LOOP
		PERFORM miosa.queue(deployment, 'host_removed', host);
	END LOOP;
	PERFORM miosa.queue(deployment, 'route', NULL);
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa_shard.put_parcel(jsonb) IS 'Makes a deployment that was taken from another shard one of this shard, and sends its route; false if it is here already';

CREATE OR REPLACE FUNCTION miosa_shard.drop_parcel(deployment_id text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH done AS (DELETE FROM miosa_shard.parcels p WHERE p.deployment_id = $1 AND miosa.sees_all_tenants() RETURNING 1)
	SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION miosa_shard.drop_parcel(text) IS 'Forgets a parcel, once the other shard has the deployment';

CREATE OR REPLACE FUNCTION miosa_shard.deployment_list(after text) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT d.id FROM miosa.deployments d WHERE d.id > $1 AND miosa.sees_tenant(d.tenant_id) ORDER BY d.id LIMIT 1000
$$;
COMMENT ON FUNCTION miosa_shard.deployment_list(text) IS 'The next thousand deployments of this shard';

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
GRANT EXECUTE ON FUNCTION miosa_shard.adopt(text[]), miosa_shard.answer(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.identity() TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_shard.named(text) TO miosa_viewer, miosa_auditor;
GRANT EXECUTE ON FUNCTION miosa_shard.host_deployment(text) TO miosa_viewer, miosa_edge;
GRANT EXECUTE ON FUNCTION miosa_shard.host_name(text), miosa_shard.has_host(text), miosa_shard.sees_host(text), miosa_shard.claim_host(text, text, jsonb),
	miosa_shard.confirm_host(text, text), miosa_shard.release_host(text, text), miosa_shard.host_list(text), miosa_shard.forget_host(text),
	miosa_shard.restart_dispatcher(), miosa_shard.take_deployment(text), miosa_shard.put_parcel(jsonb), miosa_shard.drop_parcel(text),
	miosa_shard.deployment_list(text), miosa_shard.maintained(timestamptz, bigint),
	miosa_shard.require_all_tenants(text) TO miosa_admin;

COMMIT;
