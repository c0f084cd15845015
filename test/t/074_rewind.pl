# A primary that fails comes back by pg_rewind as a standby of its successor: what
# only it had is gone from its tables, its keys and its trail, and when it is
# promoted again its term is newer than both, so that edges take what it says.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaPostgres;
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $edge = MiosaSink->new(dir => "$dir/edge")->start;
my $old = make_node('old', <<'EOC', allows_streaming => 1);
miosa_rollback.site = 'main'
wal_log_hints = on
wal_keep_size = 320MB
EOC

$old->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('put', '5 min',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}');
SELECT miosa_put_endpoint('edge', 'put', '@{[ $edge->url ]}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 5) n;
EOS
promote($old, 1);
$old->backup('base');
my $new = MiosaPostgres->new('new');

$new->init_from_backup($old, 'base', has_streaming => 1);
$new->start;

# The operation of a call, which is delivered.
sub promote
{
	my ($node, $n) = @_;
	my $operation = $node->safe_psql('postgres',
		"SELECT miosa_promote('dep_1', 'ver_$n', 'key-$n') #>> '{operation,id}'");

	is($node->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "version $n is delivered");
	return $operation;
}

# The newest request: its version and its epoch.
sub newest
{
	my ($request) = reverse $edge->requests('^/dep_1/');
	my ($version) = $request->{path} =~ m{/(\w+)$};

	return ($version, $request->{headers}{'x-epoch'});
}

sub is_newer
{
	my ($epoch, $version, $name) = @_;
	my ($got, $newer) = newest();

	is($got, $version, "$name: the edge has version $version");
	cmp_ok($newer >> 40, '>', $epoch >> 40, "$name: of a newer term");
	return $newer;
}

# One operation of the old primary never leaves it
promote($old, 2);
$old->wait_for_catchup($new);
$new->append_conf('postgresql.conf', "primary_conninfo = ''");
$new->reload;
ok( $new->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM pg_stat_wal_receiver'),
	'replication is cut');
is(promote($old, 3), 'dep_1#3', 'the old primary makes an operation that it alone has');
my (undef, $epoch) = newest();

$old->stop('immediate');
$new->promote;
ok(wait_dispatcher($new, 'running'), 'the new primary takes over');
is(promote($new, 4), 'dep_1#3', 'and makes another operation of that number');
$epoch = is_newer($epoch, 'ver_4', 'after the fail-over');

# pg_rewind, as Patroni runs it: after crash recovery of its own
my $data = $old->data_dir;

$new->safe_psql('postgres', 'CHECKPOINT');
system_or_bail('cp', "$data/postgresql.conf", "$dir/postgresql.conf");
command_ok(
	[
		'pg_rewind', '--target-pgdata', $data,
		'--source-server', $new->connstr('postgres')
	],
	'the old primary is rewound');
system_or_bail('cp', "$dir/postgresql.conf", "$data/postgresql.conf");
$old->enable_streaming($new);
$old->set_standby_mode;
$old->start;
$new->wait_for_catchup($old);
is( $old->safe_psql('postgres', <<'EOS'),
SELECT string_agg(seq || ':' || idempotency_key, ' ' ORDER BY seq) FROM miosa.audit_events WHERE deployment_id = 'dep_1'
EOS
	'1:key-1 2:key-2 3:key-4',
	'the operation that it alone had is gone from its trail');
is( $old->safe_psql('postgres', q{SELECT miosa_audit_verify('dep_1') #>> '{data,verified}'}),
	'true', 'whose chain is whole');
is( $old->safe_psql('postgres', q{SELECT count(*) FROM miosa.idempotency_keys WHERE key = 'key-3'}),
	'0', 'and its key is gone');
is($old->safe_psql('postgres', 'SELECT state FROM miosa.dispatcher()'),
	'none', 'it delivers nothing');

# And back: the rewound server is the primary again
$new->stop('fast');
$old->promote;
ok(wait_dispatcher($old, 'running'), 'the rewound server takes over');
is($old->safe_psql('postgres', q{SELECT miosa_promote('dep_1', 'ver_4', 'key-4') #>> '{operation,id}'}),
	'dep_1#3', 'it knows the key of the one before');
is(promote($old, 3), 'dep_1#4', 'the key that was lost is applied anew');
is_newer($epoch, 'ver_3', 'after the way back');

$old->stop;
done_testing();
