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
	my $version = 'v' . (2 - $turn % 2);

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

# A resync reads present routes, too, also such as no pass has taken yet: none is
# made while its first chunk of deployments is held, and the second one is read.
$node->safe_psql('postgres', <<'EOS');
SELECT miosa_put_deployment('last_1', 'ten_1', 'last');
SELECT miosa_put_version('last_1', 'l' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_promote('last_1', 'l1');
INSERT INTO miosa.deployments (id, tenant_id, name, slug) SELECT 'fill_' || n, 'ten_1', n, 'fill-' || n FROM generate_series(1, 1100) n;
EOS
for my $turn (1 .. 2)
{
	my $version = 'l' . ($turn % 2 + 1);
	my $lock = $node->background_psql('postgres');
	my $writer = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");

	MiosaTest::wait_ready($node, 'edge');
	$sink->answer('^/v', hold => "turn$turn");
	$sink->clear;
	$node->safe_psql('postgres', "SELECT miosa_resync('edge')");
	$sink->wait_for(1, '^/v');
	$lock->query_safe('SET synchronous_commit = off; BEGIN;
		SELECT FROM miosa.dispatcher_state FOR UPDATE');
	$node->safe_psql('postgres', "SELECT pg_logical_emit_message(true, 'test', '')");
	kill 'STOP', $writer;
	$node->safe_psql('postgres',
		"SET synchronous_commit = off; SELECT miosa_promote('last_1', '$version')");
	$sink->release("turn$turn");
	ok($sink->wait_for(1, "^/$version"), 'the second chunk has the change');
	$node->stop('immediate');
	eval { $lock->quit };
	$node->start;
	is($node->safe_psql('postgres',
			"SELECT active_version_id FROM miosa.deployments WHERE id = 'last_1'"),
		$version, 'what a resync has sent is known after a crash');
}
$sink->plain;

# A pass that cannot take all work reads routes that the rest of it has changed,
# which a commit that is not flushed may have done. What else would flush it is
# kept from it: the next pass fails, and the WAL writer is stopped. The server
# knows where commits end for 32 transactions together (CLOG_XACTS_PER_LSN_GROUP).
$node->safe_psql('postgres', <<'EOS');
CREATE TABLE spent ();
ALTER TABLE miosa.route_log ADD CONSTRAINT one_pass CHECK (route_seq < 3500);
EOS
for my $turn (1 .. 2)
{
	my $version = 'v' . ($turn % 2 + 1);
	my $lock = $node->background_psql('postgres');
	my $writer = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");

	$sink->clear;
	# It must have nothing to write, for which it would hold a lock
	$node->safe_psql('postgres', "SELECT pg_logical_emit_message(true, 'test', '')");
	kill 'STOP', $writer;
	$lock->query_safe('SET synchronous_commit = off; BEGIN;
		SELECT FROM miosa.dispatcher_state FOR UPDATE');
	$node->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.outbox (deployment_id, kind, route_seq)
	SELECT 'dep_1', 'route', s FROM generate_series(1000, 3999) s;
DO \$\$ BEGIN
	FOR i IN 1 .. 64 LOOP
		INSERT INTO spent DEFAULT VALUES;
		COMMIT;
	END LOOP;
END \$\$;
SET synchronous_commit = off;
SELECT miosa_promote('dep_1', '$version');
EOS
	$lock->query_safe('COMMIT');
	$lock->quit;
	$sink->wait_for(1, "^/$version");
	$node->stop('immediate');	# SIGKILL ends the WAL writer, too
	$node->start;
	is($node->safe_psql('postgres',
			"SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'"),
		$version, 'what was sent beside work that waits is known after a crash');
	$node->safe_psql('postgres', 'DELETE FROM miosa.outbox');
}
done_testing();
