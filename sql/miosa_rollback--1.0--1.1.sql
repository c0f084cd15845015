\echo Use "ALTER EXTENSION miosa_rollback UPDATE TO '1.1'" to load this file. \quit

SELECT miosa.require_library();
SET LOCAL search_path = pg_catalog, pg_temp;

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

-- The planner took the one row of dispatcher_state for hundreds, and compiled.
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
		CASE WHEN b.epochs > 0 THEN (
			SELECT g.created_at FROM miosa.route_log g WHERE g.epoch > h.acked_epoch ORDER BY g.epoch LIMIT 1)
		END AS undelivered_since,
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

CREATE OR REPLACE VIEW miosa.stat_dispatcher WITH (security_barrier) AS
	SELECT d.state, d.pid, d.since, t.term, t.last_epoch AS epoch, d.passes, d.sent,
		d.acknowledged AS succeeded, d.failed, d.retried, d.in_flight, d.pending,
		least((SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 1),
			(SELECT min(s.undelivered_since) FROM miosa.stat_endpoint s)) AS oldest_undelivered,
		d.notified, d.errors, miosa.pause_reason() AS paused, d.last_pass_at, d.stalled, d.error, d.refusals_dropped, d.unmeasured
	FROM miosa.dispatcher() d LEFT JOIN (SELECT s.term, s.last_epoch FROM miosa.dispatcher_state s LIMIT 1) t ON true
	WHERE (SELECT miosa.sees_endpoints());
