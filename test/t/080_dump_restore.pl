# pg_dump and restore lose nothing and send nothing: rows of every kind come
# back as they were, edited plans and own adapters among them, in whatever order
# and with however many jobs they are restored, and the copy sends nothing before
# miosa_resume() is called.

use strict;
use warnings FATAL => 'all';

use List::Util qw(shuffle);
use MiosaSink;
use MiosaTest qw(make_node rows_of_every_kind wait_dispatcher wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

# Nothing may change between a dump and what is compared with it
my $node = make_node('dump', <<'EOC');
miosa_rollback.cutover_deadline = 1d
miosa_rollback.drain_delay = -1
miosa_rollback.heartbeat_timeout = 0
EOC
my $tempdir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$tempdir/sink")->start;
my $url = $sink->url;

$node->safe_psql('postgres', rows_of_every_kind($url));
is( $node->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'the original is delivered');
is( wait_sql($node, <<'EOS', 't'), 't', 'and has nothing left to send');
SELECT NOT EXISTS (SELECT FROM miosa.outbox) AND d.in_flight + d.pending = 0 AND NOT EXISTS (SELECT FROM miosa.endpoints e
	LEFT JOIN miosa.endpoint_state s ON s.endpoint = e.name
	WHERE e.enabled AND (s.acked_epoch, s.settled_epoch, s.resync_after IS NULL) IS DISTINCT FROM (d.epoch, d.epoch, true))
FROM miosa.stat_dispatcher d
EOS

my @kept = qw(plans own_plans adapters tenants deployments versions releases runtime_instances
  capacity storages domains idempotency_keys audit_events audit_checkpoints endpoints
  schemas schema_reports);

# Every row of a table, in one order.
sub rows
{
	my ($database, $table) = @_;

	return $node->safe_psql($database,
		"SELECT t FROM miosa.$table t ORDER BY t::text");
}

# Every right on our objects.
sub rights
{
	my ($database) = @_;

	return $node->safe_psql($database, <<'EOS');
SELECT oid::regclass::text, relacl FROM pg_class
WHERE relnamespace = 'miosa'::regnamespace AND relkind IN ('r', 'v', 'm')
UNION ALL
SELECT oid::regprocedure::text, proacl FROM pg_proc
WHERE pronamespace = 'miosa'::regnamespace OR proname LIKE 'miosa_%'
ORDER BY 1
EOS
}

my $silence = $sink->requests;
for my $format ('plain', 'custom')
{
	my $copy = "copy_$format";
	my $file = "$tempdir/$format.dump";

	$node->command_ok(
		[ 'pg_dump', "--format=$format", '-f', $file, '-d', 'postgres' ],
		"pg_dump, $format");
	$node->safe_psql('postgres', "CREATE DATABASE $copy");
	my @restore =
	  $format eq 'plain'
	  ? ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $copy, '-f', $file)
	  : ('pg_restore', '--exit-on-error', '-d', $copy, $file);
	$node->command_ok(\@restore, "restore, $format");

	is(rows($copy, $_), rows('postgres', $_), "$format: $_ are the same")
	  for @kept;
	is( $node->safe_psql($copy, 'SELECT miosa_audit_verify_all()'),
		$node->safe_psql('postgres', 'SELECT miosa_audit_verify_all()'), "$format: the audit trail verifies");
	is( $node->safe_psql($copy, 'SELECT name FROM miosa.adapters WHERE NOT builtin ORDER BY name'),
		"copied\nown", "$format: own adapters are there");
	is(rights($copy), rights('postgres'), "$format: rights are the same");
	is( $node->safe_psql($copy,
			'SELECT count(*) FROM miosa.secrets'),
		0, "$format: secrets are not dumped");
	unlike(slurp_file($file), qr{never/dumped}, 'they are not in the file')
	  if $format eq 'plain';

	# The copy sends nothing, and says so
	ok(wait_dispatcher($node, 'paused', database => $copy),
		"$format: the copy is paused");
	is( $node->safe_psql($copy,
			"SELECT count(*) FROM miosa.outbox WHERE kind <> 'settings'"),
		0, "$format: restoring has queued no work");
	like($node->safe_psql($copy, 'SELECT miosa.pause_reason()'),
		qr/another installation|copy of another/, "$format: and says why");

	# The key answers as before, and the plan was the edited one
	is( $node->safe_psql($copy,
			"SELECT miosa_rollback('dep_1', 'ver_2', 'key-1')"),
		$node->safe_psql('postgres',
			"SELECT miosa_rollback('dep_1', 'ver_2', 'key-1')"),
		"$format: a known key answers as it did");
}
is($sink->requests, $silence, 'nothing was sent again');

# Whatever the order, the number of jobs and the switches: the same rows. A
# list in another order is what several jobs can amount to. For data alone the
# extension is there already.
my $custom = "$tempdir/custom.dump";
$node->command_ok([ 'pg_restore', '-l', '-f', "$tempdir/list", $custom ],
	'the list of what was dumped');
my @list = split /\n/, slurp_file("$tempdir/list");
my @data = grep { / TABLE DATA / } @list;
my @rest = grep { !/ TABLE DATA / } @list;
append_to_file("$tempdir/backwards", join "\n", @rest, reverse(@data), '');
append_to_file("$tempdir/shuffled", join "\n", @rest, shuffle(@data), '');
$node->command_ok(
	[ 'pg_dump', '--data-only', '-f', "$tempdir/data.sql", '-d', 'postgres' ],
	'pg_dump, data alone');

my @pg_restore = ('pg_restore', '--exit-on-error');
my @sections = map { [ @pg_restore, "--section=$_", $custom ] }
  qw(pre-data data post-data);
my %way = (
	jobs => [ [ @pg_restore, '-j4', $custom ] ],
	sections => \@sections,
	backwards => [ [ @pg_restore, '-L', "$tempdir/backwards", $custom ] ],
	shuffled => [ [ @pg_restore, '-L', "$tempdir/shuffled", $custom ] ],
	data_triggers => [ [ @pg_restore, '-a', '-j4', $custom ] ],
	data_no_triggers =>
	  [ [ @pg_restore, '-a', '-j4', '--disable-triggers', $custom ] ],
	data_plain => [ [ 'psql', '-Xqv', 'ON_ERROR_STOP=1', '-f', "$tempdir/data.sql" ] ]);
for my $name (sort keys %way)
{
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION miosa_rollback')
	  if $name =~ /^data/;
	$node->command_ok([ @$_, '-d', $name ], "restore, $name: @$_")
	  for @{ $way{$name} };
	is(rows($name, $_), rows('postgres', $_), "$name: $_ are the same")
	  for @kept;
	$node->safe_psql('postgres', "DROP DATABASE $name WITH (FORCE)");
}
is($sink->requests, $silence, 'nothing was sent again');

# Until miosa_resume() lets the copy send
$node->safe_psql('copy_custom',
	"INSERT INTO miosa.secrets (name, value) VALUES ('token', 'whsec_' || repeat('new+', 8));
	SELECT miosa_resume()");
is( $node->safe_psql('copy_custom',
		"SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'after miosa_resume() it sends everything');
cmp_ok($sink->requests, '>', $silence, 'as its endpoints can tell');

done_testing();
