-- What the dispatcher reports of edges becomes rows of miosa.convergence_log.
-- The test reports in its place: that one takes this database for a copy and
-- keeps its hands off (t/197_edge_times has real edges).
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid, term_since)
	SELECT 1::bigint << 40, '', 'elsewhere', i.timeline, i.database_oid, now() FROM miosa.identity() i
	ON CONFLICT (one) DO UPDATE SET system_identifier = EXCLUDED.system_identifier;

-- An event at a second of the day, of those that operations write.
CREATE FUNCTION test.event(dep text, at integer, outcome text DEFAULT 'changed', target text DEFAULT 'ver_1', rule text DEFAULT 'named') RETURNS void
LANGUAGE sql AS $$
	INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, previous_version_id, target_version_id,
			actor_type, actor_id, session_user_name, created_at, keep_until)
		SELECT dep, coalesce(max(a.seq), 0) + 1, 'ten_1', CASE rule WHEN 'none' THEN 'deployment.hold' ELSE 'deployment.rollback' END,
			$3, $5, 'ver_2', $4, 'role', 'ci', 'ci', timestamptz '2026-01-01 00:00:00+00' + at * interval '1 s', '2026-01-02 00:00:00+00'
		FROM miosa.audit_events a WHERE a.deployment_id = dep $$;

-- A report of a change at a second of the day, whose edges answer after some
-- milliseconds.
CREATE FUNCTION test.report(dep text, seq bigint, at integer, state text, ms double precision[], edges integer DEFAULT NULL, version text DEFAULT 'ver_1')
RETURNS void LANGUAGE sql AS $$
	SELECT miosa.write_convergence(ARRAY[dep], ARRAY[version], ARRAY[seq], ARRAY[100 + seq], ARRAY[state],
		ARRAY[timestamptz '2026-01-01 00:00:00+00' + at * interval '1 s'], ARRAY[timestamptz '2026-01-01 00:00:01+00' + at * interval '1 s'],
		ARRAY[coalesce(edges, cardinality(ms))], ARRAY[cardinality(ms)], ARRAY[ms[1]], ARRAY[ms[(cardinality(ms) + 1) / 2]],
		ARRAY[ms[cardinality(ms)]], ARRAY[ms[cardinality(ms)]], ARRAY['e' || cardinality(ms)], ARRAY[ms::text],
		ARRAY[CASE WHEN cardinality(ms) > 0 THEN jsonb_build_object('eu', jsonb_build_object('edges', coalesce(edges, cardinality(ms)), 'confirmed', cardinality(ms), 'ms', ms[cardinality(ms)]))::text END]) $$;
CREATE FUNCTION test.log(dep text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', '#' || l.seq, l.state, 'at', extract(epoch FROM l.created_at - '2026-01-01 00:00:00+00') || ' s',
		l.confirmed || ' of ' || l.edges, l.first_ms || '/' || l.p50_ms || '/' || l.p99_ms || '/' || l.last_ms, l.last_edge, l.tenths_ms, l.zones)
	FROM miosa.convergence_log l WHERE l.deployment_id = dep ORDER BY l.seq $$;
SELECT count(test.deployment('dep_' || i, 2)) FROM generate_series(1, 9) i;
\set ECHO all
-- the change of one operation; a change that came later is of something else
SELECT test.event('dep_1', 0);
SELECT test.report('dep_1', 1, 0, 'converged', '{5,7.5,120}');
SELECT test.report('dep_1', 1, 60, 'converged', '{1,1,1}');
SELECT * FROM test.log('dep_1');
-- A note comes after it, before the change is taken.
SELECT test.event('dep_1', 70), test.event('dep_1', 71, 'unchanged', rule => 'none');
SELECT test.report('dep_1', 3, 70, 'converged', '{6}');
SELECT * FROM test.log('dep_1');
-- operations that one change shows: the last one is sent, and times count from it
SELECT test.event('dep_2', 0), test.event('dep_2', 1), test.event('dep_2', 2);
SELECT test.report('dep_2', 3, 0, 'converged', '{2005,2010.5}');
SELECT * FROM test.log('dep_2');
-- It waits for instances: edges have the route of the old version, until routes
-- switch.
SELECT test.event('dep_3', 0, 'pending');
SELECT test.report('dep_3', 1, 0, 'converged', '{5}', version => 'ver_2');
SELECT * FROM test.log('dep_3');
SELECT test.report('dep_3', 1, 30, 'converged', '{7}');
SELECT test.report('dep_3', 1, 60, 'converged', '{9}');
SELECT * FROM test.log('dep_3');
-- incomplete, then the last edge, then no more
SELECT test.event('dep_4', 0);
SELECT test.report('dep_4', 1, 0, 'incomplete', '{5}', 2);
SELECT * FROM test.log('dep_4');
SELECT test.report('dep_4', 1, 0, 'converged', '{5,90000}', 2);
SELECT test.report('dep_4', 1, 0, 'incomplete', '{5}', 2);
SELECT * FROM test.log('dep_4');
-- both in one batch
SELECT test.event('dep_5', 0);
SELECT miosa.write_convergence('{dep_5,dep_5}', '{ver_1,ver_1}', '{1,1}', '{7,7}', '{incomplete,converged}',
	'{2026-01-01 00:00:00+00,2026-01-01 00:00:00+00}', '{2026-01-01 00:00:00+00,2026-01-01 00:00:00+00}', '{2,2}', '{1,2}',
	'{5,5}', '{5,5}', '{NULL,8}', '{5,8}', '{e1,e2}', '{"{5}","{5,8}"}', '{NULL,NULL}');
SELECT * FROM test.log('dep_5');
-- no edges, too many operations, unknown ones
SELECT test.event('dep_6', 0), test.event('dep_6', 1), test.event('dep_6', 2);
SELECT test.report('dep_6', 1, 0, 'no_edges', '{}'), test.report('dep_6', 2, 1, 'unmeasured', NULL), test.report('dep_6', 3, 2, 'unknown', NULL);
SELECT * FROM test.log('dep_6');
-- a deployment that is not there, an operation without an event
SELECT test.report('dep_0', 1, 0, 'converged', '{5}'), test.report('dep_7', 5, 0, 'converged', '{5}');
SELECT count(*) FROM miosa.convergence_log WHERE deployment_id IN ('dep_0', 'dep_7');
-- After a restart: what the route log has and nobody has measured is said to be
-- unknown; a note is not, and what is measured meanwhile replaces it.
SELECT test.event('dep_8', 0), test.event('dep_8', 1), test.event('dep_8', 2, 'unchanged', rule => 'none'), test.event('dep_9', 3), test.event('dep_9', 4);
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at)
	SELECT e.epoch, e.id, 1, e.kind, timestamptz '2026-01-01 00:00:00+00' + e.at * interval '1 s'
	FROM (VALUES (1, 'dep_8', 'route', 0), (2, 'dep_8', 'repurge', 0), (3, 'dep_9', 'route', 3), (4, 'dep_9', 'route', 4),
		(5, 'dep_1', 'route', 0), (6, 'dep_2', 'route', 90)) e (epoch, id, kind, at);
SELECT test.report('dep_9', 1, 3, 'converged', '{5}');
SELECT miosa.write_unseen(0, 6, 2), miosa.write_unseen(2, 6, 2), miosa.write_unseen(4, 6, 5);
SELECT * FROM test.log('dep_8');
SELECT * FROM test.log('dep_9');
SELECT test.report('dep_9', 2, 4, 'converged', '{6}');
SELECT * FROM test.log('dep_9');
SELECT count(*) FROM miosa.convergence_log WHERE deployment_id IN ('dep_1', 'dep_2');
-- It is kept as long as the event.
UPDATE miosa.plans SET audit_retention = '1 day';
SELECT removed FROM miosa_purge_expired() WHERE what = 'audit_events';
SELECT deployment_id, seq FROM miosa.convergence_log ORDER BY 1, 2;
SELECT deployment_id, seq FROM miosa.convergence_log EXCEPT SELECT deployment_id, seq FROM miosa.audit_events;
\i :cleanup
