-- Made by contrib/plproxy/generate from the catalog of miosa_rollback 1.1. Do
-- not edit: change router.sql, merge.sql, moves.sql, slugs.sql or generate, and run it again.
--
-- Run it in the database of a router, as a superuser; it can be run again, also
-- that of a newer version:
--
--   psql -d ROUTER -v ON_ERROR_STOP=1 -f miosa_router.sql

\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
BEGIN;

-- The router of a sharded installation: the map of shards, and the rules by
-- which calls find theirs.  generate puts this file before the functions
-- that it makes from the extension's catalog; the result is miosa_router.sql.
--
-- What a call does is decided on its shard, by the extension.  The router
-- decides only where a call runs, and puts the answers of several shards together.

-- The extension's functions and the router's have the same names.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'miosa_rollback') THEN
		RAISE EXCEPTION 'database "%" has the extension miosa_rollback', current_database()
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'The functions of a router have the names of the extension''s.',
				HINT = 'Create a database for the router: CREATE DATABASE router;';
	END IF;
END $$;

CREATE EXTENSION IF NOT EXISTS plproxy;
CREATE SCHEMA IF NOT EXISTS plproxy;
CREATE SCHEMA IF NOT EXISTS miosa_router;
GRANT USAGE ON SCHEMA miosa_router, plproxy TO PUBLIC;

-- The extension's roles, where the server of the router has no shard, and the one
-- that changes the map, which concerns all tenants: the router does not know them.
DO $$
DECLARE
	name text;
	grp text;
BEGIN
	FOREACH name IN ARRAY ARRAY['miosa_viewer', 'miosa_operator', 'miosa_deployer', 'miosa_agent', 'miosa_auditor', 'miosa_edge', 'miosa_admin',
		'miosa_all_tenants', 'miosa_mover']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = name) THEN
			EXECUTE format('CREATE ROLE %I NOLOGIN', name);
		END IF;
	END LOOP;
	FOR name, grp IN VALUES ('miosa_operator', 'miosa_viewer'), ('miosa_deployer', 'miosa_viewer'), ('miosa_admin', 'miosa_operator'),
		('miosa_admin', 'miosa_deployer'), ('miosa_admin', 'miosa_agent'), ('miosa_admin', 'miosa_auditor'), ('miosa_admin', 'miosa_edge'),
		('miosa_mover', 'miosa_admin')
	LOOP
		IF NOT pg_has_role(name, grp, 'MEMBER') THEN
			EXECUTE format('GRANT %I TO %I', grp, name);
		END IF;
	END LOOP;
END $$;

-- The map.

-- PL/Proxy knows a shard by its number, which is its place in the list of
-- connections; so numbers have no gaps, and never change.
CREATE TABLE IF NOT EXISTS miosa_router.shards (
	number integer PRIMARY KEY CHECK (number >= 0),
	name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9_-]{1,63}$'),
	connection text NOT NULL,
	state text NOT NULL DEFAULT 'on' CHECK (state IN ('on', 'off')),
	weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1000),
	added_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE miosa_router.shards IS 'Databases with the extension; calls to one that is off are refused without being tried';
COMMENT ON COLUMN miosa_router.shards.weight IS 'Share of the buckets that rebalance() gives it, compared with other shards; 0: none';

-- A deployment's bucket is a hash of its id, and never changes.
CREATE TABLE IF NOT EXISTS miosa_router.buckets (
	bucket integer PRIMARY KEY CHECK (bucket BETWEEN 0 AND 1023),
	shard integer NOT NULL REFERENCES miosa_router.shards
);
COMMENT ON TABLE miosa_router.buckets IS 'Shard of each bucket of deployments; all 1,024 are there, or none';

CREATE TABLE IF NOT EXISTS miosa_router.deployment_overrides (
	deployment_id text PRIMARY KEY,
	shard integer NOT NULL REFERENCES miosa_router.shards,
	changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE miosa_router.deployment_overrides IS 'Deployments that are on another shard than their bucket';

-- A deployment that is being moved is on no shard, or its shard is about to change.
CREATE TABLE IF NOT EXISTS miosa_router.moves (
	deployment_id text PRIMARY KEY,
	source integer NOT NULL REFERENCES miosa_router.shards,
	target integer NOT NULL REFERENCES miosa_router.shards,
	number bigint NOT NULL,
	began_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE miosa_router.moves IS 'Deployments that are being moved, or whose move was interrupted';

CREATE TABLE IF NOT EXISTS miosa_router.bucket_moves (
	bucket integer PRIMARY KEY CHECK (bucket BETWEEN 0 AND 1023),
	source integer NOT NULL REFERENCES miosa_router.shards,
	target integer NOT NULL REFERENCES miosa_router.shards,
	began_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE miosa_router.bucket_moves IS 'Buckets that are being moved; deployments that have not moved yet have an override';

-- PL/Proxy reads the list of connections again when this number has changed.
CREATE TABLE IF NOT EXISTS miosa_router.map_version (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	version integer NOT NULL
);
INSERT INTO miosa_router.map_version VALUES (true, 1) ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION miosa_router.shards_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP IN ('DELETE', 'TRUNCATE') OR (TG_OP = 'UPDATE' AND NEW.number <> OLD.number) THEN
		RAISE EXCEPTION 'a shard keeps its number' USING ERRCODE = 'MR400',
			DETAIL = 'PL/Proxy knows shards by their place in the list of connections.',
			HINT = 'One that has no buckets may stay; to stop calls to it: UPDATE miosa_router.shards SET state = ''off'' WHERE name = ''...'';';
	ELSIF TG_OP = 'INSERT' THEN
		LOCK TABLE miosa_router.map_version IN EXCLUSIVE MODE;
		IF NEW.number <> (SELECT count(*) FROM miosa_router.shards) THEN
			RAISE EXCEPTION 'the next shard has number %', (SELECT count(*) FROM miosa_router.shards) USING ERRCODE = 'MR400',
				DETAIL = format('The given number is %s.', NEW.number),
				HINT = 'SELECT miosa_router.add_shard(name, connection) chooses it.';
		END IF;
	END IF;
	UPDATE miosa_router.map_version SET version = version + 1;
	RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER shards_changed BEFORE INSERT OR UPDATE OR DELETE ON miosa_router.shards
	FOR EACH ROW EXECUTE FUNCTION miosa_router.shards_changed();
CREATE OR REPLACE TRIGGER shards_truncated BEFORE TRUNCATE ON miosa_router.shards
	FOR EACH STATEMENT EXECUTE FUNCTION miosa_router.shards_changed();

-- The key refuses an overlap; this one a hole.
CREATE OR REPLACE FUNCTION miosa_router.buckets_complete() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	missing integer[];
BEGIN
	SELECT array_agg(n ORDER BY n) INTO missing FROM generate_series(0, 1023) n
		WHERE NOT EXISTS (SELECT FROM miosa_router.buckets b WHERE b.bucket = n);
	IF cardinality(missing) > 0 THEN
		RAISE EXCEPTION 'the map has holes' USING ERRCODE = 'MR400',
			DETAIL = format('%s of 1024 buckets are missing, the first is %s.', cardinality(missing), missing[1]),
			HINT = 'Change the shard of a bucket, and delete none.';
	END IF;
	RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS buckets_complete ON miosa_router.buckets;
CREATE CONSTRAINT TRIGGER buckets_complete AFTER INSERT OR UPDATE OR DELETE ON miosa_router.buckets
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION miosa_router.buckets_complete();
CREATE OR REPLACE TRIGGER buckets_truncated AFTER TRUNCATE ON miosa_router.buckets
	FOR EACH STATEMENT EXECUTE FUNCTION miosa_router.buckets_complete();

-- Add a shard.  The first ones share the buckets; a later one has none until
-- rebalance() moves some to it.
CREATE OR REPLACE FUNCTION miosa_router.add_shard(name text, connection text) RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	number integer;
	same text;
BEGIN
	LOCK TABLE miosa_router.map_version IN EXCLUSIVE MODE;
	IF EXISTS (SELECT FROM miosa_router.shards s WHERE s.name = name) THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('shard "%s" exists', name),
			(SELECT format('Its number is %s.', s.number) FROM miosa_router.shards s WHERE s.name = name),
			format('To change its connection: UPDATE miosa_router.shards SET connection = %L WHERE name = %L;', connection, name));
	END IF;
	SELECT s.name INTO same FROM miosa_router.shards s WHERE s.connection = connection;
	IF FOUND THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('the connection of shard "%s" is that of another shard', name),
			format('Shard "%s" has it.', same), 'Each shard is a database of its own.');
	END IF;
	SELECT count(*) INTO number FROM miosa_router.shards;
	INSERT INTO miosa_router.shards (number, name, connection) VALUES (number, name, connection);
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.add_shard(text, text) IS 'Adds a shard without buckets; returns its number';

CREATE OR REPLACE FUNCTION miosa_router.spread_buckets() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM miosa_router.buckets) THEN
		RAISE EXCEPTION 'buckets are spread already' USING ERRCODE = 'MR400',
			DETAIL = 'Deployments are found by them.',
			HINT = 'To give a new shard its share of them: CALL miosa_router.rebalance();';
	ELSIF NOT EXISTS (SELECT FROM miosa_router.shards) THEN
		RAISE EXCEPTION 'there is no shard' USING ERRCODE = 'MR400',
			DETAIL = 'Buckets are spread over shards.',
			HINT = 'SELECT miosa_router.add_shard(name, connection);';
	END IF;
	INSERT INTO miosa_router.buckets SELECT n, n % (SELECT count(*) FROM miosa_router.shards) FROM generate_series(0, 1023) n;
END $$;
COMMENT ON FUNCTION miosa_router.spread_buckets() IS 'Gives each shard that there is an equal share of the buckets, once';

-- SHA-256 is the same on every platform and in every release of PostgreSQL,
-- which hashtext() and hashtextextended() do not promise, and other than md5() it
-- works where FIPS 140 is enforced.
CREATE OR REPLACE FUNCTION miosa_router.bucket_of(key text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (get_byte(sha256(convert_to(key, 'UTF8')), 0) << 8 | get_byte(sha256(convert_to(key, 'UTF8')), 1)) & 1023;
COMMENT ON FUNCTION miosa_router.bucket_of(text) IS 'Bucket of a deployment, or of a host: the lower ten bits of the first two bytes of the SHA-256 of its UTF-8';
CREATE INDEX IF NOT EXISTS deployment_overrides_bucket ON miosa_router.deployment_overrides (miosa_router.bucket_of(deployment_id), deployment_id COLLATE "C");

-- PL/Proxy's configuration of the cluster.

CREATE OR REPLACE FUNCTION plproxy.get_cluster_version(cluster text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT v.version FROM miosa_router.map_version v WHERE cluster = 'miosa');
END $$;

CREATE OR REPLACE FUNCTION plproxy.get_cluster_partitions(cluster text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- A shard that is down shall cost a caller two seconds at most
	RETURN QUERY SELECT CASE WHEN s.connection ~ 'connect_timeout' THEN s.connection ELSE s.connection || ' connect_timeout=2' END
		FROM miosa_router.shards s WHERE cluster = 'miosa' ORDER BY s.number;
END $$;

-- Any number of shards: the number of a shard is the partition.
CREATE OR REPLACE FUNCTION plproxy.get_cluster_config(cluster text, OUT key text, OUT val text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE AS $$
	VALUES ('modular_mapping', '1'), ('connection_lifetime', '1800')
$$;

-- Errors.

-- Raise an error as the extension would: for a gateway in the form of PostgREST.
CREATE OR REPLACE FUNCTION miosa_router.refuse(sqlstate text, code text, status integer, retry_after integer,
	message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	IF nullif(current_setting('request.method', true), '') IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'PGRST',
			MESSAGE = json_build_object('code', code, 'message', message, 'details', detail, 'hint', hint)::text,
			DETAIL = json_build_object('status', status, 'headers',
				CASE WHEN retry_after > 0 THEN json_build_object('Retry-After', retry_after::text) ELSE '{}' END)::text;
	END IF;
	-- RAISE takes no null for an option.
	IF hint IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, DETAIL = coalesce(detail, '');
	ELSIF detail IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, HINT = hint;
	END IF;
	RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, DETAIL = detail, HINT = hint;
END $$;
COMMENT ON FUNCTION miosa_router.refuse(text, text, integer, integer, text, text, text) IS 'Raises an error of the router';

-- The call of a shard has failed because the shard could not be reached, or was
-- lost before its answer came.  Messages are PL/Proxy's (conn_error() and
-- plproxy_remote_error() of its source).
CREATE OR REPLACE FUNCTION miosa_router.is_down(sqlstate text, message text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN message ~ E'^PL/Proxy function [^ ]+: (\\[[^]]*\\] PQ|connect timeout|query timeout)'
	OR message ~ E'^[^ ]+\\(\\d+\\): \\[[^]]*\\] REMOTE \\(null\\): '
	OR sqlstate ~ '^(57P0|MR53S)';
COMMENT ON FUNCTION miosa_router.is_down(text, text) IS 'Whether an error that PL/Proxy has raised means that the shard is down';

CREATE OR REPLACE FUNCTION miosa_router.raise_down(shard integer, why text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa_router.refuse('MR53S', 'SHARD_UNAVAILABLE', 503, 1,
		format('shard "%s" is unavailable', (SELECT s.name FROM miosa_router.shards s WHERE s.number = shard)),
		btrim(regexp_replace(why, E'^PL/Proxy function [^ ]+: (\\[[^]]*\\] PQ\\w+: )?|^[^ ]+\\(\\d+\\): \\[[^]]*\\] REMOTE [^:]*: ', ''), E' \n'),
		'Retry with the same idempotency key: what a call has done whose answer was lost is found by it. SELECT * FROM miosa_doctor(); shows the state of all shards.');
END $$;
COMMENT ON FUNCTION miosa_router.raise_down(integer, text) IS 'Raises SHARD_UNAVAILABLE';

-- PL/Proxy writes the function and the database before the message of a remote
-- error, and a word before DETAIL and HINT.  The caller receives them as the shard
-- has raised them.
CREATE OR REPLACE FUNCTION miosa_router.pass_on(shard integer, sqlstate text, message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	IF sqlstate <> 'MR53S' AND miosa_router.is_down(sqlstate, message) THEN
		PERFORM miosa_router.raise_down(shard, message);
	END IF;
	message := regexp_replace(message, E'^[^ ]+\\(\\d+\\): \\[[^]]*\\] REMOTE [^:]*: ', '');
	detail := regexp_replace(detail, '^Remote detail: ', '');
	hint := regexp_replace(hint, '^Remote hint: ', '');
	-- RAISE takes no null for an option.
	IF detail <> '' AND hint <> '' THEN
		RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, DETAIL = detail, HINT = hint;
	ELSIF detail <> '' THEN
		RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, DETAIL = detail;
	ELSIF hint <> '' THEN
		RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, HINT = hint;
	END IF;
	RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message;
END $$;
COMMENT ON FUNCTION miosa_router.pass_on(integer, text, text, text, text) IS 'Raises an error of a shard as the shard has raised it';

-- Where calls run.

-- A shard that is off is not tried.
CREATE OR REPLACE FUNCTION miosa_router.check_on(shard integer) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF (SELECT s.state FROM miosa_router.shards s WHERE s.number = shard) = 'off' THEN
		PERFORM miosa_router.raise_down(shard, 'The shard is off in miosa_router.shards.');
	ELSIF shard IS NULL THEN
		RAISE EXCEPTION 'the router has no map' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'No bucket has a shard.',
			HINT = 'SELECT miosa_router.add_shard(name, connection); for each shard, then SELECT miosa_router.spread_buckets();';
	END IF;
	RETURN shard;
END $$;
COMMENT ON FUNCTION miosa_router.check_on(integer) IS 'The shard, if calls to it may be tried; else SHARD_UNAVAILABLE';

-- Where a deployment is, says the map.
CREATE OR REPLACE FUNCTION miosa_router.place_of(deployment_id text) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce((SELECT o.shard FROM miosa_router.deployment_overrides o WHERE o.deployment_id = $1),
		(SELECT b.shard FROM miosa_router.buckets b WHERE b.bucket = miosa_router.bucket_of(coalesce($1, ''))))
$$;
COMMENT ON FUNCTION miosa_router.place_of(text) IS 'Number of the shard that the map has for a deployment, whether it may be called or not';

-- No id at all is refused by the first shard.
CREATE OR REPLACE FUNCTION miosa_router.shard_of(deployment_id text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM miosa_router.moves m WHERE m.deployment_id = $1) THEN
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('deployment "%s" is being moved', $1),
			(SELECT format('It moves from shard "%s" to "%s".', a.name, b.name) FROM miosa_router.moves m
				JOIN miosa_router.shards a ON a.number = m.source JOIN miosa_router.shards b ON b.number = m.target WHERE m.deployment_id = $1),
			'Retry with the same idempotency key.');
	END IF;
	RETURN miosa_router.check_on(miosa_router.place_of($1));
END $$;
COMMENT ON FUNCTION miosa_router.shard_of(text) IS 'Number of the shard that a deployment is on';

-- A call that was on its way when the deployment was moved has found nothing; its
-- caller is told to retry, not that the deployment does not exist.
CREATE OR REPLACE FUNCTION miosa_router.check_moved(deployment_id text, shard integer, sqlstate text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF sqlstate IN ('MR404', 'MR44V', 'P0002', 'MR423') AND miosa_router.shard_of(deployment_id) <> shard THEN
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('deployment "%s" has been moved', deployment_id),
			'It has moved to another shard while the call was at work.', 'Retry with the same idempotency key.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.check_moved(text, integer, text) IS 'Raises DEPLOYMENT_BUSY if a shard did not find a deployment that has just left it';

-- Settings of the caller's that the shard has to know, as the session has set them: the
-- server of the router may have the extension too, with its defaults.  The generated
-- function miosa_router.settings() names them.
CREATE OR REPLACE FUNCTION miosa_router.context() RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	known text[] := miosa_router.settings();
	result text[];
	value text;
BEGIN
	FOR n IN 1 .. cardinality(known) BY 2 LOOP
		value := current_setting(known[n], true);
		IF value <> '' AND value <> known[n + 1] THEN
			result := result || known[n] || value;
		END IF;
	END LOOP;
	RETURN result;
END $$;
COMMENT ON FUNCTION miosa_router.context() IS 'Names and values of the settings that have one in this session';

-- The headers and the status of a gateway's answer, which the shard's function has set
-- there, are set here.
CREATE OR REPLACE FUNCTION miosa_router.received(answer jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	headers jsonb;
BEGIN
	IF NOT coalesce(answer ? 'miosa_shard.answer', false) THEN
		RETURN answer;
	END IF;
	IF answer ->> 'headers' IS NOT NULL THEN
		headers := coalesce(nullif(current_setting('response.headers', true), ''), '[]')::jsonb;
		IF NOT headers @> (answer -> 'headers') THEN
			PERFORM set_config('response.headers', (headers || (answer -> 'headers'))::text, true);
		END IF;
	END IF;
	IF answer ->> 'status' IS NOT NULL THEN
		PERFORM set_config('response.status', answer ->> 'status', true);
	END IF;
	RETURN nullif(answer -> 'miosa_shard.answer', 'null');
END $$;
COMMENT ON FUNCTION miosa_router.received(jsonb) IS 'The result in what miosa_shard.answer() has returned; sets response.headers and response.status';

-- Which shards a call of all of them runs on, in order.
CREATE OR REPLACE FUNCTION miosa_router.all_shards(OUT number integer, OUT name text) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT s.number, s.name FROM miosa_router.shards s ORDER BY s.number
$$;
COMMENT ON FUNCTION miosa_router.all_shards() IS 'Shards that there are';

-- A shard's failure in a call of all shards: one that is down is named, and
-- the others are called; what else it raises is the caller's.
CREATE OR REPLACE FUNCTION miosa_router.note_down(shard integer, sqlstate text, message text, detail text, hint text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	IF NOT miosa_router.is_down(sqlstate, message) THEN
		PERFORM miosa_router.pass_on(shard, sqlstate, message, detail, hint);
	END IF;
	RETURN (SELECT s.name FROM miosa_router.all_shards() s WHERE s.number = shard);
END $$;
COMMENT ON FUNCTION miosa_router.note_down(integer, text, text, text, text) IS 'Name of a shard that is down; any other error is raised as the shard has raised it';

-- Of what was read, the rest is returned.
CREATE OR REPLACE FUNCTION miosa_router.warn_down(down text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF cardinality(down) > 0 THEN
		RAISE WARNING 'shards that are unavailable are missing here: %', array_to_string(down, ', ')
			USING ERRCODE = '01000', HINT = 'SELECT * FROM miosa_doctor(); shows the state of all shards.';
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.warn_down(text[]) IS 'Raises a warning that names these shards';

-- What was to be done on all shards is repeated until it is done on all.
CREATE OR REPLACE FUNCTION miosa_router.raise_undone(done text[], down text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF cardinality(down) > 0 THEN
		PERFORM miosa_router.refuse('MR53S', 'SHARD_UNAVAILABLE', 503, 1,
			format('shards are unavailable: %s', array_to_string(down, ', ')),
			format('It is done on shards: %s.', coalesce(nullif(array_to_string(done, ', '), ''), 'none')),
			'Repeat the call when they are back; what is done already stays as it is. SELECT * FROM miosa_doctor(); shows the state of all shards.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.raise_undone(text[], text[]) IS 'Raises SHARD_UNAVAILABLE if a change was not made on all shards';

-- An answer that lacks some shards says so.
CREATE OR REPLACE FUNCTION miosa_router.with_down(answer jsonb, down text[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa_router.warn_down(down);
	RETURN CASE WHEN cardinality(down) > 0 THEN answer || jsonb_build_object('unavailable_shards', to_jsonb(down)) ELSE answer END;
END $$;
COMMENT ON FUNCTION miosa_router.with_down(jsonb, text[]) IS 'An answer that names the shards that are missing in it';

-- What an earlier run has made is made anew; what something else depends on, a
-- gateway's functions for instance, is replaced.
DO $$
DECLARE
	object record;
BEGIN
	FOR object IN
		SELECT 'VIEW' AS kind, c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = to_regnamespace('miosa') AND c.relkind = 'v'
		UNION ALL
		SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace IN (to_regnamespace('miosa'), to_regnamespace('miosa_shard'))
			OR p.pronamespace = 'public'::regnamespace AND obj_description(p.oid, 'pg_proc') LIKE '%[router]'
	LOOP
		BEGIN
			EXECUTE format('DROP %s %s', object.kind, object.name);
		EXCEPTION WHEN dependent_objects_still_exist THEN
			NULL;
		END;
	END LOOP;
END $$;
CREATE SCHEMA IF NOT EXISTS miosa;
CREATE SCHEMA IF NOT EXISTS miosa_shard;
GRANT USAGE ON SCHEMA miosa, miosa_shard TO PUBLIC;

CREATE OR REPLACE FUNCTION miosa_router.extension_version() RETURNS text LANGUAGE sql IMMUTABLE RETURN '1.1';
COMMENT ON FUNCTION miosa_router.extension_version() IS 'Version of miosa_rollback whose functions the router has';
CREATE OR REPLACE FUNCTION miosa_router.settings() RETURNS text[] LANGUAGE sql IMMUTABLE
RETURN ARRAY['miosa_rollback.actor', '', 'miosa_rollback.automatic', 'off', 'miosa_rollback.hold_after_rollback', 'on', 'miosa_rollback.lock_wait', '500ms', 'miosa_rollback.min_served', '0', 'request.jwt.claims', '', 'request.headers', '', 'request.method', '', 'request.path', '', 'application_name', '', 'TimeZone', '', 'DateStyle', '', 'IntervalStyle', ''];
COMMENT ON FUNCTION miosa_router.settings() IS 'Settings of a session at the router that a shard takes over for the call, each with its default, for which the shard''s configuration counts';


-- How calls that name no deployment find their shards, and how the answers of
-- several shards become one.

-- The shards' own functions (miosa_shard.sql).

CREATE OR REPLACE FUNCTION miosa_shard.identity(context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT CASE WHEN miosa_shard.adopt($1::text[]) THEN miosa_shard.identity() END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.named(name text, context text[], shard integer) RETURNS text[] LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.named($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.host_name(fqdn text, shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.host_name($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.has_host(host text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.has_host($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.sees_host(host text, context text[], shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.sees_host($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.host_deployment(host text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.host_deployment($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.maintained(began timestamptz, removed bigint, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa_shard.maintained($1::timestamptz, $2::bigint) END)::text;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.claim_host(host text, deployment_id text, expected jsonb, shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.claim_host($1::text, $2::text, $3::jsonb);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.confirm_host(host text, deployment_id text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.confirm_host($1::text, $2::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.release_host(host text, deployment_id text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.release_host($1::text, $2::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.forget_host(host text, shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.forget_host($1::text);
$$;
CREATE OR REPLACE FUNCTION miosa_shard.restart_dispatcher(shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $1;
	SELECT miosa_shard.restart_dispatcher()::text;
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA miosa_shard FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.identity(text[], integer) TO miosa_operator;
GRANT EXECUTE ON FUNCTION miosa_shard.named(text, text[], integer) TO miosa_viewer, miosa_auditor;
GRANT EXECUTE ON FUNCTION miosa_shard.host_deployment(text, text[], integer) TO miosa_viewer, miosa_edge;
GRANT EXECUTE ON FUNCTION miosa_shard.host_name(text, integer), miosa_shard.has_host(text, integer), miosa_shard.sees_host(text, text[], integer),
	miosa_shard.maintained(timestamptz, bigint, text[], integer), miosa_shard.claim_host(text, text, jsonb, integer),
	miosa_shard.confirm_host(text, text, integer), miosa_shard.release_host(text, text, integer), miosa_shard.forget_host(text, integer),
	miosa_shard.restart_dispatcher(integer) TO miosa_admin;

-- Names that people give.

-- Which shards know a deployment or a fleet of a name.  Whether the name is one
-- deployment's only is known when all shards have been asked.
CREATE OR REPLACE FUNCTION miosa_router.shards_named(name text, OUT number integer, OUT ids text[]) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			ids := miosa_shard.named($1, _context, _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
		IF pg_catalog.cardinality(ids) OPERATOR(pg_catalog.>) 0 THEN
			number := _each.number;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.shards_named(text) IS 'Shards on which an id, host, slug or fleet is known, with the ids there';

-- An id is found where it belongs, also while other shards are down.
CREATE OR REPLACE FUNCTION miosa_router.locate(name text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_home integer := miosa_router.shard_of(name);
	_found record;
	_shards integer := 0;
	_shard integer;
	_ids text[] := '{}';
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	BEGIN
		IF name OPERATOR(pg_catalog.=) ANY (miosa_shard.named(name, miosa_router.context(), _home)) THEN
			RETURN _home;
		END IF;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
		PERFORM miosa_router.pass_on(_home, _state, _message, _detail, _hint);
	END;
	FOR _found IN SELECT * FROM miosa_router.shards_named(name) LOOP
		_shards := _shards OPERATOR(pg_catalog.+) 1;
		_shard := _found.number;
		_ids := _ids OPERATOR(pg_catalog.||) _found.ids;
	END LOOP;
	IF _shards OPERATOR(pg_catalog.>) 1 THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0,
			pg_catalog.format('slug "%s" is not unique', name),
			pg_catalog.format('Deployments of that slug: %s.', pg_catalog.array_to_string(_ids[1:6], ', ')),
			'Name it by one of these ids, or by a host.');
	END IF;
	-- A name that none knows is refused by the shard that it would be on.
	RETURN coalesce(_shard, _home);
END $$;
COMMENT ON FUNCTION miosa_router.locate(text) IS 'Shard of the deployment of this id, host or slug, or of this fleet';

-- A page is of one database, so without a name there is none.
CREATE OR REPLACE FUNCTION miosa_router.locate_page(name text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF name IS NULL THEN
		RAISE EXCEPTION 'the page of all deployments is not there at a router'
			USING ERRCODE = 'feature_not_supported', DETAIL = 'Each shard has a page of its own.',
			HINT = 'Ask each shard, or see the lines of all with TABLE miosa.overview;';
	END IF;
	RETURN miosa_router.locate(name);
END $$;
COMMENT ON FUNCTION miosa_router.locate_page(text) IS 'Shard of the deployment whose page is asked for';

CREATE OR REPLACE FUNCTION miosa_router.locate_operation(name text) RETURNS integer
LANGUAGE sql VOLATILE AS $$
	SELECT miosa_router.locate(pg_catalog.regexp_replace($1, '#[0-9]+$', ''))
$$;
COMMENT ON FUNCTION miosa_router.locate_operation(text) IS 'Shard of a deployment, a fleet, or an operation such as dep_1#7';

-- Hosts.  A directory says which deployment may have a host: the entry of a
-- host is on the shard of the host's own bucket.  To have a host is to claim the
-- entry, have the shard put the host, and confirm.  Each step commits on its
-- shard, so a crash leaves a claim at most, and a claim that nothing came of is
-- taken over: when it is old enough that no call is at work, and no shard has the host.

CREATE OR REPLACE FUNCTION miosa_router.directory_of(host text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN miosa_router.check_on((SELECT b.shard FROM miosa_router.buckets b WHERE b.bucket = miosa_router.bucket_of($1)));
END $$;
COMMENT ON FUNCTION miosa_router.directory_of(text) IS 'Shard that has the directory''s entry of a host';

-- The name as it is stored, by the rules of the extension.
CREATE OR REPLACE FUNCTION miosa_router.host_name(fqdn text, shard integer) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard.host_name(fqdn, shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(shard, _state, _message, _detail, _hint);
END $$;
COMMENT ON FUNCTION miosa_router.host_name(text, integer) IS 'The host name as that shard stores it';

-- The shard that has a host, of all; SHARD_UNAVAILABLE if one cannot be asked.
CREATE OR REPLACE FUNCTION miosa_router.owner_of_host(host text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_each record;
	_has boolean;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_has := miosa_shard.has_host($1, _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
		IF _has THEN
			RETURN _each.number;
		END IF;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa_router.owner_of_host(text) IS 'Shard that has a host; null for none';

-- The same of a host that exists for the caller.
CREATE OR REPLACE FUNCTION miosa_router.shard_that_shows(host text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_each record;
	_sees boolean;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_sees := miosa_shard.sees_host(host, miosa_router.context(), _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
		IF _sees THEN
			RETURN _each.number;
		END IF;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa_router.shard_that_shows(text) IS 'Shard that has a host that exists for the caller; null for none';

-- A deployment that does not exist for the caller is said first, as on one server.
CREATE OR REPLACE FUNCTION miosa_router.refuse_taken(host text, deployment_id text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	BEGIN
		PERFORM miosa_shard.miosa_deployment(deployment_id, miosa_router.context(), shard);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
		PERFORM miosa_router.pass_on(shard, _state, _message, _detail, _hint);
	END;
	PERFORM miosa_router.refuse_managed(host);
	PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, pg_catalog.format('host "%s" is taken', host),
		'A deployment of another shard has the host.', pg_catalog.format('Pass another host, or remove it there first: SELECT miosa_remove_domain(%L);', host));
END $$;
COMMENT ON FUNCTION miosa_router.refuse_taken(text, text, integer) IS 'Raises INVALID_ARGUMENT for a host that another shard has, or what the shard says of the deployment';

-- No other shard may remove the host from edges after this one has put it.
CREATE OR REPLACE FUNCTION miosa_router.forget_host(host text, deployment_id text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_each record;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT s.number FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.<>) shard LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			-- The directory had no entry, which does not mean that nobody has it.
			IF miosa_shard.has_host(host, _each.number) THEN
				PERFORM miosa_router.refuse_taken(host, deployment_id, shard);
			END IF;
			IF miosa_shard.forget_host(host, _each.number) THEN
				PERFORM miosa_shard.restart_dispatcher(_each.number);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.forget_host(text, text, integer) IS 'Has all other shards, none of which may have it, forget that a host was removed there';

CREATE OR REPLACE FUNCTION miosa_router.claim_host(fqdn text, deployment_id text, shard integer) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
	-- Longer than a call can be at work between two steps.
	patience CONSTANT double precision := 10;
	host text := miosa_router.host_name(fqdn, shard);
	directory integer := miosa_router.directory_of(host);
	entry jsonb;
	owner integer;
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR attempt IN 1 .. 5 LOOP
		BEGIN
			entry := miosa_shard.claim_host(host, deployment_id, entry, directory);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(directory, _state, _message, _detail, _hint);
		END;
		IF entry IS NULL THEN
			PERFORM miosa_router.forget_host(host, deployment_id, shard);
			RETURN host;
		ELSIF (entry OPERATOR(pg_catalog.->>) 'own')::boolean THEN
			RETURN host;
		END IF;
		owner := miosa_router.owner_of_host(host);
		IF owner OPERATOR(pg_catalog.<>) shard THEN
			PERFORM miosa_router.refuse_taken(host, deployment_id, shard);
		ELSIF owner IS NULL AND (entry OPERATOR(pg_catalog.->>) 'age')::double precision OPERATOR(pg_catalog.<) patience
			AND entry OPERATOR(pg_catalog.->>) 'state' OPERATOR(pg_catalog.=) 'claimed' THEN
			PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, pg_catalog.format('host "%s" is being taken by another call', host),
				pg_catalog.format('The claim is %s s old.', pg_catalog.round((entry OPERATOR(pg_catalog.->>) 'age')::numeric, 1)), 'Repeat the call.');
		END IF;
		-- Nobody has it, or the same shard, which knows whether it may move: the
		-- next attempt takes the entry if it is still the one that was seen.
	END LOOP;
	PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, pg_catalog.format('host "%s" is being taken by another call', host),
		'Several calls take the host at the same time.', 'Repeat the call.');
END $$;
COMMENT ON FUNCTION miosa_router.claim_host(text, text, integer) IS 'First step of having a host: claims its entry in the directory; returns the host as it is stored';

-- A call that took longer than its claim was respected has lost it.
CREATE OR REPLACE FUNCTION miosa_router.confirm_host(host text, deployment_id text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	directory integer := miosa_router.directory_of(host);
	ours boolean := true;
BEGIN
	BEGIN
		ours := miosa_shard.confirm_host(host, deployment_id, directory);
	EXCEPTION WHEN OTHERS THEN
		-- The claim stays, and counts as long as the shard has the host.
		NULL;
	END;
	IF NOT ours THEN
		PERFORM miosa_shard.miosa_remove_domain(host, NULL, shard);
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, pg_catalog.format('host "%s" is taken', host),
			'Another call took the host over, because this one took too long.', 'Repeat the call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.confirm_host(text, text, integer) IS 'Last step of having a host';

-- After a refusal, or when a host was removed.  What became of a call whose
-- answer was lost is not known; its claim stays.
CREATE OR REPLACE FUNCTION miosa_router.release_host(fqdn text, deployment_id text, sqlstate text, message text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
	host text;
BEGIN
	IF NOT coalesce(miosa_router.is_down(sqlstate, message), false) THEN
		host := miosa_router.host_name(fqdn, miosa_router.directory_of(fqdn));
		IF miosa_router.owner_of_host(host) IS NULL THEN
			PERFORM miosa_shard.release_host(host, deployment_id, miosa_router.directory_of(host));
		END IF;
	END IF;
EXCEPTION WHEN OTHERS THEN
	-- An entry that stays is in nobody's way: no shard has the host.
	NULL;
END $$;
COMMENT ON FUNCTION miosa_router.release_host(text, text, text, text) IS 'Removes the entry of a host that no shard has';

CREATE OR REPLACE FUNCTION miosa_router.shard_of_host(fqdn text) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	directory integer := miosa_router.directory_of(coalesce(fqdn, ''));
	host text := miosa_router.host_name(fqdn, directory);
BEGIN
	RETURN coalesce(miosa_router.shard_that_shows(host), directory);
END $$;
COMMENT ON FUNCTION miosa_router.shard_of_host(text) IS 'Shard that has a host that exists for the caller; if none has it, that of its entry';

-- A host moves within a shard, where both deployments change in one transaction.
CREATE OR REPLACE FUNCTION miosa_router.shard_to_move_to(host text, deployment text, shard integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_there integer := miosa_router.shard_that_shows(miosa_router.host_name(host, shard));
BEGIN
	IF _there OPERATOR(pg_catalog.<>) shard THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, pg_catalog.format('host "%s" is on another shard', host),
			pg_catalog.format('The host is on shard "%s", the deployment on "%s".',
				(SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) _there),
				(SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) shard)),
			pg_catalog.format('Move the deployment there, then the host: CALL miosa_move_deployment(%1$L, %2$L); SELECT miosa_move_host(%3$L, %1$L);', deployment,
				(SELECT s.name FROM miosa_router.all_shards() s WHERE s.number OPERATOR(pg_catalog.=) _there), host));
	END IF;
	RETURN shard;
END $$;
COMMENT ON FUNCTION miosa_router.shard_to_move_to(text, text, integer) IS 'The shard, if it has the host too; else INVALID_ARGUMENT';

-- Where the route of a host may be: on the shard of its own entry, else of the
-- wildcard above it, else, a managed host, on any.
CREATE OR REPLACE FUNCTION miosa_router.shards_of_host(host text, OUT number integer, OUT name text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_host text := pg_catalog.rtrim(pg_catalog.lower($1 COLLATE "C"), '.');
	_candidate text;
	_deployment text;
BEGIN
	FOREACH _candidate IN ARRAY ARRAY[_host, '*' OPERATOR(pg_catalog.||) pg_catalog.substring(_host, '[.].*$')] LOOP
		CONTINUE WHEN _candidate IS NULL;
		BEGIN
			_deployment := miosa_shard.host_deployment(_candidate, miosa_router.context(), miosa_router.directory_of(_candidate));
		EXCEPTION WHEN OTHERS THEN
			-- Without the directory, all are asked.
			EXIT;
		END;
		IF _deployment IS NOT NULL THEN
			RETURN QUERY SELECT s.number, s.name FROM miosa_router.all_shards() s
				ORDER BY s.number OPERATOR(pg_catalog.<>) miosa_router.shard_of(_deployment), s.number;
			RETURN;
		END IF;
	END LOOP;
	RETURN QUERY SELECT s.number, s.name FROM miosa_router.all_shards() s;
END $$;
COMMENT ON FUNCTION miosa_router.shards_of_host(text) IS 'Shards to ask for the route of a host, the likeliest first';

-- Changes on all shards.

CREATE OR REPLACE FUNCTION miosa_router.is_lacking(sqlstate text, message text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sqlstate = 'MR400' AND message ~ ' does not exist$|(^|: )invalid value for argument "name": ';
COMMENT ON FUNCTION miosa_router.is_lacking(text, text) IS 'Whether a shard refuses to remove something because it is not there';

-- Fleets.

-- A shard refuses ids that it does not have.
CREATE OR REPLACE FUNCTION miosa_router.split_selector(given jsonb, OUT number integer, OUT name text, OUT selector jsonb) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_ids text[];
BEGIN
	IF jsonb_typeof($1 -> 'ids') = 'array' THEN
		_ids := ARRAY(SELECT e.value FROM jsonb_array_elements_text($1 -> 'ids') e);
	ELSIF jsonb_typeof($1 -> 'ids') = 'string' THEN
		_ids := ARRAY[$1 ->> 'ids'];
	END IF;
	IF cardinality(_ids) > 0 THEN
		RETURN QUERY SELECT s.number, s.name, jsonb_set($1, '{ids}', i.ids)
			FROM (SELECT miosa_router.shard_of(e.id) AS shard, jsonb_agg(e.id ORDER BY e.place) AS ids
				FROM unnest(_ids) WITH ORDINALITY e (id, place) GROUP BY 1) i
			JOIN miosa_router.all_shards() s ON s.number = i.shard ORDER BY s.number;
	ELSE
		RETURN QUERY SELECT s.number, s.name, $1 FROM miosa_router.all_shards() s;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.split_selector(jsonb) IS 'Shards that a selector of deployments concerns, each with its part of it';

-- call: how the function begins; arguments: names and values, of which null was not
-- given.
CREATE OR REPLACE FUNCTION miosa_router.check_mode(selector jsonb, mode text, call text, arguments text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	shards text[] := ARRAY(SELECT s.name FROM miosa_router.split_selector(selector) s);
	possible text;
BEGIN
	IF mode = 'atomic' AND cardinality(shards) > 1 THEN
		SELECT format('%s(%s);', call, string_agg(format('%s => %L', quote_ident(arguments[n]),
				CASE arguments[n] WHEN 'mode' THEN 'best_effort' ELSE arguments[n + 1] END), ', ' ORDER BY n))
			INTO possible FROM generate_series(1, cardinality(arguments), 2) n WHERE arguments[n + 1] IS NOT NULL;
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'a fleet on several shards cannot be atomic',
			format('The selector concerns the shards %s, each of which commits by itself.', array_to_string(shards, ', ')),
			CASE WHEN length(possible) <= 4000 THEN 'Pass ids that are on one shard, or have each shard commit by itself: ' || possible
				ELSE 'Pass ids that are on one shard, or mode => ''best_effort'' with the same key.' END);
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.check_mode(jsonb, text, text, text[]) IS 'Raises INVALID_ARGUMENT for an atomic fleet on several shards; the HINT has the call that is possible';

-- Counts are added, lists are joined in the order of the ids; fleets has the id
-- of the fleet on each shard.
CREATE OR REPLACE FUNCTION miosa_router.merge_fleet(answers jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result jsonb := '{}';
	member record;
BEGIN
	IF (SELECT count(*) FROM jsonb_object_keys(answers)) = 1 THEN
		RETURN (SELECT a.value FROM jsonb_each(answers) a);
	END IF;
	FOR member IN SELECT f.key, min(jsonb_typeof(f.value)) AS type, jsonb_agg(f.value ORDER BY a.key) AS found
		FROM jsonb_each(answers) a, jsonb_each(a.value -> 'data') f GROUP BY f.key
	LOOP
		result := result || jsonb_build_object(member.key, CASE member.type
			WHEN 'number' THEN (SELECT to_jsonb(sum(e.value::numeric)) FROM jsonb_array_elements_text(member.found) e)
			WHEN 'array' THEN (SELECT coalesce(jsonb_agg(l.value ORDER BY l.value ->> 'deployment_id' COLLATE "C"), '[]')
				FROM jsonb_array_elements(member.found) e, jsonb_array_elements(e.value) l)
			ELSE member.found -> 0 END);
	END LOOP;
	RETURN jsonb_build_object('data', result || jsonb_build_object('fleet_id', NULL,
		'fleets', (SELECT coalesce(jsonb_object_agg(a.key, a.value #> '{data,fleet_id}'), '{}') FROM jsonb_each(answers) a)));
END $$;
COMMENT ON FUNCTION miosa_router.merge_fleet(jsonb) IS 'One answer of a fleet, from those of the shards by name';

-- Lists.

-- The cursor of the extension (miosa.audit_cursor()) is a place in an order that all
-- shards share, so one cursor is good for all.
CREATE OR REPLACE FUNCTION miosa_router.merge_audit_log(answers jsonb[], "limit" integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	events jsonb[];
	more boolean;
BEGIN
	SELECT array_agg(e.value ORDER BY (e.value ->> 'created_at')::timestamptz DESC, e.value ->> 'resource_id' COLLATE "C" DESC,
			(e.value #>> '{metadata,seq}')::bigint DESC) INTO events
		-- Events of a deployment that has moved are on both shards
		FROM (SELECT DISTINCT ON (d.value ->> 'id') d.value FROM unnest(answers) a (answer), jsonb_array_elements(a.answer -> 'data') d) e;
	more := cardinality(events) > "limit" OR EXISTS (SELECT FROM unnest(answers) a (answer) WHERE a.answer ->> 'next_cursor' IS NOT NULL);
	events := events[:"limit"];
	RETURN jsonb_build_object('data', coalesce(to_jsonb(events), '[]'), 'next_cursor', CASE WHEN more THEN
		encode(convert_to(format('audit:%s:%s:%s',
			(extract(epoch FROM (events[cardinality(events)] ->> 'created_at')::timestamptz) * 1000000)::bigint,
			events[cardinality(events)] ->> 'resource_id', events[cardinality(events)] #>> '{metadata,seq}'), 'UTF8'), 'hex') END);
END $$;
COMMENT ON FUNCTION miosa_router.merge_audit_log(jsonb[], integer) IS 'One page of audit events from those of the shards';

CREATE OR REPLACE FUNCTION miosa_router.merge_configuration_log(answers jsonb, "limit" integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', coalesce(jsonb_agg(p.event ORDER BY p.place), '[]'))
	FROM (SELECT e.value || jsonb_build_object('shard', a.key) AS event,
			row_number() OVER (ORDER BY (e.value ->> 'created_at')::timestamptz DESC, (e.value ->> 'seq')::bigint DESC, a.key) AS place
		FROM jsonb_each($1) a, jsonb_array_elements(a.value -> 'data') e) p WHERE p.place <= $2
$$;
COMMENT ON FUNCTION miosa_router.merge_configuration_log(jsonb, integer) IS 'The newest configuration events of all shards, each with its shard';

CREATE OR REPLACE FUNCTION miosa_router.merge_audit_head(answers jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('shards', coalesce((SELECT jsonb_object_agg(a.key, a.value -> 'data') FROM jsonb_each($1) a), '{}'))
$$;
COMMENT ON FUNCTION miosa_router.merge_audit_head(jsonb) IS 'The newest statement of each shard';

CREATE OR REPLACE FUNCTION miosa_router.merge_audit_verify_all(answers jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', jsonb_build_object(
		'verified', coalesce(bool_and((a.value #>> '{data,verified}')::boolean), true),
		'deployments', coalesce(sum((a.value #>> '{data,deployments}')::bigint), 0),
		'events', coalesce(sum((a.value #>> '{data,events}')::bigint), 0),
		'moved_events', coalesce(sum((a.value #>> '{data,moved_events}')::bigint), 0),
		'problems', (SELECT coalesce(jsonb_agg(p.value || jsonb_build_object('shard', b.key)), '[]')
			FROM jsonb_each($1) b, jsonb_array_elements(b.value #> '{data,problems}') p)))
	FROM jsonb_each($1) a
$$;
COMMENT ON FUNCTION miosa_router.merge_audit_verify_all(jsonb) IS 'Whether the audit trail of every shard that has answered is as it was written';

-- A statement is one shard's; another one does not have what it lists.
CREATE OR REPLACE FUNCTION miosa_router.merge_audit_verify_statement(answers jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT a.value || jsonb_build_object('shard', a.key) FROM jsonb_each($1) a
	ORDER BY jsonb_array_length(a.value #> '{data,problems}'), a.key LIMIT 1
$$;
COMMENT ON FUNCTION miosa_router.merge_audit_verify_statement(jsonb) IS 'The answer of the shard that fits the statement best';

-- Maintenance.

-- As the extension's procedure: it begins anywhere, so that with more than it may do,
-- what storage cannot say about does not always come first.
CREATE OR REPLACE FUNCTION miosa_router.verify_artifacts("limit" integer, context text[], shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	_page record;
	_start text;
	_position text;
	_wrapped boolean := false;
	_asked integer := 0;
BEGIN
	PERFORM miosa_shard.check_limit("limit", 1000000, context, shard);
	_start := miosa_shard.some_deployment(context, shard);
	_position := _start;
	LOOP
		SELECT d.* INTO _page FROM miosa_shard.due_artifacts(_position, context, shard) d;
		FOR i IN 1 .. pg_catalog.cardinality(_page.release_ids) LOOP
			EXIT WHEN _asked OPERATOR(pg_catalog.>=) "limit";
			PERFORM miosa_shard.verify_artifact(_page.deployment_ids[i], _page.release_ids[i], context, shard);
			_asked := _asked OPERATOR(pg_catalog.+) 1;
		END LOOP;
		EXIT WHEN _asked OPERATOR(pg_catalog.>=) "limit"
			OR (_wrapped AND (_page.next IS NULL OR _page.next COLLATE pg_catalog."C" OPERATOR(pg_catalog.>=) _start));
		_wrapped := _wrapped OR _page.next IS NULL;
		_position := coalesce(_page.next, '');
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.verify_artifacts(integer, text[], integer) IS 'The steps of miosa_verify_artifacts() on a shard';

-- Routes.

-- Epochs are a shard's own, so a reader has a place in each: {"s0": 17, "s1": 4}. A
-- shard that is not in it is read from its beginning; one that is down keeps its place.
CREATE OR REPLACE FUNCTION public.miosa_routes_since(epochs jsonb, "limit" integer DEFAULT 1000) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_page jsonb;
	_data jsonb := '[]';
	_next jsonb := '{}';
	_gaps text[] := '{}';
	_down text[] := '{}';
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	PERFORM miosa_router.check_epochs(epochs);
	FOR _each IN SELECT s.number, s.name, coalesce((epochs OPERATOR(pg_catalog.->>) s.name)::bigint, 0) AS epoch FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_page := miosa_shard.miosa_routes_since(_each.epoch, "limit", _context, _each.number);
			_data := _data OPERATOR(pg_catalog.||) coalesce((SELECT pg_catalog.jsonb_agg(e.value OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('shard', _each.name)
				ORDER BY e.ordinality) FROM pg_catalog.jsonb_array_elements(_page OPERATOR(pg_catalog.->) 'data') WITH ORDINALITY e), '[]');
			_next := _next OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(_each.name, _page OPERATOR(pg_catalog.->) 'next_epoch');
			IF (_page OPERATOR(pg_catalog.->>) 'gap')::boolean THEN
				_gaps := _gaps OPERATOR(pg_catalog.||) _each.name;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down OPERATOR(pg_catalog.||) miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			_next := _next OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(_each.name, _each.epoch);
		END;
	END LOOP;
	RETURN miosa_router.with_down(pg_catalog.jsonb_build_object('data', _data, 'next_epochs', _next, 'gaps', _gaps), _down);
END $$;
COMMENT ON FUNCTION public.miosa_routes_since(jsonb, integer) IS 'Route changes of all shards after an epoch of each, for listeners that missed notifications [router]';
REVOKE ALL ON FUNCTION public.miosa_routes_since(jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.miosa_routes_since(jsonb, integer) TO miosa_viewer, miosa_edge;

CREATE OR REPLACE FUNCTION miosa_router.check_epochs(epochs jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	wrong text;
BEGIN
	IF jsonb_typeof(epochs) IS DISTINCT FROM 'object' THEN
		wrong := coalesce(left(epochs::text, 200), 'null');
	ELSE
		SELECT format('%s: %s', e.key, left(e.value::text, 100)) INTO wrong FROM jsonb_each(epochs) e
			WHERE NOT coalesce(e.value::text ~ '^[0-9]{1,18}$', false) OR NOT EXISTS (SELECT FROM miosa_router.all_shards() s WHERE s.name = e.key)
			ORDER BY e.key LIMIT 1;
	END IF;
	IF wrong IS NOT NULL THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'invalid value for argument "epochs"',
			format('It has %s; the shards are %s.', wrong, (SELECT string_agg(s.name, ', ' ORDER BY s.number) FROM miosa_router.all_shards() s)),
			'Pass next_epochs of the last result, or an empty object for the beginning: SELECT miosa_routes_since(epochs => ''{}'');');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.check_epochs(jsonb) IS 'Raises INVALID_ARGUMENT unless it has epochs of shards that there are';

-- Metrics.

-- A text of all shards: the samples of each, with its name as a label, below the
-- head of their family.  Whether a shard has answered is a metric, too.
CREATE OR REPLACE FUNCTION miosa_router.merge_metrics(answers jsonb, down text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH shards AS (
		SELECT a.key AS name, a.value #>> '{}' AS answer,
			format('shard="%s"', replace(replace(replace(a.key, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')) AS label, true AS up
		FROM jsonb_each($1) a
		UNION ALL
		SELECT d.name, '', format('shard="%s"', replace(replace(replace(d.name, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')), false
		FROM unnest($2) d (name)
	), lines AS (
		SELECT s.name, s.label, t.line, t.n, t.line LIKE '# %' AS head,
			-- The family that the last HELP has begun.
			max(CASE WHEN t.line LIKE '# HELP %' THEN t.n END) OVER (PARTITION BY s.name ORDER BY t.n) AS begun
		FROM shards s CROSS JOIN LATERAL string_to_table(s.answer, E'\n') WITH ORDINALITY t (line, n)
		WHERE t.line <> ''
	), families AS (
		SELECT l.*, split_part(first_value(l.line) OVER (PARTITION BY l.name, l.begun ORDER BY l.n), ' ', 3) AS family FROM lines l
	), merged AS (
		SELECT f.family, f.head, f.name, f.n,
			CASE WHEN f.head THEN f.line ELSE regexp_replace(f.line, E'^(\\w+)(?:(\\{)|( ))',
				E'\\1{' || replace(f.label, E'\\', E'\\\\') || CASE WHEN f.line ~ E'^\\w+\\{' THEN ',' ELSE '} ' END) END AS line
		FROM families f
		WHERE NOT f.head OR f.name = (SELECT min(o.name) FROM families o WHERE o.family = f.family)
		UNION ALL
		SELECT 'miosa_shard_up', true, '', h.n, h.line FROM (VALUES
			(1, '# HELP miosa_shard_up Whether the shard answers the router'), (2, '# TYPE miosa_shard_up gauge')) h (n, line)
		UNION ALL
		SELECT 'miosa_shard_up', false, s.name, 3, format('miosa_shard_up{%s} %s', s.label, s.up::integer) FROM shards s
	)
	SELECT string_agg(m.line || E'\n', '' ORDER BY m.family, NOT m.head, m.name, m.n) FROM merged m
$$;
COMMENT ON FUNCTION miosa_router.merge_metrics(jsonb, text[]) IS 'Metrics of all shards, each with its shard as a label';

-- Alerts.

-- Each alert goes to the shard of the deployment that it names.  One that no shard
-- knows goes to the first, which says so; one that several know goes to none.
CREATE OR REPLACE FUNCTION miosa_router.split_alerts(given jsonb, OUT number integer, OUT name text, OUT places integer[], OUT payload jsonb) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_alert record;
	_shards integer[];
	_known jsonb := '{}';
	_target integer[] := '{}';
BEGIN
	IF jsonb_typeof($1 -> 'alerts') IS DISTINCT FROM 'array' OR jsonb_array_length($1 -> 'alerts') = 0 THEN
		RETURN QUERY SELECT s.number, s.name, '{}'::integer[], $1 FROM miosa_router.all_shards() s ORDER BY s.number LIMIT 1;
		RETURN;
	END IF;
	FOR _alert IN SELECT e.ordinality, e.value #>> '{labels,miosa_deployment}' AS name
		FROM jsonb_array_elements($1 -> 'alerts') WITH ORDINALITY e ORDER BY e.ordinality
	LOOP
		IF _alert.name IS NULL THEN
			_target := _target || 0;
			CONTINUE;
		END IF;
		IF NOT _known ? _alert.name THEN
			_shards := ARRAY(SELECT s.number FROM miosa_router.shards_named(_alert.name) s);
			_known := _known || jsonb_build_object(_alert.name,
				CASE cardinality(_shards) WHEN 0 THEN miosa_router.shard_of(_alert.name) WHEN 1 THEN _shards[1] ELSE -1 END);
		END IF;
		_target := _target || (_known ->> _alert.name)::integer;
	END LOOP;
	RETURN QUERY SELECT s.number, s.name, t.places, jsonb_set($1, '{alerts}', t.alerts)
		FROM (SELECT u.shard, array_agg(u.place::integer ORDER BY u.place) AS places, jsonb_agg($1 -> 'alerts' -> (u.place::integer - 1) ORDER BY u.place) AS alerts
			FROM unnest(_target) WITH ORDINALITY u (shard, place) GROUP BY u.shard) t
		JOIN miosa_router.all_shards() s ON s.number = t.shard ORDER BY s.number;
END $$;
COMMENT ON FUNCTION miosa_router.split_alerts(jsonb) IS 'Shards that alerts concern, each with its part of the body and the places of its alerts';

CREATE OR REPLACE FUNCTION miosa_router.unmatched_alerts(payload jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT jsonb_build_object('data', jsonb_build_object('alerts', coalesce(jsonb_agg(jsonb_build_object('deployment_id', NULL,
		'fingerprint', e.value -> 'fingerprint', 'done', 'unmatched', 'operation_id', NULL,
		'why', 'the label miosa_deployment names deployments of several shards') ORDER BY e.ordinality), '[]')))
	FROM jsonb_array_elements(CASE jsonb_typeof($1 -> 'alerts') WHEN 'array' THEN $1 -> 'alerts' ELSE '[]' END) WITH ORDINALITY e
$$;
COMMENT ON FUNCTION miosa_router.unmatched_alerts(jsonb) IS 'Answer to alerts that went to no shard';

CREATE OR REPLACE FUNCTION miosa_router.merge_alerts(result jsonb, places integer[], answer jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	FOR n IN 1 .. cardinality(places) LOOP
		result := jsonb_set(result, ARRAY['data', 'alerts', (places[n] - 1)::text], answer #> ARRAY['data', 'alerts', (n - 1)::text]);
	END LOOP;
	RETURN result;
END $$;
COMMENT ON FUNCTION miosa_router.merge_alerts(jsonb, integer[], jsonb) IS 'The answer with a shard''s answers in their places';

-- The router's own health, and what the shards have to be equal in.
CREATE OR REPLACE FUNCTION miosa_router.doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_identity jsonb;
	_all jsonb := '{}';
	_kind text;
	_differing text;
	_first text;
	_message text;
BEGIN
	RETURN QUERY SELECT d.* FROM miosa_router.map_doctor() d;
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		item := 'router: shard ' || _each.name;
		fix := NULL;
		needs := NULL;
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_identity := miosa_shard.identity(_context, _each.number);
			SELECT j.* INTO status, seen, fix, needs FROM miosa_router.judge_shard(_identity, _all) j;
			_all := _all || pg_catalog.jsonb_build_object(_each.name, _identity);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _message = MESSAGE_TEXT;
			status := 'fail';
			seen := pg_catalog.btrim(pg_catalog.regexp_replace(_message, E'^PL/Proxy function [^ ]+: (\\[[^]]*\\] PQ\\w+: )?|^[^ ]+\\(\\d+\\): \\[[^]]*\\] REMOTE [^:]*: ', ''), E' \n');
			fix := 'Start it, correct its connection in miosa_router.shards, or run miosa_shard.sql in it';
			needs := 'superuser';
		END;
		RETURN NEXT;
	END LOOP;
	-- Each kind of configuration by name: what not every shard has alike.
	FOREACH _kind IN ARRAY ARRAY['plans', 'tenants', 'members', 'adapters', 'endpoints', 'secrets', 'storages', 'schemas', 'freezes'] LOOP
		item := 'router: ' || _kind;
		SELECT pg_catalog.string_agg(pg_catalog.format('%s (%s)', d.key, d.shards), ', ' ORDER BY d.key), min(d.key COLLATE "C") INTO _differing, _first
			FROM (SELECT k.key, pg_catalog.string_agg(k.shard || CASE WHEN k.digest IS NULL THEN ' lacks it' ELSE ' ' || pg_catalog.left(k.digest, 6) END, '; ' ORDER BY k.shard) AS shards
				FROM (SELECT n.key, a.key AS shard, a.value -> _kind ->> n.key AS digest
					FROM (SELECT DISTINCT e.key FROM pg_catalog.jsonb_each(_all) b, pg_catalog.jsonb_each(b.value -> _kind) e) n, pg_catalog.jsonb_each(_all) a) k
				GROUP BY k.key HAVING count(DISTINCT coalesce(k.digest, '')) > 1 ORDER BY k.key COLLATE "C" LIMIT 20) d;
		status := CASE WHEN _differing IS NULL THEN 'ok' ELSE 'fail' END;
		seen := coalesce('shards differ: ' || _differing, 'all shards that answer are equal');
		-- Members and schemas are named by two words
		fix := 'Repeat the call that puts it, here, or remove it: SELECT ' || CASE
			WHEN _first IS NULL THEN NULL
			WHEN _kind = 'members' THEN pg_catalog.format('miosa_revoke_tenant(%L, %L);', pg_catalog.regexp_replace(_first, ' [^ ]*$', ''), pg_catalog.regexp_replace(_first, '^.* ', ''))
			WHEN _kind = 'schemas' THEN pg_catalog.format('miosa_remove_schema(%L, %L);', pg_catalog.regexp_replace(_first, ' [^ ]*$', ''),
				nullif(pg_catalog.regexp_replace(_first, '^.* ', ''), '*'))
			ELSE pg_catalog.format('miosa_remove_%s(%L);', pg_catalog.rtrim(_kind, 's'), _first) END;
		needs := CASE WHEN _differing IS NOT NULL THEN 'miosa_admin' END;
		RETURN NEXT;
	END LOOP;
END $$;
ALTER FUNCTION miosa_router.doctor() SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION miosa_router.doctor() IS 'Rows of miosa_doctor() about the router, and about what the shards have to be equal in';

CREATE OR REPLACE FUNCTION miosa_router.count_buckets() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT count(*) FROM miosa_router.buckets
$$;
COMMENT ON FUNCTION miosa_router.count_buckets() IS 'Number of buckets that have a shard';

-- Hosts that came to a shard otherwise than through the router.
CREATE OR REPLACE FUNCTION miosa_shard.host_list(after text, shard integer, OUT host text, OUT deployment_id text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.host, f.deployment_id FROM miosa_shard.host_list($1::text) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard.host_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.host_list(text, integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_router.register_hosts() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
	shard record;
	host record;
	entry jsonb;
	owner text;
	after text;
	more boolean;
	number bigint := 0;
BEGIN
	FOR shard IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		after := '';
		more := true;
		WHILE more LOOP
			more := false;
			FOR host IN SELECT h.host, h.deployment_id FROM miosa_shard.host_list(after, shard.number) h LOOP
				more := true;
				after := host.host;
				entry := miosa_shard.claim_host(host.host, host.deployment_id, NULL, miosa_router.directory_of(host.host));
				IF entry IS NULL THEN
					PERFORM miosa_shard.confirm_host(host.host, host.deployment_id, miosa_router.directory_of(host.host));
					number := number OPERATOR(pg_catalog.+) 1;
				ELSIF (entry OPERATOR(pg_catalog.->>) 'own')::boolean THEN
					number := number OPERATOR(pg_catalog.+) 1;
				ELSE
					owner := miosa_shard.host_deployment(host.host, miosa_router.context(), miosa_router.directory_of(host.host));
					IF miosa_router.shard_of(owner) OPERATOR(pg_catalog.<>) shard.number THEN
						RAISE WARNING 'host "%" is on shard "%", but the directory has it for deployment "%" of another shard', host.host, shard.name,
							owner USING ERRCODE = '01000', HINT = 'Remove it from one of the two, on its shard.';
					END IF;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.register_hosts() IS 'Enters the hosts of all shards into the directory, and warns of those that two shards have; returns how many it has';

-- Deployments and buckets move between shards.

-- The shards' own functions (miosa_shard.sql).

CREATE OR REPLACE FUNCTION miosa_shard.move_step(step text, key text, number bigint, content jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT CASE WHEN miosa_shard.adopt($5::text[]) THEN miosa_shard.move_step($1::text, $2::text, $3::bigint, $4::jsonb) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.moves_seen(deployments text[], context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.moves_seen($1::text[]) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.deployment_list(after text, shard integer) RETURNS SETOF text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.id FROM miosa_shard.deployment_list($1::text) f (id);
$$;

REVOKE ALL ON FUNCTION miosa_shard.move_step(text, text, bigint, jsonb, text[], integer), miosa_shard.moves_seen(text[], text[], integer),
	miosa_shard.deployment_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.move_step(text, text, bigint, jsonb, text[], integer), miosa_shard.deployment_list(text, integer) TO miosa_admin;
GRANT EXECUTE ON FUNCTION miosa_shard.moves_seen(text[], text[], integer) TO miosa_operator;

-- A step of a move on a shard.  Its error is raised as the shard has raised it.
CREATE OR REPLACE FUNCTION miosa_router.at_shard(shard integer, step text, key text, number bigint DEFAULT NULL, content jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	RETURN miosa_shard.move_step(step, key, number, content, miosa_router.context(), miosa_router.check_on(shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(shard, state, message, detail, hint);
END $$;
COMMENT ON FUNCTION miosa_router.at_shard(integer, text, text, bigint, jsonb) IS 'One step of a move, on a shard';

CREATE OR REPLACE FUNCTION miosa_router.shard_name(number integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT s.name FROM miosa_router.all_shards() s WHERE s.number = $1
$$;
COMMENT ON FUNCTION miosa_router.shard_name(integer) IS 'Name of a shard';

-- What a shard is called in a message about the one that has to be there.
CREATE OR REPLACE FUNCTION miosa_router.number_of(shard text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	number integer := (SELECT s.number FROM miosa_router.all_shards() s WHERE s.name = shard);
BEGIN
	IF number IS NULL THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('shard "%s" does not exist', shard), NULL,
			format('Shards: %s.', (SELECT string_agg(s.name, ', ' ORDER BY s.number) FROM miosa_router.all_shards() s)));
	END IF;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.number_of(text) IS 'Number of the shard of this name, or INVALID_ARGUMENT';

-- The map, changed.

CREATE OR REPLACE FUNCTION miosa_router.moves_under_way() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT string_agg(format('%s from %s to %s', m.count, a.name, b.name), ', ' ORDER BY a.name, b.name)
	FROM (SELECT o.source, o.target, count(*) FROM miosa_router.moves o GROUP BY 1, 2) m
	JOIN miosa_router.shards a ON a.number = m.source JOIN miosa_router.shards b ON b.number = m.target
$$;
COMMENT ON FUNCTION miosa_router.moves_under_way() IS 'How many moves have begun and not ended, by shards; null for none';

CREATE OR REPLACE FUNCTION miosa_router.find_move(deployment text, OUT source integer, OUT target integer, OUT number bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.source, m.target, m.number FROM miosa_router.moves m WHERE m.deployment_id = $1
$$;
COMMENT ON FUNCTION miosa_router.find_move(text) IS 'The move of a deployment that has begun and not ended; nulls for none';

-- From here on calls about the deployment are refused as DEPLOYMENT_BUSY.
CREATE OR REPLACE FUNCTION miosa_router.open_move(deployment text, source integer, target integer, number bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	INSERT INTO miosa_router.moves (deployment_id, source, target, number) VALUES (deployment, source, target, number) ON CONFLICT DO NOTHING;
	IF NOT FOUND OR miosa_router.place_of(deployment) <> source THEN
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('deployment "%s" is being moved', deployment),
			'Another call began to move it at the same time.', 'Repeat the call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.open_move(text, integer, integer, bigint) IS 'Notes that a move has begun';

-- A move that another call has ended is left alone.
CREATE OR REPLACE FUNCTION miosa_router.end_move(deployment text, number bigint, shard integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa_router.moves m WHERE m.deployment_id = deployment AND m.number = number;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM miosa_router.place(deployment, shard);
	RETURN true;
END $$;
COMMENT ON FUNCTION miosa_router.end_move(text, bigint, integer) IS 'Ends a move: the deployment is on this shard; false if it has ended already';

CREATE OR REPLACE FUNCTION miosa_router.place(deployment text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa_router.deployment_overrides o WHERE o.deployment_id = deployment;
	INSERT INTO miosa_router.deployment_overrides (deployment_id, shard)
		SELECT deployment, shard WHERE shard <> (SELECT b.shard FROM miosa_router.buckets b WHERE b.bucket = miosa_router.bucket_of(deployment) FOR SHARE);
END $$;
COMMENT ON FUNCTION miosa_router.place(text, integer) IS 'Has the map say that a deployment is on this shard';

CREATE OR REPLACE FUNCTION miosa_router.cancel_move(deployment text, number bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa_router.moves m WHERE m.deployment_id = $1 AND m.number = $2
$$;
COMMENT ON FUNCTION miosa_router.cancel_move(text, bigint) IS 'Forgets the move of a deployment that does not exist';

-- Before anything is taken, both shards say whether it can be moved.
CREATE OR REPLACE FUNCTION miosa_router.begin_move(deployment text, shard integer, OUT source integer, OUT target integer, OUT number bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	facts jsonb;
BEGIN
	SELECT m.* INTO source, target, number FROM miosa_router.find_move(deployment) m;
	IF number IS NOT NULL THEN
		IF shard NOT IN (source, target) THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('deployment "%s" is being moved to another shard', deployment),
				format('It moves from shard "%s" to "%s".', miosa_router.shard_name(source), miosa_router.shard_name(target)),
				format('Finish that move first: CALL miosa_move_deployment(%L, %L); or turn it back with %L.', deployment,
					miosa_router.shard_name(target), miosa_router.shard_name(source)));
		END IF;
		RETURN;
	END IF;
	source := miosa_router.shard_of(deployment);
	target := miosa_router.check_on(shard);
	IF source = target THEN
		RETURN;
	END IF;
	facts := miosa_router.at_shard(source, 'departure', deployment, content => miosa_router.at_shard(target, 'arrival', deployment));
	IF facts IS NULL THEN
		PERFORM miosa_router.refuse('MR404', 'NOT_FOUND', 404, 0, format('deployment "%s" does not exist', deployment),
			format('Shard "%s" does not have it.', miosa_router.shard_name(source)), 'See the deployments with SELECT shard, deployment_id FROM miosa.routes;');
	END IF;
	PERFORM miosa_router.at_shard(target, 'check', deployment, content => facts);
	number := (facts ->> 'number')::bigint;
	PERFORM miosa_router.open_move(deployment, source, target, number);
END $$;
COMMENT ON FUNCTION miosa_router.begin_move(text, integer) IS 'Begins a move, or finds the one that was interrupted; source and target are equal when there is nothing to do';

-- The move goes back to where it began.  A call that is still at work on it can do
-- nothing any more: its number is too low.
CREATE OR REPLACE FUNCTION miosa_router.turn_back(deployment text, source integer, target integer, number bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa_router.at_shard(target, 'bar', deployment, number)::boolean THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('the move of deployment "%s" cannot be turned back', deployment),
			format('Shard "%s" has it.', miosa_router.shard_name(target)),
			format('Finish the move: CALL miosa_move_deployment(%L, %L);', deployment, miosa_router.shard_name(target)));
	END IF;
	PERFORM miosa_router.at_shard(source, 'keep', deployment, number + 1);
	PERFORM miosa_router.end_move(deployment, number, source);
END $$;
COMMENT ON FUNCTION miosa_router.turn_back(text, integer, integer, bigint) IS 'Turns back a move that was interrupted';

-- Carry deployments whose moves have begun.  Each step commits, and each can be
-- repeated.  One restart of the dispatcher is enough for all of them.
CREATE OR REPLACE PROCEDURE miosa_router.carry(deployments text[])
LANGUAGE plpgsql AS $$
DECLARE
	deployment text;
	move record;
	parcel jsonb;
	restart integer[] := '{}';
	source integer;
BEGIN
	FOREACH deployment IN ARRAY deployments LOOP
		move := miosa_router.find_move(deployment);
		IF move.number IS NOT NULL AND miosa_router.at_shard(move.source, 'take', deployment, move.number)::boolean THEN
			restart := restart OPERATOR(pg_catalog.||) move.source;
		END IF;
	END LOOP;
	-- Nothing of them is delivered from there any more
	FOR source IN SELECT DISTINCT r.source FROM pg_catalog.unnest(restart) r (source) LOOP
		PERFORM miosa_router.at_shard(source, 'restart', NULL);
	END LOOP;
	FOREACH deployment IN ARRAY deployments LOOP
		move := miosa_router.find_move(deployment);
		CONTINUE WHEN move.number IS NULL;
		parcel := miosa_router.at_shard(move.source, 'parcel', deployment);
		IF parcel IS NULL AND NOT (miosa_router.at_shard(move.target, 'arrival', deployment) OPERATOR(pg_catalog.->) 'present')::boolean THEN
			PERFORM miosa_router.cancel_move(deployment, move.number);
			COMMIT;
			PERFORM miosa_router.refuse('MR404', 'NOT_FOUND', 404, 0, pg_catalog.format('deployment "%s" does not exist', deployment),
				'Neither shard has it.', 'See the deployments with SELECT shard, deployment_id FROM miosa.routes;');
		ELSIF parcel IS NOT NULL AND NOT miosa_router.at_shard(move.target, 'put', deployment, move.number, parcel)::boolean THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, pg_catalog.format('the move of deployment "%s" was turned back', deployment),
				NULL, pg_catalog.format('CALL miosa_move_deployment(%L, %L);', deployment, miosa_router.shard_name(move.source)));
		END IF;
		PERFORM miosa_router.end_move(deployment, move.number, move.target);
		COMMIT;
		PERFORM miosa_router.at_shard(move.source, 'drop', deployment);
	END LOOP;
END $$;
COMMENT ON PROCEDURE miosa_router.carry(text[]) IS 'Finishes moves that have begun';

-- Of a move that has ended but for its parcel
CREATE OR REPLACE FUNCTION miosa_router.drop_parcels(deployment text, shard integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF (miosa_router.at_shard(shard, 'arrival', deployment) -> 'present')::boolean THEN
		PERFORM miosa_router.at_shard(s.number, 'drop', deployment) FROM miosa_router.all_shards() s WHERE s.number <> shard;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.drop_parcels(text, integer) IS 'Forgets parcels of a deployment, which this shard has';

-- The same call goes on where it was interrupted.
CREATE OR REPLACE PROCEDURE public.miosa_move_deployment(deployment text, shard text)
LANGUAGE plpgsql AS $$
DECLARE
	wanted integer := miosa_router.number_of(shard);
	move record;
BEGIN
	PERFORM miosa_router.at_shard(wanted, 'allowed', NULL);
	move := miosa_router.begin_move(deployment, wanted);
	COMMIT;
	IF move.number IS NULL THEN
		PERFORM miosa_router.drop_parcels(deployment, wanted);
	ELSIF move.source OPERATOR(pg_catalog.=) wanted THEN
		PERFORM miosa_router.turn_back(deployment, move.source, move.target, move.number);
	ELSE
		CALL miosa_router.carry(ARRAY[deployment]);
	END IF;
END $$;
COMMENT ON PROCEDURE public.miosa_move_deployment(text, text) IS 'Moves a deployment to another shard; the same call goes on with a move that was interrupted, one with the shard that it began on turns it back [router]';
REVOKE ALL ON PROCEDURE public.miosa_move_deployment(text, text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE public.miosa_move_deployment(text, text) TO miosa_mover;

-- Buckets.

CREATE OR REPLACE FUNCTION miosa_router.begin_bucket(bucket integer, shard integer, OUT source integer, OUT target integer, OUT switched boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	now_on integer;
BEGIN
	SELECT b.shard INTO now_on FROM miosa_router.buckets b WHERE b.bucket = bucket FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('bucket %s does not exist', bucket), 'Buckets are numbered from 0 to 1023.',
			'SELECT * FROM miosa_router.buckets; shows which shard has each.');
	END IF;
	SELECT m.source, m.target INTO source, target FROM miosa_router.bucket_moves m WHERE m.bucket = bucket;
	IF NOT FOUND THEN
		source := now_on;
		target := miosa_router.check_on(shard);
		IF source <> target THEN
			INSERT INTO miosa_router.bucket_moves (bucket, source, target) VALUES (bucket, source, target);
		END IF;
	ELSIF target <> shard THEN
		PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('bucket %s is being moved to another shard', bucket),
			format('It moves from shard "%s" to "%s".', miosa_router.shard_name(source), miosa_router.shard_name(target)),
			format('Finish that move first: CALL miosa_router.move_buckets(ARRAY[%s], %L);', bucket, miosa_router.shard_name(target)));
	END IF;
	switched := now_on = target;
END $$;
COMMENT ON FUNCTION miosa_router.begin_bucket(integer, integer) IS 'Begins the move of a bucket, or finds the one that was interrupted; source and target are equal when there is nothing to do';

-- From here on new deployments of the bucket are added to the other shard.  Those
-- that are there have an override until they have moved.
CREATE OR REPLACE FUNCTION miosa_router.switch_bucket(bucket integer, source integer, target integer, deployments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	UPDATE miosa_router.buckets b SET shard = target WHERE b.bucket = bucket AND b.shard = source;
	IF FOUND THEN
		INSERT INTO miosa_router.deployment_overrides (deployment_id, shard)
			SELECT d.value, source FROM jsonb_array_elements_text(deployments) d ON CONFLICT DO NOTHING;
		DELETE FROM miosa_router.deployment_overrides o WHERE miosa_router.bucket_of(o.deployment_id) = bucket AND o.shard = target;
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.switch_bucket(integer, integer, integer, jsonb) IS 'Has the map say that a bucket is on another shard, but for these deployments';

CREATE OR REPLACE FUNCTION miosa_router.next_of_buckets(buckets integer[], source integer, after text, most integer) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT ARRAY(SELECT o.deployment_id FROM miosa_router.deployment_overrides o
		WHERE miosa_router.bucket_of(o.deployment_id) = ANY ($1) AND o.shard = $2 AND o.deployment_id COLLATE "C" > $3
		ORDER BY o.deployment_id COLLATE "C" LIMIT $4)
$$;
COMMENT ON FUNCTION miosa_router.next_of_buckets(integer[], integer, text, integer) IS 'The next deployments of some buckets that have not moved yet';

-- One that cannot be moved stays where it is.
CREATE OR REPLACE FUNCTION miosa_router.begin_some(deployments text[], target integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	deployment text;
	begun text[] := '{}';
	detail text;
	hint text;
BEGIN
	FOREACH deployment IN ARRAY deployments LOOP
		BEGIN
			PERFORM miosa_router.begin_move(deployment, target);
			begun := begun || deployment;
		EXCEPTION WHEN SQLSTATE 'MR400' OR SQLSTATE 'MR404' OR SQLSTATE 'MR423' THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE WARNING 'deployment "%" stays on shard "%": %', deployment, miosa_router.shard_name(miosa_router.place_of(deployment)), SQLERRM
				USING ERRCODE = '01000', DETAIL = coalesce(detail, ''), HINT = coalesce(hint, '');
		END;
	END LOOP;
	RETURN begun;
END $$;
COMMENT ON FUNCTION miosa_router.begin_some(text[], integer) IS 'Begins moves, and warns of those that cannot be; returns the deployments that have begun to move';

CREATE OR REPLACE FUNCTION miosa_router.end_bucket(bucket integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	DELETE FROM miosa_router.bucket_moves m WHERE m.bucket = $1
		AND NOT EXISTS (SELECT FROM miosa_router.deployment_overrides o WHERE miosa_router.bucket_of(o.deployment_id) = $1 AND o.shard = m.source)
$$;
COMMENT ON FUNCTION miosa_router.end_bucket(integer) IS 'Ends the move of a bucket, if all of its deployments have moved';

-- Buckets that move from one shard to another.  Each step commits, and the same call
-- goes on where it was interrupted.
CREATE OR REPLACE PROCEDURE miosa_router.move_buckets(buckets integer[], shard text, INOUT moved bigint DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
	-- They are refused together for about a second, and the dispatcher is started
	-- again once for all of them.
	most CONSTANT integer := 20;
	wanted CONSTANT integer := miosa_router.number_of(shard);
	bucket integer;
	move record;
	source integer;
	page text[];
	after text := '';
BEGIN
	moved := 0;
	FOREACH bucket IN ARRAY buckets LOOP
		move := miosa_router.begin_bucket(bucket, wanted);
		COMMIT;
		CONTINUE WHEN move.source OPERATOR(pg_catalog.=) move.target;
		IF move.source OPERATOR(pg_catalog.<>) source THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'the buckets are on several shards',
				pg_catalog.format('Bucket %s is on shard "%s", another one on "%s".', bucket, miosa_router.shard_name(move.source), miosa_router.shard_name(source)),
				'Move the buckets of each shard by a call of their own.');
		END IF;
		source := move.source;
		IF NOT move.switched THEN
			-- Between these, new deployments and hosts of the bucket are refused as
			-- DEPLOYMENT_BUSY.
			PERFORM miosa_router.at_shard(source, 'close', NULL, bucket);
			PERFORM miosa_router.at_shard(wanted, 'open', NULL, bucket, miosa_router.at_shard(source, 'hosts', NULL, bucket));
			PERFORM miosa_router.switch_bucket(bucket, source, wanted, miosa_router.at_shard(source, 'list', NULL, bucket));
			COMMIT;
		END IF;
		PERFORM miosa_router.at_shard(source, 'drop_hosts', NULL, bucket);
	END LOOP;
	LOOP
		page := miosa_router.next_of_buckets(buckets, source, after, most);
		EXIT WHEN pg_catalog.cardinality(page) OPERATOR(pg_catalog.=) 0;
		after := page[pg_catalog.cardinality(page)];
		page := miosa_router.begin_some(page, wanted);
		COMMIT;
		CALL miosa_router.carry(page);
		moved := moved OPERATOR(pg_catalog.+) pg_catalog.cardinality(page);
		-- The other deployments of the shard go first
		PERFORM miosa_router.at_shard(source, 'rest', NULL);
	END LOOP;
	FOREACH bucket IN ARRAY buckets LOOP
		PERFORM miosa_router.end_bucket(bucket);
	END LOOP;
	COMMIT;
END $$;
COMMENT ON PROCEDURE miosa_router.move_buckets(integer[], text, bigint) IS 'Moves buckets of a shard with all of their deployments to another one; the same call goes on with a move that was interrupted';

-- How many buckets each shard should have, by weight.
CREATE OR REPLACE FUNCTION miosa_router.shares(OUT number integer, OUT name text, OUT buckets bigint, OUT wanted bigint) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH s AS (
		SELECT s.number, s.name, s.weight, (SELECT count(*) FROM miosa_router.buckets b WHERE b.shard = s.number) AS buckets
		FROM miosa_router.shards s WHERE s.state = 'on'),
	f AS (
		SELECT s.*, sum(s.buckets) OVER () AS total, sum(s.buckets) OVER () * s.weight / nullif(sum(s.weight) OVER (), 0) AS share FROM s),
	w AS (
		-- The rest of the division goes to those that lose most by it, then to those
		-- that have more.
		SELECT f.*, row_number() OVER (ORDER BY f.share - floor(f.share) DESC, f.buckets DESC, f.number) AS place, f.total - sum(floor(f.share)) OVER () AS rest FROM f)
	SELECT w.number, w.name, w.buckets, coalesce((floor(w.share) + CASE WHEN w.place <= w.rest THEN 1 ELSE 0 END)::bigint, w.buckets) FROM w ORDER BY w.number
$$;
COMMENT ON FUNCTION miosa_router.shares() IS 'How many buckets each shard has that is on, and how many it should have by its weight';

-- Buckets that one shard has too many, for the one that lacks most.
CREATE OR REPLACE FUNCTION miosa_router.next_buckets(most integer, OUT buckets integer[], OUT source text, OUT target text, OUT remaining bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH s AS MATERIALIZED (SELECT * FROM miosa_router.shares())
	SELECT ARRAY(SELECT b.bucket FROM miosa_router.buckets b WHERE b.shard = f.number AND NOT EXISTS (SELECT FROM miosa_router.bucket_moves m WHERE m.bucket = b.bucket)
			ORDER BY b.bucket LIMIT least($1, f.buckets - f.wanted, t.wanted - t.buckets)),
		f.name, t.name, (SELECT sum(s.buckets - s.wanted)::bigint FROM s WHERE s.buckets > s.wanted)
	FROM (SELECT * FROM s WHERE s.buckets > s.wanted ORDER BY s.buckets - s.wanted DESC, s.number LIMIT 1) f
	CROSS JOIN (SELECT * FROM s WHERE s.buckets < s.wanted ORDER BY s.wanted - s.buckets DESC, s.number LIMIT 1) t
$$;
COMMENT ON FUNCTION miosa_router.next_buckets(integer) IS 'The next buckets that rebalance() moves, at most so many, and how many are left; nulls for none';

CREATE OR REPLACE FUNCTION miosa_router.buckets_under_way(OUT bucket integer, OUT source text, OUT target text, OUT remaining bigint) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.bucket, a.name, b.name, (SELECT count(*) FROM miosa_router.deployment_overrides o
		WHERE miosa_router.bucket_of(o.deployment_id) = m.bucket AND o.shard = m.source)
	FROM miosa_router.bucket_moves m JOIN miosa_router.shards a ON a.number = m.source JOIN miosa_router.shards b ON b.number = m.target
	ORDER BY m.began_at, m.bucket
$$;
COMMENT ON FUNCTION miosa_router.buckets_under_way() IS 'Buckets that are being moved, or whose move was interrupted, with the number of deployments that have not moved yet';

CREATE OR REPLACE FUNCTION miosa_router.clean_overrides() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
	WITH done AS (DELETE FROM miosa_router.deployment_overrides o USING miosa_router.buckets b
		WHERE b.bucket = miosa_router.bucket_of(o.deployment_id) AND b.shard = o.shard RETURNING 1)
	SELECT count(*) FROM done
$$;
COMMENT ON FUNCTION miosa_router.clean_overrides() IS 'Deletes overrides that say what the bucket says; how many there were';

CREATE OR REPLACE PROCEDURE miosa_router.rebalance(most integer DEFAULT 1024)
LANGUAGE plpgsql AS $$
DECLARE
	-- So many at a time, with the first shares of progress soon
	step CONSTANT integer := 16;
	unfinished jsonb := (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(g)), '[]') FROM (
		SELECT pg_catalog.array_agg(u.bucket) AS buckets, u.source, u.target FROM miosa_router.buckets_under_way() u GROUP BY u.source, u.target) g);
	next record;
	moved bigint;
	done integer := 0;
BEGIN
	PERFORM miosa_router.clean_overrides();
	COMMIT;
	FOR n IN 0 .. pg_catalog.jsonb_array_length(unfinished) OPERATOR(pg_catalog.-) 1 LOOP
		SELECT r.* INTO next FROM pg_catalog.jsonb_to_record(unfinished OPERATOR(pg_catalog.->) n) AS r (buckets integer[], source text, target text);
		CALL miosa_router.move_buckets(next.buckets, next.target, moved);
		RAISE NOTICE 'from shard "%" to "%": % buckets whose move was interrupted, with % deployments', next.source, next.target,
			pg_catalog.cardinality(next.buckets), moved;
	END LOOP;
	LOOP
		SELECT * INTO next FROM miosa_router.next_buckets(least(step, most OPERATOR(pg_catalog.-) done));
		EXIT WHEN NOT FOUND OR coalesce(pg_catalog.cardinality(next.buckets), 0) OPERATOR(pg_catalog.=) 0;
		CALL miosa_router.move_buckets(next.buckets, next.target, moved);
		done := done OPERATOR(pg_catalog.+) pg_catalog.cardinality(next.buckets);
		RAISE NOTICE 'from shard "%" to "%": % buckets with % deployments; % buckets are left', next.source, next.target,
			pg_catalog.cardinality(next.buckets), moved, next.remaining OPERATOR(pg_catalog.-) pg_catalog.cardinality(next.buckets);
	END LOOP;
END $$;
COMMENT ON PROCEDURE miosa_router.rebalance(integer) IS 'Moves buckets until each shard has its share of them, at most so many; it may be stopped and called again';

-- Deployments that are where calls do not look for them: after a restore of one
-- shard, for instance, one that has moved since is on two.

CREATE OR REPLACE FUNCTION miosa_router.misplaced(OUT deployment_id text, OUT shard text, OUT belongs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_id text;
	_after text;
	_more boolean;
BEGIN
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		_after := '';
		_more := true;
		WHILE _more LOOP
			_more := false;
			FOR _id IN SELECT f.id FROM miosa_shard.deployment_list(_after, _each.number) f (id) LOOP
				_more := true;
				_after := _id;
				IF miosa_router.place_of(_id) <> _each.number AND (miosa_router.find_move(_id)).number IS NULL THEN
					deployment_id := _id;
					shard := _each.name;
					belongs := miosa_router.shard_name(miosa_router.place_of(_id));
					RETURN NEXT;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.misplaced() IS 'Deployments on another shard than the map says; reads the ids of all deployments';

-- What the doctor asks: of the last thousand deployments that have come to each
-- shard or left it, those that are on two shards, on another than the map says, or
-- on none.
CREATE OR REPLACE FUNCTION miosa_router.lately_misplaced(OUT deployment_id text, OUT problem text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_context text[] := miosa_router.context();
	_each record;
	_ids text[] := '{}';
	_found jsonb := '{}';
	_all boolean := true;
BEGIN
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_ids := _ids || ARRAY(SELECT e.value FROM jsonb_array_elements_text(miosa_shard.moves_seen(NULL, _context, _each.number)) e);
		EXCEPTION WHEN OTHERS THEN
			_all := false;
		END;
	END LOOP;
	_ids := ARRAY(SELECT DISTINCT i.id FROM unnest(_ids) i (id) WHERE (miosa_router.find_move(i.id)).number IS NULL);
	FOR _each IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_found := _found || jsonb_build_object(_each.name, miosa_shard.moves_seen(_ids, _context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			_all := false;
		END;
	END LOOP;
	RETURN QUERY SELECT i.id, CASE WHEN cardinality(p.names) > 1 THEN format('is on the shards %s', array_to_string(p.names, ' and '))
			WHEN cardinality(p.names) = 1 THEN format('is on shard %s, calls go to %s', p.names[1], p.place)
			ELSE format('is on no shard, calls go to %s', p.place) END
		FROM unnest(_ids) i (id) CROSS JOIN LATERAL (
			SELECT coalesce(array_agg(f.key ORDER BY f.key) FILTER (WHERE (f.value ->> i.id)::bigint >= 0), '{}') AS names,
				bool_or((f.value ->> i.id)::bigint = -2) AS removed, miosa_router.shard_name(miosa_router.place_of(i.id)) AS place
			FROM jsonb_each(_found) f) p
		WHERE p.names <> ARRAY[p.place] AND (cardinality(p.names) > 0 OR _all AND NOT p.removed)
		ORDER BY i.id;
END $$;
COMMENT ON FUNCTION miosa_router.lately_misplaced() IS 'Deployments that have moved lately and are not on the shard that the map says, or on that one alone';

-- The copy where calls go counts: what was acknowledged last is there.  If that
-- shard has none, the copy that has moved most often counts, and the map is
-- corrected.  The number keeps what is left of an earlier move from arriving.
CREATE OR REPLACE FUNCTION miosa_router.judge_copies(deployment text, OUT counts integer, OUT others integer[], OUT number bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	place CONSTANT integer := miosa_router.place_of(deployment);
	numbers jsonb := (SELECT jsonb_object_agg(s.number, miosa_shard.moves_seen(ARRAY[deployment], miosa_router.context(), miosa_router.check_on(s.number)) -> deployment)
		FROM miosa_router.all_shards() s);
BEGIN
	SELECT n.key::integer INTO counts FROM jsonb_each_text(numbers) n WHERE n.value::bigint >= 0
		ORDER BY n.key::integer <> place, n.value::bigint DESC, n.key::integer LIMIT 1;
	others := ARRAY(SELECT n.key::integer FROM jsonb_each_text(numbers) n WHERE n.value::bigint >= 0 AND n.key::integer <> counts ORDER BY 1);
	number := (SELECT max(n.value::bigint) FROM jsonb_each_text(numbers) n);
END $$;
COMMENT ON FUNCTION miosa_router.judge_copies(text) IS 'Which shard''s copy of a deployment counts, which others have one, and the number of its last move';

-- Edges have received routes of the copy that does not count: those of the other one
-- are sent again, above them, and hosts that only this one had are removed.
CREATE OR REPLACE FUNCTION miosa_router.settle(shard integer, deployment text, parcel jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	place integer := miosa_router.place_of(deployment);
	unsent jsonb := (SELECT coalesce(jsonb_agg(h.value), '[]') FROM jsonb_array_elements_text(parcel -> 'unsent') h
		WHERE miosa_router.owner_of_host(h.value) IS NULL);
BEGIN
	IF (miosa_router.at_shard(place, 'arrival', deployment) -> 'present')::boolean THEN
		PERFORM miosa_router.at_shard(place, 'send_route', deployment, content => parcel || jsonb_build_object('unsent', unsent));
	END IF;
	PERFORM miosa_router.at_shard(shard, 'settle', deployment);
END $$;
COMMENT ON FUNCTION miosa_router.settle(integer, text, jsonb) IS 'Has the shard whose copy counts send its route';

CREATE OR REPLACE PROCEDURE miosa_router.resolve_misplaced()
LANGUAGE plpgsql AS $$
DECLARE
	found text[] := ARRAY(SELECT DISTINCT m.deployment_id FROM miosa_router.misplaced() m ORDER BY 1);
	deployment text;
	copies record;
	other integer;
	shard integer;
	unsettled jsonb;
BEGIN
	FOREACH deployment IN ARRAY found LOOP
		copies := miosa_router.judge_copies(deployment);
		CONTINUE WHEN copies.counts IS NULL OR (miosa_router.find_move(deployment)).number IS NOT NULL;
		PERFORM miosa_router.place(deployment, copies.counts);
		COMMIT;
		RAISE NOTICE 'deployment "%": the copy on shard "%" counts', deployment, miosa_router.shard_name(copies.counts);
		FOREACH other IN ARRAY copies.others LOOP
			PERFORM miosa_router.at_shard(other, 'set_aside', deployment, copies.number);
			RAISE NOTICE 'deployment "%": the copy on shard "%" is set aside', deployment, miosa_router.shard_name(other);
		END LOOP;
	END LOOP;
	-- Also what an earlier call has left
	FOREACH shard IN ARRAY ARRAY(SELECT s.number FROM miosa_router.all_shards() s) LOOP
		unsettled := miosa_router.at_shard(shard, 'unsettled', NULL);
		CONTINUE WHEN unsettled OPERATOR(pg_catalog.=) '[]';
		PERFORM miosa_router.at_shard(shard, 'restart', NULL);
		FOR n IN 0 .. pg_catalog.jsonb_array_length(unsettled) OPERATOR(pg_catalog.-) 1 LOOP
			PERFORM miosa_router.settle(shard, unsettled OPERATOR(pg_catalog.#>>) ARRAY[n::text, 'deployment_id'], unsettled OPERATOR(pg_catalog.#>) ARRAY[n::text, 'parcel']);
			COMMIT;
		END LOOP;
	END LOOP;
END $$;
COMMENT ON PROCEDURE miosa_router.resolve_misplaced() IS 'Leaves one copy of each deployment that is on two shards, by rule; the others are set aside';

CREATE OR REPLACE FUNCTION miosa_router.drop_copies(deployment text) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT sum(miosa_router.at_shard(s.number, 'drop_copies', $1)::bigint)::bigint FROM miosa_router.all_shards() s
$$;
COMMENT ON FUNCTION miosa_router.drop_copies(text) IS 'Deletes copies of a deployment that were set aside; how many there were';

-- The doctor, about the map.

CREATE OR REPLACE FUNCTION miosa_router.map_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	_text text;
	_buckets bigint := miosa_router.count_buckets();
BEGIN
	item := 'router: map';
	status := CASE WHEN _buckets = 1024 THEN 'ok' ELSE 'fail' END;
	seen := format('%s of 1024 buckets have a shard', _buckets);
	fix := CASE WHEN _buckets <> 1024 THEN 'SELECT miosa_router.spread_buckets();' END;
	needs := CASE WHEN _buckets <> 1024 THEN 'superuser' END;
	RETURN NEXT;
	item := 'router: moves';
	_text := miosa_router.moves_under_way();
	status := CASE WHEN _text IS NULL THEN 'ok' ELSE 'warn' END;
	seen := coalesce('under way or interrupted: ' || _text, 'none is under way');
	fix := CASE WHEN _text IS NOT NULL THEN 'TABLE miosa_router.moves; names them. If one was interrupted, finish it: CALL miosa_move_deployment(deployment, shard);' END;
	needs := CASE WHEN _text IS NOT NULL THEN 'miosa_mover' END;
	RETURN NEXT;
	item := 'router: buckets';
	SELECT string_agg(format('%s from %s to %s (%s deployments left)', b.bucket, b.source, b.target, b.remaining), ', ') INTO _text
		FROM (SELECT * FROM miosa_router.buckets_under_way() LIMIT 20) b;
	status := CASE WHEN _text IS NULL THEN 'ok' ELSE 'warn' END;
	seen := coalesce('under way or interrupted: ' || _text,
		(SELECT string_agg(format('%s has %s%s', s.name, s.buckets, CASE WHEN s.buckets <> s.wanted THEN ' of ' || s.wanted ELSE '' END), ', ' ORDER BY s.number)
			FROM miosa_router.shares() s), 'there is no shard');
	fix := CASE WHEN _text IS NOT NULL OR EXISTS (SELECT FROM miosa_router.shares() s WHERE s.buckets <> s.wanted) THEN 'CALL miosa_router.rebalance();' END;
	needs := CASE WHEN fix IS NOT NULL THEN 'miosa_mover' END;
	RETURN NEXT;
	item := 'router: misplaced';
	SELECT string_agg(format('%s %s', m.deployment_id, m.problem), ', ' ORDER BY m.deployment_id) INTO _text
		FROM (SELECT * FROM miosa_router.lately_misplaced() LIMIT 20) m;
	status := CASE WHEN _text IS NULL THEN 'ok' ELSE 'fail' END;
	seen := coalesce(_text, 'of the deployments that have moved lately, each is where calls go');
	fix := CASE WHEN _text LIKE '% is on no shard%' THEN 'Restore the shard that calls go to further, or the deployment from a backup of the other one'
		WHEN _text IS NOT NULL THEN 'CALL miosa_router.resolve_misplaced();' END;
	needs := CASE WHEN _text IS NOT NULL THEN 'miosa_mover' END;
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa_router.map_doctor() IS 'Rows of miosa_doctor() about the map and the moves';

-- What a shard says of itself, compared with those before it.
CREATE OR REPLACE FUNCTION miosa_router.judge_shard(identity jsonb, before jsonb, OUT status text, OUT seen text, OUT fix text, OUT needs text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	twin text := (SELECT min(b.key) FROM jsonb_each(before) b
		WHERE b.value -> 'system' = identity -> 'system' AND b.value -> 'database' = identity -> 'database');
	namesake text := (SELECT min(b.key) FROM jsonb_each(before) b
		WHERE b.value ->> 'site' <> '' AND b.value -> 'site' = identity -> 'site' AND b.value -> 'system' <> identity -> 'system');
	unsettled text := (SELECT string_agg(c.key, ', ' ORDER BY c.key) FROM jsonb_each(identity -> 'copies') c WHERE c.value = 'false');
	copies text := (SELECT string_agg(c.key, ', ' ORDER BY c.key) FROM jsonb_each(identity -> 'copies') c);
BEGIN
	IF identity ->> 'extension' IS DISTINCT FROM miosa_router.extension_version() THEN
		status := 'fail';
		seen := format('has version %s of miosa_rollback, the router has the functions of %s', identity ->> 'extension', miosa_router.extension_version());
		fix := 'On the shard: ALTER EXTENSION miosa_rollback UPDATE; or run the miosa_router.sql of its version here';
		needs := 'superuser';
	ELSIF twin IS NOT NULL THEN
		status := 'fail';
		seen := format('is the database of shard %s', twin);
		fix := 'Correct the connection of one of the two in miosa_router.shards; each shard is a database of its own';
		needs := 'superuser';
	ELSIF namesake IS NOT NULL THEN
		status := 'fail';
		seen := format('has the site of shard %s, which is another server: %s', namesake, identity ->> 'site');
		fix := 'Give each server a miosa_rollback.site of its own';
		needs := 'superuser';
	ELSIF identity -> 'lacking' <> '[]' THEN
		status := 'fail';
		seen := format('lacks what miosa_shard.sql makes: %s', (SELECT string_agg(l.name, ', ') FROM jsonb_array_elements_text(identity -> 'lacking') l (name)));
		fix := 'Run miosa_shard.sql in it again, as after each restore from a dump';
		needs := 'superuser';
	ELSIF identity -> 'parcels' <> '[]' THEN
		status := 'warn';
		seen := format('keeps deployments whose move was interrupted: %s', identity ->> 'parcels');
		fix := 'CALL miosa_move_deployment(deployment, shard); for each, with the shard that it was to move to';
		needs := 'miosa_mover';
	ELSIF unsettled IS NOT NULL THEN
		status := 'fail';
		seen := format('has delivered routes of copies that do not count: %s', unsettled);
		fix := 'CALL miosa_router.resolve_misplaced();';
		needs := 'miosa_mover';
	ELSIF copies IS NOT NULL THEN
		status := 'warn';
		seen := format('keeps copies that do not count: %s', copies);
		fix := 'See them there in miosa_shard.copies; when nothing of them is needed: SELECT miosa_router.drop_copies(deployment);';
		needs := 'miosa_mover';
	ELSIF coalesce(identity ->> 'site', '') = '' THEN
		status := 'warn';
		seen := 'is reachable, and has no site';
		fix := 'Set miosa_rollback.site in its configuration, a name of its own for each shard';
		needs := 'superuser';
	ELSE
		status := 'ok';
		seen := format('is reachable, version %s', identity ->> 'extension');
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.judge_shard(jsonb, jsonb) IS 'What miosa_doctor() says of a shard that answers; before: other shards, by name';

-- Those that change the map are not for a tenant's member of miosa_admin, who could
-- block other tenants' deployments by them.  For the others, the shards decide.
DO $$
DECLARE
	f regprocedure;
	reads boolean;
BEGIN
	FOR f, reads IN SELECT p.oid, p.proname IN ('at_shard', 'misplaced', 'judge_copies')
		FROM pg_proc p WHERE p.pronamespace = 'miosa_router'::regnamespace AND p.proname IN ('at_shard', 'open_move', 'end_move', 'place',
			'cancel_move', 'begin_move', 'turn_back', 'carry', 'drop_parcels', 'begin_bucket', 'switch_bucket', 'begin_some', 'end_bucket', 'move_buckets',
			'clean_overrides', 'rebalance', 'misplaced', 'judge_copies', 'settle', 'resolve_misplaced', 'drop_copies')
	LOOP
		EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, miosa_admin', f);
		EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', f, CASE WHEN reads THEN 'miosa_admin' ELSE 'miosa_mover' END);
	END LOOP;
END $$;

-- Slugs, and with them managed hosts, are unique over shards.  The directory of hosts has
-- an entry for each, "tenant/slug", which is claimed, then held, as the entry of a
-- host is.  It stays when its deployment has another slug or is gone: who takes it
-- over knows by it that another shard may have to forget the host.

CREATE OR REPLACE FUNCTION miosa_shard.slug_wanted(id text, tenant_id text, name text, slug text, fields jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT CASE WHEN miosa_shard.adopt($6::text[]) THEN miosa_shard.slug_wanted($1::text, $2::text, $3::text, $4::text, $5::jsonb) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.slug_owner(tenant_id text, slug text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa_shard.slug_owner($1::text, $2::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.managed_by(host text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.managed_by($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.slug_list(after text, shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.slug_list($1::text);
$$;
REVOKE ALL ON FUNCTION miosa_shard.slug_wanted(text, text, text, text, jsonb, text[], integer), miosa_shard.slug_owner(text, text, text[], integer),
	miosa_shard.managed_by(text, text[], integer), miosa_shard.slug_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.slug_wanted(text, text, text, text, jsonb, text[], integer), miosa_shard.slug_owner(text, text, text[], integer),
	miosa_shard.managed_by(text, text[], integer), miosa_shard.slug_list(text, integer) TO miosa_admin;

-- A step on a shard, whose error is raised as the shard has raised it.
CREATE OR REPLACE FUNCTION miosa_router.slug_step(step text, shard integer, key text, id text, content jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM miosa_router.check_on(shard);
	RETURN CASE step
		WHEN 'wanted' THEN miosa_shard.slug_wanted(id, content ->> 'tenant_id', content ->> 'name', content ->> 'slug', content -> 'fields', miosa_router.context(), shard)
		WHEN 'owner' THEN to_jsonb(miosa_shard.slug_owner(content ->> 'tenant_id', content ->> 'slug', miosa_router.context(), shard))
		WHEN 'managed' THEN to_jsonb(miosa_shard.managed_by(key, miosa_router.context(), shard))
		WHEN 'list' THEN miosa_shard.slug_list(id, shard)
		WHEN 'claim' THEN miosa_shard.claim_host(key, id, content, shard)
		WHEN 'confirm' THEN to_jsonb(miosa_shard.confirm_host(key, id, shard))
		WHEN 'release' THEN to_jsonb(miosa_shard.release_host(key, id, shard)) END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(shard, state, message, detail, hint);
END $$;
COMMENT ON FUNCTION miosa_router.slug_step(text, integer, text, text, jsonb) IS 'One step of having a slug, on a shard';

CREATE OR REPLACE FUNCTION miosa_router.owner_of_slug(wanted jsonb, OUT number integer, OUT deployment_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	each record;
BEGIN
	FOR each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		deployment_id := miosa_router.slug_step('owner', each.number, NULL, NULL, wanted) #>> '{}';
		IF deployment_id IS NOT NULL THEN
			number := each.number;
			RETURN;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.owner_of_slug(jsonb) IS 'Shard and deployment that have a slug of a tenant, of all shards; nulls for none';

-- As on one server.  One that does not exist for the caller is not named.
CREATE OR REPLACE FUNCTION miosa_router.refuse_managed(host text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	each record;
	holder text;
BEGIN
	FOR each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		holder := miosa_router.slug_step('managed', each.number, host, NULL, NULL) #>> '{}';
		IF holder IS NOT NULL THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('host "%s" is taken', host),
				format('The host is the managed host of deployment "%s".', holder), NULL);
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.refuse_managed(text) IS 'Raises INVALID_ARGUMENT for a managed host of a deployment that exists for the caller';

-- First step of having a slug.  What the deployment's shard refuses by itself is left
-- to it.  Null when there is nothing to claim.
CREATE OR REPLACE FUNCTION miosa_router.claim_slug(id text, tenant_id text, name text, slug text, fields jsonb, renames boolean, shard integer) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- Longer than a call can be at work between two steps.
	patience CONSTANT double precision := 10;
	wanted jsonb := miosa_router.slug_step('wanted', shard, NULL, id, jsonb_build_object('tenant_id', tenant_id, 'name', name, 'slug', slug, 'fields', fields));
	key text := wanted ->> 'key';
	directory integer;
	entry jsonb;
	owner record;
BEGIN
	IF key IS NULL THEN
		RETURN NULL;
	END IF;
	directory := miosa_router.directory_of(key);
	FOR attempt IN 1 .. 5 LOOP
		entry := miosa_router.slug_step('claim', directory, key, id, entry);
		IF entry IS NULL OR (entry ->> 'own')::boolean THEN
			RETURN wanted;
		END IF;
		owner := miosa_router.owner_of_slug(wanted);
		IF owner.number = shard AND owner.deployment_id <> id THEN
			RETURN NULL;
		ELSIF owner.deployment_id <> id AND renames THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('slug "%s" is taken', wanted ->> 'slug'),
				format('Deployment "%s" has it.', owner.deployment_id), 'Slugs are unique within a tenant; pass another one.');
		ELSIF owner.deployment_id <> id THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'invalid deployment',
				format('Key (tenant_id, slug)=(%s, %s) already exists.', wanted ->> 'tenant_id', wanted ->> 'slug'), NULL);
		ELSIF entry ->> 'state' = 'claimed' AND (entry ->> 'age')::double precision < patience THEN
			PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('slug "%s" is being taken by another call', wanted ->> 'slug'),
				format('The claim is %s s old.', round((entry ->> 'age')::numeric, 1)), 'Repeat the call.');
		END IF;
		-- Nobody has it: the next attempt takes the entry if it is still the one that
		-- was seen.  A shard that had the host must not remove it from edges later.
		IF wanted ->> 'host' IS NOT NULL THEN
			PERFORM miosa_router.forget_host(wanted ->> 'host', id, shard);
		END IF;
	END LOOP;
	PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('slug "%s" is being taken by another call', wanted ->> 'slug'),
		'Several calls take the slug at the same time.', 'Repeat the call.');
END $$;
COMMENT ON FUNCTION miosa_router.claim_slug(text, text, text, text, jsonb, boolean, integer) IS 'First step of having a slug: claims its entry in the directory; returns what was claimed';

-- A call that took longer than its claim was respected has lost it.
CREATE OR REPLACE FUNCTION miosa_router.confirm_slug(wanted jsonb, id text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ours boolean := true;
BEGIN
	IF wanted IS NULL THEN
		RETURN;
	END IF;
	BEGIN
		ours := miosa_router.slug_step('confirm', miosa_router.directory_of(wanted ->> 'key'), wanted ->> 'key', id, NULL)::boolean;
	EXCEPTION WHEN OTHERS THEN
		-- The claim stays, and counts as long as the shard has the slug.
		NULL;
	END;
	IF NOT ours THEN
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('slug "%s" is taken', wanted ->> 'slug'),
			'Another call took the slug over, because this one took too long.', format('SELECT miosa_rename_deployment(%L, ''another-slug'');', id));
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.confirm_slug(jsonb, text) IS 'Last step of having a slug';

-- After a refusal.  What became of a call whose answer was lost is not known; its
-- claim stays.
CREATE OR REPLACE FUNCTION miosa_router.release_slug(wanted jsonb, id text, sqlstate text, message text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(miosa_router.is_down(sqlstate, message), false) AND (miosa_router.owner_of_slug(wanted)).number IS NULL THEN
		PERFORM miosa_router.slug_step('release', miosa_router.directory_of(wanted ->> 'key'), wanted ->> 'key', id, NULL);
	END IF;
EXCEPTION WHEN OTHERS THEN
	-- An entry that stays is in nobody's way: no shard has the slug.
	NULL;
END $$;
COMMENT ON FUNCTION miosa_router.release_slug(jsonb, text, text, text) IS 'Removes the entry of a slug that no shard has';

CREATE OR REPLACE FUNCTION miosa_router.register_slugs() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	shard record;
	page jsonb;
	slug record;
	entry jsonb;
	directory integer;
	number bigint := 0;
BEGIN
	FOR shard IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		page := miosa_router.slug_step('list', shard.number, NULL, '', NULL);
		WHILE page <> '[]' LOOP
			FOR slug IN SELECT r.id, r.key FROM jsonb_to_recordset(page) r (id text, key text) LOOP
				directory := miosa_router.directory_of(slug.key);
				entry := miosa_router.slug_step('claim', directory, slug.key, slug.id, NULL);
				IF entry IS NULL THEN
					PERFORM miosa_router.slug_step('confirm', directory, slug.key, slug.id, NULL);
				ELSIF NOT (entry ->> 'own')::boolean THEN
					RAISE WARNING 'slug "%" of shard "%" is in the directory for another deployment', slug.key, shard.name
						USING ERRCODE = '01000', HINT = format('If that one exists: SELECT miosa_rename_deployment(%L, ''another-slug'');', slug.id);
					CONTINUE;
				END IF;
				number := number + 1;
			END LOOP;
			page := miosa_router.slug_step('list', shard.number, NULL, page -> -1 ->> 'id', NULL);
		END LOOP;
	END LOOP;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.register_slugs() IS 'Enters the slugs of all shards into the directory, and warns of those that two deployments have; returns how many it has';

CREATE OR REPLACE FUNCTION miosa."bad_mark"(deployment_id text, version_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.bad_mark()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."bad_mark"(deployment_id text, version_id text) IS 'Why a version, or its artifact, is marked as bad: scope, since, by, reason; null if it is not [router]';
REVOKE ALL ON FUNCTION miosa."bad_mark"(deployment_id text, version_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."bad_mark"(deployment_id text, version_id text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."candidates"(a1 text, context text[], shard integer, OUT "version" text, OUT "last_served" text, OUT "served" text, OUT "artifact" text, OUT "expires" text, OUT "live" text, OUT "note" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."version", f."last_served", f."served", f."artifact", f."expires", f."live", f."note" FROM miosa."candidates"($1::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."candidates"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."candidates"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."candidates"(deployment text, OUT version text, OUT last_served text, OUT served text, OUT artifact text, OUT expires text, OUT live text, OUT note text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."candidates"($1, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."candidates"(deployment text, OUT version text, OUT last_served text, OUT served text, OUT artifact text, OUT expires text, OUT live text, OUT note text) IS 'The newest 50 versions of a deployment, for people: when each served, its artifact and how long that is kept, its live instances, and whether it can be made active [router]';
REVOKE ALL ON FUNCTION miosa."candidates"(deployment text, OUT version text, OUT last_served text, OUT served text, OUT artifact text, OUT expires text, OUT live text, OUT note text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."candidates"(deployment text, OUT version text, OUT last_served text, OUT served text, OUT artifact text, OUT expires text, OUT live text, OUT note text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."check_limit"(a1 integer, a2 integer, context text[], shard integer) RETURNS integer LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa."check_limit"($1::integer, $2::integer) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."check_limit"(integer, integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."check_limit"(integer, integer, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."check_limit"(value integer, most integer) RETURNS integer LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.check_limit()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."check_limit"(value integer, most integer) IS 'The value if it is from 1 to most, else INVALID_ARGUMENT [router]';
REVOKE ALL ON FUNCTION miosa."check_limit"(value integer, most integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."check_limit"(value integer, most integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."clear_bad"(a1 text, a2 text, a3 text, a4 text, a5 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT f.* FROM (SELECT miosa_shard.adopt($6::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."clear_bad"($1::text, $2::text, $3::text, $4::text, $5::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."clear_bad"(text, text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."clear_bad"(text, text, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."clear_bad"(deployment text, version text, reason text DEFAULT NULL::text, scope text DEFAULT 'deployment'::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."clear_bad"($1, $2, $3, $4, $5, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."clear_bad"(deployment text, version text, reason text, scope text, idempotency_key text, OUT item text, OUT value text) IS 'Takes a mark of miosa.mark_bad() away, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."clear_bad"(deployment text, version text, reason text, scope text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."clear_bad"(deployment text, version text, reason text, scope text, idempotency_key text, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."dispatcher"(OUT state text, OUT pid integer, OUT since timestamp with time zone, OUT epoch bigint, OUT passes bigint, OUT routes bigint, OUT sent bigint, OUT acknowledged bigint, OUT failed bigint, OUT retried bigint, OUT notified bigint, OUT errors bigint, OUT in_flight bigint, OUT pending bigint, OUT refusals_dropped bigint, OUT unmeasured bigint, OUT launcher boolean, OUT last_pass_at timestamp with time zone, OUT stalled boolean, OUT error text, OUT launcher_pid integer) RETURNS record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.dispatcher()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."dispatcher"(OUT state text, OUT pid integer, OUT since timestamp with time zone, OUT epoch bigint, OUT passes bigint, OUT routes bigint, OUT sent bigint, OUT acknowledged bigint, OUT failed bigint, OUT retried bigint, OUT notified bigint, OUT errors bigint, OUT in_flight bigint, OUT pending bigint, OUT refusals_dropped bigint, OUT unmeasured bigint, OUT launcher boolean, OUT last_pass_at timestamp with time zone, OUT stalled boolean, OUT error text, OUT launcher_pid integer) IS 'The dispatcher of this database as shared memory shows it; miosa.stat_dispatcher describes the columns [router]';
REVOKE ALL ON FUNCTION miosa."dispatcher"(OUT state text, OUT pid integer, OUT since timestamp with time zone, OUT epoch bigint, OUT passes bigint, OUT routes bigint, OUT sent bigint, OUT acknowledged bigint, OUT failed bigint, OUT retried bigint, OUT notified bigint, OUT errors bigint, OUT in_flight bigint, OUT pending bigint, OUT refusals_dropped bigint, OUT unmeasured bigint, OUT launcher boolean, OUT last_pass_at timestamp with time zone, OUT stalled boolean, OUT error text, OUT launcher_pid integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."dispatcher"(OUT state text, OUT pid integer, OUT since timestamp with time zone, OUT epoch bigint, OUT passes bigint, OUT routes bigint, OUT sent bigint, OUT acknowledged bigint, OUT failed bigint, OUT retried bigint, OUT notified bigint, OUT errors bigint, OUT in_flight bigint, OUT pending bigint, OUT refusals_dropped bigint, OUT unmeasured bigint, OUT launcher boolean, OUT last_pass_at timestamp with time zone, OUT stalled boolean, OUT error text, OUT launcher_pid integer) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."due_artifacts"(a1 text, context text[], shard integer, OUT "next" text, OUT "deployment_ids" text[], OUT "release_ids" text[]) RETURNS record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."next", f."deployment_ids", f."release_ids" FROM miosa."due_artifacts"($1::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."due_artifacts"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."due_artifacts"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."due_artifacts"(after text, OUT next text, OUT deployment_ids text[], OUT release_ids text[]) RETURNS record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.due_artifacts()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."due_artifacts"(after text, OUT next text, OUT deployment_ids text[], OUT release_ids text[]) IS 'Releases of rollback targets that were not verified within half of miosa_rollback.artifact_max_age, of the next deployments [router]';
REVOKE ALL ON FUNCTION miosa."due_artifacts"(after text, OUT next text, OUT deployment_ids text[], OUT release_ids text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."due_artifacts"(after text, OUT next text, OUT deployment_ids text[], OUT release_ids text[]) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."endpoint_fails"(state text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.endpoint_fails()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."endpoint_fails"(state text) IS 'Whether an endpoint in this state of miosa.stat_endpoint fails [router]';
REVOKE ALL ON FUNCTION miosa."endpoint_fails"(state text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."endpoint_fails"(state text) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."endpoint_stats"(OUT endpoint text, OUT generation bigint, OUT acked_epoch bigint, OUT acked_at timestamp with time zone, OUT resyncing boolean, OUT health text, OUT breaker text, OUT failures integer, OUT last_status integer, OUT last_error text, OUT last_error_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT next_try_at timestamp with time zone, OUT sent bigint, OUT succeeded bigint, OUT failed bigint, OUT retried bigint, OUT p50_ms double precision, OUT p95_ms double precision, OUT p99_ms double precision) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.endpoint_stats()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."endpoint_stats"(OUT endpoint text, OUT generation bigint, OUT acked_epoch bigint, OUT acked_at timestamp with time zone, OUT resyncing boolean, OUT health text, OUT breaker text, OUT failures integer, OUT last_status integer, OUT last_error text, OUT last_error_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT next_try_at timestamp with time zone, OUT sent bigint, OUT succeeded bigint, OUT failed bigint, OUT retried bigint, OUT p50_ms double precision, OUT p95_ms double precision, OUT p99_ms double precision) IS 'Statistics in shared memory of each endpoint that the dispatcher serves; use miosa.stat_endpoint [router]';
REVOKE ALL ON FUNCTION miosa."endpoint_stats"(OUT endpoint text, OUT generation bigint, OUT acked_epoch bigint, OUT acked_at timestamp with time zone, OUT resyncing boolean, OUT health text, OUT breaker text, OUT failures integer, OUT last_status integer, OUT last_error text, OUT last_error_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT next_try_at timestamp with time zone, OUT sent bigint, OUT succeeded bigint, OUT failed bigint, OUT retried bigint, OUT p50_ms double precision, OUT p95_ms double precision, OUT p99_ms double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."endpoint_stats"(OUT endpoint text, OUT generation bigint, OUT acked_epoch bigint, OUT acked_at timestamp with time zone, OUT resyncing boolean, OUT health text, OUT breaker text, OUT failures integer, OUT last_status integer, OUT last_error text, OUT last_error_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT next_try_at timestamp with time zone, OUT sent bigint, OUT succeeded bigint, OUT failed bigint, OUT retried bigint, OUT p50_ms double precision, OUT p95_ms double precision, OUT p99_ms double precision) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."first_epoch"(term bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.first_epoch()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."first_epoch"(term bigint) IS 'Number that precedes the epochs of a term [router]';
REVOKE ALL ON FUNCTION miosa."first_epoch"(term bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."first_epoch"(term bigint) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."fleet_begin"(a1 jsonb, a2 timestamp with time zone, a3 text, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 integer, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT (CASE WHEN miosa_shard.adopt($13::text[]) THEN miosa."fleet_begin"($1::jsonb, $2::timestamp with time zone, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::integer) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."fleet_begin"(jsonb, timestamp with time zone, text, text, text, jsonb, text, boolean, boolean, interval, boolean, integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."fleet_begin"(jsonb, timestamp with time zone, text, text, text, jsonb, text, boolean, boolean, interval, boolean, integer, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."fleet_begin"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, batch integer DEFAULT 500) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.fleet_begin()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."fleet_begin"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, batch integer) IS 'Begins a fleet that works in batches, or finds the one with the same key; null when no deployment matches [router]';
REVOKE ALL ON FUNCTION miosa."fleet_begin"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, batch integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."fleet_begin"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, batch integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."fleet_object"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa."fleet_object"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."fleet_object"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."fleet_object"(text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."fleet_object"(fleet_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.fleet_object()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."fleet_object"(fleet_id text) IS 'How far a fleet has come, and which of its deployments were refused first [router]';
REVOKE ALL ON FUNCTION miosa."fleet_object"(fleet_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."fleet_object"(fleet_id text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."fleet_pace"(a1 bigint, context text[], shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa."fleet_pace"($1::bigint) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."fleet_pace"(bigint, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."fleet_pace"(bigint, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."fleet_pace"(most bigint DEFAULT 200000) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.fleet_pace()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."fleet_pace"(most bigint) IS 'Waits for a second until no more deliveries than that are pending; false when none was acknowledged, null when some were [router]';
REVOKE ALL ON FUNCTION miosa."fleet_pace"(most bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."fleet_pace"(most bigint) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."fleet_step"(a1 text, a2 integer, context text[], shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa."fleet_step"($1::text, $2::integer) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."fleet_step"(text, integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."fleet_step"(text, integer, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."fleet_step"(fleet_id text, batch integer) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.fleet_step()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."fleet_step"(fleet_id text, batch integer) IS 'Rolls the next deployments of a fleet back; false when there was none left [router]';
REVOKE ALL ON FUNCTION miosa."fleet_step"(fleet_id text, batch integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."fleet_step"(fleet_id text, batch integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."fleets_rows"(OUT fleet text, OUT total bigint, OUT done bigint, OUT refused bigint, OUT rate text, OUT remaining text, OUT converged text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.fleets_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."fleets_rows"(OUT fleet text, OUT total bigint, OUT done bigint, OUT refused bigint, OUT rate text, OUT remaining text, OUT converged text) IS 'Rows of miosa.fleets [router]';
REVOKE ALL ON FUNCTION miosa."fleets_rows"(OUT fleet text, OUT total bigint, OUT done bigint, OUT refused bigint, OUT rate text, OUT remaining text, OUT converged text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."fleets_rows"(OUT fleet text, OUT total bigint, OUT done bigint, OUT refused bigint, OUT rate text, OUT remaining text, OUT converged text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."heartbeat_horizon"() RETURNS timestamp with time zone LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.heartbeat_horizon()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."heartbeat_horizon"() IS 'Instances whose last heartbeat is older than this do not count as healthy (miosa_rollback.heartbeat_timeout) [router]';
REVOKE ALL ON FUNCTION miosa."heartbeat_horizon"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."heartbeat_horizon"() TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."history"(a1 text, a2 integer, context text[], shard integer, OUT "op" text, OUT "at" text, OUT "what" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT f.* FROM (SELECT miosa_shard.adopt($3::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."op", f."at", f."what" FROM miosa."history"($1::text, $2::integer) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."history"(text, integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."history"(text, integer, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."history"(deployment text, "limit" integer DEFAULT 10, OUT op text, OUT at text, OUT what text) RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."history"($1, $2, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."history"(deployment text, "limit" integer, OUT op text, OUT at text, OUT what text) IS 'The newest operations of a deployment, for people, in the session''s time zone, with their reasons below; miosa_audit_log() has them in full [router]';
REVOKE ALL ON FUNCTION miosa."history"(deployment text, "limit" integer, OUT op text, OUT at text, OUT what text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."history"(deployment text, "limit" integer, OUT op text, OUT at text, OUT what text) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."hold"(a1 text, a2 text, a3 timestamp with time zone, a4 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT f.* FROM (SELECT miosa_shard.adopt($5::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."hold"($1::text, $2::text, $3::timestamp with time zone, $4::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."hold"(text, text, timestamp with time zone, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."hold"(text, text, timestamp with time zone, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."hold"(deployment text, reason text DEFAULT NULL::text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."hold"($1, $2, $3, $4, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."hold"(deployment text, reason text, until timestamp with time zone, idempotency_key text, OUT item text, OUT value text) IS 'Holds a deployment against automatic promotions, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."hold"(deployment text, reason text, until timestamp with time zone, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."hold"(deployment text, reason text, until timestamp with time zone, idempotency_key text, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE PROCEDURE miosa."maintain"(IN artifacts boolean DEFAULT true) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_began timestamptz;
	_step record;
	_place text;
	_artifacts CONSTANT boolean := $1;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_began := clock_timestamp();
			SELECT NULL::text AS kind, NULL::text AS place, NULL::tid[] AS rows, 0 AS done, 0::bigint AS removed INTO _step;
			LOOP
				SELECT s.* INTO _step FROM miosa_shard.maintain_rows(_step.kind, _step.place, _step.rows, _step.done, _step.removed, _context, _each.number) s;
				EXIT WHEN _step.kind IS NULL;
				IF _step.done > 0 THEN
					PERFORM pg_sleep(0.01);
				END IF;
			END LOOP;
			WHILE miosa_shard.maintain_route_log(_context, _each.number) LOOP
			END LOOP;
			_place := '';
			WHILE _place IS NOT NULL LOOP
				_place := miosa_shard.maintain_capacity(_place, _context, _each.number);
			END LOOP;
			PERFORM miosa_shard.maintained(_began, _step.removed, _context, _each.number);
			IF _artifacts THEN
				PERFORM miosa_router.verify_artifacts(1000, _context, _each.number);
			END IF;
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON PROCEDURE miosa."maintain"(IN artifacts boolean) IS 'miosa_maintain(), where nobody can create an overload of it: for jobs [router]';
REVOKE ALL ON PROCEDURE miosa."maintain"(IN artifacts boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE miosa."maintain"(IN artifacts boolean) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."maintain_capacity"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa."maintain_capacity"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."maintain_capacity"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."maintain_capacity"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."maintain_capacity"(place text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.maintain_capacity()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."maintain_capacity"(place text) IS 'A page of miosa.capacity_pass(), and where the next one begins [router]';
REVOKE ALL ON FUNCTION miosa."maintain_capacity"(place text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."maintain_capacity"(place text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."maintain_route_log"(context text[], shard integer) RETURNS boolean LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT (CASE WHEN miosa_shard.adopt($1::text[]) THEN miosa."maintain_route_log"() END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."maintain_route_log"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."maintain_route_log"(text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."maintain_route_log"() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.maintain_route_log()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."maintain_route_log"() IS 'Trims 1,000 rows of the route log; true when there may be more [router]';
REVOKE ALL ON FUNCTION miosa."maintain_route_log"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."maintain_route_log"() TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."maintain_rows"(a1 text, a2 text, a3 tid[], a4 integer, a5 bigint, context text[], shard integer, OUT "kind" text, OUT "place" text, OUT "rows" tid[], OUT "done" integer, OUT "removed" bigint) RETURNS record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT f.* FROM (SELECT miosa_shard.adopt($6::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."kind", f."place", f."rows", f."done", f."removed" FROM miosa."maintain_rows"($1::text, $2::text, $3::tid[], $4::integer, $5::bigint) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."maintain_rows"(text, text, tid[], integer, bigint, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."maintain_rows"(text, text, tid[], integer, bigint, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."maintain_rows"(INOUT kind text, INOUT place text, INOUT rows tid[], INOUT done integer, INOUT removed bigint) RETURNS record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.maintain_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."maintain_rows"(INOUT kind text, INOUT place text, INOUT rows tid[], INOUT done integer, INOUT removed bigint) IS 'The next step of a purge: lists a page of rows, or deletes up to 1,000 rows of it [router]';
REVOKE ALL ON FUNCTION miosa."maintain_rows"(INOUT kind text, INOUT place text, INOUT rows tid[], INOUT done integer, INOUT removed bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."maintain_rows"(INOUT kind text, INOUT place text, INOUT rows tid[], INOUT done integer, INOUT removed bigint) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."maintained"(began timestamp with time zone, removed bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.maintained()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."maintained"(began timestamp with time zone, removed bigint) IS 'Records that miosa_maintain() has finished [router]';
REVOKE ALL ON FUNCTION miosa."maintained"(began timestamp with time zone, removed bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."maintained"(began timestamp with time zone, removed bigint) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."maintenance_jobs"(OUT name text, OUT schedule text, OUT command text) RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.maintenance_jobs()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."maintenance_jobs"(OUT name text, OUT schedule text, OUT command text) IS 'Jobs for pg_cron: name, schedule, command [router]';
REVOKE ALL ON FUNCTION miosa."maintenance_jobs"(OUT name text, OUT schedule text, OUT command text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."maintenance_jobs"(OUT name text, OUT schedule text, OUT command text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."mark_bad"(a1 text, a2 text, a3 text, a4 text, a5 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT f.* FROM (SELECT miosa_shard.adopt($6::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."mark_bad"($1::text, $2::text, $3::text, $4::text, $5::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."mark_bad"(text, text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."mark_bad"(text, text, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."mark_bad"(deployment text, version text, reason text, scope text DEFAULT 'deployment'::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."mark_bad"($1, $2, $3, $4, $5, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."mark_bad"(deployment text, version text, reason text, scope text, idempotency_key text, OUT item text, OUT value text) IS 'Marks a version, or with scope artifact all versions with its artifact, as bad, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."mark_bad"(deployment text, version text, reason text, scope text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."mark_bad"(deployment text, version text, reason text, scope text, idempotency_key text, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."may"(tenant_id text, scope text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.may()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."may"(tenant_id text, scope text) IS 'Whether the caller has a scope for a tenant [router]';
REVOKE ALL ON FUNCTION miosa."may"(tenant_id text, scope text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."may"(tenant_id text, scope text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."metric_rows"(OUT name text, OUT labels jsonb, OUT value double precision, OUT type text, OUT help text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.metric_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."metric_rows"(OUT name text, OUT labels jsonb, OUT value double precision, OUT type text, OUT help text) IS 'Rows of miosa.metrics [router]';
REVOKE ALL ON FUNCTION miosa."metric_rows"(OUT name text, OUT labels jsonb, OUT value double precision, OUT type text, OUT help text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."metric_rows"(OUT name text, OUT labels jsonb, OUT value double precision, OUT type text, OUT help text) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."move_host"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT f.* FROM (SELECT miosa_shard.adopt($5::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."move_host"($1::text, $2::text, $3::text, $4::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."move_host"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."move_host"(text, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."move_host"(host text, deployment text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_to_move_to($1, $2::text, miosa_router.locate($2));
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."move_host"($1, $2, $3, $4, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."move_host"(host text, deployment text, reason text, idempotency_key text, OUT item text, OUT value text) IS 'Moves a host to a deployment from the one that has it, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."move_host"(host text, deployment text, reason text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."move_host"(host text, deployment text, reason text, idempotency_key text, OUT item text, OUT value text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."open_freeze_rows"(OUT name text, OUT begins text, OUT ends text, OUT tenant text, OUT why text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.open_freeze_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."open_freeze_rows"(OUT name text, OUT begins text, OUT ends text, OUT tenant text, OUT why text) IS 'Rows of miosa.open_freezes [router]';
REVOKE ALL ON FUNCTION miosa."open_freeze_rows"(OUT name text, OUT begins text, OUT ends text, OUT tenant text, OUT why text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."open_freeze_rows"(OUT name text, OUT begins text, OUT ends text, OUT tenant text, OUT why text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."open_hold_rows"(OUT deployment text, OUT age text, OUT ends text, OUT held bigint, OUT waiting text, OUT why text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.open_hold_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."open_hold_rows"(OUT deployment text, OUT age text, OUT ends text, OUT held bigint, OUT waiting text, OUT why text) IS 'Rows of miosa.open_holds [router]';
REVOKE ALL ON FUNCTION miosa."open_hold_rows"(OUT deployment text, OUT age text, OUT ends text, OUT held bigint, OUT waiting text, OUT why text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."open_hold_rows"(OUT deployment text, OUT age text, OUT ends text, OUT held bigint, OUT waiting text, OUT why text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."overdue_rows"(requested boolean, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval, OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamp with time zone, OUT last_error text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.overdue_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."overdue_rows"(requested boolean, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval, OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamp with time zone, OUT last_error text) IS 'Rows of miosa.overdue; requested: only those for which schedulers are asked [router]';
REVOKE ALL ON FUNCTION miosa."overdue_rows"(requested boolean, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval, OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamp with time zone, OUT last_error text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."overdue_rows"(requested boolean, OUT id text, OUT version_id text, OUT serving_version_id text, OUT waits interval, OUT desired_replicas integer, OUT healthy integer, OUT starting integer, OUT asked_at timestamp with time zone, OUT last_error text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."overview_rows"(OUT wrong text, OUT since text, OUT next text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.overview_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."overview_rows"(OUT wrong text, OUT since text, OUT next text) IS 'Rows of miosa.overview [router]';
REVOKE ALL ON FUNCTION miosa."overview_rows"(OUT wrong text, OUT since text, OUT next text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."overview_rows"(OUT wrong text, OUT since text, OUT next text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."pause_reason"() RETURNS text LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.pause_reason()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."pause_reason"() IS 'Why the dispatcher must not deliver before miosa_resume(); null when it may [router]';
REVOKE ALL ON FUNCTION miosa."pause_reason"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."pause_reason"() TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."plan_many"(a1 jsonb, a2 timestamp with time zone, context text[], shard integer, OUT "deployment" text, OUT "from" text, OUT "to" text, OUT "outcome" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT f.* FROM (SELECT miosa_shard.adopt($3::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment", f."from", f."to", f."outcome" FROM miosa."plan_many"($1::jsonb, $2::timestamp with time zone) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."plan_many"(jsonb, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."plan_many"(jsonb, timestamp with time zone, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."plan_many"(selector jsonb, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.split_selector($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT f.* FROM miosa_shard."plan_many"(_each.selector, $2, _context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
COMMENT ON FUNCTION miosa."plan_many"(selector jsonb, served_at timestamp with time zone, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) IS 'What miosa.rollback_many would do now, for people: a row each, those that would be refused first [router]';
REVOKE ALL ON FUNCTION miosa."plan_many"(selector jsonb, served_at timestamp with time zone, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."plan_many"(selector jsonb, served_at timestamp with time zone, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."progress_rows"(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.progress_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."progress_rows"(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text) IS 'Rows of miosa.progress [router]';
REVOKE ALL ON FUNCTION miosa."progress_rows"(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."progress_rows"(OUT operation text, OUT age text, OUT edges text, OUT slowest text, OUT last_error text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 boolean, a8 boolean, a9 boolean, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $11;
	SELECT f.* FROM (SELECT miosa_shard.adopt($10::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::boolean, $8::boolean, $9::boolean) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."promote"(text, text, text, text, text, text, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."promote"(text, text, text, text, text, text, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."promote"(deployment text, version text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."promote"(deployment text, version text, reason text, idempotency_key text, expected_active text, cutover text, accept_unverified boolean, accept_bad boolean, break_glass boolean, OUT item text, OUT value text) IS 'Makes a version active, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."promote"(deployment text, version text, reason text, idempotency_key text, expected_active text, cutover text, accept_unverified boolean, accept_bad boolean, break_glass boolean, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."promote"(deployment text, version text, reason text, idempotency_key text, expected_active text, cutover text, accept_unverified boolean, accept_bad boolean, break_glass boolean, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."refused_address"(address inet) RETURNS text LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.refused_address()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."refused_address"(address inet) IS 'Why no request is sent to an address, by the settings; null when requests may be sent there [router]';
REVOKE ALL ON FUNCTION miosa."refused_address"(address inet) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."refused_address"(address inet) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."release"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT f.* FROM (SELECT miosa_shard.adopt($5::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."release"($1::text, $2::text, $3::text, $4::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."release"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."release"(text, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."release"(deployment text, promote text DEFAULT NULL::text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."release"($1, $2, $3, $4, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."release"(deployment text, promote text, reason text, idempotency_key text, OUT item text, OUT value text) IS 'Lifts the hold of a deployment, for people: rows of (item, value); promote => ''newest'' promotes the version that waits [router]';
REVOKE ALL ON FUNCTION miosa."release"(deployment text, promote text, reason text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."release"(deployment text, promote text, reason text, idempotency_key text, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."rename"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT f.* FROM (SELECT miosa_shard.adopt($5::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."rename"($1::text, $2::text, $3::text, $4::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."rename"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."rename"(text, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."rename"(deployment text, slug text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."rename"($1, $2, $3, $4, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."rename"(deployment text, slug text, reason text, idempotency_key text, OUT item text, OUT value text) IS 'Gives a deployment another slug, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."rename"(deployment text, slug text, reason text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."rename"(deployment text, slug text, reason text, idempotency_key text, OUT item text, OUT value text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."require_primary"() RETURNS void LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.require_primary()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."require_primary"() IS 'Raises NOT_PRIMARY on a standby [router]';
REVOKE ALL ON FUNCTION miosa."require_primary"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."require_primary"() TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 boolean, a8 boolean, a9 interval, a10 boolean, a11 timestamp with time zone, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT f.* FROM (SELECT miosa_shard.adopt($12::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::boolean, $8::boolean, $9::interval, $10::boolean, $11::timestamp with time zone) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."rollback"(text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."rollback"(text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."rollback"(deployment text, version text DEFAULT NULL::text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."rollback"(deployment text, version text, reason text, idempotency_key text, expected_active text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone, OUT item text, OUT value text) IS 'Rolls a deployment back, for people: rows of (item, value); without a version to the previous one [router]';
REVOKE ALL ON FUNCTION miosa."rollback"(deployment text, version text, reason text, idempotency_key text, expected_active text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."rollback"(deployment text, version text, reason text, idempotency_key text, expected_active text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone, OUT item text, OUT value text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."rollback_many"(a1 jsonb, a2 text, a3 text, a4 text, a5 timestamp with time zone, a6 text, a7 boolean, a8 boolean, a9 interval, a10 boolean, context text[], shard integer, OUT "deployment" text, OUT "from" text, OUT "to" text, OUT "outcome" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $12;
	SELECT f.* FROM (SELECT miosa_shard.adopt($11::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment", f."from", f."to", f."outcome" FROM miosa."rollback_many"($1::jsonb, $2::text, $3::text, $4::text, $5::timestamp with time zone, $6::text, $7::boolean, $8::boolean, $9::interval, $10::boolean) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."rollback_many"(jsonb, text, text, text, timestamp with time zone, text, boolean, boolean, interval, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."rollback_many"(jsonb, text, text, text, timestamp with time zone, text, boolean, boolean, interval, boolean, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."rollback_many"(selector jsonb, reason text DEFAULT NULL::text, mode text DEFAULT 'atomic'::text, idempotency_key text DEFAULT NULL::text, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	PERFORM miosa_router.check_mode($1, $3, 'SELECT * FROM miosa.rollback_many', ARRAY['selector', $1::text, 'reason', $2::text, 'mode', $3::text, 'idempotency_key', $4::text, 'served_at', $5::text, 'cutover', $6::text, 'accept_unverified', $7::text, 'hold', $8::text, 'hold_for', $9::text, 'mark_bad', $10::text]);
	FOR _each IN SELECT * FROM miosa_router.split_selector($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT f.* FROM miosa_shard."rollback_many"(_each.selector, $2, $3, $4, $5, $6, $7, $8, $9, $10, _context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
COMMENT ON FUNCTION miosa."rollback_many"(selector jsonb, reason text, mode text, idempotency_key text, served_at timestamp with time zone, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) IS 'Rolls all deployments that a selector matches back, for people: a row each, those that are refused first [router]';
REVOKE ALL ON FUNCTION miosa."rollback_many"(selector jsonb, reason text, mode text, idempotency_key text, served_at timestamp with time zone, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."rollback_many"(selector jsonb, reason text, mode text, idempotency_key text, served_at timestamp with time zone, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, OUT deployment text, OUT "from" text, OUT "to" text, OUT outcome text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."schema_fits"(a1 text, context text[], shard integer, OUT "version" text, OUT "built_for" bigint, OUT "fits" text, OUT "why" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."version", f."built_for", f."fits", f."why" FROM miosa."schema_fits"($1::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."schema_fits"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."schema_fits"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."schema_fits"(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text) RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."schema_fits"($1, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."schema_fits"(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text) IS 'Which of the newest 50 versions of a deployment can work with the schema as it is now, for people [router]';
REVOKE ALL ON FUNCTION miosa."schema_fits"(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."schema_fits"(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."sees_all_tenants"() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.sees_all_tenants()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."sees_all_tenants"() IS 'Whether the caller acts for all tenants [router]';
REVOKE ALL ON FUNCTION miosa."sees_all_tenants"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."sees_all_tenants"() TO miosa_auditor, miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."sees_deployment"(deployment_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.sees_deployment()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."sees_deployment"(deployment_id text) IS 'Whether a deployment exists for the caller; one that was deleted exists for those who act for all tenants [router]';
REVOKE ALL ON FUNCTION miosa."sees_deployment"(deployment_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."sees_deployment"(deployment_id text) TO miosa_auditor, miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."sees_endpoints"() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.sees_endpoints()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."sees_endpoints"() IS 'Whether the caller sees endpoints and storages, whose errors and selectors can name any tenant: it acts for all tenants, or has the rights of pg_monitor [router]';
REVOKE ALL ON FUNCTION miosa."sees_endpoints"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."sees_endpoints"() TO miosa_auditor, miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."sees_fleet"(tenant_id text, acts_for text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.sees_fleet()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."sees_fleet"(tenant_id text, acts_for text) IS 'Whether a fleet exists for the caller, by these columns of its row [router]';
REVOKE ALL ON FUNCTION miosa."sees_fleet"(tenant_id text, acts_for text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."sees_fleet"(tenant_id text, acts_for text) TO miosa_auditor, miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."sees_freeze"(tenant_id text, selector jsonb) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.sees_freeze()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."sees_freeze"(tenant_id text, selector jsonb) IS 'Whether a freeze exists for the caller, by these columns of its row [router]';
REVOKE ALL ON FUNCTION miosa."sees_freeze"(tenant_id text, selector jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."sees_freeze"(tenant_id text, selector jsonb) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."sees_tenant"(tenant_id text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.sees_tenant()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."sees_tenant"(tenant_id text) IS 'Whether rows of a tenant exist for the caller [router]';
REVOKE ALL ON FUNCTION miosa."sees_tenant"(tenant_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."sees_tenant"(tenant_id text) TO miosa_auditor, miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa."shown_uri"(uri text) RETURNS text LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.shown_uri()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."shown_uri"(uri text) IS 'The URI if the caller fetches artifacts (has the rights of miosa_edge), else without its query [router]';
REVOKE ALL ON FUNCTION miosa."shown_uri"(uri text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."shown_uri"(uri text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."some_deployment"(context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT (CASE WHEN miosa_shard.adopt($1::text[]) THEN miosa."some_deployment"() END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."some_deployment"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."some_deployment"(text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."some_deployment"() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.some_deployment()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."some_deployment"() IS 'Id of a randomly chosen deployment; empty when there is none [router]';
REVOKE ALL ON FUNCTION miosa."some_deployment"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."some_deployment"() TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."stands_on"(deployment_id text, version_id text) RETURNS text LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.stands_on()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."stands_on"(deployment_id text, version_id text) IS 'The version, or the nearest one below it in the order of promotion, that is ready, is not marked as bad and whose artifact was not collected; null when there is none [router]';
REVOKE ALL ON FUNCTION miosa."stands_on"(deployment_id text, version_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."stands_on"(deployment_id text, version_id text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."status"(a1 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."status"($1::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."status"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."status"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."status"(deployment text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."status"($1, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."status"(deployment text, OUT item text, OUT value text) IS 'State of a deployment, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."status"(deployment text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."status"(deployment text, OUT item text, OUT value text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."timeline"(a1 text, a2 timestamp with time zone, a3 timestamp with time zone, context text[], shard integer, OUT "at" text, OUT "op" text, OUT "what" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT f.* FROM (SELECT miosa_shard.adopt($4::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."at", f."op", f."what" FROM miosa."timeline"($1::text, $2::timestamp with time zone, $3::timestamp with time zone) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."timeline"(text, timestamp with time zone, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."timeline"(text, timestamp with time zone, timestamp with time zone, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."timeline"(deployment text, since timestamp with time zone DEFAULT (now() - '1 day'::interval), until timestamp with time zone DEFAULT NULL::timestamp with time zone, OUT at text, OUT op text, OUT what text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."timeline"($1, $2, $3, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."timeline"(deployment text, since timestamp with time zone, until timestamp with time zone, OUT at text, OUT op text, OUT what text) IS 'What happened to a deployment, or in a fleet, in order, for people, in the session''s time zone: operations, refused calls, edges, instances [router]';
REVOKE ALL ON FUNCTION miosa."timeline"(deployment text, since timestamp with time zone, until timestamp with time zone, OUT at text, OUT op text, OUT what text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."timeline"(deployment text, since timestamp with time zone, until timestamp with time zone, OUT at text, OUT op text, OUT what text) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."undo"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT f.* FROM (SELECT miosa_shard.adopt($5::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."undo"($1::text, $2::text, $3::text, $4::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."undo"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."undo"(text, text, text, text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa."undo"(deployment text, operation text DEFAULT NULL::text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."undo"($1, $2, $3, $4, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."undo"(deployment text, operation text, reason text, idempotency_key text, OUT item text, OUT value text) IS 'Undoes the newest operation of a deployment, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."undo"(deployment text, operation text, reason text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."undo"(deployment text, operation text, reason text, idempotency_key text, OUT item text, OUT value text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."unwatch"(a1 text, a2 text, a3 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT f.* FROM (SELECT miosa_shard.adopt($4::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."unwatch"($1::text, $2::text, $3::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."unwatch"(text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."unwatch"(text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."unwatch"(deployment text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."unwatch"($1, $2, $3, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."unwatch"(deployment text, reason text, idempotency_key text, OUT item text, OUT value text) IS 'Ends the watch of a deployment, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."unwatch"(deployment text, reason text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."unwatch"(deployment text, reason text, idempotency_key text, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."verdict"(a1 text, context text[], shard integer, OUT "code" text, OUT "text" text) RETURNS record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."code", f."text" FROM miosa."verdict"($1::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."verdict"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."verdict"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa."verdict"(deployment text, OUT code text, OUT text text) RETURNS record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	SELECT f.* INTO "code", "text" FROM miosa_shard."verdict"($1, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."verdict"(deployment text, OUT code text, OUT text text) IS 'The verdict on a deployment: a code for programs, and the text that miosa.status() shows [router]';
REVOKE ALL ON FUNCTION miosa."verdict"(deployment text, OUT code text, OUT text text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."verdict"(deployment text, OUT code text, OUT text text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."verify_artifact"(a1 text, a2 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa."verify_artifact"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."verify_artifact"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."verify_artifact"(text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."verify_artifact"(deployment_id text, release_id text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.verify_artifact()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."verify_artifact"(deployment_id text, release_id text) IS 'Asks storage for the artifact of a release and records the answer: present, gone, unknown (nothing is recorded) or not asked (no storage is set up for it) [router]';
REVOKE ALL ON FUNCTION miosa."verify_artifact"(deployment_id text, release_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."verify_artifact"(deployment_id text, release_id text) TO miosa_admin;

CREATE OR REPLACE PROCEDURE miosa."verify_artifacts"(IN "limit" integer DEFAULT 1000) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			PERFORM miosa_router.verify_artifacts($1, _context, _each.number);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON PROCEDURE miosa."verify_artifacts"(IN "limit" integer) IS 'miosa_verify_artifacts(), where nobody can create an overload of it: for jobs [router]';
REVOKE ALL ON PROCEDURE miosa."verify_artifacts"(IN "limit" integer) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE miosa."verify_artifacts"(IN "limit" integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa."wall_rows"(OUT zone text, OUT edges text, OUT worst text, OUT since text, OUT state text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.wall_rows()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."wall_rows"(OUT zone text, OUT edges text, OUT worst text, OUT since text, OUT state text) IS 'Rows of miosa.wall [router]';
REVOKE ALL ON FUNCTION miosa."wall_rows"(OUT zone text, OUT edges text, OUT worst text, OUT since text, OUT state text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."wall_rows"(OUT zone text, OUT edges text, OUT worst text, OUT since text, OUT state text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."watch"(a1 text, a2 interval, a3 text, a4 jsonb, a5 text, a6 text, context text[], shard integer, OUT "item" text, OUT "value" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $8;
	SELECT f.* FROM (SELECT miosa_shard.adopt($7::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."value" FROM miosa."watch"($1::text, $2::interval, $3::text, $4::jsonb, $5::text, $6::text) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."watch"(text, interval, text, jsonb, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."watch"(text, interval, text, jsonb, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."watch"(deployment text, bake interval DEFAULT '00:15:00'::interval, on_alert text DEFAULT 'rollback'::text, alerts jsonb DEFAULT '{}'::jsonb, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, OUT item text, OUT value text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_shard."watch"($1, $2, $3, $4, $5, $6, _context, _shard) f;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION miosa."watch"(deployment text, bake interval, on_alert text, alerts jsonb, reason text, idempotency_key text, OUT item text, OUT value text) IS 'Watches a deployment, for people: rows of (item, value) [router]';
REVOKE ALL ON FUNCTION miosa."watch"(deployment text, bake interval, on_alert text, alerts jsonb, reason text, idempotency_key text, OUT item text, OUT value text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."watch"(deployment text, bake interval, on_alert text, alerts jsonb, reason text, idempotency_key text, OUT item text, OUT value text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa."wildcard_gaps"(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text) RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa.wildcard_gaps()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'It concerns the database that it is called in.', HINT = 'Call it in the database of a shard; SELECT * FROM miosa_router.all_shards(); has their names.';
END
$$;
COMMENT ON FUNCTION miosa."wildcard_gaps"(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text) IS 'Endpoints whose adapter cannot handle a wildcard host that they receive [router]';
REVOKE ALL ON FUNCTION miosa."wildcard_gaps"(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa."wildcard_gaps"(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_alert"(a1 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_alert"($1::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_alert"(jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_alert"(jsonb, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_alert"(payload jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_result jsonb := miosa_router.unmatched_alerts($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.split_alerts($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_result := miosa_router.merge_alerts(_result, _each.places, miosa_router.received(miosa_shard."miosa_alert"(_each.payload, _context, _each.number)));
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _result;
END
$$;
COMMENT ON FUNCTION public."miosa_alert"(payload jsonb) IS 'Takes the body that Alertmanager''s webhook sends (version 4), and does what the watches of the deployments say: {"data": {"alerts": [{"deployment_id", "fingerprint", "done", "operation_id", "why"}]}} [router]';
REVOKE ALL ON FUNCTION public."miosa_alert"(payload jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_alert"(payload jsonb) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_archive_version"(a1 uuid, a2 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_archive_version"($1::uuid, $2::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_archive_version"(uuid, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_archive_version"(uuid, uuid, text[], integer) TO miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_archive_version"(deployment uuid, version_id uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_archive_version"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_archive_version"(deployment uuid, version_id uuid) IS 'miosa_archive_version() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_archive_version"(deployment uuid, version_id uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_archive_version"(deployment uuid, version_id uuid) TO miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_archive_version"(a1 text, a2 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_archive_version"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_archive_version"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_archive_version"(text, text, text[], integer) TO miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_archive_version"(deployment_id text, version_id text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_archive_version"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_archive_version"(deployment_id text, version_id text) IS 'Archives a version: it is no longer a rollback target and its artifact may be collected [router]';
REVOKE ALL ON FUNCTION public."miosa_archive_version"(deployment_id text, version_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_archive_version"(deployment_id text, version_id text) TO miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_head"(context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT (CASE WHEN miosa_shard.adopt($1::text[]) THEN public."miosa_audit_head"() END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_head"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_head"(text[], integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION public."miosa_audit_head"() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_shard."miosa_audit_head"(_context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_audit_head(_answers), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_head"() IS 'The newest statement of heads of the audit trail: {"data": {"number", "created_at", "sha256", "statement"}}; null before the first one [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_head"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_head"() TO miosa_auditor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_log"(a1 uuid, a2 uuid, a3 text, a4 text, a5 timestamp with time zone, a6 timestamp with time zone, a7 integer, a8 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $10;
	SELECT (CASE WHEN miosa_shard.adopt($9::text[]) THEN public."miosa_audit_log"($1::uuid, $2::uuid, $3::text, $4::text, $5::timestamp with time zone, $6::timestamp with time zone, $7::integer, $8::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_log"(uuid, uuid, text, text, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_log"(uuid, uuid, text, text, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_audit_log"(deployment uuid, tenant_id uuid DEFAULT (NULL::text)::uuid, action text DEFAULT NULL::text, actor text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, "limit" integer DEFAULT 50, cursor text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	IF $1 IS NOT NULL THEN
		BEGIN
			RETURN miosa_shard."miosa_audit_log"($1, $2, $3, $4, $5, $6, $7, $8, _context, miosa_router.shard_of($1::text));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(miosa_router.shard_of($1::text), _state, _message, _detail, _hint);
		END;
	END IF;
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || miosa_shard."miosa_audit_log"($1, $2, $3, $4, $5, $6, $7, $8, _context, _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_audit_log(_answers, $7), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_log"(deployment uuid, tenant_id uuid, action text, actor text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) IS 'miosa_audit_log() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_log"(deployment uuid, tenant_id uuid, action text, actor text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_log"(deployment uuid, tenant_id uuid, action text, actor text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_log"(a1 text, a2 text, a3 text, a4 text, a5 timestamp with time zone, a6 timestamp with time zone, a7 integer, a8 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $10;
	SELECT (CASE WHEN miosa_shard.adopt($9::text[]) THEN public."miosa_audit_log"($1::text, $2::text, $3::text, $4::text, $5::timestamp with time zone, $6::timestamp with time zone, $7::integer, $8::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_log"(text, text, text, text, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_log"(text, text, text, text, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_audit_log"(deployment_id text DEFAULT NULL::text, tenant_id text DEFAULT NULL::text, action text DEFAULT NULL::text, actor text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, "limit" integer DEFAULT 50, cursor text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	IF $1 IS NOT NULL THEN
		BEGIN
			RETURN miosa_shard."miosa_audit_log"($1, $2, $3, $4, $5, $6, $7, $8, _context, miosa_router.shard_of($1::text));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			PERFORM miosa_router.pass_on(miosa_router.shard_of($1::text), _state, _message, _detail, _hint);
		END;
	END IF;
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || miosa_shard."miosa_audit_log"($1, $2, $3, $4, $5, $6, $7, $8, _context, _each.number);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_audit_log(_answers, $7), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_log"(deployment_id text, tenant_id text, action text, actor text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) IS 'Audit events, newest first: {"data": [event...], "next_cursor"} [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_log"(deployment_id text, tenant_id text, action text, actor text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_log"(deployment_id text, tenant_id text, action text, actor text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_verify"(a1 uuid, a2 bigint, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT (CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_audit_verify"($1::uuid, $2::bigint, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_verify"(uuid, bigint, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_verify"(uuid, bigint, text, text[], integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION public."miosa_audit_verify"(deployment uuid, known_seq bigint DEFAULT NULL::bigint, known_hash text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_audit_verify"($1, $2, $3, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_verify"(deployment uuid, known_seq bigint, known_hash text) IS 'miosa_audit_verify() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_verify"(deployment uuid, known_seq bigint, known_hash text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_verify"(deployment uuid, known_seq bigint, known_hash text) TO miosa_auditor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_verify"(a1 text, a2 bigint, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT (CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_audit_verify"($1::text, $2::bigint, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_verify"(text, bigint, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_verify"(text, bigint, text, text[], integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION public."miosa_audit_verify"(deployment_id text, known_seq bigint DEFAULT NULL::bigint, known_hash text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_audit_verify"($1, $2, $3, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_verify"(deployment_id text, known_seq bigint, known_hash text) IS 'Verifies the hash chain of a deployment''s audit events, and that it has an event whose hash was kept elsewhere: {"data": {"verified", "problems", ...}} [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_verify"(deployment_id text, known_seq bigint, known_hash text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_verify"(deployment_id text, known_seq bigint, known_hash text) TO miosa_auditor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_verify_all"(context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT (CASE WHEN miosa_shard.adopt($1::text[]) THEN miosa_shard.audit_verify_all() END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_verify_all"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_verify_all"(text[], integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION public."miosa_audit_verify_all"() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_shard."miosa_audit_verify_all"(_context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_audit_verify_all(_answers), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_verify_all"() IS 'Verifies the hash chains of all audit events: {"data": {"verified", "events", "problems", ...}}; problems of at most 1,000 deployments [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_verify_all"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_verify_all"() TO miosa_auditor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_audit_verify_statement"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_audit_verify_statement"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_audit_verify_statement"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_audit_verify_statement"(text, text[], integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION public."miosa_audit_verify_statement"(statement text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_shard."miosa_audit_verify_statement"($1, _context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_audit_verify_statement(_answers), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_audit_verify_statement"(statement text) IS 'Verifies the audit trail against a statement that was kept elsewhere: {"data": {"number", "verified", "problems"}} [router]';
REVOKE ALL ON FUNCTION public."miosa_audit_verify_statement"(statement text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_audit_verify_statement"(statement text) TO miosa_auditor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_clear_bad"(a1 uuid, a2 uuid, a3 text, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_clear_bad"($1::uuid, $2::uuid, $3::text, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_clear_bad"(uuid, uuid, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_clear_bad"(uuid, uuid, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_clear_bad"(deployment uuid, version_id uuid, reason text DEFAULT NULL::text, scope text DEFAULT 'deployment'::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_clear_bad"($1, $2, $3, $4, $5, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_clear_bad"(deployment uuid, version_id uuid, reason text, scope text, idempotency_key text) IS 'miosa_clear_bad() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_clear_bad"(deployment uuid, version_id uuid, reason text, scope text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_clear_bad"(deployment uuid, version_id uuid, reason text, scope text, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_clear_bad"(a1 text, a2 text, a3 text, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_clear_bad"($1::text, $2::text, $3::text, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_clear_bad"(text, text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_clear_bad"(text, text, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_clear_bad"(deployment_id text, version_id text, reason text DEFAULT NULL::text, scope text DEFAULT 'deployment'::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_clear_bad"($1, $2, $3, $4, $5, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_clear_bad"(deployment_id text, version_id text, reason text, scope text, idempotency_key text) IS 'Takes a mark of miosa_mark_bad() away [router]';
REVOKE ALL ON FUNCTION public."miosa_clear_bad"(deployment_id text, version_id text, reason text, scope text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_clear_bad"(deployment_id text, version_id text, reason text, scope text, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_collect"(a1 integer, context text[], shard integer, OUT "deployment_id" text, OUT "version_id" text, OUT "release_id" text, OUT "storage_uri" text, OUT "sha256" text, OUT "size_bytes" bigint) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment_id", f."version_id", f."release_id", f."storage_uri", f."sha256", f."size_bytes" FROM public."miosa_collect"($1::integer) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_collect"(integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_collect"(integer, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_collect"("limit" integer DEFAULT 100, OUT deployment_id text, OUT version_id text, OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT size_bytes bigint) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_left integer := $1;
	_rows bigint;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			EXIT WHEN _left = 0;
			RETURN QUERY SELECT f.* FROM miosa_shard."miosa_collect"(_left, _context, _each.number) f;
			GET DIAGNOSTICS _rows = ROW_COUNT;
			_left := _left - _rows;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
COMMENT ON FUNCTION public."miosa_collect"("limit" integer, OUT deployment_id text, OUT version_id text, OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT size_bytes bigint) IS 'Claims artifacts that nothing keeps any more; they may be deleted from storage once the call has committed [router]';
REVOKE ALL ON FUNCTION public."miosa_collect"("limit" integer, OUT deployment_id text, OUT version_id text, OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT size_bytes bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_collect"("limit" integer, OUT deployment_id text, OUT version_id text, OUT release_id text, OUT storage_uri text, OUT sha256 text, OUT size_bytes bigint) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_configuration_log"(a1 text, a2 text, a3 timestamp with time zone, a4 timestamp with time zone, a5 integer, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT (CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_configuration_log"($1::text, $2::text, $3::timestamp with time zone, $4::timestamp with time zone, $5::integer) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_configuration_log"(text, text, timestamp with time zone, timestamp with time zone, integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_configuration_log"(text, text, timestamp with time zone, timestamp with time zone, integer, text[], integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION public."miosa_configuration_log"(kind text DEFAULT NULL::text, object text DEFAULT NULL::text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, "limit" integer DEFAULT 50) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_shard."miosa_configuration_log"($1, $2, $3, $4, $5, _context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_configuration_log(_answers, $5), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_configuration_log"(kind text, object text, since timestamp with time zone, until timestamp with time zone, "limit" integer) IS 'Configuration events, newest first: {"data": [event...]} [router]';
REVOKE ALL ON FUNCTION public."miosa_configuration_log"(kind text, object text, since timestamp with time zone, until timestamp with time zone, "limit" integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_configuration_log"(kind text, object text, since timestamp with time zone, until timestamp with time zone, "limit" integer) TO miosa_auditor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_confirm_collected"(a1 uuid, a2 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_confirm_collected"($1::uuid, $2::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_confirm_collected"(uuid, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_confirm_collected"(uuid, uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_confirm_collected"(deployment uuid, release_id uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_confirm_collected"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_confirm_collected"(deployment uuid, release_id uuid) IS 'miosa_confirm_collected() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_confirm_collected"(deployment uuid, release_id uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_confirm_collected"(deployment uuid, release_id uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_confirm_collected"(a1 text, a2 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_confirm_collected"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_confirm_collected"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_confirm_collected"(text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_confirm_collected"(deployment_id text, release_id text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_confirm_collected"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_confirm_collected"(deployment_id text, release_id text) IS 'Confirms that the artifact of a collected release was deleted from storage; may be repeated [router]';
REVOKE ALL ON FUNCTION public."miosa_confirm_collected"(deployment_id text, release_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_confirm_collected"(deployment_id text, release_id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_convergence"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_convergence"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_convergence"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_convergence"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_convergence"(deployment_or_operation text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_operation($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_convergence"($1, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_convergence"(deployment_or_operation text) IS 'Which endpoints have acknowledged the present route of a deployment, by zone and endpoint, those that lag first [router]';
REVOKE ALL ON FUNCTION public."miosa_convergence"(deployment_or_operation text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_convergence"(deployment_or_operation text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_convergence"(a1 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_convergence"($1::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_convergence"(uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_convergence"(uuid, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_convergence"(operation uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_operation($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_convergence"($1, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_convergence"(operation uuid) IS 'miosa_convergence() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_convergence"(operation uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_convergence"(operation uuid) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_deployment"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_deployment"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_deployment"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_deployment"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_deployment"(id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_deployment"($1, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_deployment"(id text) IS 'A deployment by its id: {"data": deployment} [router]';
REVOKE ALL ON FUNCTION public."miosa_deployment"(id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_deployment"(id text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_deployment"(a1 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_deployment"($1::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_deployment"(uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_deployment"(uuid, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_deployment"(uuid uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_deployment"($1, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_deployment"(uuid uuid) IS 'miosa_deployment() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_deployment"(uuid uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_deployment"(uuid uuid) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_doctor"(context text[], shard integer, OUT "item" text, OUT "status" text, OUT "seen" text, OUT "fix" text, OUT "needs" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."item", f."status", f."seen", f."fix", f."needs" FROM public."miosa_doctor"() f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_doctor"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_doctor"(text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_doctor"(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN QUERY SELECT f.* FROM miosa_router.doctor() f;
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name || ': ' || f."item", f."status", f."seen", f."fix", f."needs" FROM miosa_shard."miosa_doctor"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || _each.name;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION public."miosa_doctor"(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) IS 'What is wrong with this installation: per item what was seen, what to do, and the role that it needs [router]';
REVOKE ALL ON FUNCTION public."miosa_doctor"(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_doctor"(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_grant_tenant"(a1 text, a2 uuid, a3 text[], context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_grant_tenant"($1::text, $2::uuid, $3::text[]) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_grant_tenant"(text, uuid, text[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_grant_tenant"(text, uuid, text[], text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_grant_tenant"(role_name text, tenant uuid, scopes text[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_grant_tenant"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_grant_tenant"(role_name text, tenant uuid, scopes text[]) IS 'miosa_grant_tenant() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_grant_tenant"(role_name text, tenant uuid, scopes text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_grant_tenant"(role_name text, tenant uuid, scopes text[]) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_grant_tenant"(a1 text, a2 text, a3 text[], context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_grant_tenant"($1::text, $2::text, $3::text[]) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_grant_tenant"(text, text, text[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_grant_tenant"(text, text, text[], text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_grant_tenant"(role_name text, tenant_id text, scopes text[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_grant_tenant"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_grant_tenant"(role_name text, tenant_id text, scopes text[]) IS 'Lets a role act for a tenant, or for all with *, in these scopes; earlier ones stay [router]';
REVOKE ALL ON FUNCTION public."miosa_grant_tenant"(role_name text, tenant_id text, scopes text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_grant_tenant"(role_name text, tenant_id text, scopes text[]) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_hold"(a1 uuid, a2 text, a3 timestamp with time zone, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_hold"($1::uuid, $2::text, $3::timestamp with time zone, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_hold"(uuid, text, timestamp with time zone, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_hold"(uuid, text, timestamp with time zone, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_hold"(deployment uuid, reason text DEFAULT NULL::text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_hold"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_hold"(deployment uuid, reason text, until timestamp with time zone, idempotency_key text) IS 'miosa_hold() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_hold"(deployment uuid, reason text, until timestamp with time zone, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_hold"(deployment uuid, reason text, until timestamp with time zone, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_hold"(a1 text, a2 text, a3 timestamp with time zone, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_hold"($1::text, $2::text, $3::timestamp with time zone, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_hold"(text, text, timestamp with time zone, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_hold"(text, text, timestamp with time zone, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_hold"(deployment_id text, reason text DEFAULT NULL::text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_hold"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_hold"(deployment_id text, reason text, until timestamp with time zone, idempotency_key text) IS 'Holds a deployment: automatic promotions are refused until a time, or until the hold is lifted [router]';
REVOKE ALL ON FUNCTION public."miosa_hold"(deployment_id text, reason text, until timestamp with time zone, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_hold"(deployment_id text, reason text, until timestamp with time zone, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE PROCEDURE public."miosa_maintain"(IN artifacts boolean DEFAULT true) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_began timestamptz;
	_step record;
	_place text;
	_artifacts CONSTANT boolean := $1;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_began := clock_timestamp();
			SELECT NULL::text AS kind, NULL::text AS place, NULL::tid[] AS rows, 0 AS done, 0::bigint AS removed INTO _step;
			LOOP
				SELECT s.* INTO _step FROM miosa_shard.maintain_rows(_step.kind, _step.place, _step.rows, _step.done, _step.removed, _context, _each.number) s;
				EXIT WHEN _step.kind IS NULL;
				IF _step.done > 0 THEN
					PERFORM pg_sleep(0.01);
				END IF;
			END LOOP;
			WHILE miosa_shard.maintain_route_log(_context, _each.number) LOOP
			END LOOP;
			_place := '';
			WHILE _place IS NOT NULL LOOP
				_place := miosa_shard.maintain_capacity(_place, _context, _each.number);
			END LOOP;
			PERFORM miosa_shard.maintained(_began, _step.removed, _context, _each.number);
			IF _artifacts THEN
				PERFORM miosa_router.verify_artifacts(1000, _context, _each.number);
			END IF;
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON PROCEDURE public."miosa_maintain"(IN artifacts boolean) IS 'Does all maintenance that is due: deletes expired rows, settles capacity, and verifies artifacts [router]';
REVOKE ALL ON PROCEDURE public."miosa_maintain"(IN artifacts boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE public."miosa_maintain"(IN artifacts boolean) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_mark_bad"(a1 uuid, a2 uuid, a3 text, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_mark_bad"($1::uuid, $2::uuid, $3::text, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_mark_bad"(uuid, uuid, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_mark_bad"(uuid, uuid, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_mark_bad"(deployment uuid, version_id uuid, reason text, scope text DEFAULT 'deployment'::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_mark_bad"($1, $2, $3, $4, $5, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_mark_bad"(deployment uuid, version_id uuid, reason text, scope text, idempotency_key text) IS 'miosa_mark_bad() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_mark_bad"(deployment uuid, version_id uuid, reason text, scope text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_mark_bad"(deployment uuid, version_id uuid, reason text, scope text, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_mark_bad"(a1 text, a2 text, a3 text, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_mark_bad"($1::text, $2::text, $3::text, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_mark_bad"(text, text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_mark_bad"(text, text, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_mark_bad"(deployment_id text, version_id text, reason text, scope text DEFAULT 'deployment'::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_mark_bad"($1, $2, $3, $4, $5, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_mark_bad"(deployment_id text, version_id text, reason text, scope text, idempotency_key text) IS 'Marks a version, or with scope artifact all versions with its artifact, as bad: no default target, and refused to promotions [router]';
REVOKE ALL ON FUNCTION public."miosa_mark_bad"(deployment_id text, version_id text, reason text, scope text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_mark_bad"(deployment_id text, version_id text, reason text, scope text, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_metrics"(context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT (CASE WHEN miosa_shard.adopt($1::text[]) THEN public."miosa_metrics"() END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_metrics"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_metrics"(text[], integer) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION public."miosa_metrics"() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_shard."miosa_metrics"(_context, _each.number));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.merge_metrics(_answers, _down);
END
$$;
COMMENT ON FUNCTION public."miosa_metrics"() IS 'Returns all metrics in the text format of Prometheus, version 0.0.4 [router]';
REVOKE ALL ON FUNCTION public."miosa_metrics"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_metrics"() TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_move_host"(a1 text, a2 uuid, a3 uuid, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_move_host"($1::text, $2::uuid, $3::uuid, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_move_host"(text, uuid, uuid, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_move_host"(text, uuid, uuid, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_move_host"(host text, to_deployment uuid, from_deployment_id uuid DEFAULT (NULL::text)::uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_to_move_to($1, $2::text, miosa_router.shard_of($2::text));
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_move_host"($1, $2, $3, $4, $5, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_move_host"(host text, to_deployment uuid, from_deployment_id uuid, idempotency_key text, reason text) IS 'miosa_move_host() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_move_host"(host text, to_deployment uuid, from_deployment_id uuid, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_move_host"(host text, to_deployment uuid, from_deployment_id uuid, idempotency_key text, reason text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_move_host"(a1 text, a2 text, a3 text, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_move_host"($1::text, $2::text, $3::text, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_move_host"(text, text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_move_host"(text, text, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_move_host"(host text, to_deployment_id text, from_deployment_id text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_to_move_to($1, $2::text, miosa_router.shard_of($2::text));
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_move_host"($1, $2, $3, $4, $5, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_move_host"(host text, to_deployment_id text, from_deployment_id text, idempotency_key text, reason text) IS 'Moves a host from one deployment to another; edges get its new route before they lose the old one [router]';
REVOKE ALL ON FUNCTION public."miosa_move_host"(host text, to_deployment_id text, from_deployment_id text, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_move_host"(host text, to_deployment_id text, from_deployment_id text, idempotency_key text, reason text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_page"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_page"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_page"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_page"(text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_page"(deployment text DEFAULT NULL::text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_page($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_page"($1, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_page"(deployment text) IS 'What needs somebody now, or all about one deployment, as one HTML page that needs nothing else and reloads itself [router]';
REVOKE ALL ON FUNCTION public."miosa_page"(deployment text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_page"(deployment text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_pin_version"(a1 uuid, a2 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_pin_version"($1::uuid, $2::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_pin_version"(uuid, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_pin_version"(uuid, uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_pin_version"(deployment uuid, version_id uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_pin_version"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_pin_version"(deployment uuid, version_id uuid) IS 'miosa_pin_version() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_pin_version"(deployment uuid, version_id uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_pin_version"(deployment uuid, version_id uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_pin_version"(a1 text, a2 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_pin_version"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_pin_version"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_pin_version"(text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_pin_version"(deployment_id text, version_id text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_pin_version"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_pin_version"(deployment_id text, version_id text) IS 'Keeps a version: it cannot be archived and its artifact is never collected [router]';
REVOKE ALL ON FUNCTION public."miosa_pin_version"(deployment_id text, version_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_pin_version"(deployment_id text, version_id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_plan"(a1 uuid, a2 uuid, a3 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_plan"($1::uuid, $2::uuid, $3::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_plan"(uuid, uuid, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_plan"(uuid, uuid, timestamp with time zone, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_plan"(deployment uuid, version_id uuid DEFAULT (NULL::text)::uuid, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_plan"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_plan"(deployment uuid, version_id uuid, served_at timestamp with time zone) IS 'miosa_plan() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_plan"(deployment uuid, version_id uuid, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_plan"(deployment uuid, version_id uuid, served_at timestamp with time zone) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_plan"(a1 text, a2 text, a3 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_plan"($1::text, $2::text, $3::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_plan"(text, text, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_plan"(text, text, timestamp with time zone, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_plan"(deployment_id text, version_id text DEFAULT NULL::text, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_plan"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_plan"(deployment_id text, version_id text, served_at timestamp with time zone) IS 'What miosa_rollback would do now: target, outcome, findings of all checks, number of edges [router]';
REVOKE ALL ON FUNCTION public."miosa_plan"(deployment_id text, version_id text, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_plan"(deployment_id text, version_id text, served_at timestamp with time zone) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_plan_many"(a1 jsonb, a2 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_plan_many"($1::jsonb, $2::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_plan_many"(jsonb, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_plan_many"(jsonb, timestamp with time zone, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_plan_many"(selector jsonb, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.split_selector($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_router.received(miosa_shard."miosa_plan_many"(_each.selector, $2, _context, _each.number)));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_fleet(_answers), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_plan_many"(selector jsonb, served_at timestamp with time zone) IS 'What miosa_rollback_many would do now: each deployment with its versions, and the outcome or the condition that refuses it [router]';
REVOKE ALL ON FUNCTION public."miosa_plan_many"(selector jsonb, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_plan_many"(selector jsonb, served_at timestamp with time zone) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 json, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::json, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(text, text, text, text, text, json, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(text, text, text, text, text, json, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type json; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(text, text, text, text, text, text, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(text, text, text, text, text, text, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type text; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 text, a2 text, a3 uuid, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(text, text, uuid, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(text, text, uuid, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 json, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::json, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type json, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 text, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type text, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 uuid, a2 uuid, a3 uuid, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::uuid, $2::uuid, $3::uuid, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_promote() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_promote"(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_promote"(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_promote"(deployment_id text, version_id text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_promote"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'Makes a version of a deployment active and remembers which one it replaced [router]';
REVOKE ALL ON FUNCTION public."miosa_promote"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_promote"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_purge_expired"(a1 integer, context text[], shard integer, OUT "what" text, OUT "removed" bigint) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."what", f."removed" FROM public."miosa_purge_expired"($1::integer) f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_purge_expired"(integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_purge_expired"(integer, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_purge_expired"(batch integer DEFAULT 1000, OUT what text, OUT removed bigint) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name || ': ' || f."what", f."removed" FROM miosa_shard."miosa_purge_expired"($1, _context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
COMMENT ON FUNCTION public."miosa_purge_expired"(batch integer, OUT what text, OUT removed bigint) IS 'Deletes expired keys, audit events and alerts, ended instances and holds, removed hosts, refused calls, old fleets and old route changes [router]';
REVOKE ALL ON FUNCTION public."miosa_purge_expired"(batch integer, OUT what text, OUT removed bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_purge_expired"(batch integer, OUT what text, OUT removed bigint) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_adapter"(a1 text, a2 jsonb, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_put_adapter"($1::text, $2::jsonb, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_adapter"(text, jsonb, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_adapter"(text, jsonb, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_adapter"(name text, fields jsonb DEFAULT '{}'::jsonb, copy_of text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_adapter"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_adapter"(name text, fields jsonb, copy_of text) IS 'Inserts or changes an adapter, by the columns of miosa.adapters that are given; copy_of: the others are those of another adapter [router]';
REVOKE ALL ON FUNCTION public."miosa_put_adapter"(name text, fields jsonb, copy_of text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_adapter"(name text, fields jsonb, copy_of text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_deployment"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 integer, a7 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $9;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($8::text[]) THEN public."miosa_put_deployment"($1::text, $2::text, $3::text, $4::text, $5::text, $6::integer, $7::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_deployment"(text, text, text, text, text, integer, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_deployment"(text, text, text, text, text, integer, jsonb, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_deployment"(id text, tenant_id text, name text DEFAULT NULL::text, slug text DEFAULT NULL::text, kind text DEFAULT NULL::text, desired_replicas integer DEFAULT NULL::integer, fields jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_claim jsonb := miosa_router.claim_slug($1::text, $2::text, $3, $4, $7::jsonb, false, _shard);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_put_deployment"($1, $2, $3, $4, $5, $6, $7, _context, _shard));
	PERFORM miosa_router.confirm_slug(_claim, $1::text);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.release_slug(_claim, $1::text, _state, _message);
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_put_deployment"(id text, tenant_id text, name text, slug text, kind text, desired_replicas integer, fields jsonb) IS 'Inserts or changes a deployment of a tenant, but not its pointer [router]';
REVOKE ALL ON FUNCTION public."miosa_put_deployment"(id text, tenant_id text, name text, slug text, kind text, desired_replicas integer, fields jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_deployment"(id text, tenant_id text, name text, slug text, kind text, desired_replicas integer, fields jsonb) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_deployment"(a1 uuid, a2 uuid, a3 text, a4 text, a5 text, a6 integer, a7 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $9;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($8::text[]) THEN public."miosa_put_deployment"($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::integer, $7::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_deployment"(uuid, uuid, text, text, text, integer, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_deployment"(uuid, uuid, text, text, text, integer, jsonb, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_deployment"(uuid uuid, tenant_id uuid, name text DEFAULT NULL::text, slug text DEFAULT NULL::text, kind text DEFAULT NULL::text, desired_replicas integer DEFAULT NULL::integer, fields jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_claim jsonb := miosa_router.claim_slug($1::text, $2::text, $3, $4, $7::jsonb, false, _shard);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_put_deployment"($1, $2, $3, $4, $5, $6, $7, _context, _shard));
	PERFORM miosa_router.confirm_slug(_claim, $1::text);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.release_slug(_claim, $1::text, _state, _message);
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_put_deployment"(uuid uuid, tenant_id uuid, name text, slug text, kind text, desired_replicas integer, fields jsonb) IS 'miosa_put_deployment() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_put_deployment"(uuid uuid, tenant_id uuid, name text, slug text, kind text, desired_replicas integer, fields jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_deployment"(uuid uuid, tenant_id uuid, name text, slug text, kind text, desired_replicas integer, fields jsonb) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_domain"(a1 text, a2 uuid, a3 text, a4 text, a5 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_put_domain"($1::text, $2::uuid, $3::text, $4::text, $5::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_domain"(text, uuid, text, text, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_domain"(text, uuid, text, text, jsonb, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_domain"(fqdn text, deployment uuid, state text DEFAULT 'active'::text, redirect_policy text DEFAULT NULL::text, fields jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($2::text);
	_host text := miosa_router.claim_host($1, $2::text, _shard);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_put_domain"(_host, $2, $3, $4, $5, _context, _shard));
	PERFORM miosa_router.confirm_host(_host, $2::text, _shard);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.release_host(_host, $2::text, _state, _message);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_put_domain"(fqdn text, deployment uuid, state text, redirect_policy text, fields jsonb) IS 'miosa_put_domain() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_put_domain"(fqdn text, deployment uuid, state text, redirect_policy text, fields jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_domain"(fqdn text, deployment uuid, state text, redirect_policy text, fields jsonb) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_domain"(a1 text, a2 text, a3 text, a4 text, a5 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_put_domain"($1::text, $2::text, $3::text, $4::text, $5::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_domain"(text, text, text, text, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_domain"(text, text, text, text, jsonb, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_domain"(fqdn text, deployment_id text, state text DEFAULT 'active'::text, redirect_policy text DEFAULT NULL::text, fields jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($2::text);
	_host text := miosa_router.claim_host($1, $2::text, _shard);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_put_domain"(_host, $2, $3, $4, $5, _context, _shard));
	PERFORM miosa_router.confirm_host(_host, $2::text, _shard);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.release_host(_host, $2::text, _state, _message);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_put_domain"(fqdn text, deployment_id text, state text, redirect_policy text, fields jsonb) IS 'Inserts or changes a host; a change of a routed host is delivered to edges [router]';
REVOKE ALL ON FUNCTION public."miosa_put_domain"(fqdn text, deployment_id text, state text, redirect_policy text, fields jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_domain"(fqdn text, deployment_id text, state text, redirect_policy text, fields jsonb) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_endpoint"(a1 text, a2 text, a3 text, a4 text, a5 integer, a6 jsonb, a7 text, a8 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $10;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($9::text[]) THEN public."miosa_put_endpoint"($1::text, $2::text, $3::text, $4::text, $5::integer, $6::jsonb, $7::text, $8::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_endpoint"(text, text, text, text, integer, jsonb, text, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_endpoint"(text, text, text, text, integer, jsonb, text, boolean, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_endpoint"(name text, adapter text, url text, zone text DEFAULT 'default'::text, stage integer DEFAULT NULL::integer, selector jsonb DEFAULT '{}'::jsonb, secret text DEFAULT NULL::text, enabled boolean DEFAULT true) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_endpoint"($1, $2, $3, $4, $5, $6, $7, $8, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_endpoint"(name text, adapter text, url text, zone text, stage integer, selector jsonb, secret text, enabled boolean) IS 'Adds or changes an endpoint; a new or changed one is resynchronized [router]';
REVOKE ALL ON FUNCTION public."miosa_put_endpoint"(name text, adapter text, url text, zone text, stage integer, selector jsonb, secret text, enabled boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_endpoint"(name text, adapter text, url text, zone text, stage integer, selector jsonb, secret text, enabled boolean) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_freeze"(a1 text, a2 timestamp with time zone, a3 timestamp with time zone, a4 jsonb, a5 text, a6 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $8;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($7::text[]) THEN public."miosa_put_freeze"($1::text, $2::timestamp with time zone, $3::timestamp with time zone, $4::jsonb, $5::text, $6::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_freeze"(text, timestamp with time zone, timestamp with time zone, jsonb, text, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_freeze"(text, timestamp with time zone, timestamp with time zone, jsonb, text, uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_freeze"($1, $2, $3, $4, $5, $6, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant uuid) IS 'miosa_put_freeze() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_freeze"(a1 text, a2 timestamp with time zone, a3 timestamp with time zone, a4 jsonb, a5 text, a6 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $8;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($7::text[]) THEN public."miosa_put_freeze"($1::text, $2::timestamp with time zone, $3::timestamp with time zone, $4::jsonb, $5::text, $6::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_freeze"(text, timestamp with time zone, timestamp with time zone, jsonb, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_freeze"(text, timestamp with time zone, timestamp with time zone, jsonb, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone DEFAULT now(), selector jsonb DEFAULT '{"all": true}'::jsonb, reason text DEFAULT NULL::text, tenant_id text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_freeze"($1, $2, $3, $4, $5, $6, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant_id text) IS 'Adds or changes a freeze: until it ends, deployments that the selector matches are not promoted [router]';
REVOKE ALL ON FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_freeze"(name text, ends timestamp with time zone, begins timestamp with time zone, selector jsonb, reason text, tenant_id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_plan"(a1 text, a2 interval, a3 interval, a4 interval, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_put_plan"($1::text, $2::interval, $3::interval, $4::interval) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_plan"(text, interval, interval, interval, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_plan"(text, interval, interval, interval, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_plan"(name text, audit_retention interval DEFAULT NULL::interval, idempotency_retention interval DEFAULT NULL::interval, artifact_retention interval DEFAULT NULL::interval) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_plan"($1, $2, $3, $4, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_plan"(name text, audit_retention interval, idempotency_retention interval, artifact_retention interval) IS 'Inserts or changes a plan, with its retention times [router]';
REVOKE ALL ON FUNCTION public."miosa_put_plan"(name text, audit_retention interval, idempotency_retention interval, artifact_retention interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_plan"(name text, audit_retention interval, idempotency_retention interval, artifact_retention interval) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_schema"(a1 text, a2 text[], a3 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_put_schema"($1::text, $2::text[], $3::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_schema"(text, text[], uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_schema"(text, text[], uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_schema"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant uuid) IS 'miosa_put_schema() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_schema"(a1 text, a2 text[], a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_put_schema"($1::text, $2::text[], $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_schema"(text, text[], text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_schema"(text, text[], text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[] DEFAULT NULL::text[], tenant_id text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_schema"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant_id text) IS 'Adds or changes a schema: in which schemas of this database the objects are that its versions require [router]';
REVOKE ALL ON FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_schema"(schema_name text, database_schemas text[], tenant_id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_secret"(a1 text, a2 text, a3 boolean, a4 text[], a5 text[], a6 text[], context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $8;
	SELECT (CASE WHEN miosa_shard.adopt($7::text[]) THEN public."miosa_put_secret"($1::text, $2::text, $3::boolean, $4::text[], $5::text[], $6::text[]) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_secret"(text, text, boolean, text[], text[], text[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_secret"(text, text, boolean, text[], text[], text[], text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_secret"(name text, value text, keep_previous boolean DEFAULT false, origins text[] DEFAULT NULL::text[], adapters text[] DEFAULT NULL::text[], endpoints text[] DEFAULT NULL::text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_put_secret"($1, $2, $3, $4, $5, $6, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON FUNCTION public."miosa_put_secret"(name text, value text, keep_previous boolean, origins text[], adapters text[], endpoints text[]) IS 'Adds or changes a secret that endpoints or storages name [router]';
REVOKE ALL ON FUNCTION public."miosa_put_secret"(name text, value text, keep_previous boolean, origins text[], adapters text[], endpoints text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_secret"(name text, value text, keep_previous boolean, origins text[], adapters text[], endpoints text[]) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_storage"(a1 text, a2 text, a3 text, a4 text, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_put_storage"($1::text, $2::text, $3::text, $4::text, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_storage"(text, text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_storage"(text, text, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_storage"(prefix text, endpoint text, region text DEFAULT 'us-east-1'::text, addressing text DEFAULT 'path'::text, secret text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_storage"($1, $2, $3, $4, $5, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_storage"(prefix text, endpoint text, region text, addressing text, secret text) IS 'Adds or changes a storage: the service where s3:// artifacts below a prefix are verified [router]';
REVOKE ALL ON FUNCTION public."miosa_put_storage"(prefix text, endpoint text, region text, addressing text, secret text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_storage"(prefix text, endpoint text, region text, addressing text, secret text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_tenant"(a1 text, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_put_tenant"($1::text, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_tenant"(text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_tenant"(text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_tenant"(id text, slug text, plan text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_tenant"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_tenant"(id text, slug text, plan text) IS 'Inserts or changes a tenant, with its slug and its plan [router]';
REVOKE ALL ON FUNCTION public."miosa_put_tenant"(id text, slug text, plan text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_tenant"(id text, slug text, plan text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_tenant"(a1 uuid, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_put_tenant"($1::uuid, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_tenant"(uuid, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_tenant"(uuid, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_put_tenant"(uuid uuid, slug text, plan text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_put_tenant"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_put_tenant"(uuid uuid, slug text, plan text) IS 'miosa_put_tenant() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_put_tenant"(uuid uuid, slug text, plan text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_tenant"(uuid uuid, slug text, plan text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_version"(a1 uuid, a2 uuid, a3 integer, a4 text, a5 text, a6 text, a7 text, a8 uuid, a9 bigint, a10 jsonb, a11 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_put_version"($1::uuid, $2::uuid, $3::integer, $4::text, $5::text, $6::text, $7::text, $8::uuid, $9::bigint, $10::jsonb, $11::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_version"(uuid, uuid, integer, text, text, text, text, uuid, bigint, jsonb, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_version"(uuid, uuid, integer, text, text, text, text, uuid, bigint, jsonb, jsonb, text[], integer) TO miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_put_version"(deployment uuid, id uuid, version_number integer DEFAULT NULL::integer, kind text DEFAULT NULL::text, state text DEFAULT NULL::text, storage_uri text DEFAULT NULL::text, sha256 text DEFAULT NULL::text, release_id uuid DEFAULT (NULL::text)::uuid, size_bytes bigint DEFAULT NULL::bigint, fields jsonb DEFAULT '{}'::jsonb, release jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_put_version"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_put_version"(deployment uuid, id uuid, version_number integer, kind text, state text, storage_uri text, sha256 text, release_id uuid, size_bytes bigint, fields jsonb, release jsonb) IS 'miosa_put_version() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_put_version"(deployment uuid, id uuid, version_number integer, kind text, state text, storage_uri text, sha256 text, release_id uuid, size_bytes bigint, fields jsonb, release jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_version"(deployment uuid, id uuid, version_number integer, kind text, state text, storage_uri text, sha256 text, release_id uuid, size_bytes bigint, fields jsonb, release jsonb) TO miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_put_version"(a1 text, a2 text, a3 integer, a4 text, a5 text, a6 text, a7 text, a8 text, a9 bigint, a10 jsonb, a11 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_put_version"($1::text, $2::text, $3::integer, $4::text, $5::text, $6::text, $7::text, $8::text, $9::bigint, $10::jsonb, $11::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_put_version"(text, text, integer, text, text, text, text, text, bigint, jsonb, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_put_version"(text, text, integer, text, text, text, text, text, bigint, jsonb, jsonb, text[], integer) TO miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_put_version"(deployment_id text, id text, version_number integer DEFAULT NULL::integer, kind text DEFAULT NULL::text, state text DEFAULT NULL::text, storage_uri text DEFAULT NULL::text, sha256 text DEFAULT NULL::text, release_id text DEFAULT NULL::text, size_bytes bigint DEFAULT NULL::bigint, fields jsonb DEFAULT '{}'::jsonb, release jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_put_version"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_put_version"(deployment_id text, id text, version_number integer, kind text, state text, storage_uri text, sha256 text, release_id text, size_bytes bigint, fields jsonb, release jsonb) IS 'Inserts or changes a version and its release [router]';
REVOKE ALL ON FUNCTION public."miosa_put_version"(deployment_id text, id text, version_number integer, kind text, state text, storage_uri text, sha256 text, release_id text, size_bytes bigint, fields jsonb, release jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_put_version"(deployment_id text, id text, version_number integer, kind text, state text, storage_uri text, sha256 text, release_id text, size_bytes bigint, fields jsonb, release jsonb) TO miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_redrive"(a1 text, context text[], shard integer) RETURNS bigint LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_redrive"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_redrive"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_redrive"(text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_redrive"(endpoint text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_sum bigint := 0;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_sum := _sum + miosa_shard."miosa_redrive"($1, _context, _each.number);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _sum;
END
$$;
COMMENT ON FUNCTION public."miosa_redrive"(endpoint text) IS 'Retries at once the routes that an endpoint refused (delivery_failures); returns their number [router]';
REVOKE ALL ON FUNCTION public."miosa_redrive"(endpoint text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_redrive"(endpoint text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_release"(a1 uuid, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_release"($1::uuid, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_release"(uuid, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_release"(uuid, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_release"(deployment uuid, promote text DEFAULT NULL::text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_release"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_release"(deployment uuid, promote text, reason text, idempotency_key text) IS 'miosa_release() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_release"(deployment uuid, promote text, reason text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_release"(deployment uuid, promote text, reason text, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_release"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_release"($1::text, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_release"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_release"(text, text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_release"(deployment_id text, promote text DEFAULT NULL::text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_release"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_release"(deployment_id text, promote text, reason text, idempotency_key text) IS 'Lifts the hold of a deployment; promote => ''newest'' promotes the newest version that it refused [router]';
REVOKE ALL ON FUNCTION public."miosa_release"(deployment_id text, promote text, reason text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_release"(deployment_id text, promote text, reason text, idempotency_key text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_adapter"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_adapter"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_adapter"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_adapter"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_adapter"(name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_adapter"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_adapter"(name text) IS 'Removes an adapter that no endpoint has [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_adapter"(name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_adapter"(name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_deployment"(a1 text, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_remove_deployment"($1::text, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_deployment"(text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_deployment"(text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_deployment"(id text, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_remove_deployment"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_remove_deployment"(id text, reason text, idempotency_key text) IS 'Removes a deployment without an active version, with its hosts, versions, releases and instances; its audit events stay [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_deployment"(id text, reason text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_deployment"(id text, reason text, idempotency_key text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_deployment"(a1 uuid, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_remove_deployment"($1::uuid, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_deployment"(uuid, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_deployment"(uuid, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_deployment"(uuid uuid, reason text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_remove_deployment"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_remove_deployment"(uuid uuid, reason text, idempotency_key text) IS 'miosa_remove_deployment() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_deployment"(uuid uuid, reason text, idempotency_key text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_deployment"(uuid uuid, reason text, idempotency_key text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_domain"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_domain"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_domain"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_domain"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_domain"(fqdn text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of_host($1);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_remove_domain"($1, _context, _shard));
	PERFORM miosa_router.release_host($1, NULL, NULL, NULL);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_remove_domain"(fqdn text) IS 'Removes a host, also from edges [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_domain"(fqdn text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_domain"(fqdn text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_endpoint"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_endpoint"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_endpoint"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_endpoint"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_endpoint"(name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_endpoint"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_endpoint"(name text) IS 'Removes an endpoint and its position [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_endpoint"(name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_endpoint"(name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_freeze"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_freeze"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_freeze"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_freeze"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_freeze"(name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_freeze"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_freeze"(name text) IS 'Removes a freeze, which ends it [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_freeze"(name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_freeze"(name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_plan"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_plan"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_plan"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_plan"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_plan"(name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_plan"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_plan"(name text) IS 'Removes a plan that no tenant has; a shipped one gets its shipped times back [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_plan"(name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_plan"(name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_schema"(a1 text, a2 uuid, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_remove_schema"($1::text, $2::uuid) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_schema"(text, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_schema"(text, uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_schema"(schema_name text, tenant uuid) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_schema"($1, $2, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_schema"(schema_name text, tenant uuid) IS 'miosa_remove_schema() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_schema"(schema_name text, tenant uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_schema"(schema_name text, tenant uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_schema"(a1 text, a2 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_remove_schema"($1::text, $2::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_schema"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_schema"(text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_schema"(schema_name text, tenant_id text DEFAULT NULL::text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_schema"($1, $2, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_schema"(schema_name text, tenant_id text) IS 'Removes a schema; deployments that name it are not checked any more, and its reports stay [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_schema"(schema_name text, tenant_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_schema"(schema_name text, tenant_id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_secret"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_secret"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_secret"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_secret"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_secret"(name text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_secret"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_secret"(name text) IS 'Removes a secret that no endpoint or storage names [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_secret"(name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_secret"(name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_storage"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_storage"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_storage"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_storage"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_storage"(prefix text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_remove_storage"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_storage"(prefix text) IS 'Removes a storage; its artifacts are no longer verified, and their recorded state decides [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_storage"(prefix text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_storage"(prefix text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_tenant"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_tenant"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_tenant"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_tenant"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_tenant"(id text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_remove_tenant"($1, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_tenant"(id text) IS 'Removes a tenant without deployments; its audit events stay [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_tenant"(id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_tenant"(id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_remove_tenant"(a1 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_remove_tenant"($1::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_remove_tenant"(uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_remove_tenant"(uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_remove_tenant"(uuid uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_lacking text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_remove_tenant"($1, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			IF miosa_router.is_lacking(_state, _message) THEN
				_lacking := ARRAY[_each.number::text, _state, _message, _detail, _hint];
			ELSE
				_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
			END IF;
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	IF _done = '{}' AND _lacking <> '{}' THEN
		PERFORM miosa_router.pass_on(_lacking[1]::integer, _lacking[2], _lacking[3], _lacking[4], _lacking[5]);
	END IF;
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_remove_tenant"(uuid uuid) IS 'miosa_remove_tenant() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_remove_tenant"(uuid uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_remove_tenant"(uuid uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rename_deployment"(a1 uuid, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_rename_deployment"($1::uuid, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rename_deployment"(uuid, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rename_deployment"(uuid, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_rename_deployment"(deployment uuid, slug text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_claim jsonb := miosa_router.claim_slug($1::text, NULL::text, NULL, $2, NULL::jsonb, true, _shard);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_rename_deployment"($1, $2, $3, $4, _context, _shard));
	PERFORM miosa_router.confirm_slug(_claim, $1::text);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.release_slug(_claim, $1::text, _state, _message);
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rename_deployment"(deployment uuid, slug text, idempotency_key text, reason text) IS 'miosa_rename_deployment() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rename_deployment"(deployment uuid, slug text, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rename_deployment"(deployment uuid, slug text, idempotency_key text, reason text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rename_deployment"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_rename_deployment"($1::text, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rename_deployment"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rename_deployment"(text, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_rename_deployment"(deployment_id text, slug text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_claim jsonb := miosa_router.claim_slug($1::text, NULL::text, NULL, $2, NULL::jsonb, true, _shard);
	_result jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	_result := miosa_router.received(miosa_shard."miosa_rename_deployment"($1, $2, $3, $4, _context, _shard));
	PERFORM miosa_router.confirm_slug(_claim, $1::text);
	RETURN _result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.release_slug(_claim, $1::text, _state, _message);
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rename_deployment"(deployment_id text, slug text, idempotency_key text, reason text) IS 'Gives a deployment another slug; edges get its new managed host before they lose the old one [router]';
REVOKE ALL ON FUNCTION public."miosa_rename_deployment"(deployment_id text, slug text, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rename_deployment"(deployment_id text, slug text, idempotency_key text, reason text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_report"(a1 text, a2 timestamp with time zone, a3 timestamp with time zone, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT (CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_report"($1::text, $2::timestamp with time zone, $3::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_report"(text, timestamp with time zone, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_report"(text, timestamp with time zone, timestamp with time zone, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_report"(deployment_or_fleet text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate($1);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_report"($1, $2, $3, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_report"(deployment_or_fleet text, since timestamp with time zone, until timestamp with time zone) IS 'What happened to a deployment, or in a fleet, as one HTML page that needs nothing else [router]';
REVOKE ALL ON FUNCTION public."miosa_report"(deployment_or_fleet text, since timestamp with time zone, until timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_report"(deployment_or_fleet text, since timestamp with time zone, until timestamp with time zone) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_report_instance"(a1 uuid, a2 uuid, a3 uuid, a4 text, a5 text, a6 integer, a7 text, a8 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $10;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($9::text[]) THEN public."miosa_report_instance"($1::uuid, $2::uuid, $3::uuid, $4::text, $5::text, $6::integer, $7::text, $8::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_report_instance"(uuid, uuid, uuid, text, text, integer, text, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_report_instance"(uuid, uuid, uuid, text, text, integer, text, jsonb, text[], integer) TO miosa_agent;

CREATE OR REPLACE FUNCTION public."miosa_report_instance"(deployment uuid, id uuid, version_id uuid, state text, address text DEFAULT NULL::text, port integer DEFAULT NULL::integer, error_message text DEFAULT NULL::text, fields jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_report_instance"($1, $2, $3, $4, $5, $6, $7, $8, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_report_instance"(deployment uuid, id uuid, version_id uuid, state text, address text, port integer, error_message text, fields jsonb) IS 'miosa_report_instance() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_report_instance"(deployment uuid, id uuid, version_id uuid, state text, address text, port integer, error_message text, fields jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_report_instance"(deployment uuid, id uuid, version_id uuid, state text, address text, port integer, error_message text, fields jsonb) TO miosa_agent;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_report_instance"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 integer, a7 text, a8 jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $10;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($9::text[]) THEN public."miosa_report_instance"($1::text, $2::text, $3::text, $4::text, $5::text, $6::integer, $7::text, $8::jsonb) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_report_instance"(text, text, text, text, text, integer, text, jsonb, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_report_instance"(text, text, text, text, text, integer, text, jsonb, text[], integer) TO miosa_agent;

CREATE OR REPLACE FUNCTION public."miosa_report_instance"(deployment_id text, id text, version_id text, state text, address text DEFAULT NULL::text, port integer DEFAULT NULL::integer, error_message text DEFAULT NULL::text, fields jsonb DEFAULT '{}'::jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_report_instance"($1, $2, $3, $4, $5, $6, $7, $8, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_report_instance"(deployment_id text, id text, version_id text, state text, address text, port integer, error_message text, fields jsonb) IS 'Inserts or changes a running instance, also as its heartbeat [router]';
REVOKE ALL ON FUNCTION public."miosa_report_instance"(deployment_id text, id text, version_id text, state text, address text, port integer, error_message text, fields jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_report_instance"(deployment_id text, id text, version_id text, state text, address text, port integer, error_message text, fields jsonb) TO miosa_agent;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_report_schema"(a1 text, a2 bigint, a3 bigint, a4 timestamp with time zone, a5 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_report_schema"($1::text, $2::bigint, $3::bigint, $4::timestamp with time zone, $5::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_report_schema"(text, bigint, bigint, timestamp with time zone, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_report_schema"(text, bigint, bigint, timestamp with time zone, uuid, text[], integer) TO miosa_agent, miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_report_schema"($1, $2, $3, $4, $5, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant uuid) IS 'miosa_report_schema() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant uuid) TO miosa_agent, miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_report_schema"(a1 text, a2 bigint, a3 bigint, a4 timestamp with time zone, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_report_schema"($1::text, $2::bigint, $3::bigint, $4::timestamp with time zone, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_report_schema"(text, bigint, bigint, timestamp with time zone, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_report_schema"(text, bigint, bigint, timestamp with time zone, text, text[], integer) TO miosa_agent, miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint DEFAULT NULL::bigint, applied_at timestamp with time zone DEFAULT NULL::timestamp with time zone, tenant_id text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_report_schema"($1, $2, $3, $4, $5, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant_id text) IS 'Says which version of a schema is applied, and which code can work with it; called by migration tools [router]';
REVOKE ALL ON FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_report_schema"(schema_name text, version bigint, compatible_from bigint, applied_at timestamp with time zone, tenant_id text) TO miosa_agent, miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_resend"(a1 uuid, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_resend"($1::uuid) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_resend"(uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_resend"(uuid, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_resend"(deployment uuid) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	PERFORM miosa_shard."miosa_resend"($1, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_resend"(deployment uuid) IS 'miosa_resend() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_resend"(deployment uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_resend"(deployment uuid) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_resend"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_resend"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_resend"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_resend"(text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_resend"(deployment_id text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	PERFORM miosa_shard."miosa_resend"($1, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_resend"(deployment_id text) IS 'Sends the present route of a deployment to every endpoint again [router]';
REVOKE ALL ON FUNCTION public."miosa_resend"(deployment_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_resend"(deployment_id text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_reset_stats"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_reset_stats"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_reset_stats"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_reset_stats"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_reset_stats"(endpoint text DEFAULT NULL::text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_reset_stats"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON FUNCTION public."miosa_reset_stats"(endpoint text) IS 'Sets the counters of miosa.stat_endpoint and miosa.stat_dispatcher to zero [router]';
REVOKE ALL ON FUNCTION public."miosa_reset_stats"(endpoint text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_reset_stats"(endpoint text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_resume"(context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT (CASE WHEN miosa_shard.adopt($1::text[]) THEN public."miosa_resume"() END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_resume"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_resume"(text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_resume"() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_resume"(_context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_resume"() IS 'Resumes a paused dispatcher, and resynchronizes every endpoint; returns why it was paused [router]';
REVOKE ALL ON FUNCTION public."miosa_resume"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_resume"() TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_resync"(a1 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT (CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_resync"($1::text) END)::text;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_resync"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_resync"(text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_resync"(endpoint text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first text;
	_answer text;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_shard."miosa_resync"($1, _context, _each.number);
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON FUNCTION public."miosa_resync"(endpoint text) IS 'Resynchronizes an endpoint: sends it the present route of every deployment [router]';
REVOKE ALL ON FUNCTION public."miosa_resync"(endpoint text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_resync"(endpoint text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_revoke_tenant"(a1 text, a2 uuid, a3 text[], context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_revoke_tenant"($1::text, $2::uuid, $3::text[]) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_revoke_tenant"(text, uuid, text[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_revoke_tenant"(text, uuid, text[], text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_revoke_tenant"(role_name text, tenant uuid, scopes text[] DEFAULT NULL::text[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_revoke_tenant"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_revoke_tenant"(role_name text, tenant uuid, scopes text[]) IS 'miosa_revoke_tenant() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_revoke_tenant"(role_name text, tenant uuid, scopes text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_revoke_tenant"(role_name text, tenant uuid, scopes text[]) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_revoke_tenant"(a1 text, a2 text, a3 text[], context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_revoke_tenant"($1::text, $2::text, $3::text[]) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_revoke_tenant"(text, text, text[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_revoke_tenant"(text, text, text[], text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_revoke_tenant"(role_name text, tenant_id text, scopes text[] DEFAULT NULL::text[]) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_revoke_tenant"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_revoke_tenant"(role_name text, tenant_id text, scopes text[]) IS 'Takes scopes of a tenant from a role, all of them when none are given; returns what is left, null for nothing [router]';
REVOKE ALL ON FUNCTION public."miosa_revoke_tenant"(role_name text, tenant_id text, scopes text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_revoke_tenant"(role_name text, tenant_id text, scopes text[]) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 json, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::json, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(text, text, text, text, text, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(text, text, text, text, text, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type json; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(text, text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(text, text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type text; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 text, a2 text, a3 uuid, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(text, text, uuid, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(text, text, uuid, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 json, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::json, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type json, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid DEFAULT (NULL::text)::uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 text, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type text, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 uuid, a2 uuid, a3 uuid, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::uuid, $2::uuid, $3::uuid, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_rollback() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback"(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback"(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback"(deployment_id text, version_id text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'Makes an older version of a deployment active and delivers its route to every edge at commit [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE PROCEDURE public."miosa_rollback_fleet"(IN selector jsonb, IN served_at timestamp with time zone DEFAULT NULL::timestamp with time zone, IN idempotency_key text DEFAULT NULL::text, IN reason text DEFAULT NULL::text, IN attribution jsonb DEFAULT NULL::jsonb, IN cutover text DEFAULT NULL::text, IN accept_unverified boolean DEFAULT false, IN hold boolean DEFAULT NULL::boolean, IN hold_for interval DEFAULT NULL::interval, IN mark_bad boolean DEFAULT false, IN batch integer DEFAULT 500, INOUT result jsonb DEFAULT NULL::jsonb) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_fleet text;
	_more boolean;
	_unpaced integer := 0;
	_delivered boolean;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.split_selector($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_fleet := miosa_shard.fleet_begin(_each.selector, $2, NULL::text, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _each.number);
			_more := _fleet IS NOT NULL;
			WHILE _more LOOP
				_more := coalesce(miosa_shard.fleet_step(_fleet, $11, _context, _each.number), false);
				IF _unpaced > 0 THEN
					_unpaced := _unpaced - 1;
				ELSIF _more THEN
					LOOP
						_delivered := miosa_shard.fleet_pace(200000, _context, _each.number);
						EXIT WHEN _delivered IS NOT NULL;
					END LOOP;
					_unpaced := CASE WHEN _delivered THEN 0 ELSE 20 END;
				END IF;
			END LOOP;
			_answers := _answers || jsonb_build_object(_each.name, coalesce(miosa_shard.fleet_object(_fleet, _context, _each.number),
				'{"data": {"total": 0, "done": 0, "refused": 0, "fleet_id": null}}'));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	result := miosa_router.with_down(miosa_router.merge_fleet(_answers), _down);
END
$$;
COMMENT ON PROCEDURE public."miosa_rollback_fleet"(IN selector jsonb, IN served_at timestamp with time zone, IN idempotency_key text, IN reason text, IN attribution jsonb, IN cutover text, IN accept_unverified boolean, IN hold boolean, IN hold_for interval, IN mark_bad boolean, IN batch integer, INOUT result jsonb) IS 'Rolls all deployments that a selector matches back in batches that commit; a call with the same key continues where one was interrupted [router]';
REVOKE ALL ON PROCEDURE public."miosa_rollback_fleet"(IN selector jsonb, IN served_at timestamp with time zone, IN idempotency_key text, IN reason text, IN attribution jsonb, IN cutover text, IN accept_unverified boolean, IN hold boolean, IN hold_for interval, IN mark_bad boolean, IN batch integer, INOUT result jsonb) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE public."miosa_rollback_fleet"(IN selector jsonb, IN served_at timestamp with time zone, IN idempotency_key text, IN reason text, IN attribution jsonb, IN cutover text, IN accept_unverified boolean, IN hold boolean, IN hold_for interval, IN mark_bad boolean, IN batch integer, INOUT result jsonb) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_rollback_many"(a1 jsonb, a2 timestamp with time zone, a3 text, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_rollback_many"($1::jsonb, $2::timestamp with time zone, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_rollback_many"(jsonb, timestamp with time zone, text, text, text, jsonb, text, boolean, boolean, interval, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_rollback_many"(jsonb, timestamp with time zone, text, text, text, jsonb, text, boolean, boolean, interval, boolean, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_rollback_many"(selector jsonb, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone, mode text DEFAULT 'atomic'::text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_answers jsonb := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	PERFORM miosa_router.check_mode($1, $3, 'SELECT miosa_rollback_many', ARRAY['selector', $1::text, 'served_at', $2::text, 'mode', $3::text, 'idempotency_key', $4::text, 'reason', $5::text, 'attribution', $6::text, 'cutover', $7::text, 'accept_unverified', $8::text, 'hold', $9::text, 'hold_for', $10::text, 'mark_bad', $11::text]);
	FOR _each IN SELECT * FROM miosa_router.split_selector($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answers := _answers || jsonb_build_object(_each.name, miosa_router.received(miosa_shard."miosa_rollback_many"(_each.selector, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _each.number)));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	RETURN miosa_router.with_down(miosa_router.merge_fleet(_answers), _down);
END
$$;
COMMENT ON FUNCTION public."miosa_rollback_many"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean) IS 'Rolls all deployments that a selector matches back in one statement: all or none of them, or those that can be [router]';
REVOKE ALL ON FUNCTION public."miosa_rollback_many"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_rollback_many"(selector jsonb, served_at timestamp with time zone, mode text, idempotency_key text, reason text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_route"(a1 text, context text[], shard integer) RETURNS SETOF jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT f.* FROM (SELECT miosa_shard.adopt($2::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f.r FROM public."miosa_route"($1::text) f(r) WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_route"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_route"(text, text[], integer) TO miosa_edge, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_route"(host text) RETURNS SETOF jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.shards_of_host($1) s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT f.r FROM miosa_shard."miosa_route"($1, _context, _each.number) f (r);
			EXIT WHEN FOUND;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone('{}', _down);
END
$$;
COMMENT ON FUNCTION public."miosa_route"(host text) IS 'What an edge needs to serve a host now; no row for a host that is not routed [router]';
REVOKE ALL ON FUNCTION public."miosa_route"(host text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_route"(host text) TO miosa_edge, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_routes_since"(a1 bigint, a2 integer, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_routes_since"($1::bigint, $2::integer) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_routes_since"(bigint, integer, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_routes_since"(bigint, integer, text[], integer) TO miosa_edge, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_routes_since"(epoch bigint, "limit" integer DEFAULT 1000) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RAISE EXCEPTION '% is not there at a router', 'miosa_routes_since()' USING ERRCODE = 'feature_not_supported',
		DETAIL = 'Each shard counts its epochs by itself.', HINT = 'Pass an epoch for each shard, and go on with next_epochs: SELECT miosa_routes_since(epochs => ''{}'');';
END
$$;
COMMENT ON FUNCTION public."miosa_routes_since"(epoch bigint, "limit" integer) IS 'Route changes after an epoch, oldest first, for listeners that missed notifications [router]';
REVOKE ALL ON FUNCTION public."miosa_routes_since"(epoch bigint, "limit" integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_routes_since"(epoch bigint, "limit" integer) TO miosa_edge, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_schedule_maintenance"(context text[], shard integer) RETURNS SETOF text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f.r FROM public."miosa_schedule_maintenance"() f(r) WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_schedule_maintenance"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_schedule_maintenance"(text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_schedule_maintenance"() RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name || ': ' || f.r FROM miosa_shard."miosa_schedule_maintenance"(_context, _each.number) f (r);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone('{}', _down);
END
$$;
COMMENT ON FUNCTION public."miosa_schedule_maintenance"() IS 'Schedules miosa_maintain() and miosa_verify_artifacts() in pg_cron (1.4 or newer), every 5 minutes [router]';
REVOKE ALL ON FUNCTION public."miosa_schedule_maintenance"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_schedule_maintenance"() TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_set_deployment"(a1 text, a2 text, a3 integer, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_set_deployment"($1::text, $2::text, $3::integer, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_set_deployment"(text, text, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_set_deployment"(text, text, integer, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_set_deployment"(id text, state text DEFAULT NULL::text, desired_replicas integer DEFAULT NULL::integer, schema_name text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_set_deployment"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_set_deployment"(id text, state text, desired_replicas integer, schema_name text) IS 'Stops or starts a deployment, or changes how many instances it is to have, or which schema its versions work with [router]';
REVOKE ALL ON FUNCTION public."miosa_set_deployment"(id text, state text, desired_replicas integer, schema_name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_set_deployment"(id text, state text, desired_replicas integer, schema_name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_set_deployment"(a1 uuid, a2 text, a3 integer, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_set_deployment"($1::uuid, $2::text, $3::integer, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_set_deployment"(uuid, text, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_set_deployment"(uuid, text, integer, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_set_deployment"(uuid uuid, state text DEFAULT NULL::text, desired_replicas integer DEFAULT NULL::integer, schema_name text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_set_deployment"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_set_deployment"(uuid uuid, state text, desired_replicas integer, schema_name text) IS 'miosa_set_deployment() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_set_deployment"(uuid uuid, state text, desired_replicas integer, schema_name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_set_deployment"(uuid uuid, state text, desired_replicas integer, schema_name text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_set_endpoint"(a1 text, a2 boolean, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_set_endpoint"($1::text, $2::boolean, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_set_endpoint"(text, boolean, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_set_endpoint"(text, boolean, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_set_endpoint"(name text, enabled boolean, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_set_endpoint"($1, $2, $3, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_set_endpoint"(name text, enabled boolean, reason text) IS 'Enables or disables an endpoint, with a reason [router]';
REVOKE ALL ON FUNCTION public."miosa_set_endpoint"(name text, enabled boolean, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_set_endpoint"(name text, enabled boolean, reason text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_set_version_state"(a1 uuid, a2 uuid, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_set_version_state"($1::uuid, $2::uuid, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_set_version_state"(uuid, uuid, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_set_version_state"(uuid, uuid, text, text[], integer) TO miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_set_version_state"(deployment uuid, version_id uuid, state text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_set_version_state"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_set_version_state"(deployment uuid, version_id uuid, state text) IS 'miosa_set_version_state() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_set_version_state"(deployment uuid, version_id uuid, state text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_set_version_state"(deployment uuid, version_id uuid, state text) TO miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_set_version_state"(a1 text, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_set_version_state"($1::text, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_set_version_state"(text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_set_version_state"(text, text, text, text[], integer) TO miosa_deployer;

CREATE OR REPLACE FUNCTION public."miosa_set_version_state"(deployment_id text, version_id text, state text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_set_version_state"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_set_version_state"(deployment_id text, version_id text, state text) IS 'Moves a version to a state: created, building, ready, archived in this order, or failed [router]';
REVOKE ALL ON FUNCTION public."miosa_set_version_state"(deployment_id text, version_id text, state text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_set_version_state"(deployment_id text, version_id text, state text) TO miosa_deployer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_test_endpoint"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_test_endpoint"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_test_endpoint"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_test_endpoint"(text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_test_endpoint"(name text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_test_endpoint"($1, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_test_endpoint"(name text) IS 'Sends an endpoint, also a disabled one, a harmless request, and returns what the answer means [router]';
REVOKE ALL ON FUNCTION public."miosa_test_endpoint"(name text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_test_endpoint"(name text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_test_storage"(a1 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($2::text[]) THEN public."miosa_test_storage"($1::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_test_storage"(text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_test_storage"(text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_test_storage"(storage_uri text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_first jsonb;
	_answer jsonb;
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			_answer := miosa_router.received(miosa_shard."miosa_test_storage"($1, _context, _each.number));
			_first := coalesce(_first, _answer);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
	RETURN _first;
END
$$;
COMMENT ON FUNCTION public."miosa_test_storage"(storage_uri text) IS 'Asks storage for an artifact and for one that cannot exist, and returns whether its answers can be trusted [router]';
REVOKE ALL ON FUNCTION public."miosa_test_storage"(storage_uri text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_test_storage"(storage_uri text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_timeline"(a1 uuid, a2 timestamp with time zone, a3 timestamp with time zone, a4 integer, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT (CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_timeline"($1::uuid, $2::timestamp with time zone, $3::timestamp with time zone, $4::integer, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_timeline"(uuid, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_timeline"(uuid, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_timeline"(deployment uuid, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, "limit" integer DEFAULT 50, cursor text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_timeline"($1, $2, $3, $4, $5, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_timeline"(deployment uuid, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) IS 'miosa_timeline() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_timeline"(deployment uuid, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_timeline"(deployment uuid, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_timeline"(a1 text, a2 timestamp with time zone, a3 timestamp with time zone, a4 integer, a5 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT (CASE WHEN miosa_shard.adopt($6::text[]) THEN public."miosa_timeline"($1::text, $2::timestamp with time zone, $3::timestamp with time zone, $4::integer, $5::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_timeline"(text, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_timeline"(text, timestamp with time zone, timestamp with time zone, integer, text, text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_timeline"(deployment_id text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, until timestamp with time zone DEFAULT NULL::timestamp with time zone, "limit" integer DEFAULT 50, cursor text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_timeline"($1, $2, $3, $4, $5, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_timeline"(deployment_id text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) IS 'What happened to a deployment, or in a fleet, in order: {"data": [event...], "next_cursor"} [router]';
REVOKE ALL ON FUNCTION public."miosa_timeline"(deployment_id text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_timeline"(deployment_id text, since timestamp with time zone, until timestamp with time zone, "limit" integer, cursor text) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 json, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::json, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(text, text, text, text, text, json, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(text, text, text, text, text, json, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type json; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(text, text, text, text, text, text, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(text, text, text, text, text, text, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type text; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 text, a2 text, a3 uuid, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(text, text, uuid, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(text, text, uuid, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 json, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::json, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type json, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 text, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type text, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 uuid, a2 uuid, a3 uuid, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::uuid, $2::uuid, $3::uuid, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'miosa_try_promote() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_promote"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 boolean, a11 boolean, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $13;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($12::text[]) THEN public."miosa_try_promote"($1::text, $2::text, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::boolean, $11::boolean) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_promote"(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_promote"(text, text, text, text, text, jsonb, text, boolean, boolean, boolean, boolean, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_promote"(deployment_id text, version_id text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, automatic boolean DEFAULT NULL::boolean, accept_bad boolean DEFAULT false, break_glass boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_promote"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_promote"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) IS 'Calls miosa_promote, and returns and audits a refusal instead of raising it [router]';
REVOKE ALL ON FUNCTION public."miosa_try_promote"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_promote"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, automatic boolean, accept_bad boolean, break_glass boolean) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 json, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::json, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, text, text, text, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, text, text, text, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type json; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 text, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, text, text, text, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type text; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key text, reason text, expected_active text, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 text, a2 text, a3 uuid, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::text, $2::text, $3::uuid, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, uuid, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, uuid, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment text, version_id text, idempotency_key uuid, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 json, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::json, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, text, text, uuid, json, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type json, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution json, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, text, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid DEFAULT (NULL::text)::uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 uuid, a2 uuid, a3 text, a4 text, a5 uuid, a6 text, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::uuid, $2::uuid, $3::text, $4::text, $5::uuid, $6::text, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, text, text, uuid, text, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type text, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key text, reason text, expected_active uuid, attribution text, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 uuid, a2 uuid, a3 uuid, a4 text, a5 uuid, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::uuid, $2::uuid, $3::uuid, $4::text, $5::uuid, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(uuid, uuid, uuid, text, uuid, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'miosa_try_rollback() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment uuid, version_id uuid, idempotency_key uuid, reason text, expected_active uuid, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_try_rollback"(a1 text, a2 text, a3 text, a4 text, a5 text, a6 jsonb, a7 text, a8 boolean, a9 boolean, a10 interval, a11 boolean, a12 timestamp with time zone, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $14;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($13::text[]) THEN public."miosa_try_rollback"($1::text, $2::text, $3::text, $4::text, $5::text, $6::jsonb, $7::text, $8::boolean, $9::boolean, $10::interval, $11::boolean, $12::timestamp with time zone) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_try_rollback"(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamp with time zone, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_try_rollback"(deployment_id text, version_id text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text, attribution jsonb DEFAULT NULL::jsonb, cutover text DEFAULT NULL::text, accept_unverified boolean DEFAULT false, hold boolean DEFAULT NULL::boolean, hold_for interval DEFAULT NULL::interval, mark_bad boolean DEFAULT false, served_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_try_rollback"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_try_rollback"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) IS 'Calls miosa_rollback, and returns and audits a refusal instead of raising it [router]';
REVOKE ALL ON FUNCTION public."miosa_try_rollback"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_try_rollback"(deployment_id text, version_id text, idempotency_key text, reason text, expected_active text, attribution jsonb, cutover text, accept_unverified boolean, hold boolean, hold_for interval, mark_bad boolean, served_at timestamp with time zone) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_undo"(a1 uuid, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_undo"($1::uuid, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_undo"(uuid, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_undo"(uuid, text, text, text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_undo"(deployment uuid, operation_id text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_undo"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_undo"(deployment uuid, operation_id text, idempotency_key text, reason text) IS 'miosa_undo() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_undo"(deployment uuid, operation_id text, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_undo"(deployment uuid, operation_id text, idempotency_key text, reason text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_undo"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_undo"($1::text, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_undo"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_undo"(text, text, text, text, text[], integer) TO miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_undo"(deployment_id text, operation_id text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_undo"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_undo"(deployment_id text, operation_id text, idempotency_key text, reason text) IS 'Makes the version active again that was active before the newest operation, with its hold [router]';
REVOKE ALL ON FUNCTION public."miosa_undo"(deployment_id text, operation_id text, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_undo"(deployment_id text, operation_id text, idempotency_key text, reason text) TO miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_unpin_version"(a1 uuid, a2 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_unpin_version"($1::uuid, $2::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_unpin_version"(uuid, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_unpin_version"(uuid, uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_unpin_version"(deployment uuid, version_id uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_unpin_version"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_unpin_version"(deployment uuid, version_id uuid) IS 'miosa_unpin_version() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_unpin_version"(deployment uuid, version_id uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_unpin_version"(deployment uuid, version_id uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_unpin_version"(a1 text, a2 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_unpin_version"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_unpin_version"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_unpin_version"(text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_unpin_version"(deployment_id text, version_id text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_unpin_version"($1, $2, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_unpin_version"(deployment_id text, version_id text) IS 'Undoes miosa_pin_version; the version may be archived and collected again [router]';
REVOKE ALL ON FUNCTION public."miosa_unpin_version"(deployment_id text, version_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_unpin_version"(deployment_id text, version_id text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_unpublish"(a1 uuid, a2 text, a3 text, a4 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_unpublish"($1::uuid, $2::text, $3::text, $4::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_unpublish"(uuid, text, text, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_unpublish"(uuid, text, text, uuid, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_unpublish"(deployment uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active uuid DEFAULT (NULL::text)::uuid) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_unpublish"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_unpublish"(deployment uuid, idempotency_key text, reason text, expected_active uuid) IS 'miosa_unpublish() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_unpublish"(deployment uuid, idempotency_key text, reason text, expected_active uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_unpublish"(deployment uuid, idempotency_key text, reason text, expected_active uuid) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_unpublish"(a1 text, a2 text, a3 text, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_unpublish"($1::text, $2::text, $3::text, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_unpublish"(text, text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_unpublish"(text, text, text, text, text[], integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION public."miosa_unpublish"(deployment_id text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text, expected_active text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_unpublish"($1, $2, $3, $4, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_unpublish"(deployment_id text, idempotency_key text, reason text, expected_active text) IS 'Makes no version of a deployment active: edges are sent that nothing serves, and the state becomes stopped [router]';
REVOKE ALL ON FUNCTION public."miosa_unpublish"(deployment_id text, idempotency_key text, reason text, expected_active text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_unpublish"(deployment_id text, idempotency_key text, reason text, expected_active text) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_unwatch"(a1 uuid, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_unwatch"($1::uuid, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_unwatch"(uuid, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_unwatch"(uuid, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_unwatch"(deployment uuid, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_unwatch"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_unwatch"(deployment uuid, idempotency_key text, reason text) IS 'miosa_unwatch() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_unwatch"(deployment uuid, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_unwatch"(deployment uuid, idempotency_key text, reason text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_unwatch"(a1 text, a2 text, a3 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $5;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($4::text[]) THEN public."miosa_unwatch"($1::text, $2::text, $3::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_unwatch"(text, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_unwatch"(text, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_unwatch"(deployment_id text, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_unwatch"($1, $2, $3, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_unwatch"(deployment_id text, idempotency_key text, reason text) IS 'Ends the watch of a deployment: alerts about it only notify [router]';
REVOKE ALL ON FUNCTION public."miosa_unwatch"(deployment_id text, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_unwatch"(deployment_id text, idempotency_key text, reason text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE PROCEDURE public."miosa_verify_artifacts"(IN "limit" integer DEFAULT 1000) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_done text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			PERFORM miosa_router.verify_artifacts($1, _context, _each.number);
			_done := _done || _each.name;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.raise_undone(_done, _down);
END
$$;
COMMENT ON PROCEDURE public."miosa_verify_artifacts"(IN "limit" integer) IS 'Verifies the artifacts of rollback targets that were not verified lately [router]';
REVOKE ALL ON PROCEDURE public."miosa_verify_artifacts"(IN "limit" integer) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE public."miosa_verify_artifacts"(IN "limit" integer) TO miosa_admin;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_version"(a1 uuid, a2 uuid, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_version"($1::uuid, $2::uuid) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_version"(uuid, uuid, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_version"(uuid, uuid, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_version"(deployment uuid, version_id uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_version"($1, $2, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_version"(deployment uuid, version_id uuid) IS 'miosa_version() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_version"(deployment uuid, version_id uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_version"(deployment uuid, version_id uuid) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_version"(a1 text, a2 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_version"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_version"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_version"(text, text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_version"(deployment_id text, version_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_version"($1, $2, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_version"(deployment_id text, version_id text) IS 'A version of a deployment: {"data": version, "release": its release or null} [router]';
REVOKE ALL ON FUNCTION public."miosa_version"(deployment_id text, version_id text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_version"(deployment_id text, version_id text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_versions"(a1 uuid, a2 text, a3 integer, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT (CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_versions"($1::uuid, $2::text, $3::integer, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_versions"(uuid, text, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_versions"(uuid, text, integer, text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_versions"(deployment uuid, state text DEFAULT NULL::text, "limit" integer DEFAULT 20, cursor text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_versions"($1, $2, $3, $4, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_versions"(deployment uuid, state text, "limit" integer, cursor text) IS 'miosa_versions() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_versions"(deployment uuid, state text, "limit" integer, cursor text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_versions"(deployment uuid, state text, "limit" integer, cursor text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_versions"(a1 text, a2 text, a3 integer, a4 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $6;
	SELECT (CASE WHEN miosa_shard.adopt($5::text[]) THEN public."miosa_versions"($1::text, $2::text, $3::integer, $4::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_versions"(text, text, integer, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_versions"(text, text, integer, text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_versions"(deployment_id text, state text DEFAULT NULL::text, "limit" integer DEFAULT 20, cursor text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_versions"($1, $2, $3, $4, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_versions"(deployment_id text, state text, "limit" integer, cursor text) IS 'Versions of a deployment, highest number first: {"data": [version...], "next_cursor"} [router]';
REVOKE ALL ON FUNCTION public."miosa_versions"(deployment_id text, state text, "limit" integer, cursor text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_versions"(deployment_id text, state text, "limit" integer, cursor text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_wait_converged"(a1 text, a2 interval, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_wait_converged"($1::text, $2::interval) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_wait_converged"(text, interval, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_wait_converged"(text, interval, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_wait_converged"(deployment_or_operation text, timeout interval DEFAULT '00:00:05'::interval) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_operation($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_wait_converged"($1, $2, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_wait_converged"(deployment_or_operation text, timeout interval) IS 'Waits until a deployment has converged or timeout has passed; returns the state [router]';
REVOKE ALL ON FUNCTION public."miosa_wait_converged"(deployment_or_operation text, timeout interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_wait_converged"(deployment_or_operation text, timeout interval) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_wait_converged"(a1 text, a2 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_wait_converged"($1::text, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_wait_converged"(text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_wait_converged"(text, text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_wait_converged"(operation text, timeout text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_operation($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_wait_converged"($1, $2, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_wait_converged"(operation text, timeout text) IS 'miosa_wait_converged() for arguments of type text; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_wait_converged"(operation text, timeout text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_wait_converged"(operation text, timeout text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_wait_converged"(a1 uuid, a2 interval, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_wait_converged"($1::uuid, $2::interval) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_wait_converged"(uuid, interval, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_wait_converged"(uuid, interval, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_wait_converged"(operation uuid, timeout interval DEFAULT '00:00:05'::interval) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_operation($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_wait_converged"($1, $2, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_wait_converged"(operation uuid, timeout interval) IS 'miosa_wait_converged() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_wait_converged"(operation uuid, timeout interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_wait_converged"(operation uuid, timeout interval) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_wait_converged"(a1 uuid, a2 text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT (CASE WHEN miosa_shard.adopt($3::text[]) THEN public."miosa_wait_converged"($1::uuid, $2::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_wait_converged"(uuid, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_wait_converged"(uuid, text, text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION public."miosa_wait_converged"(operation uuid, timeout text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.locate_operation($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_shard."miosa_wait_converged"($1, $2, _context, _shard);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_wait_converged"(operation uuid, timeout text) IS 'miosa_wait_converged() for arguments of type text, uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_wait_converged"(operation uuid, timeout text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_wait_converged"(operation uuid, timeout text) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_watch"(a1 uuid, a2 interval, a3 text, a4 jsonb, a5 text, a6 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $8;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($7::text[]) THEN public."miosa_watch"($1::uuid, $2::interval, $3::text, $4::jsonb, $5::text, $6::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_watch"(uuid, interval, text, jsonb, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_watch"(uuid, interval, text, jsonb, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_watch"(deployment uuid, bake interval DEFAULT '00:15:00'::interval, on_alert text DEFAULT 'rollback'::text, alerts jsonb DEFAULT '{}'::jsonb, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_watch"($1, $2, $3, $4, $5, $6, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_watch"(deployment uuid, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) IS 'miosa_watch() for arguments of type uuid; calls the one with text [router]';
REVOKE ALL ON FUNCTION public."miosa_watch"(deployment uuid, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_watch"(deployment uuid, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."miosa_watch"(a1 text, a2 interval, a3 text, a4 jsonb, a5 text, a6 text, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $8;
	SELECT miosa_shard.answer(CASE WHEN miosa_shard.adopt($7::text[]) THEN public."miosa_watch"($1::text, $2::interval, $3::text, $4::jsonb, $5::text, $6::text) END);
$$;
REVOKE ALL ON FUNCTION miosa_shard."miosa_watch"(text, interval, text, jsonb, text, text, text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."miosa_watch"(text, interval, text, jsonb, text, text, text[], integer) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION public."miosa_watch"(deployment_id text, bake interval DEFAULT '00:15:00'::interval, on_alert text DEFAULT 'rollback'::text, alerts jsonb DEFAULT '{}'::jsonb, idempotency_key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_shard integer := miosa_router.shard_of($1::text);
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	RETURN miosa_router.received(miosa_shard."miosa_watch"($1, $2, $3, $4, $5, $6, _context, _shard));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.check_moved($1::text, _shard, _state);
	PERFORM miosa_router.pass_on(_shard, _state, _message, _detail, _hint);
END
$$;
COMMENT ON FUNCTION public."miosa_watch"(deployment_id text, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) IS 'Has alerts about a deployment roll it back, hold it or only notify, while its active version is younger than the bake time [router]';
REVOKE ALL ON FUNCTION public."miosa_watch"(deployment_id text, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public."miosa_watch"(deployment_id text, bake interval, on_alert text, alerts jsonb, idempotency_key text, reason text) TO miosa_deployer, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."view_collectable_artifacts"(context text[], number integer, OUT "storage_uri" text) RETURNS SETOF text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."storage_uri" FROM miosa."collectable_artifacts" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_collectable_artifacts"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_collectable_artifacts"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_collectable_artifacts"(OUT shard text, OUT "storage_uri" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_collectable_artifacts"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_collectable_artifacts"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_collectable_artifacts"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."collectable_artifacts" AS SELECT * FROM miosa_shard."all_collectable_artifacts"();
COMMENT ON VIEW miosa."collectable_artifacts" IS 'Artifacts of which all releases are due, or their deployments removed, of all shards';
GRANT SELECT ON TABLE miosa."collectable_artifacts" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_fleets"(context text[], number integer, OUT "fleet" text, OUT "total" bigint, OUT "done" bigint, OUT "refused" bigint, OUT "rate" text, OUT "remaining" text, OUT "converged" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."fleet", f."total", f."done", f."refused", f."rate", f."remaining", f."converged" FROM miosa."fleets" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_fleets"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_fleets"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_fleets"(OUT shard text, OUT "fleet" text, OUT "total" bigint, OUT "done" bigint, OUT "refused" bigint, OUT "rate" text, OUT "remaining" text, OUT "converged" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_fleets"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_fleets"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_fleets"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."fleets" AS SELECT * FROM miosa_shard."all_fleets"();
COMMENT ON VIEW miosa."fleets" IS E'Progress of the newest 20 fleets, for \\watch 1, of all shards';
GRANT SELECT ON TABLE miosa."fleets" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_foreign_grants"(context text[], number integer, OUT "kind" text, OUT "object" text, OUT "grantee" text, OUT "privilege" text, OUT "revoke" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."kind", f."object", f."grantee", f."privilege", f."revoke" FROM miosa."foreign_grants" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_foreign_grants"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_foreign_grants"(text[], integer) TO miosa_auditor, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."all_foreign_grants"(OUT shard text, OUT "kind" text, OUT "object" text, OUT "grantee" text, OUT "privilege" text, OUT "revoke" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_foreign_grants"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_foreign_grants"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_foreign_grants"() TO miosa_auditor, miosa_operator;

CREATE OR REPLACE VIEW miosa."foreign_grants" AS SELECT * FROM miosa_shard."all_foreign_grants"();
COMMENT ON VIEW miosa."foreign_grants" IS 'Rights on members of the extension that neither their owner nor the install script granted, of all shards';
GRANT SELECT ON TABLE miosa."foreign_grants" TO miosa_auditor, miosa_operator;

CREATE OR REPLACE FUNCTION miosa_shard."view_hosts"(context text[], number integer, OUT "host" text, OUT "deployment_id" text, OUT "managed" boolean) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."host", f."deployment_id", f."managed" FROM miosa."hosts" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_hosts"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_hosts"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_hosts"(OUT shard text, OUT "host" text, OUT "deployment_id" text, OUT "managed" boolean) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_hosts"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_hosts"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_hosts"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."hosts" AS SELECT * FROM miosa_shard."all_hosts"();
COMMENT ON VIEW miosa."hosts" IS 'Hosts that edges route: active domains and managed hosts, of all shards';
GRANT SELECT ON TABLE miosa."hosts" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_live_instances"(context text[], number integer, OUT "deployment_id" text, OUT "version_id" text, OUT "id" text, OUT "address" text, OUT "port" integer) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment_id", f."version_id", f."id", f."address", f."port" FROM miosa."live_instances" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_live_instances"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_live_instances"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_live_instances"(OUT shard text, OUT "deployment_id" text, OUT "version_id" text, OUT "id" text, OUT "address" text, OUT "port" integer) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_live_instances"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_live_instances"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_live_instances"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."live_instances" AS SELECT * FROM miosa_shard."all_live_instances"();
COMMENT ON VIEW miosa."live_instances" IS 'Instances that serve: healthy, with a heartbeat after miosa.heartbeat_horizon(), of all shards';
GRANT SELECT ON TABLE miosa."live_instances" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_metrics"(context text[], number integer, OUT "name" text, OUT "labels" jsonb, OUT "value" double precision, OUT "type" text, OUT "help" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."name", f."labels", f."value", f."type", f."help" FROM miosa."metrics" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_metrics"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_metrics"(text[], integer) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."all_metrics"(OUT shard text, OUT "name" text, OUT "labels" jsonb, OUT "value" double precision, OUT "type" text, OUT "help" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_metrics"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_metrics"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_metrics"() TO miosa_viewer, pg_monitor;

CREATE OR REPLACE VIEW miosa."metrics" AS SELECT * FROM miosa_shard."all_metrics"();
COMMENT ON VIEW miosa."metrics" IS 'Metrics for Prometheus and other monitoring, one row a sample; what is not known has no row, of all shards';
GRANT SELECT ON TABLE miosa."metrics" TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."view_open_freezes"(context text[], number integer, OUT "name" text, OUT "begins" text, OUT "ends" text, OUT "tenant" text, OUT "why" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."name", f."begins", f."ends", f."tenant", f."why" FROM miosa."open_freezes" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_open_freezes"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_open_freezes"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_open_freezes"(OUT shard text, OUT "name" text, OUT "begins" text, OUT "ends" text, OUT "tenant" text, OUT "why" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_open_freezes"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_open_freezes"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_open_freezes"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."open_freezes" AS SELECT * FROM miosa_shard."all_open_freezes"();
COMMENT ON VIEW miosa."open_freezes" IS 'Freezes that have not ended, for people, of all shards';
GRANT SELECT ON TABLE miosa."open_freezes" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_open_holds"(context text[], number integer, OUT "deployment" text, OUT "age" text, OUT "ends" text, OUT "held" bigint, OUT "waiting" text, OUT "why" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment", f."age", f."ends", f."held", f."waiting", f."why" FROM miosa."open_holds" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_open_holds"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_open_holds"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_open_holds"(OUT shard text, OUT "deployment" text, OUT "age" text, OUT "ends" text, OUT "held" bigint, OUT "waiting" text, OUT "why" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_open_holds"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_open_holds"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_open_holds"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."open_holds" AS SELECT * FROM miosa_shard."all_open_holds"();
COMMENT ON VIEW miosa."open_holds" IS 'Open holds, for people, the oldest first, of all shards';
GRANT SELECT ON TABLE miosa."open_holds" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_overdue"(context text[], number integer, OUT "id" text, OUT "version_id" text, OUT "serving_version_id" text, OUT "waits" interval, OUT "desired_replicas" integer, OUT "healthy" integer, OUT "starting" integer, OUT "asked_at" timestamp with time zone, OUT "last_error" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."id", f."version_id", f."serving_version_id", f."waits", f."desired_replicas", f."healthy", f."starting", f."asked_at", f."last_error" FROM miosa."overdue" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_overdue"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_overdue"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_overdue"(OUT shard text, OUT "id" text, OUT "version_id" text, OUT "serving_version_id" text, OUT "waits" interval, OUT "desired_replicas" integer, OUT "healthy" integer, OUT "starting" integer, OUT "asked_at" timestamp with time zone, OUT "last_error" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_overdue"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_overdue"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_overdue"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."overdue" AS SELECT * FROM miosa_shard."all_overdue"();
COMMENT ON VIEW miosa."overdue" IS 'Deployments whose active version has waited for longer than miosa_rollback.cutover_deadline and still has no healthy instance, of all shards';
GRANT SELECT ON TABLE miosa."overdue" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_overview"(context text[], number integer, OUT "wrong" text, OUT "since" text, OUT "next" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."wrong", f."since", f."next" FROM miosa."overview" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_overview"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_overview"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_overview"(OUT shard text, OUT "wrong" text, OUT "since" text, OUT "next" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_overview"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_overview"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_overview"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."overview" AS SELECT * FROM miosa_shard."all_overview"();
COMMENT ON VIEW miosa."overview" IS E'What needs somebody, for \\watch 2: one line a deployment, or one that says that all is well, of all shards';
GRANT SELECT ON TABLE miosa."overview" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_plans"(context text[], number integer, OUT "name" text, OUT "audit_retention" interval, OUT "idempotency_retention" interval, OUT "artifact_retention" interval, OUT "builtin" boolean) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."name", f."audit_retention", f."idempotency_retention", f."artifact_retention", f."builtin" FROM miosa."plans" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_plans"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_plans"(text[], integer) TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_plans"(OUT shard text, OUT "name" text, OUT "audit_retention" interval, OUT "idempotency_retention" interval, OUT "artifact_retention" interval, OUT "builtin" boolean) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_plans"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_plans"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_plans"() TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE VIEW miosa."plans" AS SELECT * FROM miosa_shard."all_plans"();
COMMENT ON VIEW miosa."plans" IS 'Plans of tenants: retention times; can be written like a table, of all shards';
GRANT SELECT ON TABLE miosa."plans" TO miosa_auditor, miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_progress"(context text[], number integer, OUT "operation" text, OUT "age" text, OUT "edges" text, OUT "slowest" text, OUT "last_error" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."operation", f."age", f."edges", f."slowest", f."last_error" FROM miosa."progress" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_progress"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_progress"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_progress"(OUT shard text, OUT "operation" text, OUT "age" text, OUT "edges" text, OUT "slowest" text, OUT "last_error" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_progress"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_progress"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_progress"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."progress" AS SELECT * FROM miosa_shard."all_progress"();
COMMENT ON VIEW miosa."progress" IS E'Progress of the newest route changes, for \\watch 1: deployments that changed in the last 10 minutes or have not converged, of all shards';
GRANT SELECT ON TABLE miosa."progress" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_release_keeping"(context text[], number integer, OUT "deployment_id" text, OUT "version_id" text, OUT "version_number" integer, OUT "release_id" text, OUT "tenant_id" text, OUT "storage_uri" text, OUT "sha256" text, OUT "size_bytes" bigint, OUT "kept_as" text, OUT "since" timestamp with time zone, OUT "expires_at" timestamp with time zone, OUT "due" boolean) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment_id", f."version_id", f."version_number", f."release_id", f."tenant_id", f."storage_uri", f."sha256", f."size_bytes", f."kept_as", f."since", f."expires_at", f."due" FROM miosa."release_keeping" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_release_keeping"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_release_keeping"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_release_keeping"(OUT shard text, OUT "deployment_id" text, OUT "version_id" text, OUT "version_number" integer, OUT "release_id" text, OUT "tenant_id" text, OUT "storage_uri" text, OUT "sha256" text, OUT "size_bytes" bigint, OUT "kept_as" text, OUT "since" timestamp with time zone, OUT "expires_at" timestamp with time zone, OUT "due" boolean) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_release_keeping"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_release_keeping"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_release_keeping"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."release_keeping" AS SELECT * FROM miosa_shard."all_release_keeping"();
COMMENT ON VIEW miosa."release_keeping" IS 'Releases whose artifact was not collected: why each is kept, or since when it is not, of all shards';
GRANT SELECT ON TABLE miosa."release_keeping" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_replica_sites"(context text[], number integer, OUT "name" text, OUT "site" text, OUT "epoch" bigint, OUT "epochs_behind" bigint, OUT "edges" integer, OUT "behind" integer, OUT "failures" bigint, OUT "failed" text[], OUT "heard_at" timestamp with time zone, OUT "silent" boolean) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."name", f."site", f."epoch", f."epochs_behind", f."edges", f."behind", f."failures", f."failed", f."heard_at", f."silent" FROM miosa."replica_sites" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_replica_sites"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_replica_sites"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_replica_sites"(OUT shard text, OUT "name" text, OUT "site" text, OUT "epoch" bigint, OUT "epochs_behind" bigint, OUT "edges" integer, OUT "behind" integer, OUT "failures" bigint, OUT "failed" text[], OUT "heard_at" timestamp with time zone, OUT "silent" boolean) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_replica_sites"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_replica_sites"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_replica_sites"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."replica_sites" AS SELECT * FROM miosa_shard."all_replica_sites"();
COMMENT ON VIEW miosa."replica_sites" IS 'At the primary site: replicas that have edges, and how far they are, of all shards';
GRANT SELECT ON TABLE miosa."replica_sites" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_routes"(context text[], number integer, OUT "deployment_id" text, OUT "tenant_id" text, OUT "version_id" text, OUT "version_number" integer, OUT "kind" text, OUT "release_id" text, OUT "storage_uri" text, OUT "sha256" text, OUT "seq" bigint, OUT "route_seq" bigint, OUT "route_ttl" interval, OUT "state" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment_id", f."tenant_id", f."version_id", f."version_number", f."kind", f."release_id", f."storage_uri", f."sha256", f."seq", f."route_seq", f."route_ttl", f."state" FROM miosa."routes" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_routes"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_routes"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_routes"(OUT shard text, OUT "deployment_id" text, OUT "tenant_id" text, OUT "version_id" text, OUT "version_number" integer, OUT "kind" text, OUT "release_id" text, OUT "storage_uri" text, OUT "sha256" text, OUT "seq" bigint, OUT "route_seq" bigint, OUT "route_ttl" interval, OUT "state" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_routes"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_routes"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_routes"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."routes" AS SELECT * FROM miosa_shard."all_routes"();
COMMENT ON VIEW miosa."routes" IS 'The present route of every deployment, of all shards';
GRANT SELECT ON TABLE miosa."routes" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_scarcely_restorable"(context text[], number integer, OUT "deployment_id" text, OUT "tenant_id" text, OUT "active_version_id" text, OUT "restorable" integer) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."deployment_id", f."tenant_id", f."active_version_id", f."restorable" FROM miosa."scarcely_restorable" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_scarcely_restorable"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_scarcely_restorable"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_scarcely_restorable"(OUT shard text, OUT "deployment_id" text, OUT "tenant_id" text, OUT "active_version_id" text, OUT "restorable" integer) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_scarcely_restorable"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_scarcely_restorable"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_scarcely_restorable"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."scarcely_restorable" AS SELECT * FROM miosa_shard."all_scarcely_restorable"();
COMMENT ON VIEW miosa."scarcely_restorable" IS 'Deployments with an active version and fewer than two others to roll back to: ready, not marked as bad, with an artifact that was neither collected nor found missing, of all shards';
GRANT SELECT ON TABLE miosa."scarcely_restorable" TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."view_stat_dispatcher"(context text[], number integer, OUT "state" text, OUT "pid" integer, OUT "since" timestamp with time zone, OUT "term" bigint, OUT "epoch" bigint, OUT "passes" bigint, OUT "sent" bigint, OUT "succeeded" bigint, OUT "failed" bigint, OUT "retried" bigint, OUT "in_flight" bigint, OUT "pending" bigint, OUT "oldest_undelivered" timestamp with time zone, OUT "notified" bigint, OUT "errors" bigint, OUT "paused" text, OUT "last_pass_at" timestamp with time zone, OUT "stalled" boolean, OUT "error" text, OUT "refusals_dropped" bigint, OUT "unmeasured" bigint) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."state", f."pid", f."since", f."term", f."epoch", f."passes", f."sent", f."succeeded", f."failed", f."retried", f."in_flight", f."pending", f."oldest_undelivered", f."notified", f."errors", f."paused", f."last_pass_at", f."stalled", f."error", f."refusals_dropped", f."unmeasured" FROM miosa."stat_dispatcher" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_stat_dispatcher"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_stat_dispatcher"(text[], integer) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."all_stat_dispatcher"(OUT shard text, OUT "state" text, OUT "pid" integer, OUT "since" timestamp with time zone, OUT "term" bigint, OUT "epoch" bigint, OUT "passes" bigint, OUT "sent" bigint, OUT "succeeded" bigint, OUT "failed" bigint, OUT "retried" bigint, OUT "in_flight" bigint, OUT "pending" bigint, OUT "oldest_undelivered" timestamp with time zone, OUT "notified" bigint, OUT "errors" bigint, OUT "paused" text, OUT "last_pass_at" timestamp with time zone, OUT "stalled" boolean, OUT "error" text, OUT "refusals_dropped" bigint, OUT "unmeasured" bigint) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_stat_dispatcher"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_stat_dispatcher"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_stat_dispatcher"() TO miosa_viewer, pg_monitor;

CREATE OR REPLACE VIEW miosa."stat_dispatcher" AS SELECT * FROM miosa_shard."all_stat_dispatcher"();
COMMENT ON VIEW miosa."stat_dispatcher" IS 'State and statistics of the dispatcher of this database; one row, of all shards';
GRANT SELECT ON TABLE miosa."stat_dispatcher" TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."view_stat_endpoint"(context text[], number integer, OUT "name" text, OUT "zone" text, OUT "stage" integer, OUT "adapter" text, OUT "enabled" boolean, OUT "state" text, OUT "breaker" text, OUT "epochs_behind" bigint, OUT "undelivered_since" timestamp with time zone, OUT "p50_ms" numeric, OUT "p95_ms" numeric, OUT "p99_ms" numeric, OUT "sent" bigint, OUT "succeeded" bigint, OUT "failed" bigint, OUT "retried" bigint, OUT "last_status" integer, OUT "last_error" text, OUT "last_error_at" timestamp with time zone, OUT "last_success_at" timestamp with time zone, OUT "next_try_at" timestamp with time zone) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."name", f."zone", f."stage", f."adapter", f."enabled", f."state", f."breaker", f."epochs_behind", f."undelivered_since", f."p50_ms", f."p95_ms", f."p99_ms", f."sent", f."succeeded", f."failed", f."retried", f."last_status", f."last_error", f."last_error_at", f."last_success_at", f."next_try_at" FROM miosa."stat_endpoint" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_stat_endpoint"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_stat_endpoint"(text[], integer) TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."all_stat_endpoint"(OUT shard text, OUT "name" text, OUT "zone" text, OUT "stage" integer, OUT "adapter" text, OUT "enabled" boolean, OUT "state" text, OUT "breaker" text, OUT "epochs_behind" bigint, OUT "undelivered_since" timestamp with time zone, OUT "p50_ms" numeric, OUT "p95_ms" numeric, OUT "p99_ms" numeric, OUT "sent" bigint, OUT "succeeded" bigint, OUT "failed" bigint, OUT "retried" bigint, OUT "last_status" integer, OUT "last_error" text, OUT "last_error_at" timestamp with time zone, OUT "last_success_at" timestamp with time zone, OUT "next_try_at" timestamp with time zone) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_stat_endpoint"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_stat_endpoint"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_stat_endpoint"() TO miosa_viewer, pg_monitor;

CREATE OR REPLACE VIEW miosa."stat_endpoint" AS SELECT * FROM miosa_shard."all_stat_endpoint"();
COMMENT ON VIEW miosa."stat_endpoint" IS 'State and statistics of every endpoint; counters begin when it is added or enabled, the dispatcher starts or miosa_reset_stats() is called, of all shards';
GRANT SELECT ON TABLE miosa."stat_endpoint" TO miosa_viewer, pg_monitor;

CREATE OR REPLACE FUNCTION miosa_shard."view_wall"(context text[], number integer, OUT "zone" text, OUT "edges" text, OUT "worst" text, OUT "since" text, OUT "state" text) RETURNS SETOF record LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT f.* FROM (SELECT miosa_shard.adopt($1::text[]) AS ok OFFSET 0) a, LATERAL (SELECT f."zone", f."edges", f."worst", f."since", f."state" FROM miosa."wall" f WHERE a.ok OFFSET 0) f;
$$;
REVOKE ALL ON FUNCTION miosa_shard."view_wall"(text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."view_wall"(text[], integer) TO miosa_viewer;

CREATE OR REPLACE FUNCTION miosa_shard."all_wall"(OUT shard text, OUT "zone" text, OUT "edges" text, OUT "worst" text, OUT "since" text, OUT "state" text) RETURNS SETOF record LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
	_each record;
	_down text[] := '{}';
	_context text[] := miosa_router.context();
	_state text;
	_message text;
	_detail text;
	_hint text;
BEGIN
	FOR _each IN SELECT * FROM miosa_router.all_shards() s LOOP
		BEGIN
			PERFORM miosa_router.check_on(_each.number);
			RETURN QUERY SELECT _each.name, f.* FROM miosa_shard."view_wall"(_context, _each.number) f;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
			_down := _down || miosa_router.note_down(_each.number, _state, _message, _detail, _hint);
		END;
	END LOOP;
	PERFORM miosa_router.warn_down(_down);
END
$$;
REVOKE ALL ON FUNCTION miosa_shard."all_wall"() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard."all_wall"() TO miosa_viewer;

CREATE OR REPLACE VIEW miosa."wall" AS SELECT * FROM miosa_shard."all_wall"();
COMMENT ON VIEW miosa."wall" IS E'Edges by zone, for \\watch 2: how many have every change, and the worst of them; the zone with the most trouble first, of all shards';
GRANT SELECT ON TABLE miosa."wall" TO miosa_viewer;

COMMIT;
