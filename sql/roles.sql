-- Roles.  They belong to the whole cluster, so they are made only if they are
-- missing, stay when the extension is dropped, and are the same in every
-- database that has it.  rights.sql says what each of them may; miosa_all_tenants
-- has no right but to act for all tenants (src/operation/tenancy.c).

DO $$
DECLARE
	names CONSTANT text[] := ARRAY['miosa_owner', 'miosa_viewer', 'miosa_operator', 'miosa_deployer', 'miosa_agent',
		'miosa_auditor', 'miosa_edge', 'miosa_admin', 'miosa_all_tenants'];
	name text;
	grp text;
	problem text;
BEGIN
	FOREACH name IN ARRAY names LOOP
		BEGIN
			IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = name) THEN
				EXECUTE format('CREATE ROLE %I NOLOGIN', name);
			END IF;
		-- Another session may make the same role at the same time.
		EXCEPTION WHEN duplicate_object OR unique_violation THEN
			NULL;
		END;
	END LOOP;

	-- The owner of everything that need not be owned by a superuser.  Who can
	-- become it can do all that the extension does, so a role that somebody made
	-- beforehand for that is refused.
	SELECT CASE WHEN r.rolcanlogin THEN 'It can log in.'
			WHEN r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication THEN 'It has more attributes than BYPASSRLS.'
			ELSE (SELECT format('Role "%s" is a member of it.', s.rolname) FROM pg_auth_members m
				JOIN pg_roles s ON s.oid = m.member AND NOT s.rolsuper WHERE m.roleid = r.oid ORDER BY s.rolname LIMIT 1) END
		INTO problem FROM pg_roles r WHERE r.rolname = 'miosa_owner';
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'role "miosa_owner" cannot own the extension' USING ERRCODE = 'invalid_role_specification',
			DETAIL = problem, HINT = 'It must be a role without login, without other attributes and without members; to have it made anew, rename it: ALTER ROLE miosa_owner RENAME TO other;';
	END IF;
	-- Its functions act for all tenants, so row-level security does not hold it.
	IF NOT (SELECT r.rolbypassrls FROM pg_roles r WHERE r.rolname = 'miosa_owner') THEN
		ALTER ROLE miosa_owner BYPASSRLS;
	END IF;
	-- The doctor reads other sessions' rows of statistics views.
	IF NOT pg_has_role('miosa_owner', 'pg_read_all_stats', 'MEMBER') THEN
		GRANT pg_read_all_stats TO miosa_owner;
	END IF;

	FOR name, grp IN VALUES
		-- member, group
		('miosa_operator', 'miosa_viewer'),
		('miosa_deployer', 'miosa_viewer'),
		('miosa_admin', 'miosa_operator'),
		('miosa_admin', 'miosa_deployer'),
		('miosa_admin', 'miosa_agent'),
		('miosa_admin', 'miosa_auditor'),
		('miosa_admin', 'miosa_edge')
	LOOP
		IF NOT pg_has_role(name, grp, 'MEMBER') THEN
			EXECUTE format('GRANT %I TO %I', grp, name);
		END IF;
	END LOOP;
END $$;
