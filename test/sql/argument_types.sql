-- Programs hold ids and keys as uuid, and drivers send JSON and intervals in
-- types of their own: all such calls find one function, none is ambiguous, and
-- each does what the call with text does.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS miosa_rollback CASCADE;
CREATE EXTENSION miosa_rollback;
\set dep '00000000-0000-0000-0000-0000000000d1'
\set v1 '00000000-0000-0000-0000-000000000001'
\set v2 '00000000-0000-0000-0000-000000000002'
\set key '00000000-0000-0000-0000-00000000000a'

-- Feeding with uuid
SELECT miosa_put_tenant(:'dep'::uuid, 'acme') -> 'data' ->> 'id' AS tenant;
SELECT miosa_put_deployment(:'dep'::uuid, :'dep'::uuid, 'shop') -> 'data' ->> 'id' AS deployment;
SELECT miosa_put_version(:'dep'::uuid, v::uuid, n, state => 'ready') -> 'data' ->> 'id' AS version
FROM (VALUES (:'v1', 1), (:'v2', 2)) AS i (v, n);

-- Operations: ids and key as uuid, the key also with ids as text
SELECT miosa_promote(:'dep'::uuid, :'v1'::uuid) -> 'operation' ->> 'outcome' AS outcome;
SELECT miosa_promote(:'dep'::varchar, :'v2'::varchar, :'key'::uuid, 'CI') -> 'operation' ->> 'outcome' AS outcome;
SELECT miosa_promote(:'dep', :'v2', :'key') = miosa_promote(:'dep'::uuid, :'v2'::uuid, :'key'::uuid) AS same_answer;
SELECT miosa_rollback(:'dep'::uuid, NULL, 'key-2', 'INC-7', :'v2'::uuid, json '{"ticket": 7}') -> 'operation' ->> 'outcome' AS outcome;
SELECT miosa_promote(:'dep'::varchar, :'v2'::varchar, 'key-3', 'fixed', :'v1', varchar '{"ticket": 8}') -> 'operation' ->> 'outcome' AS outcome;
SELECT miosa_rollback(:'dep', :'v1', 'key-4', NULL, NULL, '{"ticket": 9}') -> 'operation' ->> 'outcome' AS outcome;
SELECT miosa_rollback(:'dep', :'v1', 'key-5', NULL, NULL, text 'no JSON');
SELECT seq, idempotency_key, reason, attribution FROM miosa.audit_events ORDER BY seq;

-- Reading and waiting
SELECT miosa_deployment(:'dep'::uuid) -> 'data' ->> 'active_version_id' AS active;
SELECT jsonb_array_length(miosa_audit_log(:'dep'::uuid) -> 'data') AS events;
SELECT miosa_plan(:'dep'::uuid, :'v2'::uuid) -> 'data' ->> 'outcome' AS outcome;
SELECT miosa_wait_converged(:'dep'::uuid, varchar '0 s') = miosa_wait_converged(:'dep', '0 s') AS same;
SELECT miosa_wait_converged(:'dep', text 'soon');

-- What drivers prepare: parameters without a type are text
PREPARE without_type AS SELECT miosa_rollback($1, $2, $3);
PREPARE all_without_type AS SELECT miosa_rollback($1, $2, $3, $4, $5, $6, $7, $8);
PREPARE by_name AS SELECT miosa_promote(deployment_id => $1, version_id => $2, idempotency_key => $3, attribution => $4);
PREPARE wait AS SELECT miosa_wait_converged($1), miosa_wait_converged($1, '1 s');
PREPARE events AS SELECT miosa_audit_log(), miosa_audit_log($1), miosa_audit_log(action => 'deployment.rollback');
PREPARE numbers (smallint, int, int) AS SELECT miosa_routes_since($1), miosa_versions('dep', NULL, $2), miosa_routes_since($3);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;

-- A gateway that knows only the names of the arguments finds one function: the
-- one with text and an overload of it never take the same names.
WITH functions AS (
	SELECT p.oid::regprocedure AS function, p.proname, p.proargnames[:p.pronargs] AS all_names,
		p.proargnames[:p.pronargs - p.pronargdefaults] AS required
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	WHERE p.proname LIKE 'miosa\_%' AND p.pronamespace <> 'miosa'::regnamespace)
SELECT t.function, o.function AS taken_for
FROM functions t JOIN functions o ON o.proname = t.proname AND o.function <> t.function
	AND o.required <@ t.all_names AND t.required <@ o.all_names
WHERE NOT t.all_names && ARRAY['deployment', 'operation', 'uuid'];

-- A role that may call the function with text may call the others, and no other
-- role may.
SELECT p.proname, count(DISTINCT p.proacl::text) AS different_rights
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE p.proname LIKE 'miosa\_%' AND p.pronamespace <> 'miosa'::regnamespace
GROUP BY p.proname HAVING count(DISTINCT p.proacl::text) > 1;
DROP EXTENSION miosa_rollback CASCADE;
