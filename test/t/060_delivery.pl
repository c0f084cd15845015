# Whatever people leave open in a session, and whatever NOTIFY does, requests
# go out.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('delivery', <<'EOC');
synchronous_commit = local
wal_level = replica
max_wal_senders = 2
max_prepared_transactions = 10
log_min_messages = log
EOC
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $turn = 0;

sub sql { return $node->safe_psql('postgres', @_); }

# The other version is promoted and the sink receives it.
sub is_delivered
{
	my ($name) = @_;
	my $version = 'ver_' . (++$turn % 2 + 1);

	$sink->clear;
	sql("SELECT miosa_promote('dep_1', '$version')");
	my @request = $sink->wait_for(1, '^/hook');

	like(@request ? $request[-1]{body} : 'nothing',
		qr/"version_id":"$version"/, $name);
	return;
}

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_domain('shop.acme.test', 'dep_1');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}/hook');
EOS
$node->poll_query_until('postgres',
	"SELECT health = 'healthy' OR resync_after IS NULL
	FROM miosa.endpoint_state WHERE endpoint = 'hook'");
is_delivered('delivered');
my ($request) = $sink->requests('^/hook');
is($request->{method}, 'POST', 'by POST');
like($request->{headers}{'content-type'}, qr{application/json}, 'as JSON');
like(
	$request->{body},
	qr/"hosts":\[[^]]*"shop\.acme\.test"/,
	'the hosts are in it');
is($request->{headers}{'webhook-id'} =~ /^dep_1\@\d+$/,
	1, 'with an id that stays the same');
ok(!exists $request->{headers}{authorization}, 'without a secret: no header');

# Open transactions of people
for my $lock (
	"UPDATE miosa.endpoints SET zone = zone",
	"SELECT * FROM miosa.endpoints FOR UPDATE",
	"SELECT * FROM miosa.endpoint_state FOR UPDATE",
	"SELECT * FROM miosa.route_log FOR UPDATE",
	"LOCK TABLE miosa.adapters IN SHARE ROW EXCLUSIVE MODE")
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe('BEGIN');
	$session->query_safe("$lock");
	is_delivered("delivered in spite of an open $lock");
	$session->query_safe('ROLLBACK');
	$session->quit;
}
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'and acknowledgements are written down afterwards');

# COMMIT PREPARED sets no latch
$sink->clear;
sql("BEGIN; SELECT miosa_resend('dep_1'); PREPARE TRANSACTION 'later'");
sql("COMMIT PREPARED 'later'");
ok($sink->wait_for(1, '^/hook'), 'a prepared transaction is found');

# A savepoint that is rolled back, then a commit
$sink->clear;
sql("BEGIN; SAVEPOINT s; SELECT miosa_promote('dep_1', 'ver_1', 'gone');
	ROLLBACK TO s; COMMIT");
is_delivered('after a savepoint that was rolled back');

# The dispatcher notifies listeners
my $out = '';
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN miosa_route');
is_delivered('delivered while somebody listens');
ok( poll_until(
		sub {
			$out .= $listener->query('SELECT 1');
			return $out =~ /"deployment_id":"dep_1"/;
		},
		180,
		0.1),
	'and NOTIFY has come') or diag $out;
like($out, qr/"epoch":\d+/, 'with an epoch');

# The lock that every commit with a NOTIFY takes is held by a session that
# waits for a standby which is not there: NOTIFY fails, requests go out
sql('CREATE TABLE something (n integer)');
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$node->poll_query_until('postgres',
	"SELECT current_setting('synchronous_standby_names') = 'nobody'");
my $stuck = IPC::Run::start(
	[
		'psql', '-XqAt', '-d', $node->connstr('postgres'),
		'-c', 'SET synchronous_commit = on',
		'-c', 'INSERT INTO something VALUES (1); NOTIFY other'
	],
	'<', \undef, '>', \my $stuck_out, '2>', \my $stuck_err);
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
	'a session holds the lock of NOTIFY');
is_delivered('delivered while NOTIFY cannot be committed');
ok(wait_dispatcher($node, 'running'), 'the dispatcher goes on');
ok( poll_until(
		sub {
			return PostgreSQL::Test::Utils::slurp_file($node->logfile) =~
			  /canceling statement due to lock timeout/;
		},
		180,
		0.1),
	'the log says so');
sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity
	WHERE wait_event = 'SyncRep'");
$out = '';
ok( poll_until(
		sub {
			$out .= $listener->query('SELECT 1');
			return $out =~ /"(?:from|deployment_id)":/;
		},
		180,
		0.1),
	'NOTIFY is made up for afterwards');
$listener->quit;
$stuck->finish;

done_testing();
