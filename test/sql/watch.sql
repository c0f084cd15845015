-- Alerts roll a watched deployment back: while its version is young, once, and
-- never off what they have rolled back to.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture
-- An alert as Alertmanager writes it, and a message of some.
CREATE FUNCTION test.one(dep text, fingerprint text, status text DEFAULT 'firing', starts text DEFAULT '2126-03-01T10:00:00Z',
	more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('status', status, 'labels', jsonb_strip_nulls(jsonb_build_object('alertname', 'ErrorRate', 'miosa_deployment', dep)) || more,
		'annotations', jsonb_build_object('summary', '5xx above 5 %'), 'startsAt', starts,
		'endsAt', CASE status WHEN 'firing' THEN '0001-01-01T00:00:00Z' ELSE '2126-03-01T11:00:00Z' END,
		'generatorURL', 'http://prometheus/graph', 'fingerprint', fingerprint) $$;
CREATE FUNCTION test.message(VARIADIC alerts jsonb[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('version', '4', 'groupKey', '{}:{}', 'truncatedAlerts', 0, 'status', 'firing', 'receiver', 'miosa',
		'groupLabels', '{}'::jsonb, 'commonLabels', '{}'::jsonb, 'commonAnnotations', '{}'::jsonb, 'externalURL', 'http://am', 'alerts', to_jsonb(alerts)) $$;
-- What became of each: deployment, fingerprint, done, operation, why.
CREATE FUNCTION test.alert(VARIADIC alerts jsonb[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', coalesce(a ->> 'deployment_id', '-'), a ->> 'fingerprint', a ->> 'done', coalesce(a ->> 'operation_id', '-'),
		regexp_replace(a ->> 'why', 'for .*, and', 'for <time>, and'))
	FROM jsonb_array_elements(miosa_alert(test.message(VARIADIC alerts)) #> '{data,alerts}') a $$;
-- The version became active so long ago.
CREATE FUNCTION test.age(dep text, age interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	ALTER TABLE miosa.audit_events DISABLE TRIGGER ALL;
	UPDATE miosa.audit_events SET created_at = created_at - age WHERE deployment_id = dep;
	ALTER TABLE miosa.audit_events ENABLE TRIGGER ALL;
END $$;

-- Not watched: it is sent to hooks.
SELECT test.history('dep_1', 4);
SELECT test.alert(test.one('dep_1', 'f0'));
SELECT test.count('dep_1');

-- Watched: the first alert rolls back, and the same message again does nothing.
SELECT test.op(miosa_watch('dep_1', idempotency_key => 'w', reason => 'release day'));
SELECT test.op(miosa_watch('dep_1', idempotency_key => 'w', reason => 'release day'));
SELECT test.code($$SELECT miosa_watch('dep_1', '1 h', idempotency_key => 'w')$$);
SELECT deployment_id, bake, on_alert, labels, reason FROM miosa.watches;
SELECT item, regexp_replace(value, '\d+ (s|min) of', '<time> of') AS value FROM miosa.status('dep_1') WHERE item = 'watched';
SELECT test.alert(test.one('dep_1', 'f1'));
SELECT test.alert(test.one('dep_1', 'f1'));
SELECT test.count('dep_1');
SELECT seq, action, outcome, target_version_id, idempotency_key, reason, marks FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND seq > 4 ORDER BY seq;
SELECT fingerprint, name, version_id, target_version_id, done, seq, condition, resolved_at FROM miosa.alerts ORDER BY fingerprint;

-- Another alert finds what the first one has rolled back to.
SELECT test.alert(test.one('dep_1', 'f2'));
-- The same alert, later, finds a new version; but not one that it has rolled back.
SELECT test.op(miosa_promote('dep_1', 'ver_4'));
SELECT test.alert(test.one('dep_1', 'f1', starts => '2126-03-01T10:20:00Z'));
SELECT test.op(miosa_promote('dep_1', 'ver_1'));
SELECT test.alert(test.one('dep_1', 'f1', starts => '2126-03-01T10:40:00Z'));
SELECT test.count('dep_1');

-- The end of an alert is recorded, once, and before its beginning as well.
SELECT test.alert(test.one('dep_1', 'f1', 'resolved'), test.one('dep_1', 'f1', 'resolved'), test.one('dep_1', 'f1'));
SELECT test.history('dep_2', 3);
SELECT test.op(miosa_watch('dep_2', '10 min'));
SELECT test.alert(test.one('dep_2', 'f1', 'resolved'));
SELECT test.alert(test.one('dep_2', 'f1'));
SELECT fingerprint, done, resolved_at = '2126-03-01 11:00:00+00' AS resolved FROM miosa.alerts WHERE deployment_id = 'dep_2';

-- Outside of the bake time, with labels, and only to notify.
SELECT test.age('dep_2', '9 min');
BEGIN;
SELECT test.alert(test.one('dep_2', 'f2'));
ROLLBACK;
SELECT test.age('dep_2', '2 min');
-- a call that is refused since makes no version younger
SELECT miosa_try_rollback('dep_2', 'ver_9') #>> '{error,code}' AS refused;
SELECT item, value FROM miosa.status('dep_2') WHERE item = 'watched';
SELECT test.alert(test.one('dep_2', 'f3'));
SELECT test.op(miosa_watch('dep_2', '1 h', alerts => '{"severity": "critical", "team": "web"}'));
SELECT test.alert(test.one('dep_2', 'f4', more => '{"severity": "critical"}'),
	test.one('dep_2', 'f5', more => '{"severity": "warning", "team": "web"}'));
BEGIN;
SELECT test.alert(test.one('dep_2', 'f6', more => '{"severity": "critical", "team": "web", "zone": "a"}'));
ROLLBACK;
SELECT test.op(miosa_watch('dep_2', '1 h', on_alert => 'notify'));
SELECT test.alert(test.one('dep_2', 'f7'));
SELECT test.op(miosa_watch('dep_2', '1 h', on_alert => 'hold'));
SELECT test.alert(test.one('dep_2', 'f7b'));
SELECT h.reason, h.until, a.action, a.marks #>> '{alert,fingerprint}' AS fingerprint FROM miosa.holds h
	JOIN miosa.audit_events a ON a.deployment_id = h.deployment_id AND a.seq = h.seq WHERE h.deployment_id = 'dep_2';
SELECT test.refusal($$SELECT miosa_promote('dep_2', 'ver_1', automatic => true)$$);
SELECT test.op(miosa_unwatch('dep_2')), test.op(miosa_unwatch('dep_2'));
SELECT test.alert(test.one('dep_2', 'f8'));
SELECT action, marks FROM miosa.audit_events WHERE deployment_id = 'dep_2' AND action IN ('deployment.watch', 'deployment.unwatch') ORDER BY seq;

-- A refused rollback does not fail the call; it is recorded with its condition.
SELECT test.history('dep_3', 1);
SELECT test.history('dep_4', 2);
SELECT test.op(miosa_watch(id)) FROM unnest('{dep_3,dep_4}'::text[]) id;
SELECT test.alert(test.one('dep_4', 'f1'), test.one('dep_3', 'f1'), test.one('dep_4', 'f2'), test.one('dep_4', 'f1'));
SELECT deployment_id, done, condition FROM miosa.alerts WHERE deployment_id IN ('dep_3', 'dep_4') ORDER BY 1, 2;
SELECT marks #>> '{alert,condition}' AS condition FROM miosa.audit_events WHERE deployment_id = 'dep_3' AND action = 'deployment.alert';
SELECT test.deployment('dep_5', 2);
SELECT test.op(miosa_watch('dep_5'));
SELECT test.alert(test.one('dep_5', 'f1'));

-- One that is locked: nothing is done now. The dispatcher leaves the note when the
-- lock is free, and the alert is judged when it comes again.
CREATE FUNCTION test.noted() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	-- The dispatcher may be at it.
	WHILE miosa.alert_note_late() LOOP PERFORM pg_sleep(0.01); END LOOP;
	RETURN true;
END $$;
SELECT test.history('dep_6', 3);
SELECT test.op(miosa_watch('dep_6'));
BEGIN;
SELECT id FROM miosa.deployments WHERE id = 'dep_6' FOR UPDATE;
PREPARE TRANSACTION 'miosa_watch';
SET miosa_rollback.lock_wait = '10 ms';
SELECT test.alert(test.one('dep_6', 'l1'), test.one('dep_6', 'l2', 'resolved'));
SELECT test.alert(test.one('dep_6', 'l1'));
SELECT miosa.alert_note_late(), test.count('dep_6');
-- Behind a gateway the answer has Alertmanager send the message again soon; it has
-- nothing to send again when only the end of an alert was to be noted.
BEGIN;
SET LOCAL request.method = 'POST';
SELECT test.alert(test.one('dep_6', 'l1'), test.one('dep_1', 'l3'));
SELECT current_setting('response.status') AS status, current_setting('response.headers') AS headers;
COMMIT;
BEGIN;
SET LOCAL request.method = 'POST';
SELECT test.alert(test.one('dep_6', 'l2', 'resolved'), test.one('dep_1', 'l3'));
SELECT current_setting('response.status', true) = '503' AS again;
COMMIT;
ROLLBACK PREPARED 'miosa_watch';
RESET miosa_rollback.lock_wait;
SELECT test.noted(), test.noted(), test.count('dep_6');
SELECT outcome, reason, marks #- '{alert,received_at}' AS marks FROM miosa.audit_events WHERE deployment_id = 'dep_6' AND action = 'deployment.alert' ORDER BY seq;
SELECT test.alert(test.one('dep_6', 'l1'));
SELECT test.alert(test.one('dep_6', 'l1'));
SELECT fingerprint, done, condition, version_id, target_version_id, seq FROM miosa.alerts WHERE deployment_id = 'dep_6' ORDER BY fingerprint;

-- Deployments are named by id, host or slug.
INSERT INTO miosa.domains (deployment_id, tenant_id, fqdn, state) VALUES ('dep_4', 'ten_1', 'shop.example.com', 'active');
SELECT test.alert(test.one('shop.example.com', 'h1'), test.one('dep-4.acme.miosa.app', 'h2'), test.one('dep-4', 'h3'));
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', 'other');
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('x_4', 'ten_2', 'X', 'dep-4');
SELECT test.alert(test.one('dep-4', 'n1'), test.one(NULL, 'n2'), test.one('', 'n3'), test.one('nobody', 'n4'), test.one(repeat('x', 300), 'n5'),
	test.one(E'a"b<c>%s\n', 'n6'), test.one('x_4', 'n7'));
SELECT count(*) FROM miosa.alerts WHERE fingerprint LIKE 'n%';

-- Times are times, whatever their zone and precision.
SELECT test.alert(test.one('dep_5', 't1', starts => '2126-03-01T10:00:00.123456789+02:00'), test.one('dep_5', 't1', starts => '2126-03-01T08:00:00.123456Z'));
SELECT starts_at AT TIME ZONE 'UTC' AS starts_at FROM miosa.alerts WHERE fingerprint = 't1';

-- What people type.
SELECT item, regexp_replace(value, '#\d+', '#') AS value FROM miosa.watch('dep_5', '2 h', alerts => '{"severity": "critical"}', reason => 'careful');
SELECT item, regexp_replace(value, '#\d+', '#') AS value FROM miosa.unwatch('dep_5');
SELECT what FROM miosa.history('dep_5', 3);

-- Names are texts, wherever they are shown.
SELECT test.alert(test.one('dep_4', 'q1', more => '{"alertname": "it''s <script>\"%s\"\n"}'));
SELECT what FROM miosa.history('dep_4', 1);
SELECT reason, marks #>> '{alert,alertname}' = E'it''s <script>"%s"\n' AS same FROM miosa.audit_events WHERE deployment_id = 'dep_4' ORDER BY seq DESC LIMIT 1;

-- Nothing is done by a body that is not whole.
SELECT count(*) AS before FROM miosa.alerts \gset
SELECT test.refusal($$SELECT miosa_alert(NULL)$$);
SELECT b.body, split_part(test.refusal(format('SELECT miosa_alert(%L)', b.body)), E'\n', 2)
FROM (VALUES ('[]'), ('{}'), ('{"version": "3", "alerts": []}'), ('{"version": 4, "alerts": []}'), ('{"version": "4"}'), ('{"version": "4", "alerts": null}'),
	('{"version": "4", "alerts": {}}'), ('{"version": "4", "alerts": [1]}'), ('{"version": "4", "alerts": [[]]}'), ('"4"')) b (body);
SELECT k.name, k.value, split_part(test.refusal(format('SELECT miosa_alert(%L)', test.message(test.one('dep_4', 'g1'), test.one('dep_4', 'g2') || jsonb_build_object(k.name, k.value)))), E'\n', 2)
FROM (VALUES ('labels', NULL::jsonb), ('labels', '[]'), ('labels', '{"a": 1}'), ('labels', '{"a\nb": null}'), ('annotations', '{"summary": {}}'), ('annotations', '"x"'),
	('status', '"pending"'), ('status', 'null'), ('fingerprint', '""'), ('fingerprint', '5'), ('fingerprint', '"a:b"'), ('fingerprint', to_jsonb(repeat('f', 129))),
	('startsAt', '"yesterday"'), ('startsAt', '"2026-03-01 10:00:00"'), ('startsAt', '"2026-02-30T10:00:00Z"'), ('startsAt', '"0001-01-01T00:00:00Z"'),
	('startsAt', '"2026-03-01T10:00:00"'), ('startsAt', '"2026-03-01T24:00:00Z"'), ('startsAt', '"2026-03-01T10:00:00.Z"'), ('startsAt', '"infinity"'), ('startsAt', '1')) k (name, value);
SELECT test.refusal($$SELECT miosa_alert(test.message(test.one('dep_4', 'g1', 'resolved') || '{"endsAt": "never"}'))$$);
SELECT test.code($$SELECT miosa_alert(test.message(test.one('dep_4', 'g1')) || jsonb_build_object('x', repeat('x', 1024 * 1024)))$$);
SELECT test.code($$SELECT miosa_alert(jsonb_build_object('version', '4', 'alerts', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 1000000))))$$);
SELECT miosa_alert('{"version": "4", "alerts": []}');
SELECT count(*) - :before AS written FROM miosa.alerts;

-- Nor by a watch.
SELECT test.refusal($$SELECT miosa_watch('dep_4', '0')$$);
SELECT test.refusal($$SELECT miosa_watch('dep_4', '31 days')$$);
SELECT test.refusal($$SELECT miosa_watch('dep_4', NULL)$$);
SELECT test.refusal($$SELECT miosa_watch('dep_4', on_alert => 'panic')$$);
SELECT test.refusal($$SELECT miosa_watch('dep_4', alerts => '[]')$$);
SELECT test.refusal($$SELECT miosa_watch('dep_4', alerts => '{"severity": 1}')$$);
SELECT test.code($$SELECT miosa_watch('nobody')$$), test.code($$SELECT miosa_unwatch('nobody')$$), test.code($$SELECT * FROM miosa.watch('nobody')$$);

-- Many at once.
SELECT count(*), count(DISTINCT a ->> 'operation_id') FROM jsonb_array_elements(miosa_alert(test.message(VARIADIC ARRAY(
	SELECT test.one('dep_4', 'm' || i) FROM generate_series(1, 200) i))) #> '{data,alerts}') a WHERE a ->> 'done' = 'notified';

-- One that began before the version was active comes late, and is not about it: it
-- may be the mend.
SELECT test.history('dep_7', 3);
SELECT test.op(miosa_watch('dep_7'));
SELECT test.alert(test.one('dep_7', 'b1', starts => '2026-03-01T10:00:00Z'));
SELECT miosa_watch('dep_7', on_alert => 'hold') #>> '{operation,outcome}';
SELECT test.alert(test.one('dep_7', 'b2', starts => '2026-03-01T10:00:00Z'));
SELECT test.count('dep_7');

-- They go with their deployment, and when the plan keeps them no longer; but not
-- while the dispatcher numbers them, which is done here instead.
SELECT miosa.alert_number() > 0 AS numbered;
UPDATE miosa.alerts SET keep_until = now() - interval '1 s' WHERE fingerprint IN ('m1', 'm2');
SELECT * FROM miosa_purge_expired() WHERE what = 'alerts';
SELECT keep_until - received_at = p.audit_retention AS kept FROM miosa.alerts a JOIN miosa.deployments d ON d.id = a.deployment_id
	JOIN miosa.tenants t ON t.id = d.tenant_id JOIN miosa.plans p ON p.name = t.plan WHERE a.fingerprint = 'm3';
SELECT miosa_remove_deployment('dep_5') #>> '{data,state}' AS state;
SELECT (SELECT count(*) FROM miosa.alerts WHERE deployment_id = 'dep_5'), (SELECT count(*) FROM miosa.watches WHERE deployment_id = 'dep_5');
SELECT miosa_audit_verify('dep_1') #>> '{data,verified}' AS verified;

\i :cleanup
