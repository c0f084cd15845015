-- References that let a restore through.
--
-- The order of pg_dump's list is the only thing that has a restore load
-- tenants before deployments: with several jobs, or a list in another order, a
-- row may come before what it refers to.  So foreign keys check updates and
-- deletions, as they always do, but new rows are checked by the triggers below.
-- They accept a reference to what is not there yet while check_function_bodies
-- is off: pg_dump and pg_restore set this for the sake of such references.

-- Recognize a restore by the setting that pg_dump and pg_restore make.
CREATE FUNCTION miosa.restoring() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN current_setting('check_function_bodies') = 'off';
COMMENT ON FUNCTION miosa.restoring() IS 'Whether this session restores a dump, so that rows may come before those that they refer to';

-- Raise the error of a foreign key, in its words.
CREATE FUNCTION miosa.refuse_reference(child text, "constraint" text, columns text, "values" text, parent text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT miosa.raise_reference(format('insert or update on table "%s" violates foreign key constraint "%s"', child, "constraint"),
		format('Key (%s)=(%s) is not present in table "%s".', columns, "values", parent), child, "constraint")
$$;
COMMENT ON FUNCTION miosa.refuse_reference(text, text, text, text, text) IS 'Raises foreign_key_violation for a new row that refers to a missing one';

-- Check the plan of a tenant, which may be a shipped one.  A lock keeps an own
-- plan from being deleted meanwhile.
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
COMMENT ON FUNCTION miosa.refers_to_plan() IS 'Trigger: raises foreign_key_violation for a plan that does not exist';

-- A trigger has the name of the constraint that it checks.
CREATE TRIGGER tenants_plan_fkey AFTER INSERT ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.refers_to_plan();
CREATE TRIGGER tenants_plan_fkey_update AFTER UPDATE OF plan ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.refers_to_plan();

-- One function checks all foreign keys.  It has a branch for each, generated
-- from the catalog, so that each statement has a plan that is kept.
DO $$
DECLARE
	key record;
	branches text := '';
	triggers text[] := '{}';
BEGIN
	FOR key IN
		SELECT c.conname AS name, c.conrelid::regclass AS child, c.confrelid::regclass AS parent, r.relname AS parent_name,
			t.tgname AS inserted, f.columns, f."values", f.equal
		FROM pg_constraint c
		JOIN pg_class r ON r.oid = c.confrelid
		JOIN pg_trigger t ON t.tgconstraint = c.oid AND t.tgfoid = 'pg_catalog."RI_FKey_check_ins"'::regproc
		CROSS JOIN LATERAL (
			SELECT string_agg(a.attname, ', ' ORDER BY k.n) AS columns,
				string_agg(format('NEW.%I', a.attname), ' || '', '' || ' ORDER BY k.n) AS "values",
				string_agg(format('p.%I = NEW.%I', b.attname, a.attname), ' AND ' ORDER BY k.n) AS equal
			FROM unnest(c.conkey, c.confkey) WITH ORDINALITY k (child, parent, n)
			JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
			JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.parent) f
		WHERE c.contype = 'f' AND c.connamespace = 'miosa'::regnamespace
		ORDER BY c.conname
	LOOP
		branches := branches || format($branch$
	WHEN %L THEN
		PERFORM FROM %s p WHERE %s FOR KEY SHARE;
		IF NOT FOUND THEN
			PERFORM miosa.refuse_reference(TG_TABLE_NAME, TG_NAME, %L, %s, %L);
		END IF;$branch$, key.name, key.parent, key.equal, key.columns, key."values", key.parent_name);
		triggers := triggers
			|| format('ALTER TABLE %s DISABLE TRIGGER %I', key.child, key.inserted)
			|| format('CREATE TRIGGER %I AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION miosa.refers()', key.name, key.child);
	END LOOP;
	EXECUTE format('CREATE FUNCTION miosa.refers() RETURNS trigger LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER '
		'SET search_path = pg_catalog, pg_temp AS %L', format($body$
BEGIN
	IF miosa.restoring() THEN
		RETURN NULL;
	END IF;
	CASE TG_NAME%s
	END CASE;
	RETURN NULL;
END $body$, branches));
	COMMENT ON FUNCTION miosa.refers() IS 'Trigger: foreign_key_violation for a new row that refers to what does not exist; generated from the foreign keys';
	FOR i IN 1 .. cardinality(triggers) LOOP
		EXECUTE triggers[i];
	END LOOP;
END $$;
