# How other workers of this kind have failed, and where each way is tested:
#
#  a worker's crash restarts the server     156_bad_rows; every test's log
#  old pointers in shared memory            158_comes_back (ended at start-up)
#  an unlogged queue                        050_workers, 066_crashes, 160_torture
#  HTTP inside a transaction                here (snapshots)
#  DROP DATABASE waits for us               here; 050_workers
#  a connection in the way of TEMPLATE      050_workers
#  dead and never back                      158_comes_back; 050_workers
#  a bad row ends the worker                156_bad_rows; 065_faults
#  the queue is not looked at after a crash 158_comes_back; 050_workers
#  too many sockets                         159_limits
#  requests time out while they queue       159_limits
#  COMMIT PREPARED wakes nobody             060_delivery
#  no statistics, no vacuum                 159_limits
#  history without an end                   regress maintenance
#  a shutdown waits for a standby           here
#  it runs during pg_upgrade                161_upgrade
#  no free worker slot                      050_workers
#  back-pressure at the cap                 063_promises, 159_limits
#  a dump loses rows or rights              080_dump_restore
#  a schema of that name, no extension      050_workers
#  memory grows                             make bench
#  a stuck worker is killed                 here (SIGTERM)
#  a name look-up has no time-out           here; 150_network_faults
#  a resolver's thread runs our signals     here
#  tokens readable by all                   regress grants
#  redirects are followed                   150_network_faults, 157_policy
#  fakes take any signature                 140_cloud (verifies them all)
#
# In this file everything hangs that can: connecting, the TLS handshake, the
# answer, the name look-up. Nobody may have to wait for it.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use MiosaFault qw(full_listener hanging_resolver silent_listener);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir_short();
local $ENV{LD_PRELOAD} = hanging_resolver("$dir/resolver");
my $node = make_node('traps', <<'EOC');
max_worker_processes = 16
wal_level = replica
max_wal_senders = 2
EOC
delete local $ENV{LD_PRELOAD};

my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my @full = full_listener();
my $silent = silent_listener();
my %hanging = (
	connecting => 'http://127.0.0.1:' . $full[0]->sockport,
	handshake => 'https://127.0.0.1:' . $silent->sockport,
	answer => 'http://127.0.0.1:' . $silent->sockport,
	name => 'http://edge.hanging.test');

sub sql { return $node->safe_psql('postgres', @_); }

sub dispatcher
{
	my ($database) = @_;

	return $node->safe_psql($database // 'postgres',
		'SELECT pid FROM miosa.dispatcher()');
}

# Endpoints that hang in every way, in a database.
sub hang_in
{
	my ($database) = @_;

	$node->safe_psql($database, <<"EOS" . join '', map {
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('slow', '5 min',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('good', 'slow', '@{[ $sink->url ]}/$database', zone => 'good');
SELECT miosa_promote('dep_1', 'v1');
EOS
		"SELECT miosa_put_endpoint('$_', 'slow', '$hanging{$_}', zone => '$_');\n"
	} sort keys %hanging);
	return all_hang($database);
}

sub all_hang
{
	my ($database) = @_;

	return poll_until(
		sub {
			$node->safe_psql($database,
				'SELECT in_flight FROM miosa.dispatcher()') == keys %hanging;
		},
		180,
		0.05);
}

# Seconds until the process is no more.
sub gone_in
{
	my ($pid, $start) = @_;

	return poll_until(sub { !kill(0, $pid) }, 180, 0.005)
	  ? time() - $start
	  : 'never';
}

# Whether something ended while the requests hang, which they do for minutes.
sub not_held_up
{
	my ($seconds, $name) = @_;

	ok($seconds ne 'never' && $seconds < 240, $name)
	  or diag "it took $seconds s";
	return;
}

ok(hang_in('postgres'), 'one request hangs in each way');
$sink->clear;
sql("SELECT miosa_promote('dep_1', 'v2')");
ok($sink->wait_for(1, '^/postgres/dep_1/v2'), 'others receive it at once');

# No snapshot and no transaction while requests hang
is( sql(<<'EOS'), 't|t', 'no transaction is open');
CREATE TEMP TABLE seen (since interval, horizon xid);
DO $$ BEGIN
	FOR n IN 1 .. 100 LOOP
		INSERT INTO seen SELECT clock_timestamp() - xact_start, backend_xmin
			FROM pg_stat_activity WHERE backend_type = 'miosa_rollback dispatcher';
		COMMIT;
		PERFORM pg_sleep(0.02);
	END LOOP; END $$;
SELECT coalesce(max(since), '0') < '1 min', count(*) FILTER (WHERE since IS NULL AND horizon IS NULL) > 0
	FROM seen;
EOS
is( MiosaTest::wait_sql(
		$node, "SELECT wait_event_type = 'Extension' AND query ~ '\\m4 in flight' FROM pg_stat_activity
		WHERE backend_type = 'miosa_rollback dispatcher'", 't'),
	't', 'it waits, and says for how many');

# The resolver's threads never run a signal handler of the server's
my $pid = dispatcher();
my %mask;

for my $status (glob "/proc/$pid/task/*/status")
{
	my ($task) = $status =~ m{task/(\d+)/};

	($mask{$task}) = slurp_file($status) =~ /^SigBlk:\s+(\w+)/m
	  if $task != $pid;
}
cmp_ok(scalar keys %mask, '>=', 1, 'a thread looks a name up');
my @handled = (1, 2, 3, 10, 12, 13, 14, 15, 17, 23);

is(join(' ', grep { !all_blocked($_) } values %mask),
	'', 'and every signal is blocked in it');

sub all_blocked
{
	my ($mask) = @_;

	return !grep { !(hex(substr($mask, -8)) & 1 << $_ - 1) } @handled;
}

# SIGTERM, in the dispatcher
my $start = time();

sql("SELECT pg_terminate_backend($pid)");
not_held_up(gone_in($pid, $start), 'SIGTERM is answered');
ok(all_hang('postgres'), 'the next call asks storage anew');
not_held_up(time() - $start, 'it is back');
$sink->clear;
sql("SELECT miosa_promote('dep_1', 'v1')");
ok($sink->wait_for(1, '^/postgres/dep_1/v1'), 'and sends to others at once');

# SIGTERM, and a person's Ctrl-C, in a session that tries an endpoint out
for my $what (sort keys %hanging)
{
	for my $how (qw(cancel terminate))
	{
		my $session = IPC::Run::start(
			[
				'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c',
				"SET application_name = 'tester'",
				'-c', "SELECT miosa_test_endpoint('$what')"
			],
			'<', \undef, '>', \my $out, '2>', \my $err);
		my $tester = poll_until(
			sub {
				sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'tester'
				AND state = 'active' AND wait_event_type = 'Extension'");
			},
			180,
			0.02);

		$start = time();
		sql("SELECT pg_${how}_backend($tester)");
		$session->finish;
		not_held_up(time() - $start, "$what: a session ends on $how");
		like($err, qr/due to (user request|administrator command)/,
			'and says why');
	}
}

# DROP DATABASE
$node->safe_psql('postgres', 'CREATE DATABASE victim');
$node->safe_psql('victim', 'CREATE EXTENSION miosa_rollback');
ok(hang_in('victim'), 'the same in another database');
$pid = dispatcher();
$start = time();
sql('ALTER DATABASE victim RENAME TO other');
not_held_up(time() - $start, 'ALTER DATABASE passes');
ok(all_hang('other'), 'the dispatcher comes back');
$start = time();
sql('DROP DATABASE other');
not_held_up(time() - $start, 'DROP DATABASE passes');
is(dispatcher(), $pid, 'the dispatcher of another database stays');

# DROP EXTENSION and CREATE EXTENSION, while requests hang
$start = time();
sql('SET miosa_rollback.allow_drop = on; DROP EXTENSION miosa_rollback CASCADE');
not_held_up(time() - $start, 'DROP EXTENSION passes');
sql('CREATE EXTENSION miosa_rollback');
ok(hang_in('postgres'), 'created anew');

# A synchronous standby that is missing: a session and the dispatcher wait for
# it, and so does nobody who stops the server
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$node->poll_query_until('postgres',
	"SELECT current_setting('synchronous_standby_names') = 'nobody'");
my $waiting = IPC::Run::start(
	[
		'psql', '-XqAt', '-d', $node->connstr('postgres'),
		'-c', "SELECT miosa_promote('dep_1', 'v2')"
	],
	'<', \undef, '>', \my $waiting_out, '2>', \my $waiting_err);
ok( poll_until(
		sub {
			sql("SELECT count(*) FROM pg_stat_activity
				WHERE wait_event = 'SyncRep'") >= 1;
		},
		180,
		0.05),
	'a session waits for a standby');
$start = time();
$node->stop('fast');
not_held_up(time() - $start, 'a fast shutdown ends');
$waiting->finish;
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/,
	'nothing crashed');

done_testing();
