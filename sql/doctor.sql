-- Care: what is wrong.

-- What keeps the dispatcher, worst first.  It makes a pass every second, so one
-- that has made none for long is stopped, stuck or failing, whatever its state.
CREATE FUNCTION miosa.check_dispatcher(OUT status text, OUT seen text, OUT fix text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	d record;
	paused text := miosa.pause_reason();
	waits_for text;
	since text;
	-- Without the launcher nobody starts a dispatcher again.
	launcher text := '';
	launcher_fix text;
BEGIN
	SELECT * INTO d FROM miosa.dispatcher();
	IF d.launcher_pid IS NULL THEN
		launcher := ', and no launcher runs';
	ELSIF NOT d.launcher THEN
		launcher := format(', and the launcher, process %s, is stopped or stuck', d.launcher_pid);
		launcher_fix := format('In a shell on the server: kill -CONT %s; if it stays so: SELECT pg_terminate_backend(%s);', d.launcher_pid, d.launcher_pid);
	END IF;
	status := 'fail';
	fix := '';
	since := coalesce('no pass for ' || miosa.span(clock_timestamp() - d.last_pass_at), 'no pass yet');
	IF pg_is_in_recovery() THEN
		status := 'ok';
		seen := 'none: this server is a standby';
	ELSIF d.state = 'not preloaded' THEN
		seen := 'none';
		fix := 'See preloaded.';
	ELSIF d.stalled AND d.pid IS NOT NULL AND d.error IS NULL THEN
		SELECT a.wait_event INTO waits_for FROM pg_stat_activity a WHERE a.pid = d.pid;
		IF waits_for = 'SyncRep' THEN
			seen := format('%s: process %s waits for a synchronous standby, as every COMMIT does', since, d.pid);
			fix := 'Start the standby, see SELECT application_name, state, sync_state FROM pg_stat_replication; or go on without: ALTER SYSTEM SET synchronous_standby_names = ''''; SELECT pg_reload_conf();';
		ELSE
			seen := format('%s: process %s is stopped or stuck%s', since, d.pid, coalesce(' (' || waits_for || ')', ''));
			fix := format('In a shell on the server: kill -CONT %s; if it stays so: SELECT pg_terminate_backend(%s);', d.pid, d.pid);
		END IF;
	ELSIF d.stalled THEN
		seen := d.state || ', ' || since || launcher || coalesce(': ' || d.error, '');
		fix := coalesce(launcher_fix, 'Look for miosa_rollback in the server''s log, and see worker_slots; it is tried again by itself.');
	ELSIF paused IS NOT NULL THEN
		seen := 'paused: ' || paused;
		fix := 'If this server shall tell these endpoints: SELECT miosa_resume();';
	ELSIF d.state = 'running' THEN
		status := CASE launcher WHEN '' THEN 'ok' ELSE 'warn' END;
		seen := 'running, process ' || d.pid || launcher;
		fix := coalesce(launcher_fix, '');
	ELSIF d.state = 'starting' AND d.error IS NULL THEN
		status := 'warn';
		seen := 'starting';
		fix := 'Ask again in a few seconds.';
	ELSE
		seen := d.state || launcher || coalesce(': ' || d.error, '');
		fix := coalesce(launcher_fix, 'Look for miosa_rollback in the server''s log; see worker_slots.');
	END IF;
END $$;
COMMENT ON FUNCTION miosa.check_dispatcher() IS 'What miosa_doctor() says of the dispatcher';

-- One finding a row, worst first is not the order: the order is fixed, so that
-- two runs can be compared.
CREATE FUNCTION miosa.doctor_rows(OUT item text, OUT status text, OUT seen text, OUT fix text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	lock_wait CONSTANT integer := miosa.bound_waits();
	standby boolean := pg_is_in_recovery();
	dispatcher record;
	n bigint;
	m bigint;
	lacking bigint;
	names text;
	reason text;
	at timestamptz;
	usage double precision;
BEGIN
	SELECT * INTO dispatcher FROM miosa.dispatcher();

	item := 'preloaded';
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

	item := 'locks';
	SELECT h.pid, h.description INTO n, reason FROM miosa.table_holder() h;
	status := CASE WHEN reason IS NULL THEN 'ok' ELSE 'fail' END;
	seen := coalesce(reason, 'no other process keeps out readers or writers of a table');
	fix := CASE WHEN reason IS NULL THEN ''
		WHEN n IS NULL THEN 'SELECT gid, prepared, owner FROM pg_prepared_xacts; then COMMIT PREPARED or ROLLBACK PREPARED.'
		ELSE format('End its transaction, or the process: SELECT pg_terminate_backend(%s);', n) END;
	RETURN NEXT;

	item := 'dispatcher';
	SELECT c.status, c.seen, c.fix INTO status, seen, fix FROM miosa.check_dispatcher() c;
	RETURN NEXT;

	item := 'worker_slots';
	SELECT count(*) INTO n FROM pg_stat_activity a
		WHERE a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer',
			'checkpointer', 'startup', 'walreceiver', 'walsender', 'walwriter', 'archiver', 'slotsync worker');
	m := current_setting('max_worker_processes')::bigint;
	status := CASE WHEN n < m THEN 'ok' ELSE 'warn' END;
	seen := format('%s of max_worker_processes = %s are taken', n, m);
	fix := CASE WHEN n < m THEN '' ELSE 'Raise max_worker_processes and restart the server.' END;
	RETURN NEXT;

	-- Its row has to do then, which is written late.
	item := 'endpoint_entries';
	SELECT e.taken, e.size INTO n, m FROM miosa.endpoint_entries() e;
	SELECT count(*) INTO lacking FROM miosa.endpoints e JOIN miosa.adapters a ON a.name = e.adapter
		WHERE e.enabled AND a.role IN ('edge', 'hook') AND dispatcher.state = 'running'
			AND NOT EXISTS (SELECT FROM miosa.endpoint_stats() s WHERE s.endpoint = e.name);
	status := CASE WHEN n < m OR lacking = 0 THEN 'ok' ELSE 'warn' END;
	seen := format('%s of miosa_rollback.max_endpoints = %s are taken%s', n, m,
		CASE WHEN status = 'ok' THEN '' ELSE format('; %s here have none', lacking) END);
	fix := CASE status WHEN 'ok' THEN '' ELSE 'Raise miosa_rollback.max_endpoints and restart the server.' END;
	RETURN NEXT;

	item := 'endpoints';
	SELECT count(*) FILTER (WHERE e.enabled), count(*) FILTER (WHERE NOT e.enabled) INTO n, m
		FROM miosa.endpoints e;
	status := CASE WHEN n = 0 THEN 'warn' ELSE 'ok' END;
	seen := format('%s enabled, %s disabled', n, m);
	fix := CASE WHEN n = 0 THEN 'Add one: SELECT miosa_put_endpoint(''edge-1'', ''haproxy-map'', ''http://...'');' ELSE '' END;
	RETURN NEXT;

	item := 'endpoint_health';
	SELECT count(*), string_agg(s.name || ' (' || s.state || ')', ', ' ORDER BY s.name) INTO n, names
		FROM miosa.stat_endpoint s
		WHERE s.state IN ('backing off', 'misconfigured', 'gone', 'unverified');
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'no endpoint fails' ELSE miosa.clip(names, 200) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'SELECT name, last_status, last_error FROM miosa.stat_endpoint; a dead one: SELECT miosa_set_endpoint(''name'', false, ''why'');' END;
	RETURN NEXT;

	item := 'wildcards';
	SELECT count(DISTINCT g.endpoint), string_agg(DISTINCT format('%s (%s)', g.endpoint, g.adapter), ', ') INTO n, names
		FROM miosa.wildcard_gaps() g;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'every endpoint can do what it is told of wildcard hosts'
		ELSE 'can do nothing with wildcard hosts: ' || miosa.clip(names, 160) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'SELECT * FROM miosa.wildcard_gaps(); then another adapter, or a selector without these deployments: SELECT miosa_put_endpoint(...);' END;
	RETURN NEXT;

	item := 'delivery_failures';
	SELECT count(*) INTO n FROM miosa.delivery_failures f;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'none' ELSE format('routes that an endpoint does not take: %s', n) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'TABLE miosa.delivery_failures; when it is repaired: SELECT miosa_redrive(''endpoint'');' END;
	RETURN NEXT;

	item := 'capacity';
	SELECT count(*), string_agg(w.id, ', ' ORDER BY w.id) FILTER (WHERE w.place <= 3) INTO n, names
		FROM (SELECT o.id, row_number() OVER (ORDER BY o.id) AS place FROM miosa.overdue o) w;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'no deployment waits too long for instances'
		ELSE format('wait for instances longer than cutover_deadline: %s (%s%s)', n, miosa.clip(names, 120),
			CASE WHEN n > 3 THEN ', ...' ELSE '' END) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'TABLE miosa.overdue; then SELECT * FROM miosa.status(''deployment'');' END;
	RETURN NEXT;

	item := 'outbox';
	SELECT count(*), min(o.created_at) INTO n, at
		FROM (SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 100000) o;
	status := CASE WHEN n = 0 OR at > now() - '5 s'::interval THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'empty' ELSE format('%s changes wait, the oldest for %s', n, miosa.span(now() - at)) END;
	fix := CASE status WHEN 'ok' THEN '' ELSE 'See dispatcher.' END;
	RETURN NEXT;

	item := 'notification_queue';
	-- On a standby there is no queue to look at.
	usage := CASE WHEN standby THEN 0 ELSE pg_notification_queue_usage() END;
	status := CASE WHEN usage < 0.5 THEN 'ok' ELSE 'warn' END;
	seen := format('%s %% used', round((usage * 100)::numeric, 1));
	fix := CASE WHEN usage < 0.5 THEN '' ELSE 'A listener sleeps in a transaction: end it; routes are told over HTTP all the same.' END;
	RETURN NEXT;

	-- Where pg_cron is elsewhere, only what it does can be seen.
	item := 'pg_cron';
	SELECT m.ended_at INTO at FROM miosa.maintenance m;
	names := CASE WHEN at IS NULL THEN '; no maintenance yet'
		ELSE format('; maintenance ended %s ago', miosa.span(greatest(clock_timestamp() - at, '0'))) END;
	IF EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
		EXECUTE 'SELECT count(*) FROM cron.job j WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)'
			INTO n;
		EXECUTE 'SELECT format(''"%s" failed: %s'', l.jobname, l.return_message) FROM (
				SELECT DISTINCT ON (j.jobid) j.jobname, d.status, d.return_message
				FROM (SELECT * FROM cron.job_run_details r ORDER BY r.runid DESC LIMIT 1000) d
				JOIN cron.job j ON j.jobid = d.jobid
				WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)
					AND d.status IN (''succeeded'', ''failed'')
				ORDER BY j.jobid, d.runid DESC) l
			WHERE l.status = ''failed'' LIMIT 1' INTO reason;
		SELECT count(*) INTO m FROM miosa.maintenance_jobs();
		status := CASE WHEN n = m AND reason IS NULL THEN 'ok' ELSE 'warn' END;
		seen := coalesce(miosa.clip(reason, 200), format('%s of our %s jobs are scheduled', n, m) || names);
		fix := CASE WHEN status = 'ok' THEN '' WHEN reason IS NULL THEN 'SELECT * FROM miosa_schedule_maintenance();'
			ELSE 'SELECT * FROM cron.job_run_details ORDER BY runid DESC LIMIT 20;' END;
	ELSE
		status := CASE WHEN standby OR at > clock_timestamp() - '15 min'::interval THEN 'ok' ELSE 'warn' END;
		seen := 'not in this database' || names;
		fix := CASE status WHEN 'ok' THEN '' ELSE 'SELECT * FROM miosa_schedule_maintenance();' END;
	END IF;
	RETURN NEXT;

	item := 'expired_keys';
	SELECT count(*) INTO n
		FROM (SELECT FROM miosa.idempotency_keys k
			WHERE k.expires_at < now() - '10 min'::interval LIMIT 100000) k;
	status := CASE WHEN n < 10000 THEN 'ok' ELSE 'warn' END;
	seen := format('%s%s keys wait for the purge', n, CASE WHEN n = 100000 THEN ' or more' ELSE '' END);
	fix := CASE status WHEN 'ok' THEN '' ELSE 'CALL miosa_maintain();' END;
	RETURN NEXT;

	item := 'durability';
	SELECT string_agg(format('%s = %s', s.name, s.setting), ', ' ORDER BY s.name) INTO names
		FROM pg_settings s
		WHERE s.name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND s.setting = 'off';
	status := CASE WHEN names IS NULL THEN 'ok' ELSE 'fail' END;
	seen := coalesce(names, 'fsync, full_page_writes and synchronous_commit are on');
	fix := CASE WHEN names IS NULL THEN '' ELSE 'A crash can lose a rollback that was answered: switch them on.' END;
	RETURN NEXT;

	item := 'replication';
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

	item := 'site';
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

	item := 'grants';
	SELECT count(*), count(*) FILTER (WHERE w.object = 'miosa.secrets'),
			string_agg(format('%s on %s to %s', w.privilege, w.object, w.grantee), ', ' ORDER BY w.place) FILTER (WHERE w.place <= 3),
			string_agg(w.revoke, ' ' ORDER BY w.place) FILTER (WHERE w.place <= 3)
		INTO n, m, names, reason
		FROM (SELECT g.*, row_number() OVER (ORDER BY g.object <> 'miosa.secrets', g.object, g.grantee, g.privilege) AS place
			FROM miosa.foreign_grants g) w;
	status := CASE WHEN m > 0 THEN 'fail' WHEN n > 0 THEN 'warn' ELSE 'ok' END;
	seen := CASE WHEN n = 0 THEN 'nobody has rights besides those that the extension gave'
		ELSE format('rights that the extension did not give: %s%s', miosa.clip(names, 300),
			CASE WHEN n > 3 THEN format(' and %s more', n - 3) ELSE '' END) END;
	fix := CASE WHEN n = 0 THEN '' WHEN n <= 3 THEN reason
		ELSE 'SELECT revoke FROM miosa.foreign_grants \gexec' END;
	RETURN NEXT;

	item := 'secrets';
	SELECT count(*), count(*) FILTER (WHERE w.problem IS NOT NULL), count(*) FILTER (WHERE w.in_file),
			string_agg(format('%s (%s)', w.name, w.problem), '; ' ORDER BY w.name) FILTER (WHERE w.problem IS NOT NULL)
		INTO n, m, lacking, names
		FROM (SELECT s.name, miosa.reveal(s.value) LIKE 'file:%' AS in_file,
				coalesce(miosa.secret_problem(miosa.reveal(s.value)), miosa.secret_problem(miosa.reveal(s.previous))) AS problem
			FROM miosa.secrets s) w;
	status := CASE WHEN m = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN m = 0 THEN format('%s in files, %s in miosa.secrets%s', lacking, n - lacking,
			(SELECT ', which leaves the server without the values, by publication '
					|| miosa.clip(string_agg(DISTINCT quote_ident(t.pubname), ', '), 200)
				FROM pg_publication_tables t WHERE t.schemaname = 'miosa' AND t.tablename = 'secrets'))
		ELSE 'secrets cannot be used: ' || miosa.clip(names, 300) END;
	fix := CASE WHEN m = 0 THEN '' ELSE 'SHOW miosa_rollback.secret_directory; let the server read the file below it, or name another one: SELECT miosa_put_secret(''name'', ''file:NAME'');' END;
	RETURN NEXT;

	-- Whose worker is gone after an error is started again, and fails again.
	item := 'subscriptions';
	SELECT count(*), count(*) FILTER (WHERE w.fails), string_agg(w.name, ', ' ORDER BY w.name) FILTER (WHERE w.fails) INTO n, m, names
		FROM (SELECT quote_ident(s.subname) AS name, t.apply_error_count + t.sync_error_count > 0
				AND NOT EXISTS (SELECT FROM pg_stat_subscription a WHERE a.subid = s.oid AND a.relid IS NULL AND a.pid IS NOT NULL) AS fails
			FROM pg_subscription s JOIN pg_stat_subscription_stats t ON t.subid = s.oid
			WHERE s.subenabled AND s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) w;
	status := CASE WHEN m = 0 THEN 'ok' ELSE 'fail' END;
	seen := CASE WHEN n = 0 THEN 'no subscription' WHEN m = 0 THEN format('%s enabled, none fails', n)
		ELSE format('the worker ends with an error again and again: %s', miosa.clip(names, 200)) END;
	fix := CASE WHEN m = 0 THEN '' ELSE 'Read the error in the server log: where people wrote the same key on both servers, delete the row here, or skip the transaction: ALTER SUBSCRIPTION name SKIP (lsn = ...);' END;
	RETURN NEXT;

	item := 'restorable';
	SELECT count(*), count(*) FILTER (WHERE w.restorable = 0),
			string_agg(w.deployment_id, ', ' ORDER BY w.restorable, w.deployment_id) FILTER (WHERE w.place <= 3)
		INTO n, m, names
		FROM (SELECT s.deployment_id, s.restorable, row_number() OVER (ORDER BY s.restorable, s.deployment_id) AS place
			FROM miosa.scarcely_restorable s) w;
	status := CASE WHEN n = 0 THEN 'ok' ELSE 'warn' END;
	seen := CASE WHEN n = 0 THEN 'every active deployment has two versions to go back to'
		ELSE format('with fewer than two versions to go back to: %s, with none: %s (%s%s)', n, m, miosa.clip(names, 120),
			CASE WHEN n > 3 THEN ', ...' ELSE '' END) END;
	fix := CASE WHEN n = 0 THEN '' ELSE 'TABLE miosa.scarcely_restorable; normal after the first publishes, else keep older versions ready: SELECT miosa_pin_version(''deployment'', ''version'');' END;
	RETURN NEXT;

	item := 'artifacts';
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
	fix := CASE WHEN n = 0 THEN '' ELSE 'SELECT deployment_id, storage_uri, missing_at FROM miosa.releases WHERE missing_at IS NOT NULL; put them back, or archive the versions: SELECT miosa_archive_version(''deployment'', ''version'');' END;
	RETURN NEXT;
EXCEPTION WHEN lock_not_available THEN
	status := 'fail';
	seen := 'a table is locked: this check and those after it were left out';
	fix := 'See locks.';
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION miosa.doctor_rows() IS 'Rows of miosa_doctor(), without the role';

-- A fix that calls our functions needs who may call them; what is not done by
-- them is done to the server.
CREATE FUNCTION miosa.fix_needs(fix text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN $1 = '' OR $1 ~ '^(See [a-z_]+[.]|Ask again)' THEN ''
		WHEN f.operator IS NULL OR $1 ~ 'ALTER SYSTEM|pg_terminate_backend' THEN 'superuser'
		WHEN f.operator THEN 'miosa_operator' ELSE 'miosa_admin' END
	FROM (SELECT bool_and(has_function_privilege('miosa_operator', p.oid, 'EXECUTE')) AS operator
		FROM regexp_matches($1, '\m(\w+)\(', 'g') m
		JOIN pg_proc p ON p.proname = m[1] COLLATE "C"
			-- What a guarded function calls is nobody's.
			AND (p.pronamespace <> 'miosa'::regnamespace OR p.proname NOT LIKE 'miosa\_%')
		JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'miosa_rollback') f
$$;
COMMENT ON FUNCTION miosa.fix_needs(text) IS 'Role that may do what a fix says: miosa_operator, miosa_admin or superuser; empty when there is nothing to do';

CREATE FUNCTION @extschema@.miosa_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT d.item, d.status, d.seen, miosa.qualify(d.fix), miosa.fix_needs(d.fix) FROM miosa.doctor_rows() d;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_doctor() IS 'What is wrong with this installation: per item what was seen, what to do, and the role that it needs';
