-- Upserts: how a control plane or CI writes the platform's objects.
--
-- Every function may be called again: the same call twice gives the same
-- result, raises nothing and changes no route.  Fields that are not given stay
-- as they are.  What has no argument of its own goes into fields, an object in
-- the platform's shape; keys that we do not know are accepted and ignored,
-- because the platform's objects have more fields than these tables.

-- Helpers.

-- For a procedure and what it calls: entry_points.sql does this for functions.
CREATE FUNCTION miosa.require_primary() RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_require_primary';
COMMENT ON FUNCTION miosa.require_primary() IS 'Raises NOT_PRIMARY on a standby';

-- Refuse the name of a deployment that does not exist.
CREATE FUNCTION miosa.no_deployment(id text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_no_deployment';
COMMENT ON FUNCTION miosa.no_deployment(text) IS 'Raises DEPLOYMENT_NOT_FOUND for this id or name';

-- Refuse the name of a version that does not exist.
CREATE FUNCTION miosa.no_version(deployment_id text, id text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_no_version';
COMMENT ON FUNCTION miosa.no_version(text, text) IS 'Raises VERSION_NOT_FOUND for this id or number of a version';

-- Check a word against the words that are allowed.
CREATE FUNCTION miosa.check_word(value text, what text, words text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF value IS NULL OR value <> ALL (words) THEN
		PERFORM miosa.refuse_value('argument', what, value, NULL,
			format('Use one of: %s.', array_to_string(words, ', ')));
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_word(text, text, text[]) IS 'The value if it is one of the words, else INVALID_ARGUMENT; what names the argument';

-- Check a slug.
CREATE FUNCTION miosa.check_slug(value text, what text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF value IS NULL OR value !~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
		PERFORM miosa.refuse_value('argument', what, value, NULL,
			'A slug is part of a host name: 1 to 63 of a-z, 0-9 and -, no - at either end.');
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_slug(text, text) IS 'The value if it can be part of a host name, else INVALID_ARGUMENT; what names the argument';

-- The key of an s3:// URI is any text, written as it is.
CREATE FUNCTION miosa.check_uri(value text, what text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'A URI begins with its scheme (s3://bucket/key); only keys in S3 may have spaces.';
BEGIN
	IF value COLLATE "C" !~* '^(s3://[a-z0-9].*|(?!s3://)[a-z][a-z0-9+.-]*:[^[:space:][:cntrl:]]+)$' THEN
		PERFORM miosa.refuse_value('argument', what, miosa.mask_uri(value), NULL, hint);
	ELSIF length(value) > 4096 THEN
		PERFORM miosa.refuse_length(what, length(value), 'characters', 4096, hint);
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_uri(text, text) IS 'The value if it is null or looks like a URI, else INVALID_ARGUMENT; what names the argument';

-- Host names are compared in lower case, without the dot that ends a name and
-- without a port.
CREATE FUNCTION miosa.clean_host(host text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN lower(regexp_replace(regexp_replace(host, ':[0-9]+$', ''), E'\\.$', '') COLLATE "C");
COMMENT ON FUNCTION miosa.clean_host(text) IS 'A host name as it is stored: lower case, no final dot, no port';

-- A message of the server as our condition: what a constraint or an input
-- function refused is the caller's argument.
CREATE FUNCTION miosa.refuse_row(what text, message text, detail text, field text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	checked text := substring(field FROM '^(?:tenants|deployments|versions|releases|runtime_instances|domains)_(.*)_check$');
	-- The name of such a constraint is its rule; that of times is about several.
	rule text[] := regexp_match(field, E'^(?!times )(\\w+) (must be .*)$');
	bad text := CASE WHEN rule IS NOT NULL THEN rule[1] WHEN checked IS NOT NULL THEN checked
		WHEN what = 'fields' THEN field END;
BEGIN
	PERFORM miosa.raise_condition('INVALID_ARGUMENT',
		CASE WHEN bad IS NULL THEN format('invalid %s', what) ELSE format('invalid value for field "%s"', bad) END,
		CASE WHEN rule IS NOT NULL THEN format('The field %s.', rule[2])
			WHEN checked IS NOT NULL THEN format('The value violates check constraint "%s".', field)
			WHEN detail LIKE 'Key %' THEN detail
			ELSE upper(left(message, 1) COLLATE "C") || substr(message, 2) || '.' END, NULL);
END $$;
COMMENT ON FUNCTION miosa.refuse_row(text, text, text, text) IS 'Raises INVALID_ARGUMENT for an object (what) with the server''s own message and detail; field: the field or constraint that it is about';

-- Times are calculated with, so they must be finite and not too far away.
CREATE FUNCTION miosa.check_time(value timestamptz, field text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	IF value NOT BETWEEN '1970-01-01 00:00:00+00' AND '2200-01-01 00:00:00+00' THEN
		PERFORM miosa.refuse_value('field', field, to_jsonb(value AT TIME ZONE 'UTC') #>> '{}', NULL,
			'Write a time from 1970 to 2199, for example ''2026-01-31T12:00:00Z''.');
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_time(timestamptz, text) IS 'The value if it is null or a time from 1970 to 2199, else INVALID_ARGUMENT; field names the argument';

-- Lay fields over a row.  Keys that are fixed may be repeated with the value
-- that the row has, so that a whole object can be sent back.
--
-- INVALID_ARGUMENT when a fixed field would change (with the hint) or a value
-- does not fit, naming the field.
CREATE FUNCTION miosa.merge_fields(base anyelement, fields jsonb, fixed text[], hint text) RETURNS anyelement
LANGUAGE plpgsql STABLE PARALLEL UNSAFE AS $$
DECLARE
	field text;
BEGIN
	IF fields IS NULL THEN
		RETURN base;
	ELSIF jsonb_typeof(fields) <> 'object' THEN
		PERFORM miosa.refuse_value('fields', NULL, fields::text,
			format('The fields are a JSON %s.', jsonb_typeof(fields)), 'Pass an object: ''{"metadata": {}}''.');
	END IF;
	fields := coalesce((SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(fields) f WHERE f.value <> 'null'), '{}');
	SELECT f.key INTO field FROM unnest(fixed) f (key)
		WHERE fields ? f.key AND fields -> f.key <> to_jsonb(base) -> f.key
		ORDER BY f.key LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('field "%s" cannot be set here', field),
			format('The present value is %s, the given value is %s.', to_jsonb(base) -> field, fields -> field),
			CASE WHEN field NOT LIKE '%id' OR field LIKE 'active%' OR field LIKE 'serving%' THEN hint END);
	END IF;
	fields := fields - fixed - 'updated_at'::text;
	BEGIN
		base := jsonb_populate_record(base, fields);
		PERFORM miosa.check_time(f.value::timestamptz, f.key)
			FROM jsonb_each_text(to_jsonb(base)) f
			WHERE f.key LIKE E'%\\_at' AND fields ? f.key;
		RETURN base;
	EXCEPTION WHEN data_exception THEN
		NULL;
	END;
	-- Find out which one it was.
	FOR field IN SELECT k.key FROM jsonb_object_keys(fields) k (key) ORDER BY k.key LOOP
		BEGIN
			PERFORM jsonb_populate_record(base, jsonb_build_object(field, fields -> field));
		EXCEPTION WHEN data_exception THEN
			PERFORM miosa.refuse_row('fields', SQLERRM, NULL, field);
		END;
	END LOOP;
	PERFORM miosa.refuse_row('fields', 'the fields do not fit the table', NULL, NULL);
END $$;
COMMENT ON FUNCTION miosa.merge_fields(anyelement, jsonb, text[], text) IS 'The row with the fields laid over it; unknown keys and nulls are ignored';

-- Lock a deployment by its key and return it.
--
-- Raises INVALID_ARGUMENT, DEPLOYMENT_NOT_FOUND.
CREATE FUNCTION miosa.lock_deployment(deployment_id text) RETURNS miosa.deployments
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	RETURN d;
END $$;
COMMENT ON FUNCTION miosa.lock_deployment(text) IS 'Locks a deployment''s row FOR NO KEY UPDATE and returns it';

-- Tenants.

-- Upsert a tenant; a plan that is not given stays.
CREATE FUNCTION @extschema@.miosa_put_tenant(id text, slug text, plan text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	t miosa.tenants;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(id, 'tenant id');
	PERFORM miosa.check_slug(slug, 'slug');
	IF plan IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.plans p WHERE p.name = plan) THEN
		PERFORM miosa.check_word(plan, 'plan', ARRAY(SELECT p.name FROM miosa.plans p ORDER BY p.name));
	END IF;
	INSERT INTO miosa.tenants AS o (id, slug, plan) VALUES (id, slug, coalesce(plan, 'free'))
		ON CONFLICT ON CONSTRAINT tenants_pkey DO UPDATE
		SET slug = EXCLUDED.slug, plan = coalesce(plan, o.plan), updated_at = now()
		WHERE o.slug <> EXCLUDED.slug OR o.plan <> coalesce(plan, o.plan);
	SELECT * INTO t FROM miosa.tenants o WHERE o.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', t.id, 'slug', t.slug, 'plan', t.plan,
		'created_at', miosa.iso(t.created_at), 'updated_at', miosa.iso(t.updated_at)));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('tenant', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_tenant(text, text, text) IS 'Inserts or changes a tenant, with its slug and its plan';

-- Deployments.

-- A slug from the name, if that has a letter or digit, else from the id.
CREATE FUNCTION miosa.default_slug(id text, name text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(trim(BOTH '-' FROM left(regexp_replace(lower($2 COLLATE "C"), '[^a-z0-9]+', '-', 'g'), 63)), ''),
	left(encode(sha256(convert_to($1, getdatabaseencoding())), 'hex'), 12));
COMMENT ON FUNCTION miosa.default_slug(text, text) IS 'Slug of a deployment that is added without one';

-- Lock a deployment, which is added if there is none.
CREATE FUNCTION miosa.lock_or_add_deployment(id text, tenant_id text, name text, slug text) RETURNS miosa.deployments
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	-- One that is being removed is waited for here, and added again.
	FOR attempt IN 1 .. 10 LOOP
		IF EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id AND p.slug <> slug) THEN
			-- The slug is part of a key, so rows that refer to the deployment are
			-- in the way; they are waited for before others can wait for this lock.
			SELECT * INTO d FROM miosa.deployments p WHERE p.id = id FOR UPDATE;
		ELSE
			SELECT * INTO d FROM miosa.deployments p WHERE p.id = id FOR NO KEY UPDATE;
		END IF;
		IF FOUND THEN
			RETURN d;
		END IF;
		INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES (id, tenant_id, name, coalesce(slug, miosa.default_slug(id, name)))
			ON CONFLICT ON CONSTRAINT deployments_pkey DO NOTHING;
	END LOOP;
	PERFORM miosa.raise_condition('DEPLOYMENT_BUSY', format('deployment "%s" is removed again and again', id),
		'Whenever it was to be locked, it was gone.', 'Call again with the same arguments.');
END $$;
COMMENT ON FUNCTION miosa.lock_or_add_deployment(text, text, text, text) IS 'Locks a deployment''s row, for a new slug FOR UPDATE, and returns it; adds it if there is none';

-- Upsert a deployment; fields that are not given stay.
CREATE FUNCTION @extschema@.miosa_put_deployment(id text, tenant_id text, name text DEFAULT NULL, slug text DEFAULT NULL,
	kind text DEFAULT NULL, desired_replicas integer DEFAULT NULL, fields jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- They have no columns; they are kept in metadata.
	repository CONSTANT text[] := ARRAY['repo_url', 'repo_provider', 'branch', 'build_command', 'run_command',
		'runtime_image', 'current_build_id'];
	old miosa.deployments;
	new miosa.deployments;
	given jsonb;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(id, 'deployment id');
	PERFORM miosa.check_id(tenant_id, 'tenant id');
	IF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id AND miosa.sees_tenant(t.id)) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', tenant_id), NULL,
			format('Add it first: SELECT miosa_put_tenant(%L, ''slug'');', tenant_id));
	END IF;
	PERFORM miosa.check_scope(tenant_id, 'deploy', 'call miosa_put_deployment');
	-- Ids are unique among all tenants, so that one is taken cannot be hidden; its
	-- owner can, and no lock of the owner's is waited for.  That of a removed one
	-- stays with its tenant, whose operations and hosts have it.
	IF EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id AND p.tenant_id <> tenant_id AND NOT miosa.sees_tenant(p.tenant_id))
		OR NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id)
			AND EXISTS (SELECT FROM miosa.audit_events a WHERE a.deployment_id = id AND a.tenant_id <> tenant_id) THEN
		PERFORM miosa.refuse_value('argument', 'id', id, 'The id cannot be used.', 'Pass another id.');
	END IF;
	given := fields;
	IF jsonb_typeof(fields) = 'object' THEN
		given := fields || jsonb_strip_nulls(jsonb_build_object('name', name, 'slug', slug, 'kind', kind,
			'desired_replicas', desired_replicas));
		name := given ->> 'name';
		slug := given ->> 'slug';
	ELSIF fields IS NULL THEN
		given := jsonb_strip_nulls(jsonb_build_object('name', name, 'slug', slug, 'kind', kind,
			'desired_replicas', desired_replicas));
	END IF;

	old := miosa.lock_or_add_deployment(id, tenant_id, coalesce(name, id), slug);
	IF old.tenant_id <> tenant_id THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('deployment "%s" belongs to another tenant', id),
			format('Its tenant is "%s".', old.tenant_id), NULL);
	END IF;

	new := miosa.merge_fields(old, given, ARRAY['id', 'tenant_id', 'active_version_id', 'active_release_id',
		'running_artifact_sha256', 'serving_version_id', 'recent_served', 'seq', 'route_seq', 'last_rollback_at', 'waiting_since'],
		format('To make another version active, see which there are with SELECT * FROM miosa.candidates(%L);', id));
	new.metadata := new.metadata || coalesce((SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(given) f
		WHERE f.key = ANY (repository) AND f.value <> 'null'
			AND f.value IS DISTINCT FROM new.metadata -> f.key), '{}');
	IF new.name <> old.name OR name IS NOT NULL THEN
		PERFORM miosa.check_visible(new.name, 'argument', 'name');
	END IF;
	IF btrim(new.name) = '' THEN
		PERFORM miosa.refuse_value('argument', 'name', new.name, 'The name is blank.', 'Leave it out for the id.');
	END IF;
	IF new.slug IS DISTINCT FROM old.slug OR slug IS NOT NULL THEN
		PERFORM miosa.check_slug(new.slug, 'slug');
	END IF;
	new.schema_name := nullif(new.schema_name, '');
	IF new.schema_name IS DISTINCT FROM old.schema_name AND new.schema_name IS NOT NULL THEN
		PERFORM miosa.check_schema_name(new.schema_name);
	END IF;
	-- A mirror of a deployment does not know that it waits for instances.
	IF new.state = 'running' AND old.serving_version_id IS NOT NULL THEN
		new.state := old.state;
	END IF;
	IF new IS DISTINCT FROM old THEN
		new.updated_at := now();
		UPDATE miosa.deployments p SET name = new.name, slug = new.slug, kind = new.kind, state = new.state,
				desired_replicas = new.desired_replicas, route_ttl = new.route_ttl, owner_id = new.owner_id,
				workspace_id = new.workspace_id, project_id = new.project_id, source_type = new.source_type,
				auto_deploy = new.auto_deploy, custom_domain_id = new.custom_domain_id,
				linked_database_id = new.linked_database_id, deployment_product = new.deployment_product,
				schema_name = new.schema_name,
				metadata = new.metadata, external_workspace_id = new.external_workspace_id,
				external_user_id = new.external_user_id, external_project_id = new.external_project_id,
				public_url = new.public_url, auto_subdomain = new.auto_subdomain,
				created_at = new.created_at, updated_at = new.updated_at
			WHERE p.id = id;
		PERFORM miosa.revise_capacity(id, old.desired_replicas, old.state = 'stopped');
	END IF;
	SELECT * INTO new FROM miosa.deployments p WHERE p.id = id;
	RETURN jsonb_build_object('data', miosa.deployment_object(new));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('deployment', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_deployment(text, text, text, text, text, integer, jsonb) IS 'Inserts or changes a deployment of a tenant, but not its pointer';

-- Versions and their releases.

-- An object that is sent back has URIs as they were shown.
CREATE FUNCTION miosa.drop_shown_uris(given jsonb, old jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT given - ARRAY(SELECT u.name FROM unnest(ARRAY['storage_uri', 'artifact_uri', 'build_log_uri']) u (name)
		WHERE given ->> u.name = miosa.mask_uri(old ->> u.name) AND given ->> u.name <> old ->> u.name)
$$;
COMMENT ON FUNCTION miosa.drop_shown_uris(jsonb, jsonb) IS 'The fields without URIs that are those of the row as it is shown to callers that do not fetch artifacts';

-- Refuse fields that decide which version a rollback chooses, and which artifact
-- counts as there: who feeds versions must not decide that.  A value that the row
-- has already may be repeated.
CREATE FUNCTION miosa.refuse_administered(given jsonb, old jsonb, new jsonb) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
	administered CONSTANT text[] := ARRAY['collected_at', 'collected_by', 'deleted_at', 'missing_at', 'pinned', 'promoted_at',
		'promoted_over', 'verified_at'];
	field text;
BEGIN
	IF NOT given ?| administered OR miosa.administers() THEN
		RETURN;
	END IF;
	SELECT a.name INTO field FROM unnest(administered) a (name)
		WHERE given ? a.name AND new -> a.name IS DISTINCT FROM old -> a.name
		ORDER BY a.name LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('FORBIDDEN', format('permission denied to set field "%s"', field),
			format('Role "%s" does not have the rights of miosa_admin. The present value is %s, the given value is %s.',
				miosa.caller(), coalesce(old -> field, 'null'), given -> field),
			'Leave the field out, or have an administrator make this call.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.refuse_administered(jsonb, jsonb, jsonb) IS 'Raises FORBIDDEN when fields that were given change what only administrators may set in a version (old and new) or in its release';

-- Insert or change the release of a version, before the version becomes ready
-- and closes it.
CREATE FUNCTION miosa.put_release(d miosa.deployments, v miosa.versions, given jsonb) RETURNS miosa.releases
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	old miosa.releases;
	new miosa.releases;
BEGIN
	SELECT * INTO old FROM miosa.releases r
		WHERE r.deployment_id = d.id AND r.deployment_version_id = v.id;
	IF FOUND THEN
		new := miosa.merge_fields(old, miosa.drop_shown_uris(given, to_jsonb(old)),
			ARRAY['deployment_id', 'deployment_version_id', 'tenant_id'], NULL);
		PERFORM miosa.refuse_administered(given, to_jsonb(old), to_jsonb(new));
		PERFORM miosa.check_uri(new.storage_uri, 'storage_uri');
		IF new IS DISTINCT FROM old THEN
			UPDATE miosa.releases r SET id = new.id, kind = new.kind,
					environment_id = new.environment_id, storage_backend = new.storage_backend,
					storage_uri = new.storage_uri, sha256 = new.sha256,
					size_bytes = new.size_bytes, metadata = new.metadata,
					verified_at = new.verified_at, collected_at = new.collected_at,
					collected_by = new.collected_by, ready_at = new.ready_at, updated_at = now()
				WHERE r.deployment_id = d.id AND r.id = old.id
				RETURNING * INTO new;
			IF new.storage_uri <> old.storage_uri THEN
				PERFORM miosa.refuse_claimed(new.storage_uri);
			END IF;
		END IF;
	ELSIF coalesce(given ->> 'storage_uri', given ->> 'artifact_uri', v.artifact_uri) IS NOT NULL THEN
		old.deployment_id := d.id;
		old.id := left('rel_' || regexp_replace(v.id, '^ver_', ''), 255);
		old.deployment_version_id := v.id;
		old.tenant_id := d.tenant_id;
		old.kind := v.kind;
		old.storage_uri := coalesce(given ->> 'artifact_uri', v.artifact_uri);
		old.sha256 := coalesce(lower((given ->> 'artifact_sha256') COLLATE "C"), v.artifact_sha256);
		old.metadata := '{}';
		old.ready_at := CASE WHEN v.state = 'ready' THEN now() END;
		old.created_at := now();
		new := miosa.merge_fields(old, given,
			ARRAY['deployment_id', 'deployment_version_id', 'tenant_id'], NULL);
		PERFORM miosa.refuse_administered(given, to_jsonb(old), to_jsonb(new));
		new.updated_at := now();
		PERFORM miosa.check_id(new.id, 'release id');
		PERFORM miosa.check_uri(new.storage_uri, 'storage_uri');
		INSERT INTO miosa.releases SELECT (new).*;
		IF new.collected_at IS NULL THEN
			PERFORM miosa.refuse_claimed(new.storage_uri);
		END IF;
		IF d.active_version_id = v.id AND d.active_release_id IS NULL THEN
			UPDATE miosa.deployments p SET active_release_id = new.id,
					running_artifact_sha256 = new.sha256, updated_at = now()
				WHERE p.id = d.id;
			PERFORM miosa.queue(d.id, 'route', NULL);
		END IF;
	END IF;
	RETURN new;
END $$;
COMMENT ON FUNCTION miosa.put_release(miosa.deployments, miosa.versions, jsonb) IS 'Inserts or changes the release of a version, with the fields that were given; null when there is none';

-- Check the name of a schema.
CREATE FUNCTION miosa.check_schema_name(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF coalesce(value, '') !~ '^[A-Za-z0-9._:-]{1,255}$' THEN
		PERFORM miosa.refuse_value('argument', 'schema_name', value, NULL,
			'A name has 1 to 255 characters of A-Z a-z 0-9 . _ : and -.');
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_schema_name(text) IS 'The value if it can be the name of a schema, else INVALID_ARGUMENT';

-- Check what a version says of the schema that it works with.
CREATE FUNCTION miosa.check_schema_range(schema_version bigint, schema_min bigint, schema_max bigint) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	negative record;
BEGIN
	SELECT f.name, f.value INTO negative
		FROM (VALUES ('schema_version', schema_version), ('schema_min', schema_min), ('schema_max', schema_max)) f (name, value)
		WHERE f.value < 0 ORDER BY f.name LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.refuse_value('field', negative.name, negative.value::text, NULL, 'Versions of a schema are whole numbers from 0.');
	ELSIF schema_min > schema_max OR schema_version < schema_min OR schema_version > schema_max THEN
		PERFORM miosa.refuse_value('field', 'schema_version', coalesce(schema_version::text, 'null'),
			format('schema_min is %s, schema_max is %s.', coalesce(schema_min::text, 'null'), coalesce(schema_max::text, 'null')),
			'A version works with the schema that it was built for: schema_min <= schema_version <= schema_max.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_schema_range(bigint, bigint, bigint) IS 'Raises INVALID_ARGUMENT for numbers of a version that contradict each other';

-- Upsert a version and its release; a repetition of an earlier call changes
-- nothing.
CREATE FUNCTION @extschema@.miosa_put_version(deployment_id text, id text, version_number integer DEFAULT NULL,
	kind text DEFAULT NULL, state text DEFAULT NULL, storage_uri text DEFAULT NULL, sha256 text DEFAULT NULL,
	release_id text DEFAULT NULL, size_bytes bigint DEFAULT NULL, fields jsonb DEFAULT '{}', release jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	old miosa.versions;
	new miosa.versions;
	new_release miosa.releases;
	is_new boolean;
	asked text;
	given jsonb;
	message text;
	detail text;
	broken text;
BEGIN
	d := miosa.lock_deployment(deployment_id);
	PERFORM miosa.check_id(id, 'version id');
	state := coalesce(state, fields ->> 'state');
	asked := miosa.check_word(coalesce(state, 'ready'), 'state',
		ARRAY['created', 'building', 'ready', 'failed', 'archived']);
	given := coalesce(fields, '{}');
	IF jsonb_typeof(given) = 'object' THEN
		given := (given - 'state')
			|| jsonb_strip_nulls(jsonb_build_object('version_number', version_number, 'kind', kind));
	END IF;

	SELECT * INTO old FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = id;
	is_new := NOT FOUND;
	IF is_new THEN
		INSERT INTO miosa.versions AS v (deployment_id, id, tenant_id, version_number, kind)
			VALUES (deployment_id, id, d.tenant_id,
				coalesce((given ->> 'version_number')::integer,
					(SELECT max(o.version_number) + 1 FROM miosa.versions o WHERE o.deployment_id = deployment_id), 1),
				d.kind)
			RETURNING * INTO old;
	END IF;
	new := miosa.merge_fields(old, miosa.drop_shown_uris(given, to_jsonb(old)), ARRAY['deployment_id', 'id', 'tenant_id'], NULL);
	-- A late repetition of an earlier call does not move a version back.
	IF NOT (old.state = 'failed' AND state IS NULL)
		AND coalesce(miosa.state_rank(asked) > miosa.state_rank(old.state),
			asked <> old.state AND NOT (old.state = 'failed' AND asked IN ('created', 'building'))) THEN
		new.state := asked;
	END IF;
	new.promoted_over := coalesce(old.promoted_over, new.promoted_over);
	new.promoted_at := greatest(old.promoted_at, new.promoted_at);
	new.archived_at := coalesce(old.archived_at, new.archived_at);
	PERFORM miosa.refuse_administered(given, to_jsonb(old), to_jsonb(new));
	IF num_nonnulls(new.schema_version, new.schema_min, new.schema_max) > 0 THEN
		PERFORM miosa.check_schema_range(new.schema_version, new.schema_min, new.schema_max);
	END IF;
	IF old.state IN ('created', 'building') THEN
		new.artifact_uri := coalesce(new.artifact_uri, storage_uri);
		new.artifact_sha256 := lower(coalesce(new.artifact_sha256, sha256) COLLATE "C");
	END IF;

	-- The release first: with its version ready it is closed.
	given := coalesce(release, '{}');
	IF jsonb_typeof(given) = 'object' THEN
		given := given || jsonb_strip_nulls(jsonb_build_object('id', release_id, 'storage_uri', storage_uri,
			'sha256', lower(coalesce(sha256, given ->> 'sha256') COLLATE "C"), 'size_bytes', size_bytes));
	END IF;
	new_release := miosa.put_release(d, new, given);

	IF new IS DISTINCT FROM old THEN
		UPDATE miosa.versions v SET version_number = new.version_number, kind = new.kind, state = new.state,
				promoted_over = new.promoted_over, pinned = new.pinned, created_by = new.created_by,
				schema_version = new.schema_version, schema_min = new.schema_min, schema_max = new.schema_max,
				source_sandbox_id = new.source_sandbox_id, build_id = new.build_id,
				workspace_id = new.workspace_id, project_id = new.project_id,
				external_workspace_id = new.external_workspace_id, external_user_id = new.external_user_id,
				external_project_id = new.external_project_id, artifact_uri = new.artifact_uri,
				artifact_manifest = new.artifact_manifest, artifact_sha256 = new.artifact_sha256,
				source_sha256 = new.source_sha256, runtime_image = new.runtime_image,
				runtime_command = new.runtime_command, health_check_path = new.health_check_path,
				runtime_port = new.runtime_port, build_log_uri = new.build_log_uri, metadata = new.metadata,
				promoted_at = new.promoted_at, archived_at = new.archived_at, created_at = new.created_at,
				updated_at = now()
			WHERE v.deployment_id = deployment_id AND v.id = id;
		SELECT * INTO new FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = id;
	END IF;
	RETURN jsonb_build_object('data', miosa.version_object(new), 'release', miosa.release_object(new_release));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('version', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_version(text, text, integer, text, text, text, text, text, bigint, jsonb, jsonb) IS 'Inserts or changes a version and its release';

-- Move a version to a state, and note when its release became ready.
CREATE FUNCTION @extschema@.miosa_set_version_state(deployment_id text, version_id text, state text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	v miosa.versions;
BEGIN
	PERFORM miosa.lock_deployment(deployment_id);
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(state, 'state', ARRAY['created', 'building', 'ready', 'failed', 'archived']);
	SELECT * INTO v FROM miosa.versions o WHERE o.deployment_id = deployment_id AND o.id = version_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	IF v.state <> state THEN
		UPDATE miosa.versions o SET state = state, updated_at = now()
			WHERE o.deployment_id = deployment_id AND o.id = version_id
			RETURNING * INTO v;
		IF state = 'ready' THEN
			UPDATE miosa.releases r SET ready_at = now(), updated_at = now()
				WHERE r.deployment_id = deployment_id AND r.deployment_version_id = version_id AND r.ready_at IS NULL;
		END IF;
	END IF;
	RETURN jsonb_build_object('data', miosa.version_object(v));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_set_version_state(text, text, text) IS 'Moves a version to a state: created, building, ready, archived in this order, or failed';

-- Archive a version.
CREATE FUNCTION @extschema@.miosa_archive_version(deployment_id text, version_id text)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN @extschema@.miosa_set_version_state($1, $2, 'archived'::text);
COMMENT ON FUNCTION @extschema@.miosa_archive_version(text, text) IS 'Archives a version: it is no longer a rollback target and its artifact may be collected';

-- Domains.

-- Normalize a host name.
CREATE FUNCTION miosa.check_host(host text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'Write it as www.example.com or *.example.com, other letters than a-z in their xn-- form.';
	clean text := miosa.clean_host(host);
BEGIN
	IF length(clean) > 253 THEN
		PERFORM miosa.refuse_length('host name', length(clean), 'characters', 253, hint);
	ELSIF clean IS NULL OR clean
		!~ '^([*][.])?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?[.])*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN
		PERFORM miosa.refuse_value('host name', NULL, host, NULL, hint);
	END IF;
	RETURN clean;
END $$;
COMMENT ON FUNCTION miosa.check_host(text) IS 'The host name as it is stored, or INVALID_ARGUMENT';

-- Keep the hosts below the managed domain for the tenant whose slug they have.
CREATE FUNCTION miosa.reserves_host(host text, tenant_id text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN NOT miosa.sees_all_tenants()
	AND right('.' || $1, length(miosa.managed_domain()) + 1) = '.' || miosa.managed_domain()
	AND NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = $2
		AND right('.' || $1, length(t.slug || miosa.managed_domain()) + 2) = '.' || t.slug || '.' || miosa.managed_domain());
COMMENT ON FUNCTION miosa.reserves_host(text, text) IS 'Whether a host is below the managed domain but not below the tenant''s slug there, and the caller does not act for all tenants';

-- Upsert a host; it moves between deployments of one tenant only.
CREATE FUNCTION @extschema@.miosa_put_domain(fqdn text, deployment_id text, state text DEFAULT 'active',
	redirect_policy text DEFAULT NULL, fields jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	host text := miosa.check_host(fqdn);
	d miosa.deployments;
	old miosa.domains;
	new miosa.domains;
	holder text;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_word(state, 'state', ARRAY['pending', 'verified', 'active', 'failed', 'removed']);
	IF redirect_policy IS NOT NULL THEN
		PERFORM miosa.check_word(redirect_policy, 'redirect_policy', ARRAY['none', 'apex_to_www', 'www_to_apex']);
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	holder := miosa.managed_deployment(host);
	-- That edges answer for a host is no secret, but whose it is.  No lock of the
	-- other tenant's is waited for.  Taken are also the hosts of another tenant's
	-- wildcard, and those that its deployments would get as managed hosts.
	IF holder <> deployment_id AND NOT miosa.sees_deployment(holder)
		OR miosa.reserves_host(host, d.tenant_id)
		OR EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn IN (host, '*' || substring(host FROM '[.].*$')) AND m.state <> 'removed'
			AND NOT miosa.sees_deployment(m.deployment_id)) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host), NULL, 'Pass another host.');
	ELSIF holder <> deployment_id THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host),
			format('The host is the managed host of deployment "%s".', holder), NULL);
	END IF;

	INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id, state, redirect_policy)
		VALUES (host, deployment_id, d.tenant_id, 'pending', coalesce(redirect_policy, 'none'))
		ON CONFLICT ON CONSTRAINT domains_pkey DO NOTHING;
	SELECT * INTO old FROM miosa.domains m WHERE m.fqdn = host FOR UPDATE;
	IF old.tenant_id <> d.tenant_id AND old.state <> 'removed' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', host),
			'The host belongs to another tenant.', 'That tenant must remove it first, with miosa_remove_domain().');
	ELSIF old.tenant_id <> d.tenant_id THEN
		-- What was verified for the other tenant is not for this one.
		old.id := NULL;
		old.redirect_policy := 'none';
		old.verified_at := NULL;
		old.created_at := now();
	END IF;
	new := miosa.merge_fields(old, fields - ARRAY['fqdn', 'domain', 'deployment_id', 'tenant_id', 'state', 'redirect_policy'],
		'{}', NULL);
	new.deployment_id := deployment_id;
	new.tenant_id := d.tenant_id;
	new.state := state;
	new.redirect_policy := coalesce(redirect_policy, fields ->> 'redirect_policy', old.redirect_policy);
	IF new IS DISTINCT FROM old THEN
		-- The trigger queues what this means for routes.
		UPDATE miosa.domains m SET id = new.id, deployment_id = new.deployment_id, tenant_id = new.tenant_id,
				state = new.state, redirect_policy = new.redirect_policy, verified_at = new.verified_at,
				created_at = new.created_at
			WHERE m.fqdn = host;
	END IF;
	IF host LIKE '*.%' THEN
		PERFORM miosa.warn_of_wildcards(NULL, host);
	END IF;
	RETURN jsonb_build_object('data', miosa.domain_object(new));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('domain', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_domain(text, text, text, text, jsonb) IS 'Inserts or changes a host; a change of a routed host is delivered to edges';

-- Delete a host; its trigger has edges remove it.
CREATE FUNCTION @extschema@.miosa_remove_domain(fqdn text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	host text := miosa.check_host(fqdn);
BEGIN
	-- Of another tenant's host as of one that does not exist.
	PERFORM miosa.check_scope(p.tenant_id, 'deploy', 'call miosa_remove_domain')
		FROM miosa.domains m JOIN miosa.deployments p ON p.id = m.deployment_id
		WHERE m.fqdn = host AND miosa.sees_tenant(p.tenant_id);
	DELETE FROM miosa.domains m WHERE m.fqdn = host AND miosa.sees_deployment(m.deployment_id);
	RETURN jsonb_build_object('data', jsonb_build_object('domain', host, 'fqdn', host, 'state', 'removed'));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_domain(text) IS 'Removes a host, also from edges';

-- Runtime instances.

-- Check the address of an instance.
CREATE FUNCTION miosa.check_address(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'Write an IP address or a host name, without brackets; the port has an argument of its own.';
BEGIN
	IF length(value) > 255 THEN
		PERFORM miosa.refuse_length('address', length(value), 'characters', 255, hint);
	ELSIF value !~ '^[A-Za-z0-9._:%-]+$' THEN
		PERFORM miosa.refuse_value('argument', 'address', value, NULL, hint);
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_address(text) IS 'The value if it is null or looks like an address of a host, else INVALID_ARGUMENT';

-- Upsert an instance.  A heartbeat that changes nothing takes one UPDATE and
-- no lock on the deployment.
CREATE FUNCTION @extschema@.miosa_report_instance(deployment_id text, id text, version_id text, state text,
	address text DEFAULT NULL, port integer DEFAULT NULL, error_message text DEFAULT NULL, fields jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
	old miosa.runtime_instances;
	new miosa.runtime_instances;
	release text;
	horizon timestamptz := miosa.heartbeat_horizon();
	observed timestamptz;
	was_live boolean;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(id, 'instance id');
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(state, 'state', ARRAY['pending', 'provisioning', 'starting', 'healthy', 'unhealthy',
		'stopping', 'stopped', 'failed', 'error', 'destroyed']);
	address := miosa.check_address(coalesce(address, fields ->> 'ip_address'));
	port := coalesce(port, (fields ->> 'port')::integer);
	error_message := coalesce(error_message, fields ->> 'error_message');
	observed := (fields ->> 'observed_at')::timestamptz;
	-- A clock that is ahead must not make all that comes later look old.
	observed := CASE WHEN observed > clock_timestamp() THEN clock_timestamp()
		ELSE miosa.check_time(observed, 'observed_at') END;

	-- A heartbeat: nothing that counts has changed, so no row is locked first.
	-- The conditions are evaluated again if the row changes meanwhile.  An
	-- instance without a heartbeat for long has not counted, so it changes.
	UPDATE miosa.runtime_instances i SET last_heartbeat_at = now(), observed_at = coalesce(observed, clock_timestamp())
		WHERE i.deployment_id = deployment_id AND i.id = id AND i.version_id = version_id AND i.reported_by IS NULL
			AND (i.state = state OR i.state = 'stopping' AND NOT miosa.has_ended(state))
			AND CASE i.state WHEN 'healthy' THEN coalesce(i.last_heartbeat_at, i.updated_at) > horizon
				WHEN 'stopping' THEN greatest(i.last_heartbeat_at, i.updated_at) > horizon ELSE true END
			AND coalesce(i.observed_at <= observed, true)
			AND i.address IS NOT DISTINCT FROM coalesce(address, i.address)
			AND i.port IS NOT DISTINCT FROM coalesce(port, i.port)
			AND i.error_message IS NOT DISTINCT FROM coalesce(error_message, i.error_message)
			AND i.metadata = coalesce(fields -> 'metadata', i.metadata)
			AND coalesce(jsonb_typeof(fields), 'object') = 'object'
		RETURNING * INTO new;
	IF FOUND THEN
		RETURN jsonb_build_object('data', miosa.instance_object(new));
	END IF;

	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(deployment_id);
	ELSIF NOT EXISTS (SELECT FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = version_id) THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	-- The instance before the deployment: a transaction of many heartbeats may
	-- have it, and a wait for that must not make rollbacks wait.
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id)
		VALUES (deployment_id, id, d.tenant_id, version_id)
		ON CONFLICT ON CONSTRAINT runtime_instances_pkey DO NOTHING;
	SELECT * INTO old FROM miosa.runtime_instances i
		WHERE i.deployment_id = deployment_id AND i.id = id FOR NO KEY UPDATE;
	PERFORM miosa.lock_deployment(deployment_id);
	SELECT r.id INTO release FROM miosa.releases r
		WHERE r.deployment_id = deployment_id AND r.deployment_version_id = version_id;
	IF old.state = 'destroyed' OR old.observed_at > observed THEN
		RETURN jsonb_build_object('data', miosa.instance_object(old));
	END IF;
	was_live := old.state = 'healthy' AND coalesce(old.last_heartbeat_at, old.updated_at) > horizon;
	IF jsonb_typeof(fields) = 'object' THEN
		fields := fields - ARRAY['deployment_id', 'id', 'tenant_id', 'version_id', 'release_id', 'state', 'observed_at', 'reported_by'];
	END IF;
	new := miosa.merge_fields(old, fields, '{}', NULL);
	-- What is being drained never counts again, even if it still says that it
	-- is healthy.  If no heartbeat came for long since, the instance has stopped
	-- and was started again.
	IF old.state <> 'stopping' OR old.version_id <> version_id OR miosa.has_ended(state)
		OR greatest(old.last_heartbeat_at, old.updated_at) <= horizon THEN
		-- Nor does what comes up after its scheduler was asked to stop all.
		new.state := CASE WHEN NOT miosa.has_ended(state) AND EXISTS (SELECT FROM miosa.capacity c
				WHERE c.deployment_id = deployment_id AND c.version_id = version_id AND c.state = 'draining')
			THEN 'stopping' ELSE state END;
	END IF;
	UPDATE miosa.runtime_instances i SET version_id = version_id, release_id = release, state = new.state,
			address = coalesce(address, new.address), port = coalesce(port, new.port),
			error_message = coalesce(error_message, new.error_message), metadata = new.metadata,
			last_heartbeat_at = now(), observed_at = coalesce(observed, clock_timestamp()), reported_by = NULL,
			updated_at = CASE WHEN new.state <> old.state THEN now() ELSE old.updated_at END
		WHERE i.deployment_id = deployment_id AND i.id = id
		RETURNING * INTO new;
	IF was_live <> (new.state = 'healthy') OR old.version_id <> version_id THEN
		PERFORM miosa.complete_capacity(deployment_id);
	END IF;
	RETURN jsonb_build_object('data', miosa.instance_object(new));
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('instance', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_report_instance(text, text, text, text, text, integer, text, jsonb) IS 'Inserts or changes a running instance, also as its heartbeat';
