# What is committed is delivered, however much of it there is and in whatever
# order its transactions end; and so is that nothing is served any more.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('backlog');
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;

# Passes, and scans of the outbox and rows deleted from it
sub counters
{
	return split /\|/, $node->safe_psql('postgres', <<'EOS');
SELECT d.passes, o.seq_scan, o.n_tup_del
	FROM miosa.stat_dispatcher d, pg_stat_user_tables o
	WHERE o.relid = 'miosa.outbox'::regclass
EOS
}

$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_' || i, 'ten_1', 'd' || i) FROM generate_series(1, 1000) i;
SELECT miosa_put_version('dep_1', 'ver_' || i, i) FROM generate_series(1, 2) i;
SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}/hook');
SELECT miosa_promote('dep_1', 'ver_1');
EOS
is( $node->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'ready');

# More than one pass takes, and a younger transaction that ends in the middle.
# Not of dep_1, since these numbers would look newer than those that follow.
my ($big, $small, $watch) =
  map { $node->background_psql('postgres') } 1 .. 3;

for my $try (1 .. 3)
{
	$big->query_safe(
		"BEGIN; INSERT INTO miosa.outbox (deployment_id, kind, route_seq)
		SELECT 'dep_' || d, 'route', 1000 * $try + s
		FROM generate_series(2, 1000) d, generate_series(1, 40) s");
	$small->query_safe(
		"BEGIN; INSERT INTO miosa.outbox (deployment_id, kind, route_seq)
		VALUES ('dep_2', 'route', 1000 * $try + 99)");
	my $epoch = $watch->query_safe('SELECT last_epoch FROM miosa.dispatcher_state');
	$big->query_safe('SELECT miosa.wake(); COMMIT');

	# As soon as one of several passes has committed
	$watch->query_safe("DO \$\$ BEGIN
		WHILE (SELECT last_epoch FROM miosa.dispatcher_state) = $epoch LOOP
			COMMIT;
		END LOOP; END \$\$");
	$small->query_safe('SELECT miosa.wake(); COMMIT');
	ok( $node->poll_query_until('postgres',
			'SELECT count(*) = 0 FROM miosa.outbox'),
		"a backlog is taken to its end, $try");
}
$_->quit for $big, $small, $watch;

# One commit after the other: a pass takes several of them, and finds its rows
# by their key instead of reading all that were taken before. What other sessions
# and the dispatcher have done so far is counted by then.
is(MiosaTest::wait_sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()}, 0),
	0, 'no other session');
ok(poll_until(sub { return (counters())[2] >= 3 * (999 * 40 + 1) }, 180, 0.2), 'the backlog is counted');
my ($passes, $scans, $taken) = counters();

$node->safe_psql('postgres', <<'EOS');
SET synchronous_commit = off;
DO $$ BEGIN FOR n IN 1 .. 1000 LOOP
	PERFORM miosa_promote('dep_1', 'ver_' || 1 + n % 2);
	COMMIT;
END LOOP; END $$
EOS
ok( poll_until(sub { return (counters())[2] >= $taken + 1000 }, 180, 0.2),
	'many commits in a row are taken');
cmp_ok((counters())[0], '<', $passes + 900, 'in fewer passes than commits');
is((counters())[1], $scans, 'and no pass scans the outbox');

# An unpublished deployment is delivered
$node->safe_psql('postgres',
	"UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_1'");
is( $node->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'unpublished');
my @request = grep { $_->{body} =~ /"deployment_id":"dep_1"/ } $sink->requests;
like($request[-1]{body}, qr/"version_id":null/, 'and the edge received that');

# So is what was loaded without any operation
$node->safe_psql('postgres', <<'EOS');
INSERT INTO miosa.deployments (id, tenant_id, name, slug, state, active_version_id)
	VALUES ('loaded', 'ten_1', 'Loaded', 'loaded', 'running', 'ver_9');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	VALUES ('loaded', 'ver_9', 'ten_1', 9, 'ready');
EOS
is($node->safe_psql('postgres', "SELECT miosa_resend('loaded')"), '', 'loaded');
is( $node->safe_psql('postgres', "SELECT miosa_wait_converged('loaded', '180 s')"),
	'converged', 'a deployment that was loaded can be delivered');
@request = grep { $_->{body} =~ /"deployment_id":"loaded"/ } $sink->requests;
like(
	$request[-1]{body},
	qr/"version_id":"ver_9"/,
	'and the edge received what it serves');

# A transaction with an old snapshot does not see old states
my $old = $node->background_psql('postgres');

$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM miosa.endpoints');
$sink->answer('^/hook', status => 503);
$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2')");
is($old->query_safe("SELECT miosa_wait_converged('dep_1', '300 ms')"),
	'waiting_edges', 'an old snapshot hides no edge that lacks the change');
$old->quit;

done_testing();
