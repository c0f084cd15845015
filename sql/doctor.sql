-- The doctor: one function a check.  A check is called check_ and its item, and
-- returns one finding; miosa_doctor() is their union.  They are in PL/pgSQL, which
-- keeps their plans for the next call: planning takes most of the time.

CREATE TYPE miosa.finding AS (item text, status text, seen text, fix text, needs text);
COMMENT ON TYPE miosa.finding IS 'A row of miosa_doctor()';
COMMENT ON COLUMN miosa.finding.item IS 'What was checked';
COMMENT ON COLUMN miosa.finding.status IS 'ok, warn or fail';
COMMENT ON COLUMN miosa.finding.seen IS 'What was found';
COMMENT ON COLUMN miosa.finding.fix IS 'Command or action that resolves it; empty when there is nothing to do';
COMMENT ON COLUMN miosa.finding.needs IS 'Role that may do that: miosa_operator, miosa_admin or superuser';

-- A fix that calls functions of the extension needs a role that may call them;
-- any other changes the server.
CREATE FUNCTION miosa.fix_needs(fix text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
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
COMMENT ON FUNCTION miosa.fix_needs(text) IS 'Role that may apply a fix: miosa_operator, miosa_admin or superuser; empty when there is nothing to do';

-- Make the finding of a check.
CREATE FUNCTION miosa.make_finding(item text, status text, seen text, fix text) RETURNS miosa.finding
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT ROW($1, $2, $3, $4, miosa.fix_needs($4))::miosa.finding
$$;
COMMENT ON FUNCTION miosa.make_finding(text, text, text, text) IS 'A finding with the role that its fix needs';

-- Show the first three of a number of names.
CREATE FUNCTION miosa.some_names(names text, n bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT format('(%s%s)', miosa.clip($1, 120), CASE WHEN $2 > 3 THEN ', ...' ELSE '' END)
$$;
COMMENT ON FUNCTION miosa.some_names(text, bigint) IS 'Names in parentheses; n is how many there are, of which at most three are given';

-- Without preloading everything but delivery works.
CREATE FUNCTION miosa.check_preloaded() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE WHEN d.state = 'not preloaded'
			THEN miosa.make_finding('preloaded', 'fail', 'the library is not in shared_preload_libraries; nothing is delivered',
				'Add miosa_rollback to shared_preload_libraries and restart the server.')
			ELSE miosa.make_finding('preloaded', 'ok', 'shared_preload_libraries has miosa_rollback', '') END
		FROM miosa.dispatcher() d);
END $$;
COMMENT ON FUNCTION miosa.check_preloaded() IS 'Check of miosa_doctor(): is the library preloaded?';

-- A new library serves older objects as well as it can, until they are updated.
CREATE FUNCTION miosa.check_versions() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('versions', CASE WHEN v.fix IS NULL THEN 'ok' ELSE 'fail' END,
			format('the library is version %s, the SQL objects are version %s', v.library, v.objects), coalesce(v.fix, ''))
		FROM miosa.versions() v);
END $$;
COMMENT ON FUNCTION miosa.check_versions() IS 'Check of miosa_doctor(): are library and SQL objects of the same version?';

-- A table lock stops operations and the dispatcher alike.
CREATE FUNCTION miosa.check_locks() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('locks', CASE WHEN h.description IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce(h.description, 'no other process locks a whole table'),
			CASE WHEN h.description IS NULL THEN ''
				WHEN h.pid IS NULL THEN 'SELECT gid, prepared, owner FROM pg_prepared_xacts; then COMMIT PREPARED or ROLLBACK PREPARED.'
				ELSE format('End its transaction, or the process: SELECT pg_terminate_backend(%s);', h.pid) END)
		FROM miosa.table_holder() h);
END $$;
COMMENT ON FUNCTION miosa.check_locks() IS 'Check of miosa_doctor(): does another process lock a whole table?';

-- What keeps the dispatcher, worst first.  It makes a pass every second, so one
-- that has made none for long is stopped, stuck or failing, whatever its state.
CREATE FUNCTION miosa.check_dispatcher() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	status text := 'fail';
	seen text;
	fix text := '';
	d record;
	paused text := miosa.pause_reason();
	waits_for text;
	since text;
	-- Without the launcher no dispatcher is started again.
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
		fix := coalesce(launcher_fix, 'Look for miosa_rollback in the server''s log, and see worker_slots; the start is retried.');
	ELSIF paused IS NOT NULL THEN
		seen := 'paused: ' || paused;
		fix := coalesce((miosa.site_pause()).fix, 'If this server is to serve these endpoints: SELECT miosa_resume();');
	ELSIF d.state = 'running' THEN
		status := CASE launcher WHEN '' THEN 'ok' ELSE 'warn' END;
		seen := 'running, process ' || d.pid || launcher;
		fix := coalesce(launcher_fix, '');
	ELSIF d.state = 'starting' AND d.error IS NULL THEN
		status := 'warn';
		seen := 'starting';
		fix := 'Repeat the check in a few seconds.';
	ELSE
		seen := d.state || launcher || coalesce(': ' || d.error, '');
		fix := coalesce(launcher_fix, 'Look for miosa_rollback in the server''s log; see worker_slots.');
	END IF;
	RETURN miosa.make_finding('dispatcher', status, seen, fix);
END $$;
COMMENT ON FUNCTION miosa.check_dispatcher() IS 'Check of miosa_doctor(): does the dispatcher run?';

-- Neither the dispatcher nor the verifier starts when no slot is free.
CREATE FUNCTION miosa.check_worker_slots() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('worker_slots', CASE WHEN w.taken < w.most THEN 'ok' ELSE 'warn' END,
			format('%s of max_worker_processes = %s are taken', w.taken, w.most),
			CASE WHEN w.taken < w.most THEN '' ELSE 'Raise max_worker_processes and restart the server.' END)
		FROM (SELECT count(*) AS taken, current_setting('max_worker_processes')::bigint AS most
			FROM pg_stat_activity a
			WHERE a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker', 'background writer',
				'checkpointer', 'startup', 'walreceiver', 'walsender', 'walwriter', 'archiver', 'slotsync worker', 'walsummarizer', 'io worker')) w);
END $$;
COMMENT ON FUNCTION miosa.check_worker_slots() IS 'Check of miosa_doctor(): is a slot for a background worker free?';

-- An endpoint without an entry in shared memory is seen by its row, which is
-- written late.
CREATE FUNCTION miosa.check_endpoint_entries() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('endpoint_entries', CASE WHEN w.ok THEN 'ok' ELSE 'warn' END,
			format('%s of miosa_rollback.max_endpoints = %s are taken%s', w.taken, w.size,
				CASE WHEN w.ok THEN '' ELSE format('; endpoints of this database without one: %s', w.lacking) END),
			CASE WHEN w.ok THEN '' ELSE 'Raise miosa_rollback.max_endpoints and restart the server.' END)
		FROM (SELECT n.taken, n.size, l.lacking, n.taken < n.size OR l.lacking = 0 AS ok
			FROM miosa.endpoint_entries() n, (
				SELECT count(*) AS lacking FROM miosa.endpoints e
				JOIN miosa.adapters a ON a.name = e.adapter AND a.role IN ('edge', 'hook') AND NOT a.alerts
				WHERE e.enabled AND (SELECT d.state FROM miosa.dispatcher() d) = 'running'
					AND NOT EXISTS (SELECT FROM miosa.endpoint_stats() s WHERE s.endpoint = e.name)) l) w);
END $$;
COMMENT ON FUNCTION miosa.check_endpoint_entries() IS 'Check of miosa_doctor(): does each endpoint have an entry in shared memory?';

-- Without endpoints rollbacks are delivered to no edge.
CREATE FUNCTION miosa.check_endpoints() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('endpoints', CASE WHEN count(*) FILTER (WHERE e.enabled) = 0 THEN 'warn' ELSE 'ok' END,
			format('%s enabled, %s disabled', count(*) FILTER (WHERE e.enabled), count(*) FILTER (WHERE NOT e.enabled)),
			CASE WHEN count(*) FILTER (WHERE e.enabled) = 0
				THEN 'Add one: SELECT miosa_put_endpoint(''edge-1'', ''haproxy-map'', ''http://...'');' ELSE '' END)
		FROM miosa.endpoints e);
END $$;
COMMENT ON FUNCTION miosa.check_endpoints() IS 'Check of miosa_doctor(): is any endpoint enabled?';

-- An endpoint that fails lacks routes.
CREATE FUNCTION miosa.check_endpoint_health() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('endpoint_health', CASE WHEN w.names IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce(miosa.clip(w.names, 200), 'no endpoint fails'),
			CASE WHEN w.names IS NULL THEN '' ELSE 'SELECT name, last_status, last_error FROM miosa.stat_endpoint; a dead one: SELECT miosa_set_endpoint(''name'', false, ''why'');' END)
		FROM (SELECT string_agg(s.name || ' (' || s.state || ')', ', ' ORDER BY s.name) AS names
			FROM miosa.stat_endpoint s WHERE miosa.endpoint_fails(s.state)) w);
END $$;
COMMENT ON FUNCTION miosa.check_endpoint_health() IS 'Check of miosa_doctor(): does an endpoint fail?';

-- A deployment with a wildcard host does not converge at such an endpoint.
CREATE FUNCTION miosa.check_wildcards() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('wildcards', CASE WHEN w.names IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce('endpoints that cannot handle wildcard hosts: ' || miosa.clip(w.names, 160),
				'every endpoint handles the wildcard hosts that it receives'),
			CASE WHEN w.names IS NULL THEN '' ELSE 'SELECT * FROM miosa.wildcard_gaps(); then another adapter, or a selector without these deployments: SELECT miosa_put_endpoint(...);' END)
		FROM (SELECT string_agg(DISTINCT format('%s (%s)', g.endpoint, g.adapter), ', ') AS names FROM miosa.wildcard_gaps() g) w);
END $$;
COMMENT ON FUNCTION miosa.check_wildcards() IS 'Check of miosa_doctor(): does an endpoint receive wildcard hosts that its adapter cannot handle?';

-- Routes that one endpoint refuses although it works.
CREATE FUNCTION miosa.check_delivery_failures() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('delivery_failures', CASE WHEN count(*) = 0 THEN 'ok' ELSE 'fail' END,
			CASE WHEN count(*) = 0 THEN 'none' ELSE format('routes that an endpoint refuses: %s', count(*)) END,
			CASE WHEN count(*) = 0 THEN '' ELSE 'TABLE miosa.delivery_failures; when it is repaired: SELECT miosa_redrive(''endpoint'');' END)
		FROM miosa.delivery_failures f);
END $$;
COMMENT ON FUNCTION miosa.check_delivery_failures() IS 'Check of miosa_doctor(): does an endpoint refuse routes?';

-- Deployments without a healthy instance of their active version.  The operation
-- that made it active has requested instances.
CREATE FUNCTION miosa.check_capacity() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('capacity', CASE WHEN w.n = 0 THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'no deployment waits too long for instances'
				ELSE format('deployments that wait for instances longer than cutover_deadline: %s %s', w.n, miosa.some_names(w.names, w.n)) END,
			CASE WHEN w.n = 0 THEN '' ELSE 'TABLE miosa.overdue; then SELECT * FROM miosa.status(''deployment'');' END)
		FROM (SELECT count(*) AS n, string_agg(o.id, ', ' ORDER BY o.id) FILTER (WHERE o.place <= 3) AS names
			FROM (SELECT v.id, row_number() OVER (ORDER BY v.id) AS place FROM miosa.overdue_rows(true) v) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_capacity() IS 'Check of miosa_doctor(): does a deployment wait too long for instances?';

-- The dispatcher takes committed work within a second.
CREATE FUNCTION miosa.check_outbox() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('outbox', CASE WHEN w.ok THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'empty' ELSE format('%s changes are pending, the oldest for %s', w.n, miosa.span(now() - w.oldest)) END,
			CASE WHEN w.ok THEN '' ELSE 'See dispatcher.' END)
		FROM (SELECT count(*) AS n, min(o.created_at) AS oldest, count(*) = 0 OR min(o.created_at) > now() - '5 s'::interval AS ok
			FROM (SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 100000) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_outbox() IS 'Check of miosa_doctor(): does committed work wait for the dispatcher?';

-- A standby has no queue of notifications to look at.
CREATE FUNCTION miosa.check_notification_queue() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('notification_queue', CASE WHEN q.usage < 0.5 THEN 'ok' ELSE 'warn' END,
			format('%s %% used', round((q.usage * 100)::numeric, 1)),
			CASE WHEN q.usage < 0.5 THEN '' ELSE 'A listener sleeps in a transaction: end it; routes are delivered over HTTP meanwhile.' END)
		FROM (SELECT CASE WHEN pg_is_in_recovery() THEN 0 ELSE pg_notification_queue_usage() END AS usage) q);
END $$;
COMMENT ON FUNCTION miosa.check_notification_queue() IS 'Check of miosa_doctor(): does the queue of notifications fill up?';

-- Where pg_cron is in another database, only the end of the last maintenance
-- shows that it works.  Statements on its tables are dynamic, since these may
-- not exist.
CREATE FUNCTION miosa.check_pg_cron() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	ended timestamptz := (SELECT m.ended_at FROM miosa.maintenance m);
	last text := CASE WHEN ended IS NULL THEN '; no maintenance yet'
		ELSE format('; maintenance ended %s ago', miosa.span(greatest(clock_timestamp() - ended, '0'))) END;
	scheduled bigint;
	jobs bigint;
	failed text;
	here boolean;
	ok boolean;
BEGIN
	here := EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron');
	-- Its schema is not open to everyone.
	IF NOT here OR NOT coalesce(has_schema_privilege(to_regnamespace('cron')::oid, 'USAGE'), false) THEN
		ok := coalesce(pg_is_in_recovery() OR ended > clock_timestamp() - '15 min'::interval, false);
		RETURN miosa.make_finding('pg_cron', CASE WHEN ok THEN 'ok' ELSE 'warn' END,
			CASE WHEN here THEN 'its jobs cannot be read' ELSE 'not in this database' END || last,
			CASE WHEN ok THEN '' WHEN here THEN 'GRANT USAGE ON SCHEMA cron TO miosa_owner;'
				ELSE 'SELECT * FROM miosa_schedule_maintenance();' END);
	END IF;
	EXECUTE 'SELECT count(*) FROM cron.job j WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)'
		INTO scheduled;
	EXECUTE 'SELECT format(''"%s" failed: %s'', l.jobname, l.return_message) FROM (
			SELECT DISTINCT ON (j.jobid) j.jobname, d.status, d.return_message
			FROM (SELECT * FROM cron.job_run_details r ORDER BY r.runid DESC LIMIT 1000) d
			JOIN cron.job j ON j.jobid = d.jobid
			WHERE j.active AND j.jobname IN (SELECT m.name FROM miosa.maintenance_jobs() m)
				AND d.status IN (''succeeded'', ''failed'')
			ORDER BY j.jobid, d.runid DESC) l
		WHERE l.status = ''failed'' LIMIT 1' INTO failed;
	SELECT count(*) INTO jobs FROM miosa.maintenance_jobs();
	ok := scheduled = jobs AND failed IS NULL;
	RETURN miosa.make_finding('pg_cron', CASE WHEN ok THEN 'ok' ELSE 'warn' END,
		coalesce(miosa.clip(failed, 200), format('%s of %s jobs are scheduled', scheduled, jobs) || last),
		CASE WHEN ok THEN '' WHEN failed IS NULL THEN 'SELECT * FROM miosa_schedule_maintenance();'
			ELSE 'SELECT * FROM cron.job_run_details ORDER BY runid DESC LIMIT 20;' END);
END $$;
COMMENT ON FUNCTION miosa.check_pg_cron() IS 'Check of miosa_doctor(): does scheduled maintenance run?';

-- Expired idempotency keys that no maintenance has removed.
CREATE FUNCTION miosa.check_expired_keys() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('expired_keys', CASE WHEN k.n < 10000 THEN 'ok' ELSE 'warn' END,
			format('%s%s expired keys are to be deleted', k.n, CASE WHEN k.n = 100000 THEN ' or more' ELSE '' END),
			CASE WHEN k.n < 10000 THEN '' ELSE 'CALL miosa.maintain();' END)
		FROM (SELECT count(*) AS n FROM (SELECT FROM miosa.idempotency_keys k
			WHERE k.expires_at < now() - '10 min'::interval LIMIT 100000) k) k);
END $$;
COMMENT ON FUNCTION miosa.check_expired_keys() IS 'Check of miosa_doctor(): do expired idempotency keys pile up?';

-- Settings that let a crash lose what was committed.
CREATE FUNCTION miosa.check_durability() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('durability', CASE WHEN w.off IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce(w.off, 'fsync, full_page_writes and synchronous_commit are on'),
			CASE WHEN w.off IS NULL THEN '' ELSE 'A crash can lose a committed rollback: turn them on.' END)
		FROM (SELECT string_agg(format('%s = off', s.name), ', ' ORDER BY s.name) AS off
			FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) s (name)
			WHERE current_setting(s.name) = 'off') w);
END $$;
COMMENT ON FUNCTION miosa.check_durability() IS 'Check of miosa_doctor(): can a crash lose a commit?';

-- Count the standbys of this server; neither a base backup nor a subscriber is one.
CREATE FUNCTION miosa.count_standbys() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT count(*) FROM pg_stat_replication r WHERE r.application_name <> 'pg_basebackup'
		AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical'));
END $$;
COMMENT ON FUNCTION miosa.count_standbys() IS 'Number of standbys and other receivers of the whole WAL that are connected';

-- An asynchronous standby may lack what the primary has committed.
CREATE FUNCTION miosa.check_replication() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE
			WHEN n = 0 THEN miosa.make_finding('replication', 'ok', 'no standby', '')
			WHEN current_setting('synchronous_standby_names') = ''
				THEN miosa.make_finding('replication', 'warn', format('%s standby, none of them synchronous', n),
					'A fail-over can lose a committed rollback: set synchronous_standby_names.')
			ELSE miosa.make_finding('replication', 'ok', format('%s standby, synchronous_standby_names is set', n), '') END
		FROM miosa.count_standbys() n);
END $$;
COMMENT ON FUNCTION miosa.check_replication() IS 'Check of miosa_doctor(): can a fail-over lose a commit?';

-- Without a site a fail-over looks like a copy, and the dispatcher pauses.
CREATE FUNCTION miosa.check_site() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE
			WHEN s.site <> '' THEN miosa.make_finding('site', 'ok', format('"%s"', s.site), '')
			WHEN pg_is_in_recovery() OR miosa.count_standbys() > 0
				THEN miosa.make_finding('site', 'warn', 'miosa_rollback.site is empty and there is a standby',
					'Set it to the same name on all servers, or the dispatcher pauses after a fail-over.')
			ELSE miosa.make_finding('site', 'ok', 'empty; needed with a standby', '') END
		FROM (SELECT coalesce(current_setting('miosa_rollback.site', true), '') AS site) s);
END $$;
COMMENT ON FUNCTION miosa.check_site() IS 'Check of miosa_doctor(): does the dispatcher continue after a fail-over?';

-- Sites that share routes: the first thing to mend, and how many more there are.
CREATE FUNCTION miosa.check_sites() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
DECLARE
	replica CONSTANT boolean := miosa.setting('site_role') = 'replica';
	worst record;
BEGIN
	IF pg_is_in_recovery() OR NOT miosa.shares_routes() THEN
		RETURN miosa.make_finding('sites', 'ok', CASE WHEN pg_is_in_recovery() THEN 'this server is a standby' ELSE 'no other site' END, '');
	ELSIF replica THEN
		SELECT p.*, count(*) OVER () - 1 AS others INTO worst
			FROM miosa.replica_site_problems() p ORDER BY p.place, p.seen LIMIT 1;
	ELSE
		SELECT p.*, count(*) OVER () - 1 AS others INTO worst
			FROM miosa.primary_site_problems() p ORDER BY p.place, p.seen LIMIT 1;
	END IF;
	IF worst.seen IS NOT NULL THEN
		RETURN miosa.make_finding('sites', worst.status, miosa.clip(worst.seen, 300) || CASE WHEN worst.others > 0 THEN format('; and %s more', worst.others) ELSE '' END, worst.fix);
	ELSIF replica THEN
		RETURN miosa.make_finding('sites', 'ok', (SELECT format('a replica of "%s"', s.site) FROM miosa.sites s WHERE s.role = 'primary'), '');
	END IF;
	RETURN miosa.make_finding('sites', 'ok', (SELECT format('the primary site of %s replica%s with edges', count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END) FROM miosa.replica_sites r), '');
END $$;
COMMENT ON FUNCTION miosa.check_sites() IS 'Check of miosa_doctor(): do sites that share routes work together?';

-- Rights on secrets are a failure, others are a warning.
CREATE FUNCTION miosa.check_grants() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
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
COMMENT ON FUNCTION miosa.check_grants() IS 'Check of miosa_doctor(): are there rights that the install script did not grant?';

-- A secret in a file may be unreadable; one in the table is never shown, but a
-- publication of the table sends its row without the value.
CREATE FUNCTION miosa.check_secrets() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('secrets', CASE WHEN w.problems IS NULL THEN 'ok' ELSE 'fail' END,
			coalesce('secrets cannot be used: ' || miosa.clip(w.problems, 300),
				format('%s in files, %s in miosa.secrets%s', w.in_files, w.n - w.in_files,
					(SELECT ', which leaves the server without the values, by publication '
							|| miosa.clip(string_agg(DISTINCT quote_ident(t.pubname), ', '), 200)
						FROM pg_publication_tables t WHERE t.schemaname = 'miosa' AND t.tablename = 'secrets'))),
			CASE WHEN w.problems IS NULL THEN '' ELSE 'SHOW miosa_rollback.secret_directory; let the server read the file below it, or name another one: SELECT miosa_put_secret(''name'', ''file:NAME'');' END)
		FROM (SELECT count(*) AS n, count(*) FILTER (WHERE s.in_file) AS in_files,
				string_agg(format('%s (%s)', s.name, s.problem), '; ' ORDER BY s.name) FILTER (WHERE s.problem IS NOT NULL) AS problems
			FROM (SELECT s.name, miosa.reveal(s.value) LIKE 'file:%' AS in_file,
					coalesce(miosa.secret_problem(miosa.reveal(s.value)), miosa.secret_problem(miosa.reveal(s.previous))) AS problem
				FROM miosa.secrets s) s) w);
END $$;
COMMENT ON FUNCTION miosa.check_secrets() IS 'Check of miosa_doctor(): can each secret be read?';

-- A worker that ends with an error is started again, and fails again: between
-- two tries no process is there.
CREATE FUNCTION miosa.check_subscriptions() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
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
COMMENT ON FUNCTION miosa.check_subscriptions() IS 'Check of miosa_doctor(): does a subscription fail?';

-- A hold that nobody lifts keeps CI from publishing.
CREATE FUNCTION miosa.check_holds() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('holds', CASE WHEN w.old = 0 THEN 'ok' ELSE 'warn' END,
			CASE WHEN w.n = 0 THEN 'no deployment is held'
				WHEN w.old = 0 THEN format('%s held, none for more than 7 days', w.n)
				ELSE format('deployments held for more than 7 days: %s %s', w.old, miosa.some_names(w.names, w.old)) END,
			CASE WHEN w.old = 0 THEN '' ELSE 'TABLE miosa.open_holds; then lift what is forgotten: SELECT miosa_release(''deployment'');' END)
		FROM (SELECT count(*) AS n, count(*) FILTER (WHERE o.age > '7 days') AS old,
				string_agg(o.deployment_id, ', ' ORDER BY o.place) FILTER (WHERE o.place <= 3 AND o.age > '7 days') AS names
			FROM (SELECT h.deployment_id, clock_timestamp() - h.since AS age, row_number() OVER (ORDER BY h.since, h.deployment_id) AS place
				FROM miosa.holds h WHERE miosa.is_open(h.until)) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_holds() IS 'Check of miosa_doctor(): is a deployment held for longer than 7 days?';

-- So does a freeze that is forgotten.
CREATE FUNCTION miosa.check_freezes() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('freezes', CASE WHEN w.old = 0 THEN 'ok' ELSE 'warn' END,
			CASE WHEN w.n = 0 THEN 'nothing is frozen'
				WHEN w.old = 0 THEN format('%s in force, none for more than 30 days', w.n)
				ELSE format('in force for more than 30 days: %s %s', w.old, miosa.some_names(w.names, w.old)) END,
			CASE WHEN w.old = 0 THEN '' ELSE 'TABLE miosa.open_freezes; then end what is forgotten: SELECT miosa_remove_freeze(''name'');' END)
		FROM (SELECT count(*) AS n, count(*) FILTER (WHERE o.old) AS old, string_agg(o.name, ', ' ORDER BY o.place) FILTER (WHERE o.place <= 3 AND o.old) AS names
			FROM (SELECT f.name, f.begins < clock_timestamp() - interval '30 days' AS old, row_number() OVER (ORDER BY f.begins, f.name) AS place
				FROM miosa.freezes f WHERE f.begins <= clock_timestamp() AND f.ends > clock_timestamp()) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_freezes() IS 'Check of miosa_doctor(): has a freeze been in force for longer than 30 days?';

-- A fleet in batches goes on only when it is called again.
CREATE FUNCTION miosa.check_fleets() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('fleets', CASE WHEN w.n = 0 THEN 'ok' ELSE 'warn' END,
			CASE WHEN w.n = 0 THEN 'none has stopped before its end'
				ELSE format('without a batch for 10 minutes and not at their end: %s %s', w.n, miosa.some_names(w.names, w.n)) END,
			CASE WHEN w.n = 0 THEN ''
				ELSE 'Call miosa_rollback_fleet() again with the same arguments: SELECT id, idempotency_key, selector FROM miosa.fleet_runs WHERE ended_at IS NULL;' END)
		FROM (SELECT count(*) AS n, string_agg(o.id, ', ' ORDER BY o.place) FILTER (WHERE o.place <= 3) AS names
			FROM (SELECT f.id, row_number() OVER (ORDER BY f.began_at, f.id) AS place FROM miosa.fleet_runs f
				WHERE f.ended_at IS NULL AND f.advanced_at < clock_timestamp() - interval '10 min') o) w);
END $$;
COMMENT ON FUNCTION miosa.check_fleets() IS 'Check of miosa_doctor(): has a fleet in batches stopped before its end?';

-- An alert that does nothing by itself has to reach somebody.
CREATE FUNCTION miosa.check_alerts() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT CASE
			WHEN w.late > 0 THEN miosa.make_finding('alerts', 'warn', format('alerts that found their deployment locked for 10 minutes: %s', w.late),
				'See who has the lock: SELECT pid, state, xact_start, left(query, 60) FROM pg_stat_activity WHERE backend_type = ''client backend'' ORDER BY xact_start LIMIT 5;')
			WHEN w.notified > 0 AND w.hooks = 0 THEN miosa.make_finding('alerts', 'warn', format('alerts of the last 7 days that only notify, and no hook receives them: %s', w.notified),
				'Add one: SELECT miosa_put_endpoint(''pager'', ''alert-webhook'', ''https://...'');')
			ELSE miosa.make_finding('alerts', 'ok', format('%s that only notify in 7 days, %s hook%s', w.notified, w.hooks, CASE w.hooks WHEN 1 THEN '' ELSE 's' END), '') END
		FROM (SELECT (SELECT count(*) FROM miosa.alerts a JOIN miosa.deployments d ON d.id = a.deployment_id
					WHERE a.seq IS NULL AND a.received_at < clock_timestamp() - interval '10 min') AS late,
				-- The newest 1,000 by their numbers, and those without one.
				(SELECT count(*) FROM (SELECT a.received_at FROM miosa.alerts a WHERE a.number IS NOT NULL ORDER BY a.number DESC LIMIT 1000) n
					WHERE n.received_at > clock_timestamp() - interval '7 days')
				+ (SELECT count(*) FROM miosa.alerts a WHERE a.number IS NULL AND a.done = 'notified' AND a.received_at > clock_timestamp() - interval '7 days') AS notified,
				(SELECT count(*) FROM miosa.endpoints e JOIN miosa.adapters p ON p.name = e.adapter WHERE p.alerts AND e.enabled) AS hooks) w);
END $$;
COMMENT ON FUNCTION miosa.check_alerts() IS 'Check of miosa_doctor(): does a hook receive alerts, and does one wait for a lock?';

-- Two versions to go back to, so that one may be bad.  Each deployment is looked
-- up; where there are more than a thousand or two, only a part of them is,
-- another one at every run.
CREATE FUNCTION miosa.check_restorable() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET jit = off SET enable_seqscan = off AS $$
DECLARE
	pages CONSTANT bigint := pg_relation_size('miosa.deployments') / current_setting('block_size')::bigint;
	most CONSTANT bigint := CASE WHEN pages <= 64 THEN pages ELSE 8 END;
	page CONSTANT bigint := floor(random() * (pages - most + 1));
	places CONSTANT tid[] := ARRAY[format('(%s,0)', page), format('(%s,0)', page + most)];
	w record;
	part text := '';
BEGIN
	SELECT count(*) AS n, count(*) FILTER (WHERE s.restorable = 0) AS none,
			string_agg(s.deployment_id, ', ' ORDER BY s.restorable, s.deployment_id) FILTER (WHERE s.place <= 3) AS names
		INTO w
		FROM (SELECT r.deployment_id, r.restorable, row_number() OVER (ORDER BY r.restorable, r.deployment_id) AS place
			FROM miosa.restorable r WHERE r.restorable < 2 AND r.place >= places[1] AND r.place < places[2]) s;
	IF pages > most THEN
		part := format(', of %s looked at; the others are unknown', (SELECT count(*) FROM miosa.deployments p
			WHERE p.ctid >= places[1] AND p.ctid < places[2] AND p.active_version_id IS NOT NULL));
	END IF;
	RETURN miosa.make_finding('restorable', CASE WHEN w.n = 0 THEN 'ok' ELSE 'warn' END,
		CASE WHEN w.n = 0 THEN 'every active deployment has two versions to roll back to' || part
			ELSE format('deployments with fewer than two versions to roll back to: %s, with none: %s %s', w.n, w.none, miosa.some_names(w.names, w.n)) || part END,
		CASE WHEN w.n = 0 THEN '' ELSE 'TABLE miosa.scarcely_restorable; normal after the first publishes, else keep older versions ready: SELECT miosa_pin_version(''deployment'', ''version'');' END);
END $$;
COMMENT ON FUNCTION miosa.check_restorable() IS 'Check of miosa_doctor(): does each deployment have versions to roll back to?';

-- A rollback to such a version would be refused.
CREATE FUNCTION miosa.check_artifacts() RETURNS miosa.finding
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
BEGIN
	RETURN (SELECT miosa.make_finding('artifacts', CASE WHEN w.n = 0 THEN 'ok' ELSE 'fail' END,
			CASE WHEN w.n = 0 THEN 'storage has every artifact that was verified'
				ELSE format('artifacts of rollback targets that storage lost: %s %s', w.n, miosa.some_names(w.names, w.n)) END,
			CASE WHEN w.n = 0 THEN '' ELSE 'SELECT deployment_id, id, missing_at FROM miosa.releases WHERE missing_at IS NOT NULL; put them back, or archive the versions: SELECT miosa_archive_version(''deployment'', ''version'');' END)
		FROM (SELECT count(*) AS n, string_agg(o.name, ', ' ORDER BY o.name) FILTER (WHERE o.place <= 3) AS names
			FROM (SELECT m.deployment_id || ' v' || m.version_number AS name,
				row_number() OVER (ORDER BY m.deployment_id, m.version_number) AS place FROM miosa.missing_artifacts() m) o) w);
END $$;
COMMENT ON FUNCTION miosa.check_artifacts() IS 'Check of miosa_doctor(): has storage lost artifacts of rollback targets?';

-- The order is fixed, so that two runs can be compared.  A check that meets a
-- lock ends the run: each of those after it would wait as long.
CREATE FUNCTION @extschema@.miosa_doctor(OUT item text, OUT status text, OUT seen text, OUT fix text, OUT needs text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	checks CONSTANT text[] := ARRAY['preloaded', 'versions', 'locks', 'dispatcher', 'worker_slots', 'endpoint_entries', 'endpoints',
		'endpoint_health', 'wildcards', 'delivery_failures', 'capacity', 'outbox', 'notification_queue', 'pg_cron',
		'expired_keys', 'durability', 'replication', 'site', 'sites', 'grants', 'secrets', 'subscriptions', 'holds', 'freezes', 'fleets', 'alerts', 'restorable', 'artifacts'];
BEGIN
	PERFORM miosa.bound_waits();
	FOREACH item IN ARRAY checks LOOP
		EXECUTE format('SELECT f.status, f.seen, miosa.qualify(f.fix), f.needs FROM miosa.%I() f', 'check_' || item)
			INTO status, seen, fix, needs;
		RETURN NEXT;
	END LOOP;
EXCEPTION WHEN lock_not_available THEN
	status := 'fail';
	seen := 'a table is locked: this check and those after it were skipped';
	fix := 'See locks.';
	needs := '';
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_doctor() IS 'What is wrong with this installation: per item what was seen, what to do, and the role that it needs';
