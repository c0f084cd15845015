-- Care: what runs now and then, and what is wrong.

-- Expiry is decided when a key is read, so a late purge changes no answer.
CREATE FUNCTION @extschema@.miosa_purge_expired(batch integer DEFAULT 10000, OUT what text, OUT removed bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM miosa.require_primary();
	PERFORM miosa.check_limit(batch, 1000000);
	what := 'idempotency_keys';
	WITH old AS (
		SELECT k.deployment_id, k.key FROM miosa.idempotency_keys k
		WHERE k.expires_at <= clock_timestamp()
		LIMIT batch FOR UPDATE SKIP LOCKED
	)
	DELETE FROM miosa.idempotency_keys k USING old
		WHERE k.deployment_id = old.deployment_id AND k.key = old.key;
	GET DIAGNOSTICS removed = ROW_COUNT;
	RETURN NEXT;
	what := 'route_log';
	removed := miosa.trim_route_log(batch);
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_purge_expired(integer) IS 'Delete expired idempotency keys and route changes that nobody needs any more; returns how many of each. batch: at most so many of each in one call, 1 to 1000000, default 10000; call again while the number is reached. Raises INVALID_ARGUMENT, NOT_PRIMARY';

-- The jobs, written once.  pg_cron may be in this database, in another one, or
-- nowhere; nothing here depends on it.
CREATE FUNCTION miosa.maintenance_jobs(OUT name text, OUT schedule text, OUT command text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT 'miosa_rollback purge in ' || current_database(), '*/5 * * * *',
		'SELECT * FROM @extschema@.miosa_purge_expired(100000)'
	UNION ALL
	SELECT 'miosa_rollback job history of ' || current_database(), '17 3 * * *',
		'DELETE FROM cron.job_run_details d USING cron.job j WHERE j.jobid = d.jobid'
		|| ' AND j.jobname LIKE ''miosa\_rollback %'' AND d.end_time < now() - interval ''7 days'''
$$;
COMMENT ON FUNCTION miosa.maintenance_jobs() IS 'Jobs for pg_cron: name, schedule, command';

CREATE FUNCTION @extschema@.miosa_schedule_maintenance() RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	cron_schema text;
	job record;
BEGIN
	PERFORM miosa.require_primary();
	SELECT n.nspname INTO cron_schema
		FROM pg_extension e
		JOIN pg_proc p ON p.proname = 'schedule'
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
			AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE e.extname = 'pg_cron' LIMIT 1;
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
COMMENT ON FUNCTION @extschema@.miosa_schedule_maintenance() IS 'Have pg_cron purge what has expired every 5 minutes and delete our old lines of its job history every night. May be called again. Where pg_cron is not in this database, returns the statements to paste into the database where it is. Raises NOT_PRIMARY';

-- One finding a row, worst first is not the order: the order is fixed, so that
-- two runs can be compared.
CREATE FUNCTION @extschema@.miosa_doctor(OUT "check" text, OUT status text, OUT seen text, OUT fix text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	standby boolean := pg_is_in_recovery();
	dispatcher record;
	paused text;
	n bigint;
	m bigint;
	lacking bigint;
	names text;
	at timestamptz;
	usage double precision;
BEGIN
	SELECT * INTO dispatcher FROM miosa.dispatcher();
	paused := miosa.pause_reason();

	"check" := 'preloaded';
	IF dispatcher.state = 'not preloaded' THEN
		status := 'fail';
		seen := 'the library is not in shared_preload_libraries; edges are not told';
		fix := 'Add miosa_rollback to shared_preload_libraries and restart the server.';
	ELSE
		status := 'ok';
		seen := 'shared_preload_libraries has miosa_rollback';
		fix := '';
	END IF;
	RETURN NEXT;

	"check" := 'dispatcher';
	fix := '';
	IF standby THEN
		status := 'ok';
		seen := 'none: this server is a standby';
	ELSIF paused IS NOT NULL THEN
		status := 'fail';
		seen := 'paused: ' || paused;
		fix := 'If this server shall tell these endpoints: SELECT miosa_resume();';
	ELSIF dispatcher.state = 'running' THEN
		status := 'ok';
		seen := 'running, process ' || dispatcher.pid;
	ELSIF dispatcher.state = 'not preloaded' THEN
		status := 'fail';
		seen := 'none';
		fix := 'See preloaded.';
	ELSIF dispatcher.state = 'starting' THEN
		status := 'warn';
		seen := 'starting';
		fix := 'Ask again in a few seconds.';
	ELSE
		status := 'fail';
		seen := dispatcher.state || CASE WHEN dispatcher.launcher THEN '' ELSE ', and no launcher runs' END;
		fix := 'Look for miosa_rollback in the server''s log; see worker_slots.';
	END IF;
	RETURN NEXT;

	"check" := 'worker_slots';
	SELECT count(*) INTO n FROM pg_stat_activity a
		WHERE a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer',
			'checkpointer', 'startup', 'walreceiver', 'walsender', 'walwriter', 'archiver', 'slotsync worker');
	m := current_setting('max_worker_processes')::bigint;
	status := CASE WHEN n < m THEN 'ok' ELSE 'warn' END;
	seen := format('%s of max_worker_processes = %s are taken', n, m);
	fix := CASE WHEN n < m THEN '' ELSE 'Raise max_worker_processes and restart the server.' END;
	RETURN NEXT;

	-- Its row has to do then, which is written late.
	"check" := 'endpoint_entries';
	SELECT e.taken, e.size INTO n, m FROM miosa.endpoint_entries() e;
	SELECT count(*) INTO lacking FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter
		WHERE e.enabled AND a.role IN ('edge', 'hook') AND dispatcher.state = 'running'
			AND NOT EXISTS (SELECT FROM miosa.endpoint_stats() s WHERE s.endpoint = e.name);
	status := CASE WHEN n < m OR lacking = 0 THEN 'ok' ELSE 'warn' END;
	seen := format('%s of miosa_rollback.max_endpoints = %s are taken%s', n, m,
		CASE WHEN status = 'ok' THEN '' ELSE format('; %s here have none', lacking) END);
	fix := CASE status WHEN 'ok' THEN '' ELSE 'Raise miosa_rollback.max_endpoints and restart the server.' END;
	RETURN NEXT;

	"check" := 'endpoints';
	SELECT count(*) FILTER (WHERE e.enabled), count(*) FILTER (WHERE NOT e.enabled) INTO n, m
		FROM miosa.endpoints e;
	status := CASE WHEN n = 0 THEN 'warn' ELSE 'ok' END;
	seen := format('%s enabled, %s disabled', n, m);
	fix := CASE WHEN n = 0 THEN 'Add one: SELECT miosa_put_endpoint(''edge-1'', ''haproxy-map'', ''http://...'');' ELSE '' END;
	RETURN NEXT;

	"check" := 'endpoint_health';
	SELECT count(*), string_agg(s.name || ' (' || s.state || ')', ', ' ORDER BY s.name) INTO n, names
		FROM miosa.stat_endpoint s
		WHERE s.state IN ('backing off', 'misconfigured', 'gone');
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'no endpoint fails' ELSE miosa.clip(names, 200) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'SELECT name, last_status, last_error FROM miosa.stat_endpoint; a dead one: SELECT miosa_set_endpoint(''name'', false, ''why'');' END;
	RETURN NEXT;

	"check" := 'delivery_failures';
	SELECT count(*) INTO n FROM miosa.delivery_failures f;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'none' ELSE format('routes that an endpoint does not take: %s', n) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'TABLE miosa.delivery_failures; when it is repaired: SELECT miosa_redrive(''endpoint'');' END;
	RETURN NEXT;

	"check" := 'outbox';
	SELECT count(*), min(o.created_at) INTO n, at
		FROM (SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 100000) o;
	status := CASE WHEN n = 0 OR at > now() - '5 s'::interval THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'empty' ELSE format('%s changes wait, the oldest for %s', n, miosa.span(now() - at)) END;
	fix := CASE status WHEN 'ok' THEN '' ELSE 'See dispatcher.' END;
	RETURN NEXT;

	"check" := 'notification_queue';
	-- On a standby there is no queue to look at.
	usage := CASE WHEN standby THEN 0 ELSE pg_notification_queue_usage() END;
	status := CASE WHEN usage < 0.5 THEN 'ok' ELSE 'warn' END;
	seen := format('%s %% used', round((usage * 100)::numeric, 1));
	fix := CASE WHEN usage < 0.5 THEN '' ELSE 'A listener sleeps in a transaction: end it; routes are told over HTTP all the same.' END;
	RETURN NEXT;

	"check" := 'pg_cron';
	IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
		EXECUTE 'SELECT count(*) FROM cron.job j WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)'
			INTO n;
		status := CASE WHEN n > 0 THEN 'ok' ELSE 'warn' END;
		seen := format('%s of our jobs are scheduled', n);
	ELSE
		status := 'warn';
		seen := 'not in this database';
	END IF;
	fix := CASE status WHEN 'ok' THEN '' ELSE 'SELECT * FROM miosa_schedule_maintenance();' END;
	RETURN NEXT;

	"check" := 'expired_keys';
	SELECT count(*), min(k.expires_at) INTO n, at
		FROM (SELECT k.expires_at FROM miosa.idempotency_keys k
			WHERE k.expires_at < now() - '10 min'::interval LIMIT 100000) k;
	status := CASE WHEN n < 10000 THEN 'ok' ELSE 'warn' END;
	seen := format('%s%s keys wait for the purge', n, CASE WHEN n = 100000 THEN ' or more' ELSE '' END);
	fix := CASE status WHEN 'ok' THEN '' ELSE 'SELECT * FROM miosa_purge_expired();' END;
	RETURN NEXT;

	"check" := 'durability';
	SELECT string_agg(format('%s = %s', s.name, s.setting), ', ' ORDER BY s.name) INTO names
		FROM pg_settings s
		WHERE s.name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND s.setting = 'off';
	status := CASE WHEN names IS NULL THEN 'ok' ELSE 'fail' END;
	seen := coalesce(names, 'fsync, full_page_writes and synchronous_commit are on');
	fix := CASE WHEN names IS NULL THEN '' ELSE 'A crash can lose a rollback that was answered: switch them on.' END;
	RETURN NEXT;

	"check" := 'replication';
	SELECT count(*) INTO n FROM pg_stat_replication r WHERE r.application_name <> 'pg_basebackup';
	IF n > 0 AND current_setting('synchronous_standby_names') = '' THEN
		status := 'warn';
		seen := format('%s standby, none of them synchronous', n);
		fix := 'A fail-over can lose a rollback that was answered: set synchronous_standby_names.';
	ELSE
		status := 'ok';
		seen := CASE WHEN n = 0 THEN 'no standby' ELSE format('%s standby, synchronous_standby_names is set', n) END;
		fix := '';
	END IF;
	RETURN NEXT;

	"check" := 'site';
	names := coalesce(current_setting('miosa_rollback.site', true), '');
	IF names = '' AND (standby OR n > 0) THEN
		status := 'warn';
		seen := 'miosa_rollback.site is empty and there is a standby';
		fix := 'Set it to the same name on all servers, or the dispatcher pauses after a fail-over.';
	ELSE
		status := 'ok';
		seen := CASE WHEN names = '' THEN 'empty; needed with a standby' ELSE format('"%s"', names) END;
		fix := '';
	END IF;
	RETURN NEXT;

	"check" := 'restorable';
	SELECT count(*), string_agg(w.id, ', ' ORDER BY w.id) FILTER (WHERE w.place <= 3) INTO n, names
		FROM (SELECT p.id, row_number() OVER (ORDER BY p.id) AS place
			FROM miosa.deployments p
			WHERE p.active_version_id IS NOT NULL AND NOT EXISTS (
				SELECT FROM miosa.versions v
				LEFT JOIN miosa.releases r ON r.deployment_id = v.deployment_id AND r.deployment_version_id = v.id
				WHERE v.deployment_id = p.id AND v.state = 'ready' AND v.id <> p.active_version_id
					AND r.collected_at IS NULL)) w;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'warn' END;
	seen := CASE WHEN n = 0 THEN 'every active deployment has a version to go back to'
		ELSE format('without a version to go back to: %s (%s%s)', n, miosa.clip(names, 120),
			CASE WHEN n > 3 THEN ', ...' ELSE '' END) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'Normal after a first publish; else keep older versions ready and their artifacts.' END;
	RETURN NEXT;

	"check" := 'artifacts';
	SELECT count(*), string_agg(w.name, ', ' ORDER BY w.name) FILTER (WHERE w.place <= 3) INTO n, names
		FROM (SELECT r.deployment_id || ' v' || v.version_number AS name,
				row_number() OVER (ORDER BY r.deployment_id, v.version_number) AS place
			FROM miosa.releases r
			JOIN miosa.versions v ON v.deployment_id = r.deployment_id AND v.id = r.deployment_version_id
			-- What rollbacks still go to is missed again and again.
			WHERE r.missing_at > now() - greatest('1 day'::interval,
					2 * current_setting('miosa_rollback.artifact_max_age', true)::interval)
				AND r.collected_at IS NULL AND v.state = 'ready') w;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'storage has what it was asked for'
		ELSE format('storage lost what rollbacks would go to: %s (%s%s)', n, miosa.clip(names, 120),
			CASE WHEN n > 3 THEN ', ...' ELSE '' END) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'SELECT deployment_id, storage_uri, missing_at FROM miosa.releases WHERE missing_at IS NOT NULL; put them back, or archive the versions.' END;
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_doctor() IS 'What is wrong with this installation: one row a check, with status (ok, warn, fail), what was seen and what to do. Works without preloading and on a standby';
