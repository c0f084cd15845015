# A copy of a database must not send to the original's edges, and says that it
# does not.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $node = make_node('original', <<'EOC');
wal_level = replica
max_wal_senders = 5
EOC

sub epoch { return shift->safe_psql('postgres', 'SELECT last_epoch FROM miosa.dispatcher_state'); }

sub is_paused
{
	my ($server, $database, $why, $name) = @_;

	ok(wait_dispatcher($server, 'paused', database => $database),
		"$name is paused");
	like($server->safe_psql($database, 'SELECT miosa.pause_reason()'),
		$why, 'and says why');
	$sink->clear;
	my ($status, $out, $err) = $server->psql($database,
		"SELECT miosa_promote('dep_1', CASE (miosa_deployment('dep_1')->'data'->>'active_version_id')
			WHEN 'ver_1' THEN 'ver_2' ELSE 'ver_1' END)");
	like($err, qr/WARNING/, 'a promotion there warns');
	is( $server->safe_psql($database,
			"SELECT miosa_wait_converged('dep_1', '1500 ms')"),
		'no_dispatcher',
		'nothing is said to have converged');
	is(scalar($sink->requests), 0, 'nothing is delivered');
	return;
}

sub is_converged
{
	my ($server, $database, $name) = @_;

	is($server->safe_psql($database, "SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', $name);
	return;
}

$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}/hook');
SELECT miosa_promote('dep_1', 'ver_1');
EOS
is_converged($node, 'postgres', 'the original delivers');
my $first = epoch($node);

# A dump, restored beside the original
$sink->clear;
$node->command_ok(
	[ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ],
	'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), "$dir/dump" ],
	'pg_restore');
is($node->safe_psql('restored', 'SELECT count(*) FROM miosa.endpoints'),
	1, 'endpoints are restored');
is_paused($node, 'restored', qr/"hook" was added in another installation/,
	'a restored dump');
like($node->safe_psql('restored', 'SELECT miosa_resume()'),
	qr/^resumed/, 'miosa_resume()');
is_converged($node, 'restored', 'and it delivers');
is($node->safe_psql('restored', 'SELECT miosa_resume()'),
	'was not paused', 'miosa_resume() once is enough');
$node->safe_psql('postgres', 'DROP DATABASE restored');

# A base backup, started as a server of its own on a new timeline
$node->backup('base');
my $clone = MiosaPostgres->new('clone');
$clone->init_from_backup($node, 'base', has_streaming => 1);
$clone->start;
$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2')");
is_converged($node, 'postgres', 'the original goes on');
$node->wait_for_catchup($clone);
is($clone->safe_psql('postgres', 'SELECT state FROM miosa.dispatcher()'),
	'none', 'a standby has no dispatcher');
$clone->promote;
is_paused($clone, 'postgres', qr/timeline has changed/, 'a promoted clone');
$clone->safe_psql('postgres', 'SELECT miosa_resume()');
is_converged($clone, 'postgres', 'resumed, it delivers');
cmp_ok(epoch($clone) >> 40, '>', $first >> 40, 'in a new term');
$clone->stop;

# With miosa_rollback.site the successor goes on by itself
$node->append_conf('postgresql.conf', "miosa_rollback.site = 'main'");
$node->reload;
is_paused($node, 'postgres', qr/site is "main"/, 'another site');
$node->safe_psql('postgres', 'SELECT miosa_resume()');
is_converged($node, 'postgres', 'resumed');
my $before = epoch($node);
$node->backup('second');
my $standby = MiosaPostgres->new('standby');
$standby->init_from_backup($node, 'second', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
$node->stop;
$sink->clear;
$standby->promote;
ok($sink->wait_for(1), 'everything is sent again after a promotion');
is_converged($standby, 'postgres', 'and has converged');
cmp_ok(epoch($standby) >> 40, '>', $before >> 40, 'in a new term');

done_testing();
