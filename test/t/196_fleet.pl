# A fleet that is rolled back in batches: it continues where it was interrupted,
# shows how far it has come, and is waited for as a whole.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $deployments = 60;
my $node = make_node('fleet', "restart_after_crash = on\n");
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my %sink =
  map { $_ => MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(one two);

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# The procedure, in a session of its own.
my $call = q{CALL miosa_rollback_fleet('{"active_image": "bad:1"}', idempotency_key => 'inc-7', reason => 'INC-7', batch => 7)};

sub start_call
{
	my $self = { out => '', err => '' };

	$self->{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $call ],
		'<', \undef, '>', \$self->{out}, '2>', \$self->{err});
	return $self;
}

# What the fleet has come to: done, refused, whether it has ended.
sub progress { return sql('SELECT done, refused, ended_at IS NOT NULL FROM miosa.fleet_runs'); }

# The process of the call once it waits for a lock.
sub wait_blocked
{
	wait_sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event_type = 'Lock'}, 1);
	return sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%'});
}

# A session that keeps a deployment locked until it is finished.
sub lock_deployment
{
	my ($id) = @_;
	my $self = { in => '', out => '', err => '' };

	$self->{run} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
	$self->{in} .= "BEGIN; SELECT id FROM miosa.deployments WHERE id = '$id' FOR UPDATE;\n";
	IPC::Run::pump($self->{run}) until $self->{out} =~ /$id/;
	return $self;
}

# The session ends, and the server with it or not.
sub finish
{
	my ($self) = @_;

	eval { $self->{run}->finish };
	return;
}

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('d' || d, 'ten_1', 'd' || d) FROM generate_series(101, 100 + $deployments) d;
SELECT miosa_put_version('d' || d, 'v' || n, n, state => 'ready', storage_uri => 'test://' || n,
		fields => jsonb_build_object('runtime_image', CASE n WHEN 2 THEN 'bad:1' ELSE 'good:1' END))
	FROM generate_series(101, 100 + $deployments) d, generate_series(1, 2) n;
SELECT miosa_promote('d' || d, 'v' || n) FROM generate_series(1, 2) n, generate_series(101, 100 + $deployments) d;
INSERT INTO miosa.adapters (name, request) VALUES ('test-edge',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
EOS
sql("SELECT miosa_put_endpoint('$_', 'test-edge', '@{[ $sink{$_}->url ]}')") for sort keys %sink;
MiosaTest::wait_ready($node, $_) for sort keys %sink;

# Promise: a backend that is killed in the middle of a batch, and a server that
# recovers, lose that batch and no other.
my $lock = lock_deployment('d130');
my $first = start_call();
my $pid = wait_blocked();
is(progress(), '28|0|f', 'batches before the locked deployment are committed');
is(sql(q{SELECT f.remaining <> '' AND f.total = 60 AND f.done = 28 FROM miosa.fleets f}), 't', 'the view shows it at work');
my $fleet = sql('SELECT id FROM miosa.fleet_runs');
is(sql("SELECT miosa_wait_converged('$fleet', '0 s')"), 'waiting_edges', 'a fleet at work has not converged');
kill 'KILL', $pid;
finish($first);
finish($lock);
ok( poll_until(
		sub { slurp_file($node->logfile) =~ /all server processes terminated; reinitializing/ },
		180),
	'the server notices and recovers');
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "no recovery\n";
is(progress(), '28|0|f', 'the batch under way is lost');

# Promise: a call that is cancelled loses no more.
$lock = lock_deployment('d150');
my $second = start_call();
$pid = wait_blocked();
is(progress(), '49|0|f', 'the second call goes on behind the last batch');
sql("SELECT pg_cancel_backend($pid)");
finish($second);
like($second->{err}, qr/canceling statement due to user request/, 'the second call is cancelled');
$lock->{in} .= "\\q\n";
finish($lock);

# Promise: in the end each deployment was rolled back once, by one fleet.
my $result = decode_json(sql($call))->{data};
is_deeply([ @{$result}{qw(fleet_id total done refused)} ], [ $fleet, 60, 60, 0 ], 'the third call ends it');
is(sql("SELECT count(*), count(DISTINCT deployment_id), min(seq), max(seq) FROM miosa.audit_events WHERE marks ->> 'fleet' = '$fleet'"),
	'60|60|3|3', 'none twice, none left out');
is(sql("SELECT count(*) FROM miosa.deployments WHERE active_version_id = 'v1'"), 60, 'all are back');
is(decode_json(sql($call))->{data}{ended_at}, $result->{ended_at}, 'another call does nothing more');

# Promise: a fleet is waited for as a whole.
is(sql("SELECT miosa_wait_converged('$fleet', '180 s')"), 'converged', 'all edges have all of it');
is(sql("SELECT count(*) FROM miosa.deployments d WHERE miosa.convergence_state(d.id, NULL) <> 'converged'"), 0, 'each deployment says so');
is(sql('SELECT remaining, converged FROM miosa.fleets'), '|2/2', 'the view says so');
for my $name (sort keys %sink)
{
	my %last = map { m{/(d\d+)/(v\d)} ? ($1 => $2) : () } map { $_->{path} } $sink{$name}->requests;

	is(scalar(grep { $_ eq 'v1' } values %last), 60, "edge $name has the versions");
}

# Promise: a fleet in batches waits for what is pending as long as something is
# acknowledged, and not for an edge that does not answer.
is(sql('SELECT miosa.fleet_pace(0)'), 't', 'nothing is pending');
$_->answer('.', hold => 'pace') for values %sink;
sql(q{SELECT miosa_promote('d101', 'v2')});
$node->poll_query_until('postgres', 'SELECT w.pending = 2 FROM miosa.dispatcher() w') or die "nothing is pending\n";
is(sql('SELECT miosa.fleet_pace(0)'), 'f', 'nothing is acknowledged, so it does not go on to wait');
is(sql('SELECT miosa.fleet_pace(2)'), 't', 'few are pending');
$_->release('pace') for values %sink;
$_->plain for values %sink;
is(sql("SELECT miosa_wait_converged('d101', '180 s')"), 'converged', 'then the edges answer');
sql(q{SELECT miosa_rollback('d101', 'v1')});
is(sql("SELECT miosa_wait_converged('d101', '180 s')"), 'converged', 'and have the version of before');

# Promise: an edge that lags keeps the fleet from having converged; one that does
# not receive it is not waited for, and what other deployments lack does not count.
sql("SELECT miosa_set_endpoint('two', false, 'test')");
sql(q{SELECT miosa_put_endpoint('far', 'test-edge', 'http://127.0.0.1:1', selector => '{"deployment": "d160"}')});
sql(q{SELECT miosa_promote(d.id, 'v2') FROM miosa.deployments d WHERE d.id IN ('d101', 'd102', 'd103')});
my $one = decode_json(sql(q{SELECT miosa_rollback_many('{"ids": ["d101", "d102"]}', idempotency_key => 'k2')}))->{data}{fleet_id};
is(sql("SELECT miosa_wait_converged('$one', '180 s')"), 'converged', 'an edge that does not receive it is not waited for');
is(sql("SELECT miosa_wait_converged('$fleet', '0 s')"), 'waiting_edges', 'the one that receives a deployment of the first one is');
$node->psql('postgres', "SELECT miosa_convergence('$one')", stderr => \my $stderr);
like($stderr, qr/is about one deployment.*miosa_wait_converged\('$one'\)/s, 'convergence is of one deployment');
$node->psql('postgres', "BEGIN; SELECT miosa_rollback_many('{\"ids\": \"d103\"}', idempotency_key => 'k3') \\gset r_
	SELECT id AS own FROM miosa.fleet_runs ORDER BY began_at DESC LIMIT 1 \\gset
	SELECT miosa_wait_converged(:'own');", stderr => \$stderr);
like($stderr, qr/cannot wait for an operation of the same transaction/, 'nor is its own transaction waited for');

done_testing();
