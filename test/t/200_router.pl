# A router of PL/Proxy in front of shards: it has the functions of the extension,
# each call runs where its deployment is, errors arrive as they were raised, and
# what concerns all shards is one answer.

use strict;
use warnings FATAL => 'all';

use Digest::SHA;
use JSON::PP qw(decode_json encode_json);
use MiosaRouter;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('all');
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1 s2));

# What an error is for a caller: SQLSTATE, message, DETAIL and HINT.
my $seen = <<'EOS';
CREATE FUNCTION seen(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN '"no error"';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN jsonb_build_array(SQLSTATE, message, detail, hint);
END $$;
EOS
$router->sql($seen);
$router->shard_sql($_, $seen) for qw(s0 s1 s2);

sub value
{
	return decode_json('[' . $router->sql("SELECT $_[0]") . ']')->[0];
}

# The script is what the catalog gives.
my $made = do
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 's0');
	qx($MiosaRouter::contrib/generate);
};
ok($made eq slurp_file("$MiosaRouter::contrib/miosa_router.sql"),
	'contrib/plproxy/miosa_router.sql is what generate makes of the extension')
  or diag 'run contrib/plproxy/generate >contrib/plproxy/miosa_router.sql';

my $signatures = <<'EOS';
SELECT string_agg(p.oid::regprocedure || ' ' || pg_get_function_arguments(p.oid) || ' ' || coalesce(pg_get_function_result(p.oid), 'procedure') || ' '
	|| ARRAY(SELECT a.grantee::regrole::text FROM aclexplode(p.proacl) a WHERE a.grantee NOT IN (0, p.proowner) ORDER BY 1)::text, E'\n'
	ORDER BY p.oid::regprocedure::text)
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'miosa\_%' AND p.proname <> 'miosa_move_deployment'
	AND p.oid IS DISTINCT FROM to_regprocedure('miosa_routes_since(jsonb, integer)')
EOS
is($router->sql($signatures), $router->shard_sql('s0', $signatures),
	'the router has every function for programs: names, arguments, defaults, results and rights');
is($router->sql("SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
	WHERE p.pronamespace IN ('public'::regnamespace, 'miosa'::regnamespace, 'miosa_shard'::regnamespace)
		AND (p.proname LIKE 'miosa\\_%' OR p.pronamespace <> 'public'::regnamespace) AND a.grantee = 0"),
	0, 'PUBLIC has none of them');

# Functions and views for people are what the reference describes.
my @described = slurp_file("$MiosaRouter::contrib/../../docs/reference.md") =~ /^### miosa\.(\w+)$/gm;
cmp_ok(scalar @described, '>', 20, 'functions and views for people');
is($router->sql("SELECT string_agg(n, ' ') FROM unnest(ARRAY['" . join("','", grep { !/^(?:render_request|stored_response|refused_address|forget_primary_site)$/ } @described) . "']) n
	WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'miosa'::regnamespace AND p.proname = n)
		AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'miosa'::regnamespace AND c.relname = n)"), '', '... are there at a router');

like(($node->psql('s0', "\\i $MiosaRouter::contrib/miosa_router.sql"))[2],
	qr/database "s0" has the extension miosa_rollback.*\n.*DETAIL.*\n.*HINT:  Create a database/,
	'a database that has the extension cannot be a router');

# The map: neither holes nor overlaps.
is($router->sql("SELECT string_agg(s.name || ' ' || n.count, ', ' ORDER BY s.number) FROM miosa_router.shards s
	JOIN (SELECT shard, count(*) FROM miosa_router.buckets GROUP BY shard) n ON n.shard = s.number"),
	's0 342, s1 341, s2 341', 'buckets are spread evenly');
like(($router->try('DELETE FROM miosa_router.buckets WHERE bucket = 7'))[2],
	qr/ERROR:  the map has holes\nDETAIL:  1 of 1024 buckets are missing, the first is 7/, 'a hole is refused');
like(($router->try('TRUNCATE miosa_router.buckets'))[2], qr/ERROR:  the map has holes/, '... also an empty map');
like(($router->try('INSERT INTO miosa_router.buckets VALUES (7, 1)'))[2],
	qr/duplicate key/, 'an overlap is refused');
like(($router->try('INSERT INTO miosa_router.buckets VALUES (1024, 1)'))[2],
	qr/violates check constraint/, 'a bucket too many is refused');
like(($router->try('UPDATE miosa_router.buckets SET shard = 9 WHERE bucket = 7'))[2],
	qr/violates foreign key/, 'a shard that does not exist is refused');
like(($router->try("DELETE FROM miosa_router.shards WHERE name = 's2'"))[2],
	qr/a shard keeps its number/, 'a shard stays');
is($router->sql("SELECT array_agg(miosa_router.bucket_of(i) ORDER BY o) FROM unnest(ARRAY['dep_1', '', 'ü', '6f1c6a3e-6f6d-4c3e-9d53-0f6f0a3c0d11']) WITH ORDINALITY u (i, o)"),
	'{' . join(',', map { hex(substr(unpack('H*', Digest::SHA::sha256($_)), 0, 4)) & 1023 } 'dep_1', '', "\xc3\xbc", '6f1c6a3e-6f6d-4c3e-9d53-0f6f0a3c0d11') . '}',
	'the bucket of an id is the lower ten bits of the first two bytes of its SHA-256');

# Deployments of every shard.
my @ids = map { "dep_$_" } 1 .. 12;
my %there;
$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");
for my $n (1 .. 12)
{
	$router->sql("SELECT miosa_put_deployment('dep_$n', 'ten_1', slug => 'shop-$n')");
	$router->sql("SELECT miosa_put_version('dep_$n', 'v$_', $_, state => 'ready')") for 1 .. 3;
	$router->sql("SELECT miosa_promote('dep_$n', 'v$_')") for 1 .. 3;
}
for my $name (qw(s0 s1 s2))
{
	my @here = split /\n/, $router->shard_sql($name, 'SELECT id FROM miosa.deployments ORDER BY id');

	$there{$_} = $name for @here;
	cmp_ok(scalar @here, '>', 0, "shard $name has deployments");
	is($router->sql("SELECT count(*) FROM unnest(ARRAY['" . join("','", @here) . "']) d
		JOIN miosa_router.all_shards() s ON s.number = miosa_router.shard_of(d) WHERE s.name <> '$name'"),
		0, '... those of its buckets');
	is($router->shard_sql($name, 'SELECT count(*) FROM miosa.tenants'), 1, '... and the tenant');
}
is(scalar keys %there, 12, 'each deployment is on one shard');

# Operations, keys, readings; ids as uuid too.
my $first = $router->sql("SELECT miosa_rollback('dep_1', idempotency_key => 'k1', reason => 'why')");
is(decode_json($first)->{operation}{target_version_id}, 'v2', 'a rollback runs on the shard of its deployment');
is($router->sql("SELECT miosa_rollback('dep_1', idempotency_key => 'k1', reason => 'why')"), $first, '... and is replayed by its key');
is($router->sql("SELECT miosa_try_rollback('dep_2', 'v9') #>> '{error,code}'"), 'VERSION_NOT_FOUND', 'the try forms return a refusal')
  or diag $router->sql("SELECT miosa_try_rollback('dep_2', 'v9')");
my $uuid = '6f1c6a3e-6f6d-4c3e-9d53-0f6f0a3c0d11';
$router->sql("SELECT miosa_put_deployment('$uuid', 'ten_1', slug => 'with-uuid')");
is($router->sql("SELECT miosa_deployment('$uuid'::uuid) #>> '{data,slug}'"), 'with-uuid', 'a uuid is on the shard of its text');
is($router->sql("SELECT count(*) FROM miosa.status('shop-3') WHERE value LIKE 'dep_3 %'"), 1, 'people name a deployment by its slug');
like($router->sql("SELECT miosa_page('shop-3')"), qr{<small><bdi>dep_3</bdi></small>}, '... also for its page');
like(($router->try('SELECT miosa_page()'))[2], qr/not there at a router.*TABLE miosa\.overview/s, 'the page of all is not there');
is($router->sql('SELECT count(DISTINCT shard) FROM miosa.overview'), $router->sql('SELECT count(*) FROM miosa_router.shards'), '... but the lines of all shards are');
like($router->sql("SELECT value FROM miosa.rollback('shop-4.acme.miosa.app') WHERE item = 'to'"), qr/^v2  v2/, '... or by a host');
is($router->sql("SELECT miosa_wait_converged('dep_4#4', '1 s')"), 'no_edges', 'an operation is where its deployment is');

# The caller's settings.
$router->sql("BEGIN; SET LOCAL miosa_rollback.actor = 'user:user_42'; SET LOCAL application_name = 'console';
	SELECT miosa_rollback('dep_5', idempotency_key => 'k5'); COMMIT");
is($router->sql("SELECT e #>> '{actor_id}' || ' ' || (e #>> '{metadata,application_name}') FROM jsonb_array_elements(miosa_audit_log('dep_5', \"limit\" => 1) -> 'data') e"),
	'user_42 console', 'the actor and the application of the session are in the audit event');

# Every condition, and errors of the server, arrive as they were raised, however the
# function answers. The conditions are those of errors.h; the reference has them and
# the router's own one.
my @conditions = slurp_file("$MiosaRouter::contrib/../../src/base/errors.h") =~ /^\tCONDITION\((\w+), "MR/gm;
my ($table) = slurp_file("$MiosaRouter::contrib/../../docs/reference.md") =~ /^## Conditions\n(.*?)^## /ms;
my %reference = $table =~ /^\| ([A-Z_]+) \| (MR\w{3}) \|/mg;
is(join(' ', sort keys %reference), join(' ', sort @conditions, 'SHARD_UNAVAILABLE'), 'the conditions of the reference are tested here');
$router->shard_sql($_, <<'EOS') for qw(s0 s1 s2);
CREATE TABLE raising (name text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	name text := (SELECT r.name FROM public.raising r);
BEGIN
	IF name = 'division' THEN
		PERFORM 1 / 0;
	ELSIF name = 'bare' THEN
		RAISE EXCEPTION USING ERRCODE = 'MR503', MESSAGE = 'a [b] REMOTE ERROR: c', DETAIL = 'Remote detail: d', HINT = 'Remote hint: e';
	ELSIF name = 'short' THEN
		RAISE EXCEPTION USING ERRCODE = 'MR409', MESSAGE = 'no more';
	ELSE
		PERFORM miosa.raise_condition(name, 'messäge of ' || name, E'What was\nseen, 100 %.', 'SELECT ''next'';');
	END IF;
	RETURN NEW;
END $$;
GRANT SELECT ON raising TO PUBLIC;
CREATE TRIGGER refuse BEFORE INSERT ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse BEFORE INSERT ON miosa.own_plans FOR EACH ROW EXECUTE FUNCTION refuse();
EOS
# A scalar, rows, a call of all shards, and one that has a key.
my @kinds = ("miosa_put_deployment('dep_1-new', 'ten_1', 'x', 'new')", "* FROM miosa.rollback('dep_1', 'v1')",
	"miosa_put_plan('new', '90 days', '1 day', '30 days')", "miosa_rollback('dep_1', 'v1', 'key-new')");
$router->sql("INSERT INTO miosa_router.deployment_overrides SELECT 'dep_1-new', miosa_router.shard_of('dep_1')");
for my $name (@conditions, 'division', 'bare', 'short')
{
	$router->shard_sql($_, "DELETE FROM raising; INSERT INTO raising VALUES ('$name')") for qw(s0 s1 s2);
	for my $gateway (0, 1)
	{
		my $call = 'BEGIN; ' . ($gateway ? "SET LOCAL request.method = 'POST'; " : '')
		  . 'SELECT jsonb_build_array(' . join(', ', map { "seen(\$s\$SELECT $_\$s\$)" } @kinds) . '); COMMIT';
		my $direct = $router->shard_sql($there{dep_1}, $call);
		my @states = $direct =~ /\["(\w{5})", /g;

		is(scalar @states, scalar @kinds, "$name is raised" . ($gateway ? ' for a gateway' : '')) or diag $direct;
		is("@states", join(' ', ($reference{$name}) x @kinds), '... with the SQLSTATE of the reference') if $reference{$name} && !$gateway;
		is($router->sql($call), $direct, '... and arrives with SQLSTATE, message, DETAIL and HINT as raised');
	}
}
$router->shard_sql($_, 'DROP FUNCTION refuse() CASCADE') for qw(s0 s1 s2);
$router->sql("UPDATE miosa_router.shards SET state = 'off' WHERE name = '$there{dep_1}'");
my $unavailable = decode_json($router->sql("SELECT seen('SELECT miosa_rollback(''dep_1'', ''v1'')')"));
is("$unavailable->[0] $unavailable->[1]", "$reference{SHARD_UNAVAILABLE} shard \"$there{dep_1}\" is unavailable", 'SHARD_UNAVAILABLE is the router\'s');
like("$unavailable->[2] $unavailable->[3]", qr/^The shard is off.* Retry with the same idempotency key.*SELECT \* FROM miosa_doctor\(\);/, '... with DETAIL and HINT');
$router->sql("UPDATE miosa_router.shards SET state = 'on'");
for my $call ("miosa_rollback('dep_1', 'v9')", "miosa_rollback('nope')", "miosa_rollback('a b')", "miosa_rollback(NULL)",
	"miosa_promote('dep_1', 'v3', automatic => true)", "miosa_rollback('dep_1', 'v1', 'k1')", "miosa_rollback('dep_1', expected_active => 'v3')",
	"miosa_set_version_state('dep_1', 'v1', 'nope')", "miosa_put_version('dep_1', 'v2', 2, fields => '{\"nope\": 1}')", "miosa.status('nope')")
{
	my $text = "SELECT seen(\$s\$SELECT * FROM $call\$s\$)";

	is($router->sql($text), $router->shard_sql($there{dep_1}, $text), "$call is refused as on the shard");
}
# The audit trail of all shards, page by page.
my ($cursor, @events) = ('NULL');
do
{
	my $page = value("miosa_audit_log(\"limit\" => 7, cursor => $cursor)");

	cmp_ok(scalar @{ $page->{data} }, '<=', 7, 'a page is not longer than its limit') if @events < 14;
	push @events, map { "$_->{created_at} $_->{id}" } @{ $page->{data} };
	$cursor = defined $page->{next_cursor} && "'$page->{next_cursor}'";
} while ($cursor);
my @all = map { split /\n/, $router->shard_sql($_, "SELECT miosa.iso(created_at) || ' ' || deployment_id || '#' || seq FROM miosa.audit_events") } qw(s0 s1 s2);
cmp_ok(scalar @all, '>', 30, 'events on three shards');
is_deeply(\@events, [ reverse sort @all ], 'pages have all events of all shards, newest first, each once');
is(value("miosa_audit_log('dep_1')")->{data}[0]{id}, 'dep_1#4', 'the trail of one deployment');
is(value('miosa_audit_verify_all()')->{data}{events}, scalar @all, 'the trail of all shards is verified');

# Fleets.
my $atomic = decode_json($router->sql(q[SELECT seen($s$SELECT miosa_rollback_many('{"ids": ["dep_6", "dep_7", "dep_8", "dep_9"]}', idempotency_key => 'it''s f1', reason => 'why')$s$)]));
is("$atomic->[0] $atomic->[1]", 'MR400 a fleet on several shards cannot be atomic', 'a fleet on several shards is not atomic');
like($atomic->[2], qr/^The selector concerns the shards s0, s1/, '... DETAIL names them');
my ($pasted) = $atomic->[3] =~ /(SELECT .*;)$/ or diag explain $atomic;
like($pasted, qr/mode => 'best_effort'.*idempotency_key => 'it''s f1'/, '... the HINT has the call that is possible, with the key');
my $done = decode_json($router->sql($pasted));
is("$done->{data}{total} $done->{data}{done}", '4 4', '... which runs as pasted');
is_deeply(decode_json($router->sql($pasted)), $done, '... and is replayed by its key');
is($router->sql("SELECT (e #>> '{metadata,reason}') FROM jsonb_array_elements(miosa_audit_log('dep_6', \"limit\" => 1) -> 'data') e"), 'why', '... with its reason');
like(($router->try(q[SELECT * FROM miosa.rollback_many('{"all": true}')]))[2],
	qr/HINT:  .*SELECT \* FROM miosa\.rollback_many\(selector => '\{"all": true\}', mode => 'best_effort', /, '... also for people');
$router->sql("SELECT miosa_release('$_'), miosa_promote('$_', 'v3')") for qw(dep_6 dep_7 dep_8 dep_9);
my $fleet = value(q[miosa_rollback_many('{"ids": ["dep_6", "dep_7", "dep_8", "dep_9"]}', mode => 'best_effort', idempotency_key => 'f1')]);
is("$fleet->{data}{total} $fleet->{data}{done} $fleet->{data}{refused}", '4 4 0', 'a fleet by ids rolls back on the shards that have them');
is_deeply([ map { $_->{deployment_id} } @{ $fleet->{data}{deployments} } ], [qw(dep_6 dep_7 dep_8 dep_9)], '... with one list');
is($router->sql(q[CALL miosa_rollback_fleet('{"ids": ["dep_10", "dep_11", "dep_12"]}', batch => 1, result => NULL)]) =~ /"done": 3/ ? 'done' : 'not',
	'done', 'the procedure too');
is(($router->sql('SELECT count(*), count(DISTINCT shard) > 1 FROM miosa.open_holds')), '10|t', 'a view has the rows of all shards, with their shard');

# Alerts go where their deployments are.
$router->sql("SELECT miosa_watch('dep_2', '1 hour'), miosa_watch('dep_3', '1 hour')");
my $now = $router->sql(q[SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')]);
my $alerts = join ',', map { encode_json({ status => 'firing', labels => { miosa_deployment => $_ }, annotations => {}, startsAt => $now,
	endsAt => '0001-01-01T00:00:00Z', fingerprint => "f-$_" }) } qw(nobody dep_3 shop-2 dep_9);
is(join(' ', map { $_->{done} } @{ value("miosa_alert('{\"version\": \"4\", \"alerts\": [$alerts]}')")->{data}{alerts} }),
	'unmatched rollback rollback notified', 'alerts roll back on several shards, and are answered in their order');

# Configuration is put on all shards, and a shard that differs is named.
$router->sql("SELECT miosa_put_plan('gold', '90 days', '1 day', '30 days'); SELECT miosa_put_secret('edge', 'one'); SELECT miosa_put_adapter('mine', copy_of => 'haproxy-map')");
$router->sql("SELECT miosa_put_endpoint('e1', 'mine', 'http://127.0.0.1:1/', secret => 'edge', enabled => false)") for 1 .. 2;
my $differ = "SELECT string_agg(item || ' ' || status, ', ') FROM miosa_doctor() WHERE item LIKE 'router: %' AND item NOT LIKE 'router: shard %' AND status <> 'ok'";
is($router->sql($differ), '', 'all shards have the same plans, tenants, adapters, endpoints, secrets and storages');
$router->shard_sql('s1', "SELECT miosa_put_secret('edge', 'two')");
$router->shard_sql('s2', "SELECT miosa_remove_plan('gold'); SELECT miosa_set_endpoint('e1', true, 'because')");
is($router->sql("SELECT string_agg(item || ': ' || regexp_replace(seen, ' [0-9a-f]{4,6}\\M', '', 'g'), E'\n' ORDER BY item) FROM miosa_doctor() WHERE item LIKE 'router: %' AND seen LIKE 'shards differ%'"),
	"router: endpoints: shards differ: e1 (s0; s1; s2)\nrouter: plans: shards differ: gold (s0; s1; s2 lacks it)\nrouter: secrets: shards differ: edge (s0; s1; s2)",
	'the doctor names what differs, and where');
$router->sql("SELECT miosa_put_plan('gold', '90 days', '1 day', '30 days'); SELECT miosa_put_secret('edge', 'two'); SELECT miosa_set_endpoint('e1', false)");
is($router->sql($differ), '', 'the calls can be repeated');
like(($router->try("SELECT miosa_remove_plan('nope')"))[2], qr/ERROR:  invalid value for argument "name": "nope"/, 'what no shard has cannot be removed');
$router->shard_sql('s0', "SELECT miosa_remove_endpoint('e1')");
$router->sql("SELECT miosa_remove_endpoint('e1')");
is($router->sql($differ), '', 'what one shard lacks is removed from the others');
# Metrics: each shard's, with its name.
is($router->sql("SELECT string_agg(DISTINCT shard, ' ' ORDER BY shard) FROM miosa.metrics WHERE name = 'miosa_preloaded' AND value = 1"),
	's0 s1 s2', 'rows of metrics have the shard');
is($router->sql("SELECT string_agg(line, ' ' ORDER BY line) FROM string_to_table(miosa_metrics(), E'\n') l (line) WHERE line ~ 'miosa_(preloaded|shard_up)'"),
	'# HELP miosa_preloaded Whether the library is preloaded; without it nothing is delivered or counted # HELP miosa_shard_up Whether the shard answers the router '
	  . '# TYPE miosa_preloaded gauge # TYPE miosa_shard_up gauge '
	  . 'miosa_preloaded{shard="s0"} 1 miosa_preloaded{shard="s1"} 1 miosa_preloaded{shard="s2"} 1 '
	  . 'miosa_shard_up{shard="s0"} 1 miosa_shard_up{shard="s1"} 1 miosa_shard_up{shard="s2"} 1',
	'and so has the text, in which each family has one head');

like($router->sql("SELECT string_agg(status || ' ' || seen, ' ') FROM miosa_doctor() WHERE item LIKE 'router: shard%'"), qr/has no site/, 'shards without a site are named');

# Another version of the extension.
$router->shard_sql('s2', "UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'miosa_rollback'");
like($router->sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'router: shard s2'"),
	qr/^fail has version 0\.9 of miosa_rollback, the router has the functions of 1\.\d/, 'the doctor names a shard of another version');

# Rights are those of the caller, there as here.
$node->safe_psql('postgres', 'CREATE ROLE regress_viewer LOGIN IN ROLE miosa_viewer; CREATE ROLE regress_nobody LOGIN');
like(($node->psql('router', "SELECT miosa_rollback('dep_1')", extra_params => [ '-U', 'regress_viewer' ]))[2], qr/permission denied for function miosa_rollback/, 'rights are the same');
like(($node->psql('router', "SELECT miosa_deployment('dep_1')", extra_params => [ '-U', 'regress_viewer' ]))[1], qr/"dep_1"/, '... a viewer reads');
like(($node->psql('router', 'TABLE miosa_router.shards', extra_params => [ '-U', 'regress_viewer' ]))[2], qr/permission denied/, '... and does not see connections');
$node->safe_psql('router', 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public, miosa_shard TO regress_nobody');
like(($node->psql('router', "SELECT miosa_deployment('dep_1')", extra_params => [ '-U', 'regress_nobody' ]))[2], qr/permission denied for function miosa_deployment/, 'a right at the router alone is none');

done_testing();
