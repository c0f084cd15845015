# The dispatcher comes back, however it has ended and whatever it was doing,
# and never takes the server with it; locks of people end it as little as they
# stop requests that are under way.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(is_delivered make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('comes_back', <<'EOC');
max_worker_processes = 24
restart_after_crash = on
EOC
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $url = $sink->url;

sub sql { return $node->safe_psql('postgres', @_); }

sub postmaster
{
	return (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
}

# The table of an endpoint is lost once.  What is sent again it does
# not answer.
sub lose_table
{
	my ($gate) = @_;

	$sink->clear;
	$sink->answer('^/table/dep_1', hold => $gate);
	$sink->answer('^/table/mark$', status => 404, times => 1);
	my ($written) = $sink->wait_for(1, '^/table/mark/');
	ok($sink->wait_for(1, '^/table/dep_1'), 'its loss is noticed');
	return $written;
}

sql(<<"EOS");
INSERT INTO miosa.adapters (name, timeout, max_in_flight, request) VALUES ('slow', '5 min', 2,
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', replace(d, '_', '-')) FROM
	(SELECT 'dep_' || n AS d FROM generate_series(1, 400) n) x;
SELECT miosa_put_version('dep_' || d, 'v' || n, n) FROM generate_series(1, 400) d, generate_series(1, 2) n;
SELECT miosa_put_endpoint('good', 'slow', '$url/good');
EOS
is_delivered($node, $sink, 'ready');
my $postmaster = postmaster();

#
# Every way to end
#
my $pid = sql('SELECT pid FROM miosa.dispatcher()');
sql("SELECT pg_terminate_backend($pid)");
ok(wait_dispatcher($node, 'running', after => $pid), 'back after SIGTERM');
is_delivered($node, $sink, 'and delivers');

# An error that nothing else can be done about: exit code 1
$pid = sql('SELECT pid FROM miosa.dispatcher()');
sql('ALTER TABLE miosa.delivery_failures RENAME TO renamed;
	UPDATE miosa.endpoints SET zone = zone');
ok(poll_until(sub { !kill 0, $pid }, 180), 'a table that is missing ends it');
sql('ALTER TABLE miosa.renamed RENAME TO delivery_failures');
ok(wait_dispatcher($node, 'running', after => $pid), 'back after exit code 1');
is_delivered($node, $sink, 'and delivers');
like(slurp_file($node->logfile),
	qr/dispatcher" \(PID $pid\) exited with exit code 1/, 'it was 1');

# In order, because somebody wants the database: exit code 0
$pid = sql('SELECT pid FROM miosa.dispatcher()');
$node->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
ok(wait_dispatcher($node, 'running', after => $pid), 'back after exit code 0');
is_delivered($node, $sink, 'and delivers');
unlike(slurp_file($node->logfile),
	qr/dispatcher" \(PID $pid\) exited/, 'it was 0');
sql('DROP DATABASE copy');

#
# Ended again and again, most of all while it starts
#
$node->safe_psql('template1', "CREATE DATABASE $_") for map { "d$_" } 1 .. 3;
$node->safe_psql($_, 'CREATE EXTENSION miosa_rollback')
  for map { "d$_" } 1 .. 3;
sql(<<'EOS');
DO $$ DECLARE ended integer := 0; n integer; BEGIN
	WHILE ended < 20 LOOP
		SELECT count(pg_terminate_backend(pid)) INTO n FROM pg_stat_activity
			WHERE backend_type = 'miosa_rollback dispatcher'
				OR backend_type = 'miosa_rollback launcher' AND random() < 0.01;
		COMMIT;
		ended := ended + n;
		PERFORM pg_sleep(random() * 0.01);
	END LOOP; END $$;
EOS
ok( poll_until(
		sub {
			sql("SELECT count(*) FROM pg_stat_activity
				WHERE backend_type = 'miosa_rollback dispatcher'") == 4;
		},
		180,
		0.1),
	'all are back after 20 times');
is_delivered($node, $sink, 'and deliver');
is(postmaster(), $postmaster, 'the server is the one that it was');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/,
	'and nothing has crashed so far');
$node->safe_psql('template1', "DROP DATABASE $_") for map { "d$_" } 1 .. 3;

#
# People's locks
#
my @table = split /\n/, sql("SELECT oid::regclass FROM pg_class
	WHERE relnamespace = 'miosa'::regnamespace AND relkind = 'r' ORDER BY 1");
my $session = $node->background_psql('postgres');

cmp_ok(scalar @table, '>=', 15, 'there are tables to lock');
$pid = sql('SELECT pid FROM miosa.dispatcher()');
is_delivered($node, $sink, 'ready');
$sink->answer('^/good/', hold => 'many');
$sink->clear;
sql("DO \$\$ BEGIN FOR d IN 1 .. 400 LOOP
	PERFORM miosa_promote('dep_' || d, 'v2'); COMMIT; END LOOP; END \$\$");
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM miosa.outbox')
  or die "changes are not read\n";
ok($sink->wait_for(2, '^/good/'), 'there is much to deliver');
for my $table (@table)
{
	$session->query_safe("BEGIN; LOCK TABLE $table; SELECT pg_sleep(0.1)");
	$session->query_safe('ROLLBACK');
}
$session->query_safe('BEGIN; LOCK TABLE ' . join(', ', @table));
$sink->release('many');
ok($sink->wait_for(10, '^/good/'), 'requests go out while all tables are locked');
$session->query_safe('ROLLBACK');
$session->quit;
is(sql("SELECT miosa_wait_converged('dep_400', '180 s')"),
	'converged', 'all is delivered');
is(sql('SELECT pid FROM miosa.dispatcher()'),
	$pid, 'locks did not end the dispatcher');
$sink->plain;

#
# A crash of the server, with work that no dispatcher has taken
#
is_delivered($node, $sink, 'ready');
$session = $node->background_psql('postgres', on_error_stop => 0);
my $holder = $session->query_safe('SELECT pg_backend_pid()');

$session->query_safe('BEGIN; SELECT * FROM miosa.dispatcher_state FOR UPDATE');
$sink->clear;
sql("SELECT miosa_promote('dep_1', 'v1'); SELECT miosa_promote('dep_1', 'v2')");
is(sql('SELECT count(*) > 0 FROM miosa.outbox'), 't', 'work is waiting');
is(scalar($sink->requests), 0, 'and receives nothing');
kill 'KILL', $holder;
ok( poll_until(
		sub {
			my ($status) =
			  $node->psql('postgres', 'SELECT 1', timeout => 180);
			return $status == 0
			  && slurp_file($node->logfile) =~
			  /terminating any other active server processes/;
		},
		180,
		0.1),
	'the server restarts by itself');
$session->{timeout} = undef;
eval { $session->quit };
ok($sink->wait_for(1, '^/good/dep_1/v2'),
	'what was pending is delivered, without anything new');
is(postmaster(), $postmaster, 'by the same postmaster');

#
# A table that was lost, of which only a dispatcher knew that has ended
#
sql(<<"EOS");
INSERT INTO miosa.adapters (name, timeout, volatile, marker_interval, marker_write, marker_read, request)
	VALUES ('table', '5 min', true, '200 ms', '{"method": "PUT", "path": "/mark/{epoch}"}',
	'{"method": "GET", "path": "/mark"}', '{"method": "PUT", "path": "/{deployment_id}"}');
EOS
$sink->answer('^/table/mark$', body => '9' x 18);
sql("SELECT miosa_put_endpoint('table', 'table', '$url/table', selector => '{\"deployment\": [\"dep_1\"]}')");
ok($sink->wait_for(1, '^/table/dep_1'), 'a table is sent');
$node->poll_query_until('postgres', 'SELECT verified_epoch > 1 AND verified_epoch = acked_epoch
	AND resync_after IS NULL FROM miosa.endpoint_state WHERE endpoint = $$table$$')
  or die 'is not verified';
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe(q{BEGIN; SELECT FROM miosa.endpoint_state WHERE endpoint = 'table' FOR UPDATE});
my $mark = lose_table('first');
$sink->clear;
sql(q{UPDATE miosa.adapters SET timeout = '4 min' WHERE name = 'table'});
ok($sink->wait_for(1, '^/table/dep_1'), 'and not forgotten when settings change');
$sink->plain('^/table/mark$', body => '9' x 18);
$sink->release('first');
$mark = lose_table('second');
$mark->{path} =~ m{(\d+)$} or die 'no marker';
$sink->plain('^/table/mark$', body => $1);
$pid = sql('SELECT pid FROM miosa.dispatcher()');
# The old one sends nothing more, since the first route is not answered
$sink->clear;
sql("SELECT pg_terminate_backend($pid)");
ok(wait_dispatcher($node, 'running', after => $pid), 'and forgotten');
$session->query_safe('ROLLBACK');
$session->quit;
ok($sink->wait_for(1, '^/table/dep_1'), 'but noticed again');

done_testing();
