# pg_upgrade takes everything along, and nothing is sent while it runs; afterwards
# the copy sends nothing until miosa_resume() is called.

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $old = make_node('old');
my $new = MiosaPostgres->new('new');

# An option of its own gives it a system identifier of its own (test/initdb)
$new->init(extra => ['--lc-messages=C']);
$new->append_conf('postgresql.conf', <<'EOC');
shared_preload_libraries = 'miosa_rollback'
miosa_rollback.allow_private_endpoints = on
EOC
$old->safe_psql('postgres', <<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}/hook');
SELECT miosa_promote('dep_1', 'ver_1', 'key-1');
EOS
is( $old->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'the old server tells');

# Work that waits, so that any dispatcher would have something to tell
$sink->answer('.', status => 503);
$old->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2', 'key-2')");
$sink->wait_for(2);
$old->stop;
$sink->plain;
$sink->clear;

my $bin = $old->config_data('--bindir');

chdir $dir or die "chdir: $!\n";

$old->command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir,
		'-b', $bin, '-B', $bin, '-s', $dir, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');
is(scalar($sink->requests), 0, 'nothing is sent meanwhile');
$new->start;
ok(wait_dispatcher($new, 'paused'), 'the new server is paused');
like($new->safe_psql('postgres', 'SELECT miosa.pause_reason()'),
	qr/system identifier|copy of another/, 'and says why');
is(scalar($sink->requests), 0, 'and sends nothing');
is( $new->safe_psql('postgres',
		"SELECT miosa_promote('dep_1', 'ver_2', 'key-2') #>> '{operation,id}'"),
	'dep_1#2',
	'it knows what was done');
$new->safe_psql('postgres', 'SELECT miosa_resume()');
is( $new->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'resumed, it tells');
my @request = $sink->requests('^/hook');
like($request[-1]{body}, qr/"version_id":"ver_2"/, 'what was not sent before');

done_testing();
