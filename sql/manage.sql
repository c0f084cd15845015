-- What else administrators change and remove: plans, the state of deployments,
-- adapters, secrets, and whole deployments and tenants.  No group may write the
-- tables: a function checks, queues what follows, and is what an audit sees.

-- Plans.

-- Upsert a plan; a shipped one is overridden.
CREATE FUNCTION @extschema@.miosa_put_plan(name text, audit_retention interval DEFAULT NULL,
	idempotency_retention interval DEFAULT NULL, artifact_retention interval DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
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

-- Give a deployment another slug, and so another managed host.
CREATE FUNCTION @extschema@.miosa_rename_deployment(deployment_id text, slug text, idempotency_key text DEFAULT NULL,
	reason text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	d miosa.deployments;
	stored jsonb;
	tenant_slug text;
	new_host text;
	holder text;
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_slug(slug, 'slug');
	-- The slug is part of a key, so rows that refer to the deployment are in the
	-- way; they are waited for before others can wait for this lock.
	PERFORM FROM miosa.deployments p WHERE p.id = deployment_id AND p.slug <> slug AND miosa.sees_tenant(p.tenant_id) FOR UPDATE;
	stored := miosa.note_begin('rename', deployment_id, key, ARRAY[slug], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	SELECT t.slug INTO tenant_slug FROM miosa.tenants t WHERE t.id = d.tenant_id;
	new_host := miosa.managed_host(slug, tenant_slug);
	SELECT p.id INTO holder FROM miosa.deployments p WHERE p.tenant_id = d.tenant_id AND p.slug = slug AND p.id <> deployment_id;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is taken', slug),
			format('Deployment "%s" has it.', holder), 'Slugs are unique within a tenant; pass another one.');
	END IF;
	-- A host that somebody has put comes before a managed one.
	IF EXISTS (SELECT FROM miosa.domains m WHERE m.fqdn = new_host AND m.state <> 'removed' AND m.deployment_id <> deployment_id) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" is taken', new_host),
			format('It would be the managed host of deployment "%s".', deployment_id), 'Pass another slug.');
	END IF;
	IF d.slug <> slug THEN
		-- The trigger queues what this means for routes.
		UPDATE miosa.deployments p SET slug = slug, updated_at = clock_timestamp() WHERE p.id = deployment_id;
	END IF;
	RETURN miosa.note_write('rename', deployment_id, key, ARRAY[slug], reason,
		jsonb_strip_nulls(jsonb_build_object('from', d.slug, 'to', slug, 'host', new_host)));
EXCEPTION WHEN unique_violation THEN
	PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('slug "%s" is taken', slug),
		'Another deployment of the tenant was given it a moment ago.', 'Slugs are unique within a tenant; pass another one.');
END $$;
COMMENT ON FUNCTION @extschema@.miosa_rename_deployment(text, text, text, text) IS 'Gives a deployment another slug; edges get its new managed host before they lose the old one';

-- Warn that a host that was served is not served any more.
CREATE FUNCTION miosa.unserved_warning(host text, deployment_id text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	message CONSTANT text := format('host "%s" is not served any more', host);
	detail CONSTANT text := format('No version of deployment "%s" is active.', deployment_id);
	hint CONSTANT text := format('Promote one; see the candidates with SELECT * FROM miosa.candidates(%L);', deployment_id);
BEGIN
	RAISE WARNING '%', message USING DETAIL = detail, HINT = hint;
	RETURN jsonb_build_array(jsonb_build_object('code', 'NOT_SERVED', 'message', message, 'detail', detail, 'hint', hint));
END $$;
COMMENT ON FUNCTION miosa.unserved_warning(text, text) IS 'Warns of a host that was moved to a deployment without an active version; returns the warnings of the response';

-- Move a host from one deployment to another.  The host is locked before the
-- deployments, as miosa_put_domain() does.
CREATE FUNCTION @extschema@.miosa_move_host(host text, to_deployment_id text, from_deployment_id text DEFAULT NULL,
	idempotency_key text DEFAULT NULL, reason text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	fqdn CONSTANT text := miosa.check_host(host);
	m miosa.domains;
	target miosa.deployments;
	stored jsonb;
	marks jsonb;
	warnings jsonb;
	managed text;
BEGIN
	PERFORM miosa.require_primary();
	IF from_deployment_id IS NOT NULL THEN
		PERFORM miosa.check_id(from_deployment_id, 'from_deployment_id');
	END IF;
	-- Hosts of other tenants do not exist, and no lock of theirs is waited for.
	IF EXISTS (SELECT FROM miosa.domains o WHERE o.fqdn = fqdn AND miosa.sees_deployment(o.deployment_id)) THEN
		SELECT * INTO m FROM miosa.domains o WHERE o.fqdn = fqdn FOR UPDATE;
	END IF;
	PERFORM FROM miosa.deployments p WHERE p.id IN (m.deployment_id, to_deployment_id) AND miosa.sees_tenant(p.tenant_id)
		ORDER BY p.id FOR NO KEY UPDATE;
	stored := miosa.note_begin('move_host', to_deployment_id, key, ARRAY[fqdn, from_deployment_id], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	IF m.fqdn IS NULL THEN
		managed := miosa.seen_deployment(miosa.managed_deployment(fqdn));
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" cannot be moved', fqdn),
			CASE WHEN managed IS NULL THEN 'There is no such host, or it belongs to another tenant.'
				ELSE format('It is the managed host of deployment "%s".', managed) END,
			CASE WHEN managed IS NULL THEN format('To add it: SELECT miosa_put_domain(%L, %L);', fqdn, to_deployment_id)
				ELSE 'A managed host follows the slug: see miosa_rename_deployment().' END);
	ELSIF from_deployment_id <> m.deployment_id THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" cannot be moved', fqdn),
			format('It belongs to deployment "%s" and not to "%s".', m.deployment_id, from_deployment_id),
			format('See its deployment with SELECT deployment_id, state FROM miosa.domains WHERE fqdn = %L;', fqdn));
	END IF;
	SELECT * INTO target FROM miosa.deployments p WHERE p.id = to_deployment_id;
	IF m.tenant_id <> target.tenant_id AND NOT miosa.sees_all_tenants() THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('host "%s" cannot be moved', fqdn),
			format('Deployment "%s" belongs to another tenant than "%s".', to_deployment_id, m.deployment_id),
			'Somebody who acts for all tenants can move it.');
	END IF;

	marks := jsonb_build_object('host', fqdn, 'from', m.deployment_id, 'to', to_deployment_id);
	IF m.deployment_id <> to_deployment_id THEN
		-- The one that loses it: may the caller change it, too?
		PERFORM miosa.note_begin('move_host', m.deployment_id, NULL, ARRAY[fqdn], reason);
		-- The trigger queues what this means for routes.  What was verified for
		-- another tenant is not for this one.
		UPDATE miosa.domains o SET deployment_id = to_deployment_id, tenant_id = target.tenant_id,
				verified_at = CASE WHEN o.tenant_id = target.tenant_id THEN o.verified_at END
			WHERE o.fqdn = fqdn;
		UPDATE miosa.deployments p SET custom_domain_id = NULL WHERE p.id = m.deployment_id AND p.custom_domain_id = m.id;
		PERFORM miosa.note_write('move_host', m.deployment_id, NULL, ARRAY[fqdn], reason, marks);
		IF target.active_version_id IS NULL AND m.state = 'active' AND EXISTS (
			SELECT FROM miosa.deployments p WHERE p.id = m.deployment_id AND p.active_version_id IS NOT NULL) THEN
			warnings := miosa.unserved_warning(fqdn, to_deployment_id);
		END IF;
	END IF;
	IF fqdn LIKE '*.%' THEN
		PERFORM miosa.warn_of_wildcards(NULL, fqdn);
	END IF;
	RETURN miosa.note_write('move_host', to_deployment_id, key, ARRAY[fqdn, from_deployment_id], reason, marks, warnings);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_move_host(text, text, text, text, text) IS 'Moves a host from one deployment to another; edges get its new route before they lose the old one';

-- The answer to a removal that was made with this key before.  Its key is gone
-- with the deployment, but the event that ends the chain has it.  Of a deployment
-- that exists, whose ever it is, no more is read than of none.
CREATE FUNCTION miosa.removed_before(id text, idempotency_key text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	last bigint;
	event miosa.audit_events;
BEGIN
	SELECT c.last_seq INTO last FROM miosa.audit_checkpoints c WHERE c.deployment_id = id AND c.deleted_at IS NOT NULL;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT a.* INTO event FROM miosa.audit_events a
		WHERE a.deployment_id = id AND a.seq = last AND a.action = 'deployment.remove' AND a.idempotency_key = idempotency_key
			AND miosa.sees_tenant(a.tenant_id);
	IF NOT FOUND OR EXISTS (SELECT FROM miosa.deployments p WHERE p.id = id) THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed'),
		'operation', jsonb_build_object('id', id || '#' || event.seq, 'outcome', event.outcome, 'replayed', true));
END $$;
COMMENT ON FUNCTION miosa.removed_before(text, text) IS 'Answer of miosa_remove_deployment to a repeated key; null: the deployment was not removed by it';

-- Delete a deployment and all that belongs to it but its audit events.
CREATE FUNCTION @extschema@.miosa_remove_deployment(id text, reason text DEFAULT NULL, idempotency_key text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	d miosa.deployments;
	stored jsonb;
	running text;
	stopping text[] := '{}';
	artifacts jsonb;
	n record;
BEGIN
	PERFORM miosa.check_id(id, 'deployment id');
	IF key IS NOT NULL THEN
		stored := miosa.removed_before(id, key);
		IF stored IS NOT NULL THEN
			RETURN stored;
		END IF;
	END IF;
	-- Others lock a host before its deployment, and refer to the deployment.
	IF miosa.sees_deployment(id) THEN
		PERFORM FROM miosa.domains m WHERE m.deployment_id = id ORDER BY m.fqdn FOR UPDATE;
		PERFORM FROM miosa.deployments p WHERE p.id = id FOR UPDATE;
	END IF;
	stored := miosa.note_begin('remove', id, key, '{}'::text[], reason);
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = id;
	IF d.active_version_id IS NOT NULL THEN
		PERFORM miosa.raise_condition('VERSION_IN_USE', format('deployment "%s" cannot be removed', id),
			format('Version "%s" is active.', d.active_version_id), format('Take it off the edges first: SELECT miosa_unpublish(%L);', id));
	END IF;
	-- Once it is gone, nobody asks schedulers to stop what they run.  With a
	-- negative drain_delay nobody does so now.
	FOR running IN
		SELECT v.id FROM miosa.versions v LEFT JOIN miosa.capacity c ON c.deployment_id = v.deployment_id AND c.version_id = v.id
		WHERE v.deployment_id = id AND v.kind <> 'static' AND miosa.drain_due(now()) < 'infinity' AND miosa.has_scheduler(id, false)
			AND coalesce(c.state <> 'drained', EXISTS (SELECT FROM miosa.runtime_instances i
				WHERE i.deployment_id = id AND i.version_id = v.id AND NOT miosa.has_ended(i.state)))
		ORDER BY v.id
	LOOP
		stopping := stopping || running;
		INSERT INTO miosa.capacity (deployment_id, version_id, state) VALUES (id, running, 'idle') ON CONFLICT ON CONSTRAINT capacity_pkey DO NOTHING;
		PERFORM miosa.begin_drain(id, running) FROM miosa.capacity c
			WHERE c.deployment_id = id AND c.version_id = running AND c.state <> 'draining';
	END LOOP;
	IF stopping <> '{}' THEN
		RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'stopping', 'versions', stopping));
	END IF;
	-- What only this deployment has is needed by nobody any more.
	SELECT coalesce(jsonb_agg(jsonb_build_object('storage_uri', miosa.shown_uri(r.storage_uri), 'sha256', r.sha256, 'size_bytes', r.size_bytes)
			ORDER BY r.storage_uri), '[]') INTO artifacts
		FROM (SELECT DISTINCT ON (o.storage_uri) o.storage_uri, o.sha256, o.size_bytes FROM miosa.releases o
			WHERE o.deployment_id = id AND o.deleted_at IS NULL
				AND NOT EXISTS (SELECT FROM miosa.releases e WHERE e.storage_uri = o.storage_uri AND e.deployment_id <> id)
			ORDER BY o.storage_uri) r;
	SELECT (SELECT count(*) FROM miosa.domains m WHERE m.deployment_id = id) AS hosts,
		(SELECT count(*) FROM miosa.versions v WHERE v.deployment_id = id) AS versions INTO n;
	stored := miosa.note_write('remove', id, key, '{}'::text[], reason,
		jsonb_build_object('hosts', n.hosts, 'versions', n.versions, 'artifacts', jsonb_array_length(artifacts)));
	-- miosa_collect() claims what no release has any more.
	INSERT INTO miosa.removed_artifacts (deployment_id, release_id, version_id, version_number, tenant_id, storage_uri, sha256, size_bytes,
			collected_at, collected_by, updated_at)
		SELECT o.deployment_id, o.id, v.id, v.version_number, o.tenant_id, o.storage_uri, o.sha256, o.size_bytes, o.collected_at, o.collected_by, o.updated_at
		FROM miosa.releases o JOIN miosa.versions v ON v.deployment_id = o.deployment_id AND v.id = o.deployment_version_id
		WHERE o.deployment_id = id AND o.deleted_at IS NULL;
	UPDATE miosa.versions v SET pinned = false WHERE v.deployment_id = id AND v.pinned;
	DELETE FROM miosa.runtime_instances i WHERE i.deployment_id = id;
	DELETE FROM miosa.holds h WHERE h.deployment_id = id;
	DELETE FROM miosa.domains m WHERE m.deployment_id = id;
	DELETE FROM miosa.releases r WHERE r.deployment_id = id;
	DELETE FROM miosa.versions v WHERE v.deployment_id = id;
	DELETE FROM miosa.deployments p WHERE p.id = id;
	RETURN jsonb_build_object('data', jsonb_build_object('id', id, 'state', 'removed', 'artifacts', artifacts),
		'operation', jsonb_build_object('id', stored #> '{operation,id}', 'outcome', stored #> '{operation,outcome}'));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_deployment(text, text, text) IS 'Removes a deployment without an active version, with its hosts, versions, releases and instances; its audit events stay';

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
	DELETE FROM miosa.freezes f WHERE f.tenant_id = id;
	DELETE FROM miosa.bad_artifacts b WHERE b.tenant_id = id;
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
SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' SET extra_float_digits = 1 AS $$
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
