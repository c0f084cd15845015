# Nothing needs session state: through pgbouncer in transaction mode, where
# every transaction may run in another backend and every backend serves many
# clients, operations and replays are the same as on a connection of one's own.

use strict;
use warnings FATAL => 'all';

use MiosaServer;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('behind');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = MiosaServer::free_port();
my $user = $node->safe_psql('postgres', 'SELECT current_user');

append_to_file("$dir/pgbouncer.ini", <<"EOC");
[databases]
pooled = host=${\$node->host} port=${\$node->port} dbname=postgres user=$user
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
EOC
my $bouncer = MiosaServer->new(
	name => 'pgbouncer',
	log => "$dir/pgbouncer.log",
	port => $port);
$bouncer->start('pgbouncer', "$dir/pgbouncer.ini");
my $pooled = "host=127.0.0.1 port=$port user=app dbname=pooled";

# Run SQL through the pool: (exit status, output, messages).
sub pooled
{
	my ($sql) = @_;

	return $node->psql('postgres', $sql, connstr => $pooled);
}

# Run a pgbench script through the pool by 16 clients.
sub clients
{
	my ($name, $mode, $transactions, $script) = @_;

	append_to_file("$dir/$name.sql", $script);
	my ($out, $err) = run_command(
		[
			'pgbench', '-n', '-c', 16, '-j', 2, '-t', $transactions,
			'-M', $mode, '-f', "$dir/$name.sql", $pooled
		]);
	my $all = 16 * $transactions;

	like($out, qr{actually processed: $all/$all\b},
		"$name: all calls answered")
	  or diag $err;
	return;
}

$node->safe_psql('postgres', <<'EOS');
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');
INSERT INTO miosa.deployments (id, tenant_id, name, slug)
	SELECT 'dep_' || i, 'ten_1', 'Site', 'site-' || i FROM generate_series(1, 4) i;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_' || d, 'ver_' || i, 'ten_1', i, 'ready' FROM generate_series(1, 4) d, generate_series(1, 3) i;
DO 'BEGIN PERFORM miosa_promote(''dep_'' || d, ''ver_'' || i) FROM generate_series(1, 4) d, generate_series(1, 3) i; END';
EOS

# One call, and its replay
my ($status, $first) =
  pooled(q{SELECT miosa_rollback('dep_1', 'ver_2', 'key-1')});
is($status, 0, 'a rollback through the pool');
is((pooled(q{SELECT miosa_rollback('dep_1', 'ver_2', '"key-1"')}))[1],
	$first, 'the same key: the same bytes');

# The same keys from 16 clients over 3 backends, twice
for my $mode ('simple', 'extended')
{
	clients("keys_$mode", $mode, 25, <<'EOS');
\set k random(1, 20)
SET client_min_messages = error;
SELECT miosa_rollback('dep_2', 'ver_' || 1 + :k % 3, 'same-' || :k);
EOS
}
is( $node->safe_psql('postgres', <<'EOS'),
SELECT seq - 3, (SELECT count(*) - 3 FROM miosa.audit_events WHERE deployment_id = 'dep_2'),
	(SELECT count(*) FROM miosa.idempotency_keys WHERE deployment_id = 'dep_2') FROM miosa.deployments WHERE id = 'dep_2'
EOS
	'20|20|20',
	'20 keys make 20 operations, from any session and however often');

# Larger transactions, a savepoint and a prepared statement in each
clients('transactions', 'simple', 10, <<'EOS');
SET client_min_messages = error;
BEGIN;
SET LOCAL miosa_rollback.actor = 'user:client_:client_id';
PREPARE back AS SELECT miosa_rollback('dep_3', $1, $2);
EXECUTE back('ver_1', NULL);
SAVEPOINT a;
EXECUTE back('ver_2', NULL);
ROLLBACK TO a;
DEALLOCATE back;
COMMIT;
EOS
is( $node->safe_psql('postgres', <<'EOS'),
SELECT seq - 3, (SELECT count(*) FROM miosa.audit_events WHERE deployment_id = 'dep_3' AND target_version_id = 'ver_1' AND seq > 3),
	(SELECT count(DISTINCT actor_id) FROM miosa.audit_events WHERE deployment_id = 'dep_3' AND actor_type = 'user')
	FROM miosa.deployments WHERE id = 'dep_3'
EOS
	'160|160|16',
	'each transaction is one operation, with its own actor');

# A refusal leaves nothing behind in the backend that another client gets
my $holder = $node->background_psql('postgres');
$holder->query_safe(
	q{BEGIN; SELECT miosa_rollback('dep_4', 'ver_1') IS NULL});
like((pooled(q{BEGIN; SET LOCAL miosa_rollback.lock_wait = '200ms'; SELECT miosa_rollback('dep_4', 'ver_2', 'busy')}))[2],
	qr/"dep_4" is busy/, 'busy is said through the pool')
  for 1 .. 4;
$holder->query_safe('COMMIT');
$holder->quit;
clients('settings', 'simple', 4, <<'EOS');
SELECT CASE WHEN current_setting('lock_timeout') <> '0'
	OR current_setting('miosa_rollback.actor') <> ''
	THEN 1 / (SELECT count(*) - count(*) FROM pg_class) END;
EOS
($status) = pooled(q{SELECT miosa_rollback('dep_4', 'ver_2', 'busy')});
is($status, 0, 'and the key is still free');

# The backend of a statement above may still be ending.
is(wait_sql($node, <<'EOS', 't'), 't', '16 clients were served by 3 backends');
SELECT count(*) <= 3 FROM pg_stat_activity WHERE client_addr IS NULL AND pid <> pg_backend_pid()
	AND backend_type = 'client backend'
EOS

$bouncer->stop;
$node->stop;
done_testing();
