# More edges that hang than a process usually has sockets, too few descriptors,
# a burst to a slow edge: each fails the endpoint that it concerns and nobody
# else. And what the dispatcher writes is seen by autovacuum.

use strict;
use warnings FATAL => 'all';

use MiosaFault qw(silent_listener);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(is_delivered make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('limits', <<'EOC');
autovacuum_naptime = 1
autovacuum_vacuum_threshold = 50
autovacuum_vacuum_insert_threshold = 50
EOC
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $silent = silent_listener(4096);

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql
{
	my ($query, $timeout) = @_;

	return poll_until(sub { sql($query) eq 't' }, $timeout // 180, 0.1);
}

sub pid { return sql('SELECT pid FROM miosa.dispatcher()'); }

# Open descriptors of the dispatcher.
sub descriptors { return scalar(() = glob '/proc/' . pid() . '/fd/*'); }

sql(<<"EOS");
INSERT INTO miosa.adapters (name, timeout, max_in_flight, request) VALUES
	('hangs', '5 min', 8, '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}'),
	('burst', '4 s', 2, '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}'),
	('fails', '1 s', 4, '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', replace(d, '_', '-')) FROM
	(SELECT 'dep_' || n AS d FROM generate_series(1, 500) n) x;
SELECT miosa_put_version('dep_' || d, 'v' || n, n) FROM generate_series(1, 500) d, generate_series(1, 2) n;
SELECT miosa_put_endpoint('good', 'hangs', '@{[ $sink->url ]}/good', zone => 'good');
SELECT miosa_promote('dep_1', 'v1');
EOS
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'ready');
my $pid = pid();

#
# 500 at once to one that takes its time: the time-out of a request does not
# run while it waits for its turn
#
$sink->answer('^/burst/', delay => 0.02);
sql("SELECT miosa_put_endpoint('burst', 'burst', '@{[ $sink->url ]}/burst', zone => 'burst');
	DO \$\$ BEGIN FOR d IN 1 .. 500 LOOP
	PERFORM miosa_promote('dep_' || d, 'v2'); END LOOP; END \$\$");
my %received;

poll_until(
	sub {
		%received = map { $_->{path} => 1 } $sink->requests('^/burst/.*/v2');
		return keys %received == 500;
	},
	180,
	0.1);
is(scalar keys %received, 500, 'a burst of 500 is delivered');
is( sql("SELECT failures || coalesce(last_error, ' none') FROM miosa.endpoint_state
		WHERE endpoint = 'burst'"),
	'0 none',
	'and none of them timed out');
my @request = $sink->requests('^/burst/');
cmp_ok($request[-1]{time} - $request[0]{time}, '>', 4,
	'it took longer than one of them may');
sql("SELECT miosa_remove_endpoint('burst')");
$sink->plain;

#
# The statistics of what the dispatcher writes
#
ok( wait_sql("SELECT bool_and(n_tup_ins + n_tup_upd + n_tup_del > 50) FROM pg_stat_user_tables
		WHERE relid IN ('miosa.outbox'::regclass, 'miosa.route_log'::regclass)"),
	'what it writes is counted');
ok( wait_sql("SELECT n_tup_del > 400 FROM pg_stat_user_tables
		WHERE relid = 'miosa.outbox'::regclass"),
	'what it deletes, too');

#
# 1,500 endpoints that accept a connection and never answer
#
sub silent
{
	my ($adapter) = @_;

	# Nobody accepts what the listener before has queued
	$silent = silent_listener(4096);
	return sql("INSERT INTO miosa.endpoints (name, adapter, url, zone, selector)
		SELECT 'silent-' || n, '$adapter', 'http://127.0.0.1:@{[ $silent->sockport ]}', 'silent', '{\"deployment\": \"dep_1\"}'
		FROM generate_series(1, 1500) n");
}

sub not_silent
{
	sql("DELETE FROM miosa.endpoints WHERE name LIKE 'silent%'");
	ok( poll_until(sub { descriptors() < 300 }, 180, 0.1),
		'their sockets are closed when they are removed')
	  or diag descriptors();
	return;
}

silent('hangs');
ok(wait_sql('SELECT in_flight > 1000 FROM miosa.dispatcher()'),
	'more than 1000 requests hang');
ok(poll_until(sub { descriptors() > 1000 }, 180), 'each with a socket');
is_delivered($node, $sink, 'others receive changes although none of them has given up');
is_delivered($node, $sink, 'again');
not_silent();
silent('fails');
ok(wait_sql("SELECT count(*) = 1500 FROM miosa.endpoint_state
		WHERE endpoint LIKE 'silent%' AND health = 'backing off'"),
	'all of them fail in the end');
like(sql("SELECT string_agg(DISTINCT last_error, ' ') FROM miosa.endpoint_state
		WHERE endpoint LIKE 'silent%'"),
	qr/^[^;]*timed out/i, 'because they did not answer');
is_delivered($node, $sink, 'others receive changes meanwhile');
is(pid(), $pid, 'the dispatcher is the one that it was');
not_silent();

ok(wait_sql("SELECT autovacuum_count > 0 FROM pg_stat_user_tables
		WHERE relid = 'miosa.outbox'::regclass"),
	'autovacuum has seen what the dispatcher deleted');

#
# Too few descriptors: the server is started with as many as it just needs
#
$node->stop;
my $few = 120;
$node->command_ok(
	[
		'bash', '-c', "ulimit -n $few && exec \"\$@\"", 'bash',
		'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile,
		'-o', '--cluster-name=limits', 'start'
	],
	"a server with $few descriptors");
$node->_update_pid(1);
sub hang
{
	my ($count) = @_;

	sql("DELETE FROM miosa.endpoints WHERE name LIKE 'few%';
		INSERT INTO miosa.endpoints (name, adapter, url, zone, selector)
		SELECT 'few-' || n, 'fails', 'http://127.0.0.1:@{[ $silent->sockport ]}',
			'silent', '{\"deployment\": \"dep_1\"}'
		FROM generate_series(1, $count) n");
	return;
}

ok(wait_dispatcher($node, 'running'), 'the dispatcher runs');
$pid = pid();
$silent = silent_listener(4096);
hang(40);
is_delivered($node, $sink, 'one that works has its turn');
ok(wait_sql('SELECT in_flight > 4 FROM miosa.dispatcher()'), 'many are asked at the same time');
my $most = sql("DO \$\$ BEGIN CREATE TEMP TABLE seen AS SELECT 0::bigint AS n;
	FOR i IN 1 .. 100 LOOP INSERT INTO seen SELECT in_flight FROM miosa.dispatcher();
		PERFORM pg_sleep(0.01); END LOOP; END \$\$;
	SELECT max(n) FROM seen");
cmp_ok($most, '<=', 16, 'but no more than there is room for');
ok(wait_sql("SELECT count(*) = 40 FROM miosa.endpoint_state
		WHERE endpoint LIKE 'few%' AND last_error ~ 'timed out'"),
	'the others time out, and do not run out of sockets');
cmp_ok(descriptors(), '<', $few, 'for there are no more at a time');

# If there are none all the same, an endpoint has failed, not the dispatcher
hang(0);
$node->command_ok([ 'prlimit', "--pid=$pid", "--nofile=30:$few" ],
	'descriptors run out');
hang(30);
ok(wait_sql("SELECT count(*) > 0 FROM miosa.endpoint_state
		WHERE last_error ~ 'open files|open a socket'"),
	'an endpoint fails, and says why');
$node->command_ok([ 'prlimit', "--pid=$pid", "--nofile=$few:$few" ],
	'there are descriptors again');
hang(0);
is_delivered($node, $sink, 'and one that works receives changes');
is(pid(), $pid, 'by the same dispatcher');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/,
	'nothing crashed');

done_testing();
