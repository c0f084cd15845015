-- Freezes: times in which deployments are not promoted (src/operation/freeze.c).

CREATE TABLE miosa.freezes (
	name text COLLATE "C" PRIMARY KEY,
	tenant_id text COLLATE "C" REFERENCES miosa.tenants,
	begins timestamptz NOT NULL,
	ends timestamptz NOT NULL,
	selector jsonb NOT NULL CHECK (jsonb_typeof(selector) = 'object'),
	reason text,
	actor_type text NOT NULL,
	actor_id text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT "ends must be after begins" CHECK (ends > begins),
	CONSTRAINT "times must be from 1970 to 2199" CHECK (least(begins, ends, created_at) >= '1970-01-01 00:00:00+00'
		AND greatest(begins, ends, created_at) < '2200-01-01 00:00:00+00')
);
COMMENT ON TABLE miosa.freezes IS 'Times in which deployments are not promoted';
COMMENT ON COLUMN miosa.freezes.name IS 'Name';
COMMENT ON COLUMN miosa.freezes.tenant_id IS 'Tenant whose deployments are frozen; null for those of all';
COMMENT ON COLUMN miosa.freezes.begins IS 'When it begins';
COMMENT ON COLUMN miosa.freezes.ends IS 'When it ends';
COMMENT ON COLUMN miosa.freezes.selector IS 'Which of their deployments, as miosa_rollback_many() selects them';
COMMENT ON COLUMN miosa.freezes.reason IS 'Why';
COMMENT ON COLUMN miosa.freezes.actor_type IS 'Type of who put it, as in miosa.audit_events';
COMMENT ON COLUMN miosa.freezes.actor_id IS 'Id of who put it';
COMMENT ON COLUMN miosa.freezes.created_at IS 'When it was put first';

-- Check the arguments, since their errors name more than a constraint can, and
-- upsert the row.
CREATE FUNCTION @extschema@.miosa_put_freeze(name text, ends timestamptz, begins timestamptz DEFAULT now(),
	selector jsonb DEFAULT '{"all": true}', reason text DEFAULT NULL, tenant_id text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	actor record;
	result jsonb;
BEGIN
	IF coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.refuse_value('argument', 'name', name,
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''year-end''.');
	ELSIF ends IS NULL OR ends <= clock_timestamp() OR ends >= '2200-01-01 00:00:00+00' THEN
		PERFORM miosa.refuse_value('argument', 'ends', ends::text, 'A freeze ends in the future, before the year 2200.',
			'Pass, for example, ends => now() + ''3 days''.');
	ELSIF begins IS NULL OR begins >= ends OR begins < '1970-01-01 00:00:00+00' THEN
		PERFORM miosa.refuse_value('argument', 'begins', begins::text, 'A freeze begins before it ends, and not before the year 1970.',
			'Leave it out for a freeze that begins now.');
	ELSIF tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM miosa.tenants t WHERE t.id = tenant_id) THEN
		PERFORM miosa.refuse_value('argument', 'tenant_id', tenant_id, 'There is no such tenant.', 'See the tenants with SELECT id, slug FROM miosa.tenants ORDER BY id;');
	END IF;
	PERFORM miosa.check_visible(reason, 'argument', 'reason');
	PERFORM miosa.check_deployment_selector(selector);
	SELECT * INTO actor FROM miosa.current_actor();
	INSERT INTO miosa.freezes AS f (name, tenant_id, begins, ends, selector, reason, actor_type, actor_id)
		VALUES (name, tenant_id, begins, ends, selector, nullif(btrim(reason), ''), actor.type, actor.id)
		ON CONFLICT ON CONSTRAINT freezes_pkey DO UPDATE SET tenant_id = excluded.tenant_id, begins = excluded.begins, ends = excluded.ends,
			selector = excluded.selector, reason = excluded.reason, actor_type = excluded.actor_type, actor_id = excluded.actor_id
		RETURNING to_jsonb(f) || jsonb_build_object('begins', miosa.iso(f.begins), 'ends', miosa.iso(f.ends), 'created_at', miosa.iso(f.created_at)) INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_freeze(text, timestamptz, timestamptz, jsonb, text, text) IS 'Adds or changes a freeze: until it ends, deployments that the selector matches are not promoted';

-- Delete a freeze.
CREATE FUNCTION @extschema@.miosa_remove_freeze(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	DELETE FROM miosa.freezes f WHERE f.name = name;
	IF NOT FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('freeze "%s" does not exist', coalesce(miosa.show(name), '')),
			'There is no freeze of that name.', 'See the freezes with SELECT name, begins, ends FROM miosa.freezes ORDER BY name;');
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_freeze(text) IS 'Removes a freeze, which ends it';

-- A freeze of all tenants that names deployments or tenants tells of them, so it
-- exists for those who act for all.
CREATE FUNCTION miosa.sees_freeze(tenant_id text, selector jsonb) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN tenant_id IS NOT NULL THEN miosa.sees_tenant(tenant_id)
	WHEN selector ?| ARRAY['ids', 'tenant'] THEN miosa.sees_all_tenants() ELSE true END;
COMMENT ON FUNCTION miosa.sees_freeze(text, jsonb) IS 'Whether a freeze exists for the caller, by these columns of its row';

-- Lines of miosa.status() about the freeze that ends last.
CREATE FUNCTION miosa.frozen_lines(d miosa.deployments, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	last miosa.freezes;
BEGIN
	SELECT * INTO last FROM miosa.freezes f
		WHERE (f.tenant_id IS NULL OR f.tenant_id = d.tenant_id) AND clock_timestamp() BETWEEN f.begins AND f.ends
			AND miosa.selects_deployment(f.selector, d.id)
		ORDER BY f.ends DESC, f.name LIMIT 1;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'frozen';
	value := miosa.clip(format('by %s, ends in %s', miosa.short(last.name, 24), miosa.span(last.ends - clock_timestamp()))
		|| coalesce(': ' || last.reason, ''), 64);
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa.frozen_lines(miosa.deployments) IS 'Line of miosa.status() about a freeze';

-- For people.
CREATE FUNCTION miosa.open_freeze_rows(OUT name text, OUT begins text, OUT ends text, OUT tenant text, OUT why text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT miosa.short(f.name, 16), CASE WHEN f.begins <= clock_timestamp() THEN 'now' ELSE miosa.rough_span(f.begins - clock_timestamp()) END,
		miosa.rough_span(f.ends - clock_timestamp()), miosa.short(coalesce(f.tenant_id, 'all'), 10),
		miosa.clip(f.actor_id || coalesce(': ' || f.reason, ''), 24)
	FROM miosa.freezes f
	WHERE f.ends > clock_timestamp() AND miosa.sees_freeze(f.tenant_id, f.selector)
	ORDER BY f.begins, f.name;
END $$;
COMMENT ON FUNCTION miosa.open_freeze_rows() IS 'Rows of miosa.open_freezes';

CREATE VIEW miosa.open_freezes AS SELECT * FROM miosa.open_freeze_rows();
COMMENT ON VIEW miosa.open_freezes IS 'Freezes that have not ended, for people';
COMMENT ON COLUMN miosa.open_freezes.name IS 'Name';
COMMENT ON COLUMN miosa.open_freezes.begins IS 'How soon it begins, or now';
COMMENT ON COLUMN miosa.open_freezes.ends IS 'How soon it ends';
COMMENT ON COLUMN miosa.open_freezes.tenant IS 'Tenant whose deployments are frozen, or all';
COMMENT ON COLUMN miosa.open_freezes.why IS 'Who put it, and why';
