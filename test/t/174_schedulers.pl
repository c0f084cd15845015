# Schedulers that cannot be run here, from a rollback to what they are asked,
# byte for byte; how many instances they say there are; and what they refuse,
# which needs no operator. The server refuses what their documentation does
# not allow (test/js/schedulers.js).

use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(sha256_hex);
use JSON::PP qw(decode_json encode_json);
use MiosaHttp qw(poll_until);
use MiosaNode;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my @services = qw(kubernetes nomad ecs fly);
my $world = MiosaNode->new(
	dir => PostgreSQL::Test::Utils::tempdir_short() . '/schedulers',
	script => 'schedulers',
	services => \@services)->start;
my $node = make_node('schedulers', <<'EOC');
miosa_rollback.capacity_interval = 150ms
miosa_rollback.drain_delay = -1
miosa_rollback.heartbeat_timeout = 10min
EOC
my $agent = 'miosa_rollback/'
  . sql("SELECT extversion FROM pg_extension WHERE extname = 'miosa_rollback'");
my %adapter = (
	kubernetes => 'kubernetes-scale',
	nomad => 'nomad-scale',
	ecs => 'ecs-service',
	fly => 'fly-machines');
my %path = (
	kubernetes => '/apis/apps/v1/namespaces/sites',
	nomad => '/v1',
	ecs => '',
	fly => '/v1/apps/sites');
my %secret = (
	kubernetes => 'k8s-token',
	nomad => 'nomad-token',
	ecs => 'AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
	fly => 'fly-token');

# A deployment for each, of which only that scheduler is asked; polled more
# often than by the shipped adapter, so that this test is soon over
sql("SELECT miosa_put_tenant('ten_1', 'acme')");
for my $service (@services)
{
	my $url = $world->url($service) . $path{$service};

	$world->set($service,
		workloads => [ map { "$service-v$_" } 1 .. 3 ],
		machines => [ map { "m$_" } 1 .. 4 ]);
	sql(qq{
	SELECT miosa_put_secret('$service', '$secret{$service}');
	SELECT miosa_put_deployment('$service', 'ten_1', '$service', kind => 'dynamic', desired_replicas => 2);
	SELECT miosa_put_version('$service', 'ver_' || i, i, 'dynamic') FROM generate_series(1, 3) i;
	INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "$service", "poll_interval": "100 ms", "builtin": false}')).*
		FROM miosa.adapters a WHERE name = '$adapter{$service}';
	SELECT miosa_put_endpoint('$service', '$service', '$url', secret => '$service',
		selector => '{"deployment": "$service"}')});
}

# What each is asked, and asked about
my %asked = (
	kubernetes => sub {
		return request(
			'kubernetes',
			"PATCH $path{kubernetes}/deployments/kubernetes-v1/scale",
			'Accept: application/json',
			'Content-Type: application/merge-patch+json',
			'Authorization: Bearer k8s-token',
			'{"spec":{"replicas":2}}');
	},
	nomad => sub {
		my ($got) = @_;
		my $id = decode_json($got->{body})->{Meta}{miosa_request};

		like($id, qr/^nomad:ver_1\@\d+$/, 'nomad: the request has a name');
		return request(
			'nomad', 'POST /v1/job/nomad-v1/scale',
			'Content-Type: application/json',
			'X-Nomad-Token: nomad-token',
			'{"Count":2,"Target":{"Group":"nomad-v1"},'
			  . '"Message":"miosa_rollback nomad#1",'
			  . qq("Meta":{"miosa_request":"$id"}}));
	},
	ecs => sub {
		my ($got) = @_;

		return ecs_request($got, 'UpdateService',
			'{"cluster":"default","service":"ecs-v1","desiredCount":2}');
	});
my %polled = (
	kubernetes => sub {
		return request(
			'kubernetes', "GET $path{kubernetes}/deployments/kubernetes-v1",
			'Accept: application/json', 'Authorization: Bearer k8s-token');
	},
	nomad => sub {
		return request('nomad', 'GET /v1/job/nomad-v1/scale',
			'X-Nomad-Token: nomad-token');
	},
	ecs => sub {
		my ($got) = @_;

		return ecs_request($got, 'DescribeServices',
			'{"cluster":"default","services":["ecs-v1"]}');
	});

for my $service (qw(kubernetes nomad ecs))
{
	sql("SELECT miosa_promote('$service', 'ver_1')");
	is(wait_sql(live($service, 'ver_1'), 2), 2, "$service: two instances come up")
	  or diag state_of($service);
	is(wait_sql("SELECT state FROM miosa.deployments WHERE id = '$service'", 'running'),
		'running', "$service: which is all");
	is(wait_sql("SELECT count(*) FROM miosa.capacity WHERE deployment_id = '$service'", 0),
		0, "$service: and nothing more is asked for");

	my @request = $world->requests($service);
	my ($ask) = grep { !is_poll($_) } @request;
	my ($poll) = grep { is_poll($_) } @request;

	is($ask->{raw}, $asked{$service}->($ask), "$service: asked, byte for byte");
	is($poll->{raw}, $polled{$service}->($poll), "$service: polled, byte for byte");
	is($world->state($service)->{error}, undef, "$service: nothing was wrong");

	# Polls are their heartbeat
	my $since = sql('SELECT clock_timestamp()');

	is( wait_sql(
			"SELECT bool_and(last_heartbeat_at > '$since'::timestamptz) FROM miosa.runtime_instances
			WHERE deployment_id = '$service' AND reported_by = '$service'", 't'),
		't',
		"$service: their heartbeats arrive");
	is(sql(live($service, 'ver_1')), 2, "$service: and so are alive");
	is( $world->state($service)->{workloads}{"$service-v1"}{scaled},
		scalar(grep { !is_poll($_) } $world->requests($service)),
		"$service: nobody is asked for them again");

	# One goes, all go, and they come back: nobody has asked for that
	for my $there (1, 0, 2)
	{
		$world->set($service, healthy => { "$service-v1" => $there });
		is(wait_sql(live($service, 'ver_1'), $there),
			$there, "$service: $there of them are seen");
	}

	# Nonsense is no number
	for my $body (bodies($service))
	{
		sql("SELECT miosa_reset_stats('$service')");
		$world->set($service, times => 1, only => poll_text($service), answer => { body => $body });
		is( wait_sql(
				"SELECT failed = 1 AND succeeded > 0 AND state = 'healthy' AND last_error ~ 'HTTP status 200'
				FROM miosa.stat_endpoint WHERE name = '$service'", 't'),
			't', "$service: no answer: " . substr($body, 0, 60))
		  or diag state_of($service);
		is(sql(live($service, 'ver_1')), 2, "$service: so nothing has changed");
	}

	# A number that is null is none, where it is known whose it is
	if ($service eq 'kubernetes')
	{
		$world->set($service, times => 1000, only => poll_text($service),
			answer => { body => '{"kind":"Deployment","status":{"readyReplicas":null}}' });
		is(wait_sql(live($service, 'ver_1'), 0), 0, "$service: null is 0");
		$world->set($service, times => 0);
		is(wait_sql(live($service, 'ver_1'), 2), 2, "$service: until there is a number");
	}
	$world->set($service, healthy => {});
}

# Two versions on, the first is stopped; a return asks for it again
for my $service (qw(kubernetes nomad ecs))
{
	for my $version (2, 3)
	{
		sql("SELECT miosa_promote('$service', 'ver_$version')");
		is(wait_sql(serving($service), "ver_$version"),
			"ver_$version", "$service: version $version serves when it is there")
		  or diag state_of($service);
	}
}
$node->append_conf('postgresql.conf', "miosa_rollback.drain_delay = 500ms\n");
$node->reload;
for my $service (qw(kubernetes nomad ecs))
{
	is( wait_sql(
			"SELECT state FROM miosa.capacity WHERE deployment_id = '$service' AND version_id = 'ver_1'",
			'drained'),
		'drained',
		"$service: version 1 is stopped") or diag state_of($service);
	is($world->state($service)->{workloads}{"$service-v1"}{count},
		0, "$service: really");
	is($world->state($service)->{workloads}{"$service-v2"}{count},
		2, "$service: but not the one before");
}
$node->append_conf('postgresql.conf', "miosa_rollback.drain_delay = -1\n");
$node->reload;

# Kubernetes: what is not there yet, and a conflict
$world->set('kubernetes', workloads => [ 'kubernetes-v2', 'kubernetes-v3' ]);
$world->clear;
my $began = time();
sql("SELECT miosa_rollback('kubernetes', 'ver_1')");
like(
	wait_match(
		"SELECT last_error FROM miosa.capacity WHERE deployment_id = 'kubernetes' AND state = 'wanted'",
		qr/404/),
	qr/404/,
	'kubernetes: a workload that is missing is said');
is(sql(serving('kubernetes')), 'ver_3', 'kubernetes: what serves goes on');
is(sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'kubernetes'"),
	'healthy', 'kubernetes: the scheduler works');
$world->set(
	'kubernetes',
	workloads => [ map { "kubernetes-v$_" } 1 .. 3 ],
	times => 2,
	only => 'PATCH',
	answer => { status => 409 });
is(wait_sql(serving('kubernetes'), 'ver_1'),
	'ver_1', 'kubernetes: once it is there it is asked for, without an operator')
  or diag state_of('kubernetes');

my @refused = grep { $_->{status} == 404 && !is_poll($_) } $world->requests('kubernetes');

cmp_ok(scalar @refused, '<=', 1 + ($refused[-1]{time} - $began) / 0.45,
	'kubernetes: it is not asked all the time');
is(sql('SELECT count(*) FROM miosa.delivery_failures'), 0, 'no route is concerned');

# Nomad: 400 while the job is being deployed
$world->set('nomad', active => 3);
sql("SELECT miosa_rollback('nomad', 'ver_1')");
ok($world->wait_for(1, 'nomad'), 'nomad: asked');
sql("SELECT miosa_put_deployment('nomad', 'ten_1', desired_replicas => 3)");
is(wait_sql(live('nomad', 'ver_1'), 3),
	3, 'nomad: more are there after all, without an operator')
  or diag state_of('nomad');
cmp_ok($world->state('nomad')->{blocked}, '>', 0, 'nomad: it refused meanwhile');
is(sql("SELECT state FROM miosa.stat_endpoint WHERE name = 'nomad'"),
	'healthy', 'nomad: and is taken for healthy');
is($world->state('nomad')->{workloads}{'nomad-v1'}{count}, 3, 'nomad: really');

# ECS: 429 and 503 hold it up as a whole, for as long as it says
$world->clear;
$world->set('ecs', times => 1, only => 'UpdateService',
	answer => { status => 429, headers => { 'Retry-After' => '3' }, body => '{}' });
sql("SELECT miosa_rollback('ecs', 'ver_1')");
is(wait_sql(serving('ecs'), 'ver_1'), 'ver_1', 'ecs: rolled back')
  or diag state_of('ecs');
my @held = $world->requests('ecs');
my ($busy) = grep { $_->{status} == 429 } @held;

# What was under way when the answer came is none of its business
is( scalar(grep { $_->{time} > $busy->{time} + 1 && $_->{time} < $busy->{time} + 2.9 } @held),
	0, 'ecs: left alone for as long as it said');

# Fly: machines one by one, three at once and then one a second
sql(qq{
	SELECT miosa_put_deployment('fly', 'ten_1', desired_replicas => 4);
	SELECT miosa_report_instance('fly', 'm' || i, 'ver_1', 'stopped') FROM generate_series(1, 3) i});
$began = time();
sql("SELECT miosa_promote('fly', 'ver_1')");
like(
	wait_match(
		"SELECT last_error FROM miosa.capacity WHERE deployment_id = 'fly'",
		qr/missing/),
	qr/^1 instances are missing, and the version has no others/,
	'fly: one machine is missing, which is said') or diag state_of('fly');
is_deeply(
	[ sort keys %{ $world->state('fly')->{machines} } ],
	[qw(m1 m2 m3)], 'fly: those that there are have been started');
my ($started) = $world->requests('fly');

is( $started->{raw},
	request('fly', 'POST /v1/apps/sites/machines/m1/start',
		'Authorization: Bearer fly-token', ''),
	'fly: started, byte for byte');
$world->set('fly', times => 1, only => 'machines/m4/start',
	answer => { status => 429, headers => { 'Retry-After' => '1' }, body => '{"error":"rate limit exceeded"}' });
sql("SELECT miosa_report_instance('fly', 'm4', 'ver_1', 'stopped')");
ok( poll_until(sub { $world->state('fly')->{machines}{m4} }, 180),
	'fly: the fourth is started when it is known') or diag state_of('fly');
is(scalar(grep { $_->{status} == 429 } $world->requests('fly')),
	1, 'fly: after a 429, without an operator');
sql("SELECT miosa_report_instance('fly', 'm' || i, 'ver_1', 'healthy') FROM generate_series(1, 4) i");
is( wait_sql("SELECT count(*) FROM miosa.capacity WHERE deployment_id = 'fly'", 0),
	0, 'fly: then all are there');
is($world->state('fly')->{limited}, 0, 'fly: the rate was never too high');

my @fly = $world->requests('fly');

cmp_ok(scalar @fly, '<=', 3 + $fly[-1]{time} - $began, 'fly: three at once, then one a second');

# Stopped one by one as well: two versions on
for my $version (2, 3)
{
	sql("SELECT miosa_report_instance('fly', 'v$version-' || i, 'ver_$version', 'healthy') FROM generate_series(1, 4) i");
	sql("SELECT miosa_promote('fly', 'ver_$version')");
	is(wait_sql(serving('fly'), "ver_$version"), "ver_$version",
		"fly: version $version serves at once");
}
is(sql("SELECT count(*) FROM miosa.capacity WHERE deployment_id = 'fly' AND state = 'wanted'"),
	0, 'fly: of which there is nothing to ask');
$world->clear;
$node->append_conf('postgresql.conf', "miosa_rollback.drain_delay = 200ms\n");
$node->reload;
# One that is requested again, which happens on a slow machine, has stopped
# already when the next one begins to
ok( poll_until(sub { 4 == grep { ($_->{state} // '') =~ /^stopp(?:ing|ed)$/ } values %{ $world->state('fly')->{machines} } }, 180),
	'fly: all four are stopped') or diag state_of('fly');
my ($stopped) = $world->requests('fly');

is( $stopped->{raw},
	request('fly', 'POST /v1/apps/sites/machines/m1/stop',
		'Content-Type: application/json', 'Authorization: Bearer fly-token', '{}'),
	'fly: stopped, byte for byte');
sql("SELECT miosa_report_instance('fly', 'm' || i, 'ver_1', 'stopped') FROM generate_series(1, 4) i");
is( wait_sql("SELECT state FROM miosa.capacity WHERE deployment_id = 'fly' AND version_id = 'ver_1'", 'drained'),
	'drained', 'fly: drained when they say so');

# Trying one out asks for nothing
for my $service (@services)
{
	my $count = $world->requests($service);
	my $verdict = sql("SELECT miosa_test_endpoint('$service') -> 'data' ->> 'verdict'");

	$service eq 'ecs'
	  ? is($verdict, 'ok', "$service: tried out")
	  : is($verdict, 'ok: the scheduler has no such workload', "$service: tried out");
}

# A request as it should be: method and path, headers, and a body if any.
sub request
{
	my ($service, $first, @line) = @_;
	my $body = @line && $line[-1] =~ /^(?:\{|$)/ ? pop @line : undef;
	my ($port) = $world->url($service) =~ /:(\d+)$/;

	push @line, 'Content-Length: ' . length $body
	  if defined $body && ($body ne '' || $first =~ /^POST/);
	return join("\r\n",
		"$first HTTP/1.1", "Host: 127.0.0.1:$port",
		"User-Agent: $agent", @line, '', $body // '');
}

# The same for ECS; the signature is what the server has checked.
sub ecs_request
{
	my ($got, $action, $body) = @_;
	my ($port) = $world->url('ecs') =~ /:(\d+)$/;

	return join("\r\n",
		'POST / HTTP/1.1',
		"Host: 127.0.0.1:$port",
		"Authorization: $got->{headers}{authorization}",
		"X-Amz-Date: $got->{headers}{'x-amz-date'}",
		"User-Agent: $agent",
		'Accept: */*',
		'Content-Type: application/x-amz-json-1.1',
		"X-Amz-Target: AmazonEC2ContainerServiceV20141113.$action",
		'x-amz-content-sha256: ' . sha256_hex($body),
		'Content-Length: ' . length $body,
		'', $body);
}

sub is_poll
{
	my ($request) = @_;

	return $request->{method} eq 'GET' || $request->{raw} =~ /DescribeServices/;
}

# What polls hold and nothing else does.
sub poll_text
{
	my ($service) = @_;

	return $service eq 'ecs' ? 'DescribeServices' : 'GET ';
}

# Answers to a poll that say nothing, each with status 200.
sub bodies
{
	my ($service) = @_;
	my %with = (
		kubernetes => sub { qq({"kind":"Deployment","status":{"readyReplicas":$_[0]}}) },
		nomad => sub { qq({"JobID":"j","TaskGroups":{"g":{"Healthy":$_[0]}}}) },
		ecs => sub { qq({"services":[{"runningCount":$_[0]}]}) });

	my @number = map { $with{$service}->($_) } '-1', '1.5', '100001', '"2"', '[1]';

	return @number if $service ne 'kubernetes';
	return (@number, $with{kubernetes}->('1e300'), '', 'garbage', '[]', '{}', '<html>', '{"kind":"Status"}');
}

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# What a query returns, as soon as it matches, or in the end.
sub wait_match
{
	my ($query, $pattern) = @_;
	my $found;

	poll_until(sub { ($found = sql($query)) =~ $pattern }, 180, 0.05);
	return $found;
}

sub live
{
	my ($deployment, $version) = @_;

	return "SELECT count(*) FROM miosa.live_instances WHERE deployment_id = '$deployment' AND version_id = '$version'";
}

sub serving
{
	my ($deployment) = @_;

	return "SELECT version_id FROM miosa.routes WHERE deployment_id = '$deployment'";
}

# For messages of tests that fail.
sub state_of
{
	my ($service) = @_;

	return sql("SELECT e.state, e.last_status, e.last_error, c.* FROM miosa.stat_endpoint e
		LEFT JOIN miosa.capacity c ON c.deployment_id = e.name WHERE e.name = '$service'")
	  . "\n" . encode_json($world->state($service)) . "\n" . $world->tail;
}

done_testing();
