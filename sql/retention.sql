-- Retention: rows that are not needed any more are deleted, few at a time.
--
-- pg_cron and the dispatcher do it the same way: they list a page of rows that
-- have expired, then delete them by their place in the table, at most 1,000
-- rows and 50 ms a transaction.  Each row is judged again when it is deleted,
-- and a locked one is left.  So no transaction waits for the purge, and it
-- never reads again what it has deleted, not even while an old snapshot keeps
-- those rows.
--
-- Expiry is decided when something is read, so a late purge changes no answer.

CREATE TABLE miosa.maintenance (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	began_at timestamptz NOT NULL,
	ended_at timestamptz NOT NULL,
	removed bigint NOT NULL,
	run_by text NOT NULL
);
COMMENT ON TABLE miosa.maintenance IS 'Last run of miosa_maintain(); no row before the first';
COMMENT ON COLUMN miosa.maintenance.only_row IS 'Always true';
COMMENT ON COLUMN miosa.maintenance.began_at IS 'When it began';
COMMENT ON COLUMN miosa.maintenance.ended_at IS 'When it had finished';
COMMENT ON COLUMN miosa.maintenance.removed IS 'How many rows it deleted';
COMMENT ON COLUMN miosa.maintenance.run_by IS 'Role that ran it';

-- Events of a tenant that is gone are kept as long as any plan keeps them.
CREATE FUNCTION miosa.audit_retention(tenant_id text) RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce((SELECT s.audit_retention FROM miosa.tenants t JOIN miosa.plans s ON s.name = t.plan WHERE t.id = $1),
		(SELECT max(s.audit_retention) FROM miosa.plans s))
$$;
COMMENT ON FUNCTION miosa.audit_retention(text) IS 'How long the audit events of a tenant are kept, by its plan';

-- How a deployment came to be as it is stays known as long as it is there.
CREATE FUNCTION miosa.is_newest_event(deployment_id text, seq bigint) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT NOT EXISTS (SELECT FROM miosa.audit_events e WHERE e.deployment_id = $1 AND e.seq > $2)
		AND EXISTS (SELECT FROM miosa.deployments p WHERE p.id = $1)
$$;
COMMENT ON FUNCTION miosa.is_newest_event(text, bigint) IS 'Whether this is the newest audit event of a deployment that exists; it is kept for ever';

-- Instances that ended a week ago, or have sent no heartbeat for as long.
-- Where heartbeats have no timeout, a healthy one is never too old.  The body is
-- quoted for the reason that read.sql gives.
CREATE FUNCTION miosa.instance_expired(i miosa.runtime_instances, at timestamptz, horizon timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN miosa.has_ended(i.state) AND i.updated_at < at THEN true
		ELSE coalesce(i.last_heartbeat_at, i.updated_at) < CASE i.state WHEN 'healthy' THEN least(at, horizon) ELSE at END END
$$;
COMMENT ON FUNCTION miosa.instance_expired(miosa.runtime_instances, timestamptz, timestamptz) IS 'Whether an instance ended, or sent its last heartbeat, before a time; for a healthy one it must be before the heartbeat horizon as well';

-- A resync has edges remove such a host.  One that is routed again is not
-- removed anyway, so its row may stay for a while.
CREATE FUNCTION miosa.removed_host_expired(host text, removed_at timestamptz, before timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
	RETURN removed_at < before - '30 days'::interval
		OR EXISTS (SELECT FROM miosa.domains d WHERE d.fqdn = $1 AND d.state = 'active')
		OR miosa.managed_deployment($1) IS NOT NULL;
END $$;
COMMENT ON FUNCTION miosa.removed_host_expired(text, timestamptz, timestamptz) IS 'Whether a host was removed more than 30 days before a time, or is routed again';

-- A day longer than the trigger refusals_keep asks for.
CREATE FUNCTION miosa.refusals_kept() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '31 days'::interval;
COMMENT ON FUNCTION miosa.refusals_kept() IS 'How long refused calls are kept';

-- As long as any shipped plan keeps audit events.
CREATE FUNCTION miosa.fleets_kept() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '400 days'::interval;
COMMENT ON FUNCTION miosa.fleets_kept() IS 'How long fleets are kept, and their keys';

-- A page of fleets for miosa.expired_rows().
CREATE FUNCTION miosa.expired_fleets(place text, until timestamptz, since interval, most integer, OUT rows tid[], OUT next text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT coalesce(array_agg(k.ctid), '{}'), CASE WHEN count(*) >= $4 THEN max(k.began_at)::text END
	FROM (SELECT f.ctid, f.began_at FROM miosa.fleet_runs f
		WHERE f.began_at > coalesce($1::timestamptz, $2 - $3, '-infinity') AND f.began_at <= $2
		ORDER BY f.began_at FETCH FIRST ($4) ROWS WITH TIES) k
$$;
COMMENT ON FUNCTION miosa.expired_fleets(text, timestamptz, interval, integer) IS 'Places of fleets that began before a time, from the oldest one or behind a place, and where the next page begins';

-- What a purge deletes, in this order; purge.c has the same list.
CREATE FUNCTION miosa.purged_kinds() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{idempotency_keys,audit_events,runtime_instances,removed_hosts,refusals,schema_reports,fleet_runs,alerts,holds}'::text[];
COMMENT ON FUNCTION miosa.purged_kinds() IS 'Kinds of rows that miosa.expired_rows() lists';

-- List holds that have ended, of a page of deployments.  Where a subscription
-- writes holds there are none: the origin may open one again by an update of its
-- row.
CREATE FUNCTION miosa.ended_holds(place text, before timestamptz, most integer, OUT next text, OUT rows tid[])
LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN count(*) >= $3 THEN max(k.deployment_id) END, coalesce(array_agg(k.ctid) FILTER (WHERE k.until < $2
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = 'miosa.holds'::regclass)), '{}')
	FROM (SELECT h.ctid, h.deployment_id, h.until FROM miosa.holds h
		WHERE h.deployment_id > coalesce($1, '') ORDER BY h.deployment_id LIMIT $3) k
$$;
COMMENT ON FUNCTION miosa.ended_holds(text, timestamptz, integer) IS 'Places of holds that ended before a time, of at most so many holds after a deployment; next: null after the last ones';

-- Places of rows that may be deleted: idempotency_keys that have expired,
-- audit_events that have expired (looked for where the tenant's present plan
-- keeps none, so one of a former plan may be found later),
-- runtime_instances that ended or sent no heartbeat for 7 days, removed_hosts
-- of 30 days ago or that are routed again, refusals of 31 days ago,
-- schema_reports and alerts past their keep_until, fleet_runs of 400 days ago,
-- holds that have ended. place: next of the page before, null for the first one;
-- grace: only what has been so for that long; since: and not for longer than this
-- beside, which passes over what was deleted before, null for no such limit
-- (instances and holds have none, and with one hosts are left out, since each is
-- looked up); most: about how many rows a page has, or looks at (of hosts 1,000 at
-- most); next: null after the last page.
--
-- A page is read in the order of an index whatever the planner believes of the
-- table, so that no more than the page is touched.
CREATE FUNCTION miosa.expired_rows(kind text, place text, grace interval, since interval, most integer,
	OUT next text, OUT rows tid[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET jit = off SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_variable
DECLARE
	quick CONSTANT interval := '30 ms';
	started CONSTANT timestamptz := clock_timestamp();
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
	pages CONSTANT bigint := 100;
	tenant text;
	keep interval;
	after timestamptz;
	piece tid[];
	last timestamptz;
	until timestamptz;
	hosts CONSTANT integer := least(most, 1000);
	last_host text;
	n bigint;
BEGIN
	rows := '{}';
	CASE kind
	WHEN 'idempotency_keys' THEN
		-- Those that expire at the same time are on one page.
		SELECT array_agg(k.ctid), max(k.expires_at) INTO piece, last
			FROM (SELECT o.ctid, o.expires_at FROM miosa.idempotency_keys o
				WHERE o.expires_at > coalesce(place::timestamptz, started - grace - since, '-infinity') AND o.expires_at <= started - grace
				ORDER BY o.expires_at FETCH FIRST (most) ROWS WITH TIES) k;
		rows := coalesce(piece, '{}');
		next := CASE WHEN cardinality(rows) >= most THEN last END;
	WHEN 'schema_reports', 'alerts' THEN
		EXECUTE format('SELECT array_agg(k.ctid), max(k.keep_until)
			FROM (SELECT r.ctid, r.keep_until FROM miosa.%I r WHERE r.keep_until > $1 AND r.keep_until < $2
				ORDER BY r.keep_until FETCH FIRST ($3) ROWS WITH TIES) k', kind)
			INTO piece, last USING coalesce(place::timestamptz, started - grace - since, '-infinity'), started - grace, most;
		rows := coalesce(piece, '{}');
		next := CASE WHEN cardinality(rows) >= most THEN last END;
	WHEN 'audit_events' THEN
		tenant := place::jsonb ->> 0;
		after := (place::jsonb ->> 1)::timestamptz;
		IF tenant IS NULL THEN
			SELECT min(a.tenant_id) INTO tenant FROM miosa.audit_events a;
		END IF;
		WHILE tenant IS NOT NULL LOOP
			keep := miosa.audit_retention(tenant);
			after := coalesce(after, started - grace - keep - since, '-infinity');
			-- Those that stay for ever take up a page as well: there may
			-- be very many.
			-- The first ones of a deployment come first.
			SELECT array_agg(k.ctid ORDER BY k.created_at, k.seq) FILTER (WHERE k.keep_until < started - grace
						AND (EXISTS (SELECT FROM miosa.audit_events e WHERE e.deployment_id = k.deployment_id AND e.seq > k.seq)
							OR NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = k.deployment_id))),
					max(k.created_at), count(*)
				INTO piece, last, n
				FROM (SELECT a.ctid, a.created_at, a.deployment_id, a.seq, a.keep_until FROM miosa.audit_events a
					-- In words that only the index on tenants has an order for
					WHERE (a.tenant_id, a.created_at) > (tenant, after)
						AND (a.tenant_id, a.created_at) < (tenant, started - grace - keep)
					ORDER BY a.tenant_id, a.created_at FETCH FIRST (most) ROWS WITH TIES) k;
			rows := rows || coalesce(piece, '{}');
			IF n >= most THEN
				next := jsonb_build_array(tenant, last);
				RETURN;
			END IF;
			after := NULL;
			SELECT min(a.tenant_id) INTO tenant FROM miosa.audit_events a WHERE a.tenant_id > tenant;
			IF tenant IS NOT NULL AND (cardinality(rows) >= most OR clock_timestamp() > started + quick) THEN
				next := jsonb_build_array(tenant);
				RETURN;
			END IF;
		END LOOP;
	WHEN 'runtime_instances' THEN
		-- There is no index on the last heartbeat: each one would have to write it.
		n := coalesce(place::bigint, 0);
		rows := ARRAY(SELECT i.ctid FROM miosa.runtime_instances i
			WHERE i.ctid >= format('(%s,0)', n)::tid AND i.ctid < format('(%s,0)', n + pages)::tid
				AND miosa.instance_expired(i, started - grace - '7 days'::interval, horizon));
		next := CASE WHEN (n + pages) * current_setting('block_size')::bigint < pg_relation_size('miosa.runtime_instances') THEN n + pages END;
	WHEN 'removed_hosts' THEN
		IF since IS NULL THEN
			SELECT array_agg(k.ctid) FILTER (WHERE miosa.removed_host_expired(k.host, k.removed_at, started - grace)),
					max(k.host), count(*)
				INTO piece, last_host, n
				FROM (SELECT r.ctid, r.host, r.removed_at FROM miosa.removed_hosts r
					WHERE r.host > coalesce(place, '') ORDER BY r.host LIMIT hosts) k;
			rows := coalesce(piece, '{}');
			next := CASE WHEN n >= hosts THEN last_host END;
		END IF;
	WHEN 'refusals' THEN
		until := started - grace - miosa.refusals_kept();
		SELECT array_agg(k.ctid), max(k.created_at) INTO piece, last
			FROM (SELECT o.ctid, o.created_at FROM miosa.refusals o
				WHERE o.created_at > coalesce(place::timestamptz, until - since, '-infinity') AND o.created_at <= until
				ORDER BY o.created_at FETCH FIRST (most) ROWS WITH TIES) k;
		rows := coalesce(piece, '{}');
		next := CASE WHEN cardinality(rows) >= most THEN last END;
	WHEN 'fleet_runs' THEN SELECT f.rows, f.next INTO rows, next FROM miosa.expired_fleets(place, started - grace - miosa.fleets_kept(), since, most) f;
	WHEN 'holds' THEN SELECT h.next, h.rows INTO next, rows FROM miosa.ended_holds(place, started - grace, most) h;
	END CASE;
END $$;
COMMENT ON FUNCTION miosa.expired_rows(text, text, interval, interval, integer) IS 'Places of rows that may be deleted, page by page: of idempotency_keys, audit_events, runtime_instances, removed_hosts, refusals, schema_reports, fleet_runs, alerts or holds';

-- Locks these events, but for those that are locked already.  What is returned
-- are the oldest events of their deployments, without a gap: an event that is
-- kept keeps all later ones, whenever they expire.
CREATE FUNCTION miosa.first_events(places tid[]) RETURNS tid[]
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	WITH locked AS (
		SELECT a.ctid AS place, a.deployment_id, a.seq FROM miosa.audit_events a
		WHERE a.ctid = ANY ($1) AND a.keep_until < now()
			AND (EXISTS (SELECT FROM miosa.audit_events e WHERE e.deployment_id = a.deployment_id AND e.seq > a.seq)
				OR NOT EXISTS (SELECT FROM miosa.deployments p WHERE p.id = a.deployment_id))
		FOR UPDATE SKIP LOCKED),
	linked AS (
		SELECT l.place, l.deployment_id, l.seq, lag(l.seq) OVER (PARTITION BY l.deployment_id ORDER BY l.seq) AS locked_before,
			(SELECT max(e.seq) FROM miosa.audit_events e WHERE e.deployment_id = l.deployment_id AND e.seq < l.seq) AS before
		FROM locked l),
	led AS (
		SELECT k.place, bool_and(k.before IS NOT DISTINCT FROM k.locked_before) OVER (PARTITION BY k.deployment_id ORDER BY k.seq) AS first
		FROM linked k)
	SELECT coalesce(array_agg(f.place) FILTER (WHERE f.first), '{}') FROM led f
$$;
COMMENT ON FUNCTION miosa.first_events(tid[]) IS 'Those of some audit events that retention may delete now, locked';

-- done: how many of the places were looked at; removed: how many rows are
-- gone.  A plan that was made while the table was empty must not read all of
-- it when it is full.
CREATE FUNCTION miosa.purge_rows(kind text, rows tid[], OUT done integer, OUT removed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
	most CONSTANT integer := least(coalesce(cardinality(rows), 0), 1000);
	step CONSTANT integer := 100;
	enough CONSTANT timestamptz := clock_timestamp() + '40 ms'::interval;
	old CONSTANT timestamptz := clock_timestamp() - '7 days'::interval;
	horizon CONSTANT timestamptz := miosa.heartbeat_horizon();
	piece tid[];
	n bigint;
BEGIN
	done := 0;
	removed := 0;
	WHILE done < most AND clock_timestamp() < enough LOOP
		piece := rows[done + 1 : least(done + step, most)];
		done := done + cardinality(piece);
		CASE kind
		WHEN 'idempotency_keys' THEN
			DELETE FROM miosa.idempotency_keys k WHERE k.ctid = ANY (ARRAY(
				SELECT o.ctid FROM miosa.idempotency_keys o
				WHERE o.ctid = ANY (piece) AND o.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED));
		WHEN 'schema_reports', 'alerts' THEN
			EXECUTE format('DELETE FROM miosa.%1$I k WHERE k.ctid = ANY (ARRAY(SELECT r.ctid FROM miosa.%1$I r
				WHERE r.ctid = ANY ($1) AND r.keep_until < now() FOR UPDATE SKIP LOCKED))', kind) USING piece;
		WHEN 'audit_events' THEN
			piece := miosa.first_events(piece);
			INSERT INTO miosa.audit_checkpoints AS c (deployment_id, seq, hash)
				SELECT DISTINCT ON (a.deployment_id) a.deployment_id, a.seq, a.hash FROM miosa.audit_events a
				WHERE a.ctid = ANY (piece) ORDER BY a.deployment_id, a.seq DESC
				ON CONFLICT ON CONSTRAINT audit_checkpoints_pkey DO UPDATE SET seq = excluded.seq, hash = excluded.hash, moved_at = clock_timestamp();
			DELETE FROM miosa.convergence_log l USING miosa.audit_events k
				WHERE k.ctid = ANY (piece) AND l.deployment_id = k.deployment_id AND l.seq = k.seq;
			DELETE FROM miosa.audit_events k WHERE k.ctid = ANY (piece);
		WHEN 'runtime_instances' THEN
			DELETE FROM miosa.runtime_instances k WHERE k.ctid = ANY (ARRAY(
				SELECT i.ctid FROM miosa.runtime_instances i
				WHERE i.ctid = ANY (piece) AND miosa.instance_expired(i, old, horizon) FOR UPDATE SKIP LOCKED));
		WHEN 'removed_hosts' THEN
			DELETE FROM miosa.removed_hosts k WHERE k.ctid = ANY (ARRAY(
				SELECT r.ctid FROM miosa.removed_hosts r
				WHERE r.ctid = ANY (piece) AND miosa.removed_host_expired(r.host, r.removed_at, clock_timestamp())
				FOR UPDATE SKIP LOCKED));
		WHEN 'refusals' THEN
			DELETE FROM miosa.refusals k WHERE k.ctid = ANY (ARRAY(
				SELECT o.ctid FROM miosa.refusals o
				WHERE o.ctid = ANY (piece) AND o.created_at <= clock_timestamp() - miosa.refusals_kept() FOR UPDATE SKIP LOCKED));
		WHEN 'fleet_runs' THEN
			DELETE FROM miosa.fleet_runs k WHERE k.ctid = ANY (ARRAY(
				SELECT f.ctid FROM miosa.fleet_runs f
				WHERE f.ctid = ANY (piece) AND f.began_at <= clock_timestamp() - miosa.fleets_kept() FOR UPDATE SKIP LOCKED));
		WHEN 'holds' THEN
			DELETE FROM miosa.holds k WHERE k.ctid = ANY (ARRAY(
				SELECT h.ctid FROM miosa.holds h
				WHERE h.ctid = ANY (piece) AND NOT miosa.is_open(h.until) FOR UPDATE SKIP LOCKED));
		END CASE;
		GET DIAGNOSTICS n = ROW_COUNT;
		removed := removed + n;
	END LOOP;
END $$;
COMMENT ON FUNCTION miosa.purge_rows(text, tid[]) IS 'Deletes the first of these rows that miosa.expired_rows() has listed, if they are still expired and not locked: at most 1,000, and no more once 40 ms have passed';

-- Trim the route log when the dispatcher has not done so.
CREATE FUNCTION miosa.trim_overdue("limit" integer) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $$
	SELECT CASE WHEN (SELECT l.created_at FROM miosa.route_log l
			WHERE l.epoch > (SELECT s.trimmed_epoch FROM miosa.dispatcher_state s)
			ORDER BY l.epoch LIMIT 1) < now() - '70 min'::interval
		THEN miosa.trim_route_log($1) ELSE 0 END
$$;
COMMENT ON FUNCTION miosa.trim_overdue(integer) IS 'Calls miosa.trim_route_log() if that has been overdue for 10 minutes';

-- By hand, and for what cannot call a procedure.
CREATE FUNCTION @extschema@.miosa_purge_expired(batch integer DEFAULT 1000, OUT what text, OUT removed bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	page record;
	place text;
	piece record;
	places tid[];
BEGIN
	PERFORM miosa.check_limit(batch, 1000000);
	FOREACH what IN ARRAY miosa.purged_kinds() LOOP
		removed := 0;
		place := NULL;
		LOOP
			SELECT * INTO page FROM miosa.expired_rows(what, place, '0', NULL, greatest(batch, 1000));
			places := page.rows[1 : batch - removed];
			WHILE cardinality(places) > 0 LOOP
				SELECT * INTO piece FROM miosa.purge_rows(what, places[1:1000]);
				places := places[piece.done + 1 :];
				removed := removed + piece.removed;
			END LOOP;
			place := page.next;
			EXIT WHEN place IS NULL OR removed >= batch;
		END LOOP;
		RETURN NEXT;
	END LOOP;
	what := 'route_log';
	removed := miosa.trim_route_log(batch);
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_purge_expired(integer) IS 'Deletes expired keys, audit events and alerts, ended instances and holds, removed hosts, refused calls, old fleets and old route changes';

-- A procedure that commits can neither be SECURITY DEFINER nor set a
-- search_path.  So all that this one does is to call functions, by their
-- whole names.

-- One step of maintenance: a page of deployments.
CREATE FUNCTION miosa.maintain_capacity(place text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN (SELECT c.next FROM miosa.capacity_pass(place, 1000) c);
END $$;
COMMENT ON FUNCTION miosa.maintain_capacity(text) IS 'A page of miosa.capacity_pass(), and where the next one begins';

-- One step of maintenance: a part of the route log.
CREATE FUNCTION miosa.maintain_route_log() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN miosa.trim_route_log(1000) = 1000;
END $$;
COMMENT ON FUNCTION miosa.maintain_route_log() IS 'Trims 1,000 rows of the route log; true when there may be more';

-- One step of a purge; its state goes around with the caller.
--
-- All arguments are what the step before returned; the first one is called
-- with nulls and 0 removed; kind is null when all is done.
CREATE FUNCTION miosa.maintain_rows(INOUT kind text, INOUT place text, INOUT rows tid[], INOUT done integer, INOUT removed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	kinds CONSTANT text[] := miosa.purged_kinds();
	piece record;
BEGIN
	IF kind IS NULL THEN
		kind := kinds[1];
	ELSIF done < cardinality(rows) THEN
		SELECT * INTO piece FROM miosa.purge_rows(kind, rows[done + 1 : done + 1000]);
		done := done + piece.done;
		removed := removed + piece.removed;
		RETURN;
	ELSIF place IS NULL THEN
		kind := kinds[array_position(kinds, kind) + 1];
		IF kind IS NULL THEN
			RETURN;
		END IF;
	END IF;
	SELECT e.next, e.rows, 0 INTO place, rows, done FROM miosa.expired_rows(kind, place, '0', NULL, 5000) e;
END $$;
COMMENT ON FUNCTION miosa.maintain_rows(text, text, tid[], integer, bigint) IS 'The next step of a purge: lists a page of rows, or deletes up to 1,000 rows of it';

-- Refuse a step that its procedure has not called.
CREATE FUNCTION miosa.require_procedure(name text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_require_procedure';
COMMENT ON FUNCTION miosa.require_procedure(text) IS 'Raises FORBIDDEN unless a procedure of the extension runs; name: the one that should';

-- Record the end of maintenance.
CREATE FUNCTION miosa.maintained(began timestamptz, removed bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO miosa.maintenance (began_at, ended_at, removed, run_by)
		SELECT $1, clock_timestamp(), $2, miosa.caller() FROM miosa.require_procedure('miosa.maintain') p, miosa.require_all_tenants('function maintained') a
		ON CONFLICT (only_row) DO UPDATE SET began_at = excluded.began_at, ended_at = excluded.ended_at,
			removed = excluded.removed, run_by = excluded.run_by
$$;
COMMENT ON FUNCTION miosa.maintained(timestamptz, bigint) IS 'Records that miosa_maintain() has finished';

-- Do all maintenance in short transactions.
CREATE PROCEDURE @extschema@.miosa_maintain(artifacts boolean DEFAULT true)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	began pg_catalog.timestamptz := pg_catalog.clock_timestamp();
	step pg_catalog.record;
	place pg_catalog.text := '';
BEGIN
	PERFORM miosa.require_primary();
	SELECT NULL::pg_catalog.text AS kind, NULL::pg_catalog.text AS place, NULL::pg_catalog.tid[] AS rows,
		0::pg_catalog.int4 AS done, 0::pg_catalog.int8 AS removed INTO step;
	LOOP
		-- What a crash loses is done again.
		PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
		SELECT * INTO step FROM miosa.maintain_rows(step.kind, step.place, step.rows, step.done, step.removed);
		COMMIT;
		EXIT WHEN step.kind IS NULL;
		-- Leave time for the other users of the disk.
		IF step.done OPERATOR(pg_catalog.>) 0 THEN
			PERFORM pg_catalog.pg_sleep(0.01);
		END IF;
	END LOOP;
	LOOP
		PERFORM pg_catalog.set_config('synchronous_commit', 'off', true);
		EXIT WHEN NOT miosa.maintain_route_log();
		COMMIT;
	END LOOP;
	COMMIT;
	WHILE place IS NOT NULL LOOP
		place := miosa.maintain_capacity(place);
		COMMIT;
	END LOOP;
	PERFORM miosa.maintained(began, step.removed);
	COMMIT;
	IF artifacts THEN
		CALL miosa.verify_artifacts(1000);
	END IF;
END $$;
COMMENT ON PROCEDURE @extschema@.miosa_maintain(boolean) IS 'Does all maintenance that is due: deletes expired rows, settles capacity, and verifies artifacts';

-- The jobs, written once.  pg_cron may be in this database, in another one, or
-- nowhere; nothing here depends on it.  A job runs with the search_path of a role,
-- so it names the schema of everything.
CREATE FUNCTION miosa.maintenance_jobs(OUT name text, OUT schedule text, OUT command text)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'miosa_rollback maintenance in ' || current_database(), '*/5 * * * *',
		'CALL miosa.maintain(artifacts => false)'
	UNION ALL
	SELECT 'miosa_rollback artifacts in ' || current_database(), '*/5 * * * *',
		'CALL miosa.verify_artifacts("limit" => 1000)'
	UNION ALL
	SELECT 'miosa_rollback job history of ' || current_database(), '17 3 * * *',
		-- Some versions of pg_cron have a jobname of type name.
		'DELETE FROM cron.job_run_details d USING cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) d.jobid'
		|| ' AND pg_catalog.starts_with(j.jobname::pg_catalog.text, ''miosa_rollback '')'
		|| ' AND d.end_time OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) ''7 days''::pg_catalog.interval)'
$$;
COMMENT ON FUNCTION miosa.maintenance_jobs() IS 'Jobs for pg_cron: name, schedule, command';

-- Schedule the jobs with pg_cron, or return the statements that do so.  With
-- the caller's rights: a job runs as the role that schedules it, which must be one
-- that can log in, and not our owner.
CREATE FUNCTION @extschema@.miosa_schedule_maintenance() RETURNS SETOF text
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
COMMENT ON FUNCTION @extschema@.miosa_schedule_maintenance() IS 'Schedules miosa_maintain() and miosa_verify_artifacts() in pg_cron (1.4 or newer), every 5 minutes';
