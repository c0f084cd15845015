-- What is asked of the server beside the extension's own functions where it
-- delivers. Loaded before load.sql.
CREATE SCHEMA bench;

-- One PUT a deployment; :path says what the edge can see in its log.
INSERT INTO miosa.adapters (name, max_in_flight, timeout, request)
	SELECT a.name, :in_flight, a.timeout, jsonb_build_object(
		'method', 'PUT', 'path', :'path',
		'headers', '{"x-epoch": "{epoch}", "x-version": "{version_id}"}'::jsonb)
	FROM (VALUES ('bench', '5 s'::interval), ('bench-patient', '60 s')) a (name, timeout);

-- Nothing to be sent, nothing under way, nothing to be written down.
CREATE FUNCTION bench.is_quiet() RETURNS boolean
LANGUAGE sql
RETURN (SELECT w.state = 'running' AND w.pending = 0 AND w.in_flight = 0
	AND NOT EXISTS (SELECT FROM miosa.outbox)
	AND NOT EXISTS (
		SELECT FROM miosa.endpoints e
		LEFT JOIN miosa.endpoint_state s ON s.endpoint = e.name
		WHERE e.enabled AND (s.resync_after IS NOT NULL
			OR s.generation IS DISTINCT FROM e.generation))
	FROM miosa.dispatcher() w);

CREATE FUNCTION bench.acknowledged() RETURNS bigint
LANGUAGE sql
RETURN (SELECT w.acknowledged FROM miosa.dispatcher() w);

-- Wait until the dispatcher has counted so many acknowledged requests; when
-- that was seen, in seconds.  null after a minute.
CREATE FUNCTION bench.wait_for(target bigint) RETURNS float8
LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	WHILE bench.acknowledged() < target LOOP
		IF clock_timestamp() > start + interval '1 min' THEN
			RETURN NULL;
		END IF;
		PERFORM pg_sleep(0.004);
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp());
END $$;

-- Move every pointer, in one transaction; which one that was.
CREATE FUNCTION bench.flip_all() RETURNS xid
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM miosa_rollback(p.id, CASE p.active_version_id WHEN '1' THEN '2' ELSE '1' END)
		FROM miosa.deployments p;
	RETURN pg_current_xact_id()::xid;
END $$;

-- Commit time of the newest operation of a deployment, in seconds.
CREATE FUNCTION bench.committed(deployment text) RETURNS float8
LANGUAGE sql
RETURN (SELECT extract(epoch FROM pg_xact_commit_timestamp(e.xmin)) FROM miosa.audit_events e
	WHERE e.deployment_id = deployment ORDER BY e.seq DESC LIMIT 1);

-- Look at the dispatcher every 10 ms: how many looks there were, how many saw
-- a transaction or a snapshot of it, and the age of the oldest transaction.
CREATE FUNCTION bench.watch_snapshots(duration interval,
	OUT looks integer, OUT transactions integer, OUT snapshots integer, OUT oldest_ms float8)
LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + duration;
	dispatcher integer := (SELECT w.pid FROM miosa.dispatcher() w);
	seen record;
BEGIN
	looks := 0;
	transactions := 0;
	snapshots := 0;
	oldest_ms := 0;
	WHILE clock_timestamp() < stop LOOP
		-- Else a transaction is shown the same picture all the time.
		PERFORM pg_stat_clear_snapshot();
		SELECT a.xact_start, a.backend_xmin INTO STRICT seen FROM pg_stat_get_activity(dispatcher) a;
		looks := looks + 1;
		transactions := transactions + (seen.xact_start IS NOT NULL)::integer;
		snapshots := snapshots + (seen.backend_xmin IS NOT NULL)::integer;
		oldest_ms := greatest(oldest_ms, 1000 * extract(epoch FROM clock_timestamp() - seen.xact_start));
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- Commit one change after the other, for as long as it is let; but no more
-- than the dispatcher takes, because what waits for its turn needs memory.
CREATE PROCEDURE bench.flip_on()
LANGUAGE plpgsql AS $$
DECLARE
	deployments integer := (SELECT count(*) FROM miosa.deployments);
	n integer := 0;
BEGIN
	SET synchronous_commit = off;
	LOOP
		PERFORM miosa_rollback(p.id, CASE p.active_version_id WHEN '1' THEN '2' ELSE '1' END)
			FROM miosa.deployments p WHERE p.id = (n % deployments)::text;
		COMMIT;
		n := n + 1;
		WHILE (SELECT w.pending > 2000 FROM miosa.dispatcher() w) LOOP
			PERFORM pg_sleep(0.005);
			COMMIT;
		END LOOP;
	END LOOP;
END $$;
