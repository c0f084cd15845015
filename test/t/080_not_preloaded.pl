# Without shared_preload_libraries everything works except that nothing is
# delivered, and that is said.

use strict;
use warnings FATAL => 'all';

use MiosaPostgres;
use MiosaTest qw(wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = MiosaPostgres->new('bare');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION miosa_rollback');
$node->safe_psql('postgres', <<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_promote('dep_1', 'ver_' || n) FROM generate_series(1, 2) n;
EOS

# The transaction itself notifies
my ($status, $out, $err) = $node->psql('postgres',
	"LISTEN miosa_route; SELECT miosa_rollback('dep_1', 'ver_1') IS NOT NULL");
is($status, 0, 'a rollback works');
is($err, '', 'without endpoints nobody is missed');
like($out, qr/"miosa_route" with payload "\{"epoch":null,"deployment_id":"dep_1","version_id":"ver_1"\}"/,
	'and notifies by itself');
($status, $out, $err) = $node->psql('postgres',
	"LISTEN miosa_route; BEGIN; SELECT miosa_promote('dep_1', 'ver_2') IS NOT NULL; ROLLBACK; SELECT 1");
unlike($out, qr/payload/, 'but only at commit');

($status, $out, $err) = $node->psql('postgres',
	"SELECT miosa_put_endpoint('hook', 'webhook', 'http://127.0.0.1:1')");
is($status, 0, 'an endpoint can be added');
like($err, qr/WARNING:  no dispatcher runs/, 'with a warning');
($status, $out, $err) = $node->psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2')");
is($status, 0, 'a promotion works');
like($err, qr/WARNING:  no dispatcher runs.*HINT:/s, 'with a warning and a hint');
is( $node->safe_psql(
		'postgres',
		q{SELECT miosa_promote('dep_1', 'ver_1') #>> '{operation,warnings,0,code}', miosa_plan('dep_1', 'ver_2') #>> '{data,warnings,0,code}'}
	),
	'NOT_DELIVERED|NOT_DELIVERED',
	'which is in the answer too, and in a plan');
is($node->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '5 s')"),
	'no_dispatcher', 'waiting says why it does not');
is($node->safe_psql('postgres', 'SELECT state FROM miosa.dispatcher()'),
	'not preloaded', 'the state says it too');
like($node->safe_psql('postgres', "SELECT miosa_doctor()::text"),
	qr/preload/, 'miosa_doctor() says what is missing');
like($node->safe_psql('postgres', 'SELECT miosa_page()'),
	qr{<h1 id="headline">Nothing is delivered</h1>.*Dispatcher: none: shared_preload_libraries lacks miosa_rollback.*</html>}s,
	'the page says it');
is($node->safe_psql('postgres', 'SELECT wrong FROM miosa.overview LIMIT 1'),
	'NOT DELIVERING', 'and the overview');

# What was queued meanwhile is delivered once the library is preloaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'miosa_rollback'");
$node->restart;
ok(wait_dispatcher($node, 'running'),
	'preloaded, it has a dispatcher');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM miosa.outbox'),
	'which takes what was queued');

# A wait in the operation's own transaction would never end
($status, $out, $err) = $node->psql('postgres',
	"BEGIN; SELECT miosa_promote('dep_1', 'ver_1'); SELECT miosa_wait_converged('dep_1')");
like($err, qr/same transaction.*HINT:  COMMIT first/s, 'which is refused');

done_testing();
