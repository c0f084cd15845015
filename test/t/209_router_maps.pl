# Maps that cannot be right are refused, or the doctor names what is wrong: a shard
# twice, two shards that are one database, a connection with a typing error, a site
# that two servers have, a shard that is renamed or removed, an override to no
# shard.

use strict;
use warnings FATAL => 'all';

use MiosaRouter;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('here', "miosa_rollback.site = 'here'\n");
my $other = make_node('there', "miosa_rollback.site = 'there'\n");

sub messages { my ($db, $sql) = @_; return ($node->psql($db, $sql))[2]; }

# A router without shards.
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('empty', "\\i $MiosaRouter::contrib/miosa_router.sql");
like(messages('empty', "SELECT miosa_deployment('dep_1')"), qr/ERROR:  the router has no map\nDETAIL:.*\nHINT:  SELECT miosa_router\.add_shard/, 'a router without a map says what to do');
like(messages('empty', 'SELECT miosa_router.spread_buckets()'), qr/ERROR:  there is no shard\nDETAIL:.*\nHINT:  SELECT miosa_router\.add_shard/, '... buckets need a shard');
is($node->safe_psql('empty', "SELECT string_agg(item || ' ' || status, ', ') FROM miosa_doctor() WHERE item IN ('router: map', 'router: buckets')"),
	'router: map fail, router: buckets ok', '... the doctor says that there is no map');

my $router = MiosaRouter->new($node, [ s0 => $node ], [ s1 => $node ]);
my $connection = 'host=' . $node->host . ' port=' . $node->port . ' connect_timeout=60';

sub doctor { my ($item) = @_; return $router->sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'router: $item'"); }
sub refused { my ($sql) = @_; return ($router->try($sql))[2]; }

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");
my %id = map { $_ => $router->here($_) } qw(s0 s1);

$router->sql("SELECT miosa_put_deployment('$_', 'ten_1')") for values %id;
is(doctor($_) =~ s/ .*//r, 'ok', "$_ is ok") for 'map', 'moves', 'buckets', 'misplaced', 'shard s0', 'shard s1';

# A shard twice.
like(refused("SELECT miosa_router.add_shard('s0', '$connection dbname=s9')"),
	qr/ERROR:  shard "s0" exists\nDETAIL:  Its number is 0\.\nHINT:  To change its connection: UPDATE miosa_router\.shards SET connection = /, 'a shard of a name that there is');
like(refused("SELECT miosa_router.add_shard('s9', connection) FROM miosa_router.shards WHERE name = 's0'"),
	qr/ERROR:  the connection of shard "s9" is that of another shard\nDETAIL:  Shard "s0" has it\./, 'a shard of a connection that there is');
is($router->sql('SELECT count(*) FROM miosa_router.shards'), 2, '... are not added');
my ($hint) = refused("SELECT miosa_router.add_shard('s0', '$connection dbname=s0 application_name=x')") =~ /HINT:  [^:]*: (.*;)/;
$router->sql($hint);
is($router->sql("SELECT miosa_deployment('$id{s0}') #>> '{data,id}'"), $id{s0}, '... the hint changes the connection of the one that there is');

# Two shards that are one database, by connections that differ.
$router->sql("SELECT miosa_router.add_shard('twin', '$connection dbname=s1 application_name=twin')");
is(doctor('shard twin'), 'fail is the database of shard s1', 'two shards that are one database: the doctor names them');
$router->sql("UPDATE miosa_router.shards SET weight = 0, state = 'off' WHERE name = 'twin'");
is(doctor('shard s1') =~ s/ .*//r, 'ok', '... not the first one');

# A typing error in a connection: its calls fail, the others do not.
$router->sql("UPDATE miosa_router.shards SET connection = '$connection dbnam=s1' WHERE name = 's1'");
like(doctor('shard s1'), qr/^fail .*invalid connection option "dbnam"/, 'a connection with a typing error: the doctor has the message');
like(refused("SELECT miosa_deployment('$id{s1}')"), qr/ERROR:  shard "s1" is unavailable\nDETAIL:  .*dbnam/, '... calls have it too');
is($router->sql("SELECT miosa_deployment('$id{s0}') #>> '{data,id}'"), $id{s0}, '... other shards answer');
$router->sql("UPDATE miosa_router.shards SET connection = '$connection dbname=s7' WHERE name = 's1'");
like(doctor('shard s1'), qr/^fail .*database "s7" does not exist/, 'a database that there is not');
$router->sql("UPDATE miosa_router.shards SET connection = '$connection dbname=postgres' WHERE name = 's1'");
like(doctor('shard s1'), qr/^fail .*miosa_shard.* does not exist/, 'a database that is no shard');
$router->sql("UPDATE miosa_router.shards SET connection = '$connection dbname=s1' WHERE name = 's1'");
is($router->sql("SELECT miosa_deployment('$id{s1}') #>> '{data,id}'"), $id{s1}, '... and corrected');

# A shard that is renamed, removed, or is not there.
$router->sql("UPDATE miosa_router.shards SET name = 'east' WHERE name = 's1'");
is($router->sql("SELECT miosa_deployment('$id{s1}') #>> '{data,id}'"), $id{s1}, 'a shard may be renamed');
is(doctor('shard east') =~ s/ .*//r, 'ok', '... the doctor has its new name');
$router->sql("UPDATE miosa_router.shards SET name = 's1' WHERE name = 'east'");
like(refused("DELETE FROM miosa_router.shards WHERE name = 's1'"), qr/ERROR:  a shard keeps its number\nDETAIL:.*\nHINT:.*state = 'off'/, 'a shard that has buckets is not removed');
like(refused("UPDATE miosa_router.shards SET number = 7 WHERE name = 's1'"), qr/ERROR:  a shard keeps its number/, '... nor numbered otherwise');
like(refused("INSERT INTO miosa_router.deployment_overrides VALUES ('$id{s0}', 9)"), qr/ERROR:.*violates foreign key constraint.*\n.*DETAIL:.*shard.*=\(9\) is not present/, 'an override to a shard that there is not');
like(refused("UPDATE miosa_router.shards SET weight = -1 WHERE name = 's1'"), qr/violates check constraint/, 'a weight below 0');
$router->sql('UPDATE miosa_router.shards SET weight = 0');
$router->sql('CALL miosa_router.rebalance()');
is($router->sql("SELECT string_agg(buckets::text, ' ' ORDER BY number) FROM miosa_router.shares()"), '512 512', 'without weights no bucket moves');
$router->sql("UPDATE miosa_router.shards SET weight = 1 WHERE state = 'on'");

# A site that two servers have.
$other->safe_psql('postgres', 'CREATE DATABASE s3');
$other->safe_psql('s3', 'CREATE EXTENSION miosa_rollback');
$other->safe_psql('s3', "\\i $MiosaRouter::contrib/miosa_shard.sql");
$router->sql("SELECT miosa_router.add_shard('s3', 'host=@{[ $other->host ]} port=@{[ $other->port ]} dbname=s3 connect_timeout=60')");
is(doctor('shard s3') =~ s/ .*//r, 'ok', 'a shard on another server, of another site');

# What a restore from a dump leaves out, the doctor names, and the script makes.
$other->safe_psql('s3', 'DROP TRIGGER miosa_shard_deployment ON miosa.deployments; DROP INDEX miosa.deployments_bucket');
is(doctor('shard s3'), 'fail lacks what miosa_shard.sql makes: trigger miosa_shard_deployment, index deployments_bucket', 'a shard that was restored from a dump');
$other->safe_psql('s3', "\\i $MiosaRouter::contrib/miosa_shard.sql");
is(doctor('shard s3') =~ s/ .*//r, 'ok', '... until the script has been run again');
$other->safe_psql('postgres', "ALTER SYSTEM SET miosa_rollback.site = 'here'");
$other->restart;
is($other->safe_psql('s3', 'SHOW miosa_rollback.site'), 'here', '... which has the site of the first server now');
$router->try('SELECT miosa_router.at_shard(3, \'allowed\', NULL)') for 1 .. 2;
is(doctor('shard s3'), 'fail has the site of shard s0, which is another server: here', '... the doctor names both');

# Another version of the extension: the doctor names it, and a function that it
# lacks is an error of that shard.
$router->shard_sql('s1', 'DROP SCHEMA miosa_shard CASCADE');
like(doctor('shard s1'), qr/^fail .*miosa_shard.* does not exist/, 'a shard without its script');
$node->safe_psql('s1', "\\i $MiosaRouter::contrib/miosa_shard.sql");
is(doctor('shard s1') =~ s/ .*//r, 'ok', '... which is run again');

done_testing();
