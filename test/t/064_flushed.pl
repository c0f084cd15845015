# What an edge has received survives a crash, also where transactions do not
# wait for the disk; and an epoch that it has received is never given a second
# time, although the pass that gave it may be lost.

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('flushed', <<'EOC');
synchronous_commit = off
wal_writer_delay = 10s
EOC
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;

$node->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.adapters (name, request) VALUES ('put',
	'{"method": "PUT", "path": "/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('edge', 'put', '@{[ $sink->url ]}');
CHECKPOINT;
EOS
for my $turn (1 .. 5)
{
	my $version = 'v' . ($turn % 2 + 1);

	$sink->clear;
	$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', '$version')");
	my ($request) = $sink->wait_for(1, "^/$version");

	$node->stop('immediate');
	$node->start;
	# A change that the disk had already is sent by a pass that may be lost; the
	# first pass after the crash goes past its epoch
	is(MiosaTest::wait_sql($node,
			"SELECT last_epoch >= $request->{headers}{'x-epoch'} FROM miosa.dispatcher_state", 't'),
		't', 'what was sent is known after a crash');
	is($node->safe_psql('postgres',
			"SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'"),
		$version, 'and so is the change');
}

# The changes are flushed now, so passes need not be
$node->append_conf('postgresql.conf', 'synchronous_commit = on');
$node->restart;
my $newest = 0;

for my $turn (1 .. 5)
{
	my $version = 'v' . ($turn % 2 + 1);

	$sink->clear;
	$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', '$version')");
	my ($request) = $sink->wait_for(1, "^/$version");

	cmp_ok($request->{headers}{'x-epoch'}, '>', $newest, 'an epoch is given once');
	$node->stop('immediate');
	$node->start;
	($newest) = sort { $b <=> $a } map { $_->{headers}{'x-epoch'} } $sink->requests;
	is($node->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', 'and the change arrives after the crash');
	is(($sink->requests)[-1]{path}, "/$version", 'as the last one');
}
done_testing();
