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

-- What a router compares: the configuration that all shards have alike, by name,
-- with a digest of each row.  A secret's digest has 16 bits: enough to see that two
-- differ, too few to find a value by.
CREATE OR REPLACE FUNCTION miosa_shard.digest(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN left(encode(sha256(convert_to(content, 'UTF8')), 'hex'), 12);
COMMENT ON FUNCTION miosa_shard.digest(text) IS 'The first characters of a digest';

CREATE OR REPLACE FUNCTION miosa_shard.identity() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('extension', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'miosa_rollback'),
		'site', current_setting('miosa_rollback.site', true),
		'plans', (SELECT coalesce(jsonb_object_agg(p.name, miosa_shard.digest(to_jsonb(p)::text)), '{}') FROM miosa.plans p),
		'tenants', (SELECT coalesce(jsonb_object_agg(t.id, miosa_shard.digest(concat_ws(' ', t.slug, t.plan))), '{}') FROM miosa.tenants t),
		'members', (SELECT coalesce(jsonb_object_agg(m.role_name || ' ' || m.tenant_id, miosa_shard.digest(array_to_string(m.scopes, ' '))), '{}')
			FROM miosa.tenant_members m),
		'adapters', (SELECT coalesce(jsonb_object_agg(a.name, miosa_shard.digest((to_jsonb(a) - '{created_at,updated_at}'::text[])::text)), '{}')
			FROM miosa.adapters a),
		'endpoints', (SELECT coalesce(jsonb_object_agg(e.name, miosa_shard.digest((to_jsonb(e) - '{created_at,updated_at,generation,origin}'::text[])::text)), '{}')
			FROM miosa.endpoints e),
		'secrets', (SELECT coalesce(jsonb_object_agg(s.name, left(miosa_shard.digest((to_jsonb(s) - '{value,previous,created_at}'::text[])::text || ' ' || s.name
				|| ' ' || coalesce(miosa.reveal(s.value), '') || ' ' || coalesce(miosa.reveal(s.previous), '')), 4)), '{}') FROM miosa.secrets s),
		'storages', (SELECT coalesce(jsonb_object_agg(s.prefix, miosa_shard.digest((to_jsonb(s) - '{created_at,updated_at}'::text[])::text)), '{}')
			FROM miosa.storages s))
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

CREATE OR REPLACE FUNCTION miosa_shard.host_owner(host text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.deployment_id FROM miosa.domains m WHERE m.fqdn = $1 AND m.state <> 'removed'
$$;
COMMENT ON FUNCTION miosa_shard.host_owner(text) IS 'Deployment of this shard that has the host; null for none';

CREATE OR REPLACE FUNCTION miosa_shard.host_entry(host text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('deployment_id', h.deployment_id, 'state', h.state, 'claimed_at', h.claimed_at,
		'age', extract(epoch FROM clock_timestamp() - h.claimed_at))
	FROM (SELECT 1) o LEFT JOIN miosa_shard.hosts h ON h.host = $1 WHERE h.host IS NOT NULL
	UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM miosa_shard.hosts h WHERE h.host = $1)
$$;
COMMENT ON FUNCTION miosa_shard.host_entry(text) IS 'The directory''s entry of a host; null for none';

-- Null when the claim is the deployment's; else the entry that is in the way.
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
				OR (h.deployment_id, h.state, h.claimed_at) = (expected ->> 'deployment_id', expected ->> 'state', (expected ->> 'claimed_at')::timestamptz);
	entry := miosa_shard.host_entry(host);
	RETURN CASE WHEN entry ->> 'deployment_id' <> deployment_id THEN entry END;
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
	SELECT m.fqdn, m.deployment_id FROM miosa.domains m WHERE m.fqdn > $1 AND m.state <> 'removed' ORDER BY m.fqdn LIMIT 1000
$$;
COMMENT ON FUNCTION miosa_shard.host_list(text) IS 'The next thousand hosts of this shard';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA miosa_shard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.adopt(text[]) TO PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.identity() TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_shard.named(text) TO miosa_viewer, miosa_auditor;
GRANT EXECUTE ON FUNCTION miosa_shard.host_entry(text) TO miosa_viewer, miosa_edge;
GRANT EXECUTE ON FUNCTION miosa_shard.host_name(text), miosa_shard.host_owner(text), miosa_shard.claim_host(text, text, jsonb),
	miosa_shard.confirm_host(text, text), miosa_shard.release_host(text, text), miosa_shard.host_list(text) TO miosa_admin;

COMMIT;
