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
