# DROP EXTENSION with data left is refused, also by a server that does not
# preload the library, and by the DROP of pg_restore --clean; DROP DATABASE is
# not.

use strict;
use warnings FATAL => 'all';

use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = MiosaPostgres->new('drop');
my $drop = 'DROP EXTENSION miosa_rollback';

$node->init;
$node->start;
$node->safe_psql('postgres', <<'EOS');
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_1', 1);
SELECT miosa_promote('dep_1', 'ver_1', 'key-1');
EOS

# A statement in a session of its own is refused with a HINT.
sub refused
{
	my ($sql, $name) = @_;
	my ($status, undef, $error) = $node->psql('postgres', $sql);

	is($status, 3, "$name: refused");
	like($error,
		qr/because it has data.*HINT: .*allow_drop = on/s, "$name: and says what to do");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM miosa.audit_events'),
		1, "$name: nothing is lost");
	return;
}

for my $preloaded (0, 1)
{
	my $name = $preloaded ? 'preloaded' : 'not preloaded';

	refused("$drop;", $name);
	refused('DROP SCHEMA public CASCADE;', "$name, DROP SCHEMA");
	is( $node->safe_psql('postgres', "BEGIN; SET miosa_rollback.allow_drop = on; $drop; ROLLBACK; SELECT 1"),
		1, "$name: allowed, it is dropped");
	$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres; DROP DATABASE copy');
	pass("$name: DROP DATABASE passes");
	$node->safe_psql('postgres', 'CREATE DATABASE plain');
	$node->safe_psql('plain', 'CREATE SCHEMA miosa; CREATE TABLE miosa.deployments AS SELECT 1;
		DROP TABLE miosa.deployments; DROP SCHEMA miosa CASCADE');
	$node->safe_psql('postgres', 'DROP DATABASE plain');
	pass("$name: tables of these names elsewhere are dropped");
	last if $preloaded;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'miosa_rollback'\n");
	$node->restart;
}

# pg_restore --clean drops the extension first
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", '-d', 'postgres' ], 'pg_dump');
$node->command_fails_like(
	[ 'pg_restore', '--clean', '--exit-on-error', '-d', 'postgres', "$dir/dump" ],
	qr/because it has data/, 'pg_restore --clean is refused');
{
	local $ENV{PGOPTIONS} = '-c miosa_rollback.allow_drop=on';

	$node->command_ok(
		[ 'pg_restore', '--clean', '--exit-on-error', '-d', 'postgres', "$dir/dump" ],
		'allowed, it drops and restores');
}
is($node->safe_psql('postgres', q{SELECT miosa_deployment('dep_1') #>> '{data,active_version_id}'}),
	'ver_1', 'what was dumped is there again');

done_testing();
