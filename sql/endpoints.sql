-- Endpoints: checks of what is written about adapters and endpoints, and the
-- functions that set endpoints up and send them routes again.

-- Check all requests of an adapter and how its columns fit together.
CREATE FUNCTION miosa.check_adapter(adapter jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_check_adapter';
COMMENT ON FUNCTION miosa.check_adapter(jsonb) IS 'Raises INVALID_ARGUMENT with the place of the mistake when a row of miosa.adapters is wrong or contradicts itself';

-- Render a request without sending it.
CREATE FUNCTION miosa.render_request(request jsonb, "values" jsonb, charsets jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_render_request';
COMMENT ON FUNCTION miosa.render_request(jsonb, jsonb, jsonb) IS 'What an adapter''s request would be for these values, before it is signed: {"method", "url", "headers": [...], "body"}';

-- Distinguish the extension's own scripts, which may write shipped rows, from
-- a user's session.
CREATE FUNCTION miosa.in_own_script() RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'mrb_in_own_script';
COMMENT ON FUNCTION miosa.in_own_script() IS 'Whether the install script of this extension runs, or one of its upgrade scripts';

-- Validation.

-- Check the base URL of an endpoint.
CREATE FUNCTION miosa.check_url(url text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	hint CONSTANT text := 'For example ''http://10.0.0.5:8081''.';
	problem text := CASE
		WHEN url IS NULL OR url = '' THEN 'The URL is empty.'
		WHEN url ~ '[[:cntrl:]]' THEN 'The URL has control characters.'
		WHEN url ~ '[[:space:]]' THEN 'The URL has spaces.'
		WHEN url !~ '^[!-~]*$' THEN 'The URL has characters outside of ASCII; write them percent-encoded.'
		WHEN url !~ '^https?://' THEN 'The URL must begin with http:// or https://.'
		WHEN url ~ '^https?://[^/?#]*@' THEN 'The URL has credentials; put them into miosa.secrets.'
		WHEN url ~ '[?#]' THEN 'The URL has a query or a fragment.'
		WHEN url ~ E'["<>\\\\^`{|}]' THEN 'The URL has characters that must be percent-encoded.'
		WHEN url !~ E'^https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/.*)?$' THEN 'The host or port of the URL is malformed.'
		WHEN substring(url FROM E'^https?://(?:[A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):([0-9]{1,5})')::integer NOT BETWEEN 1 AND 65535 THEN 'The port of the URL is not one of 1 to 65535.'
	END;
BEGIN
	-- The message does not repeat the URL, which may have credentials.
	IF length(url) > 2000 THEN
		PERFORM miosa.refuse_length('endpoint URL', length(url), 'characters', 2000, hint);
	ELSIF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid endpoint URL', problem, hint);
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_url(text) IS 'Raises INVALID_ARGUMENT when a base URL is not plain http or https';

-- Check the selector of an endpoint.
CREATE FUNCTION miosa.check_selector(selector jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
	problem text;
	item record;
BEGIN
	IF selector IS NULL OR jsonb_typeof(selector) <> 'object' THEN
		problem := 'The selector must be an object.';
	ELSE
		FOR item IN SELECT key, value FROM jsonb_each(selector) LOOP
			IF item.key NOT IN ('tenant', 'kind', 'deployment') THEN
				problem := format('The key "%s" is not known; the keys are tenant, kind and deployment.', item.key);
			ELSIF jsonb_typeof(item.value) <> 'string' AND (jsonb_typeof(item.value) <> 'array'
				OR jsonb_path_exists(item.value, '$[*] ? (@.type() != "string")')) THEN
				problem := format('The value of "%s" must be a text or an array of texts.', item.key);
			END IF;
		END LOOP;
	END IF;
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid endpoint selector', problem,
			'A selector is {} for all, or for example {"tenant": "ten_1", "kind": ["static"]}.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_selector(jsonb) IS 'Raises INVALID_ARGUMENT when an endpoint''s selector is malformed';

-- Match a deployment with a selector; each key that is given must match.
CREATE FUNCTION miosa.selects(selector jsonb, deployment_id text, tenant_id text, kind text) RETURNS boolean
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_selects';
COMMENT ON FUNCTION miosa.selects(jsonb, text, text, text) IS 'Whether an endpoint with this selector receives a deployment';

-- Check an adapter before it is written, and protect shipped ones.
CREATE FUNCTION miosa.adapters_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	ours CONSTANT boolean := miosa.in_own_script();
BEGIN
	IF TG_OP <> 'INSERT' AND OLD.builtin AND NOT ours THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" is shipped with the extension', OLD.name),
			'Shipped adapters cannot be changed or deleted.',
			format('SELECT miosa_put_adapter(%L, copy_of => %L);', 'my-' || left(OLD.name, 60), OLD.name));
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	NEW.wildcards := coalesce(NEW.wildcards, NEW.per <> 'host' OR NEW.wildcard_request IS NOT NULL);
	-- A copy of a shipped adapter is not shipped.
	NEW.builtin := NEW.builtin AND ours;
	PERFORM miosa.check_adapter(to_jsonb(NEW));
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.adapters_check() IS 'Trigger: refuses changes of shipped adapters, and rows that cannot be sent or contradict themselves, with the place of the mistake';

CREATE TRIGGER adapters_check BEFORE INSERT OR UPDATE OR DELETE ON miosa.adapters
	FOR EACH ROW EXECUTE FUNCTION miosa.adapters_check();

-- Check an endpoint before it is written, and raise its generation when it has
-- to be resynchronized.
CREATE FUNCTION miosa.endpoints_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.check_url(NEW.url);
	PERFORM miosa.check_selector(NEW.selector);
	NEW.origin := coalesce(NEW.origin, miosa.origin());
	IF TG_OP = 'UPDATE' THEN
		NEW.updated_at := now();
		IF (NEW.adapter, NEW.url, NEW.zone, NEW.stage, NEW.selector, NEW.enabled)
			IS DISTINCT FROM (OLD.adapter, OLD.url, OLD.zone, OLD.stage, OLD.selector, OLD.enabled) THEN
			NEW.generation := greatest(NEW.generation, OLD.generation + 1);
		END IF;
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION miosa.endpoints_check() IS 'Trigger: refuses malformed endpoints and binds new ones to this installation';

CREATE TRIGGER derived BEFORE UPDATE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.derived_columns();
CREATE TRIGGER endpoints_check BEFORE INSERT OR UPDATE ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_check();

-- Bind a secret to the first endpoint or storage that names it.
CREATE FUNCTION miosa.bind_secret(secret text, endpoint text, url text, adapter text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	UPDATE miosa.secrets s SET origins = coalesce(s.origins, ARRAY[miosa.secret_origin($3)]),
			adapters = CASE WHEN s.name = $1 AND $4 IS NOT NULL THEN coalesce(s.adapters, ARRAY[$4]) ELSE s.adapters END
		WHERE s.name = $1 AND (s.origins IS NULL OR s.adapters IS NULL AND $4 IS NOT NULL)
			OR $2 = ANY (s.endpoints) AND s.origins IS NULL;
END;
COMMENT ON FUNCTION miosa.bind_secret(text, text, text, text) IS 'Binds a secret that is not bound yet to where an endpoint or a storage sends it';

-- Secrets follow an endpoint that is added; one that is changed needs their
-- values again.
CREATE FUNCTION miosa.endpoints_bind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.bind_secret(NEW.secret, NEW.name, NEW.url, NEW.adapter);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.endpoints_bind() IS 'Trigger: binds a secret to the first endpoint that names it';
CREATE TRIGGER endpoints_bind AFTER INSERT OR UPDATE OF secret, url, adapter ON miosa.endpoints
	FOR EACH ROW EXECUTE FUNCTION miosa.endpoints_bind();

-- An adapter that was changed may send secrets to other places of a server.
CREATE FUNCTION miosa.adapters_unbind() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE miosa.secrets s SET adapters = array_remove(s.adapters, OLD.name) WHERE OLD.name = ANY (s.adapters);
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.adapters_unbind() IS 'Trigger: a secret is no longer for an adapter whose requests have changed, nor for one of that name that comes after it';
CREATE TRIGGER adapters_unbind AFTER UPDATE ON miosa.adapters
	FOR EACH ROW WHEN (NOT NEW.builtin AND (OLD.request, OLD.add, OLD.remove, OLD.wildcard_request, OLD.wildcard_remove,
		OLD.marker_write, OLD.marker_read, OLD.poll, OLD.signer, OLD.signer_options)
		IS DISTINCT FROM (NEW.request, NEW.add, NEW.remove, NEW.wildcard_request, NEW.wildcard_remove,
		NEW.marker_write, NEW.marker_read, NEW.poll, NEW.signer, NEW.signer_options))
	EXECUTE FUNCTION miosa.adapters_unbind();
CREATE TRIGGER adapters_removed AFTER DELETE ON miosa.adapters
	FOR EACH ROW EXECUTE FUNCTION miosa.adapters_unbind();

-- Refuse a secret that is for others.
CREATE FUNCTION miosa.check_secret_use(secret text, url text, adapter text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
#variable_conflict use_variable
DECLARE
	bound miosa.secrets;
	problem text;
BEGIN
	SELECT * INTO bound FROM miosa.secrets s WHERE s.name = secret;
	problem := miosa.secret_refusal(array_to_string(bound.origins, ' '), array_to_string(bound.adapters, ' '), url, adapter);
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" is for others', secret),
			format('Secret "%s": %s.', secret, problem),
			format('Put its value again, for all that is to have it: SELECT miosa_put_secret(%L, %L, origins => %L%s);',
				secret, CASE WHEN miosa.reveal(bound.value) LIKE 'file:%' THEN miosa.reveal(bound.value) ELSE '...' END, array_remove(bound.origins, miosa.secret_origin(url)) || miosa.secret_origin(url),
				', adapters => ' || quote_literal(CASE WHEN bound.adapters && ARRAY[adapter, '*'] OR adapter IS NULL THEN bound.adapters
					ELSE bound.adapters || adapter END)));
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_secret_use(text, text, text) IS 'Raises INVALID_ARGUMENT when a secret is not for requests to a URL by an adapter';

-- Have the dispatcher read its settings again.
CREATE FUNCTION miosa.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.queue_settings();
	RETURN NULL;
END $$;
COMMENT ON FUNCTION miosa.settings_changed() IS 'Trigger: makes the dispatcher read adapters, endpoints and secrets again';

CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.adapters
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.endpoints
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OR DELETE ON miosa.secrets
	FOR EACH STATEMENT EXECUTE FUNCTION miosa.settings_changed();

-- Endpoints that cannot handle a wildcard host of a deployment that they
-- receive.
CREATE FUNCTION miosa.wildcard_gaps(OUT endpoint text, OUT adapter text, OUT fqdn text, OUT deployment_id text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT e.name, a.name, d.fqdn, p.id
	FROM miosa.domains d
	JOIN miosa.deployments p ON p.id = d.deployment_id
	JOIN miosa.endpoints e ON e.enabled AND miosa.selects(e.selector, p.id, p.tenant_id, p.kind)
	JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.alerts AND NOT a.wildcards
	WHERE d.state = 'active' AND d.fqdn LIKE '*.%' AND miosa.sees_tenant(p.tenant_id)
	ORDER BY e.name COLLATE "C", d.fqdn COLLATE "C";
END $$;
COMMENT ON FUNCTION miosa.wildcard_gaps() IS 'Endpoints whose adapter cannot handle a wildcard host that they receive';

-- Warn of at most five gaps.
CREATE FUNCTION miosa.warn_of_wildcards(endpoint text, fqdn text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gap record;
BEGIN
	FOR gap IN SELECT * FROM miosa.wildcard_gaps() g
		WHERE g.endpoint = coalesce(warn_of_wildcards.endpoint, g.endpoint) AND g.fqdn = coalesce(warn_of_wildcards.fqdn, g.fqdn)
		LIMIT 5
	LOOP
		RAISE WARNING 'endpoint "%" cannot handle wildcard host "%"', gap.endpoint, gap.fqdn
			USING DETAIL = format('Its adapter "%s" has no request for wildcard hosts, so deployment "%s" does not converge there.',
				gap.adapter, gap.deployment_id),
			HINT = 'SELECT name, description FROM miosa.adapters WHERE role = ''edge'' AND wildcards;';
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.warn_of_wildcards(text, text) IS 'Warns of the rows of miosa.wildcard_gaps() for an endpoint or for a host; null means any';

-- Setting up endpoints.

-- Check the arguments, since their errors name more than a constraint can, and
-- upsert the row.
CREATE FUNCTION @extschema@.miosa_put_endpoint(
	name text, adapter text, url text,
	zone text DEFAULT 'default',
	stage integer DEFAULT NULL,
	selector jsonb DEFAULT '{}',
	secret text DEFAULT NULL,
	enabled boolean DEFAULT true) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	PERFORM miosa.refuse_value('argument', g.argument, g.value,
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.',
			'For example ''router-1'', in zone ''eu''.')
		FROM (VALUES ('name', miosa_put_endpoint.name), ('zone', miosa_put_endpoint.zone)) g (argument, value)
		WHERE coalesce(g.value, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$';
	IF NOT EXISTS (SELECT FROM miosa.adapters a WHERE a.name = miosa_put_endpoint.adapter) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('adapter "%s" does not exist', miosa_put_endpoint.adapter),
			(SELECT 'Adapters are: ' || string_agg(a.name, ', ' ORDER BY a.name) || '.' FROM miosa.adapters a),
			'See them with SELECT name, description FROM miosa.adapters;');
	END IF;
	IF miosa_put_endpoint.stage NOT IN (0, 1) THEN
		PERFORM miosa.refuse_value('argument', 'stage', miosa_put_endpoint.stage::text, 'A stage is 0 (routers) or 1 (caches).',
			'Leave it out for the adapter''s.');
	END IF;
	IF miosa_put_endpoint.secret IS NOT NULL
		AND NOT EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_endpoint.secret) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" does not exist', miosa_put_endpoint.secret),
			'An endpoint names a secret that is in miosa.secrets.',
			format('SELECT miosa_put_secret(%L, ''...'');', miosa_put_endpoint.secret));
	END IF;
	PERFORM miosa.check_secret_use(miosa_put_endpoint.secret, miosa_put_endpoint.url, miosa_put_endpoint.adapter)
		WHERE miosa_put_endpoint.secret IS NOT NULL;
	INSERT INTO miosa.endpoints AS e (name, adapter, url, zone, stage, selector, secret, enabled)
		VALUES (miosa_put_endpoint.name, miosa_put_endpoint.adapter, miosa_put_endpoint.url,
			miosa_put_endpoint.zone, miosa_put_endpoint.stage, coalesce(miosa_put_endpoint.selector, '{}'),
			miosa_put_endpoint.secret, coalesce(miosa_put_endpoint.enabled, true))
		ON CONFLICT (name) DO UPDATE SET adapter = excluded.adapter, url = excluded.url, zone = excluded.zone,
			stage = excluded.stage, selector = excluded.selector, secret = excluded.secret, enabled = excluded.enabled,
			reason = NULL
		RETURNING to_jsonb(e) - 'generation' INTO result;
	PERFORM miosa.warn_of_wildcards(miosa_put_endpoint.name, NULL);
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_endpoint(text, text, text, text, integer, jsonb, text, boolean) IS 'Adds or changes an endpoint; a new or changed one is resynchronized';

-- A CHECK constraint would show the secret in its message.
CREATE FUNCTION @extschema@.miosa_put_secret(name text, value text, keep_previous boolean DEFAULT false,
	origins text[] DEFAULT NULL, adapters text[] DEFAULT NULL, endpoints text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	origin text;
BEGIN
	IF coalesce(miosa_put_secret.name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid secret name',
			'A name has 1 to 63 characters of A-Z a-z 0-9 . _ - and begins with a letter or digit.', 'For example ''edge''.');
	END IF;
	PERFORM miosa.check_secret(miosa_put_secret.name, miosa_put_secret.value);
	origins := ARRAY(SELECT miosa.secret_origin(o.origin) FROM unnest(miosa_put_secret.origins) o (origin))
		WHERE cardinality(miosa_put_secret.origins) > 0;
	FOREACH origin IN ARRAY coalesce(origins, '{}') LOOP
		IF miosa.is_secret_origin(origin) IS NOT TRUE THEN
			PERFORM miosa.refuse_value('argument', 'origins', origin, 'An origin is a scheme, a host and a port; *.domain stands for every host below a domain, * for anywhere.',
				'For example ARRAY[''https://edge-1.example.com:8443'', ''https://*.cdn.example.com''].');
		END IF;
	END LOOP;
	-- Another value may go elsewhere; the one of before, which stays, may not.
	IF miosa_put_secret.keep_previous AND EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_secret.name
			AND (NOT coalesce('*' = ANY (s.origins) OR miosa_put_secret.origins <@ s.origins, true)
				OR NOT coalesce('*' = ANY (s.adapters) OR miosa_put_secret.adapters <@ s.adapters, true))) THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" cannot be kept for others', miosa_put_secret.name),
			'The earlier value was not put for all of these origins and adapters.',
			format('Leave keep_previous out, or keep the earlier value where it is: SELECT miosa_put_secret(%L, ''...'', keep_previous => true);',
				miosa_put_secret.name));
	END IF;
	INSERT INTO miosa.secrets AS s (name, value, origins, adapters, endpoints)
		VALUES (miosa_put_secret.name, miosa_put_secret.value, miosa_put_secret.origins, miosa_put_secret.adapters, miosa_put_secret.endpoints)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value,
			previous = CASE WHEN NOT miosa_put_secret.keep_previous THEN NULL
				WHEN miosa.reveal(s.value) = miosa_put_secret.value THEN s.previous ELSE s.value END,
			origins = coalesce(excluded.origins, s.origins), adapters = coalesce(excluded.adapters, s.adapters),
			endpoints = coalesce(excluded.endpoints, s.endpoints);
	-- Endpoints and storages that name it already.
	PERFORM miosa.bind_secret(e.secret, e.name, e.url, e.adapter) FROM miosa.endpoints e
		WHERE e.secret = miosa_put_secret.name OR e.name = ANY (miosa_put_secret.endpoints) ORDER BY e.name;
	PERFORM miosa.bind_secret(s.secret, NULL, s.endpoint, NULL) FROM miosa.storages s
		WHERE s.secret = miosa_put_secret.name ORDER BY s.prefix;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_put_secret(text, text, boolean, text[], text[], text[]) IS 'Adds or changes a secret that endpoints or storages name';

-- Refuse the name of an endpoint that does not exist.
CREATE FUNCTION miosa.need_endpoint(name text) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_need_endpoint';
COMMENT ON FUNCTION miosa.need_endpoint(text) IS 'Raises INVALID_ARGUMENT when there is no endpoint of that name';

-- Enable or disable an endpoint; an enabled one needs no reason.
CREATE FUNCTION @extschema@.miosa_set_endpoint(name text, enabled boolean, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	PERFORM miosa.need_endpoint(miosa_set_endpoint.name);
	IF miosa_set_endpoint.enabled IS NULL THEN
		PERFORM miosa.refuse_value('argument', 'enabled', NULL, NULL,
			format('SELECT miosa_set_endpoint(%L, false, reason => ''...'');', miosa_set_endpoint.name));
	END IF;
	PERFORM miosa.check_visible(miosa_set_endpoint.reason, 'argument', 'reason');
	UPDATE miosa.endpoints e SET enabled = miosa_set_endpoint.enabled,
			reason = CASE WHEN miosa_set_endpoint.enabled THEN NULL ELSE nullif(btrim(miosa_set_endpoint.reason), '') END
		WHERE e.name = miosa_set_endpoint.name
		RETURNING to_jsonb(e) - 'generation' INTO result;
	RETURN jsonb_build_object('data', result);
END $$;
COMMENT ON FUNCTION @extschema@.miosa_set_endpoint(text, boolean, text) IS 'Enables or disables an endpoint, with a reason';

-- Delete an endpoint.
CREATE FUNCTION @extschema@.miosa_remove_endpoint(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM miosa.need_endpoint(miosa_remove_endpoint.name);
	DELETE FROM miosa.endpoints e WHERE e.name = miosa_remove_endpoint.name;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_remove_endpoint(text) IS 'Removes an endpoint and its position';

-- Send a test request from C.
CREATE FUNCTION @extschema@.miosa_test_endpoint(name text) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'miosa_test_endpoint';
COMMENT ON FUNCTION @extschema@.miosa_test_endpoint(text) IS 'Sends an endpoint, also a disabled one, a harmless request, and returns what the answer means';

-- An address that a name leads to is judged when it is connected to; this is
-- for people who want to know beforehand.
CREATE FUNCTION miosa.refused_address(address inet) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_refused_address';
COMMENT ON FUNCTION miosa.refused_address(inet) IS 'Why no request is sent to an address, by the settings; null when requests may be sent there';

-- Sending routes again.

-- Queue the present route as a new change.
CREATE FUNCTION @extschema@.miosa_resend(deployment_id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.check_scope(p.tenant_id, 'rollback', 'call miosa_resend'), miosa.queue(p.id, 'route', NULL)
		FROM miosa.parse_operation(miosa_resend.deployment_id) o JOIN miosa.deployments p ON p.id = o.deployment_id;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resend(text) IS 'Sends the present route of a deployment to every endpoint again';

-- Raise the generation, which has the dispatcher resynchronize the endpoint.
CREATE FUNCTION @extschema@.miosa_resync(endpoint text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.need_endpoint(endpoint);
	UPDATE miosa.endpoints e SET generation = e.generation + 1 WHERE e.name = miosa_resync.endpoint;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_resync(text) IS 'Resynchronizes an endpoint: sends it the present route of every deployment';

-- Make refused routes due, and wake the dispatcher.
CREATE FUNCTION @extschema@.miosa_redrive(endpoint text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	number bigint;
BEGIN
	PERFORM miosa.need_endpoint(endpoint);
	UPDATE miosa.delivery_failures f SET next_try_at = now() WHERE f.endpoint = miosa_redrive.endpoint;
	GET DIAGNOSTICS number = ROW_COUNT;
	PERFORM miosa.queue_settings();
	RETURN number;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_redrive(text) IS 'Retries at once the routes that an endpoint refused (delivery_failures); returns their number';
