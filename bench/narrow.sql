-- What a user would write without the extension: tables with the columns that
-- a rollback needs, and a function with the checks that come to mind. The same
-- :deployments deployments of three versions as load.sql's, and the key
-- "replay" of the first 1000.
CREATE SCHEMA narrow;

CREATE TABLE narrow.deployments (
	id text PRIMARY KEY,
	active_version text NOT NULL,
	seq bigint NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

CREATE TABLE narrow.versions (
	deployment_id text REFERENCES narrow.deployments,
	id text,
	state text NOT NULL,
	sha256 text,
	collected_at timestamptz,
	PRIMARY KEY (deployment_id, id)
);

CREATE TABLE narrow.audit (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	deployment_id text NOT NULL,
	action text NOT NULL,
	from_version text,
	to_version text,
	actor text NOT NULL,
	key text,
	reason text,
	created_at timestamptz NOT NULL
);
CREATE INDEX audit_deployment ON narrow.audit (deployment_id, created_at);

CREATE TABLE narrow.keys (
	deployment_id text,
	key text,
	version text NOT NULL,
	response jsonb NOT NULL,
	created_at timestamptz NOT NULL,
	PRIMARY KEY (deployment_id, key)
);
-- By which keys that are too old are deleted.
CREATE INDEX keys_created ON narrow.keys (created_at);

-- What is left to be delivered, for who does without NOTIFY.
CREATE TABLE narrow.outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	deployment_id text NOT NULL,
	version text NOT NULL,
	created_at timestamptz NOT NULL
);

CREATE FUNCTION narrow.rollback(deployment text, target text, idempotency_key text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	stored narrow.keys;
	found_version narrow.versions;
	previous text;
	answer jsonb;
	at timestamptz := clock_timestamp();
BEGIN
	SELECT * INTO stored FROM narrow.keys k WHERE k.deployment_id = deployment AND k.key = idempotency_key;
	IF FOUND THEN
		IF stored.version <> target THEN
			RAISE EXCEPTION 'key % was used for another request', idempotency_key;
		END IF;
		RETURN stored.response;
	END IF;
	SELECT d.active_version INTO previous FROM narrow.deployments d WHERE d.id = deployment FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'deployment % does not exist', deployment;
	END IF;
	-- Another call may have had the key while the lock was waited for.
	SELECT * INTO stored FROM narrow.keys k WHERE k.deployment_id = deployment AND k.key = idempotency_key;
	IF FOUND THEN
		RETURN stored.response;
	END IF;
	SELECT * INTO found_version FROM narrow.versions v WHERE v.deployment_id = deployment AND v.id = target;
	IF NOT FOUND OR found_version.state <> 'ready' OR found_version.collected_at IS NOT NULL THEN
		RAISE EXCEPTION 'version % cannot be restored', target;
	END IF;
	UPDATE narrow.deployments d SET active_version = target, seq = d.seq + 1, updated_at = at WHERE d.id = deployment;
	answer := jsonb_build_object('deployment', deployment, 'active', target, 'previous', previous);
	INSERT INTO narrow.audit (deployment_id, action, from_version, to_version, actor, key, created_at)
		VALUES (deployment, 'rollback', previous, target, session_user, idempotency_key, at);
	INSERT INTO narrow.keys (deployment_id, key, version, response, created_at)
		VALUES (deployment, idempotency_key, target, answer, at);
	PERFORM pg_notify('narrow_route', json_build_object('deployment_id', deployment, 'version_id', target)::text);
	RETURN answer;
END $$;

SET synchronous_commit = off;
INSERT INTO narrow.deployments (id, active_version) SELECT d, '1' FROM generate_series(0, :deployments - 1) d;
INSERT INTO narrow.versions (deployment_id, id, state, sha256)
	SELECT d, v, 'ready', repeat(v::text, 64)
	FROM generate_series(0, :deployments - 1) d, generate_series(1, 3) v;
SELECT count(narrow.rollback(d::text, '2', 'replay'))
	FROM generate_series(0, least(:deployments, 1000) - 1) d \g /dev/null
