# A dispatcher runs in every database that has the extension, in no other, and
# stands in nobody's way.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('workers', "max_worker_processes = 16\n");

# Databases with a dispatcher, once that is as expected, or what it is.
sub dispatchers
{
	my ($expected, $timeout) = @_;
	my $sql = "SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '')
		FROM pg_stat_activity WHERE backend_type = 'miosa_rollback dispatcher'";
	my $found;

	poll_until(
		sub { ($found = $node->safe_psql('postgres', $sql)) eq $expected },
		$timeout // 180);
	return $found;
}

sub state_in
{
	my ($database, $expected) = @_;

	return MiosaTest::wait_sql($node, 'SELECT state FROM miosa.dispatcher()', $expected, 180, $database);
}

is(dispatchers('postgres'), 'postgres', 'CREATE EXTENSION starts one');

# Two databases with the extension, one without
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two);
$node->safe_psql('one', 'CREATE EXTENSION miosa_rollback');
$node->safe_psql('two', 'CREATE SCHEMA miosa_rollback; CREATE SCHEMA miosa');
is(dispatchers('one postgres'),
	'one postgres', 'one each, and none where only a schema has its name');
$node->safe_psql('two', 'DROP SCHEMA miosa_rollback, miosa');

# What is rolled back asks for nothing, also in a savepoint
$node->safe_psql('two',
	'BEGIN; CREATE EXTENSION miosa_rollback; ROLLBACK');
$node->safe_psql('two',
	'BEGIN; SAVEPOINT s; CREATE EXTENSION miosa_rollback; ROLLBACK TO s; COMMIT');
is(dispatchers('one postgres'),
	'one postgres', 'CREATE EXTENSION that is rolled back starts none');

$node->safe_psql('two', 'CREATE EXTENSION miosa_rollback');
is(dispatchers('one postgres two'),
	'one postgres two', 'the same database can have one later');

# DROP EXTENSION ends it
$node->safe_psql('two', 'DROP EXTENSION miosa_rollback CASCADE');
is(dispatchers('one postgres'), 'one postgres', 'DROP EXTENSION ends it');
$node->safe_psql('two',
	'CREATE EXTENSION miosa_rollback; DROP EXTENSION miosa_rollback CASCADE;
	CREATE EXTENSION miosa_rollback');
is(dispatchers('one postgres two'),
	'one postgres two', 'created anew, it is there again');

# Commands that need the database for themselves. They fail when somebody is
# still connected after five seconds.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE one');
pass('CREATE DATABASE ... TEMPLATE is let pass');
is(dispatchers('copy one postgres two'),
	'copy one postgres two', 'and the dispatchers are back');
is(state_in('copy', 'paused'), 'paused', 'the copy sends nothing');
like($node->safe_psql('copy', 'SELECT miosa.pause_reason()'),
	qr/copy of another/, 'and says why');
is(state_in('one', 'running'), 'running', 'the original is not');

$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO three');
$node->safe_psql('postgres', 'DROP DATABASE three');
$node->safe_psql('postgres', 'DROP DATABASE copy');
pass('so are ALTER DATABASE and DROP DATABASE');
is(dispatchers('one postgres'), 'one postgres', 'nothing is left of them');

# A dispatcher that is ended is back and drains
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
$node->safe_psql('one', <<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 3) n;
SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}/hook');
SELECT miosa_promote('dep_1', 'ver_1');
EOS
is( $node->safe_psql('one', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'a webhook is delivered');

my $pid = $node->safe_psql('one', 'SELECT pid FROM miosa.dispatcher()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$node->safe_psql('one', "SELECT miosa_promote('dep_1', 'ver_2')");
is( $node->safe_psql('one', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'what was committed while it was away is delivered')
  if $node->poll_query_until('one',
	"SELECT state = 'running' AND pid <> $pid FROM miosa.dispatcher()");
my @request = $sink->requests;
like($request[-1]{body}, qr/"version_id":"ver_2"/, 'the last request is right');

# Killed between commit and delivery
$sink->stop;
$node->safe_psql('one', "SELECT miosa_promote('dep_1', 'ver_3')");
$node->stop('immediate');
$sink->clear;
$sink->start;
$node->start;
ok($sink->wait_for(1), 'what a crash has left is delivered after the restart');
@request = $sink->requests;
like($request[-1]{body}, qr/"version_id":"ver_3"/, 'and is right');

# The launcher comes back too, and finds the dispatchers that live
my $launcher = "SELECT pid FROM pg_stat_activity
	WHERE backend_type = 'miosa_rollback launcher'";
dispatchers('one postgres');
$pid = $node->safe_psql('one', 'SELECT pid FROM miosa.dispatcher()');
my $old = $node->safe_psql('postgres', $launcher);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM ($launcher) l WHERE pid <> $old"),
	'the launcher is started again');
is( $node->safe_psql('one', 'SELECT pid FROM miosa.dispatcher()'),
	$pid, 'and leaves a dispatcher alone that lives');

# A dispatcher that is about to start is nothing to warn of
$node->safe_psql('postgres', 'CREATE DATABASE soon');
my (undef, undef, $warned) = $node->psql('soon', <<'EOS');
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_endpoint('edge', 'webhook', 'http://127.0.0.1:1');
EOS
unlike($warned, qr/no dispatcher runs/, 'nothing is warned of before a dispatcher had time to start');
$node->safe_psql('postgres', 'DROP DATABASE soon (FORCE)');

# An orderly stop is not held up
$node->stop('fast');
pass('the server stops');

# Too few slots for workers: one database goes without, it is said so there,
# and it has its dispatcher as soon as a slot is free
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->start;
my $with;

ok( poll_until(
		sub {
			$with = $node->safe_psql('postgres',
				"SELECT string_agg(datname, ' ') FROM pg_stat_activity
				WHERE backend_type = 'miosa_rollback dispatcher'");
			return $with =~ /^(?:one|postgres)$/;
		},
		180),
	'one dispatcher has a slot');
my $without = $with eq 'one' ? 'postgres' : 'one';

my $says = q{SELECT string_agg(item || ' ' || status, ', ' ORDER BY item) FROM miosa_doctor()
		WHERE item IN ('dispatcher', 'worker_slots')};

is( MiosaTest::wait_sql($node, $says, 'dispatcher fail, worker_slots warn', 180, $without),
	'dispatcher fail, worker_slots warn', 'the doctor of the other one says why');
$node->safe_psql($with, 'SET miosa_rollback.allow_drop = on; DROP EXTENSION miosa_rollback CASCADE');
is(dispatchers($without), $without, 'which has it when there is one');

done_testing();
