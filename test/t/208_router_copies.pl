# A deployment that is on two shards after a shard was restored from a backup, on
# none, or elsewhere than the map says: the doctor finds it, and one call leaves one
# copy, by rule. Servers that are killed in the middle of a move leave no second
# copy.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use MiosaHttp qw(poll_until);
use MiosaRouter;
use MiosaTest qw(make_edge make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('here', "miosa_rollback.site = 'here'\n");
my $other = make_node('there', "miosa_rollback.site = 'there'\n");
my $router = MiosaRouter->new($node, [ s0 => $node ], [ s1 => $other ]);
my $edge = make_edge(router => 'haproxy');
my $id = $router->here('s1');

sub messages { return ($router->try($_[0]))[2]; }
sub on { return join ' ', grep { $router->shard_sql($_, "SELECT count(*) FROM miosa.deployments WHERE id = '$id'") } qw(s0 s1) }

sub doctor
{
	my ($item) = @_;

	return $router->sql("SELECT status || ' ' || seen || coalesce(' ' || fix, '') FROM miosa_doctor() WHERE item = 'router: $item'");
}

sub served
{
	my ($host, $value) = @_;

	return poll_until(sub { my $answer = $edge->route('router-1', 'GET', $host);
		($answer->{status} == 404 ? '' : $answer->{body}) eq $value }, 180, 0.05);
}

# Start SQL on the router in the background.
sub begin
{
	my ($sql) = @_;
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('router'), '-c', $sql ], \$run{in}, \$run{out}, \$run{err});
	return \%run;
}

# The data of the other server, as a backup has it.
sub copy_data
{
	my ($from, $to) = map { $_ eq 'data' ? $other->data_dir : $other->basedir . "/$_" } @_;

	$other->stop;
	system('rm', '-rf', $to);
	system('cp', '-a', $from, $to) == 0 or die "could not copy $from\n";
	$other->start;
	poll_until(sub { ($router->try("SELECT miosa_shard.identity(NULL, 1)"))[0] == 0 }, 180, 0.1) or die "the server does not come back\n";
	return;
}

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_secret('edge', '$edge->{secret}')");
$router->sql("SELECT miosa_put_endpoint('router', 'haproxy-map', '" . $edge->router_url('router-1') . "', secret => 'edge')");
$router->sql("SELECT miosa_put_deployment('$id', 'ten_1', slug => 'shop'); SELECT miosa_put_domain('shop.test', '$id'); SELECT miosa_put_domain('old.test', '$id')");
$router->sql("SELECT count(miosa_put_version('$id', 'v' || v, v, state => 'ready')) FROM generate_series(1, 3) v; SELECT miosa_promote('$id', 'v1')");
ok(served('shop.test', "$id/v1"), 'the edge has the route');

# The shard that it left is restored from a backup of the time before.
copy_data('data', 'backup');
$router->sql("CALL miosa_move_deployment('$id', 's0')");
is(on(), 's0', 'it has moved');
$router->sql("SELECT miosa_remove_domain('old.test'); SELECT miosa_promote('$id', 'v2')");
ok(served('shop.test', "$id/v2"), '... and goes on there');
is(doctor('misplaced'), 'ok of the deployments that have moved lately, each is where calls go', '... the doctor finds it there');
copy_data('data', 'newest');
copy_data('backup', 'data');
is(on(), 's0 s1', 'a restore of the shard that it left: it is on two');
like(doctor('misplaced'), qr/^fail $id is on the shards s0 and s1 CALL miosa_router\.resolve_misplaced\(\);/, '... the doctor finds it');
is($router->sql('SELECT * FROM miosa_router.misplaced()'), "$id|s1|s0", '... where calls do not go');
like(messages("CALL miosa_move_deployment('$id', 's1')"), qr/ERROR:  deployment "$id" is on both shards\nDETAIL:.*\nHINT:  At the router: CALL miosa_router\.resolve_misplaced\(\);/, '... it does not move there');
# Interrupted: the copy is set aside, and nothing is sent yet.
$router->sql("SELECT miosa_router.at_shard(j.others[1], 'set_aside', '$id', j.number) FROM miosa_router.judge_copies('$id') j");
is(on(), 's0', 'the copy where calls go counts');
like(doctor('shard s1'), qr/^fail has delivered routes of copies that do not count: $id CALL miosa_router\.resolve_misplaced\(\);/, '... interrupted then, the doctor says so');
$router->sql('CALL miosa_router.resolve_misplaced()');
like(doctor('shard s1'), qr/^warn keeps copies that do not count: $id See them/, 'the same call goes on');
is($router->shard_sql('s1', "SELECT parcel #>> '{deployments,0,active_version_id}' FROM miosa_shard.copies WHERE settled"), 'v1', '... the other copy is kept');
ok(served('shop.test', "$id/v2"), '... the edge has the route of the one that counts');
ok(served('old.test', ''), '... and not the host that only the other one had');
is($router->sql("SELECT miosa_promote('$id', 'v3') #>> '{operation,id}'"), "$id#" . $router->shard_sql('s0', "SELECT seq FROM miosa.deployments WHERE id = '$id'"), '... it takes operations');
ok(served('shop.test', "$id/v3"), '... and delivers them');
is($router->sql("SELECT v #>> '{data,verified}' || ' ' || (v #>> '{data,events}') FROM miosa_audit_verify_all() v"),
	'true ' . $router->shard_sql('s0', "SELECT seq FROM miosa.deployments WHERE id = '$id'"), '... the audit trail is whole, and counts each event once');
is(doctor('misplaced') =~ s/ .*//r, 'ok', '... the doctor finds it on one shard');
is($router->sql("SELECT miosa_router.drop_copies('$id')"), 1, 'the copy is dropped');
is(doctor('shard s1') =~ s/ .*//r, 'ok', '... the doctor has nothing to say');
$router->sql("CALL miosa_move_deployment('$id', 's1')");
is(on(), 's1', 'it moves to the shard that was restored');

# A shard is restored to the time before the deployment came: it is on none.
$router->sql("CALL miosa_move_deployment('$id', 's0')");
copy_data('data', 'backup');
$router->sql("CALL miosa_move_deployment('$id', 's1')");
copy_data('data', 'newest');
copy_data('backup', 'data');
is(on(), '', 'a restore of the shard that it came to: it is on none');
like(doctor('misplaced'), qr/^fail $id is on no shard, calls go to s1 Restore the shard/, '... the doctor finds it');
$router->sql('CALL miosa_router.resolve_misplaced()');
copy_data('newest', 'data');
is(on(), 's1', '... it is there again once that shard is restored further');
is(doctor('misplaced') =~ s/ .*//r, 'ok', '... the doctor has nothing to say');

# The router is restored to the time before: the map says another shard.
$router->sql("CALL miosa_move_deployment('$id', 's0')");
$router->sql("DELETE FROM miosa_router.deployment_overrides");
like(doctor('misplaced'), qr/^fail $id is on shard s0, calls go to s1 CALL miosa_router\.resolve_misplaced\(\);/, 'a restore of the router: calls go where it is not');
like(messages("SELECT miosa_deployment('$id')"), qr/ERROR:  deployment "$id" does not exist/, '... and do not find it');
like(messages('CALL miosa_router.resolve_misplaced()'), qr/NOTICE:  deployment "$id": the copy on shard "s0" counts/, '... the only copy counts');
is($router->sql("SELECT miosa_deployment('$id') #>> '{data,slug}'"), 'shop', '... and is found');

# Servers are killed while a move is at a step. Triggers that always fire hold it
# there.
for my $name (qw(s0 s1))
{
	$router->shard_sql($name, <<'EOS');
CREATE TABLE gate (step text);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM public.gate) LOOP
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER wait BEFORE INSERT OR DELETE ON miosa.versions FOR EACH ROW EXECUTE FUNCTION wait();
ALTER TABLE miosa.versions ENABLE ALWAYS TRIGGER wait;
EOS
}
my %server = (s0 => $node, s1 => $other);
for my $case ([ s0 => 's1', 's1', 'arrives' ], [ s0 => 's1', 's0', 'leaves' ], [ s1 => 's0', 's1', 'leaves' ], [ s1 => 's0', 's0', 'arrives' ])
{
	my ($from, $to, $victim, $step) = @$case;

	$router->sql("CALL miosa_move_deployment('$id', '$from')");
	$router->shard_sql($victim, "INSERT INTO gate VALUES ('wait')");
	my $run = begin("CALL miosa_move_deployment('$id', '$to')");
	is(wait_sql($server{$victim}, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '$victim'", 1), 1, "$victim: a deployment $step");
	$server{$victim}->stop('immediate');
	$run->{handle}->finish;
	$server{$victim}->start;
	poll_until(sub { ($router->try("SELECT miosa_shard.identity(NULL, s.number) FROM miosa_router.all_shards() s"))[0] == 0 }, 180, 0.1) or die "the server does not come back\n";
	is(on(), $step eq 'leaves' ? $from : '', '... its server is killed: it is on one shard at most');
	$router->shard_sql($victim, 'DELETE FROM gate');
	$router->sql("CALL miosa_move_deployment('$id', '$to')");
	is(on(), $to, '... the same call finishes it');
	is($router->shard_sql($_, 'SELECT count(*) FROM miosa_shard.parcels'), 0, "... nothing is left on $_") for qw(s0 s1);
}

# The router's backend ends, and the shard goes on with the step.
$router->shard_sql('s1', "INSERT INTO gate VALUES ('wait')");
my $run = begin("CALL miosa_move_deployment('$id', 's1')");
is(wait_sql($other, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = 's1'", 1), 1, 'a deployment arrives');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'router' AND query LIKE 'CALL%'");
$run->{handle}->finish;
my $again = begin("CALL miosa_move_deployment('$id', 's1')");
is(wait_sql($other, "SELECT count(*) FROM pg_stat_activity WHERE datname = 's1' AND query LIKE '%move_step%' AND state = 'active'", 2), 2, '... a second call waits for the first, whose router is gone');
$router->shard_sql('s1', 'DELETE FROM gate');
$again->{handle}->finish;
is($again->{err}, '', '... and finishes the move');
is(on(), 's1', '... it is on one shard');
is($router->sql("SELECT v #>> '{data,verified}' || ' ' || (v #>> '{data,events}') FROM miosa_audit_verify_all() v"),
	'true ' . $router->shard_sql('s1', "SELECT seq FROM miosa.deployments WHERE id = '$id'"), 'the audit trail is whole, and counts each event once');
is(doctor('misplaced') =~ s/ .*//r, 'ok', '... the doctor has nothing to say');
$router->sql("SELECT miosa_promote('$id', 'v1', 'last')");
ok(served('shop.test', "$id/v1"), 'the edge has the last route');

done_testing();
