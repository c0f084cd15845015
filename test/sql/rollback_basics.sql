-- One rollback: what it answers, what it moves, what it writes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixture.sql'
\i :fixture

-- Promise: three positional arguments are enough.
SELECT test.history('dep_1');
SELECT test.op(miosa_rollback('dep_1', 'ver_1', 'key-1'));

-- Promise: all four fields that clients check after a rollback move together.
SELECT active_version_id, active_release_id, running_artifact_sha256 = encode(sha256('1'), 'hex'), serving_version_id, state
FROM miosa.deployments WHERE id = 'dep_1';
SELECT test.count('dep_1');

-- Promise: only version and deployment, and arguments by name, work as well.
SELECT test.op(miosa_rollback('dep_1', 'ver_2'));
SELECT test.op(miosa_rollback(version_id => 'ver_1', deployment_id => 'dep_1', idempotency_key => 'key-2',
	reason => 'checkout is broken', expected_active => 'ver_2', attribution => '{"external_user_id": "u-1"}',
	cutover => 'immediate', accept_unverified => true));

-- Promise: the answer has "data" and "operation" and nothing else, and the
-- deployment in it has every field of the platform's clients, with the types
-- that the strictest of them wants.
SELECT test.history('dep_2');
UPDATE miosa.deployments SET owner_id = 'user_1', workspace_id = 'ws_1', project_id = 'prj_1',
	source_type = 'repo', auto_deploy = true, custom_domain_id = 'dom_1', linked_database_id = 'db_1',
	deployment_product = 'sites', external_workspace_id = 'ew', external_user_id = 'eu', external_project_id = 'ep',
	public_url = 'https://shop.example', auto_subdomain = 'https://dep-2.acme.miosa.app',
	metadata = '{"repo_url": "https://git.example/r", "repo_provider": "git", "branch": "main",
		"build_command": "make", "run_command": "run", "runtime_image": "img", "current_build_id": "bld_1", "own": [1]}'
	WHERE id = 'dep_2';
SELECT miosa_rollback('dep_2', 'ver_2', 'key-1') AS answer \gset
SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(:'answer'::jsonb) k;
SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_object_keys(:'answer'::jsonb -> 'operation') k;
SELECT jsonb_pretty((:'answer'::jsonb -> 'data') - 'updated_at'::text);
SELECT f AS missing FROM unnest(ARRAY['id', 'tenant_id', 'name', 'slug', 'state', 'owner_id', 'workspace_id', 'project_id',
	'repo_url', 'repo_provider', 'branch', 'build_command', 'run_command', 'runtime_image', 'current_build_id',
	'active_version_id', 'active_release_id', 'running_artifact_sha256', 'source_type', 'auto_deploy', 'custom_domain_id',
	'linked_database_id', 'deployment_product', 'metadata', 'external_workspace_id', 'external_user_id',
	'external_project_id', 'public_url', 'auto_subdomain', 'created_at', 'updated_at']) f
WHERE NOT :'answer'::jsonb -> 'data' ? f;

-- Promise: a field that was never set is null, metadata is {} and auto_deploy
-- a boolean.
SELECT key, value FROM jsonb_each(miosa_rollback('dep_1', 'ver_3') -> 'data')
WHERE key IN ('owner_id', 'branch', 'public_url', 'metadata', 'auto_deploy') ORDER BY key;

-- Promise: times are ISO 8601 in UTC with Z, whatever the session's settings.
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';
SELECT d ->> 'created_at' AS created, d ->> 'updated_at' AS updated
FROM (SELECT miosa_rollback('dep_1', 'ver_1') -> 'data' AS d) x \gset
SELECT :'created', :'updated' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$',
	:'updated'::timestamptz = updated_at FROM miosa.deployments WHERE id = 'dep_1';
RESET timezone;
RESET datestyle;

-- Promise: the audit event says what happened, who did it, why and for whom.
SELECT * FROM (SELECT deployment_id, seq, tenant_id, action, outcome, target_rule, previous_version_id, target_version_id,
	actor_type, actor_id = current_user AS me, session_user_name = session_user AS me_too, client_addr IS NULL AS local,
	idempotency_key, reason, attribution, marks FROM miosa.audit_events WHERE deployment_id = 'dep_1') a ORDER BY seq;
-- created_at rises with seq
SELECT count(*) FROM (SELECT created_at <= lag(created_at) OVER (ORDER BY seq) AS falls
	FROM miosa.audit_events WHERE deployment_id = 'dep_1') a WHERE falls;

-- Promise: attribution is the argument, else the deployment's external ids.
SELECT test.op(miosa_rollback('dep_2', 'ver_1', attribution => '{"external_user_id": "u-9", "ticket": {"id": 7}}'));
SELECT test.op(miosa_rollback('dep_2', 'ver_2', attribution => '{}'));
SELECT seq, attribution FROM miosa.audit_events WHERE deployment_id = 'dep_2' AND action = 'deployment.rollback' ORDER BY seq;

-- Promise: miosa_rollback.actor names who acts, with a type that is known, and
-- SET ROLE is seen although the functions run with their owner's rights.
CREATE ROLE regress_miosa_sre NOLOGIN;
GRANT USAGE ON SCHEMA public TO regress_miosa_sre;
GRANT EXECUTE ON FUNCTION miosa_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) TO regress_miosa_sre;
SELECT miosa_grant_tenant('regress_miosa_sre', '*', '{speak}') #>> '{data,scopes}';
SET ROLE regress_miosa_sre;
SELECT miosa_rollback('dep_1', 'ver_2') -> 'operation' ->> 'id';
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:user_01H8:x';
SELECT miosa_rollback('dep_1', 'ver_1') -> 'operation' ->> 'id';
COMMIT;
BEGIN;
SET LOCAL miosa_rollback.actor = 'api_key:key_7';
SELECT miosa_rollback('dep_1', 'ver_2') -> 'operation' ->> 'id';
COMMIT;
BEGIN;
SET LOCAL miosa_rollback.actor = 'system:autopilot';
SELECT miosa_rollback('dep_1', 'ver_1') -> 'operation' ->> 'id';
COMMIT;
BEGIN;
SET LOCAL miosa_rollback.actor = 'nobody@example.org';
SELECT miosa_rollback('dep_1', 'ver_2') -> 'operation' ->> 'id';
COMMIT;
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:';
SELECT miosa_rollback('dep_1', 'ver_1') -> 'operation' ->> 'id';
COMMIT;
RESET ROLE;
SELECT seq, actor_type, actor_id, session_user_name = session_user FROM miosa.audit_events
WHERE deployment_id = 'dep_1' AND seq > 8 ORDER BY seq;
-- Promise: no name leaks to the next client of a pooled connection.  One that
-- SET has made for the session does not count, that of the login does.
SET miosa_rollback.actor = 'user:before';
SELECT miosa_rollback('dep_1', 'ver_2') #>> '{operation,warnings,0,code}';
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:now';
SELECT miosa_rollback('dep_1', 'ver_1') -> 'operation' ->> 'id';
SAVEPOINT a;
SET miosa_rollback.actor = 'user:later';
SELECT miosa_rollback('dep_1', 'ver_2') -> 'operation' ->> 'id';
ROLLBACK TO a;
SELECT miosa_rollback('dep_1', 'ver_2') -> 'operation' ->> 'id';
COMMIT;
RESET miosa_rollback.actor;
SELECT format('ALTER ROLE %I SET miosa_rollback.actor = %L', current_user, 'user:login') AS login \gset
:login;
\c
SELECT miosa_rollback('dep_1', 'ver_1') -> 'operation' ->> 'id';
SELECT format('ALTER ROLE %I RESET miosa_rollback.actor', current_user) AS login \gset
:login;
\c
SET miosa_rollback.hold_after_rollback = off;
SELECT seq, actor_type, actor_type = 'role' OR actor_id IN ('now', 'login') AS right FROM miosa.audit_events
WHERE deployment_id = 'dep_1' AND seq > 14 ORDER BY seq;
DROP OWNED BY regress_miosa_sre;
DROP ROLE regress_miosa_sre;

-- Promise: PUBLIC may do nothing.
CREATE ROLE regress_miosa_nobody NOLOGIN;
SET ROLE regress_miosa_nobody;
SELECT miosa_rollback('dep_1', 'ver_1');
SELECT miosa_promote('dep_1', 'ver_1');
SELECT miosa_plan('dep_1');
SELECT count(*) FROM miosa.deployments;
RESET ROLE;
DROP ROLE regress_miosa_nobody;

-- Promise: the active version as target is a success that moves nothing, has
-- its event, and is sent to the edges again.
SELECT test.op(miosa_rollback('dep_2', 'ver_2'));
SELECT updated_at AS before, route_seq AS route_before FROM miosa.deployments WHERE id = 'dep_2' \gset
SELECT test.op(miosa_rollback('dep_2', 'ver_2', reason => 'the edge still shows the old one'));
SELECT updated_at = :'before', route_seq - :route_before FROM miosa.deployments WHERE id = 'dep_2';

-- Promise: what edges must receive is queued in the same transaction, one
-- route per operation; a static deployment never asks for instances.
BEGIN;
SELECT test.op(miosa_rollback('dep_2', 'ver_1'));
SELECT test.op(miosa_rollback('dep_2', 'ver_1'));
SELECT test.op(miosa_promote('dep_2', 'ver_3'));
SELECT o.kind, o.route_seq - :route_before, o.host FROM miosa.outbox o
WHERE o.deployment_id = 'dep_2' AND o.xid = pg_current_xact_id() ORDER BY o.route_seq;
ROLLBACK;

-- Promise: the last three versions that served are known, newest first.
SELECT test.history('dep_3', 5);
SELECT recent_served FROM miosa.deployments WHERE id = 'dep_3';
SELECT test.op(miosa_rollback('dep_3', 'ver_4'));
SELECT recent_served FROM miosa.deployments WHERE id = 'dep_3';
SELECT test.op(miosa_rollback('dep_3', 'ver_1'));
SELECT recent_served FROM miosa.deployments WHERE id = 'dep_3';
SELECT test.op(miosa_rollback('dep_3', 'ver_1'));
SELECT recent_served FROM miosa.deployments WHERE id = 'dep_3';

-- Promise: a rollback does not start what is stopped, and heals what failed.
UPDATE miosa.deployments SET state = 'stopped' WHERE id = 'dep_3';
SELECT test.op(miosa_rollback('dep_3', 'ver_3'));
UPDATE miosa.deployments SET state = 'failed' WHERE id = 'dep_3';
SELECT test.op(miosa_rollback('dep_3', 'ver_2'));

-- Promise: ids of every allowed form work, up to 255 characters.
SELECT repeat('d', 251) || ':._-' AS long_id, repeat('V', 255) AS long_version, repeat('k', 255) AS long_key \gset
SELECT test.deployment(:'long_id', 1);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state) VALUES (:'long_id', :'long_version', 'ten_1', 7, 'ready');
SELECT o ->> 'id' = :'long_id' || '#1', o ->> 'outcome'
FROM (SELECT miosa_rollback(:'long_id', :'long_version', :'long_key', repeat('r', 4096)) -> 'operation' AS o) x;

-- Promise: a version without a release is decided by its state alone.
SELECT active_version_id = :'long_version', active_release_id, running_artifact_sha256
FROM miosa.deployments WHERE id = :'long_id';

-- Promise: a deployment that never had an active version takes a named one.
SELECT test.deployment('dep_4', 1);
SELECT test.op(miosa_rollback('dep_4', 'ver_1'));

-- Promise: a session survives DROP and CREATE EXTENSION.
SET client_min_messages = error;
DROP EXTENSION miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
RESET client_min_messages;
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');
SELECT test.history('dep_1');
SELECT test.op(miosa_rollback('dep_1', NULL, 'key-1'));
SELECT test.op(miosa_rollback('dep_1', NULL, 'key-1'));

-- A blank reason is none
SELECT test.history('dep_blank', 2);
SELECT test.op(miosa_rollback('dep_blank', 'ver_1', reason => E' \t\n'));
SELECT reason IS NULL AS none FROM miosa.audit_events WHERE deployment_id = 'dep_blank' ORDER BY seq DESC LIMIT 1;

\i :cleanup
