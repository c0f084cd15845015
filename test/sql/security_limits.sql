-- Attack 9: values without an end.  Each text and JSON value has a limit, in
-- every function and by plain SQL; lists and pages have one too.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\set arguments :abs_srcdir '/arguments.sql'
\i :fixture
\set ECHO none
\i :arguments
\set ECHO all
SET client_min_messages = error;
SELECT test.history('dep_1');

-- Every argument of every function: one byte too many, and a million, are
-- refused with the limit.
SELECT count(*) > 100 AS many, count(DISTINCT function) > 60 AS of_many FROM test.argument;
SELECT a.function, a.name, o.outcome FROM test.argument a
CROSS JOIN LATERAL (SELECT CASE WHEN a.type IN ('json'::regtype, 'jsonb'::regtype) OR a.name = 'attribution' THEN '{"x": "%s"}' WHEN a.type = 'text[]'::regtype THEN '{%s}' ELSE '%s' END) f (form)
CROSS JOIN (VALUES (1), (1000000)) b (more)
CROSS JOIN LATERAL (SELECT left(test.outcome(a, format(f.form, repeat('x', greatest(a.maximum, 1024) + b.more))), 200) AS outcome OFFSET 0) o
WHERE o.outcome !~ format('^MR400 .* is too long / The .* has \d+ bytes; the maximum is %s\.$',
	CASE WHEN a.name = 'deployment' AND a.function::text LIKE 'miosa\_try\_%' THEN 255 ELSE a.maximum END)
ORDER BY 1, 2, 3;
SELECT test.too_long();

-- Odd values are taken as they are, or refused; never is anything broken.
SELECT * FROM test.unclear(
	ARRAY['quotes', 'backslashes', 'formats', 'lines', 'dollars', 'braces', 'bidi', 'marks', 'wide', 'blank', 'empty', 'long'],
	ARRAY['it''s "x"', '\x\0\'' \\', '%s%n%1$s%', E'a\nb\r\tc\x01', '$1 $$ ${x}', '{secret:x} {{', E'\xe2\x80\xaeabc\xe2\x81\xa6', E'e\xcc\x81\xe2\x80\x8b', E'\xf0\x9f\x98\x80', '  ', '', repeat('y', 1000)]);
SELECT miosa_rollback('dep_1', reason => E'it''s "x" \\x %s%n $1 {secret:x}') IS NOT NULL AS taken;
SELECT reason FROM miosa.audit_events WHERE reason IS NOT NULL;

-- Tables that anybody but operations and the dispatcher writes.
SELECT c.relname AS without_limits FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'limit_sizes') ORDER BY 1;
INSERT INTO miosa.plans (name, audit_retention, idempotency_retention, artifact_retention) VALUES ('own', '1 day', '1 day', '1 day');
INSERT INTO miosa.adapters (name, request) VALUES ('own', '{"method": "GET", "path": "/"}');
INSERT INTO miosa.freezes (name, tenant_id, begins, ends, selector, reason, actor_type, actor_id) VALUES ('own', 'ten_1', now(), now() + '1 s', '{}', 'why', 'role', 'me');
INSERT INTO miosa.sites (role, site) VALUES ('replica', 'eu');
SELECT miosa_put_secret('s', 'x');
SELECT miosa_put_endpoint('e', 'own', 'http://127.0.0.1:1') IS NOT NULL AS ok;
SELECT miosa_put_storage('s3://bucket/', 'http://127.0.0.1:1') IS NOT NULL AS ok;
SELECT miosa_put_domain('shop.example.com', 'dep_1') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dyn', 'ten_1', kind => 'dynamic') IS NOT NULL AND miosa_put_version('dyn', 'v1', 1, kind => 'dynamic') IS NOT NULL
	AND miosa_report_instance('dyn', 'i', 'v1', 'healthy') IS NOT NULL AS ok;
SELECT miosa_grant_tenant(current_user::text, 'ten_1', '{read}') IS NOT NULL AS ok;
SELECT miosa_put_schema('app') IS NOT NULL AS ok;
SELECT miosa_mark_bad('dep_1', 'ver_1', 'bad', 'artifact') IS NOT NULL AS ok;
SELECT miosa_watch('dep_1', reason => 'r') IS NOT NULL AS ok;
CREATE FUNCTION test.widen(r regclass, name name, type regtype) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	filled boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM %s)', r) INTO filled;
	IF NOT filled THEN
		RETURN 'no row';
	END IF;
	EXECUTE format('UPDATE %s SET %I = $1::text::%s', r, name, type)
		USING CASE WHEN type = 'jsonb'::regtype THEN '{"x": "' || repeat('x', 300000) || '"}' ELSE repeat('x', 10000) END;
	RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE ~ '^(MR...|22...|23514|23503|428C9)' THEN 'refused' ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;
SELECT o.outcome, CASE WHEN o.outcome <> 'refused' THEN string_agg(c.oid::regclass || '.' || a.attname, ' ' ORDER BY c.relname, a.attname) END AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'limit_sizes'
CROSS JOIN LATERAL (SELECT test.widen(c.oid, a.attname, a.atttypid) AS outcome OFFSET 0) o
WHERE a.attnum > 0 AND a.attlen = -1 AND a.atttypid = ANY (ARRAY['text', 'jsonb', 'text[]']::regtype[])
GROUP BY 1 ORDER BY 1;
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_2', repeat('x', 2000));
UPDATE miosa.deployments SET name = repeat('x', 1025) WHERE id = 'dep_1';
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => jsonb_build_object('owner_id', repeat('x', 1025)));
SELECT miosa_put_version('dep_1', 'ver_4', 4, storage_uri => 'test://4', fields => jsonb_build_object('metadata', jsonb_build_object('x', repeat('x', 262000)))) IS NOT NULL AS fits;
SELECT test.too_long();

-- A scheduler that counts far more instances than there should be.
SELECT miosa.take_poll('dyn', 'v1', 'e', 100000);
SELECT count(*) FROM miosa.runtime_instances WHERE deployment_id = 'dyn' AND reported_by = 'e';
SELECT miosa_put_deployment('dyn', 'ten_1', desired_replicas => 100) IS NOT NULL AS ok, miosa.take_poll('dyn', 'v1', 'e', 100000);
SELECT count(*) FROM miosa.runtime_instances WHERE deployment_id = 'dyn' AND reported_by = 'e';
SELECT miosa.take_poll('dyn', 'v1', 'e', 3);
SELECT state, count(*) FROM miosa.runtime_instances WHERE deployment_id = 'dyn' AND reported_by = 'e' GROUP BY 1 ORDER BY 1;

-- Hosts of a deployment.
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) SELECT 'h' || i || '.example.com', 'dep_1', 'ten_1' FROM generate_series(1, 9999) i;
SELECT test.refusal($$SELECT miosa_put_domain('one.example.com', 'dep_1')$$);
SELECT test.refusal($$INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id) VALUES ('one.example.com', 'dep_1', 'ten_1')$$);
SELECT miosa_put_domain('one.example.com', 'dyn') IS NOT NULL AS elsewhere;
SELECT test.refusal($$UPDATE miosa.domains SET deployment_id = 'dep_1' WHERE fqdn = 'one.example.com'$$);

-- Deleted hosts are queued together: each as a change, the deployment's row once.
CREATE FUNCTION test.queued(statement text) RETURNS TABLE (deployment text, kind text, changes bigint, numbers bigint, hosts bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN QUERY SELECT o.deployment_id COLLATE "default", o.kind, count(*), count(DISTINCT o.route_seq), count(DISTINCT o.host)
		FROM miosa.outbox o WHERE o.xid = pg_current_xact_id() GROUP BY 1, 2 ORDER BY 1, 2;
END $$;
CREATE TABLE test.writes (row text);
CREATE FUNCTION test.count_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO test.writes VALUES (NEW.id);
	RETURN NULL;
END $$;
CREATE TRIGGER test_count AFTER UPDATE ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION test.count_write();
SELECT * FROM test.queued($$UPDATE miosa.domains SET state = 'removed' WHERE fqdn LIKE 'h_.example.com'$$);
SELECT * FROM test.queued($$UPDATE miosa.domains SET state = 'active' WHERE fqdn LIKE 'h_.example.com'$$);
SELECT * FROM test.queued($$UPDATE miosa.domains SET verified_at = now()$$);
SELECT * FROM test.queued($$UPDATE miosa.domains SET deployment_id = 'dyn' WHERE fqdn LIKE 'h_.example.com'$$);
SELECT * FROM test.queued($$UPDATE miosa.domains SET fqdn = 'x' || fqdn WHERE fqdn LIKE 'h_.example.com'$$);
SELECT row, count(*) FROM test.writes GROUP BY 1 ORDER BY 1;
DELETE FROM test.writes;
SELECT * FROM test.queued('DELETE FROM miosa.domains');
SELECT row, count(*) FROM test.writes GROUP BY 1 ORDER BY 1;
SELECT id, route_seq FROM miosa.deployments ORDER BY id;
DROP TRIGGER test_count ON miosa.deployments;

-- A page of route changes ends after 4 MB, and the next goes on there.
INSERT INTO miosa.domains (fqdn, deployment_id, tenant_id)
	SELECT repeat('a', 60) || '.' || repeat('b', 60) || '.' || lpad(i::text, 60, 'h') || '.example.com', 'dep_1', 'ten_1' FROM generate_series(1, 5000) i;
BEGIN;
LOCK TABLE miosa.route_log;
DELETE FROM miosa.route_log;
INSERT INTO miosa.route_log (epoch, deployment_id, route_seq, kind, created_at) SELECT i, 'dep_1', i, 'route', now() FROM generate_series(1, 9) i;
SELECT octet_length(p::text) BETWEEN 2000000 AND 5000000 AS some, jsonb_array_length(p -> 'data') AS changes, p -> 'next_epoch' AS next FROM miosa_routes_since(0) p;
SELECT jsonb_array_length(p -> 'data') AS changes, p -> 'next_epoch' AS next FROM miosa_routes_since(4) p;
SELECT jsonb_array_length(p -> 'data') AS changes, p -> 'next_epoch' AS next FROM miosa_routes_since(8) p;
SELECT jsonb_array_length(p -> 'data') AS changes, p -> 'next_epoch' AS next FROM miosa_routes_since(9) p;
ROLLBACK;
\i :cleanup
