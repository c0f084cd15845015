# A queue of notifications that is more than half full keeps nothing from being
# delivered over HTTP: NOTIFY is left out, the log says so, and when there is
# room again listeners are notified from where to where.
#
# It takes 4 GB to fill it that far where its size cannot be set, before 17, so
# there this is part of "make torture" and "make coverage" only.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my ($major) = qx{pg_config --version} =~ /(\d+)/;
my ($settings, $portion) =
  $major >= 17 ? ('max_notify_queue_pages = 64', 5) : ('', 10000);

plan skip_all => 'only with TORTURE' unless $ENV{TORTURE} || $settings;

my $node = make_node('queue', $settings);
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $number = 1;

sub sql { return $node->safe_psql('postgres', @_); }

sub is_converged
{
	my ($name) = @_;

	$number = 3 - $number;
	sql("SELECT miosa_promote('dep_1', 'v$number')");
	is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', $name);
	return;
}

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}');
EOS
is_converged('ready');

# Two listen, one of them sleeps in a transaction
my ($asleep, $listener) =
  map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;

$asleep->query_safe('LISTEN other');
$asleep->query_safe('BEGIN');
for my $turn (1 .. 60)
{
	sql("SELECT count(pg_notify('other', n || repeat('x', 7990))) FROM generate_series(1, $portion) n");
	last if sql('SELECT pg_notification_queue_usage() > 0.5') eq 't';
}
is(sql('SELECT pg_notification_queue_usage() > 0.5'), 't', 'more than half full');
$listener->query_safe('LISTEN miosa_route');
my $notified = sql('SELECT notified FROM miosa.stat_dispatcher');

is_converged("delivered, $_ of 3") for 1 .. 3;
is(sql('SELECT notified FROM miosa.stat_dispatcher'), $notified, 'without NOTIFY');
like(slurp_file($node->logfile), qr/more than half full, pausing notifications/,
	'the log says so');
is(sql(q{SELECT status FROM miosa_doctor() WHERE item = 'notification_queue'}),
	'warn', 'and the doctor');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE state = 'idle in transaction'");
eval { $asleep->quit };
my $heard = '';
ok( poll_until(
		sub {
			$heard .= $listener->query('SELECT 1');
			return $heard =~ /\{"from":\d+,"to":\d+\}/;
		},
		180,
		0.1),
	'listeners are notified of what they have missed')
  or diag $heard;
$listener->quit;

done_testing();
