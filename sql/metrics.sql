-- Metrics for Prometheus.
--
-- What is counted is in shared memory; what is looked up here is kept already, or
-- found by an index of few rows.  A figure that is not known (no dispatcher here,
-- nothing set up) has no row: a zero would say that all is well.  C adds the
-- counters, the types and the texts of HELP (src/api/metrics.c).

-- Counts are of so many rows at most.
CREATE FUNCTION miosa.metric_limit() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 10000;
COMMENT ON FUNCTION miosa.metric_limit() IS 'How many rows are counted at most for a metric';

-- Endpoints, each with what its metrics tell.  The breaker is known of those that
-- a dispatcher serves, and only then whether one works.
CREATE FUNCTION miosa.metric_endpoints(OUT name text, OUT zone text, OUT role text, OUT state text, OUT works boolean,
	OUT breaker_open boolean, OUT epochs_behind bigint, OUT undelivered_since timestamptz, OUT dead_letters bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT s.name, s.zone, a.role, s.state,
		CASE WHEN s.breaker IS NOT NULL AND s.state <> 'new' THEN NOT miosa.endpoint_fails(s.state) END,
		s.breaker <> 'closed', s.epochs_behind, s.undelivered_since,
		CASE WHEN s.epochs_behind IS NOT NULL THEN coalesce(f.n, 0) END
	FROM miosa.stat_endpoint s
	JOIN miosa.adapters a ON a.name = s.adapter
	LEFT JOIN (
		SELECT l.endpoint, count(*) AS n
		FROM (SELECT d.endpoint FROM miosa.delivery_failures d ORDER BY d.endpoint, d.deployment_id LIMIT miosa.metric_limit()) l
		GROUP BY l.endpoint) f ON f.endpoint = s.name
	ORDER BY s.name;
END $$;
COMMENT ON FUNCTION miosa.metric_endpoints() IS 'Endpoints as metrics show them; null: not known';

-- Everything else that is not counted in shared memory.  undelivered: when the
-- oldest change was made that an endpoint lacks.
CREATE FUNCTION miosa.metric_facts(undelivered timestamptz, OUT name text, OUT label text, OUT label_value text, OUT value float8)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $$
#variable_conflict use_column
DECLARE
	here CONSTANT boolean := NOT pg_is_in_recovery();
	at CONSTANT timestamptz := clock_timestamp();
	d record;
	w record;
BEGIN
	SELECT * INTO d FROM miosa.dispatcher();
	RETURN QUERY
	SELECT f.name, NULL::text, NULL::text, f.value::float8 FROM (VALUES
		('miosa_preloaded', (d.state <> 'not preloaded')::integer::numeric),
		('miosa_in_recovery', (NOT here)::integer),
		('miosa_dispatcher_up', CASE WHEN here THEN (d.state = 'running' AND NOT d.stalled)::integer END),
		('miosa_dispatcher_paused', CASE WHEN here AND d.pid IS NOT NULL THEN (miosa.pause_reason() IS NOT NULL)::integer END),
		('miosa_dispatcher_last_pass_age_seconds', miosa.metric_age(at, d.last_pass_at)),
		('miosa_dispatcher_term', (SELECT s.term FROM miosa.dispatcher_state s)),
		('miosa_dispatcher_requests_in_flight', CASE WHEN d.pid IS NOT NULL THEN d.in_flight END),
		('miosa_dispatcher_pending_routes', CASE WHEN d.pid IS NOT NULL THEN d.pending END),
		('miosa_outbox_rows', (SELECT count(*) FROM (SELECT FROM miosa.outbox o LIMIT miosa.metric_limit()) o)),
		('miosa_oldest_undelivered_seconds', coalesce(miosa.metric_age(at, least((SELECT o.created_at FROM miosa.outbox o ORDER BY o.xid LIMIT 1), undelivered)), 0)),
		('miosa_artifacts_missing', (SELECT count(*) FROM miosa.missing_artifacts() m)),
		('miosa_maintenance_age_seconds', (SELECT miosa.metric_age(at, m.ended_at) FROM miosa.maintenance m)),
		('miosa_holds_open', (SELECT count(*) FROM (SELECT FROM miosa.holds h WHERE miosa.is_open(h.until) LIMIT miosa.metric_limit()) h)),
		('miosa_freezes_open', (SELECT count(*) FROM miosa.freezes f WHERE f.begins <= at AND f.ends > at)),
		('miosa_audit_head_age_seconds', (SELECT miosa.metric_age(at, s.created_at)
			FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1)),
		-- The oldest change that no head covers.
		('miosa_audit_head_lag_seconds', (SELECT coalesce((SELECT miosa.metric_age(at, g.created_at)
				FROM miosa.route_log g WHERE g.epoch > s.epoch ORDER BY g.epoch LIMIT 1), 0)
			FROM miosa.audit_statements s ORDER BY s.number DESC LIMIT 1))
		) f (name, value)
	WHERE f.value IS NOT NULL;

	RETURN QUERY
	SELECT 'miosa_dispatcher_state', 'state', s.state, (s.state = d.state)::integer::float8
	FROM unnest('{not preloaded,none,starting,running,paused,absent,aside,stopped}'::text[]) s (state);

	SELECT count(*) AS waiting, coalesce(sum(greatest(c.desired - c.healthy, 0)), 0) AS missing INTO w
	FROM (SELECT p.desired_replicas AS desired, i.healthy
		FROM (SELECT c.deployment_id, c.version_id FROM miosa.capacity c WHERE c.state = 'wanted' LIMIT miosa.metric_limit() / 10) l
		JOIN miosa.deployments p ON p.id = l.deployment_id AND p.active_version_id = l.version_id AND p.state <> 'stopped'
		CROSS JOIN LATERAL miosa.count_instances(p.id, l.version_id) i) c;
	-- Replicas, by the clock of this site; one without a report has no age.
	RETURN QUERY
	SELECT v.name, 'site', r.site, v.value::float8
	FROM (SELECT * FROM miosa.replica_sites s ORDER BY s.site LIMIT miosa.metric_limit() / 10) r
	CROSS JOIN LATERAL (VALUES
		('miosa_site_endpoints', r.edges::numeric),
		('miosa_site_endpoints_behind', r.behind),
		('miosa_site_epochs_behind', r.epochs_behind),
		('miosa_site_dead_letters', r.failures),
		('miosa_site_report_age_seconds', miosa.metric_age(at, nullif(r.heard_at, 'epoch')))) v (name, value)
	WHERE v.value IS NOT NULL;

	RETURN QUERY VALUES
		('miosa_deployments_waiting', NULL::text, NULL::text, w.waiting::float8),
		('miosa_instances_missing', NULL, NULL, w.missing::float8),
		('miosa_deployments_overdue', NULL, NULL, (SELECT count(*) FROM miosa.all_overdue(true))::float8);
END $$;
COMMENT ON FUNCTION miosa.metric_facts(timestamptz) IS 'Metrics of the database that are not counted in shared memory: name, a label or none, and value';

-- Clocks may differ between servers, so a time may be to come.
CREATE FUNCTION miosa.metric_age(at timestamptz, since timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(extract(epoch FROM at - since), CASE WHEN since IS NOT NULL THEN 0 END);
COMMENT ON FUNCTION miosa.metric_age(timestamptz, timestamptz) IS 'Seconds since a time, 0 for one to come; null for none';

-- All metrics as rows.
CREATE FUNCTION miosa.metric_rows(OUT name text, OUT labels jsonb, OUT value float8, OUT type text, OUT help text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10000
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan SET work_mem = '64MB'
AS 'MODULE_PATHNAME', 'mrb_metric_rows';
COMMENT ON FUNCTION miosa.metric_rows() IS 'Rows of miosa.metrics';

CREATE VIEW miosa.metrics AS SELECT * FROM miosa.metric_rows();
COMMENT ON VIEW miosa.metrics IS 'Metrics for Prometheus and other monitoring, one row a sample; what is not known has no row';
COMMENT ON COLUMN miosa.metrics.name IS 'Name of the sample; those of a histogram end in _bucket, _sum and _count';
COMMENT ON COLUMN miosa.metrics.labels IS 'Labels, texts all';
COMMENT ON COLUMN miosa.metrics.value IS 'Value';
COMMENT ON COLUMN miosa.metrics.type IS 'gauge, counter (falls at a server start alone) or histogram';
COMMENT ON COLUMN miosa.metrics.help IS 'What it is, for people';

-- All metrics as a text.
CREATE FUNCTION @extschema@.miosa_metrics() RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS 'MODULE_PATHNAME', 'miosa_metrics';
COMMENT ON FUNCTION @extschema@.miosa_metrics() IS 'Returns all metrics in the text format of Prometheus, version 0.0.4';
