# A server that is stopped and goes on later may have a successor by then. Its
# dispatcher sends nothing before a synchronous standby has confirmed that it is
# the primary still.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('stopped', '', allows_streaming => 1);
my $edge = MiosaSink->new(dir => "$dir/edge")->start;

# One request at a time
$edge->answer('^/dep_1$', hold => 'gate');
$node->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.adapters (name, timeout, max_in_flight, request) VALUES ('put', '5 min', 1,
	'{"method": "PUT", "path": "/{deployment_id}"}');
SELECT miosa_put_endpoint('edge', 'put', '@{[ $edge->url ]}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_' || n, 'ten_1', 'dep-' || n) FROM generate_series(1, 2) n;
SELECT miosa_put_version('dep_' || n, 'ver_1', 1) FROM generate_series(1, 2) n;
SELECT miosa_promote('dep_1', 'ver_1');
EOS
ok($edge->wait_for(1, '^/dep_1$'), 'a request is in flight');
$node->safe_psql('postgres', q{SELECT miosa_promote('dep_2', 'ver_1')});
ok( $node->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM miosa.outbox'),
	'the dispatcher has another one to send');

# It is stopped for so long that it notices, and commits wait when it goes on
my $dispatcher = $node->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'miosa_rollback dispatcher'});

kill 'STOP', $dispatcher;
my $stopped = time();

$node->safe_psql('postgres',
	q{ALTER SYSTEM SET synchronous_standby_names = 'absent'});
$node->reload;
ok( $node->poll_query_until('postgres',
		q{SELECT current_setting('synchronous_standby_names') = 'absent'}),
	'no standby is there any more');
$edge->release('gate');
ok(poll_until(sub { time() - $stopped > 5 }), 'the dispatcher is stopped');
kill 'CONT', $dispatcher;

my $waits = "SELECT count(*) FROM pg_stat_activity
	WHERE pid = $dispatcher AND wait_event = 'SyncRep'";

ok( poll_until(
		sub {
			$edge->requests('^/dep_2$')
			  || $node->safe_psql('postgres', $waits) eq '1';
		}),
	'it goes on');
is(scalar(() = $edge->requests('^/dep_2$')), 0, 'and sends nothing');
$node->safe_psql('postgres',
	q{ALTER SYSTEM SET synchronous_standby_names = ''});
$node->reload;
ok($edge->wait_for(1, '^/dep_2$'), 'until its commit is confirmed');

$node->stop('immediate');
done_testing();
