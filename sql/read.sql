-- Reading: the platform's object shapes, lists with cursors, and routes.
--
-- The functions that return objects have no SET clause and one expression
-- each, so that the planner puts them in line.  Their bodies are quoted: the
-- newest releases of PostgreSQL do not rewrite a table, as a column that a user
-- adds may need, while a parsed body uses its row type.  The search_path of the
-- caller resolves a quoted body, so it is written for any: functions have their
-- schema, and operators get exactly the types that they are declared for, since
-- a better match in another schema would win.  A caller that lists a schema
-- before pg_catalog affects only its own query: our entry points set search_path.

-- Format a time.
CREATE FUNCTION miosa.iso(at timestamptz) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_iso';
COMMENT ON FUNCTION miosa.iso(timestamptz) IS 'The time as ISO 8601 in UTC with microseconds and Z, whatever DateStyle and TimeZone are; null for null';

-- Build the object of a deployment, as the response of an operation has it.
CREATE FUNCTION miosa.deployment_object(d miosa.deployments) RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_deployment_object';
COMMENT ON FUNCTION miosa.deployment_object(miosa.deployments) IS 'A deployment in the platform''s shape; the older repository fields come from its metadata';

-- Build the response that a key's record stands for.
CREATE FUNCTION miosa.stored_response(k miosa.idempotency_keys) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_stored_response';
COMMENT ON FUNCTION miosa.stored_response(miosa.idempotency_keys) IS 'The response of the operation that the key belongs to, byte for byte, of what its record stores';

-- Build the object of a version.
CREATE FUNCTION miosa.version_object(v miosa.versions) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', v.id,
		'deployment_id', v.deployment_id,
		'tenant_id', v.tenant_id,
		'version_number', v.version_number,
		'kind', v.kind,
		'state', v.state,
		'promoted_over', v.promoted_over,
		'bad', miosa.bad_mark(v.deployment_id, v.id),
		'pinned', v.pinned,
		'schema_version', v.schema_version,
		'schema_min', v.schema_min,
		'schema_max', v.schema_max,
		'created_by', v.created_by,
		'source_sandbox_id', v.source_sandbox_id,
		'build_id', v.build_id,
		'workspace_id', v.workspace_id,
		'project_id', v.project_id,
		'external_workspace_id', v.external_workspace_id,
		'external_user_id', v.external_user_id,
		'external_project_id', v.external_project_id,
		'artifact_uri', miosa.shown_uri(v.artifact_uri),
		'artifact_manifest', v.artifact_manifest,
		'artifact_sha256', v.artifact_sha256,
		'source_sha256', v.source_sha256,
		'runtime_image', v.runtime_image,
		'runtime_command', v.runtime_command,
		'health_check_path', v.health_check_path,
		'runtime_port', v.runtime_port,
		'build_log_uri', miosa.shown_uri(v.build_log_uri),
		'metadata', v.metadata,
		'promoted_at', miosa.iso(v.promoted_at),
		'archived_at', miosa.iso(v.archived_at),
		'created_at', miosa.iso(v.created_at),
		'updated_at', miosa.iso(v.updated_at))
$$;
COMMENT ON FUNCTION miosa.version_object(miosa.versions) IS 'A version in the platform''s shape';

-- The platform's clients read three shapes of audit events; this one has the
-- fields of all of them, and what is particular to us in metadata as well.
CREATE FUNCTION miosa.audit_object(a miosa.audit_events) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', a.deployment_id || '#' || a.seq::text,
		'tenant_id', a.tenant_id,
		'actor_id', a.actor_id,
		'actor_type', a.actor_type,
		'action', a.action,
		'outcome', a.outcome,
		'resource', 'deployment:' || a.deployment_id,
		'resource_type', 'deployment',
		'resource_id', a.deployment_id,
		'metadata', pg_catalog.jsonb_build_object(
			'deployment_id', a.deployment_id,
			'seq', a.seq,
			'outcome', a.outcome,
			'target_rule', a.target_rule,
			'previous_version_id', a.previous_version_id,
			'target_version_id', a.target_version_id,
			'idempotency_key', a.idempotency_key,
			'reason', a.reason,
			'attribution', a.attribution,
			'marks', a.marks,
			'session_user', a.session_user_name,
			'application_name', a.application_name,
			'keep_until', miosa.iso(a.keep_until),
			'hash', pg_catalog.encode(a.hash, 'hex')),
		'ip_address', pg_catalog.host(a.client_addr),
		'created_at', miosa.iso(a.created_at),
		'inserted_at', miosa.iso(a.created_at))
$$;
COMMENT ON FUNCTION miosa.audit_object(miosa.audit_events) IS 'An audit event in a shape that all clients of the platform read';

-- Build the object of a release.
CREATE FUNCTION miosa.release_object(r miosa.releases) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN r.id IS NOT NULL THEN pg_catalog.jsonb_build_object(
		'id', r.id,
		'deployment_id', r.deployment_id,
		'deployment_version_id', r.deployment_version_id,
		'tenant_id', r.tenant_id,
		'kind', r.kind,
		'environment_id', r.environment_id,
		'storage_backend', r.storage_backend,
		'storage_uri', miosa.shown_uri(r.storage_uri),
		'sha256', r.sha256,
		'artifact_uri', miosa.shown_uri(r.storage_uri),
		'artifact_sha256', r.sha256,
		'artifact_manifest', '{}'::jsonb,
		'size_bytes', r.size_bytes,
		'metadata', r.metadata,
		'verified_at', miosa.iso(r.verified_at),
		'collected_at', miosa.iso(r.collected_at),
		'collected_by', r.collected_by,
		'deleted_at', miosa.iso(r.deleted_at),
		'ready_at', miosa.iso(r.ready_at),
		'created_at', miosa.iso(r.created_at),
		'updated_at', miosa.iso(r.updated_at)) END
$$;
COMMENT ON FUNCTION miosa.release_object(miosa.releases) IS 'A release in the platform''s shape; null for no release';

-- Build the object of an instance.
CREATE FUNCTION miosa.instance_object(i miosa.runtime_instances) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', i.id,
		'deployment_id', i.deployment_id,
		'tenant_id', i.tenant_id,
		'version_id', i.version_id,
		'release_id', i.release_id,
		'state', i.state,
		'ip_address', i.address,
		'port', i.port,
		'last_heartbeat_at', miosa.iso(i.last_heartbeat_at),
		'error_message', i.error_message,
		'metadata', i.metadata,
		'created_at', miosa.iso(i.created_at),
		'updated_at', miosa.iso(i.updated_at))
$$;
COMMENT ON FUNCTION miosa.instance_object(miosa.runtime_instances) IS 'A runtime instance in the platform''s shape';

-- Build the object of a domain.
CREATE FUNCTION miosa.domain_object(m miosa.domains) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT pg_catalog.jsonb_build_object(
		'id', m.id,
		'tenant_id', m.tenant_id,
		'deployment_id', m.deployment_id,
		'domain', m.fqdn,
		'fqdn', m.fqdn,
		'state', m.state,
		'redirect_policy', m.redirect_policy,
		'verified_at', miosa.iso(m.verified_at),
		'created_at', miosa.iso(m.created_at))
$$;
COMMENT ON FUNCTION miosa.domain_object(miosa.domains) IS 'A domain in the platform''s shape';

-- Finding a deployment by what people and edges call it.  These are in PL/pgSQL,
-- which keeps their plans: planning takes longer than the look-ups.

-- Find a deployment by its managed host.
CREATE FUNCTION miosa.managed_deployment(host text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT p.id
		FROM (SELECT '.' || miosa.managed_domain() AS suffix) m
		JOIN miosa.tenants t ON t.slug = split_part(left($1, -length(m.suffix)), '.', 2)
		JOIN miosa.deployments p ON p.tenant_id = t.id AND p.slug = split_part($1, '.', 1)
		WHERE right($1, length(m.suffix)) = m.suffix
			AND left($1, -length(m.suffix)) = p.slug || '.' || t.slug);
END $$;
COMMENT ON FUNCTION miosa.managed_deployment(text) IS 'Deployment whose managed host this is (in lower case); null for none';

-- Pass another tenant's deployment by.
CREATE FUNCTION miosa.seen_deployment(deployment_id text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN miosa.sees_deployment($1) THEN $1 END
$$;
COMMENT ON FUNCTION miosa.seen_deployment(text) IS 'The deployment, if it exists for the caller; else null';

-- Find the domain that routes a host, of those that exist for the caller; the
-- most specific one wins.
CREATE FUNCTION miosa.domain_of_host(host text) RETURNS miosa.domains
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN (SELECT m FROM miosa.domains m
		WHERE m.state = 'active' AND m.fqdn IN ($1, '*' || substring($1 FROM '[.].*$')) AND miosa.sees_deployment(m.deployment_id)
		ORDER BY m.fqdn = $1 DESC LIMIT 1);
END $$;
COMMENT ON FUNCTION miosa.domain_of_host(text) IS 'The active domain that routes this host (in lower case): its own, else the wildcard above it';

-- Cursors are opaque to callers: the place of the last row in hexadecimal.

-- Encode a place in a list.
CREATE FUNCTION miosa.write_cursor(list text, place text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN encode(convert_to(list || ':' || place, 'UTF8'), 'hex');
COMMENT ON FUNCTION miosa.write_cursor(text, text) IS 'Cursor of a list after a place';

-- Raises INVALID_ARGUMENT.
CREATE FUNCTION miosa.read_cursor(cursor text, list text, pattern text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	place text[];
BEGIN
	IF cursor IS NULL THEN
		RETURN NULL;
	END IF;
	-- Only pairs of digits that stand for printable ASCII are decoded.
	IF length(cursor) <= 1200 AND cursor ~ '^([2-7][0-9a-f])+$' THEN
		place := regexp_match(convert_from(decode(cursor, 'hex'), 'UTF8'), '^' || list || ':' || pattern || '$');
	END IF;
	IF place IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'cursor', cursor, NULL,
			'Pass next_cursor of the page before, as it was, or none for the first page.');
	END IF;
	RETURN place;
END $$;
COMMENT ON FUNCTION miosa.read_cursor(text, text, text) IS 'Parts of the place that a cursor of this list stands for, by a regular expression; null for null';

-- Check the limit of a page.
CREATE FUNCTION miosa.check_limit(value integer, most integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
	IF value IS NULL OR value NOT BETWEEN 1 AND most THEN
		PERFORM miosa.refuse_value('argument', 'limit', value::text, NULL, format('Ask for 1 to %s rows.', most));
	END IF;
	RETURN value;
END $$;
COMMENT ON FUNCTION miosa.check_limit(integer, integer) IS 'The value if it is from 1 to most, else INVALID_ARGUMENT';

-- Say how old an answer is, on a standby.
CREATE FUNCTION miosa.stamp_as_of(object jsonb) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_stamp_as_of';
COMMENT ON FUNCTION miosa.stamp_as_of(jsonb) IS 'The object; on a standby with a member as_of, which says how old it is';

-- The functions for programs.

-- Return a deployment.
CREATE FUNCTION @extschema@.miosa_deployment(id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	d miosa.deployments;
BEGIN
	PERFORM miosa.check_id(id, 'deployment id');
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = id;
	IF NOT FOUND THEN
		PERFORM miosa.no_deployment(id);
	END IF;
	RETURN miosa.stamp_as_of(jsonb_build_object('data', miosa.deployment_object(d)));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_deployment(text) IS 'A deployment by its id: {"data": deployment}';

-- Return a version with its release.
CREATE FUNCTION @extschema@.miosa_version(deployment_id text, version_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	v miosa.versions;
	r miosa.releases;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(version_id, 'version id');
	SELECT * INTO v FROM miosa.versions o WHERE o.deployment_id = deployment_id AND o.id = version_id;
	IF NOT FOUND THEN
		IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id) THEN
			PERFORM miosa.no_deployment(deployment_id);
		END IF;
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	SELECT * INTO r FROM miosa.releases o
		WHERE o.deployment_id = deployment_id AND o.deployment_version_id = version_id;
	RETURN miosa.stamp_as_of(jsonb_build_object('data', miosa.version_object(v), 'release', miosa.release_object(r)));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_version(text, text) IS 'A version of a deployment: {"data": version, "release": its release or null}';

-- Return a page of versions.
CREATE FUNCTION @extschema@.miosa_versions(deployment_id text, state text DEFAULT NULL,
	"limit" integer DEFAULT 20, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	below bigint;
	result jsonb;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	IF state IS NOT NULL THEN
		PERFORM miosa.check_word(state, 'state', ARRAY['created', 'building', 'ready', 'failed', 'archived']);
	END IF;
	PERFORM miosa.check_limit("limit", 200);
	below := (miosa.read_cursor(cursor, 'versions', '([0-9]{1,10})'))[1];
	IF NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = deployment_id) THEN
		PERFORM miosa.no_deployment(deployment_id);
	END IF;
	-- One row more than the limit shows whether there is a next page.
	SELECT jsonb_build_object(
			'data', coalesce(jsonb_agg(p.object ORDER BY p.place) FILTER (WHERE p.place <= "limit"), '[]'),
			'next_cursor', miosa.write_cursor('versions', CASE WHEN count(*) > "limit"
				THEN min(p.version_number) FILTER (WHERE p.place <= "limit") END::text))
		INTO result
		FROM (SELECT miosa.version_object(v) AS object, v.version_number,
				row_number() OVER (ORDER BY v.version_number DESC) AS place
			FROM miosa.versions v
			WHERE v.deployment_id = deployment_id AND (state IS NULL OR v.state = state)
				AND (below IS NULL OR v.version_number < below)
			ORDER BY v.version_number DESC LIMIT "limit" + 1) p;
	RETURN miosa.stamp_as_of(result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_versions(text, text, integer, text) IS 'Versions of a deployment, highest number first: {"data": [version...], "next_cursor"}';

-- Map actions of audit events to the words of miosa.history().
CREATE FUNCTION miosa.actions(OUT action text, OUT short text) RETURNS SETOF record
LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 20
AS 'MODULE_PATHNAME', 'mrb_actions';
COMMENT ON FUNCTION miosa.actions() IS 'Actions of audit events, and their short names';

-- Encode the place of an audit event.
CREATE FUNCTION miosa.audit_cursor(a miosa.audit_events) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT miosa.write_cursor('audit', (extract(epoch FROM $1.created_at) * 1000000)::bigint || ':' || $1.deployment_id || ':' || $1.seq)
$$;
COMMENT ON FUNCTION miosa.audit_cursor(miosa.audit_events) IS 'Cursor of miosa_audit_log() after an event';

-- Search the events of a deployment for a time, which rises with seq. A clock
-- may have been set back a little, so the result is a bound, a minute early or
-- late; callers compare the time as well.
CREATE FUNCTION miosa.seq_at(deployment_id text, at timestamptz, early boolean) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	slack CONSTANT interval := CASE WHEN early THEN '1 min' ELSE '-1 min' END;
	low bigint;
	high bigint;
	middle record;
BEGIN
	IF at IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT min(a.seq), max(a.seq) + 1 INTO low, high FROM miosa.audit_events a WHERE a.deployment_id = deployment_id;
	WHILE low < high LOOP
		-- Events may be missing between two others.
		SELECT a.seq, a.created_at INTO middle FROM miosa.audit_events a
			WHERE a.deployment_id = deployment_id AND a.seq >= (low + high) / 2 ORDER BY a.seq LIMIT 1;
		IF middle.created_at + slack < at THEN
			low := middle.seq + 1;
		ELSE
			high := (low + high) / 2;
		END IF;
	END LOOP;
	RETURN low;
END $$;
COMMENT ON FUNCTION miosa.seq_at(text, timestamptz, boolean) IS 'Number of the first event of a deployment from a time on, taking a minute off the time or adding one; null for no time, and for no event';

-- Look for an index on actors, which the extension does not make.
CREATE FUNCTION miosa.has_actor_index() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute t ON t.attrelid = i.indrelid AND t.attnum = i.indkey[0]
		WHERE i.indrelid = 'miosa.audit_events'::regclass AND i.indisvalid AND i.indpred IS NULL AND t.attname = 'actor_id')
$$;
COMMENT ON FUNCTION miosa.has_actor_index() IS 'Whether somebody has made an index on the actors of audit events';

-- Return a page of audit events, of a deployment, a tenant or all.
CREATE FUNCTION @extschema@.miosa_audit_log(deployment_id text DEFAULT NULL, tenant_id text DEFAULT NULL,
	action text DEFAULT NULL, actor text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	"limit" integer DEFAULT 50, cursor text DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	searched text;
	place text[];
	after timestamptz;
	page_order text;
	reach integer;
	earliest timestamptz;
	above bigint;
	below bigint;
	result jsonb;
BEGIN
	IF deployment_id IS NOT NULL THEN
		PERFORM miosa.check_id(deployment_id, 'deployment id');
	END IF;
	IF tenant_id IS NOT NULL THEN
		PERFORM miosa.check_id(tenant_id, 'tenant id');
	END IF;
	IF action IS NOT NULL THEN
		action := coalesce((SELECT a.action FROM miosa.actions() a WHERE a.short = action), action);
		PERFORM miosa.check_word(action, 'action', ARRAY(SELECT a.short FROM miosa.actions() a) || ARRAY(SELECT a.action FROM miosa.actions() a));
	END IF;
	PERFORM miosa.check_limit("limit", 200);
	place := miosa.read_cursor(cursor, 'audit', '(-?[0-9]{1,17}):([A-Za-z0-9._:-]{1,255}):([0-9]{1,18})');
	after := 'epoch'::timestamptz + place[1]::bigint * '1 microsecond'::interval;
	-- Another tenant's events are not even read: no id has a blank.
	searched := deployment_id || CASE WHEN miosa.is_anothers_deployment(deployment_id) THEN ' ' ELSE '' END;
	IF deployment_id IS NULL THEN
		page_order := 'a.created_at DESC, a.deployment_id DESC, a.seq DESC';
	ELSE
		-- The same order, which the key has.
		page_order := 'a.seq DESC';
		IF place[2] = deployment_id THEN
			below := place[3];
			after := NULL;
		ELSE
			below := miosa.seq_at(searched, after, false);
		END IF;
		below := least(below, miosa.seq_at(searched, until, false));
		above := miosa.seq_at(searched, since, true);
	END IF;
	-- Those of an actor are found in the order of time among the newest events;
	-- before a rare one's are, all had better be read at once and sorted, by a term
	-- that no index has. Unless somebody has made an index on actors.
	FOREACH reach IN ARRAY CASE WHEN actor IS NULL OR deployment_id IS NOT NULL OR miosa.has_actor_index() THEN ARRAY[NULL]::integer[]
		ELSE ARRAY[2000, 300000, NULL] END
	LOOP
		IF reach IS NOT NULL THEN
			EXECUTE $sql$
				SELECT a.created_at FROM miosa.audit_events a
				WHERE ($1 IS NULL OR a.tenant_id = $1) AND ($2 IS NULL OR a.created_at < $2) AND ($3 IS NULL OR a.created_at <= $3)
				ORDER BY a.created_at DESC OFFSET $4 LIMIT 1
			$sql$ INTO earliest USING tenant_id, until, after, reach;
		ELSIF earliest IS NOT NULL THEN
			page_order := 'a.created_at + ''0 s''::interval DESC, a.deployment_id DESC, a.seq DESC';
			earliest := NULL;
		END IF;
		-- Planned for the filters of this call, so that each finds its index; those
		-- rows alone that are returned are numbered and made objects.
		EXECUTE format($sql$
			SELECT jsonb_build_object(
				'data', coalesce(jsonb_agg(miosa.audit_object(p.event) ORDER BY p.place) FILTER (WHERE p.place <= $7), '[]'),
				'next_cursor', CASE WHEN count(*) > $7 THEN (array_agg(miosa.audit_cursor(p.event)) FILTER (WHERE p.place = $7))[1] END)
			FROM (SELECT l.event, row_number() OVER () AS place
				FROM (SELECT a AS event FROM miosa.audit_events a
					WHERE ($1 IS NULL OR a.deployment_id = $1) AND ($2 IS NULL OR a.tenant_id = $2)
						AND ($3 IS NULL OR a.action = $3) AND ($4 IS NULL OR a.actor_id = $4)
						AND ($5 IS NULL OR a.created_at >= $5) AND ($6 IS NULL OR a.created_at < $6)
						AND ($8 IS NULL OR (a.created_at, a.deployment_id, a.seq) < ($8, $9, $10))
						AND ($11 IS NULL OR a.seq >= $11) AND ($12 IS NULL OR a.seq < $12)
						AND miosa.sees_tenant(a.tenant_id)
					ORDER BY %s LIMIT $7 + 1) l) p
		$sql$, page_order) INTO result
		USING searched, tenant_id, action, actor, greatest(since, earliest), until, "limit", after, place[2], place[3]::bigint, above, below;
		EXIT WHEN earliest IS NULL OR earliest <= since OR result ->> 'next_cursor' IS NOT NULL;
	END LOOP;
	RETURN result;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_audit_log(text, text, text, text, timestamptz, timestamptz, integer, text) IS 'Audit events, newest first: {"data": [event...], "next_cursor"}';

-- The deployment of a host, and where its redirect policy leads.
CREATE FUNCTION miosa.find_host(host text, OUT deployment_id text, OUT redirect_policy text, OUT redirect_to text)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	domain miosa.domains := miosa.domain_of_host(host);
BEGIN
	deployment_id := coalesce(domain.deployment_id, miosa.seen_deployment(miosa.managed_deployment(host)));
	redirect_policy := coalesce(domain.redirect_policy, 'none');
	redirect_to := CASE redirect_policy
		WHEN 'apex_to_www' THEN CASE WHEN host NOT LIKE 'www.%' THEN 'www.' || host END
		WHEN 'www_to_apex' THEN substring(host FROM '^www[.](.+)$') END;
END $$;
COMMENT ON FUNCTION miosa.find_host(text) IS 'Deployment that serves a host (in lower case), null for none; the redirect policy of its domain, and the host that this points to, null for none';

-- Return the present route of a host.
CREATE FUNCTION @extschema@.miosa_route(host text) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	name text := miosa.clean_host(host);
	here record;
	there record;
BEGIN
	SELECT * INTO here FROM miosa.find_host(name);
	-- A visitor is sent on only to where the same is shown, and stays there.
	SELECT * INTO there FROM miosa.find_host(here.redirect_to);
	IF there.deployment_id IS DISTINCT FROM here.deployment_id OR there.redirect_to = name THEN
		here.redirect_to := NULL;
	END IF;
	RETURN QUERY
		SELECT miosa.stamp_as_of(jsonb_build_object('data', jsonb_build_object('host', name, 'deployment_id', r.deployment_id, 'tenant_id', r.tenant_id,
			'version_id', r.version_id, 'version_number', r.version_number, 'kind', r.kind,
			'release_id', r.release_id, 'storage_uri', r.storage_uri, 'sha256', r.sha256,
			'state', r.state, 'redirect_policy', here.redirect_policy, 'redirect_to', here.redirect_to,
			'ttl_seconds', extract(epoch FROM r.route_ttl)::double precision,
			'seq', r.seq, 'route_seq', r.route_seq,
			'epoch', (SELECT max(l.epoch) FROM miosa.route_log l
				WHERE l.deployment_id = r.deployment_id AND l.kind IN ('route', 'host_removed')),
			'instances', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'address', i.address, 'port', i.port)
					ORDER BY i.id), '[]')
				FROM miosa.live_instances i
				WHERE i.deployment_id = r.deployment_id AND i.version_id = r.version_id AND i.address IS NOT NULL))))
		FROM miosa.routes r WHERE r.deployment_id = here.deployment_id;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_route(text) IS 'What an edge needs to serve a host now; no row for a host that is not routed';

-- Build a page of route changes, in the snapshot of the caller.
CREATE FUNCTION miosa.route_changes(epoch bigint, "limit" integer, gap boolean) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_route_changes';
COMMENT ON FUNCTION miosa.route_changes(bigint, integer, boolean) IS 'Result of miosa_routes_since(), with this value of gap';

-- Return a page of route changes.
CREATE FUNCTION @extschema@.miosa_routes_since(epoch bigint, "limit" integer DEFAULT 1000) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
	PERFORM miosa.check_limit("limit", 10000);
	IF epoch IS NULL OR epoch < 0 THEN
		PERFORM miosa.refuse_value('argument', 'epoch', epoch::text, NULL,
			'Pass the last epoch that was seen, 0 for the beginning.');
	END IF;
	RETURN miosa.route_changes(epoch, "limit",
		-- Trimmed; or of a primary that was lost before all of it came here.
		coalesce((SELECT s.trimmed_epoch > epoch OR epoch > s.last_epoch
			OR miosa.epoch_term(epoch) < s.term AND epoch > coalesce((SELECT max(o.epoch) FROM miosa.route_log o
				WHERE o.epoch < miosa.first_epoch(miosa.epoch_term(epoch) + 1)), s.trimmed_epoch)
			FROM miosa.dispatcher_state s), false));
END $$;
COMMENT ON FUNCTION @extschema@.miosa_routes_since(bigint, integer) IS 'Route changes after an epoch, oldest first, for listeners that missed notifications';
