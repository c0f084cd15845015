# The wall clock is set back by two hours: what is waited for is
# measured by the monotonic clock, so nothing waits for two hours.

use strict;
use warnings FATAL => 'all';

use MiosaClock;
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $clock = MiosaClock->new($dir) or plan skip_all => 'no C compiler';
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $node;
{
	local $ENV{LD_PRELOAD} = $clock->library;
	$node = make_node('clock', "autovacuum = off\n");
}

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_, 180); }
sub verdict { my ($timeout) = @_; return sql("SELECT miosa_wait_converged('d1', '$timeout')"); }

sub set_back { my ($seconds) = @_; return $clock->set(-$seconds); }

sql(<<"EOS");
INSERT INTO miosa.adapters (name, request) VALUES ('plain', '{"method": "PUT", "path": "/{version_id}"}');
INSERT INTO miosa.adapters (name, stage, settle, request) VALUES ('cache', 1, '1 s', '{"method": "PURGE", "path": "/{version_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('d1', 'ten_1', 'd1');
SELECT miosa_put_version('d1', 'v' || n, n) FROM generate_series(1, 3) n;
SELECT miosa_put_endpoint('router', 'plain', '@{[ $sink->url ]}/router');
SELECT miosa_put_endpoint('cache', 'cache', '@{[ $sink->url ]}/cache');
SELECT miosa_promote('d1', 'v1');
EOS
is(verdict('180 s'), 'converged', 'before');

# A failure is waited for, a purge is to be repeated, and the clock is set back
my $real = sql('SELECT extract(epoch FROM clock_timestamp())');
$sink->answer('^/router', status => 503);
sql("SELECT miosa_promote('d1', 'v2')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'router'", 'backing off'),
	'backing off', 'a router fails');
set_back(7200);
cmp_ok(sql('SELECT extract(epoch FROM clock_timestamp())'), '<', $real, 'the clock of the server is set back');
$sink->plain;
is(verdict('180 s'), 'converged', 'the router is tried again');
is( wait_sql("SELECT state FROM miosa.convergence_rows('d1') WHERE endpoint = 'cache'", 'settled'),
	'settled', 'the purge is repeated');

# A wait takes as long as its timeout says
set_back(0);
$sink->answer('^/router', status => 503);
sql("SELECT miosa_promote('d1', 'v3')");
is(wait_sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'router'", 'backing off'),
	'backing off', 'it fails again');
my $waiting = $node->background_psql('postgres');
$waiting->query_until(qr/waiting/, "\\echo waiting\nSELECT miosa_wait_converged('d1', '5 s');\n");
is(wait_sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT miosa_wait_conv%'", 1),
	1, 'somebody waits');
set_back(7200);
is(wait_sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT miosa_wait_conv%' AND state = 'active'", 0),
	0, 'the time-out is over, not in two hours');
$waiting->quit;

# A dispatcher that ends is started again
my $pid = sql('SELECT pid FROM miosa.dispatcher()');
set_back(14400);
sql("SELECT pg_terminate_backend($pid)");
is(wait_sql("SELECT state = 'running' AND pid <> $pid FROM miosa.dispatcher()", 't'), 't', 'a dispatcher is started again');
$sink->plain;
is(verdict('180 s'), 'converged', 'and it delivers');

$node->stop;
done_testing();
