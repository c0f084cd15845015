# Dynamic deployments with a scheduler that really starts and stops processes,
# behind HAProxy, with traffic all the time: whatever is promoted and rolled
# back, not one request is lost; instances that still live need no scheduler,
# and those that nobody needs are stopped.

use strict;
use warnings FATAL => 'all';

use MIME::Base64 qw(encode_base64);
use MiosaHttp qw(http poll_until);
use MiosaScheduler;
use MiosaTest qw(make_edge make_node operate verdict);
use MiosaVisitors qw(start_visitors stop_visitors);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $host = 'shop.acme.miosa.app';
my $secret = 'whsec_' . encode_base64('s' x 32, '');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('scheduler', <<'EOC');
miosa_rollback.capacity_interval = 1s
miosa_rollback.drain_delay = 500ms
miosa_rollback.cutover_deadline = 10min
miosa_rollback.heartbeat_timeout = 10min
EOC
my $edge = make_edge(dynamic => [ 'ver_1', 'ver_2', 'ver_3' ]);
my $scheduler = MiosaScheduler->new(
	dir => "$dir/scheduler",
	psql => [ 'psql', '-X', '-d', $node->connstr('postgres') ],
	secret => $secret,
	sockets => [ $edge->sockets ],
	heartbeat => 1)->start;
my $url = $scheduler->url;

sql(qq{
	SELECT miosa_put_secret('edge', '$edge->{secret}');
	SELECT miosa_put_secret('boots', '$secret');
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop', kind => 'dynamic', desired_replicas => 2);
	SELECT miosa_put_version('dep_1', 'ver_' || i, i, 'dynamic') FROM generate_series(1, 3) i;
	SELECT miosa_put_endpoint('router-1', 'haproxy-map', '} . $edge->router_url . qq{', secret => 'edge');
	SELECT miosa_put_endpoint('boots', 'webhook-scheduler', '$url/', secret => 'boots')});

# Nothing serves yet: routes point there at once, and instances come
operate($node, 'promote', 'ver_1');
ok($scheduler->wait_for(1, 'ver_1'), 'the scheduler is asked');
is(wait_sql(live('ver_1'), 2), 2, 'two instances come up');
is(wait_sql("SELECT state FROM miosa.deployments", 'running'),
	'running', 'which is all');
is(verdict($node, '180 s'), 'converged', 'and routers know');
is(page(), 'ver_1', 'visitors are served by an instance')
  or BAIL_OUT(visit() . $edge->logs . $scheduler->tail);

my $visits = "$dir/visits";
open(my $seen_pages, '>', $visits) or die "$visits: $!\n";
$seen_pages->autoflush(1);
my $visitor = start_visitors(\&note_visit);

# Each switch waits for the instances of its version
for my $version ('ver_2', 'ver_3')
{
	$scheduler->set(hold => 1);
	operate($node, 'promote', $version);
	is(waits_for_instances(),
		'waiting_instances', "$version: its instances are waited for");
	is(page(), $version eq 'ver_2' ? 'ver_1' : 'ver_2',
		"$version: the old ones serve");
	$scheduler->set(hold => 0);
	ok(wait_for_page($version), "$version: then it serves");
	is(verdict($node, '180 s'), 'converged', "$version: converged");
}

# Two versions ago is needed by nobody
is(drained('ver_1'), 'drained', 'what nobody needs is drained');
is(($scheduler->requests('ver_1'))[-1]{count}, 0, 'the scheduler was asked to');
ok(poll_until(sub { !$scheduler->instances('ver_1') }, 180),
	'its processes have ended');
is(sql(live('ver_2')), 2, 'those of the version before are kept');

# The case that other tools fail at: back to what has no instances any more
my @ask;
my @seen;

$scheduler->set(hold => 1);
operate($node, 'rollback', 'ver_1');
is(waits_for_instances(), 'waiting_instances', 'rollback: instances first');
is(page(), 'ver_3', 'rollback: what was left serves meanwhile');
$scheduler->set(hold => 0);
ok(wait_for_page('ver_1'), 'rollback: then the old version');
push @seen, seen_after_report('ver_1');
is(verdict($node, '180 s'), 'converged', 'rollback: converged');
push @ask, asked_after_commit('ver_1');
is(wait_sql("SELECT count(*) FROM miosa.capacity WHERE state = 'wanted'", 0),
	0, 'rollback: nothing more is asked for');
is(drained('ver_2'), 'drained', 'rollback: the version before the last is not needed');

# The instant case: what was left still lives
my $before = $scheduler->requests;

operate($node, 'rollback', 'ver_3');
is(verdict($node, '180 s'), 'converged', 'forward again: converged');
is(page(), 'ver_3', 'forward again: at once');
is(sql("SELECT count(*) FROM miosa.route_log WHERE kind = 'capacity'
		AND created_at >= (SELECT max(created_at) FROM miosa.audit_events)"),
	0, 'forward again: the scheduler has nothing to do');
is(scalar(grep { $_->{version} eq 'ver_3' } ($scheduler->requests)[ $before .. $scheduler->requests - 1 ]),
	0, 'forward again: and is asked nothing');

# A scheduler that refuses at first, and the same again
operate($node, 'promote', 'ver_1');
ok(wait_for_page('ver_1'), 'again: away from the version');
for my $try (1 .. 3)
{
	is(drained('ver_2'), 'drained', "again $try: drained");
	$scheduler->clear;
	$scheduler->set(refuse => 2) if $try == 1;
	operate($node, 'rollback', 'ver_2');
	ok(wait_for_page('ver_2'), "again $try: it serves");
	push @seen, seen_after_report('ver_2');
	push @ask, asked_after_commit('ver_2') if $try > 1;
	is( scalar(grep { $_->{status} == 503 } $scheduler->requests),
		$try == 1 ? 2 : 0, "again $try: asked until it was taken");
	my @request = $scheduler->requests('ver_2');
	my ($taken) = grep { $request[$_]{status} != 503 } 0 .. $#request;

	is(scalar(grep { $_->{id} ne $request[0]{id} } @request[ 0 .. $taken ]),
		0, "again $try: under one id until it was taken");
	operate($node, 'promote', 'ver_3');
	ok(wait_for_page('ver_3'), "again $try: forward");
	operate($node, 'promote', 'ver_1');
	ok(wait_for_page('ver_1'), "again $try: and another");
}

# An instance that dies is not the dispatcher's business
my ($victim) = $scheduler->instances('ver_1');

kill 'KILL', $victim->{pid};
is( wait_sql("SELECT state FROM miosa.runtime_instances WHERE id = '$victim->{id}'", 'failed'),
	'failed', 'an instance that dies is reported');
is(wait_sql(live('ver_1'), 2), 2, 'the scheduler replaces it');

ok(poll_until(sub { visits() > 500 }, 180), 'visitors came all the time');
stop_visitors($visitor);

my @visit = visits();
my @lost = grep { $_->{status} != 200 } @visit;

is(scalar @lost, 0, 'and each of them was served')
  or diag join "\n", map { "$_->{at} $_->{status} $_->{what}" } @lost[ 0 .. ($#lost < 9 ? $#lost : 9) ];
note sprintf 'from the rollback to the first instance asked for: %s ms',
  join ', ', map { sprintf '%.1f', $_ * 1000 } @ask;
note sprintf 'from the completing report to the route at HAProxy: %s ms',
  join ', ', map { sprintf '%.1f', $_ * 1000 } @seen;

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }

sub live
{
	my ($version) = @_;

	return "SELECT count(*) FROM miosa.live_instances WHERE version_id = '$version'";
}

# The version that a visitor sees.
sub page
{
	my ($version) = visit() =~ m{/(ver_\d)/};

	return $version;
}

sub visit
{
	return http(port => $edge->{port}{'router-1'}, host => $host)->{body};
}

sub wait_for_page
{
	my ($version) = @_;

	return poll_until(sub { (page() // '') eq $version }, 180);
}

# How waiting for the version ends while the scheduler holds its instances.
sub waits_for_instances
{
	return wait_sql("SELECT miosa_wait_converged('dep_1', '0 s')",
		'waiting_instances');
}

sub drained
{
	my ($version) = @_;

	return wait_sql(
		"SELECT state FROM miosa.capacity WHERE version_id = '$version'",
		'drained');
}

# One visitor, as one comes after the other; what it has seen is a line of the
# file.
sub note_visit
{
	my $answer = http(port => $edge->{port}{'router-1'}, host => $host);
	my ($version) = $answer->{body} =~ m{/(ver_\d)/};

	print $seen_pages join(' ', time(), $answer->{status}, $version // 'none'), "\n";
	Time::HiRes::sleep(0.002);
	return;
}

sub visits
{
	open(my $in, '<', $visits) or die "$visits: $!\n";
	return map { my %v; @v{qw(at status what)} = split; \%v } <$in>;
}

# Seconds from the commit of the newest operation until the scheduler was
# first asked for the version.
sub asked_after_commit
{
	my ($version) = @_;
	my $at = sql('SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))
		FROM miosa.audit_events ORDER BY seq DESC LIMIT 1');
	my ($request) = grep { $_->{time} > $at - 0.001 && $_->{count} > 0 }
	  $scheduler->requests($version);

	return $request->{time} - $at;
}

# Seconds from the commit of the report that switched routes until a visitor
# first saw the version.
sub seen_after_report
{
	my ($version) = @_;
	my $at = sql("SELECT extract(epoch FROM created_at) FROM miosa.route_log
		WHERE kind = 'route' ORDER BY epoch DESC LIMIT 1");
	my $visit;

	poll_until(
		sub {
			($visit) = grep { $_->{at} > $at && $_->{what} eq $version } visits();
			return $visit;
		},
		180);
	return $visit->{at} - $at;
}

done_testing();
