-- Object storage: where artifacts are verified, and with which secret.

-- A prefix that names a bucket ends with a slash: "s3://shop" would be that
-- of "s3://shop-private/..." as well.
--
-- Completes a bucket's name with a slash and takes those off at the end of the
-- endpoint. Raises INVALID_ARGUMENT.
CREATE FUNCTION miosa.storages_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	hint CONSTANT text := 'SELECT miosa_put_secret(''s3'', ''KEYID:SECRET''); SELECT miosa_put_storage(''s3://'', ''https://s3.eu-central-1.amazonaws.com'', ''eu-central-1'', secret => ''s3'');';
	host text;
	problem text;
BEGIN
	NEW.prefix := regexp_replace(NEW.prefix, '^(s3://[^/]+)$', E'\\1/');
	NEW.endpoint := regexp_replace(NEW.endpoint, '/+$', '');
	IF coalesce(NEW.prefix, '') !~ '^s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.*)?$' THEN
		PERFORM miosa.refuse_value('column', 'prefix', NEW.prefix, NULL,
			'Name all of S3, ''s3://'', or a bucket, ''s3://bucket/'', or a part of it, ''s3://bucket/releases/''.');
	END IF;
	PERFORM miosa.check_url(NEW.endpoint);
	host := substring(NEW.endpoint FROM '^https?://([^/]*)');
	IF coalesce(NEW.region, '') !~ '^[a-z0-9-]{1,63}$' THEN
		PERFORM miosa.refuse_value('column', 'region', NEW.region, 'A region has 1 to 63 characters of a-z 0-9 -.', hint);
	ELSIF coalesce(NEW.addressing, '') NOT IN ('path', 'virtual') THEN
		PERFORM miosa.refuse_value('column', 'addressing', NEW.addressing, 'Valid values are "path" and "virtual".', hint);
	END IF;
	problem := CASE
		WHEN NEW.addressing = 'virtual' AND host ~ E'^([0-9.]+|\\[.*)(:|$)' THEN 'The bucket cannot be part of a host that is an address.'
		WHEN substr(NEW.endpoint, length(substring(NEW.endpoint FROM '^https?://[^/]*')) + 1) !~ '^[A-Za-z0-9._~/-]*$'
			THEN 'The path of the endpoint has characters that cannot be signed.'
	END;
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid storage', problem, hint);
	END IF;
	IF TG_OP = 'UPDATE' THEN
		NEW.updated_at := now();
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.storages_check() IS 'Trigger: refuses a storage whose row is incomplete or contradicts itself';
CREATE TRIGGER storages_check BEFORE INSERT OR UPDATE ON miosa.storages
	FOR EACH ROW EXECUTE FUNCTION miosa.storages_check();

-- A storage that is added binds its secret like an endpoint.
CREATE FUNCTION miosa.storages_bind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.bind_secret(NEW.secret, NULL, NEW.endpoint, NULL);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.storages_bind() IS 'Trigger: binds a secret to the first storage that names it';
CREATE TRIGGER storages_bind AFTER INSERT OR UPDATE OF secret, endpoint ON miosa.storages
	FOR EACH ROW EXECUTE FUNCTION miosa.storages_bind();

-- Check the secret, and upsert the row.
CREATE FUNCTION @extschema@.miosa_put_storage(
	prefix text, endpoint text,
	region text DEFAULT 'us-east-1',
	addressing text DEFAULT 'path',
	secret text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	IF NOT EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_storage.secret
			AND miosa.read_secret(miosa.reveal(s.value)) ~ '^[^:]+:[^:]+(:[^:]+)?$')
		AND miosa_put_storage.secret IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" cannot be used', miosa_put_storage.secret),
			coalesce((SELECT format('Secret "%s": %s.', s.name, miosa.secret_problem(miosa.reveal(s.value)))
					FROM miosa.secrets s WHERE s.name = miosa_put_storage.secret AND miosa.secret_problem(miosa.reveal(s.value)) IS NOT NULL),
				'A storage names a secret in miosa.secrets, of the form KEYID:SECRET or KEYID:SECRET:TOKEN.'),
			format('SELECT miosa_put_secret(%L, ''KEYID:SECRET'');', miosa_put_storage.secret));
	END IF;
	PERFORM miosa.check_secret_use(miosa_put_storage.secret, miosa_put_storage.endpoint, NULL)
		WHERE miosa_put_storage.secret IS NOT NULL;
	INSERT INTO miosa.storages AS s (prefix, endpoint, region, addressing, secret)
		VALUES (miosa_put_storage.prefix, miosa_put_storage.endpoint, miosa_put_storage.region,
			miosa_put_storage.addressing, miosa_put_storage.secret)
		ON CONFLICT (prefix) DO UPDATE SET endpoint = excluded.endpoint, region = excluded.region,
			addressing = excluded.addressing, secret = excluded.secret
		RETURNING to_jsonb(s) INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_storage(text, text, text, text, text) IS 'Adds or changes a storage: the service where s3:// artifacts below a prefix are verified';

-- Delete a storage.
CREATE FUNCTION @extschema@.miosa_remove_storage(prefix text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	DELETE FROM miosa.storages s
		WHERE s.prefix IN (miosa_remove_storage.prefix, miosa_remove_storage.prefix || '/');
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('storage "%s" does not exist', miosa_remove_storage.prefix),
			coalesce((SELECT 'Storages are: ' || string_agg(s.prefix, ', ' ORDER BY s.prefix) || '.' FROM miosa.storages s),
				'There is no storage.'),
			'See them with SELECT prefix, endpoint, region, addressing, secret FROM miosa.storages;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_storage(text) IS 'Removes a storage; its artifacts are no longer verified, and their recorded state decides';

-- Ask storage from C.
CREATE FUNCTION @extschema@.miosa_test_storage(storage_uri text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_test_storage';
COMMENT ON FUNCTION @extschema@.miosa_test_storage(text) IS 'Asks storage for an artifact and for one that cannot exist, and returns whether its answers can be trusted';

-- Few at any time, so that doctors need not look through all releases.
CREATE INDEX releases_missing ON miosa.releases (deployment_id) WHERE missing_at IS NOT NULL;

-- Storage is asked about default targets again and again, so an old time of
-- missing_at belongs to a version that is no target any more.
CREATE FUNCTION miosa.missing_artifacts(OUT deployment_id text, OUT version_number integer)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT r.deployment_id, v.version_number
	FROM miosa.releases r
	JOIN miosa.versions v ON v.deployment_id = r.deployment_id AND v.id = r.deployment_version_id
	WHERE r.missing_at > now() - greatest('1 day'::interval,
			2 * current_setting('miosa_rollback.artifact_max_age', true)::interval)
		AND r.collected_at IS NULL AND v.state = 'ready';
END $$;
COMMENT ON FUNCTION miosa.missing_artifacts() IS 'Versions that could be rolled back to, had storage not lost their artifacts';

-- Verifying what a rollback would go to, before it is needed.  The dispatcher
-- does this all the time; here is the same for people and for pg_cron.

-- after: the last deployment that was looked at, in the order of ids; begin
-- with the empty text. next: where to go on; null when there are no more.
CREATE FUNCTION miosa.due_artifacts(after text, OUT next text, OUT deployment_ids text[], OUT release_ids text[])
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_due_artifacts';
COMMENT ON FUNCTION miosa.due_artifacts(text) IS 'Releases of rollback targets that were not verified within half of miosa_rollback.artifact_max_age, of the next deployments';

-- Null for a release that is not there or was collected.
CREATE FUNCTION miosa.verify_artifact(deployment_id text, release_id text) RETURNS text
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_verify_artifact';
COMMENT ON FUNCTION miosa.verify_artifact(text, text) IS 'Asks storage for the artifact of a release and records the answer: present, gone, unknown (nothing is recorded) or not asked (no storage is set up for it)';

-- Not with the owner's rights, because such a procedure could not commit.  It
-- begins anywhere: with more than it may do, what storage cannot say about
-- must not always come first.
CREATE PROCEDURE @extschema@.miosa_verify_artifacts("limit" integer DEFAULT 1000)
LANGUAGE plpgsql AS $$
DECLARE
	start pg_catalog.text;
	page pg_catalog.record;
	position pg_catalog.text;
	wrapped pg_catalog.bool := false;
	asked pg_catalog.int4 := 0;
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_limit("limit", 1000000);
	start := miosa.some_deployment();
	position := start;
	LOOP
		SELECT * INTO page FROM miosa.due_artifacts(position) d;
		FOR i IN 1 .. pg_catalog.cardinality(page.release_ids) LOOP
			EXIT WHEN asked OPERATOR(pg_catalog.>=) "limit";
			COMMIT;
			PERFORM miosa.verify_artifact(page.deployment_ids[i], page.release_ids[i]);
			asked := asked OPERATOR(pg_catalog.+) 1;
		END LOOP;
		COMMIT;
		EXIT WHEN asked OPERATOR(pg_catalog.>=) "limit"
			OR (wrapped AND (page.next IS NULL OR page.next COLLATE pg_catalog."C" OPERATOR(pg_catalog.>=) start));
		wrapped := wrapped OR page.next IS NULL;
		position := coalesce(page.next, '');
	END LOOP;
END $$;
COMMENT ON PROCEDURE @extschema@.miosa_verify_artifacts(integer) IS 'Verifies the artifacts of rollback targets that were not verified lately';

-- Choose a deployment at random by index.
CREATE FUNCTION miosa.some_deployment() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN coalesce((
		SELECT p.id FROM miosa.deployments p TABLESAMPLE system ((
			SELECT 100.0 / greatest(c.relpages, 1) FROM pg_class c WHERE c.oid = 'miosa.deployments'::regclass))
		LIMIT 1), '');
END $$;
COMMENT ON FUNCTION miosa.some_deployment() IS 'Id of a randomly chosen deployment; empty when there is none';
