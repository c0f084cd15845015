# Dispatchers that are ended and servers that are stopped at random while work
# comes in: in the end every edge received the right version last.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $deployments = 50;
my $node = make_node('crashes');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my %sink =
  map { $_ => MiosaSink->new(dir => "$dir/$_", name => $_)->start }
  qw(router cache);

sub sql { return $node->safe_psql('postgres', @_); }

sql(<<"EOS");
INSERT INTO miosa.adapters (name, request) VALUES ('test-router',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
INSERT INTO miosa.adapters (name, stage, settle, request) VALUES ('test-cache',
	1, '100 ms', '{"method": "PURGE", "path": "/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('d' || d, 'ten_1', 'd' || d) FROM generate_series(1, $deployments) d;
SELECT miosa_put_version('d' || d, 'v' || n, n)
	FROM generate_series(1, $deployments) d, generate_series(1, 3) n;
SELECT miosa_put_endpoint('router', 'test-router', '@{[ $sink{router}->url ]}');
SELECT miosa_put_endpoint('cache', 'test-cache', '@{[ $sink{cache}->url ]}');
EOS

# Promotions in a stream of their own, each committed; it may be cut off
sub stream
{
	return IPC::Run::start(
		[
			'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c',
			"DO \$\$ BEGIN FOR n IN 1 .. 400 LOOP
				PERFORM miosa_promote('d' || (1 + random() * ($deployments - 1))::int,
					'v' || (1 + random() * 2)::int);
				COMMIT; PERFORM pg_sleep(0.002); END LOOP; END \$\$"
		],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
}

for my $turn (1 .. 6)
{
	my $stream = stream();

	sleep 0.2 + rand(0.5);
	if ($turn % 3 == 0)
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'miosa_rollback dispatcher'");
	}
	$stream->finish;
}
ok( poll_until(
		sub { return sql("SELECT count(*) FROM miosa.deployments
				WHERE active_version_id IS NOT NULL
				AND miosa.convergence_state(id, NULL) <> 'converged'") == 0 },
		180,
		0.2),
	'everything converges');
cmp_ok(sql('SELECT count(*) FROM miosa.audit_events'), '>', 300, 'a lot has happened');
is(MiosaTest::wait_sql($node, 'SELECT count(*) FROM miosa.outbox', 0), 0, 'nothing waits');
is(sql('SELECT count(*) FROM miosa.delivery_failures'), 0, 'nothing has failed');

my %active = split /[|\n]/, sql('SELECT id, active_version_id FROM miosa.deployments
	WHERE active_version_id IS NOT NULL');
for my $name (qw(router cache))
{
	my (%last, @back);

	for my $request ($sink{$name}->requests)
	{
		my (undef, $deployment, $version) = split m{/}, $request->{path};
		my $epoch = $request->{headers}{'x-epoch'};

		push @back, $request->{path}
		  if $last{$deployment} && $last{$deployment}[1] > $epoch;
		$last{$deployment} = [ $version, $epoch ];
	}
	is_deeply({ map { $_ => $last{$_}[0] } keys %active },
		\%active, "$name received the right versions last");
	is("@back", '', 'and never anything older than before');
}

done_testing();
