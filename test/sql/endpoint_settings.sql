-- Endpoints and adapters: what is wrong is refused where it is written, with
-- the place of the mistake, and changes nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

SELECT test.history('dep_1', 2);
INSERT INTO miosa.secrets (name, value) VALUES ('edge', 'token');
-- Bytes of secrets say nothing to a comparison; the owner may read.
SELECT miosa.reveal(s.value) AS value, record_image_eq(ROW(s.value), ROW('token'::miosa.hidden_text)) AS found,
	record_image_eq(ROW('token'::miosa.hidden_text), ROW('token'::miosa.hidden_text)) AS same
FROM miosa.secrets s WHERE s.name = 'edge';

-- An endpoint as it is answered
SELECT (miosa_put_endpoint('router', 'haproxy-map', 'http://127.0.0.1:9/', zone => 'eu', secret => 'edge', enabled => false)
	-> 'data') - '{origin,created_at,updated_at}'::text[];

-- URLs
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', NULL)$$);
SELECT test.refusal(format('SELECT miosa_put_endpoint(''e'', ''webhook'', %L)', url))
FROM unnest(ARRAY['', 'ftp://edge/', 'file:///etc/passwd', 'gopher://edge', 'edge:80', '//edge', 'javascript:1',
	'http://', 'http://user:pw@edge/', 'http://edge /', E'http://edge/\n', E'http://ed\tge/', E'http://edge/\x7f',
	'http://edge/?a=b', 'http://edge/#a', 'http://edge:port/', 'http://edge:123456/', 'http://edge:99999/', 'https://[::1]:65536', 'http://edge:0', 'http://edge:00/x', 'http://é.example/', 'http://edge/{host}',
	'http://' || repeat('e', 2000)]) url;

-- The highest port is one; what ends with a slash keeps it
SELECT miosa_put_endpoint('slash', 'webhook', url, enabled => false) -> 'data' ->> 'url'
FROM unnest(ARRAY['http://edge:65535', 'http://edge/', 'http://edge/hook/', 'http://edge/hook//']) url;
DELETE FROM miosa.endpoints WHERE name = 'slash';

-- Names, zones, stages, selectors, adapters, secrets
SELECT test.code(format('SELECT miosa_put_endpoint(%L, ''webhook'', ''http://edge'')', name))
FROM unnest(ARRAY[NULL, '', 'a b', 'a/b', E'a\n', '-a', repeat('a', 64)]) name;
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', 'http://edge', zone => 'e u')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', 'http://edge', stage => 2)$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', 'http://edge', selector => '[]')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', 'http://edge', selector => '{"region": "eu"}')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', 'http://edge', selector => '{"tenant": 1}')$$);
SELECT test.code($$SELECT miosa_put_endpoint('e', 'nosuch', 'http://edge')$$);
SELECT test.refusal($$SELECT miosa_put_endpoint('e', 'webhook', 'http://edge', secret => 'nosuch')$$);
SELECT test.refusal($$SELECT miosa_set_endpoint('nosuch', false)$$);
SELECT test.code($$SELECT miosa_remove_endpoint('nosuch')$$), test.code($$SELECT miosa_resync('nosuch')$$),
	test.code($$SELECT miosa_redrive('nosuch')$$), test.code($$SELECT miosa_resend('nosuch')$$);

-- Plain SQL is held to the same
UPDATE miosa.endpoints SET url = 'http://user:pw@edge/' WHERE name = 'router';
SELECT name, url FROM miosa.endpoints;

-- Adapters: the place of the mistake is named
SELECT test.refusal(format('INSERT INTO miosa.adapters (name, request) VALUES (''own'', %L)', request))
FROM unnest(ARRAY[
	'[]', '{}', '{"method": "PUT"}',
	'{"method": "P UT", "path": "/"}',
	'{"method": "PUT", "path": "map"}',
	'{"method": "PUT", "path": "/{hots}"}',
	'{"method": "PUT", "path": "/{host"}',
	'{"method": "PUT", "path": "/a b"}',
	'{"method": "PUT", "path": "/\r\nX: 1"}',
	'{"method": "PUT", "path": "/", "headers": {"x-version": "{verion_id}"}}',
	'{"method": "PUT", "path": "/", "headers": {"x version": "1"}}',
	'{"method": "PUT", "path": "/", "headers": {"x-version": "a\r\nb"}}',
	'{"method": "PUT", "path": "/", "headers": {"Content-Length": "1"}}',
	'{"method": "PUT", "path": "/", "body": "{nosuch}"}',
	'{"method": "PUT", "path": "/", "bodi": "x"}']) request;
INSERT INTO miosa.adapters (name, request, volatile) VALUES ('own', '{"method": "PUT", "path": "/"}', true);
INSERT INTO miosa.adapters (name, per, request) VALUES ('own', 'host', '{"method": "PUT", "path": "/{host}", "headers": {"x-version": "{version_id}"}}');
UPDATE miosa.adapters SET request = '{"method": "PUT", "path": "/{nosuch}"}' WHERE name = 'own';
SELECT name, request FROM miosa.adapters WHERE NOT builtin;

-- Shipped adapters are as shipped
SELECT name, role, stage, per, self_expires, settle, volatile FROM miosa.adapters WHERE builtin ORDER BY name COLLATE "C";
UPDATE miosa.adapters SET timeout = '1 s' WHERE name = 'webhook';
DELETE FROM miosa.adapters WHERE name = 'webhook';
-- A copy, as the hint has it, is not: it is changed and deleted, and never
-- becomes one
INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "my-webhook"}')).* FROM miosa.adapters a WHERE name = 'webhook';
UPDATE miosa.adapters SET timeout = '1 s', builtin = true WHERE name = 'my-webhook';
SELECT name, timeout, builtin FROM miosa.adapters WHERE name LIKE '%webhook' ORDER BY name;
DELETE FROM miosa.adapters WHERE name = 'my-webhook';
BEGIN;
INSERT INTO miosa.plans SELECT 'my-' || name, audit_retention, idempotency_retention, artifact_retention, builtin FROM miosa.plans WHERE name = 'pro';
SELECT name, builtin FROM miosa.plans WHERE name LIKE '%pro' ORDER BY name;
SELECT miosa_put_tenant('ten_p', 'p', 'my-pro') -> 'data' ->> 'plan' AS plan;
SELECT test.refusal($$DELETE FROM miosa.plans WHERE name = 'my-pro'$$);
SELECT test.refusal($$DELETE FROM miosa.plans WHERE name = 'pro'$$);
UPDATE miosa.plans SET audit_retention = '1 day' WHERE name = 'pro';
DELETE FROM miosa.plans WHERE name = 'pro';
SELECT name, audit_retention, builtin FROM miosa.plans WHERE name = 'pro';
INSERT INTO miosa.tenants (id, slug, plan) VALUES ('ten_q', 'q', 'none');
ROLLBACK;

-- Convergence: no success is reported while nothing is delivered
SELECT miosa_convergence('dep_1') -> 'data' ->> 'state' AS state;
SELECT test.refusal($$SELECT miosa_convergence('dep_9')$$);
SELECT test.refusal($$SELECT miosa_convergence('dep_1#99')$$);
SELECT test.code($$SELECT miosa_convergence('dep 1')$$), test.code($$SELECT miosa_convergence(NULL)$$);
SELECT miosa_wait_converged('dep_1', '0 s');
-- by slug and host too, and of an operation
SELECT miosa_wait_converged(d.slug, '0 s') = miosa_wait_converged(d.id, '0 s') AS slug,
	miosa_convergence(d.slug || '.acme.miosa.app') = miosa_convergence(d.id) AS host,
	miosa_convergence(d.slug || '#' || d.seq) = miosa_convergence(d.id || '#' || d.seq) AS operation
FROM miosa.deployments d WHERE d.id = 'dep_1';
SELECT test.refusal($$SELECT miosa_convergence('dep_1#')$$);
SELECT test.code($$SELECT miosa_wait_converged('dep_1', '-1 s')$$), test.code($$SELECT miosa_wait_converged('dep_9')$$);

-- Waiting in the operation's own transaction would wait for ever
BEGIN;
SELECT test.op(miosa_rollback('dep_1', 'ver_1'));
SELECT test.refusal($$SELECT miosa_wait_converged('dep_1', '1 s')$$);
ROLLBACK;

-- Nothing of this was written
SELECT count(*) AS endpoints FROM miosa.endpoints;

\i :cleanup
