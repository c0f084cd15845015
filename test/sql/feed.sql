-- Feeding: every function is an upsert that CI may repeat, says what is wrong
-- with its arguments, and never moves the pointer.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;

-- Tenants: a call repeated gives the same, a plan that is not named stays.
SELECT miosa_put_tenant('ten_1', 'acme', 'pro') -> 'data' ->> 'plan' AS plan;
CREATE TEMP TABLE before AS SELECT miosa_put_tenant('ten_1', 'acme') AS answer;
SELECT miosa_put_tenant('ten_1', 'acme') = answer AS same FROM before;
SELECT miosa_put_tenant('ten_2', 'other') -> 'data' ->> 'plan' AS plan;
SELECT miosa_put_tenant('ten_3', 'acme');
SELECT miosa_put_tenant('ten_3', 'Not A Slug');
SELECT miosa_put_tenant('ten_3', 'three', 'gold');
SELECT miosa_put_tenant('no id', 'three');
\echo :LAST_ERROR_SQLSTATE

-- Deployments.
SELECT o ->> 'slug' AS slug, o ->> 'state' AS state, o ->> 'kind' AS kind, o -> 'desired_replicas' AS replicas,
	o ->> 'branch' AS branch, o -> 'metadata' AS metadata, o -> 'active_version_id' AS active
FROM (SELECT miosa_put_deployment('dep_1', 'ten_1', 'The Blog',
	fields => '{"branch": "main", "metadata": {"a": 1}, "owner_id": "user_1", "not_ours": 2}') -> 'data' AS o) p;
TRUNCATE before;
INSERT INTO before SELECT miosa_deployment('dep_1');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'The Blog',
	fields => '{"branch": "main", "metadata": {"a": 1}, "owner_id": "user_1", "not_ours": 2}') = answer AS same FROM before;
-- What is not given stays; the object that was answered can be sent back.
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => answer -> 'data') = answer AS same FROM before;
SELECT o ->> 'name' AS name, o ->> 'branch' AS branch, o ->> 'owner_id' AS owner
FROM (SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"branch": "next"}') -> 'data' AS o) p;
-- Refused: the pointer, wrong types and words, another tenant, a taken slug.
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"active_version_id": "ver_1"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"seq": 7}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"id": "dep_2"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"auto_deploy": "perhaps", "owner_id": "user_2"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"state": "flying"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '[1]');
SELECT miosa_put_deployment('dep_1', 'ten_1', kind => 'round');
SELECT miosa_put_deployment('dep_1', 'ten_1', desired_replicas => -1);
SELECT miosa_put_deployment('dep_1', 'ten_2');
SELECT miosa_put_deployment('dep_2', 'ten_1', slug => 'the-blog');
SELECT miosa_put_deployment('dep_2', 'ten_9');
SELECT miosa_put_deployment('', 'ten_1');
SELECT miosa_put_deployment(NULL, 'ten_1');
SELECT miosa_put_deployment(repeat('x', 256), 'ten_1');
SELECT miosa_put_deployment('dep/1', 'ten_1');
SELECT miosa_put_deployment('dep_1', 'ten_1', name => '  ');
-- Times that could not be calculated with.
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"route_ttl": "178000000 years"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"route_ttl": "-1 s"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"created_at": "infinity"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"created_at": "290000-01-01"}');
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"created_at": "0044-03-15 BC"}');
\set VERBOSITY terse
UPDATE miosa.deployments SET route_ttl = '178000000 years' WHERE id = 'dep_1';
\set VERBOSITY default
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"route_ttl": "1 year"}') IS NOT NULL AS ok;
SELECT miosa_wait_converged('dep_1', '178000000 years');
SELECT count(*) AS deployments, min(owner_id) AS owner FROM miosa.deployments;

-- Versions: the next number, the deployment's kind, ready, with a release.
SELECT a -> 'data' -> 'version_number' AS number, a -> 'data' ->> 'kind' AS kind, a -> 'data' ->> 'state' AS state,
	a -> 'release' ->> 'id' AS release, a -> 'release' ->> 'storage_uri' AS uri, a -> 'release' -> 'size_bytes' AS size,
	left(a -> 'release' ->> 'sha256', 4) AS sha256, a -> 'data' -> 'created_by' AS created_by
FROM (SELECT miosa_put_version('dep_1', 'ver_1', storage_uri => 's3://bucket/1.tar', sha256 => repeat('AB', 32),
	size_bytes => 10, fields => '{"created_by": "user_1"}') AS a) p;
TRUNCATE before;
INSERT INTO before SELECT miosa_version('dep_1', 'ver_1');
SELECT miosa_put_version('dep_1', 'ver_1', storage_uri => 's3://bucket/1.tar', sha256 => repeat('AB', 32),
	size_bytes => 10, fields => '{"created_by": "user_1"}') = answer AS same FROM before;
SELECT miosa_put_version('dep_1', 'ver_1', fields => answer -> 'data', release => answer -> 'release') = answer AS same FROM before;
-- A build: its release may come and change until it is ready.  A late
-- repetition of the first report does not move it back.
SELECT miosa_put_version('dep_1', 'ver_2', state => 'building') -> 'data' ->> 'state' AS state,
	miosa_put_version('dep_1', 'ver_2', state => 'building', storage_uri => 's3://bucket/x.tar') -> 'release' ->> 'sha256' AS sha256;
SELECT miosa_put_version('dep_1', 'ver_2', storage_uri => 's3://bucket/2.tar', sha256 => repeat('cd', 32)) -> 'release' ->> 'storage_uri' AS uri;
SELECT miosa_put_version('dep_1', 'ver_2', state => 'building') -> 'data' ->> 'state' AS state;
SELECT miosa_put_version('dep_1', 'ver_2', fields => '{"state": "building"}') -> 'data' ->> 'state' AS state;
-- Null is no change.
SELECT miosa_put_version('dep_1', 'ver_2', fields => '{"metadata": null, "kind": null}', release => '{"sha256": null}') = miosa_version('dep_1', 'ver_2') AS same;
SELECT miosa_put_deployment('dep_1', 'ten_1', fields => '{"name": null, "owner_id": null, "branch": null, "seq": null}') = miosa_deployment('dep_1') AS same;
-- A domain that was there first keeps its host from the managed host.
BEGIN;
SELECT miosa_put_domain('later.acme.miosa.app', 'dep_1') IS NOT NULL AS ok;
SELECT miosa_put_deployment('dep_later', 'ten_1', slug => 'later') IS NOT NULL AS ok;
SELECT deployment_id, managed FROM miosa.hosts WHERE host = 'later.acme.miosa.app';
SELECT miosa_route('later.acme.miosa.app') -> 'data' ->> 'deployment_id' AS routed;
ROLLBACK;
-- Metadata may change at any time, what identifies the version may not.
SELECT miosa_put_version('dep_1', 'ver_2', fields => '{"metadata": {"migration_compatibility": "incompatible"}}') -> 'data' -> 'metadata' AS metadata;
SELECT miosa_put_version('dep_1', 'ver_2', version_number => 9);
SELECT miosa_put_version('dep_1', 'ver_2', kind => 'dynamic');
SELECT miosa_put_version('dep_1', 'ver_2', storage_uri => 's3://bucket/3.tar');
SELECT miosa_put_version('dep_1', 'ver_2', release_id => 'rel_other');
-- Failed is final; the number is still taken.
SELECT miosa_put_version('dep_1', 'ver_3', 7, state => 'failed') -> 'data' ->> 'state' AS state;
SELECT miosa_put_version('dep_1', 'ver_3') -> 'data' ->> 'state' AS state;
SELECT miosa_put_version('dep_1', 'ver_3', state => 'ready');
SELECT miosa_put_version('dep_1', 'ver_4', 7);
SELECT miosa_put_version('dep_1', 'ver_4') -> 'data' -> 'version_number' AS number;
SELECT miosa_put_version('dep_1', 'ver_5', storage_uri => 'not a uri');
SELECT miosa_put_version('dep_1', 'ver_5', storage_uri => 's3://bucket/5', sha256 => 'abc');
SELECT miosa_put_version('dep_1', 'ver_5', state => 'done');
SELECT miosa_put_version('dep_1', 'ver_5', fields => '{"runtime_port": "http"}');
SELECT miosa_put_version('dep_1', 'ver_5', -1);
SELECT miosa_put_version('dep_9', 'ver_1');
SELECT miosa_put_version('dep_1', 'ver 5');
SELECT id, version_number, state FROM miosa.versions ORDER BY version_number;

-- Domains.
SELECT o ->> 'domain' AS domain, o ->> 'state' AS state, o ->> 'redirect_policy' AS policy
FROM (SELECT miosa_put_domain('WWW.Example.COM.', 'dep_1', redirect_policy => 'apex_to_www', fields => '{"id": "dom_1"}') -> 'data' AS o) p;
SELECT o ->> 'domain' AS domain, o ->> 'redirect_policy' AS policy, o ->> 'id' AS id
FROM (SELECT miosa_put_domain('www.example.com', 'dep_1') -> 'data' AS o) p;
-- Only a change queues work, and a host that is not routed any more is named.
SELECT miosa_put_deployment('dep_2', 'ten_1') IS NOT NULL AS ok;
BEGIN;
SELECT miosa_put_domain('www.example.com', 'dep_1') IS NOT NULL AS ok;
SELECT count(*) AS queued FROM miosa.outbox WHERE xid = pg_current_xact_id();
SELECT miosa_put_domain('new.example.com', 'dep_1') IS NOT NULL AS ok;
SELECT miosa_put_domain('later.example.com', 'dep_1', 'pending') IS NOT NULL AS ok;
SELECT miosa_put_domain('new.example.com', 'dep_2') IS NOT NULL AS ok;
SELECT miosa_put_domain('www.example.com', 'dep_1', 'verified') IS NOT NULL AS ok;
SELECT miosa_remove_domain('New.example.com') -> 'data' ->> 'state' AS state;
SELECT deployment_id, kind, host FROM miosa.outbox WHERE xid = pg_current_xact_id() ORDER BY deployment_id, route_seq;
ROLLBACK;
SELECT miosa_remove_domain('www.example.com') = miosa_remove_domain('www.example.com') AS same;
SELECT miosa_put_domain('bad host', 'dep_1');
SELECT miosa_put_domain(NULL, 'dep_1');
SELECT miosa_put_domain('a..b', 'dep_1');
SELECT miosa_put_domain('www.example.com', 'dep_9');
SELECT miosa_put_domain('www.example.com', 'dep_1', 'routed');
-- One tenant's host is not another's, nor is a managed host.
SELECT miosa_put_deployment('dep_3', 'ten_2') IS NOT NULL AS ok;
SELECT miosa_put_domain('www.example.com', 'dep_1') IS NOT NULL AS ok;
SELECT miosa_put_domain('www.example.com', 'dep_3');
SELECT miosa_put_domain('the-blog.acme.miosa.app', 'dep_3');
SELECT miosa_put_domain('www.example.com', 'dep_1', 'removed') IS NOT NULL AS ok;
SELECT miosa_put_domain('www.example.com', 'dep_3') -> 'data' ->> 'tenant_id' AS tenant;

-- Instances: heartbeats change nothing but the heartbeat.
SELECT miosa_put_deployment('dyn', 'ten_1', kind => 'dynamic', desired_replicas => 2) IS NOT NULL AS ok;
SELECT count(miosa_put_version('dyn', v, storage_uri => 's3://bucket/' || v)) FROM unnest('{one,two}'::text[]) v;
SELECT miosa_promote('dyn', 'one') -> 'data' ->> 'state' AS state;
SELECT o ->> 'state' AS state, o ->> 'ip_address' AS address, o ->> 'release_id' AS release
FROM (SELECT miosa_report_instance('dyn', 'i1', 'one', 'starting', '10.0.0.1', 80) -> 'data' AS o) p;
SELECT miosa_report_instance('dyn', 'i1', 'one', 'healthy') -> 'data' ->> 'ip_address' AS address;
SELECT state FROM miosa.deployments WHERE id = 'dyn';
SELECT miosa_report_instance('dyn', 'i2', 'one', 'healthy') IS NOT NULL AS ok;
SELECT state FROM miosa.deployments WHERE id = 'dyn';
TRUNCATE before;
INSERT INTO before SELECT to_jsonb(i) - '{last_heartbeat_at,observed_at}'::text[] FROM miosa.runtime_instances i WHERE id = 'i2';
SELECT miosa_report_instance('dyn', 'i2', 'one', 'healthy') IS NOT NULL AS ok;
SELECT to_jsonb(i) - '{last_heartbeat_at,observed_at}'::text[] = answer AS same FROM miosa.runtime_instances i, before WHERE id = 'i2';
SELECT (miosa_report_instance('dyn', 'i2', 'one', 'healthy', fields => i -> 'data') -> 'data') - 'last_heartbeat_at'::text = (i -> 'data') - 'last_heartbeat_at'::text AS same
FROM miosa_report_instance('dyn', 'i2', 'one', 'healthy') i;
-- The next version takes over when as many of its instances are healthy.
SELECT a -> 'operation' ->> 'outcome' AS outcome, a -> 'data' ->> 'state' AS state, a -> 'data' ->> 'serving_version_id' AS serving
FROM (SELECT miosa_promote('dyn', 'two') AS a) p;
SELECT miosa_report_instance('dyn', 'j1', 'two', 'healthy') IS NOT NULL AS ok;
SELECT state, serving_version_id, recent_served FROM miosa.deployments WHERE id = 'dyn';
BEGIN;
SELECT miosa_report_instance('dyn', 'j2', 'two', 'healthy') IS NOT NULL AS ok;
SELECT state, serving_version_id, recent_served FROM miosa.deployments WHERE id = 'dyn';
SELECT kind, count(*) FROM miosa.outbox WHERE xid = pg_current_xact_id() GROUP BY kind;
ROLLBACK;
-- Also when fewer are left of the old one, or fewer are wanted.
BEGIN;
SELECT miosa_report_instance('dyn', 'i2', 'one', 'failed', error_message => 'out of memory') -> 'data' ->> 'error_message' AS why;
SELECT state, serving_version_id FROM miosa.deployments WHERE id = 'dyn';
ROLLBACK;
BEGIN;
SELECT miosa_put_deployment('dyn', 'ten_1', desired_replicas => 1) -> 'data' ->> 'state' AS state;
SELECT state, serving_version_id FROM miosa.deployments WHERE id = 'dyn';
ROLLBACK;
-- Who mirrors the deployment as running does not end the waiting.
SELECT miosa_put_deployment('dyn', 'ten_1', fields => '{"state": "running"}') -> 'data' ->> 'state' AS state;
-- What is stopping never counts again.
SELECT miosa_report_instance('dyn', 'i1', 'one', 'stopping') -> 'data' ->> 'state' AS state;
SELECT miosa_report_instance('dyn', 'i1', 'one', 'healthy') -> 'data' ->> 'state' AS state;
SELECT miosa_report_instance('dyn', 'i1', 'one', 'stopped') -> 'data' ->> 'state' AS state;
SELECT miosa_report_instance('dyn', 'i1', 'three', 'healthy');
SELECT miosa_report_instance('dyn', 'i1', 'one', 'well');
SELECT miosa_report_instance('dyn', 'i1', 'one', 'healthy', port => 70000);
SELECT miosa_report_instance('nil', 'i1', 'one', 'healthy');

DROP EXTENSION miosa_rollback CASCADE;
