# An epoch that an edge was told is never given a second time, not even where
# transactions do not wait for the disk: it is flushed before it is sent.

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
	cmp_ok($node->safe_psql('postgres', 'SELECT last_epoch FROM miosa.dispatcher_state'),
		'>=', $request->{headers}{'x-epoch'}, 'what was told is known after a crash');
	is($node->safe_psql('postgres',
			"SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'"),
		$version, 'and so is the change');
}
done_testing();
