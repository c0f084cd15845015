-- References that let a restore through.
--
-- The order of pg_dump's list is the only thing that tells a restore to load
-- tenants before deployments: with several jobs, or a list in another order, a
-- row may come before what it refers to.  So foreign keys check updates and
-- deletions, as they always do, but new rows are checked by the triggers below.
-- They accept a reference to what is not there yet while check_function_bodies
-- is off: pg_dump and pg_restore set this for the sake of such references.

CREATE FUNCTION miosa.restoring() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN current_setting('check_function_bodies') = 'off';
COMMENT ON FUNCTION miosa.restoring() IS 'Whether this session restores a dump, so that rows may come before those that they refer to';

CREATE FUNCTION miosa.refuse_reference(child text, "constraint" text, columns text, "values" text, parent text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT miosa.raise_reference(format('insert or update on table "%s" violates foreign key constraint "%s"', child, "constraint"),
		format('Key (%s)=(%s) is not present in table "%s".', columns, "values", parent), child, "constraint")
$$;
COMMENT ON FUNCTION miosa.refuse_reference(text, text, text, text, text) IS 'Refuses a new row that refers to what is not there';

CREATE FUNCTION miosa.refers_to_plan() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.restoring() THEN
		PERFORM FROM miosa.own_plans p WHERE p.name = NEW.plan FOR KEY SHARE;
		IF NOT FOUND AND NOT EXISTS (SELECT FROM miosa.shipped_plans p WHERE p.name = NEW.plan) THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, 'plan', NEW.plan, 'plans');
		END IF;
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refers_to_plan() IS 'Trigger: foreign_key_violation for a plan that does not exist';

CREATE FUNCTION miosa.refers_to_tenants() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.restoring() THEN
		PERFORM FROM miosa.tenants t WHERE t.id = NEW.tenant_id FOR KEY SHARE;
		IF NOT FOUND THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, 'tenant_id', NEW.tenant_id, 'tenants');
		END IF;
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refers_to_tenants() IS 'Trigger: foreign_key_violation for a tenant that does not exist';

CREATE FUNCTION miosa.refers_to_deployments() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.restoring() THEN
		PERFORM FROM miosa.deployments p WHERE p.id = NEW.deployment_id FOR KEY SHARE;
		IF NOT FOUND THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, 'deployment_id', NEW.deployment_id, 'deployments');
		END IF;
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refers_to_deployments() IS 'Trigger: foreign_key_violation for a deployment that does not exist';

CREATE FUNCTION miosa.refers_to_versions() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	version text;
	field text := 'version_id';
BEGIN
	IF NOT miosa.restoring() THEN
		IF TG_TABLE_NAME = 'releases' THEN
			field := 'deployment_version_id';
			version := NEW.deployment_version_id;
		ELSE
			version := NEW.version_id;
		END IF;
		PERFORM FROM miosa.versions v WHERE v.deployment_id = NEW.deployment_id AND v.id = version FOR KEY SHARE;
		IF NOT FOUND THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, 'deployment_id, ' || field,
				NEW.deployment_id || ', ' || version, 'versions');
		END IF;
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refers_to_versions() IS 'Trigger: foreign_key_violation for a version that does not exist';

CREATE FUNCTION miosa.refers_to_adapters() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT miosa.restoring() THEN
		PERFORM FROM miosa.adapters a WHERE a.name = NEW.adapter FOR KEY SHARE;
		IF NOT FOUND THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, 'adapter', NEW.adapter, 'adapters');
		END IF;
	END IF;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.refers_to_adapters() IS 'Trigger: foreign_key_violation for an adapter that does not exist';

-- A trigger is called like the constraint whose part it does.
CREATE TRIGGER tenants_plan_fkey AFTER INSERT ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.refers_to_plan();
CREATE TRIGGER tenants_plan_fkey_update AFTER UPDATE OF plan ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.refers_to_plan();
DO $$
DECLARE
	key record;
BEGIN
	FOR key IN
		SELECT c.conname AS name, c.conrelid::regclass AS child, r.relname AS parent, t.tgname AS inserted
		FROM pg_constraint c
		JOIN pg_class r ON r.oid = c.confrelid
		JOIN pg_trigger t ON t.tgconstraint = c.oid AND t.tgfoid = 'pg_catalog."RI_FKey_check_ins"'::regproc
		WHERE c.contype = 'f' AND c.connamespace = 'miosa'::regnamespace
	LOOP
		EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', key.child, key.inserted);
		EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION miosa.%I()',
			key.name, key.child, 'refers_to_' || key.parent);
	END LOOP;
END $$;
