-- Statistics of endpoints and of the dispatcher.
--
-- Counters are in shared memory, and begin when the server starts or
-- miosa_reset_stats() is called.  The views are for monitoring: pg_monitor
-- may read them, so they show no secret, and no address but that in an error.

-- Read the statistics of endpoints from shared memory.
CREATE FUNCTION miosa.endpoint_stats(
	OUT endpoint text, OUT generation bigint, OUT acked_epoch bigint, OUT acked_at timestamptz, OUT resyncing boolean,
	OUT health text, OUT breaker text, OUT failures integer, OUT last_status integer, OUT last_error text,
	OUT last_error_at timestamptz, OUT last_success_at timestamptz, OUT next_try_at timestamptz,
	OUT sent bigint, OUT succeeded bigint, OUT failed bigint, OUT retried bigint,
	OUT p50_ms float8, OUT p95_ms float8, OUT p99_ms float8)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_endpoint_stats';
COMMENT ON FUNCTION miosa.endpoint_stats() IS 'Statistics in shared memory of each endpoint that the dispatcher serves; use miosa.stat_endpoint';

-- Count the entries of endpoints in shared memory.
CREATE FUNCTION miosa.endpoint_entries(OUT taken integer, OUT size integer)
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mrb_endpoint_entries';
COMMENT ON FUNCTION miosa.endpoint_entries() IS 'Number of entries for endpoints in shared memory, and of those that are taken, by all databases';

-- The states that need somebody.
CREATE FUNCTION miosa.endpoint_fails(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('backing off', 'misconfigured', 'gone', 'unverified');
COMMENT ON FUNCTION miosa.endpoint_fails(text) IS 'Whether an endpoint in this state of miosa.stat_endpoint fails';

CREATE VIEW miosa.stat_endpoint WITH (security_barrier) AS
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
COMMENT ON VIEW miosa.stat_endpoint IS 'State and statistics of every endpoint; counters begin when it is added or enabled, the dispatcher starts or miosa_reset_stats() is called';
COMMENT ON COLUMN miosa.stat_endpoint.name IS 'Endpoint';
COMMENT ON COLUMN miosa.stat_endpoint.zone IS 'Its zone';
COMMENT ON COLUMN miosa.stat_endpoint.stage IS '0: receives changes first (routers), 1: after those (caches)';
COMMENT ON COLUMN miosa.stat_endpoint.adapter IS 'Its adapter';
COMMENT ON COLUMN miosa.stat_endpoint.enabled IS 'Whether requests are sent to it';
COMMENT ON COLUMN miosa.stat_endpoint.state IS 'disabled, new (nothing was sent since it was set up), healthy, resyncing (receives everything), backing off, misconfigured, gone (answers that it is gone) or unverified (does not return its marker)';
COMMENT ON COLUMN miosa.stat_endpoint.breaker IS 'closed (requests are sent), open (none is, until next_try_at) or half open (one is tried), for the endpoint or for its whole server; null: not known';
COMMENT ON COLUMN miosa.stat_endpoint.epochs_behind IS 'Route changes since the newest up to which it has acknowledged all, also those that do not concern it; null for those that receive no routes';
COMMENT ON COLUMN miosa.stat_endpoint.undelivered_since IS 'Time of the oldest change that it lacks, or since when it refuses one; null when it lacks none';
COMMENT ON COLUMN miosa.stat_endpoint.p50_ms IS 'Milliseconds from the operation to the acknowledgement: half of the changes took no longer';
COMMENT ON COLUMN miosa.stat_endpoint.p95_ms IS 'The same for 95 of 100';
COMMENT ON COLUMN miosa.stat_endpoint.p99_ms IS 'The same for 99 of 100';
COMMENT ON COLUMN miosa.stat_endpoint.sent IS 'Requests sent, also those that read or write its marker';
COMMENT ON COLUMN miosa.stat_endpoint.succeeded IS 'Requests that succeeded';
COMMENT ON COLUMN miosa.stat_endpoint.failed IS 'Requests that failed, for whatever reason';
COMMENT ON COLUMN miosa.stat_endpoint.retried IS 'Requests sent again after a failure';
COMMENT ON COLUMN miosa.stat_endpoint.last_status IS 'Last HTTP status; null when there was none';
COMMENT ON COLUMN miosa.stat_endpoint.last_error IS 'Last failure, for people; it stays after a success';
COMMENT ON COLUMN miosa.stat_endpoint.last_error_at IS 'When that was';
COMMENT ON COLUMN miosa.stat_endpoint.last_success_at IS 'When a request last succeeded';
COMMENT ON COLUMN miosa.stat_endpoint.next_try_at IS 'When an endpoint that backs off is tried again';

CREATE VIEW miosa.stat_dispatcher WITH (security_barrier) AS
	SELECT d.state, d.pid, d.since, t.term, t.last_epoch AS epoch, d.passes, d.sent,
		d.acknowledged AS succeeded, d.failed, d.retried, d.in_flight, d.pending,
		least((SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 1),
			(SELECT min(s.undelivered_since) FROM miosa.stat_endpoint s)) AS oldest_undelivered,
		d.notified, d.errors, miosa.pause_reason() AS paused, d.last_pass_at, d.stalled, d.error, d.refusals_dropped, d.unmeasured
	FROM miosa.dispatcher() d LEFT JOIN (SELECT s.term, s.last_epoch FROM miosa.dispatcher_state s LIMIT 1) t ON true
	WHERE (SELECT miosa.sees_endpoints());
COMMENT ON VIEW miosa.stat_dispatcher IS 'State and statistics of the dispatcher of this database; one row';
COMMENT ON COLUMN miosa.stat_dispatcher.state IS 'not preloaded, none, starting, running, paused, absent, aside (lets a command on the database pass) or stopped';
COMMENT ON COLUMN miosa.stat_dispatcher.pid IS 'Its process';
COMMENT ON COLUMN miosa.stat_dispatcher.since IS 'When that was started';
COMMENT ON COLUMN miosa.stat_dispatcher.term IS 'How often the route log was taken over, by another server or after a restore';
COMMENT ON COLUMN miosa.stat_dispatcher.epoch IS 'Newest route change';
COMMENT ON COLUMN miosa.stat_dispatcher.passes IS 'Passes that found something to do';
COMMENT ON COLUMN miosa.stat_dispatcher.sent IS 'Requests sent';
COMMENT ON COLUMN miosa.stat_dispatcher.succeeded IS 'Requests that succeeded';
COMMENT ON COLUMN miosa.stat_dispatcher.failed IS 'Requests that failed';
COMMENT ON COLUMN miosa.stat_dispatcher.retried IS 'Requests sent again after a failure';
COMMENT ON COLUMN miosa.stat_dispatcher.in_flight IS 'Requests without an answer yet';
COMMENT ON COLUMN miosa.stat_dispatcher.pending IS 'Deployments whose route an endpoint has not acknowledged, summed over all endpoints';
COMMENT ON COLUMN miosa.stat_dispatcher.oldest_undelivered IS 'Time of the oldest change that some enabled endpoint lacks; null when none lacks any';
COMMENT ON COLUMN miosa.stat_dispatcher.notified IS 'Notifications sent';
COMMENT ON COLUMN miosa.stat_dispatcher.errors IS 'Passes that ended in an error; the server''s log has it';
COMMENT ON COLUMN miosa.stat_dispatcher.paused IS 'Why it does not deliver before miosa_resume(); null when it does';
COMMENT ON COLUMN miosa.stat_dispatcher.last_pass_at IS 'When it last looked for work; at least every second while it runs';
COMMENT ON COLUMN miosa.stat_dispatcher.stalled IS 'Whether that is more than 10 seconds ago, so that it must be stopped, stuck or failing';
COMMENT ON COLUMN miosa.stat_dispatcher.error IS 'Why its passes fail, or why it does not start; null after a pass';
COMMENT ON COLUMN miosa.stat_dispatcher.refusals_dropped IS 'Refused calls that miosa.refusals lacks, because there were too many at once';
COMMENT ON COLUMN miosa.stat_dispatcher.unmeasured IS 'Operations whose times miosa.convergence_log lacks, because there were too many at once';

-- Reset counters in shared memory.
CREATE FUNCTION miosa.reset_stats(endpoint text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'mrb_reset_stats';
COMMENT ON FUNCTION miosa.reset_stats(text) IS 'Sets the counters of one endpoint to zero; null: those of all endpoints and of the dispatcher';

-- Check the name of the endpoint, and reset its counters.
CREATE FUNCTION @extschema@.miosa_reset_stats(endpoint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF endpoint IS NOT NULL THEN
		PERFORM miosa.need_endpoint(endpoint);
	END IF;
	PERFORM miosa.reset_stats(endpoint);
	-- A transaction that writes nothing may do this too.
	IF NOT current_setting('transaction_read_only')::boolean THEN
		PERFORM miosa.note_configuration('dispatcher', coalesce(endpoint, current_database()), 'reset_stats', NULL, NULL, NULL);
	END IF;
END $$;
COMMENT ON FUNCTION @extschema@.miosa_reset_stats(text) IS 'Sets the counters of miosa.stat_endpoint and miosa.stat_dispatcher to zero';
