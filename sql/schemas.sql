-- Schemas of applications' databases: which version of it is applied, and from
-- which version of it on code can work with that.  Migration tools report it;
-- src/operation/schema_guard.c compares versions with it before they serve.
--
-- A schema belongs to a tenant, or to all of them (tenant *); a deployment that
-- names a schema means its tenant's before the one of all.

CREATE TABLE miosa.schemas (
	tenant_id text COLLATE "C" NOT NULL,
	name text COLLATE "C" NOT NULL,
	version bigint CHECK (version >= 0),
	compatible_from bigint CHECK (compatible_from BETWEEN 0 AND version),
	applied_at timestamptz,
	database_schemas text[] NOT NULL DEFAULT '{}',
	reported_by text,
	reported_at timestamptz,
	PRIMARY KEY (tenant_id, name),
	CONSTRAINT "a report has a version, compatible_from and a time" CHECK (num_nulls(version, compatible_from, applied_at) IN (0, 3))
);
COMMENT ON TABLE miosa.schemas IS 'Schemas of applications'' databases, with the newest report of each';
COMMENT ON COLUMN miosa.schemas.tenant_id IS 'Tenant whose deployments may name it; * for every tenant';
COMMENT ON COLUMN miosa.schemas.name IS 'Name that deployments have in schema_name';
COMMENT ON COLUMN miosa.schemas.version IS 'Version that is applied; null before the first report';
COMMENT ON COLUMN miosa.schemas.compatible_from IS 'Code that was built for this version of the schema, or a later one, can work with it';
COMMENT ON COLUMN miosa.schemas.applied_at IS 'When that version was applied';
COMMENT ON COLUMN miosa.schemas.database_schemas IS 'Schemas of this database in which objects that versions require are looked up; empty: none';
COMMENT ON COLUMN miosa.schemas.reported_by IS 'Actor of the report';
COMMENT ON COLUMN miosa.schemas.reported_at IS 'When it was reported';

CREATE TABLE miosa.schema_reports (
	tenant_id text COLLATE "C" NOT NULL,
	name text COLLATE "C" NOT NULL,
	seq bigint NOT NULL,
	version bigint NOT NULL,
	compatible_from bigint NOT NULL,
	applied_at timestamptz NOT NULL,
	newest boolean NOT NULL,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	session_user_name text NOT NULL,
	client_addr inet,
	created_at timestamptz NOT NULL,
	keep_until timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, name, seq)
);
CREATE INDEX schema_reports_expiry ON miosa.schema_reports (keep_until);
COMMENT ON TABLE miosa.schema_reports IS 'Reports about schemas; append-only for everybody, and kept as long as audit events';
COMMENT ON COLUMN miosa.schema_reports.tenant_id IS 'As in miosa.schemas';
COMMENT ON COLUMN miosa.schema_reports.name IS 'Name of the schema';
COMMENT ON COLUMN miosa.schema_reports.seq IS 'Number among the reports of the schema, in their order';
COMMENT ON COLUMN miosa.schema_reports.version IS 'Version that was applied';
COMMENT ON COLUMN miosa.schema_reports.compatible_from IS 'As in miosa.schemas';
COMMENT ON COLUMN miosa.schema_reports.applied_at IS 'When it was applied';
COMMENT ON COLUMN miosa.schema_reports.newest IS 'Whether it was applied later than what was reported before, and so was written to miosa.schemas';
COMMENT ON COLUMN miosa.schema_reports.actor_type IS 'user, api_key, role or system';
COMMENT ON COLUMN miosa.schema_reports.actor_id IS 'Id of the actor, of that type';
COMMENT ON COLUMN miosa.schema_reports.session_user_name IS 'Role that logged in';
COMMENT ON COLUMN miosa.schema_reports.client_addr IS 'Address of the client; null over a Unix socket';
COMMENT ON COLUMN miosa.schema_reports.created_at IS 'When it was reported';
COMMENT ON COLUMN miosa.schema_reports.keep_until IS 'Until when retention keeps it';

-- Keep reports as they are.
CREATE FUNCTION miosa.schema_reports_keep() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'DELETE' AND OLD.keep_until < now() THEN
		RETURN OLD;
	END IF;
	PERFORM miosa.raise_condition('FORBIDDEN', 'reports about schemas cannot be changed',
		format('%s on miosa.schema_reports was refused.', TG_OP),
		'Read them: SELECT * FROM miosa.schema_reports ORDER BY created_at DESC LIMIT 50;');
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.schema_reports_keep() IS 'Trigger: raises FORBIDDEN on UPDATE and TRUNCATE, and on DELETE of a report before retention ends';
CREATE TRIGGER schema_reports_keep BEFORE UPDATE OR DELETE ON miosa.schema_reports
	FOR EACH ROW EXECUTE FUNCTION miosa.schema_reports_keep();
CREATE TRIGGER schema_reports_truncate BEFORE TRUNCATE ON miosa.schema_reports
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.schema_reports_keep();
ALTER TABLE miosa.schema_reports ENABLE ALWAYS TRIGGER schema_reports_keep;
ALTER TABLE miosa.schema_reports ENABLE ALWAYS TRIGGER schema_reports_truncate;

-- A tenant of the same id may come later.
CREATE FUNCTION miosa.tenants_schemas() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa.schemas s WHERE s.tenant_id = OLD.id;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.tenants_schemas() IS 'Trigger: schemas of a tenant are deleted with it';
CREATE TRIGGER tenants_schemas AFTER DELETE ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.tenants_schemas();

-- Build the object of a schema.
CREATE FUNCTION miosa.schema_object(s miosa.schemas) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object('schema_name', s.name, 'tenant_id', nullif(s.tenant_id, '*'),
		'version', s.version, 'compatible_from', s.compatible_from, 'applied_at', miosa.iso(s.applied_at),
		'database_schemas', s.database_schemas, 'reported_by', s.reported_by, 'reported_at', miosa.iso(s.reported_at))
$$;
COMMENT ON FUNCTION miosa.schema_object(miosa.schemas) IS 'A schema as functions return it';

-- Whose schema a caller may report about: that of a tenant for which it feeds
-- versions or reports; that of all tenants when it acts for all.
CREATE FUNCTION miosa.check_schema_owner(tenant_id text, function_name text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_variable
BEGIN
	IF tenant_id IS NULL THEN
		PERFORM miosa.require_all_tenants('function ' || function_name);
		RETURN '*';
	END IF;
	PERFORM miosa.check_id(tenant_id, 'tenant id');
	IF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id AND miosa.sees_tenant(t.id)) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', tenant_id), NULL,
			format('Add it first: SELECT miosa_put_tenant(%L, ''slug'');', tenant_id));
	END IF;
	IF NOT miosa.may(tenant_id, 'report') THEN
		PERFORM miosa.check_scope(tenant_id, 'deploy', 'call ' || function_name);
	END IF;
	RETURN tenant_id;
END $$;
COMMENT ON FUNCTION miosa.check_schema_owner(text, text) IS 'The tenant of a schema, * for null, if the caller may report about its schemas; else FORBIDDEN or INVALID_ARGUMENT';

-- Report which version of a schema is applied.  A report that repeats the newest
-- one changes nothing.  The row is locked before the clock is read, so that of two
-- reports without a time the one that is written later counts.
CREATE FUNCTION @extschema@.miosa_report_schema(schema_name text, version bigint, compatible_from bigint DEFAULT NULL,
	applied_at timestamptz DEFAULT NULL, tenant_id text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- Clocks differ a little.
	ahead CONSTANT interval := '1 min';
	tenant CONSTANT text := miosa.check_schema_owner(tenant_id, 'miosa_report_schema');
	lowest CONSTANT bigint := coalesce(compatible_from, version);
	s miosa.schemas;
	actor record;
	at timestamptz := miosa.check_time(applied_at, 'applied_at');
	here timestamptz;
	is_newest boolean;
	is_known boolean;
BEGIN
	PERFORM miosa.check_schema_name(schema_name);
	IF version IS NULL OR version < 0 THEN
		PERFORM miosa.refuse_value('argument', 'version', version::text, NULL,
			'Pass the version that is applied, a whole number from 0: 42, 20260131120000.');
	ELSIF lowest NOT BETWEEN 0 AND version THEN
		PERFORM miosa.refuse_value('argument', 'compatible_from', lowest::text,
			format('The version is %s.', version),
			'Pass the lowest version whose code works with this one; leave it out if no older code does.');
	ELSIF at > clock_timestamp() + ahead THEN
		PERFORM miosa.refuse_value('argument', 'applied_at', miosa.iso(at), 'The time is in the future.',
			'Report a migration when it has been applied, or leave the time out.');
	END IF;

	INSERT INTO miosa.schemas (tenant_id, name) VALUES (tenant, schema_name) ON CONFLICT ON CONSTRAINT schemas_pkey DO NOTHING;
	SELECT * INTO s FROM miosa.schemas o WHERE o.tenant_id = tenant AND o.name = schema_name FOR UPDATE;
	here := clock_timestamp();
	is_known := CASE WHEN at IS NULL THEN (s.version, s.compatible_from) IS NOT DISTINCT FROM (version, lowest)
		ELSE EXISTS (SELECT FROM miosa.schema_reports r WHERE r.tenant_id = tenant AND r.name = schema_name
			AND r.version = version AND r.compatible_from = lowest AND r.applied_at = least(at, r.created_at)) END;
	at := CASE WHEN at IS NULL THEN greatest(here, s.applied_at + '1 us'::interval) ELSE least(at, here) END;
	is_newest := s.applied_at IS NULL OR at >= s.applied_at;
	IF NOT is_known THEN
		SELECT * INTO actor FROM miosa.current_actor();
		INSERT INTO miosa.schema_reports (tenant_id, name, seq, version, compatible_from, applied_at, newest,
				actor_type, actor_id, session_user_name, client_addr, created_at, keep_until)
			VALUES (tenant, schema_name, coalesce((SELECT max(r.seq) FROM miosa.schema_reports r
					WHERE r.tenant_id = tenant AND r.name = schema_name), 0) + 1, version, lowest, at, is_newest,
				actor.type, actor.id, session_user, inet_client_addr(), here, here + miosa.audit_retention(tenant));
		IF is_newest THEN
			UPDATE miosa.schemas o SET version = version, compatible_from = lowest, applied_at = at,
					reported_by = actor.type || ':' || actor.id, reported_at = here
				WHERE o.tenant_id = tenant AND o.name = schema_name
				RETURNING * INTO s;
		END IF;
	END IF;
	RETURN jsonb_build_object('data', miosa.schema_object(s),
		'report', jsonb_build_object('recorded', NOT is_known, 'newest', s.version = version AND s.compatible_from = lowest));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_report_schema(text, bigint, bigint, timestamptz, text) IS 'Says which version of a schema is applied, and which code can work with it; called by migration tools';

-- Say where a schema's objects are in this database.
CREATE FUNCTION @extschema@.miosa_put_schema(schema_name text, database_schemas text[] DEFAULT NULL, tenant_id text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	tenant CONSTANT text := miosa.check_schema_owner(tenant_id, 'miosa_put_schema');
	bad text;
	s miosa.schemas;
BEGIN
	PERFORM miosa.check_schema_name(schema_name);
	SELECT coalesce(d.name, 'null') INTO bad FROM unnest(database_schemas) d (name)
		WHERE coalesce(d.name, '') = '' OR octet_length(d.name) > 63 LIMIT 1;
	IF FOUND OR cardinality(database_schemas) > 100 OR array_ndims(database_schemas) > 1 THEN
		PERFORM miosa.refuse_value('argument', 'database_schemas', coalesce(bad, database_schemas::text), NULL,
			'Pass up to 100 names of schemas as they are in pg_namespace: ''{app}''.');
	END IF;
	INSERT INTO miosa.schemas AS o (tenant_id, name, database_schemas) VALUES (tenant, schema_name, coalesce(database_schemas, '{}'))
		ON CONFLICT ON CONSTRAINT schemas_pkey DO UPDATE SET database_schemas = coalesce(database_schemas, o.database_schemas)
		RETURNING * INTO s;
	RETURN jsonb_build_object('data', miosa.schema_object(s));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_schema(text, text[], text) IS 'Adds or changes a schema: in which schemas of this database the objects are that its versions require';

-- Delete a schema; its reports stay until retention ends.
CREATE FUNCTION @extschema@.miosa_remove_schema(schema_name text, tenant_id text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa.schemas s WHERE s.tenant_id = coalesce(tenant_id, '*') AND s.name = schema_name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('schema "%s" does not exist', schema_name), NULL,
			'See which there are with SELECT tenant_id, name FROM miosa.schemas;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_schema(text, text) IS 'Removes a schema; deployments that name it are not checked any more, and its reports stay';

-- Compare a version with the schema of its deployment.
CREATE FUNCTION miosa.schema_finding(deployment_id text, version_id text, OUT result text, OUT message text, OUT detail text)
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_schema_finding';
COMMENT ON FUNCTION miosa.schema_finding(text, text) IS 'What the check schema_fits of an operation would find: ok, unknown, warning or failed, and why';

-- Which versions fit.
CREATE FUNCTION miosa.schema_fits_rows(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	id text := miosa.find_deployment(deployment);
BEGIN
	RETURN QUERY SELECT 'v' || v.version_number, v.schema_version,
			CASE f.result WHEN 'ok' THEN 'yes' WHEN 'unknown' THEN 'unknown' ELSE 'no' END,
			miosa.show(left(coalesce(f.detail, f.message), 200))
		FROM (SELECT * FROM miosa.versions o WHERE o.deployment_id = id AND o.state = 'ready'
			ORDER BY o.version_number DESC LIMIT 50) v
		CROSS JOIN LATERAL miosa.schema_finding(id, v.id) f
		ORDER BY v.version_number DESC;
END $$;
COMMENT ON FUNCTION miosa.schema_fits_rows(text) IS 'Rows of miosa.schema_fits()';

-- Enter schema_fits_rows() from C.
CREATE FUNCTION miosa.schema_fits(deployment text, OUT version text, OUT built_for bigint, OUT fits text, OUT why text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'mrb_entry_console';
COMMENT ON FUNCTION miosa.schema_fits(text) IS 'Which of the newest 50 versions of a deployment can work with the schema as it is now, for people';
