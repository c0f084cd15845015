# Many deliveries to a fast edge while the dispatcher is ended and the server
# is stopped at random: nothing is lost, every edge ends on the right version,
# and no edge ever receives anything older than what it has received before.
#
# Few in "make test"; "make torture" does 100,000.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaNginx;
use MiosaServer;
use MiosaTest qw(make_node);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $deliveries = $ENV{TORTURE} || 20000;
my $deployments = $deliveries > 50000 ? 5000 : 1000;
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my %port = map { $_ => MiosaServer::free_port() } qw(router cache);
my $node = make_node('torture', "max_wal_size = 256MB\njit = off\n");

sub sql { return $node->safe_psql('postgres', @_); }

# nginx, which answers 204 and writes down port, epoch and path
my @command = MiosaNginx::command($dir, "master_process off;\n", <<"EOC");
  log_format received '\$server_port \$http_x_epoch \$uri';
  access_log $dir/received.log received;
  keepalive_requests 1000000;
  server {
    listen 127.0.0.1:$port{router};
    listen 127.0.0.1:$port{cache};
    location / { return 204; }
  }
EOC
my $nginx = MiosaServer->new(
	name => 'nginx',
	log => "$dir/nginx.log",
	port => $port{router});

$nginx->start(@command);

sql(<<"EOS");
INSERT INTO miosa.adapters (name, max_in_flight, request) VALUES ('test-router', 16,
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
INSERT INTO miosa.adapters (name, max_in_flight, stage, settle, request) VALUES ('test-cache', 16, 1, '200 ms',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('d' || d, 'ten_1', 'd' || d) FROM generate_series(1, $deployments) d;
SELECT miosa_put_version('d' || d, 'v' || n, n)
	FROM generate_series(1, $deployments) d, generate_series(1, 3) n;
SELECT miosa_put_endpoint('router', 'test-router', 'http://127.0.0.1:$port{router}');
SELECT miosa_put_endpoint('cache', 'test-cache', 'http://127.0.0.1:$port{cache}');
EOS

# Promotions of any version of any deployment, each committed; it is cut off
# when the server stops
sub stream
{
	my $pid = fork() // die "could not fork: $!\n";

	return $pid if $pid;
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	exec('psql', '-XqAt', '-d', $node->connstr('postgres'), '-c',
		"DO \$\$ BEGIN FOR n IN 1 .. 20000 LOOP
			PERFORM miosa_promote('d' || (1 + random() * ($deployments - 1))::int,
				'v' || (1 + random() * 2)::int);
			COMMIT; END LOOP; END \$\$")
	  or POSIX::_exit(127);
}

# How many requests there were so far; the log is read on from where it ended.
my ($received, $count) = (undef, 0);

sub count_received
{
	open($received, '<', "$dir/received.log") or die "received.log: $!\n" unless $received;
	seek($received, 0, 1);
	$count++ while <$received>;
	return $count;
}

my ($ended, $stopped) = (0, 0);
my $stream = stream();
my $start = time();

while (count_received() < $deliveries && time() - $start < 1800)
{
	sleep 0.4 + rand(1);
	if ($ended + $stopped > 0 && rand() < 0.3 || $ended - $stopped > 3)
	{
		$node->stop('immediate');
		$node->start;
		$stopped++;
	}
	else
	{
		$ended += sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE backend_type = 'miosa_rollback dispatcher'");
	}
	$stream = stream() if waitpid($stream, WNOHANG) != 0;
}
my $took = time() - $start;

kill 'TERM', $stream;
waitpid($stream, 0);
note sprintf '%d requests in %.0f s, dispatcher ended %d times, server stopped %d times',
  $count, $took, $ended, $stopped;
cmp_ok($count, '>=', $deliveries, "$deliveries requests");
cmp_ok($ended, '>', 0, 'the dispatcher was ended');

ok( poll_until(
		sub {
			return sql("SELECT count(*) FROM miosa.outbox") == 0
			  && sql("SELECT bool_and(acked_epoch = (SELECT last_epoch FROM miosa.dispatcher_state)
					AND settled_epoch = acked_epoch AND resync_after IS NULL)
				FROM miosa.endpoint_state") eq 't';
		},
		180,
		0.2),
	'everything was taken and delivered');
is(sql("SELECT string_agg(DISTINCT miosa.convergence_state(id, NULL), ' ')
		FROM miosa.deployments WHERE active_version_id IS NOT NULL"),
	'converged', 'every deployment has converged');
is( sql("SELECT count(*) FROM pg_proc WHERE 'jit=off' = ANY (proconfig)
		AND proname IN ('miosa_convergence', 'miosa_wait_converged')"),
	2,
	'which is asked without compiling the question every time');
is(sql('SELECT count(*) FROM miosa.delivery_failures'),
	0, 'nothing was given up');

my %active = split /[|\n]/, sql('SELECT id, active_version_id
	FROM miosa.deployments WHERE active_version_id IS NOT NULL');
my (%last, %back);

open($received, '<', "$dir/received.log") or die "received.log: $!\n";
while (my $line = <$received>)
{
	my ($at, $epoch, $deployment, $version) =
	  $line =~ m{^(\d+) (\d+) /(\w+)/(\w+)$}
	  or next;
	my $last = $last{$at}{$deployment};

	push @{ $back{$at} }, $line if $last && $last->[1] > $epoch;
	$last{$at}{$deployment} = [ $version, $epoch ];
}
for my $name (qw(router cache))
{
	my $last = $last{ $port{$name} };
	my @wrong =
	  grep { ($last->{$_} ? $last->{$_}[0] : 'nothing') ne $active{$_} }
	  sort keys %active;

	is("@wrong", '', "the $name received the right version of each last");
	is(join('', @{ $back{ $port{$name} } // [] }),
		'', "the $name never received anything older than before");
}
unlike(slurp_file($node->logfile),
	qr/PANIC|terminated by signal (?:6|7|11)\b/, 'nothing crashed');

done_testing();
