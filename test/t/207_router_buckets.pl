# A new shard takes its share of the buckets while deployments are rolled back,
# promoted and added: nothing that was acknowledged is lost or done twice, and every
# deployment is where calls look for it. rebalance() that was stopped, or lost a
# server, goes on.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use MiosaHttp qw(poll_until);
use MiosaRouter;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $settings = "max_worker_processes = 16\nmax_connections = 60\nrestart_after_crash = on\n";
my $node = make_node('here', $settings . "miosa_rollback.site = 'here'\n");
my $other = make_node('there', $settings . "miosa_rollback.site = 'there'\n");
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));
my $deployments = 40;
my $is_gone = 1;

sub messages { return ($router->try($_[0]))[2]; }

# Start SQL on the router in the background.
sub begin
{
	my ($sql) = @_;
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('router'), '-c', $sql ], \$run{in}, \$run{out}, \$run{err});
	return \%run;
}

sub all_shards { return qw(s0 s1 s2) }

sub buckets
{
	return $router->sql("SELECT string_agg(s.name || ' ' || s.buckets, ', ' ORDER BY s.number) FROM miosa_router.shares() s");
}

# Every deployment is on one shard, where calls go; nothing is left of moves.
sub is_settled
{
	my ($name) = @_;
	my @ids = map { split /\n/, $router->shard_sql($_, 'SELECT id FROM miosa.deployments') } all_shards();
	my %seen;

	is(join(' ', grep { $seen{$_}++ } @ids), '', "$name: no deployment is on two shards");
	is($router->sql("SELECT count(*) FROM miosa_router.misplaced()"), 0, '... each is where calls go');
	is($router->sql("SELECT count(*) FROM miosa_router.moves") . $router->sql("SELECT count(*) FROM miosa_router.bucket_moves")
		  . $router->sql("SELECT count(*) FROM miosa_router.deployment_overrides"), '000', '... moves have ended, and no override is left');
	is(join('', map { $router->shard_sql($_, 'SELECT count(*) FROM miosa_shard.parcels') } all_shards()), '000', '... no parcel is left');
	is(join(' ', map { my $s = $_; grep { $router->sql("SELECT miosa_router.shard_name(miosa_router.directory_of('$_'))") ne $s }
			split /\n/, $router->shard_sql($s, 'SELECT host FROM miosa_shard.hosts') } all_shards()), '', '... entries of hosts are on the shards of their buckets');
	$router->shard_sql($_, 'ANALYZE miosa.audit_events, miosa.audit_checkpoints, miosa.deployments, miosa_shard.moved') for all_shards();
	# "gone" has had three when it was removed
	my $count = $is_gone ? 3 : 0;
	$count += $router->shard_sql($_, 'SELECT coalesce(sum(seq), 0) FROM miosa.deployments') for all_shards();
	is($router->sql("SELECT v #>> '{data,verified}' || ' ' || (v #>> '{data,events}') FROM miosa_audit_verify_all() v"), "true $count", '... the audit trail is whole, and has each event once');
	is($router->sql("SELECT string_agg(item || ' ' || seen, E'\n') FROM miosa_doctor() WHERE item ~ '^router: (map|moves|misplaced|shard .*)' AND status <> 'ok'"), '', '... the doctor has nothing to say');
	return @ids;
}

# The server of the router and of two shards is there again.
sub wait_up
{
	my $connstr = $node->connstr('router');

	return poll_until(sub { qx(psql -XqAt -d "$connstr" -c 'SELECT 1' 2>&1) eq "1\n" }, 180, 0.1);
}

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");
for my $n (1 .. $deployments)
{
	$router->sql("SELECT miosa_put_deployment('dep_$n', 'ten_1'); SELECT miosa_put_domain('h$n.test', 'dep_$n')");
	$router->sql("SELECT count(miosa_put_version('dep_$n', 'v' || v, v, state => 'ready')) FROM generate_series(1, 3) v; SELECT miosa_promote('dep_$n', 'v1')");
}
# One that was removed has an audit trail.
$router->sql("SELECT miosa_put_deployment('gone', 'ten_1'); SELECT miosa_put_version('gone', 'v1', 1, state => 'ready'); SELECT miosa_promote('gone', 'v1');
	SELECT miosa_unpublish('gone'); SELECT miosa_remove_deployment('gone')");

# A third shard, on another server.
$other->safe_psql('postgres', 'CREATE DATABASE s2');
$other->safe_psql('s2', 'CREATE EXTENSION miosa_rollback');
$other->safe_psql('s2', "\\i $MiosaRouter::contrib/miosa_shard.sql");
$router->{server}{s2} = $other;
$router->sql("SELECT miosa_router.add_shard('s2', 'host=@{[ $other->host ]} port=@{[ $other->port ]} dbname=s2 connect_timeout=60')");
like($router->sql("SELECT status || ' ' || seen || ' ' || fix FROM miosa_doctor() WHERE item = 'router: buckets'"),
	qr/^ok s0 has 512 of 342, s1 has 512 of 341, s2 has 0 of 341 CALL miosa_router\.rebalance\(\);/, 'a new shard has no bucket, the doctor says what to do');
like(messages('SELECT miosa_router.spread_buckets()'), qr/ERROR:  buckets are spread already\n.*\nHINT:  To give a new shard its share of them: CALL miosa_router\.rebalance\(\);/, '... not this');
like(messages('CALL miosa_router.rebalance(1)'), qr/WARNING:  deployment "[^"]*" stays on shard|NOTICE:  from shard "s\d" to "s2": 1 buckets with/, 'a bucket moves');
$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");

# Clients that retry with their keys, and one that adds deployments.
my $dir = PostgreSQL::Test::Utils::tempdir();
$router->sql('CREATE TABLE public.stop (n integer)');
my $act = <<"EOS";
CREATE TEMP TABLE done (key text);
CREATE FUNCTION pg_temp.act(kind text, n integer, key text) RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
	IF kind = 'add' THEN
		PERFORM miosa_put_deployment('new_' || key, 'ten_1');
	ELSE
		PERFORM miosa_promote('dep_' || (1 + n % $deployments), 'v' || (1 + n % 3), key);
	END IF;
	RETURN true;
EXCEPTION WHEN SQLSTATE 'MR423' OR SQLSTATE 'MR53S' THEN
	RETURN false;
END \$\$;
DO \$\$
DECLARE
	n integer := 0;
	acted boolean;
BEGIN
	WHILE NOT EXISTS (SELECT FROM public.stop) LOOP
		n := n + 1;
		LOOP
			acted := pg_temp.act('KIND', n, 'CLIENT-' || n);
			COMMIT;
			EXIT WHEN acted;
			PERFORM pg_sleep(0.02);
			COMMIT;
		END LOOP;
		INSERT INTO done VALUES ('CLIENT-' || n);
		PERFORM pg_sleep(CASE 'KIND' WHEN 'add' THEN 0.3 ELSE 0.05 END);
		COMMIT;
	END LOOP;
END \$\$;
SELECT key FROM done;
EOS
my %kind = (c1 => 'promote', c2 => 'promote', c3 => 'add');
my %client;
for my $name (sort keys %kind)
{
	append_to_file("$dir/$name.sql", $act =~ s/KIND/$kind{$name}/gr =~ s/CLIENT/$name/gr);
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('router'), '-f', "$dir/$name.sql" ],
		\$run{in}, \$run{out}, \$run{err});
	$client{$name} = \%run;
}

# Audit events of all shards, those of deployments that have left twice.
sub events
{
	my $sum = 0;

	$sum += $router->shard_sql($_, 'SELECT count(*) FROM miosa.audit_events') for all_shards();
	return $sum;
}

my $before = events();
ok(poll_until(sub { events() > $before + 10 }, 180, 0.05), 'operations are at work');
my ($status, $out, $err) = $router->try('CALL miosa_router.rebalance()');
is($status, 0, 'buckets move under load') or diag $err;
like($err, qr/NOTICE:  from shard "s\d" to "s2": \d+ buckets with \d+ deployments; 0 buckets are left/, '... progress is shown');
like(buckets(), qr/^s0 34[12], s1 34[12], s2 34[12]$/, '... each shard has its share');
$before = events();
ok(poll_until(sub { events() > $before + 10 }, 180, 0.05), 'operations go on');
$router->sql('INSERT INTO stop VALUES (1)');
$_->{handle}->finish for values %client;
is(join('', map { $_->{err} =~ s/^.*NOTICE.*\n//mgr =~ s/^.*(?:PL\/Proxy function|PL\/pgSQL function|SQL statement|LOCATION|CONTEXT).*\n//mgr } values %client),
	'', 'clients have seen nothing but what can be retried');
my @acknowledged = map { split /\n/, $client{$_}{out} } qw(c1 c2);
my @added = split /\n/, $client{c3}{out};
cmp_ok(scalar @acknowledged, '>', 20, scalar(@acknowledged) . ' operations were acknowledged');
cmp_ok(scalar @added, '>', 5, scalar(@added) . ' deployments were added');
my %place = map { $_ => $router->sql("SELECT miosa_router.shard_name(miosa_router.place_of('$_'))") } map { "dep_$_" } 1 .. $deployments;
my @keys = map { my $s = $_; my $ids = join "','", grep { $place{$_} eq $s } keys %place;
	split /\n/, $router->shard_sql($s, "SELECT idempotency_key FROM miosa.audit_events WHERE deployment_id IN ('$ids') AND idempotency_key LIKE 'c%'") } all_shards();
is(join(' ', sort @keys), join(' ', sort @acknowledged), 'each operation is in the audit trail of the shard that has its deployment, once, and no other');
my %is = map { $_ => 1 } is_settled('after the rebalance');
is(join(' ', grep { !$is{"new_$_"} } @added), '', 'every deployment that was added is there');
cmp_ok($router->shard_sql('s2', 'SELECT count(*) FROM miosa.deployments'), '>', 5, 'the new shard has deployments');
is($router->sql("SELECT miosa_promote('dep_1', 'v2', '$_') #>> '{operation,outcome}' IS NOT NULL"), 't', 'keys have moved along') for grep { /^c1-1$/ } @acknowledged;

# A removed deployment has left its trail to the shard of its bucket.
$router->sql('CALL miosa_router.move_buckets(ARRAY[miosa_router.bucket_of(\'gone\')], \'s2\')');
is($router->sql("SELECT miosa_audit_log('gone') #>> '{data,0,id}'"), 'gone#3', 'the audit trail of a removed deployment moves with its bucket');
$router->sql("SELECT miosa_put_deployment('gone', 'ten_1'); SELECT miosa_put_version('gone', 'v1', 1, state => 'ready')");
$is_gone = 0;
is($router->sql("SELECT miosa_promote('gone', 'v1') #>> '{operation,id}'"), 'gone#4', '... and one of the same id goes on from its numbers');
is($router->shard_sql('s2', "SELECT count(*) FROM miosa.deployments WHERE id = 'gone'"), 1, '... there');

# Weights: a shard is emptied. The call is stopped, and called again.
$router->sql("UPDATE miosa_router.shards SET weight = 0 WHERE name = 's1'");
my $run = begin('CALL miosa_router.rebalance()');
ok(poll_until(sub { $router->sql("SELECT count(*) BETWEEN 1 AND 330 FROM miosa_router.buckets WHERE shard = 1") eq 't' }, 180, 0.02), 'a shard is being emptied');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = 'router' AND query LIKE 'CALL%'");
$run->{handle}->finish;
like($run->{err}, qr/ERROR:  .*cancel/, '... until it is stopped');
is(join(' ', map { $router->sql("SELECT miosa_promote('dep_$_', 'v1') #>> '{operation,outcome}' IS NOT NULL") =~ s/t//r } grep { $router->sql("SELECT (miosa_router.find_move('dep_$_')).number IS NULL") eq 't' } 1 .. $deployments) =~ s/ //gr, '',
	'... operations go on meanwhile');
is($router->sql("SELECT count(*) FROM miosa_router.misplaced()"), 0, '... each deployment is where calls go');
$router->sql('CALL miosa_router.rebalance()');
is($router->sql("SELECT count(*) FROM miosa_router.buckets WHERE shard = 1"), 0, 'the same call goes on');
is_settled('a shard without weight');
is($router->shard_sql('s1', 'SELECT count(*) FROM miosa.deployments'), 0, '... it has no deployment');

# A server of a shard is killed, then a backend of the router, each while buckets
# move.
for my $victim ('shard', 'router')
{
	$router->sql("UPDATE miosa_router.shards SET weight = CASE name WHEN '@{[ $victim eq 'shard' ? 's1' : 's2' ]}' THEN 1 ELSE weight END");
	$router->sql("UPDATE miosa_router.shards SET weight = 0 WHERE name = 's0'") if $victim eq 'router';
	my $moved = 'SELECT count(*) FROM miosa_shard.moved';
	my $was = $router->shard_sql('s1', $moved) + $router->shard_sql('s2', $moved);

	$run = begin('CALL miosa_router.rebalance()');
	ok(poll_until(sub { $router->shard_sql('s1', $moved) + $router->shard_sql('s2', $moved) > $was + 1
		|| $router->sql('SELECT count(*) FROM miosa_router.moves') > 0 }, 180, 0.01), "$victim: buckets move");
	if ($victim eq 'shard')
	{
		$other->stop('immediate');
		$run->{handle}->finish;
		like($run->{err}, qr/ERROR:  shard "s2" is unavailable/, '... until the server of a shard is killed');
		like(messages('CALL miosa_router.rebalance()'), qr/ERROR:  shard "s2" is unavailable/, '... it does not go on without');
		$other->start;
	}
	else
	{
		my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE datname = 'router' AND query LIKE 'CALL%'");

		kill 'KILL', $pid if $pid;
		$run->{handle}->finish;
		ok($pid && $run->{err} =~ /server closed the connection|terminating connection/, '... until its backend is killed, and the server with it') or diag $run->{err};
		ok(wait_up(), '... it is up again');
	}
	is(join(' ', map { ref } grep { my $n = $_; (grep { $router->shard_sql($_, "SELECT count(*) FROM miosa.deployments WHERE id = 'dep_$n'") } all_shards()) > 1 } 1 .. $deployments), '', '... no deployment is on two shards');
	$router->sql('CALL miosa_router.rebalance()');
	is_settled("after the $victim was killed");
}
is(buckets(), 's0 0, s1 512, s2 512', 'each shard has its share by weight');
$router->sql("UPDATE miosa_router.shards SET weight = 1");
$router->sql('CALL miosa_router.rebalance()');
like(buckets(), qr/^s0 34[12], s1 34[12], s2 34[12]$/, '... and again an equal one');
is_settled('in the end');

# Between closing a bucket and switching the map, a new deployment is refused with
# advice to retry; those that come late to the old shard as well.
my $bucket = $router->sql("SELECT min(bucket) FROM miosa_router.buckets WHERE shard = 0");
my ($late, $next) = split /\n/, $router->sql("SELECT 'x' || i FROM generate_series(1, 100000) i WHERE miosa_router.bucket_of('x' || i) = $bucket LIMIT 2");
$router->sql("SELECT miosa_router.begin_bucket($bucket, 1)");
$router->sql("SELECT miosa_router.at_shard(0, 'close', NULL, $bucket)");
like(messages("SELECT miosa_put_deployment('$late', 'ten_1')"),
	qr/ERROR:  deployment "$late" is being moved\nDETAIL:  Its bucket $bucket has left this shard\.\nHINT:  Retry/, 'a new deployment is refused with advice to retry while its bucket moves');
like($router->sql("SELECT status || ' ' || seen || ' ' || fix FROM miosa_doctor() WHERE item = 'router: buckets'"),
	qr/^warn under way or interrupted: $bucket from s0 to s1 \(0 deployments left\) CALL miosa_router.rebalance\(\);/, '... the doctor says that a bucket is under way');
like(messages("CALL miosa_router.move_buckets(ARRAY[$bucket], 's2')"), qr/ERROR:  bucket $bucket is being moved to another shard\nDETAIL:  It moves from shard "s0" to "s1"\.\nHINT:  Finish that move first/, '... it does not move elsewhere');
$router->sql("CALL miosa_router.move_buckets(ARRAY[$bucket], 's1')");
$router->sql("SELECT miosa_put_deployment('$late', 'ten_1')");
is($router->shard_sql('s1', "SELECT count(*) FROM miosa.deployments WHERE id = '$late'"), 1, '... the call that is repeated adds it to the new shard');
like(($node->psql('s0', "SELECT miosa_put_deployment('$next', 'ten_1')"))[2], qr/ERROR:  deployment "$next" is being moved/, '... one that comes to the old shard late is refused');
$router->sql("CALL miosa_move_deployment('$late', 's2')");
like(($node->psql('s1', "SELECT miosa_put_deployment('$late', 'ten_1')"))[2], qr/ERROR:  deployment "$late" is being moved/, '... also one of a single deployment that has left');

# What is refused.
like(messages("CALL miosa_router.move_buckets(ARRAY[5000], 's1')"), qr/ERROR:  bucket 5000 does not exist\nDETAIL:  Buckets are numbered from 0 to 1023/, 'a bucket that there is not');
like(messages("CALL miosa_router.move_buckets(ARRAY[1], 's9')"), qr/ERROR:  shard "s9" does not exist\nHINT:  Shards: s0, s1, s2/, 'a shard that there is not');
my @two = map { $router->sql("SELECT min(bucket) FROM miosa_router.buckets WHERE shard = $_") } 0, 1;
like(messages("CALL miosa_router.move_buckets(ARRAY[$two[0], $two[1]], 's2')"), qr/ERROR:  the buckets are on several shards/, 'buckets of several shards');
$router->sql("CALL miosa_router.move_buckets(ARRAY[$two[0]], 's2')");
$router->sql("CALL miosa_router.move_buckets(ARRAY[$two[0]], 's2')");
is($router->sql("SELECT shard FROM miosa_router.buckets WHERE bucket = $two[0]"), 2, 'a bucket that is there already stays');
# An override that says what the bucket says is cleaned.
my $plain = $router->here('s0');
$router->sql("INSERT INTO miosa_router.deployment_overrides VALUES ('$plain', 0)");
$router->sql("CALL miosa_router.rebalance(0)");
is($router->sql("SELECT count(*) FROM miosa_router.deployment_overrides WHERE deployment_id = '$plain'"), 0, 'an override that says what the bucket says is cleaned');

done_testing();
