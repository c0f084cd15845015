# Calls of all shards at a router, with four of them on two servers: pages and
# views have every row once, in one order, also for events of the same moment,
# while events are written, and around a shard that is down; changes of all shards
# are repeated until all are equal; maintenance, artifacts and routes of all; and
# what is not there says so.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use JSON::PP qw(decode_json);
use MiosaRouter;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $settings = "max_worker_processes = 16\nmiosa_rollback.artifact_max_age = '1 h'\n";
my $here = make_node('here', $settings);
my $there = make_node('there', $settings);
my @names = qw(s0 s1 s2 s3);
my %at = (s0 => $here, s1 => $there, s2 => $here, s3 => $there);
my $router = MiosaRouter->new($here, map { [ $_ => $at{$_} ] } @names);
my %ids = map { my $name = $_; $name => [ map { $router->here($name, $_) } 1 .. 3 ] } @names;
my @all = map { @{ $ids{$_} } } @names;

sub slug { return 'slug-' . $_[0] =~ s/_/-/r; }

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'), miosa_put_tenant('ten_2', 'other')");
for my $id (@all)
{
	$router->sql("SELECT miosa_put_deployment('$id', 'ten_1', slug => '@{[ slug($id) ]}')");
	$router->sql("SELECT miosa_put_version('$id', 'v$_', $_, state => 'ready'); SELECT miosa_promote('$id', 'v$_')") for 1 .. 3;
	$router->sql("SELECT miosa_rollback('$id', reason => 'why'), miosa_put_domain('@{[ slug($id) ]}.test', '$id')");
}

sub value
{
	return decode_json($router->sql("SELECT $_[0]"));
}

sub messages { return ($router->try($_[0]))[2]; }

# All pages of the audit trail from a place on, and what each says is missing.
sub pages
{
	my ($limit, $cursor, $between) = @_;
	my (@events, @missing);

	do
	{
		my $page = value("miosa_audit_log(tenant_id => 'ten_1', \"limit\" => $limit" . (defined $cursor ? ", cursor => '$cursor'" : '') . ')');

		push @events, map { $_->{id} } @{ $page->{data} };
		push @missing, join ' ', @{ $page->{unavailable_shards} // [] };
		$cursor = $page->{next_cursor};
		$between->($cursor) if $between;
	} while (defined $cursor);
	return (\@events, \@missing);
}

# Events of four moments only, so that most of all shards tie.
for my $name (@names)
{
	$router->shard_sql($name, <<'EOS');
DO $$
DECLARE
	always name[] := ARRAY(SELECT t.tgname FROM pg_trigger t WHERE t.tgrelid = 'miosa.audit_events'::regclass AND t.tgenabled = 'A');
	trigger name;
BEGIN
	ALTER TABLE miosa.audit_events DISABLE TRIGGER ALL;
	UPDATE miosa.audit_events SET created_at = timestamptz '2026-01-01 00:00:00+00' + seq * interval '1 s';
	ALTER TABLE miosa.audit_events ENABLE TRIGGER ALL;
	FOREACH trigger IN ARRAY always LOOP
		EXECUTE format('ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER %I', trigger);
	END LOOP;
END $$;
EOS
}
my $listed = 'SELECT created_at || \' \' || deployment_id || \'#\' || seq FROM miosa.audit_events';
my @expected = map { s/^.* //r } reverse sort map { split /\n/, $router->shard_sql($_, "SET timezone = 'UTC'; $listed") } @names;
is(scalar @expected, 48, 'events of four moments');
for my $limit (1, 7, 200)
{
	my ($events, $missing) = pages($limit);

	is_deeply($events, \@expected, "pages of $limit have all events of all shards, newest first, each once");
}
like(messages('SELECT miosa_audit_log("limit" => 1000)'), qr/ERROR:  invalid value for argument "limit": "1000"/, 'a page is as long as a shard gives');

# While events are written: each page goes on where the last one ended.
my $written = 0;
my ($events) = pages(5, undef, sub { $router->sql("SELECT miosa_promote('$all[ $written++ % 12 ]', 'v3', 'w$written')") });
is_deeply([ grep { !/#[5-9]/ } @$events ], \@expected, 'events that are written meanwhile neither move nor hide others');

# Two shards are down from the third page to the sixth.
my ($number, @places) = (0);
my ($seen, $missing) = pages(3, undef, sub {
	$number++;
	push @places, $_[0];
	$there->stop('immediate') if $number == 2;
	$there->start if $number == 6;
});
is(join(',', @$missing[ 0 .. 6 ]), ',,s1 s3,s1 s3,s1 s3,s1 s3,', 'each page says which shards are missing in it');
my %seen;
$seen{$_}++ for @$seen;
is(scalar(grep { $_ > 1 } values %seen), 0, '... no event is there twice');
is_deeply([ grep { $seen{$_} } @expected ], [ grep { !/#[5-9]/ } @$seen ], '... and what is there is in order');
my ($again) = pages(3, $places[1]);
my ($before) = pages(3);
is_deeply($again, [ @$before[ 6 .. $#$before ] ], 'read again from the last place that was whole, nothing is missing');

# Other lists in the order of time.
for my $limit (1, 7, 200)
{
	my $log = value("miosa_configuration_log(\"limit\" => $limit)")->{data};
	my @of = map { my $name = $_; map { { %$_, shard => $name } } @{ decode_json($router->shard_sql($name, 'SELECT miosa_configuration_log("limit" => 200)'))->{data} } } @names;
	my @sorted = sort { $b->{created_at} cmp $a->{created_at} || $b->{seq} <=> $a->{seq} || $a->{shard} cmp $b->{shard} } @of;

	is_deeply($log, [ @sorted[ 0 .. ($limit < @sorted ? $limit : scalar @sorted) - 1 ] ], "the $limit newest events of the configuration");
}
is($router->sql("SELECT string_agg(op, ' ') FROM miosa.history('@{[ slug($ids{s3}[0]) ]}', 2)"), $router->shard_sql('s3', "SELECT string_agg(op, ' ') FROM miosa.history('@{[ slug($ids{s3}[0]) ]}', 2)"),
	'the history of a deployment is that of its shard');
is($router->sql("SELECT string_agg(c::text, ' ') FROM miosa.candidates('@{[ slug($ids{s3}[0]) ]}') c"), $router->shard_sql('s3', "SELECT string_agg(c::text, ' ') FROM miosa.candidates('@{[ slug($ids{s3}[0]) ]}') c"),
	'... and so are its candidates');
is(value('miosa_plan_many(\'{"all": true}\')')->{data}{total}, 12, 'a plan of all has the deployments of all');
is(value('miosa_rollback_many(\'{"all": true}\', mode => \'best_effort\', idempotency_key => \'f1\')')->{data}{total}, 12, '... and so has a fleet');

# Views: the rows of each shard, with its name. What counts and measures goes on
# meanwhile, and is compared by the number of rows.
my @views = split /\n/, $router->sql("SELECT viewname FROM pg_views WHERE schemaname = 'miosa' ORDER BY 1");
cmp_ok(scalar @views, '>', 14, 'views');
$router->sql("SELECT miosa_put_freeze('f1', now() + '2 days'::interval, now() - '1 day'::interval, '{\"ids\": [\"nobody\"]}'), miosa_put_endpoint('e1', 'webhook', 'http://127.0.0.1:1/', enabled => false)");
my $full = 0;
for my $view (@views)
{
	my $what = $view =~ /^(?:stat_|progress|overdue|live_|metrics)/ ? 'count(*)::text' : "coalesce(string_agg((to_jsonb(t) - '{shard,age}'::text[])::text, E'\\n' ORDER BY (to_jsonb(t) - '{shard,age}'::text[])::text COLLATE \"C\"), '')";

	for my $name (@names)
	{
		my $direct = $router->shard_sql($name, "SELECT $what FROM miosa.$view t");

		$full++ if $direct !~ /^0?$/;
		is($router->sql("SELECT $what FROM miosa.$view t WHERE shard = '$name'"), $direct, "view $view has the rows of $name");
	}
}
cmp_ok($full, '>', 30, 'most of them have rows');

# One server down: every view and every list has the rest, and says what is missing.
$there->stop('immediate');
for my $view (@views)
{
	like(messages("SELECT count(*) FROM miosa.$view"), qr/WARNING:  shards that are unavailable are missing here: s1, s3/, "view $view says which shards are missing");
}
for my $call ('miosa_audit_log()', 'miosa_configuration_log()', 'miosa_audit_head()', 'miosa_audit_verify_all()', 'miosa_plan_many(\'{"all": true}\')',
	'miosa_routes_since(epochs => \'{}\')')
{
	is_deeply(value($call)->{unavailable_shards}, [qw(s1 s3)], "$call names the shards that are missing");
}
for my $call ('miosa_collect()', 'miosa_purge_expired()', 'miosa.plan_many(\'{"all": true}\')')
{
	like(messages("SELECT * FROM $call"), qr/WARNING:  shards that are unavailable are missing here: s1, s3/, "$call says which shards are missing");
}
is($router->sql("SELECT string_agg(item || ' ' || status, ', ') FROM miosa_doctor() WHERE item ~ '^router: shard s[13]'"), 'router: shard s1 fail, router: shard s3 fail', 'the doctor too');

# What all shards have alike, each kind with shards down in the middle, and
# repeated.
my %kind = (
	plans => ["miosa_put_plan('k', '90 days', '1 day', '30 days')", "miosa_remove_plan('k')"],
	tenants => ["miosa_put_tenant('k', 'k')", "miosa_remove_tenant('k')"],
	members => ["miosa_grant_tenant('miosa_viewer', 'ten_2', '{read}')", "miosa_revoke_tenant('miosa_viewer', 'ten_2')"],
	adapters => ["miosa_put_adapter('k', '{\"marker_interval\": \"7 s\"}', 'haproxy-map')", "miosa_remove_adapter('k')"],
	endpoints => ["miosa_put_endpoint('k', 'webhook', 'http://127.0.0.1:1/', enabled => false)", "miosa_remove_endpoint('k')"],
	secrets => ["miosa_put_secret('k', 'the secret')", "miosa_remove_secret('k')"],
	storages => ["miosa_put_storage('s3://kkk/', 'http://127.0.0.1:1')", "miosa_remove_storage('s3://kkk/')"],
	schemas => ["miosa_put_schema('k')", "miosa_remove_schema('k')"],
	freezes => ["miosa_put_freeze('k', '2100-01-02', '2100-01-01')", "miosa_remove_freeze('k')"]);
my $states = "SELECT string_agg(item || ' ' || status, ', ' ORDER BY item) FROM miosa_doctor() WHERE item ~ '^router: (plans|tenants|members|adapters|endpoints|secrets|storages|schemas|freezes)\$' AND status <> 'ok'";

for my $turn (0, 1)
{
	my $what = $turn ? 'removed' : 'put';

	for my $kind (sort keys %kind)
	{
		my $text = messages("SELECT $kind{$kind}[$turn]");

		like($text, qr/ERROR:  shards are unavailable: s1, s3\nDETAIL:  It is done on shards: s0, s2\.\nHINT:  Repeat the call/, "$kind: not $what everywhere");
	}
	$there->start;
	is($router->sql($states), join(', ', map { "router: $_ fail" } sort keys %kind), 'the doctor sees what differs');
	for my $kind (sort keys %kind)
	{
		my ($seen, $fix) = split /\|/, $router->sql("SELECT seen, fix FROM miosa_doctor() WHERE item = 'router: $kind'");

		like($seen, $turn ? qr/s0 lacks it; s1 \w+; s2 lacks it; s3 \w+/ : qr/s0 \w+; s1 lacks it; s2 \w+; s3 lacks it/, "$kind: ... and where");
		like($fix, qr/^Repeat the call that puts it, here, or remove it: SELECT miosa_\w+\('.*\);$/, '... and what to type');
		# What is meant to go away is removed as the doctor says
		my $call = $turn ? $fix =~ s/^.*?(SELECT .*;)$/$1/r : "SELECT $kind{$kind}[0]";
		my ($status, undef, $error) = $router->try($call);
		is($status, 0, "$kind: repeated") or diag "$call: $error";
	}
	is($router->sql($states), '', '... until all shards are equal');
	$there->stop('immediate') unless $turn;
}

# Maintenance of all shards by one call, and again after one was down.
for my $name (@names)
{
	$router->shard_sql($name, "UPDATE miosa.idempotency_keys SET expires_at = now() - interval '1 min'");
}
my $expired = "SELECT count(*) FROM miosa.idempotency_keys WHERE expires_at < now()";
$there->stop('immediate');
like(messages('CALL miosa_maintain()'), qr/ERROR:  shards are unavailable: s1, s3\nDETAIL:  It is done on shards: s0, s2\./, 'maintenance says where it was done');
$there->start;
$router->sql('CALL miosa_maintain(artifacts => false)');
is(join(' ', map { $router->shard_sql($_, $expired) } @names), '0 0 0 0', '... and does it everywhere when it is repeated');
is(join(' ', map { $router->shard_sql($_, 'SELECT count(*) FROM miosa.maintenance WHERE ended_at >= began_at') } @names), '1 1 1 1', '... which each shard has recorded');
$router->sql('CALL miosa.maintain(); CALL miosa_verify_artifacts(5); CALL miosa.verify_artifacts()');
like(messages('CALL miosa_verify_artifacts(0)'), qr/ERROR:  invalid value for argument "limit": "0"/, 'a bad limit is refused as on a shard');

# Artifacts: a file that has come back is seen present on each shard.
my $files = PostgreSQL::Test::Utils::tempdir();
for my $name (@names)
{
	my $id = $ids{$name}[0];

	append_to_file("$files/$name", 'artifact');
	$at{$name}->safe_psql('postgres', "ALTER SYSTEM SET miosa_rollback.artifact_file_root = '$files'");
	$at{$name}->safe_psql('postgres', 'SELECT pg_reload_conf()');
	$router->sql("SELECT miosa_put_version('$id', 'v8', 8, state => 'ready', storage_uri => 'file://$files/$name'); SELECT miosa_promote('$id', 'v8'); SELECT miosa_promote('$id', 'v3')");
}
my $verified = "SELECT count(*) FROM miosa.releases WHERE deployment_version_id = 'v8' AND verified_at IS NOT NULL AND missing_at IS NULL";
$router->sql('CALL miosa_verify_artifacts()');
is(join(' ', map { $router->shard_sql($_, $verified) } @names), '1 1 1 1', 'artifacts of all shards are verified');

# Routes: a place in each shard.
my %hosts;
my $epochs = '{}';
for my $page (1 .. 100)
{
	my $answer = value("miosa_routes_since(epochs => '$epochs', \"limit\" => 2)");

	last unless @{ $answer->{data} };
	$hosts{ $_->{deployment_id} } = $_->{shard} for @{ $answer->{data} };
	$epochs = JSON::PP->new->canonical->encode($answer->{next_epochs});
}
ok(!(grep { !defined $hosts{$_} } @all), 'routes of all shards are read in pages');
is_deeply([ map { $hosts{$_} } @all ], [ map { ($_) x 3 } @names ], '... each from its shard');
is(scalar @{ value("miosa_routes_since(epochs => '$epochs')")->{data} }, 0, '... until there are no more');
$router->sql("SELECT miosa_promote('$ids{s2}[0]', 'v1')");
ok($here->poll_query_until('s2', "SELECT count(*) > 0 FROM miosa.route_log WHERE epoch > " . decode_json($epochs)->{s2}), 'one shard has a change');
my $change = value("miosa_routes_since(epochs => '$epochs')");
is(join(' ', map { "$_->{shard} $_->{deployment_id} $_->{version_id}" } @{ $change->{data} }), "s2 $ids{s2}[0] v1", '... which is read from the last places');
$there->stop('immediate');
is_deeply({ map { $_ => value("miosa_routes_since(epochs => '$epochs')")->{next_epochs}{$_} } qw(s1 s3) }, { map { $_ => decode_json($epochs)->{$_} } qw(s1 s3) }, 'a shard that is down keeps its place');
$there->start;
is_deeply(value("miosa_routes_since(epochs => '{\"s0\": 999999999999999}')")->{gaps}, ['s0'], 'a gap is that of a shard');
for my $bad ("'{\"s9\": 1}'", "'{\"s0\": -1}'", "'[]'", 'NULL', "'{\"s0\": \"x\"}'")
{
	like(messages("SELECT miosa_routes_since(epochs => $bad)"), qr/ERROR:  invalid value for argument "epochs"\nDETAIL:  .*\n.*HINT:  .*SELECT miosa_routes_since\(epochs => '\{\}'\);/, "epochs $bad are refused");
}

# Whatever roles may call on a shard is there at a router, and does the same or says
# what to do instead.
my $callable = "SELECT string_agg(p.oid::regprocedure::text, E'\\n' ORDER BY p.oid::regprocedure::text COLLATE \"C\") FROM pg_proc p
	WHERE p.pronamespace IN ('miosa'::regnamespace, 'public'::regnamespace) AND p.proname <> 'miosa_move_deployment'
		AND p.oid IS DISTINCT FROM to_regprocedure('miosa_routes_since(jsonb, integer)')
		AND EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee NOT IN (0, p.proowner))";
my %known = map { $_ => 1 } split /\n/, $router->sql($callable);
is(join(' ', grep { !$known{$_} && !/\(miosa\./ } split /\n/, $router->shard_sql('s0', $callable)), '', 'every function that roles may call has one at the router');
my @absent = split /\n/, $router->sql("SELECT p.oid::regprocedure::regproc || '(' || (SELECT string_agg('NULL::' || format_type(t, NULL), ', ') FROM unnest(p.proargtypes::oid[]) t) || ')'
	FROM pg_proc p WHERE p.prosrc LIKE '%is not there at a router%' AND p.pronamespace <> 'miosa_router'::regnamespace AND p.pronargs > 0");
cmp_ok(scalar @absent, '>', 10, 'functions that are not there');
for my $call (@absent)
{
	like(messages("\\set VERBOSITY verbose\nSELECT $call"), qr/ERROR:  0A000: \S+\(\) is not there at a router\nDETAIL:  \S.*\n.*HINT:  \S/, "$call says what to do instead");
}
like(messages('SELECT miosa_routes_since(0)'), qr/HINT:  Pass an epoch for each shard, and go on with next_epochs: SELECT miosa_routes_since\(epochs => '\{\}'\);/, 'one epoch is no place');

done_testing();
