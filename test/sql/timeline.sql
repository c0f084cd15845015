-- What happened, in order.  The rows are made here, so that times are known.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

INSERT INTO miosa.dispatcher_state (last_epoch, site, system_identifier, timeline, database_oid, term_since)
	SELECT 1::bigint << 40, '', 'elsewhere', i.timeline, i.database_oid, now() FROM miosa.identity() i
	ON CONFLICT (one) DO UPDATE SET system_identifier = EXCLUDED.system_identifier;
SET timezone = 'UTC';
SELECT test.deployment('dep_1', 3, 'dynamic');
SELECT test.deployment('dep_2', 2);
UPDATE miosa.deployments SET name = '<b>Shop</b> & "Co"' WHERE id = 'dep_1';
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, previous_version_id, target_version_id,
		actor_type, actor_id, session_user_name, reason, marks, created_at)
	SELECT e.dep, e.seq, 'ten_1', e.action, e.outcome, e.rule, e.previous, e.target, 'user', e.actor, 'app', e.reason, e.marks::jsonb,
		timestamptz '2026-01-01 10:00:00+00' + e.at * interval '1 s'
	FROM (VALUES
		('dep_1', 1, 'deployment.version.promote', 'changed', 'named', NULL, 'ver_2', 'ci', NULL, '{}', 0),
		('dep_1', 2, 'deployment.version.promote', 'changed', 'named', 'ver_2', 'ver_3', 'ci', 'release 3', '{"migration": "incompatible"}', 600),
		('dep_1', 3, 'deployment.rollback', 'pending', 'promoted_over', 'ver_3', 'ver_2', 'ana',
			E'<script>document.title=''owned''</script> 100 % of "carts" \x01 \xe2\x80\xae fail since the release, and so do all payments in the eu',
			'{"hold": {"opened": true, "until": "2026-01-01"}, "fleet": "flt_1"}', 900),
		('dep_2', 1, 'deployment.rollback', 'changed', 'promoted_over', 'ver_2', 'ver_1', 'ana', 'same image', '{"fleet": "flt_1"}', 900.5),
		('dep_1', 4, 'deployment.hold', 'unchanged', 'none', 'ver_2', 'ver_2', 'ana', 'until the fix is out', '{"hold": {"kept": true}, "new_mark": ["a", 1]}', 960),
		('dep_1', 5, 'deployment.of.tomorrow', 'unchanged', 'none', 'ver_2', 'ver_2', 'bob', NULL, '{"version": "ver_3", "scope": "artifact"}', 961))
		e (dep, seq, action, outcome, rule, previous, target, actor, reason, marks, at);
INSERT INTO miosa.fleet_runs (id, acts_for, mode, selector, accept_unverified, mark_bad, actor_type, actor_id, session_user_name, total, began_at, ended_at)
	VALUES ('flt_1', '', 'atomic', '{}', false, false, 'user', 'ana', 'app', 2, '2026-01-01 10:15:00+00', '2026-01-01 10:15:01+00');
INSERT INTO miosa.convergence_log (deployment_id, seq, tenant_id, epoch, state, created_at, taken_at, edges, confirmed, first_ms, p50_ms, p99_ms,
		last_ms, last_edge, tenths_ms, zones)
	SELECT c.dep, c.seq, 'ten_1', c.seq, c.state, timestamptz '2026-01-01 10:00:00+00' + c.at * interval '1 s',
		timestamptz '2026-01-01 10:00:00.002+00' + c.at * interval '1 s', c.edges, c.confirmed, c.tenths[1], c.p50, c.p99, c.last, c.edge, c.tenths, c.zones::jsonb
	FROM (VALUES
		('dep_1', 1, 'no_edges', 0, 0, 0, NULL, NULL, NULL, NULL, NULL::double precision[], NULL),
		('dep_1', 2, 'incomplete', 600, 12, 11, 20.5, NULL, 340, 'cdn-6', '{5,6,7,20.5,20.5,30,40,50,340}',
			'{"eu": {"edges": 11, "confirmed": 10, "ms": 20.5}, "us": {"edges": 1, "confirmed": 1, "ms": 340}}'),
		('dep_1', 3, 'converged', 912, 12, 12, 6.3, 1234.5, 1234.5, 'cdn-7', '{5,6,6,6.3,6.3,7,8,9,10,1234.5}',
			'{"eu": {"edges": 11, "confirmed": 11, "ms": 1234.5}, "us": {"edges": 1, "confirmed": 1, "ms": 6.3}}'),
		('dep_2', 1, 'superseded', 900.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))
		c (dep, seq, state, at, edges, confirmed, p50, p99, last, edge, tenths, zones);
INSERT INTO miosa.refusals (id, created_at, count, condition, function_name, action, deployment_id, version_id, tenant_id, actor_type, actor_id, session_user_name)
	VALUES (1, '2026-01-01 10:16:10+00', 3, 'VERSION_BAD', 'public.miosa_promote', 'deployment.version.promote', 'dep_1', 'ver_3', 'ten_1', 'api_key', 'ci', 'app'),
		(2, '2026-01-01 10:16:11+00', 1, 'INVALID_ARGUMENT', 'public.miosa_set_deployment', NULL, 'dep_1', NULL, 'ten_1', 'role', 'app', 'app');
SET session_replication_role = replica;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, error_message, created_at, updated_at)
	VALUES ('dep_1', 'i-1', 'ten_1', 'ver_2', 'healthy', NULL, '2026-01-01 10:15:05+00', '2026-01-01 10:15:08+00'),
		('dep_1', 'i-2', 'ten_1', 'ver_2', 'healthy', NULL, '2026-01-01 10:15:05+00', '2026-01-01 10:15:12+00'),
		('dep_1', 'i-3', 'ten_1', 'ver_3', 'failed', 'out of memory', '2026-01-01 10:10:00+00', '2026-01-01 10:10:30+00');
INSERT INTO miosa.capacity (deployment_id, version_id, state, since, asked_at) VALUES ('dep_1', 'ver_2', 'drained', '2026-01-01 09:00:00+00', '2026-01-01 10:15:01+00');
RESET session_replication_role;
\set ECHO all
\pset format aligned
\pset tuples_only off
SELECT * FROM miosa.timeline('dep_1', '2026-01-01', '2026-01-02');
-- a part of it: the beginning counts, the end does not
SELECT * FROM miosa.timeline('dep_1', '2026-01-01 10:16:00+00', '2026-01-01 10:16:01+00');
SELECT * FROM miosa.timeline('dep_1', '2026-01-01 11:00:00+00', '2026-01-01 12:00:00+00');
-- What was asked for before the period, and edges had in it.
SELECT * FROM miosa.timeline('dep_1', '2026-01-01 10:15:13+00', '2026-01-01 10:15:14+00');
-- a fleet
SELECT * FROM miosa.timeline('flt_1', '2026-01-01', '2026-01-02');
\pset format unaligned
\pset tuples_only on
-- without an end: how things are now
SELECT op, what FROM miosa.timeline('dep_2') WHERE op = 'now';
SELECT max(length(at) + length(op) + length(what)) <= 72 AS fits FROM miosa.timeline('dep_1', '2026-01-01', '2026-01-02');
-- for programs: all pages together are one
SELECT jsonb_pretty(miosa_timeline('dep_1', '2026-01-01 10:16:00+00', '2026-01-01 10:16:01+00'));
WITH RECURSIVE pages AS (
	SELECT miosa_timeline('dep_1', "limit" => 3) AS page
	UNION ALL
	SELECT miosa_timeline('dep_1', "limit" => 3, cursor => p.page ->> 'next_cursor') FROM pages p WHERE p.page ->> 'next_cursor' IS NOT NULL)
SELECT count(*) > 3 AS pages, (SELECT jsonb_agg(e.value) FROM pages a, jsonb_array_elements(a.page -> 'data') e) = miosa_timeline('dep_1', "limit" => 200) -> 'data' AS same
FROM pages;
SELECT jsonb_array_length(miosa_timeline('flt_1') -> 'data'), miosa_timeline('dep_2', now()) -> 'data';
SELECT test.refusal($$SELECT miosa_timeline('dep_1', cursor => 'x')$$);
SELECT test.code($$SELECT miosa_timeline('dep_1', "limit" => 0)$$), test.code($$SELECT miosa_timeline('dep_9')$$), test.code($$SELECT miosa_timeline(NULL)$$),
	test.code($$SELECT * FROM miosa.timeline('a''b')$$);
-- The page: t/198_report looks at it in a browser.
CREATE FUNCTION test.page(part text) RETURNS SETOF text LANGUAGE sql AS
	$$ SELECT m[1] FROM regexp_matches(miosa_report('dep_1', '2026-01-01 10:00:00+00', '2026-01-01 11:00:00+00'), part, 'gs') m $$;
SELECT test.page('<h1>(.*?)</h1>'), test.page('</h1>\n<p>(.*?)</p>');
SELECT test.page('<tr class="operation">(.*?)</tr>');
SELECT regexp_replace(r, '(</?t[dhr][^>]*>)+', '|', 'g') FROM test.page('<table id="edges">(.*?)</table>') r;
SELECT test.page('<desc id="\w+?-d">(.*?)</desc>');
SELECT test.page('(<g>.*?</g>)');
SELECT test.page('<h2>Capacity</h2>(.*?)<h2>');
-- Nothing comes from elsewhere, nothing runs, all is ASCII.
SELECT p.page !~* '<(script|link|img|iframe|object|embed|form|a)\M' AS inert, p.page !~ '[^\x01-\x7e]' AS ascii, p.page !~* '(https?:|url\()' AS alone,
	p.page ~ 'default-src ''none''' AS policy FROM miosa_report('dep_1', '2026-01-01', '2026-01-02') p (page);
-- an empty period, and none
SELECT unnest(regexp_matches(miosa_report('dep_1', '2026-01-01 20:00:00+00', '2026-01-01 21:00:00+00'), '<h2>.*(?=</main>)', 'g'));
SELECT test.refusal($$SELECT miosa_report('dep_1', '2026-01-02', '2026-01-01')$$);
SELECT test.refusal($$SELECT miosa_report('dep_1', until => 'infinity')$$);
SELECT test.refusal($$SELECT miosa_report('flt_1', until => '2020-01-01')$$);
SELECT test.code($$SELECT miosa_report('dep_1', '-infinity')$$), test.code($$SELECT miosa_report('dep_9')$$), test.code($$SELECT miosa_report(NULL)$$);
SELECT miosa_report('flt_1', '2026-01-01', '2026-01-02') ~ '<tr><th scope="row">fleet flt_1</th><td class="n">2026-01-01 10:15:00.000</td><td class="n">converged, superseded</td><td class="n">1 of 2</td>' AS fleet,
	miosa_report('flt_1') ~ 'fleet flt_1' AS all_of_it;
-- without a beginning: from the first event of the last day on
SELECT miosa_report('dep_1', until => '2026-01-01 10:20:00+00') ~ '<p>2026-01-01 08:55:59 to 2026-01-01 10:20:00' AS from_the_first_event;
-- viewers may
CREATE ROLE regress_viewer;
GRANT miosa_viewer TO regress_viewer;
GRANT USAGE ON SCHEMA test TO regress_viewer;
SET ROLE regress_viewer;
SELECT count(*) > 10 AS shown FROM miosa.timeline('dep_1', '2026-01-01', '2026-01-02');
RESET ROLE;
DROP OWNED BY regress_viewer;
DROP ROLE regress_viewer;
\i :cleanup
