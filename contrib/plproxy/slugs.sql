-- Slugs, and with them managed hosts, are unique over shards.  The directory of hosts has
-- an entry for each, "tenant/slug", which is claimed, then held, as the entry of a
-- host is.  It stays when its deployment has another slug or is gone: who takes it
-- over knows by it that another shard may have to forget the host.

CREATE OR REPLACE FUNCTION miosa_shard.slug_wanted(id text, tenant_id text, name text, slug text, fields jsonb, context text[], shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $7;
	SELECT CASE WHEN miosa_shard.adopt($6::text[]) THEN miosa_shard.slug_wanted($1::text, $2::text, $3::text, $4::text, $5::jsonb) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.slug_owner(tenant_id text, slug text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $4;
	SELECT CASE WHEN miosa_shard.adopt($3::text[]) THEN miosa_shard.slug_owner($1::text, $2::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.managed_by(host text, context text[], shard integer) RETURNS text LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $3;
	SELECT CASE WHEN miosa_shard.adopt($2::text[]) THEN miosa_shard.managed_by($1::text) END;
$$;
CREATE OR REPLACE FUNCTION miosa_shard.slug_list(after text, shard integer) RETURNS jsonb LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $2;
	SELECT miosa_shard.slug_list($1::text);
$$;
REVOKE ALL ON FUNCTION miosa_shard.slug_wanted(text, text, text, text, jsonb, text[], integer), miosa_shard.slug_owner(text, text, text[], integer),
	miosa_shard.managed_by(text, text[], integer), miosa_shard.slug_list(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION miosa_shard.slug_wanted(text, text, text, text, jsonb, text[], integer), miosa_shard.slug_owner(text, text, text[], integer),
	miosa_shard.managed_by(text, text[], integer), miosa_shard.slug_list(text, integer) TO miosa_admin;

-- A step on a shard, whose error is raised as the shard has raised it.
CREATE OR REPLACE FUNCTION miosa_router.slug_step(step text, shard integer, key text, id text, content jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM miosa_router.check_on(shard);
	RETURN CASE step
		WHEN 'wanted' THEN miosa_shard.slug_wanted(id, content ->> 'tenant_id', content ->> 'name', content ->> 'slug', content -> 'fields', miosa_router.context(), shard)
		WHEN 'owner' THEN to_jsonb(miosa_shard.slug_owner(content ->> 'tenant_id', content ->> 'slug', miosa_router.context(), shard))
		WHEN 'managed' THEN to_jsonb(miosa_shard.managed_by(key, miosa_router.context(), shard))
		WHEN 'list' THEN miosa_shard.slug_list(id, shard)
		WHEN 'claim' THEN miosa_shard.claim_host(key, id, content, shard)
		WHEN 'confirm' THEN to_jsonb(miosa_shard.confirm_host(key, id, shard))
		WHEN 'release' THEN to_jsonb(miosa_shard.release_host(key, id, shard)) END;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	PERFORM miosa_router.pass_on(shard, state, message, detail, hint);
END $$;
COMMENT ON FUNCTION miosa_router.slug_step(text, integer, text, text, jsonb) IS 'One step of having a slug, on a shard';

CREATE OR REPLACE FUNCTION miosa_router.owner_of_slug(wanted jsonb, OUT number integer, OUT deployment_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	each record;
BEGIN
	FOR each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		deployment_id := miosa_router.slug_step('owner', each.number, NULL, NULL, wanted) #>> '{}';
		IF deployment_id IS NOT NULL THEN
			number := each.number;
			RETURN;
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.owner_of_slug(jsonb) IS 'Shard and deployment that have a slug of a tenant, of all shards; nulls for none';

-- As on one server.  One that does not exist for the caller is not named.
CREATE OR REPLACE FUNCTION miosa_router.refuse_managed(host text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	each record;
	holder text;
BEGIN
	FOR each IN SELECT s.number FROM miosa_router.all_shards() s LOOP
		holder := miosa_router.slug_step('managed', each.number, host, NULL, NULL) #>> '{}';
		IF holder IS NOT NULL THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('host "%s" is taken', host),
				format('The host is the managed host of deployment "%s".', holder), NULL);
		END IF;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa_router.refuse_managed(text) IS 'Raises INVALID_ARGUMENT for a managed host of a deployment that exists for the caller';

-- First step of having a slug.  What the deployment's shard refuses by itself is left
-- to it.  Null when there is nothing to claim.
CREATE OR REPLACE FUNCTION miosa_router.claim_slug(id text, tenant_id text, name text, slug text, fields jsonb, renames boolean, shard integer) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	-- Longer than a call can be at work between two steps.
	patience CONSTANT double precision := 10;
	wanted jsonb := miosa_router.slug_step('wanted', shard, NULL, id, jsonb_build_object('tenant_id', tenant_id, 'name', name, 'slug', slug, 'fields', fields));
	key text := wanted ->> 'key';
	directory integer;
	entry jsonb;
	owner record;
BEGIN
	IF key IS NULL THEN
		RETURN NULL;
	END IF;
	directory := miosa_router.directory_of(key);
	FOR attempt IN 1 .. 5 LOOP
		entry := miosa_router.slug_step('claim', directory, key, id, entry);
		IF entry IS NULL OR (entry ->> 'own')::boolean THEN
			RETURN wanted;
		END IF;
		owner := miosa_router.owner_of_slug(wanted);
		IF owner.number = shard AND owner.deployment_id <> id THEN
			RETURN NULL;
		ELSIF owner.deployment_id <> id AND renames THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, format('slug "%s" is taken', wanted ->> 'slug'),
				format('Deployment "%s" has it.', owner.deployment_id), 'Slugs are unique within a tenant; pass another one.');
		ELSIF owner.deployment_id <> id THEN
			PERFORM miosa_router.refuse('MR400', 'VALIDATION_ERROR', 422, 0, 'invalid deployment',
				format('Key (tenant_id, slug)=(%s, %s) already exists.', wanted ->> 'tenant_id', wanted ->> 'slug'), NULL);
		ELSIF entry ->> 'state' = 'claimed' AND (entry ->> 'age')::double precision < patience THEN
			PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('slug "%s" is being taken by another call', wanted ->> 'slug'),
				format('The claim is %s s old.', round((entry ->> 'age')::numeric, 1)), 'Repeat the call.');
		END IF;
		-- Nobody has it: the next attempt takes the entry if it is still the one that
		-- was seen.  A shard that had the host must not remove it from edges later.
		IF wanted ->> 'host' IS NOT NULL THEN
			PERFORM miosa_router.forget_host(wanted ->> 'host', id, shard);
		END IF;
	END LOOP;
	PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('slug "%s" is being taken by another call', wanted ->> 'slug'),
		'Several calls take the slug at the same time.', 'Repeat the call.');
END $$;
COMMENT ON FUNCTION miosa_router.claim_slug(text, text, text, text, jsonb, boolean, integer) IS 'First step of having a slug: claims its entry in the directory; returns what was claimed';

-- A call that took longer than its claim was respected has lost it.
CREATE OR REPLACE FUNCTION miosa_router.confirm_slug(wanted jsonb, id text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ours boolean := true;
BEGIN
	IF wanted IS NULL THEN
		RETURN;
	END IF;
	BEGIN
		ours := miosa_router.slug_step('confirm', miosa_router.directory_of(wanted ->> 'key'), wanted ->> 'key', id, NULL)::boolean;
	EXCEPTION WHEN OTHERS THEN
		-- The claim stays, and counts as long as the shard has the slug.
		NULL;
	END;
	IF NOT ours THEN
		PERFORM miosa_router.refuse('MR423', 'DEPLOYMENT_BUSY', 423, 1, format('slug "%s" is taken', wanted ->> 'slug'),
			'Another call took the slug over, because this one took too long.', format('SELECT miosa_rename_deployment(%L, ''another-slug'');', id));
	END IF;
END $$;
COMMENT ON FUNCTION miosa_router.confirm_slug(jsonb, text) IS 'Last step of having a slug';

-- After a refusal.  What became of a call whose answer was lost is not known; its
-- claim stays.
CREATE OR REPLACE FUNCTION miosa_router.release_slug(wanted jsonb, id text, sqlstate text, message text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	IF wanted IS NOT NULL AND NOT coalesce(miosa_router.is_down(sqlstate, message), false) AND (miosa_router.owner_of_slug(wanted)).number IS NULL THEN
		PERFORM miosa_router.slug_step('release', miosa_router.directory_of(wanted ->> 'key'), wanted ->> 'key', id, NULL);
	END IF;
EXCEPTION WHEN OTHERS THEN
	-- An entry that stays is in nobody's way: no shard has the slug.
	NULL;
END $$;
COMMENT ON FUNCTION miosa_router.release_slug(jsonb, text, text, text) IS 'Removes the entry of a slug that no shard has';

CREATE OR REPLACE FUNCTION miosa_router.register_slugs() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	shard record;
	page jsonb;
	slug record;
	entry jsonb;
	directory integer;
	number bigint := 0;
BEGIN
	FOR shard IN SELECT s.number, s.name FROM miosa_router.all_shards() s LOOP
		page := miosa_router.slug_step('list', shard.number, NULL, '', NULL);
		WHILE page <> '[]' LOOP
			FOR slug IN SELECT r.id, r.key FROM jsonb_to_recordset(page) r (id text, key text) LOOP
				directory := miosa_router.directory_of(slug.key);
				entry := miosa_router.slug_step('claim', directory, slug.key, slug.id, NULL);
				IF entry IS NULL THEN
					PERFORM miosa_router.slug_step('confirm', directory, slug.key, slug.id, NULL);
				ELSIF NOT (entry ->> 'own')::boolean THEN
					RAISE WARNING 'slug "%" of shard "%" is in the directory for another deployment', slug.key, shard.name
						USING ERRCODE = '01000', HINT = format('If that one exists: SELECT miosa_rename_deployment(%L, ''another-slug'');', slug.id);
					CONTINUE;
				END IF;
				number := number + 1;
			END LOOP;
			page := miosa_router.slug_step('list', shard.number, NULL, page -> -1 ->> 'id', NULL);
		END LOOP;
	END LOOP;
	RETURN number;
END $$;
COMMENT ON FUNCTION miosa_router.register_slugs() IS 'Enters the slugs of all shards into the directory, and warns of those that two deployments have; returns how many it has';
