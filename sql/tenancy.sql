-- Tenancy: for which tenants a caller acts.  src/operation/tenancy.c decides it
-- and says who the caller is; the functions here are its face in SQL.

CREATE TABLE miosa.tenant_members (
	tenant_id text COLLATE "C" NOT NULL,
	role_name text COLLATE "C" NOT NULL,
	scopes text[] NOT NULL CHECK (scopes <@ '{read,rollback,deploy,report,speak}' AND cardinality(scopes) > 0),
	granted_by text NOT NULL DEFAULT session_user,
	granted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, role_name)
);
COMMENT ON TABLE miosa.tenant_members IS 'Roles that act for tenants, and what they may do; counts with miosa_rollback.tenancy = enforced, but for the scope speak, which always counts';
COMMENT ON COLUMN miosa.tenant_members.tenant_id IS 'Tenant; * for every tenant';
COMMENT ON COLUMN miosa.tenant_members.role_name IS 'Role; the roles that inherit its rights act for the tenant, too';
COMMENT ON COLUMN miosa.tenant_members.scopes IS 'read, rollback (roll back, promote, resend), deploy (feed versions, promote), report (report instances) and speak (name another actor); each but speak includes reading';
COMMENT ON COLUMN miosa.tenant_members.granted_by IS 'Role that granted it';
COMMENT ON COLUMN miosa.tenant_members.granted_at IS 'When it was granted';

-- Every process keeps what it has read.
CREATE FUNCTION miosa.members_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_members_changed';
COMMENT ON FUNCTION miosa.members_changed() IS 'Trigger: what processes have kept of miosa.tenant_members is outdated';

CREATE TRIGGER members_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.tenant_members
	FOR EACH ROW EXECUTE FUNCTION miosa.members_changed();
CREATE TRIGGER members_truncated AFTER TRUNCATE ON miosa.tenant_members
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.members_changed();
ALTER TABLE miosa.tenant_members ENABLE ALWAYS TRIGGER members_changed;
ALTER TABLE miosa.tenant_members ENABLE ALWAYS TRIGGER members_truncated;

-- They are leakproof, since policies ask them: the only thing that they say about
-- an argument is whether its row exists for the caller.

-- Ask for a tenant.
CREATE FUNCTION miosa.sees_tenant(tenant_id text) RETURNS boolean
LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_tenant';
COMMENT ON FUNCTION miosa.sees_tenant(text) IS 'Whether rows of a tenant exist for the caller';

-- Ask for the tenant of a deployment.
CREATE FUNCTION miosa.sees_deployment(deployment_id text) RETURNS boolean
LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_deployment';
COMMENT ON FUNCTION miosa.sees_deployment(text) IS 'Whether a deployment exists for the caller; one that was deleted exists for those who act for all tenants';

-- Ask whether a deployment is there and has to be passed by.
CREATE FUNCTION miosa.is_anothers_deployment(deployment_id text) RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_is_anothers_deployment';
COMMENT ON FUNCTION miosa.is_anothers_deployment(text) IS 'Whether a deployment exists, but not for the caller; reads as much if there is none';

-- Ask for all tenants.
CREATE FUNCTION miosa.sees_all_tenants() RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_all_tenants';
COMMENT ON FUNCTION miosa.sees_all_tenants() IS 'Whether the caller acts for all tenants';

-- Ask for what all tenants share.
CREATE FUNCTION miosa.sees_endpoints() RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_sees_endpoints';
COMMENT ON FUNCTION miosa.sees_endpoints() IS 'Whether the caller sees endpoints and storages, whose errors and selectors can name any tenant: it acts for all tenants, or has the rights of pg_monitor';

-- Ask for a scope.
CREATE FUNCTION miosa.may(tenant_id text, scope text) RETURNS boolean
LANGUAGE c STABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_may';
COMMENT ON FUNCTION miosa.may(text, text) IS 'Whether the caller has a scope for a tenant';

-- Ask for the rights of an administrator.
CREATE FUNCTION miosa.administers() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_administers';
COMMENT ON FUNCTION miosa.administers() IS 'Whether the caller has the rights of miosa_admin';

-- Refuse a caller without a scope.
CREATE FUNCTION miosa.check_scope(tenant_id text, scope text, verb text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_scope';
COMMENT ON FUNCTION miosa.check_scope(text, text, text) IS 'Raises FORBIDDEN unless the caller, who sees the tenant, has the scope for it; verb: what it wants to do';

-- Refuse a caller that does not act for all tenants.
CREATE FUNCTION miosa.require_all_tenants(what text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_require_all_tenants';
COMMENT ON FUNCTION miosa.require_all_tenants(text) IS 'Raises FORBIDDEN unless the caller acts for all tenants; what: the function that concerns them';

-- Refuse a text with characters that do not show.
CREATE FUNCTION miosa.check_visible(value text, what text, name text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_visible';
COMMENT ON FUNCTION miosa.check_visible(text, text, text) IS 'The value unless it has control characters or characters that set the direction of text, else INVALID_ARGUMENT; what: argument or column with its name';

-- Show a text that has such characters.
CREATE FUNCTION miosa.show(value text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_show';
COMMENT ON FUNCTION miosa.show(text) IS E'The text on one line, with escapes such as \\u202e for control characters and characters that set the direction of text';

-- Memberships.

-- Check the scopes of a membership.
CREATE FUNCTION miosa.check_scopes(scopes text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	words CONSTANT text[] := '{read,rollback,deploy,report,speak}';
BEGIN
	IF coalesce(cardinality(scopes), 0) = 0 OR NOT coalesce(scopes <@ words, false) THEN
		PERFORM miosa.refuse_value('argument', 'scopes', coalesce(scopes::text, '{}'), NULL,
			format('Pass one or more of: %s.', array_to_string(words, ', ')));
	END IF;
	RETURN ARRAY(SELECT w.word FROM unnest(words) WITH ORDINALITY w (word, place) WHERE w.word = ANY (scopes) ORDER BY w.place);
END $$;
COMMENT ON FUNCTION miosa.check_scopes(text[]) IS 'The scopes in their order, each once, else INVALID_ARGUMENT';

-- Build the object of a membership.
CREATE FUNCTION miosa.member_object(m miosa.tenant_members) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object('role_name', m.role_name, 'tenant_id', m.tenant_id,
		'scopes', m.scopes, 'granted_by', m.granted_by, 'granted_at', miosa.iso(m.granted_at))
$$;
COMMENT ON FUNCTION miosa.member_object(miosa.tenant_members) IS 'A membership as functions return it';

-- Add scopes to a membership, or make one.
CREATE FUNCTION @extschema@.miosa_grant_tenant(role_name text, tenant_id text, scopes text[])
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	given CONSTANT text[] := miosa.check_scopes(scopes);
	m miosa.tenant_members;
BEGIN
	IF tenant_id IS DISTINCT FROM '*' THEN
		PERFORM miosa.check_id(tenant_id, 'tenant id');
		IF NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id) THEN
			PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('tenant "%s" does not exist', tenant_id), NULL,
				format('Add it first: SELECT miosa_put_tenant(%L, ''slug'');', tenant_id));
		END IF;
	END IF;
	IF role_name IS NULL OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role_name) THEN
		PERFORM miosa.refuse_value('argument', 'role_name', role_name, 'There is no such role.',
			'Make it first: CREATE ROLE ...;');
	END IF;
	INSERT INTO miosa.tenant_members AS o (tenant_id, role_name, scopes, granted_by)
		VALUES (tenant_id, role_name, given, miosa.caller())
		ON CONFLICT ON CONSTRAINT tenant_members_pkey DO UPDATE
		SET scopes = miosa.check_scopes(o.scopes || EXCLUDED.scopes), granted_by = EXCLUDED.granted_by, granted_at = EXCLUDED.granted_at
		WHERE NOT o.scopes @> EXCLUDED.scopes;
	SELECT * INTO m FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name;
	RETURN jsonb_build_object('data', miosa.member_object(m));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_grant_tenant(text, text, text[]) IS 'Lets a role act for a tenant, or for all with *, in these scopes; earlier ones stay';

-- Take scopes from a membership, or all of it.
CREATE FUNCTION @extschema@.miosa_revoke_tenant(role_name text, tenant_id text, scopes text[] DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	m miosa.tenant_members;
	rest text[];
BEGIN
	IF tenant_id IS DISTINCT FROM '*' THEN
		PERFORM miosa.check_id(tenant_id, 'tenant id');
	END IF;
	IF role_name IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'role_name', NULL, NULL, 'Pass the role whose membership ends.');
	END IF;
	SELECT * INTO m FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name FOR UPDATE;
	rest := ARRAY(SELECT s.word FROM unnest(m.scopes) WITH ORDINALITY s (word, place)
		WHERE scopes IS NOT NULL AND s.word <> ALL (miosa.check_scopes(scopes)) ORDER BY s.place);
	IF cardinality(rest) = 0 THEN
		DELETE FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name;
		RETURN jsonb_build_object('data', NULL);
	END IF;
	UPDATE miosa.tenant_members o SET scopes = rest, granted_by = miosa.caller(), granted_at = now()
		WHERE o.tenant_id = tenant_id AND o.role_name = role_name AND o.scopes <> rest;
	SELECT * INTO m FROM miosa.tenant_members o WHERE o.tenant_id = tenant_id AND o.role_name = role_name;
	RETURN jsonb_build_object('data', miosa.member_object(m));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_revoke_tenant(text, text, text[]) IS 'Takes scopes of a tenant from a role, all of them when none are given; returns what is left, null for nothing';

-- A tenant of the same id may come later.
CREATE FUNCTION miosa.tenants_members() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM miosa.tenant_members m WHERE m.tenant_id = OLD.id;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.tenants_members() IS 'Trigger: memberships of a tenant end when it is deleted';
CREATE TRIGGER tenants_members AFTER DELETE ON miosa.tenants
	FOR EACH ROW EXECUTE FUNCTION miosa.tenants_members();
