# Tenants behind a router: with miosa_rollback.tenancy = enforced on the shards,
# another tenant's rows do not exist for a tenant's role, nor for a gateway's
# claims, whichever function or view of the router is called. The calls are
# generated from its catalog, so that a new function, a new argument and a new
# view are covered.

use strict;
use warnings FATAL => 'all';

use MiosaRouter;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('all');
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));

# The caller has every right but to act for all tenants; nobody has no membership.
$node->safe_psql('postgres', <<'EOS');
CREATE ROLE regress_tenant LOGIN;
CREATE ROLE regress_stranger LOGIN;
CREATE ROLE regress_gateway LOGIN;
CREATE ROLE regress_mover LOGIN;
DO $$
DECLARE
	r name;
BEGIN
	FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'miosa\_%' AND rolname NOT IN ('miosa_all_tenants', 'miosa_owner', 'miosa_mover') AND NOT rolcanlogin LOOP
		EXECUTE format('GRANT %I TO regress_tenant, regress_stranger, regress_gateway', r);
	END LOOP;
END $$;
GRANT miosa_mover TO regress_mover;
EOS

# Each name of the other tenant's has "foreign" in it, and is as long as the name
# of something that does not exist, with "nothere" in it. Its deployments are on a
# shard with some of the caller's, and on one without; what does not exist would
# be there as well.
my @foreign = qw(dep_foreign dep-foreign-too shop-foreign www.foreign.example.com shop-foreign.foreign.miosa.app ver_foreign_1 ten_foreign
  edge-foreign foreign s3://foreign/);
for my $name (@foreign)
{
	my $number = $name eq 'dep-foreign-too' ? 0 : 1;

	$router->sql("INSERT INTO miosa_router.deployment_overrides (deployment_id, shard) VALUES ('$_', $number)") for $name, $name =~ s/foreign/nothere/gr;
}
$router->sql("INSERT INTO miosa_router.deployment_overrides (deployment_id, shard) VALUES ('dep_own', 0), ('dep_own_2', 0)");
$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_tenant('ten_foreign', 'foreign')");
$router->sql("SELECT miosa_grant_tenant('regress_tenant', 'ten_1', '{read,rollback,deploy,report}'), miosa_grant_tenant('miosa_operator', 'ten_foreign', '{speak}')");
for my $deployment ([qw(dep_own ten_1 ver_own shop-own)], [qw(dep_foreign ten_foreign ver_foreign shop-foreign)],
	[qw(dep-foreign-too ten_foreign ver_foreign too-foreign)])
{
	my ($id, $tenant, $version, $slug) = @$deployment;

	$router->sql("SELECT miosa_put_deployment('$id', '$tenant', 'name of $slug', '$slug')");
	$router->sql("SELECT miosa_put_version('$id', '${version}_$_', $_, state => 'ready', storage_uri => 's3://$slug/$_');
		SELECT miosa_promote('$id', '${version}_$_', 'key-$slug-$_', 'the reason of $slug')") for 1 .. 3;
	$router->sql("SELECT miosa_rollback('$id', reason => 'hold of $slug')");
}
$router->sql("SELECT miosa_put_domain('www.own.example.com', 'dep_own'), miosa_put_domain('www.foreign.example.com', 'dep_foreign'),
	miosa_put_domain('*.foreign.example.com', 'dep_foreign')");
$router->sql("SELECT miosa_put_endpoint('edge-foreign', 'webhook', 'http://foreign.example.com', enabled => false, selector => '{\"tenant\": \"ten_foreign\"}'),
	miosa_put_storage('s3://foreign/', 'https://foreign.example.com'), miosa_put_secret('foreign', 'foreign'),
	miosa_put_freeze('fz-foreign', now() + '2 days', now() + '1 day', tenant_id => 'ten_foreign'),
	miosa_put_schema('foreign', tenant_id => 'ten_foreign'), miosa_report_schema('foreign', 1, tenant_id => 'ten_foreign')");
$router->shard_sql('s1', "INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, address)
	VALUES ('dep_foreign', 'inst_foreign', 'ten_foreign', 'ver_foreign_3', 'starting', 'foreign.internal');
	INSERT INTO miosa_shard.parcels VALUES ('dep_foreign_moved', '{\"foreign\": 1}')");
$router->sql("INSERT INTO miosa_router.moves (deployment_id, source, target, number) VALUES ('dep_foreign_moved', 1, 0, 1)");

# How often each shard is asked. What is asked in vain counts as well.
$router->shard_sql($_, <<'EOS') for qw(s0 s1);
CREATE SEQUENCE public.asked;
GRANT UPDATE ON public.asked TO PUBLIC;
ALTER FUNCTION miosa_shard.adopt(text[]) RENAME TO adopt_uncounted;
CREATE FUNCTION miosa_shard.adopt(context text[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	PERFORM nextval('public.asked');
	RETURN miosa_shard.adopt_uncounted(context);
END $$;
EOS

$router->sql(<<'EOS');
CREATE SCHEMA test;
CREATE FUNCTION test.asked(shard integer) RETURNS bigint LANGUAGE plproxy AS $$
	CLUSTER 'miosa';
	RUN ON $1;
	SELECT last_value FROM public.asked;
$$;
-- What stands for an argument that does not vary, by its name, else by its type.
CREATE FUNCTION test.usual(name text, type text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE
		WHEN type = 'text' THEN quote_nullable(CASE
			WHEN name IN ('deployment_id', 'deployment', 'deployment_or_operation', 'deployment_or_fleet', 'id', 'operation', 'to_deployment_id') THEN 'dep_foreign'
			WHEN name IN ('version_id', 'version', 'expected_active') THEN 'ver_foreign_1'
			WHEN name = 'tenant_id' THEN 'ten_foreign'
			WHEN name IN ('fqdn', 'host') THEN 'www.foreign.example.com'
			WHEN name = 'idempotency_key' THEN 'key-foreign-1'
			WHEN name = 'state' THEN 'ready'
			WHEN name = 'role_name' THEN 'regress_stranger'
			WHEN name IN ('name', 'endpoint') THEN 'edge-foreign' END)
		WHEN type = 'text[]' THEN '''{read}''::text[]'
		WHEN type = 'integer' THEN '10'
		WHEN type = 'bigint' THEN '0'
		WHEN type = 'boolean' THEN 'false'
		WHEN type = 'jsonb' AND name = 'selector' THEN '''{"ids": ["dep_foreign"]}''::jsonb'
		WHEN type = 'jsonb' AND name = 'payload' THEN '''{"alerts": [{"status": "firing", "labels": {"miosa_deployment": "dep_foreign"}, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": "1"}]}''::jsonb'
		WHEN type = 'jsonb' THEN '''{}''::jsonb'
		WHEN type = 'interval' THEN '''0 s''::interval'
		ELSE 'NULL::' || type END $$;
-- Every function and procedure of the router that has the extension's names; those
-- of uuid, json and the like call the same ones.
CREATE FUNCTION test.routines(role name) RETURNS TABLE (oid oid, call text) LANGUAGE sql AS $$
	SELECT p.oid, CASE p.prokind WHEN 'p' THEN 'CALL %s' ELSE 'SELECT string_agg(t::text, E''\n'') FROM %s t' END
	FROM pg_proc p
	WHERE obj_description(p.oid, 'pg_proc') LIKE '%[router]' AND has_function_privilege(role, p.oid, 'EXECUTE')
		AND NOT p.proargtypes::oid[] && ARRAY['uuid'::regtype, 'json'::regtype]::oid[] $$;
CREATE FUNCTION test.calls(role name, names text[]) RETURNS SETOF text LANGUAGE sql AS $$
	WITH arguments AS MATERIALIZED (
		SELECT p.oid, a.n, a.name, format_type(a.type, NULL) AS type
		FROM pg_proc p CROSS JOIN LATERAL unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY a (name, type, n)
		WHERE p.oid IN (SELECT r.oid FROM test.routines(role) r))
	SELECT DISTINCT format(r.call, format('%s(%s)', p.oid::regproc, (
			SELECT string_agg(CASE WHEN a.n = v.n THEN quote_literal(v.value) ELSE test.usual(a.name, a.type) END, ', ' ORDER BY a.n)
			FROM arguments a WHERE a.oid = p.oid)))
	FROM test.routines(role) r JOIN pg_proc p ON p.oid = r.oid
	CROSS JOIN LATERAL (
		SELECT NULL::bigint AS n, NULL::text AS value
		UNION ALL
		SELECT a.n, m.value FROM arguments a CROSS JOIN unnest(names) m (value) WHERE a.oid = p.oid AND a.type = 'text') v $$;
-- What one call says, in every field, with times blotted out; and how often it has
-- asked shards.
CREATE FUNCTION test.say(role name, call text, with_count boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before bigint := test.asked(0) + test.asked(1);
	result text;
	message text;
	detail text;
	hint text;
BEGIN
	BEGIN
		EXECUTE format('SET LOCAL ROLE %I', role);
		IF call LIKE 'CALL %' THEN
			EXECUTE call;
		ELSE
			EXECUTE call INTO result;
		END IF;
		SET LOCAL ROLE NONE;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		result := concat_ws(E'\n', SQLSTATE, message, detail, hint);
	END;
	result := regexp_replace(result, '\m([0-9]+|<1) (s|min|h)\M|"age_seconds": [0-9.]+', '<age>', 'g');
	result := regexp_replace(result, '<text class="in"[^>]*>[^<]*</text>|\m(x|width)="[0-9.]+"', '', 'g');
	result := regexp_replace(result, '\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?', '<time>', 'g');
	RETURN result || CASE WHEN with_count THEN format(E'\nasked %s times', test.asked(0) + test.asked(1) - before) ELSE '' END;
END $$;
-- Calls that say something else about what is foreign than about what does not
-- exist.
CREATE FUNCTION test.differences(role name, names text[], OUT function text, OUT difference text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT substring(c FROM '(?:FROM|CALL) ([a-z_.]+)\('), format(E'%s\n  foreign: %s\n  nothere: %s', c, s.one, s.other)
	FROM (SELECT c FROM test.calls(role, names) c WHERE c ~ 'foreign' OFFSET 0) c
	CROSS JOIN LATERAL (SELECT replace(test.say(role, c, true), 'foreign', 'nothere') AS one, test.say(role, replace(c, 'foreign', 'nothere'), true) AS other OFFSET 0) s
	WHERE s.one IS DISTINCT FROM s.other ORDER BY c COLLATE "C" $$;
-- What all calls that name nothing foreign say about it, and all views.
CREATE FUNCTION test.shown(role name) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT c || E'\n' || s.said FROM (
		SELECT c FROM test.calls(role, '{}') c WHERE c !~ 'foreign'
		UNION ALL SELECT format('SELECT string_agg(t::text, E''\n'') FROM miosa.%I t', v.viewname) FROM pg_views v WHERE v.schemaname = 'miosa' ORDER BY 1) c
	CROSS JOIN LATERAL (SELECT test.say(role, c, false) AS said OFFSET 0) s
	WHERE replace(s.said, 'foreign_grants', '') ~ '(?<!key-)foreign' $$;
EOS

sub differences
{
	my ($role, $claims, @names) = @_;

	return $router->sql("SELECT set_config('request.jwt.claims', '$claims', false) \\g /dev/null
SELECT count(*) FROM test.calls('$role', '{}') \\g /dev/null
SELECT function, difference FROM test.differences('$role', '{" . join(',', map { "\"$_\"" } @names) . "}')");
}

sub shown
{
	my ($role, $claims) = @_;

	return $router->sql("SELECT set_config('request.jwt.claims', '$claims', false) \\g /dev/null
SELECT * FROM test.shown('$role')");
}

# Mode single: the role sees all, so the test can tell. What it changes stays, so
# only what reads.
my @told = split /\n/, $router->sql("SELECT c FROM test.calls('regress_tenant', '{dep_foreign}') c WHERE c ~ '''dep_foreign' AND c ~ 'miosa_(deployment|plan|versions|audit_log|convergence|report|timeline|audit_verify)\\(|miosa.(status|history|candidates|verdict)\\('");
cmp_ok(scalar @told, '>', 10, 'calls that read');
my $reads = $router->sql("SELECT count(*) FROM unnest(ARRAY[" . join(',', map { "\$c\$$_\$c\$" } @told) . "]) c
	WHERE replace(test.say('regress_tenant', c, false), 'foreign', 'nothere') <> test.say('regress_tenant', replace(c, 'foreign', 'nothere'), false)");
cmp_ok($reads, '>', 10, 'with tenancy off they say that a deployment exists');
my @seen = shown('regress_tenant', '') =~ /^SELECT [^\n]* FROM ([\w."]+)/mg;
cmp_ok(scalar @seen, '>', 10, '... and so do views and functions without arguments');

$node->safe_psql('postgres', "ALTER SYSTEM SET miosa_rollback.tenancy = 'enforced'");
$node->safe_psql('postgres', "ALTER SYSTEM SET miosa_rollback.trusted_gateways = 'regress_gateway'");
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
for my $name (qw(s0 s1))
{
	$node->poll_query_until($name, "SELECT current_setting('miosa_rollback.tenancy') = 'enforced' AND current_setting('miosa_rollback.trusted_gateways') <> ''");
}
# New connections: what has been read in mode single is read again.
$router->sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");

is(differences('regress_tenant', '', qw(dep_foreign www.foreign.example.com shop-foreign)), '',
	'no function says anything else about what is foreign than about what does not exist, or asks more');
is(shown('regress_tenant', ''), '', 'no view and no function without arguments shows anything foreign');
is($router->sql("SET ROLE regress_tenant; SELECT string_agg(deployment_id, ' ') FROM miosa.routes"), 'dep_own', '... but what is its own');
is(shown('regress_stranger', ''), '', '... nor to a role without a tenant');
is($router->sql("SET ROLE regress_stranger; SELECT count(*) FROM miosa.routes"), 0, '... which has none');

# A gateway's claims.
my $claims = '{"tenant_id": "ten_1", "scopes": ["deployments:read", "deployments:write"], "sub": "user_1"}';
is(differences('regress_gateway', $claims), '',
	'by a gateway\'s claims no function says anything else about what is foreign');
is(shown('regress_gateway', $claims), '', '... and no view shows it');
is($router->sql("SELECT set_config('request.jwt.claims', '$claims', false) \\g /dev/null
SET ROLE regress_gateway; SELECT string_agg(deployment_id, ' ') FROM miosa.routes"), 'dep_own', '... but what is the claimed tenant\'s');
is($router->sql("SELECT set_config('request.jwt.claims', '{\"tenant_id\": \"ten_foreign\", \"scopes\": [\"deployments:read\"]}', false) \\g /dev/null
SET ROLE regress_gateway; SELECT string_agg(DISTINCT deployment_id, ' ' ORDER BY deployment_id) FROM miosa.routes"), 'dep-foreign-too dep_foreign', '... whose ever it is');
is($router->sql("SELECT set_config('request.jwt.claims', '{\"tenant_id\": \"ten_foreign\", \"scopes\": [\"deployments:read\"]}', false) \\g /dev/null
SET ROLE regress_tenant; SELECT string_agg(deployment_id, ' ') FROM miosa.routes"), 'dep_own', 'claims of a role that is no gateway do not count');
is($router->sql("SELECT set_config('request.jwt.claims', '$claims', false) \\g /dev/null
SET ROLE regress_gateway; SELECT miosa_rollback('dep_own', 'ver_own_1', 'key-1') #>> '{operation,outcome}'"), 'changed', 'it rolls back its own');

# The router's and the shards' own functions, called by themselves.
my %own = (
	"miosa_shard.named('shop-foreign', NULL, 1)" => '{}',
	"miosa_shard.host_deployment('www.foreign.example.com', NULL, s)" => '',
	"miosa_shard.sees_host('www.foreign.example.com', NULL, 1)" => 'false',
	"(SELECT string_agg(l.id, ' ') FROM miosa_shard.deployment_list('', 1) l (id))" => '',
	"(SELECT string_agg(l.host, ' ') FROM miosa_shard.host_list('', 1) l)" => '',
	"miosa_shard.identity(NULL, 1)::text ~ 'foreign'" => 'false',
	"coalesce(miosa_shard.claim_host('www.foreign.example.com', 'dep_own', NULL, s)::text, '') ~ 'dep_foreign'" => 'false');
for my $call (sort keys %own)
{
	is($router->sql("SET ROLE regress_tenant; SELECT string_agg(t, '') FROM (SELECT DISTINCT ($call)::text AS t FROM generate_series(0, 1) s) t (t)"), $own{$call}, "$call says nothing");
}
for my $call ((map { "miosa_shard.move_step('$_', 'dep_foreign', 1, '{}', NULL, 1)" } qw(arrival take parcel put drop close list set_aside unsettled)),
	"miosa_shard.moves_seen('{dep_foreign}', NULL, 1)", "miosa_router.judge_copies('dep_foreign')",
	"miosa_shard.maintained(now(), 1, NULL, 1)")
{
	like(($router->try("SET ROLE regress_tenant; SELECT $call"))[2], qr/ERROR:.*permission denied.*\n.*It concerns all tenants/, "$call is refused");
}

# The map concerns all tenants.
my $map = 'SELECT md5(array_agg(t ORDER BY t)::text) FROM (SELECT o::text FROM miosa_router.deployment_overrides o
	UNION ALL SELECT m::text FROM miosa_router.moves m UNION ALL SELECT b::text FROM miosa_router.buckets b UNION ALL SELECT b::text FROM miosa_router.bucket_moves b) t (t)';
my $before = $router->sql($map);
for my $call ("CALL miosa_move_deployment('dep_foreign', 's0')", "SELECT miosa_router.open_move('dep_foreign', 1, 0, 1)",
	"SELECT miosa_router.place('dep_foreign', 0)", "SELECT miosa_router.end_move('dep_foreign_moved', 1, 0)",
	"SELECT miosa_router.cancel_move('dep_foreign_moved', 1)", 'SELECT miosa_router.begin_bucket(1, 0)',
	"SELECT miosa_router.switch_bucket(1, 1, 0, '[]')", 'SELECT miosa_router.end_bucket(1)', 'SELECT miosa_router.clean_overrides()',
	'CALL miosa_router.rebalance()', "CALL miosa_router.move_buckets('{1}', 's0')", 'CALL miosa_router.resolve_misplaced()')
{
	like(($router->try("SET ROLE regress_tenant; $call"))[2], qr/ERROR:  permission denied for (function|procedure)/, "a tenant's administrator changes no map: $call");
}
is($router->sql($map), $before, '... indeed');
is($router->sql(q{SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p WHERE p.pronamespace = 'miosa_router'::regnamespace
	AND p.prosecdef AND p.provolatile = 'v' AND p.proname <> 'raise_down' AND has_function_privilege('regress_tenant', p.oid, 'EXECUTE')}), '', '... whatever function of the router\'s writes');
like(($router->try("SET ROLE regress_mover; CALL miosa_move_deployment('dep_foreign', 's0')"))[2],
	qr/ERROR:  permission denied for function miosa_move_deployment\nDETAIL:  It concerns all tenants/, 'who may change it has to act for all tenants, too');
is($router->sql($map), $before, '... or nothing is changed');

# A tenant that takes away an entry of the directory gets no host by that.
$router->sql("SET ROLE regress_tenant; SELECT miosa_shard.release_host('www.foreign.example.com', NULL, s) FROM generate_series(0, 1) s");
like(($router->try("SET ROLE regress_tenant; SELECT miosa_put_domain('www.foreign.example.com', 'dep_own')"))[2],
	qr/ERROR:  host "www\.foreign\.example\.com" is taken/, 'a host is taken while a shard has it, whatever the directory says');

done_testing();
