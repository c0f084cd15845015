# What surrounds the dispatcher is hostile: few descriptors, settings that are
# meant for people, a process that was stopped. It works, or it is said why it
# does not.

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('trouble');
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $url = $sink->url;
my $number = 1;

sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
	SELECT miosa_put_endpoint('hook', 'webhook', '$url/hook')});
is(delivered(), 'converged', 'ready');

#
# Intervals: one that is polled every hour is not polled while another one is
# polled again and again
#
$sink->answer('^/poll/', body => '{"n": 0}');
for my $kind ([ 'fast', '100 ms' ], [ 'slow', '1 hour' ])
{
	my ($name, $interval) = @$kind;

	sql(qq{
	INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "$name", "builtin": false,
			"poll": {"method": "GET", "path": "/{deployment_id}"}, "healthy_json_path": "\$.n", "poll_interval": "$interval"}')).*
		FROM miosa.adapters a WHERE name = 'webhook-scheduler';
	SELECT miosa_put_endpoint('$name', '$name', '$url/poll', selector => '{"deployment": "$name"}');
	SELECT miosa_put_deployment('$name', 'ten_1', '$name', kind => 'dynamic', desired_replicas => 1);
	SELECT miosa_put_version('$name', 'ver_1', 1, 'dynamic')});
}
$sink->clear;
sql("SELECT miosa_promote('slow', 'ver_1')");
ok($sink->wait_for(1, '^/poll'), 'a scheduler is asked for an instance');
sql("SELECT miosa_promote('fast', 'ver_1')");
ok($sink->wait_for(20, '^/poll/fast'), 'one is polled ten times a second');

my @fast = $sink->requests('^/poll/fast');
my $seconds = $fast[-1]{time} - $fast[0]{time};

cmp_ok(scalar $sink->requests('^/poll/slow'),
	'<=', 1, 'one that is polled every hour is not');
cmp_ok(scalar @fast, '<=', 2 + $seconds / 0.1, 'and no more often than that');
sql("DELETE FROM miosa.endpoints WHERE name IN ('fast', 'slow')");

#
# Limits of open files, from the highest that there is here
#
for my $limit (65536, 5000, 4096, 1024, 320, 120)
{
  SKIP:
	{
		skip "this process may not have $limit files open", 2
		  if hard_limit() < $limit;
		lower_limit($limit);
		my $from = -s $node->logfile;

		$node->restart;
		is(delivered(), 'converged', "$limit open files: it delivers");
		unlike(slurp_file($node->logfile, $from),
			qr/open files|ERROR/, "$limit open files: nothing fails");
	}
}

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# How telling the endpoint a new change ends.
sub delivered
{
	$number = 3 - $number;
	sql("SELECT miosa_promote('dep_1', 'ver_$number')");
	return sql("SELECT miosa_wait_converged('dep_1', '180 s')");
}

sub hard_limit
{
	my ($limit) = run_command(
		[ 'prlimit', "--pid=$$", '--nofile', '--output=HARD', '--noheadings' ]);

	$limit =~ s/\D//g;
	return $limit eq '' ? 1e9 : $limit;
}

# For this process and all that it starts from now on.
sub lower_limit
{
	my ($limit) = @_;

	system_or_bail('prlimit', "--pid=$$", "--nofile=$limit:$limit");
	return;
}

done_testing();
