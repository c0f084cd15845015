-- What else administrators change and remove: plans, the state of deployments,
-- adapters, secrets, and whole deployments and tenants.  No group may write the
-- tables: a function checks, queues what follows, and is what an audit sees.

-- Plans.

-- Upsert a plan; a shipped one is overridden.
CREATE FUNCTION @extschema@.miosa_put_plan(name text, audit_retention interval DEFAULT NULL,
	idempotency_retention interval DEFAULT NULL, artifact_retention interval DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- A plan that keeps nothing would be a way to erase the trail.
	least_audit CONSTANT interval := '1 day';
	old miosa.plans;
	message text;
	detail text;
	broken text;
BEGIN
	IF coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.refuse_value('argument', 'name', name,
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''pro''.');
	ELSIF audit_retention < least_audit THEN
		PERFORM miosa.refuse_value('argument', 'audit_retention', audit_retention::text,
			'Audit events are kept for at least a day.', 'For example ''30 days''.');
	END IF;
	SELECT * INTO old FROM miosa.plans p WHERE p.name = name;
	audit_retention := coalesce(audit_retention, old.audit_retention);
	idempotency_retention := coalesce(idempotency_retention, old.idempotency_retention);
	artifact_retention := coalesce(artifact_retention, old.artifact_retention);
	IF audit_retention IS NULL OR idempotency_retention IS NULL OR artifact_retention IS NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('plan "%s" is incomplete', name),
			'A new plan needs all three times.',
			format('SELECT miosa_put_plan(%L, audit_retention => ''90 days'', idempotency_retention => ''24 hours'', artifact_retention => ''30 days'');', name));
	END IF;
	IF (audit_retention, idempotency_retention, artifact_retention)
		IS DISTINCT FROM (old.audit_retention, old.idempotency_retention, old.artifact_retention) THEN
		INSERT INTO miosa.own_plans VALUES (name, audit_retention, idempotency_retention, artifact_retention)
			ON CONFLICT ON CONSTRAINT own_plans_pkey DO UPDATE SET audit_retention = EXCLUDED.audit_retention,
				idempotency_retention = EXCLUDED.idempotency_retention, artifact_retention = EXCLUDED.artifact_retention;
	END IF;
	RETURN (SELECT jsonb_build_object('data', to_jsonb(p)) FROM miosa.plans p WHERE p.name = name);
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('plan', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_plan(text, interval, interval, interval) IS 'Inserts or changes a plan, with its retention times';

-- Delete a plan; of a shipped one that was edited, the edits.
CREATE FUNCTION @extschema@.miosa_remove_plan(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	tenant text;
BEGIN
	IF NOT EXISTS (SELECT FROM miosa.plans p WHERE p.name = name) THEN
		PERFORM miosa.check_word(name, 'name', ARRAY(SELECT p.name FROM miosa.plans p ORDER BY p.name));
	END IF;
	SELECT t.id INTO tenant FROM miosa.tenants t WHERE t.plan = name
		AND NOT EXISTS (SELECT FROM miosa.shipped_plans s WHERE s.name = name) ORDER BY t.id LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('plan "%s" is in use', name),
			format('Tenant "%s" has it.', tenant), format('SELECT id, slug FROM miosa.tenants WHERE plan = %L;', name));
	END IF;
	DELETE FROM miosa.plans p WHERE p.name = name;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_plan(text) IS 'Removes a plan that no tenant has; a shipped one gets its shipped times back';

-- Deployments.

-- Stop and start a deployment, and change how many instances it has.
CREATE FUNCTION @extschema@.miosa_set_deployment(id text, state text DEFAULT NULL, desired_replicas integer DEFAULT NULL,
	schema_name text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN @extschema@.miosa_put_deployment($1, (miosa.lock_deployment($1)).tenant_id, NULL::text, NULL::text, NULL::text, $3,
	jsonb_build_object('state', CASE WHEN $2 IS NOT NULL THEN miosa.check_word($2, 'state', ARRAY['running', 'stopped']) END, 'schema_name', $4));
COMMENT ON FUNCTION @extschema@.miosa_set_deployment(text, text, integer, text) IS 'Stops or starts a deployment, or changes how many instances it is to have, or which schema its versions work with';

-- Unpublish from C; null when no version is active.
CREATE FUNCTION miosa.call_unpublish(deployment_id text, idempotency_key text, reason text, expected_active text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_call_unpublish';
COMMENT ON FUNCTION miosa.call_unpublish(text, text, text, text) IS 'Makes no version of a deployment active; null when none was';

-- Unpublish a deployment.
CREATE FUNCTION @extschema@.miosa_unpublish(deployment_id text, idempotency_key text DEFAULT NULL, reason text DEFAULT NULL,
	expected_active text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	RETURN coalesce(miosa.call_unpublish(deployment_id, idempotency_key, reason, expected_active),
		(SELECT jsonb_build_object('data', miosa.deployment_object(p)) FROM miosa.deployments p WHERE p.id = deployment_id));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_unpublish(text, text, text, text) IS 'Makes no version of a deployment active: edges are sent that nothing serves, and the state becomes stopped';

-- Delete a deployment and all that belongs to it but its audit events.
CREATE FUNCTION @extschema@.miosa_remove_deployment(id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments := miosa.lock_deployment(id);
BEGIN
	IF d.active_version_id IS NOT NULL THEN
		PERFORM miosa.raise_condition('VERSION_IN_USE', format('deployment "%s" cannot be removed', id),
			format('Version "%s" is active.', d.active_version_id), format('Take it off the edges first: SELECT miosa_unpublish(%L);', id));
	END IF;
	UPDATE miosa.versions v SET pinned = false WHERE v.deployment_id = id AND v.pinned;
	DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = id;
	DELETE FROM miosa.domains m WHERE m.deployment_id = id;
	DELETE FROM miosa.releases r WHERE r.deployment_id = id;
	DELETE FROM miosa.versions v WHERE v.deployment_id = id;
	DELETE FROM miosa.deployments p WHERE p.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed'));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_deployment(text) IS 'Removes a deployment without an active version, with its hosts, versions, releases and instances; its audit events stay';

-- Delete a tenant that has no deployment.
CREATE FUNCTION @extschema@.miosa_remove_tenant(id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	deployment text;
	message text;
	detail text;
	broken text;
BEGIN
	PERFORM miosa.check_id(id, 'tenant id');
	SELECT p.id INTO deployment FROM miosa.deployments p WHERE p.tenant_id = id ORDER BY p.id LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" cannot be removed', id),
			format('Deployment "%s" belongs to it.', deployment), format('Remove its deployments first: SELECT miosa_remove_deployment(%L);', deployment));
	END IF;
	DELETE FROM miosa.tenants t WHERE t.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed'));
EXCEPTION WHEN integrity_constraint_violation THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('tenant', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_tenant(text) IS 'Removes a tenant without deployments; its audit events stay';

-- Adapters and secrets.

-- Upsert an adapter.  The statement names the columns that were given, so that
-- the others keep their values or get their defaults; the trigger checks it.
CREATE FUNCTION @extschema@.miosa_put_adapter(name text, fields jsonb DEFAULT '{}', copy_of text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	known CONSTANT text[] := ARRAY(SELECT a.attname::text FROM pg_attribute a
		WHERE a.attrelid = 'miosa.adapters'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('name', 'builtin')
		ORDER BY a.attname);
	field text;
	copied jsonb;
	columns text;
	"values" text;
	message text;
	detail text;
	broken text;
BEGIN
	IF coalesce(name, '') !~ '^[a-z0-9][a-z0-9._-]{0,62}$' THEN
		PERFORM miosa.refuse_value('argument', 'name', name,
			'A name has 1 to 63 characters of a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''my-router''.');
	ELSIF jsonb_typeof(coalesce(fields, '{}')) <> 'object' THEN
		PERFORM miosa.refuse_value('fields', NULL, fields::text, format('The fields are a JSON %s.', jsonb_typeof(fields)),
			'Pass an object: ''{"timeout": "3 s"}''.');
	END IF;
	IF copy_of IS NOT NULL THEN
		SELECT to_jsonb(a) - ARRAY['name', 'builtin'] INTO copied FROM miosa.adapters a WHERE a.name = copy_of;
		IF NOT FOUND THEN
			PERFORM miosa.check_word(copy_of, 'copy_of', ARRAY(SELECT a.name FROM miosa.adapters a ORDER BY a.name));
		END IF;
	END IF;
	fields := coalesce(copied, '{}') || coalesce(fields, '{}');
	FOR field IN SELECT k.key FROM jsonb_object_keys(fields) k (key) WHERE k.key <> ALL (known) ORDER BY k.key LIMIT 1 LOOP
		PERFORM miosa.check_word(field, 'fields', known);
	END LOOP;
	SELECT string_agg(quote_ident(k.key), ', ' ORDER BY k.key), string_agg('r.' || quote_ident(k.key), ', ' ORDER BY k.key)
		INTO columns, "values" FROM jsonb_object_keys(fields) k (key);
	PERFORM FROM miosa.adapters a WHERE a.name = name FOR UPDATE;
	IF NOT FOUND THEN
		EXECUTE format('INSERT INTO miosa.adapters (name%s) SELECT $1%s FROM jsonb_populate_record(NULL::miosa.adapters, $2) r',
			', ' || columns, ', ' || "values") USING name, fields;
	ELSIF columns IS NOT NULL THEN
		EXECUTE format('UPDATE miosa.adapters a SET (%s) = (SELECT %s FROM jsonb_populate_record(NULL::miosa.adapters, $2) r) WHERE a.name = $1',
			columns, "values") USING name, fields;
	END IF;
	RETURN (SELECT jsonb_build_object('data', to_jsonb(a)) FROM miosa.adapters a WHERE a.name = name);
EXCEPTION WHEN integrity_constraint_violation OR data_exception THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, broken = CONSTRAINT_NAME;
	PERFORM miosa.refuse_row('adapter', message, detail, broken);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_adapter(text, jsonb, text) IS 'Inserts or changes an adapter, by the columns of miosa.adapters that are given; copy_of: the others are those of another adapter';

-- Delete an adapter.
CREATE FUNCTION @extschema@.miosa_remove_adapter(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	endpoint text;
BEGIN
	SELECT e.name INTO endpoint FROM miosa.endpoints e WHERE e.adapter = name ORDER BY e.name LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" is in use', name),
			format('Endpoint "%s" has it.', endpoint), format('SELECT name FROM miosa.endpoints WHERE adapter = %L;', name));
	END IF;
	DELETE FROM miosa.adapters a WHERE a.name = name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" does not exist', name), NULL,
			'See which there are with SELECT name, description FROM miosa.adapters WHERE NOT builtin;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_adapter(text) IS 'Removes an adapter that no endpoint has';

-- Delete a secret.
CREATE FUNCTION @extschema@.miosa_remove_secret(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	holder text;
BEGIN
	SELECT h.holder INTO holder FROM (
		SELECT format('Endpoint "%s" names it.', e.name) AS holder FROM miosa.endpoints e WHERE e.secret = name
		UNION ALL
		SELECT format('Storage "%s" names it.', s.prefix) FROM miosa.storages s WHERE s.secret = name) h ORDER BY 1 LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" is in use', name), holder,
			format('SELECT name FROM miosa.endpoints WHERE secret = %1$L; SELECT prefix FROM miosa.storages WHERE secret = %1$L;', name));
	END IF;
	DELETE FROM miosa.secrets s WHERE s.name = name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" does not exist', name), NULL,
			'See which there are with SELECT name, created_at FROM miosa.secrets;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_secret(text) IS 'Removes a secret that no endpoint or storage names';
