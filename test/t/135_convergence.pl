# Which edges have acknowledged a change: every way in which a wait can end, as
# soon as it can, whatever snapshot the caller has.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = make_node('convergence', "miosa_rollback.stage_wait = 200\n");
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my ($router, $cache, $far) =
  map { MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(router cache far);
my %turn;

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# The other version of the deployment; the operation's id.
sub flip
{
	my ($deployment) = @_;

	return sql("SELECT miosa_promote('$deployment', 'v"
		  . (++$turn{$deployment} % 2 + 1)
		  . "') -> 'operation' ->> 'id'");
}

sub verdict
{
	my ($what, $timeout) = @_;

	$timeout //= '180 s';
	return sql("SELECT miosa_wait_converged('$what', '$timeout')");
}

sub convergence { my ($what) = @_; return decode_json(sql("SELECT miosa_convergence('$what')"))->{data}; }
sub zones { my ($what) = @_; return join ' ', map { "$_->{zone}:$_->{done}/$_->{edges}" } @{ convergence($what)->{zones} }; }

# A session that waits, until finish().
sub waiter
{
	my ($what, $before) = @_;
	my $self = {};

	$self->{run} = IPC::Run::start(
		[
			'psql', '-XqAt', '-d', $node->connstr('postgres'),
			(map { ('-c', $_) } @{ $before // [] }),
			'-c', "SELECT miosa_wait_converged('$what', '180 s')"
		],
		'<', \undef, '>', \$self->{out}, '2>', \$self->{err});
	return $self;
}

sub finish
{
	my ($self) = @_;

	$self->{run}->finish;
	chomp $self->{out};
	return $self->{out} . $self->{err};
}

sub waiters { return wait_sql("SELECT count(*) FROM pg_stat_activity
	WHERE query LIKE 'SELECT miosa_wait_converged%' AND wait_event = 'Extension'", shift); }

sql(<<'EOS');
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('test-router', '5 min',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
INSERT INTO miosa.adapters (name, timeout, stage, self_expires, request) VALUES ('test-cache',
	'5 min', 1, true, '{"method": "PURGE", "path": "/{deployment_id}"}');
INSERT INTO miosa.adapters (name, timeout, role, request) VALUES ('test-hook', '5 min', 'hook',
	'{"method": "POST", "path": "/{deployment_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', d) FROM unnest(ARRAY['a', 'b', 'c']) d;
SELECT miosa_put_version(d, 'v' || n, n)
	FROM unnest(ARRAY['a', 'b', 'c']) d, generate_series(1, 2) n;
EOS

# Nobody to wait for
my $operation = flip('a');
is($operation, 'a#1', 'an operation');
is(verdict($_), 'no_edges', "$_: no_edges") for 'a', $operation;
is(convergence('a')->{state}, 'no_edges', 'miosa_convergence() says so, too');
is_deeply(convergence('a')->{zones}, [], 'without zones');

# What cannot be waited for
my ($status, $out, $err) = $node->psql('postgres',
	"BEGIN; SELECT miosa_promote('a', 'v2'); SELECT miosa_wait_converged('a', '1 s')");
like($err, qr/cannot wait for an operation of the same transaction/, 'one of the same transaction');
like($err, qr/HINT:  COMMIT first/, 'with a hint');
for my $call ("'nobody', '1 s'", "'a#99', '1 s'", "'a', '-1 s'", "'a', NULL", "NULL, '1 s'", "'a#x', '1 s'")
{
	($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT miosa_wait_converged($call)");
	like($err, $call =~ /nobody|99/ ? qr/ERROR:  MR404/ : qr/ERROR:  MR400/, "refused: $call");
}

# Converged, and waiting for edges
sql("SELECT miosa_put_endpoint('router', 'test-router', '@{[ $router->url ]}', zone => 'eu')");
sql("SELECT miosa_put_endpoint('far', 'test-router', '@{[ $far->url ]}', zone => 'us')");
sql("SELECT miosa_put_endpoint('hook', 'test-hook', '@{[ $far->url ]}/hook', zone => 'us')");
flip($_) for qw(b c);
is(verdict($_), 'converged', "$_: converged") for qw(a b c);
is(zones('a'), 'eu:1/1 us:1/1', 'in all zones; a hook is no edge');
$far->answer('^/a/', hold => 'far');
$operation = flip('a');
is(verdict($operation, '300 ms'), 'waiting_edges', 'waiting_edges');
poll_until(sub { zones($operation) eq 'us:0/1 eu:1/1' }, 180, 0.05);
is(zones($operation), 'us:0/1 eu:1/1', 'the zone that lags comes first');
my $zone = convergence('a')->{zones}[0];
is($zone->{slowest}, 'far', 'with the slowest edge');
is($zone->{error}, undef, 'which has made no error');
is(sql("SELECT string_agg(trim(operation) || ' ' || edges || ' ' || slowest, ', ')
		FROM miosa.progress WHERE trim(operation) IN ('us', 'eu')"),
	'us ------ 0/1 far, eu ###### 1/1 ', 'miosa.progress has the same order');
is(verdict('b'), 'converged', 'others do not wait for it');

# Two wait, both wake up; so does one with an old snapshot
my @waiter = (
	waiter($operation), waiter('a'),
	waiter('a', ['BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM miosa.deployments']));
is(waiters(3), 3, 'three wait');
$far->plain->release('far');
is_deeply([ map { finish($_) =~ s/^3\n//r } @waiter ],
	[ ('converged') x 3 ], 'all of them converge');

# An error is shown with its zone
$far->answer('^/a/', status => 503);
flip('a');
is(verdict('a', '300 ms'), 'waiting_edges', 'an edge that fails');
ok(poll_until(sub { (convergence('a')->{zones}[0]{error} // '') =~ /503/ }, 180, 0.05), 'the reason is shown');
sql("SELECT miosa_set_endpoint('far', false, 'being replaced')");
is(verdict('a'), 'converged', 'a disabled edge is not waited for');
my ($row) = grep { $_->{name} eq 'far' } @{ convergence('a')->{endpoints} };
is("$row->{state}: $row->{error}", 'excluded: being replaced', 'but shown');
is(convergence('a')->{edges}, 1, 'and not counted');
is(zones('a'), 'eu:1/1', 'nor is its zone');
$far->plain;
sql("SELECT miosa_set_endpoint('far', true)");
is(verdict('a'), 'converged', 'enabled again');

# Superseded by a newer operation, while one waits and later on
$router->answer('^/a/', hold => 'old');
$operation = flip('a');
@waiter = (waiter($operation));
is(waiters(1), 1, 'one waits');
my $newer = flip('a');
is(finish($waiter[0]), 'superseded', 'superseded');
$router->plain->release('old');
is(verdict($newer), 'converged', 'the newer one converges');
is(verdict($operation), 'superseded', 'the older one stays superseded');
is(convergence($operation)->{state}, 'superseded', 'miosa_convergence() says so, too');
sql("SELECT miosa_resend('a')");
is(verdict($newer), 'converged', 'sending again supersedes nothing');

# Instances
sql(<<'EOS');
SELECT miosa_put_deployment('d', 'ten_1', 'd', kind => 'dynamic');
SELECT miosa_put_version('d', 'v' || n, n, fields => jsonb_build_object('runtime_image', 'registry/d:' || n)) FROM generate_series(1, 2) n;
SELECT miosa_promote('d', 'v1', cutover => 'immediate');
UPDATE miosa.deployments SET desired_replicas = 1, state = 'running' WHERE id = 'd';
SELECT miosa_report_instance('d', 'i1', 'v1', 'healthy');
EOS
is(verdict('d'), 'converged', 'a dynamic deployment');
sql("SELECT miosa_promote('d', 'v2')");
is(verdict('d', '300 ms'), 'waiting_instances', 'waiting_instances');
@waiter = (waiter('d'));
is(waiters(1), 1, 'one waits');
sql("SELECT miosa_report_instance('d', 'i2', 'v2', 'healthy')");
is(finish($waiter[0]), 'converged', 'until an instance is healthy');

# A cache that is away has expired; the router must have the route
sql("SELECT miosa_put_endpoint('cache', 'test-cache', '@{[ $cache->url ]}', zone => 'eu')");
is(verdict('b'), 'converged', 'a cache');
sql("UPDATE miosa.deployments SET route_ttl = '1 s' WHERE id = 'b'");
$cache->answer('.', status => 503);
$router->answer('^/b/', hold => 'expiry');
flip('b');
is(verdict('b', '2 s'), 'waiting_edges', 'while the router lacks it nothing expires');
$router->plain->release('expiry');
is(verdict('b', '180 s'), 'expired', 'then the cache does');
is(convergence('b')->{state}, 'expired', 'miosa_convergence() says so, too');
is(zones('b'), 'eu:2/2 us:1/1', 'which is done');
$cache->plain;
is(wait_sql("SELECT miosa.convergence_state('b', NULL)", 'converged'),
	'converged', 'until it has received the change');

# REPEATABLE READ and SERIALIZABLE: what came after the snapshot is seen, and
# nothing is called converged because a change is not
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $session = $node->background_psql('postgres');
	my $ask = sub { return $session->query_safe(shift); };

	$ask->("BEGIN ISOLATION LEVEL $level");
	my $seq = $ask->("SELECT seq FROM miosa.deployments WHERE id = 'c'");
	$far->answer('^/c/', hold => "rr-$level");
	$operation = flip('c');
	is($ask->("SELECT seq FROM miosa.deployments WHERE id = 'c'"), $seq, "$level does not see the operation");
	for my $what ('c', $operation)
	{
		is($ask->("SELECT miosa_wait_converged('$what', '200 ms')"), 'waiting_edges', "$what is waited for");
		is($ask->("SELECT miosa_convergence('$what') -> 'data' ->> 'state'"), 'waiting_edges', "$what has not converged");
	}
	$far->plain->release("rr-$level");
	is($ask->("SELECT miosa_wait_converged('$operation', '180 s')"), 'converged', 'then it has');
	is($ask->("SELECT miosa_convergence('c') -> 'data' ->> 'state'"), 'converged', 'by miosa_convergence(), too');
	is($ask->("SELECT bool_and(done) FROM miosa.convergence_rows('c') WHERE role = 'edge'"), 't', 'and by its rows');
	is($ask->("SELECT seq FROM miosa.deployments WHERE id = 'c'"), $seq, 'in the same snapshot');
	$ask->('COMMIT');
	$session->quit;
}

# Acknowledged means acknowledged, before anything is written
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; SELECT count(*) FROM (SELECT * FROM miosa.endpoint_state FOR UPDATE) s');
flip('a');
is(verdict('a'), 'converged', 'seen although the rows are locked');
$lock->query_safe('ROLLBACK');

# ... but for what must be written first.  An edge that does not take a route
# moves on; that it lacks the route is not known before the row is there.
is(wait_sql('SELECT bool_and(s.acked_epoch = d.last_epoch) FROM miosa.endpoint_state s, miosa.dispatcher_state d', 't'),
	't', 'all is written');
$lock->query_safe('BEGIN; LOCK TABLE miosa.delivery_failures IN SHARE MODE');
$far->clear;
$far->answer('^/c/', status => 422);
flip('c');
ok($far->wait_for(1, '^/c/'), 'refused');
is(verdict('c', '1 s'), 'waiting_edges', 'that is no convergence, though no row says so');
is(sql("SELECT count(*) FROM miosa.delivery_failures"), 0, 'as none could be written');
$lock->query_safe('ROLLBACK');
is(wait_sql("SELECT state FROM miosa.convergence_rows('c') WHERE endpoint = 'far'", 'failed'),
	'failed', 'now it is');
is(verdict('c', '100 ms'), 'waiting_edges', 'and still no convergence');
$far->plain;
sql("SELECT miosa_redrive('far')");
is(verdict('c'), 'converged', 'until it is taken');

# A router that is late has the caches purge again; before that is queued,
# nothing has converged.
is(verdict('a'), 'converged', 'all is quiet');
$cache->clear;
$router->clear;
$router->answer('^/a/', hold => 'late');
flip('a');
ok($cache->wait_for(1, '^/a'), 'the cache does not wait for ever');
$cache->answer('^/a', hold => 'purge');
$lock->query_safe('BEGIN; LOCK TABLE miosa.outbox IN SHARE MODE');
$router->plain->release('late');
is(verdict('a', '1 s'), 'waiting_edges', 'the second purge is not queued yet');
is(scalar(my @purge = $cache->requests('^/a')), 1, 'nor purged');
$lock->query_safe('ROLLBACK');
ok($cache->wait_for(2, '^/a'), 'then it is purged');
is(verdict('a', '200 ms'), 'waiting_edges', 'and waited for');
$cache->plain->release('purge');
is(verdict('a'), 'converged', 'until it is done');
$lock->quit;

# No convergence too early: what has converged has really arrived
my $lies = 0;
for my $n (1 .. 30)
{
	$far->answer('^/c/', delay => 0.02) if $n == 1;
	flip('c');
	next unless verdict('c') eq 'converged';
	my ($last) = ($far->requests('^/c/'))[-1]{path} =~ /(v\d)$/;

	$lies++ if $last ne sql("SELECT active_version_id FROM miosa.deployments WHERE id = 'c'");
}
is($lies, 0, '30 times converged was true');
$far->plain;

# The dispatcher dies and comes back while somebody waits
$far->answer('^/a/', hold => 'crash');
flip('a');
@waiter = (waiter('a'));
is(waiters(1), 1, 'one waits');
sql('SELECT pg_terminate_backend(pid) FROM miosa.dispatcher()');
$far->plain->release('crash');
is(finish($waiter[0]), 'converged', 'and is not sent away');

# No dispatcher: nobody tells
$node->append_conf('postgresql.conf', "miosa_rollback.site = 'elsewhere'");
$node->reload;
ok(wait_dispatcher($node, 'paused'), 'a copy sends nothing');
(undef, undef, $err) = $node->psql('postgres', "SELECT miosa_promote('a', 'v" . (++$turn{a} % 2 + 1) . "')");
is(verdict('a', '1 h'), 'no_dispatcher', 'no_dispatcher, without waiting');
my $data = convergence('a');
is($data->{state}, 'no_dispatcher', 'miosa_convergence() says so, too');
like($data->{paused}, qr/elsewhere/, 'and why');
sql('SELECT miosa_resume()');
is(verdict('a'), 'converged', 'until it may');

done_testing();
