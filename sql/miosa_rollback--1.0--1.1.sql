\echo Use "ALTER EXTENSION miosa_rollback UPDATE TO '1.1'" to load this file. \quit

SELECT miosa.require_library();
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;
SET LOCAL session_replication_role = origin;

-- A subscription to the routes of a site has an advice of its own.
CREATE OR REPLACE FUNCTION miosa.check_subscriptions() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('subscriptions', CASE WHEN w.failing IS NULL THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'no subscription' WHEN w.failing IS NULL THEN format('%s enabled, none fails', w.n)
				ELSE format('subscriptions whose worker fails repeatedly: %s', miosa.clip(w.failing, 200)) END,
			-- Edges of a replica would not get what is skipped.
			CASE WHEN w.routes_fail THEN 'Read the error in the server log, and remove its cause; if that is not possible: ' || miosa.copy_fix()
				WHEN w.failing IS NOT NULL THEN 'Read the error in the server log: where people wrote the same key on both servers, delete the row here, or skip the transaction: ALTER SUBSCRIPTION name SKIP (lsn = ...);'
				ELSE '' END)
		FROM (SELECT count(*) AS n, string_agg(s.name, ', ' ORDER BY s.name) FILTER (WHERE s.fails) AS failing, bool_or(s.routes AND s.fails) AS routes_fail
			FROM (SELECT quote_ident(s.subname) AS name, 'miosa_routes' = ANY (s.subpublications) AS routes, t.apply_error_count + t.sync_error_count > 0
					AND NOT EXISTS (SELECT FROM pg_stat_subscription a WHERE a.subid = s.oid AND a.relid IS NULL AND a.pid IS NOT NULL) AS fails
				FROM pg_subscription s JOIN pg_stat_subscription_stats t ON t.subid = s.oid
				WHERE s.subenabled AND s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) s) w);
END $$;

-- With standard_conforming_strings off, a backslash in a literal is not itself.
CREATE OR REPLACE FUNCTION miosa.check_url(url text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
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

CREATE OR REPLACE FUNCTION miosa.fix_needs(fix text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	called name[];
BEGIN
	-- Most findings need nothing, and nothing is planned for them.
	IF fix = '' OR fix ~ '^(See [a-z_]+[.]|Repeat )' THEN
		RETURN '';
	ELSIF fix ~ 'ALTER SYSTEM|pg_terminate_backend|SUBSCRIPTION|PUBLICATION|contrib/|pg_drop_replication_slot|^REVOKE |^GRANT ' THEN
		RETURN 'superuser';
	END IF;
	called := ARRAY(SELECT m[1]::name FROM regexp_matches(fix, E'\\m(\\w+)\\(', 'g') m);
	RETURN (SELECT CASE WHEN count(*) = 0 THEN 'superuser'
			WHEN bool_and(has_function_privilege('miosa_operator', p.oid, 'EXECUTE')) THEN 'miosa_operator' ELSE 'miosa_admin' END
		FROM pg_proc p
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'miosa_rollback'
		WHERE p.proname = ANY (called)
			-- What an entry point calls is granted to no role.
			AND (p.pronamespace <> 'miosa'::regnamespace OR p.proname NOT LIKE E'miosa\\_%'));
END $$;

CREATE OR REPLACE FUNCTION miosa.check_grants() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('grants', CASE WHEN w.secret THEN 'fail' WHEN w.n > 0 THEN 'warn' ELSE 'ok' END,
			CASE WHEN w.n = 0 THEN 'there are only the rights that the extension granted'
				ELSE format('rights that the extension did not grant: %s%s', miosa.clip(w.names, 300),
					CASE WHEN w.n > 3 THEN format(' and %s more', w.n - 3) ELSE '' END) END,
			CASE WHEN w.n = 0 THEN '' WHEN w.n <= 3 THEN w.revokes ELSE E'SELECT revoke FROM miosa.foreign_grants \\gexec' END)
		FROM (SELECT count(*) AS n, bool_or(g.object = 'miosa.secrets') AS secret,
				string_agg(format('%s on %s to %s', g.privilege, g.object, g.grantee), ', ' ORDER BY g.place) FILTER (WHERE g.place <= 3) AS names,
				string_agg(g.revoke, ' ' ORDER BY g.place) FILTER (WHERE g.place <= 3) AS revokes
			FROM (SELECT f.*, row_number() OVER (ORDER BY f.object <> 'miosa.secrets', f.object, f.grantee, f.privilege) AS place
				FROM miosa.foreign_grants f) g) w);
END $$;

CREATE OR REPLACE FUNCTION miosa.merge_fields(base anyelement, fields jsonb, fixed text[], hint text) RETURNS anyelement
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	field text;
BEGIN
	IF fields IS NULL THEN
		RETURN base;
	ELSIF jsonb_typeof(fields) <> 'object' THEN
		PERFORM miosa.refuse_value('fields', NULL, fields::text,
			format('The fields are a JSON %s.', jsonb_typeof(fields)), 'Pass an object: ''{"metadata": {}}''.');
	END IF;
	fields := coalesce((SELECT jsonb_object_agg(f.key, f.value) FROM jsonb_each(fields) f WHERE f.value <> 'null'), '{}');
	SELECT f.key INTO field FROM unnest(fixed) f (key)
		WHERE fields ? f.key AND fields -> f.key <> to_jsonb(base) -> f.key
		ORDER BY f.key LIMIT 1;
	IF FOUND THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('field "%s" cannot be set here', field),
			format('The present value is %s, the given value is %s.', to_jsonb(base) -> field, fields -> field),
			CASE WHEN field NOT LIKE '%id' OR field LIKE 'active%' OR field LIKE 'serving%' THEN hint END);
	END IF;
	fields := fields - fixed - 'updated_at'::text;
	BEGIN
		base := jsonb_populate_record(base, fields);
		PERFORM miosa.check_time(f.value::timestamptz, f.key)
			FROM jsonb_each_text(to_jsonb(base)) f
			WHERE f.key LIKE E'%\\_at' AND fields ? f.key;
		RETURN base;
	EXCEPTION WHEN data_exception THEN
		NULL;
	END;
	-- Find out which one it was.
	FOR field IN SELECT k.key FROM jsonb_object_keys(fields) k (key) ORDER BY k.key LOOP
		BEGIN
			PERFORM jsonb_populate_record(base, jsonb_build_object(field, fields -> field));
		EXCEPTION WHEN data_exception THEN
			PERFORM miosa.refuse_row('fields', SQLERRM, NULL, field);
		END;
	END LOOP;
	PERFORM miosa.refuse_row('fields', 'the fields do not fit the table', NULL, NULL);
END $$;

CREATE OR REPLACE FUNCTION miosa.note_bad(mark boolean, deployment_id text, version_id text, reason text, scope text, idempotency_key text)
RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	action CONSTANT text := CASE WHEN mark THEN 'mark_bad' ELSE 'clear_bad' END;
	stored jsonb;
	d miosa.deployments;
	artifact text;
BEGIN
	PERFORM miosa.check_id(deployment_id, 'deployment id');
	PERFORM miosa.check_id(version_id, 'version id');
	PERFORM miosa.check_word(scope, 'scope', ARRAY['deployment', 'artifact']);
	IF mark AND coalesce(reason, '') !~ E'\\S' THEN
		PERFORM miosa.refuse_value('argument', 'reason', reason, 'A version is marked as bad for a reason.',
			format('SELECT miosa_mark_bad(%L, %L, reason => ''errors at checkout''%s);', deployment_id, version_id,
				concat(CASE WHEN scope <> 'deployment' THEN ', scope => ' || quote_literal(scope) END, ', idempotency_key => ' || quote_literal(idempotency_key))));
	END IF;
	stored := miosa.note_begin(action, deployment_id, key, ARRAY[version_id, scope], reason);
	IF stored IS NOT NULL THEN
		RETURN stored;
	END IF;
	SELECT * INTO d FROM miosa.deployments p WHERE p.id = deployment_id;
	IF NOT EXISTS (SELECT FROM miosa.versions v WHERE v.deployment_id = deployment_id AND v.id = version_id) THEN
		PERFORM miosa.no_version(deployment_id, version_id);
	END IF;
	IF scope = 'artifact' THEN
		artifact := miosa.artifact_name(deployment_id, version_id);
		IF artifact IS NULL THEN
			PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('the artifact of version "%s" is not known', version_id),
				'The version has neither a digest nor an image.',
				CASE WHEN mark THEN format('To mark this version alone: SELECT miosa_mark_bad(%L, %L, reason => %L%s);', deployment_id, version_id, reason,
						', idempotency_key => ' || quote_literal(idempotency_key))
					ELSE format('To take the mark of this version away: SELECT miosa_clear_bad(%L, %L%s);', deployment_id, version_id,
						concat(', reason => ' || quote_literal(reason), ', idempotency_key => ' || quote_literal(idempotency_key))) END);
		END IF;
	END IF;
	PERFORM miosa.write_bad_mark(d, version_id, artifact, CASE WHEN mark THEN reason END);
	RETURN miosa.note_write(action, deployment_id, key, ARRAY[version_id, scope], reason,
		jsonb_strip_nulls(jsonb_build_object('version', version_id, 'scope', scope, 'artifact', artifact)),
		miosa.bad_warning(d, version_id, mark, scope));
END $$;

CREATE OR REPLACE FUNCTION miosa.primary_site_problems() RETURNS SETOF miosa.site_problem
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT 1, 'fail', format('subscription %I brings routes of another site, but miosa_rollback.site_role is primary', s.subname),
		format('ALTER SYSTEM SET miosa_rollback.site_role = ''replica''; SELECT pg_reload_conf(); DROP SUBSCRIPTION %1$I; SELECT miosa.forget_primary_site(); then subscribe again.', s.subname)
	FROM miosa.site_subscriptions('miosa_routes') s
	UNION ALL
	SELECT 2, 'fail', format('replicas know this site as "%s", but miosa_rollback.site is "%s"', s.site, i.site),
		E'In psql: \\i contrib/sites/primary.sql'
	FROM miosa.sites s, miosa.identity() i WHERE s.role = 'primary' AND s.site <> i.site
	UNION ALL
	SELECT 3, 'fail', 'this site says nothing to replicas: it has no row in miosa.sites, as after a restore from a dump',
		E'In psql: \\i contrib/sites/primary.sql'
	WHERE EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'miosa_routes') AND NOT EXISTS (SELECT FROM miosa.sites s WHERE s.role = 'primary')
	UNION ALL
	SELECT * FROM miosa.subscription_problems('miosa_site')
	UNION ALL
	SELECT * FROM miosa.publication_problems('miosa_routes', 'primary.sql',
		ARRAY['tenants', 'deployments', 'versions', 'releases', 'domains', 'removed_hosts', 'route_log', 'sites'])
	UNION ALL
	SELECT * FROM miosa.slot_problems()
	UNION ALL
	SELECT * FROM miosa.replica_problems()
$$;

CREATE OR REPLACE FUNCTION miosa.refuse_row(what text, message text, detail text, field text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	checked text := substring(field FROM '^(?:tenants|deployments|versions|releases|runtime_instances|domains)_(.*)_check$');
	-- The name of such a constraint is its rule; that of times is about several.
	rule text[] := regexp_match(field, E'^(?!times )(\\w+) (must be .*)$');
	bad text := CASE WHEN rule IS NOT NULL THEN rule[1] WHEN checked IS NOT NULL THEN checked
		WHEN what = 'fields' THEN field END;
BEGIN
	PERFORM miosa.raise_condition('INVALID_ARGUMENT',
		CASE WHEN bad IS NULL THEN format('invalid %s', what) ELSE format('invalid value for field "%s"', bad) END,
		CASE WHEN rule IS NOT NULL THEN format('The field %s.', rule[2])
			WHEN checked IS NOT NULL THEN format('The value violates check constraint "%s".', field)
			WHEN detail LIKE 'Key %' THEN detail
			ELSE upper(left(message, 1) COLLATE "C") || substr(message, 2) || '.' END, NULL);
END $$;

CREATE OR REPLACE FUNCTION miosa.miosa_audit_verify_statement(statement text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	stated bigint := substring(statement FROM E'\\nnumber ([0-9]{1,18})\\n');
	problems jsonb;
BEGIN
	PERFORM miosa.need_all_tenants();
	IF stated IS NULL OR statement !~ E'^miosa audit statement 1\\n([a-z]+ [^\\n]+\\n)+$' OR statement ~ E'(^|\\n)deployment (?![^ \\n]+ [0-9]{1,18} [0-9a-f]{64}\\n)' THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid value for argument "statement"',
			'It is not a statement of the audit trail, with all of its lines and the newline at its end.',
			'See the newest one with SELECT miosa_audit_head();');
	END IF;
	problems := miosa.audit_statement_problems(statement);
	IF NOT EXISTS (SELECT FROM miosa.audit_statements s WHERE s.number = stated AND s.hash = sha256(convert_to(statement, 'UTF8')))
		AND stated >= (SELECT coalesce(min(s.number), 0) FROM miosa.audit_statements s) THEN
		problems := problems || jsonb_build_object('statement', stated, 'problem', 'the statement is missing or is another one here');
	END IF;
	RETURN jsonb_build_object('data', jsonb_build_object('number', stated, 'verified', problems = '[]', 'problems', problems));
END $$;

CREATE OR REPLACE FUNCTION miosa.storages_check_body() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	hint CONSTANT text := 'SELECT miosa_put_secret(''s3'', ''KEYID:SECRET''); SELECT miosa_put_storage(''s3://'', ''https://s3.eu-central-1.amazonaws.com'', ''eu-central-1'', secret => ''s3'');';
	host text;
	problem text;
BEGIN
	NEW.prefix := regexp_replace(NEW.prefix, '^(s3://[^/]+)$', E'\\1/');
	NEW.endpoint := regexp_replace(NEW.endpoint, '/+$', '');
	IF coalesce(NEW.prefix, '') !~ '^s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.*)?$' THEN
		PERFORM miosa.refuse_value('column', 'prefix', NEW.prefix, NULL,
			'Name all of S3, ''s3://'', or a bucket, ''s3://bucket/'', or a part of it, ''s3://bucket/releases/''.');
	END IF;
	PERFORM miosa.check_url(NEW.endpoint);
	host := substring(NEW.endpoint FROM '^https?://([^/]*)');
	IF coalesce(NEW.region, '') !~ '^[a-z0-9-]{1,63}$' THEN
		PERFORM miosa.refuse_value('column', 'region', NEW.region, 'A region has 1 to 63 characters of a-z 0-9 -.', hint);
	ELSIF coalesce(NEW.addressing, '') NOT IN ('path', 'virtual') THEN
		PERFORM miosa.refuse_value('column', 'addressing', NEW.addressing, 'Valid values are "path" and "virtual".', hint);
	END IF;
	problem := CASE
		WHEN NEW.addressing = 'virtual' AND host ~ E'^([0-9.]+|\\[.*)(:|$)' THEN 'The bucket cannot be part of a host that is an address.'
		WHEN substr(NEW.endpoint, length(substring(NEW.endpoint FROM '^https?://[^/]*')) + 1) !~ '^[A-Za-z0-9._~/-]*$'
			THEN 'The path of the endpoint has characters that cannot be signed.'
	END;
	IF problem IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', 'invalid storage', problem, hint);
	END IF;
	IF TG_OP = 'UPDATE' THEN
		NEW.updated_at := now();
	END IF;
	RETURN NEW;
END $$;

-- With array_nulls off, nor is a null in the text of an array.
CREATE OR REPLACE FUNCTION miosa.miosa_audit_log(deployment_id text DEFAULT NULL, tenant_id text DEFAULT NULL,
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

-- Answers and audit events have times, intervals and numbers in one form, whatever the
-- session has set.
CREATE OR REPLACE FUNCTION miosa.miosa_watch(deployment_id text, bake interval DEFAULT '15 min', on_alert text DEFAULT 'rollback',
	alerts jsonb DEFAULT '{}', idempotency_key text DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	key CONSTANT text := miosa.request_key(idempotency_key);
	arguments text[];
	response jsonb;
BEGIN
	PERFORM miosa.check_watch(bake, on_alert, alerts);
	arguments := ARRAY[extract(epoch FROM bake)::text, on_alert, encode(sha256(convert_to(alerts::text, 'UTF8')), 'hex')];
	response := miosa.note_begin('watch', deployment_id, key, arguments, reason);
	IF response IS NULL THEN
		INSERT INTO miosa.watches AS w (deployment_id, bake, on_alert, labels, reason)
			VALUES (deployment_id, bake, on_alert, alerts, reason)
			ON CONFLICT ON CONSTRAINT watches_pkey DO UPDATE SET bake = excluded.bake, on_alert = excluded.on_alert,
				labels = excluded.labels, reason = excluded.reason, created_at = excluded.created_at;
		response := miosa.note_write('watch', deployment_id, key, arguments, reason,
			jsonb_build_object('watch', jsonb_build_object('bake_seconds', trim_scale(extract(epoch FROM bake)), 'on_alert', on_alert, 'alerts', alerts)));
	END IF;
	RETURN response;
END $$;

CREATE OR REPLACE FUNCTION miosa.miosa_put_plan(name text, audit_retention interval DEFAULT NULL,
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

CREATE OR REPLACE FUNCTION miosa.miosa_put_adapter(name text, fields jsonb DEFAULT '{}', copy_of text DEFAULT NULL) RETURNS jsonb
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

CREATE OR REPLACE FUNCTION miosa.miosa_put_endpoint(
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

CREATE OR REPLACE FUNCTION miosa.miosa_set_endpoint(name text, enabled boolean, reason text DEFAULT NULL) RETURNS jsonb
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

CREATE OR REPLACE FUNCTION miosa.miosa_put_storage(
	prefix text, endpoint text,
	region text DEFAULT 'us-east-1',
	addressing text DEFAULT 'path',
	secret text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
	result jsonb;
BEGIN
	IF NOT EXISTS (SELECT FROM miosa.secrets s WHERE s.name = miosa_put_storage.secret
			AND miosa.read_secret(miosa.reveal(s.value)) ~ '^[^:]+:[^:]+(:[^:]+)?$')
		AND miosa_put_storage.secret IS NOT NULL THEN
		PERFORM miosa.raise_condition('INVALID_ARGUMENT', format('secret "%s" cannot be used', miosa_put_storage.secret),
			coalesce((SELECT format('Secret "%s": %s.', s.name, miosa.secret_problem(miosa.reveal(s.value)))
					FROM miosa.secrets s WHERE s.name = miosa_put_storage.secret AND miosa.secret_problem(miosa.reveal(s.value)) IS NOT NULL),
				'A storage names a secret in miosa.secrets, of the form KEYID:SECRET or KEYID:SECRET:TOKEN.'),
			format('SELECT miosa_put_secret(%L, ''KEYID:SECRET'');', miosa_put_storage.secret));
	END IF;
	PERFORM miosa.check_secret_use(miosa_put_storage.secret, miosa_put_storage.endpoint, NULL)
		WHERE miosa_put_storage.secret IS NOT NULL;
	INSERT INTO miosa.storages AS s (prefix, endpoint, region, addressing, secret)
		VALUES (miosa_put_storage.prefix, miosa_put_storage.endpoint, miosa_put_storage.region,
			miosa_put_storage.addressing, miosa_put_storage.secret)
		ON CONFLICT (prefix) DO UPDATE SET endpoint = excluded.endpoint, region = excluded.region,
			addressing = excluded.addressing, secret = excluded.secret
		RETURNING to_jsonb(s) INTO result;
	RETURN jsonb_build_object('data', result);
END $$;

CREATE OR REPLACE FUNCTION miosa.fleet_object(fleet_id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT jsonb_build_object('data', jsonb_build_object('fleet_id', f.id, 'mode', f.mode, 'total', f.total, 'done', f.done,
			'refused', f.refused, 'began_at', miosa.iso(f.began_at), 'ended_at', miosa.iso(f.ended_at), 'refusals', f.refusals))
		FROM miosa.fleet_runs f WHERE f.id = $1 AND miosa.sees_fleet(f.tenant_id, f.acts_for));
END $$;

-- A secret in a file stays in it when a HINT is pasted.
CREATE OR REPLACE FUNCTION miosa.check_secret_use(secret text, url text, adapter text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
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

-- A hold whose version has been removed.
CREATE OR REPLACE FUNCTION miosa.held_lines(deployment_id text, OUT item text, OUT value text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	hold miosa.holds;
BEGIN
	SELECT * INTO hold FROM miosa.holds h WHERE h.deployment_id = deployment_id AND miosa.is_open(h.until);
	IF NOT FOUND THEN
		RETURN;
	END IF;
	item := 'held';
	value := miosa.clip(format('for %s by %s, %s', miosa.span(clock_timestamp() - hold.since), miosa.short(hold.actor_id, 24),
		coalesce('ends in ' || miosa.span(hold.until - clock_timestamp()), 'until lifted')), 64);
	RETURN NEXT;
	item := '';
	IF hold.reason IS NOT NULL THEN
		value := '  ' || miosa.clip(hold.reason, 62);
		RETURN NEXT;
	END IF;
	IF hold.held > 0 THEN
		value := miosa.clip(format('  %s promotion%s refused', hold.held, CASE WHEN hold.held = 1 THEN '' ELSE 's' END)
			|| coalesce(', ' || miosa.version_name(deployment_id, hold.waiting_version_id) || ' waits', ''), 64);
		RETURN NEXT;
	END IF;
END $$;

-- A standby that has replayed nothing yet, or does not know how old its data is.
CREATE OR REPLACE FUNCTION miosa.page_head(name text, OUT deployment_id text, OUT title text, OUT made text, OUT database text, OUT old text,
	OUT dispatcher text, OUT delivering boolean, OUT deployments text, OUT endpoints boolean, OUT clock text,
	OUT doctor text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	as_of CONSTANT jsonb := miosa.stamp_as_of('{}') -> 'as_of';
	now CONSTANT timestamptz := clock_timestamp();
BEGIN
	IF name IS NOT NULL THEN
		deployment_id := miosa.find_deployment(name);
		title := (SELECT p.name FROM miosa.deployments p WHERE p.id = deployment_id);
	END IF;
	made := to_char(now, 'YYYY-MM-DD HH24:MI:SS') || ' ' || current_setting('TimeZone');
	clock := to_char(now, 'HH24:MI:SS');
	database := current_database();
	old := CASE WHEN as_of IS NULL THEN NULL
		WHEN as_of ->> 'lag_seconds' IS NULL THEN 'A standby made it, and how old its data is, is unknown: it is not connected to a primary, or has only just been'
			|| coalesce('. The newest change that it has is of ' || to_char((as_of ->> 'time')::timestamptz, 'YYYY-MM-DD HH24:MI:SS'), '')
		ELSE format('A standby made it, from data of %s, at most %s s old', to_char((as_of ->> 'time')::timestamptz, 'YYYY-MM-DD HH24:MI:SS'),
			as_of ->> 'lag_seconds') END;
	dispatcher := miosa.dispatcher_words();
	delivering := miosa.is_delivering();
	endpoints := miosa.sees_endpoints();
	doctor := miosa.qualify('SELECT * FROM miosa_doctor();');
	IF name IS NULL THEN
		deployments := miosa.count_deployments();
	END IF;
END $$;

-- The planner took the one row of dispatcher_state for hundreds, and compiled.  An
-- endpoint that refuses a route lacks it.
CREATE OR REPLACE VIEW miosa.stat_endpoint WITH (security_barrier) AS
	SELECT e.name, e.zone, coalesce(e.stage, a.stage) AS stage, e.adapter, e.enabled,
		CASE
			WHEN NOT e.enabled THEN 'disabled'
			WHEN miosa.endpoint_fails(h.health) THEN h.health
			WHEN h.resyncing THEN 'resyncing'
			ELSE h.health
		END AS state,
		s.breaker,
		b.epochs AS epochs_behind,
		least(CASE WHEN b.epochs > 0 THEN (
			SELECT g.created_at FROM miosa.route_log g WHERE g.epoch > h.acked_epoch ORDER BY g.epoch LIMIT 1)
		END,
		-- It acknowledges what comes after a route that it refuses.
		CASE WHEN (SELECT EXISTS (SELECT FROM miosa.delivery_failures)) AND e.enabled THEN (
			SELECT min(f.first_failed_at) FROM miosa.delivery_failures f WHERE f.endpoint = e.name)
		END) AS undelivered_since,
		round(s.p50_ms::numeric, 3) AS p50_ms, round(s.p95_ms::numeric, 3) AS p95_ms,
		round(s.p99_ms::numeric, 3) AS p99_ms,
		coalesce(s.sent, 0) AS sent, coalesce(s.succeeded, 0) AS succeeded,
		coalesce(s.failed, 0) AS failed, coalesce(s.retried, 0) AS retried,
		h.last_status, h.last_error, h.last_error_at, h.last_success_at, h.next_try_at
	FROM miosa.endpoints e
	JOIN miosa.adapters a ON a.name = e.adapter
	LEFT JOIN miosa.endpoint_stats() s ON s.endpoint = e.name AND e.enabled
	LEFT JOIN LATERAL (
		SELECT * FROM miosa.endpoint_state t WHERE t.endpoint = e.name AND s.endpoint IS NULL OFFSET 0) t ON true
	-- It is one row in any case; this tells the planner.
	LEFT JOIN (SELECT s.term, s.last_epoch FROM miosa.dispatcher_state s LIMIT 1) d ON true
	-- Without a place in shared memory the row has to do.
	CROSS JOIN LATERAL (
		SELECT s.acked_epoch, s.resyncing, s.health, s.last_status, s.last_error, s.last_error_at, s.last_success_at,
			s.next_try_at
		WHERE s.endpoint IS NOT NULL
		UNION ALL
		SELECT coalesce(t.acked_epoch, 0), t.resync_after IS NOT NULL, coalesce(t.health, 'new'), t.last_status,
			t.last_error, t.last_error_at, t.last_success_at, CASE WHEN e.enabled THEN t.next_try_at END
		WHERE s.endpoint IS NULL) h
	-- Changes of an earlier term were delivered by another server.
	CROSS JOIN LATERAL (
		SELECT CASE WHEN e.enabled AND a.role IN ('edge', 'hook') AND NOT a.alerts THEN greatest(0, d.last_epoch - greatest(h.acked_epoch, miosa.first_epoch(d.term))) END AS epochs) b
	WHERE (SELECT miosa.sees_endpoints());

COMMENT ON COLUMN miosa.stat_endpoint.undelivered_since IS 'Time of the oldest change that it lacks, or since when it refuses one; null when it lacks none';

CREATE OR REPLACE VIEW miosa.stat_dispatcher WITH (security_barrier) AS
	SELECT d.state, d.pid, d.since, t.term, t.last_epoch AS epoch, d.passes, d.sent,
		d.acknowledged AS succeeded, d.failed, d.retried, d.in_flight, d.pending,
		least((SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 1),
			(SELECT min(s.undelivered_since) FROM miosa.stat_endpoint s)) AS oldest_undelivered,
		d.notified, d.errors, miosa.pause_reason() AS paused, d.last_pass_at, d.stalled, d.error, d.refusals_dropped, d.unmeasured
	FROM miosa.dispatcher() d LEFT JOIN (SELECT s.term, s.last_epoch FROM miosa.dispatcher_state s LIMIT 1) t ON true
	WHERE (SELECT miosa.sees_endpoints());

CREATE OR REPLACE FUNCTION miosa.zones(OUT zone text, OUT edges bigint, OUT current bigint, OUT late bigint, OUT failing bigint,
	OUT unknown bigint, OUT disabled bigint, OUT worst text, OUT state text, OUT since timestamptz, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY
	WITH judged AS (
		SELECT s.*, CASE WHEN NOT s.enabled THEN 5 WHEN miosa.endpoint_fails(s.state) THEN 1 WHEN s.state = 'resyncing' THEN 2
			WHEN s.undelivered_since < clock_timestamp() - miosa.patience() THEN 3 WHEN s.state = 'healthy' THEN 6 ELSE 4 END AS rank
		FROM miosa.stat_endpoint s JOIN miosa.adapters a ON a.name = s.adapter AND a.role = 'edge'
	), worst AS (
		SELECT DISTINCT ON (j.zone) j.zone, j.name, CASE j.rank WHEN 3 THEN 'late' ELSE j.state END AS state, j.undelivered_since,
			coalesce(CASE WHEN j.last_error_at > coalesce(j.last_success_at, '-infinity') THEN j.last_error END,
				(SELECT f.last_error FROM miosa.delivery_failures f WHERE f.endpoint = j.name AND miosa.sees_deployment(f.deployment_id)
					ORDER BY f.deployment_id LIMIT 1)) AS error
		FROM judged j WHERE j.rank <= 3 ORDER BY j.zone, j.rank, j.undelivered_since NULLS LAST, j.name
	)
	SELECT j.zone, count(*) FILTER (WHERE j.enabled), count(*) FILTER (WHERE j.rank = 6), count(*) FILTER (WHERE j.rank IN (2, 3)),
		count(*) FILTER (WHERE j.rank = 1), count(*) FILTER (WHERE j.rank = 4), count(*) FILTER (WHERE j.rank = 5),
		min(w.name), min(w.state), min(w.undelivered_since), min(w.error)
	FROM judged j LEFT JOIN worst w ON w.zone = j.zone
	GROUP BY j.zone ORDER BY 5 DESC, 4 DESC, j.zone;
END $$;

-- A role that cannot log in has no jobs.
CREATE OR REPLACE FUNCTION miosa.miosa_schedule_maintenance() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cron_schema text;
	job record;
BEGIN
	SELECT n.nspname INTO cron_schema
		FROM pg_extension e
		JOIN pg_proc p ON p.proname = 'schedule'
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
			AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE e.extname = 'pg_cron' AND has_schema_privilege(n.oid, 'USAGE')
			AND (SELECT r.rolcanlogin FROM pg_roles r WHERE r.rolname = current_user) LIMIT 1;
	FOR job IN SELECT * FROM miosa.maintenance_jobs() LOOP
		IF cron_schema IS NOT NULL THEN
			-- A job of this name is replaced.
			EXECUTE format('SELECT %I.schedule($1, $2, $3)', cron_schema) USING job.name, job.schedule, job.command;
			RETURN NEXT format('scheduled "%s" (%s)', job.name, job.schedule);
		ELSIF job.command LIKE '%cron.%' THEN
			RETURN NEXT format('SELECT cron.schedule(%L, %L, %L);', job.name, job.schedule, job.command);
		ELSE
			RETURN NEXT format('SELECT cron.schedule_in_database(%L, %L, %L, %L);',
				job.name, job.schedule, job.command, current_database());
		END IF;
	END LOOP;
END $$;
