#
# Logical replication. A publication of all tables is subscribed to by a
# database that has the extension: rows that both have made do not stop it,
# what each makes for itself stays its own, and the copy tells no edge.
#
use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $origin = make_node('origin', '', allows_streaming => 'logical');
# With a system identifier of its own
my $copy = make_node('copy', '', extra => ['--lc-time=C']);
my @own = ('SELECT term, site, system_identifier FROM miosa.dispatcher_state',
	'SELECT string_agg(a.name, $$ $$ ORDER BY a.name) FROM miosa.adapters a WHERE a.builtin');
my $routes = 'SELECT coalesce(string_agg(p.id || $$:$$ || p.active_version_id, $$ $$ ORDER BY p.id), $$none$$) FROM miosa.deployments p';

sub publish
{
	my ($deployment) = @_;

	return $origin->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('$deployment', 'ten_1', '$deployment');
SELECT miosa_put_version('$deployment', 'v1', 1);
SELECT miosa_promote('$deployment', 'v1', 'key');
EOS
}

$origin->safe_psql('postgres', <<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "mine"}')).* FROM miosa.adapters a WHERE a.name = 'webhook';
SELECT miosa_put_endpoint('hook', 'mine', '@{[ $sink->url ]}/hook');
CREATE PUBLICATION everything FOR ALL TABLES;
EOS
publish('dep-1');
is($origin->safe_psql('postgres', "SELECT miosa_wait_converged('dep-1', '180 s')"),
	'converged', 'the origin tells its edge');
like(
	$origin->safe_psql('postgres',
		"SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'publications'"),
	qr/^fail .*everything/,
	'the doctor says that secrets leave in clear');

my @before = map { $copy->safe_psql('postgres', $_) } @own;

$copy->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION \$\$"
	  . $origin->connstr('postgres') . "\$\$ PUBLICATION everything");
is( wait_sql($copy, "SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubstate <> 'r'", 0),
	0, 'every table is copied')
  or diag slurp_file($copy->logfile);
is($copy->safe_psql('postgres', $routes), 'dep-1:v1', 'with its rows');

# Changes go on to come, and so do people's adapters
publish('dep-2');
is(wait_sql($copy, $routes, 'dep-1:v1 dep-2:v1'), 'dep-1:v1 dep-2:v1', 'changes follow');
is($copy->safe_psql('postgres', 'SELECT adapter FROM miosa.endpoints'), 'mine', "people's adapters and endpoints come");
is_deeply([ map { $copy->safe_psql('postgres', $_) } @own ], \@before,
	'shipped rows and the order of epochs are the own ones');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM miosa.endpoint_state s WHERE s.acked_epoch > 0'),
	0, 'what edges have acknowledged is not taken over');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM miosa.audit_events'), 2, 'the audit trail comes');

# The copy must not tell the edges of the origin
like(
	$copy->safe_psql('postgres', 'SELECT miosa.pause_reason()'),
	qr/was added in another installation/, 'the copy is paused');
is($origin->safe_psql('postgres', "SELECT miosa_wait_converged('dep-2', '180 s')"),
	'converged', 'the origin tells the change');
is(scalar $sink->requests('^/hook'), 2, 'the edge has heard of each change once');

# A shipped adapter that changes at the origin, as an update of the extension
# does it, stops nothing
$origin->safe_psql('postgres', "SET session_replication_role = replica;
	UPDATE miosa.adapters SET description = 'newer' WHERE builtin AND name = 'webhook'");
publish('dep-3');
is(wait_sql($copy, $routes, 'dep-1:v1 dep-2:v1 dep-3:v1'),
	'dep-1:v1 dep-2:v1 dep-3:v1', 'an update of a shipped adapter stops nothing');
isnt($copy->safe_psql('postgres', "SELECT description FROM miosa.adapters WHERE name = 'webhook'"),
	'newer', 'and is not taken over');

$copy->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
done_testing();
