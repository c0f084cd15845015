# Each release is updated to the newest version: it has the same objects as a new
# installation then, and everything that it had.  Before that the new library
# serves the old objects, and says what to do; an old library refuses new objects.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node rows_of_every_kind wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

# Nothing may change while rows are compared
my $node = make_node('update', <<'EOC');
miosa_rollback.cutover_deadline = 1d
miosa_rollback.drain_delay = -1
miosa_rollback.heartbeat_timeout = 0
EOC
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $update = 'ALTER EXTENSION miosa_rollback UPDATE';
my $fresh = objects('postgres');
my $newest = $node->safe_psql('postgres', 'SELECT library FROM miosa.versions()');
my @release = split /\n/, $node->safe_psql('postgres', <<'EOS');
SELECT version FROM pg_available_extension_versions
WHERE name = 'miosa_rollback' ORDER BY string_to_array(version, '.')::integer[]
EOS

# A database of this name, with the extension in a version.
sub make_database
{
	my ($name, $version) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, "CREATE EXTENSION miosa_rollback VERSION '$version'");
	return;
}

# All objects of the extension, as pg_dump writes them for pg_upgrade, which does
# not leave them to CREATE EXTENSION; and what else the script left in the catalog.
# Numbers of objects and transactions are taken out.
sub objects
{
	my ($database) = @_;
	my ($dump, $error);

	run_log([ 'pg_dump', '--schema-only', '--binary-upgrade', '-d', $node->connstr($database) ],
		'>', \$dump, '2>', \$error)
	  or die "pg_dump: $error\n";
	$dump =~ s/^SELECT pg_catalog[.]binary_upgrade_(?:set_next|create_empty)\w+\(.*?\);\n//gms;
	$dump =~ s/^SET relfrozenxid = .*?;\n//gms;
	$dump =~ s/^\\(?:un)?restrict .*\n//gm;
	return $dump . $node->safe_psql($database, <<'EOS');
SELECT i.type, i.identity, p.objsubid, p.privtype, p.initprivs
FROM pg_init_privs p, pg_identify_object(p.classoid, p.objoid, p.objsubid) i
WHERE p.privtype = 'e' ORDER BY 1, 2, 3;
SELECT c.oid::regclass, t.condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) t (class, condition) JOIN pg_class c ON c.oid = t.class
WHERE e.extname = 'miosa_rollback' ORDER BY 1;
EOS
}

# The rows of all tables of the extension but the dispatcher's own, without times
# and random ids.
sub shipped_rows
{
	my ($database) = @_;
	my $rows = '';

	for my $table (tables($database))
	{
		$rows .= "$table:\n" . $node->safe_psql($database, "SELECT t FROM $table t ORDER BY t::text");
	}
	return $rows =~ s/\d{4}-\d\d-\d\d \d\d:[^",)]*/TIME/gr =~ s/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/UUID/gr;
}

sub tables
{
	my ($database) = @_;

	return split /\n/, $node->safe_psql($database, <<'EOS');
SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind IN ('r', 'm') AND c.relname <> 'dispatcher_state' ORDER BY c.relname
EOS
}

# The columns of each table, as a query of its rows.
sub queries
{
	my ($database) = @_;

	return split /\n/, $node->safe_psql($database, <<'EOS');
SELECT format('SELECT ROW(%s)::text FROM %s ORDER BY 1', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), a.attrelid::regclass)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'miosa'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
	AND c.relname NOT IN ('dispatcher_state', 'endpoint_state', 'outbox')
GROUP BY a.attrelid ORDER BY a.attrelid::regclass::text
EOS
}

# A test: a database has the objects of a new installation.
sub is_as_new
{
	my ($database, $name) = @_;
	my @file = map { "$dir/$_.objects" } 'new', $database;
	my $found = objects($database);

	unlink @file;
	append_to_file($file[0], $fresh);
	append_to_file($file[1], $found);
	ok($found eq $fresh, "$name: the objects of a new installation")
	  or diag join "\n", grep { defined } (split /\n/, `diff -U 2 $file[0] $file[1]`)[ 0 .. 60 ];
	return;
}

# What a session of its own prints, and its messages.
sub said
{
	my ($database, $sql) = @_;
	my ($status, $out, $messages) = $node->psql($database, $sql);

	return "$out\n$messages";
}

like($fresh, qr/^CREATE $_/m, "the objects of a new installation: $_")
  for 'FUNCTION miosa[.]versions\(', 'TABLE miosa[.]deployments ', 'POLICY ', 'UNIQUE INDEX ';

# What an update could forget shows
my $objects = $fresh;

$node->safe_psql('postgres', 'CREATE DATABASE forgetful');
$node->safe_psql('forgetful', 'CREATE EXTENSION miosa_rollback');
for my $change (
	'ALTER TABLE miosa.holds ADD COLUMN more integer',
	'ALTER TABLE miosa.holds ALTER COLUMN reason SET STORAGE EXTERNAL',
	q{COMMENT ON FUNCTION miosa.versions() IS 'other'},
	'GRANT SELECT ON miosa.secrets TO miosa_viewer',
	'REVOKE EXECUTE ON FUNCTION miosa_rollback(text, text, text, text, text, jsonb, text, boolean, boolean, interval, boolean, timestamptz) FROM miosa_operator',
	'ALTER FUNCTION miosa.versions() VOLATILE',
	'ALTER FUNCTION miosa.qualify(text) OWNER TO miosa_admin',
	'ALTER EXTENSION miosa_rollback DROP FUNCTION miosa.versions()',
	'DROP INDEX miosa.outbox_waiting')
{
	my $before = $objects;

	$node->safe_psql('forgetful', $change);
	$objects = objects('forgetful');
	ok($objects ne $before, "it is noticed: $change");
}
$node->safe_psql('postgres', 'DROP DATABASE forgetful (FORCE)');

for my $release (@release)
{
	my $name = "update of $release";

	# Nothing in it
	make_database('empty', $release);
	$node->safe_psql('empty', $update);
	is_as_new('empty', $name);
	is(shipped_rows('empty'), shipped_rows('postgres'), "$name: and its rows");
	$node->safe_psql('postgres', 'DROP DATABASE empty (FORCE)');

	# Rows of every kind, which the new library makes in the old tables
	make_database('rows', $release);
	my $warning = said('rows', rows_of_every_kind($sink->url));

	unlike($warning, qr/ERROR/, "$name: the new library serves the old objects");
	if ($release ne $newest)
	{
		like( $warning,
			qr/WARNING:  the library and the SQL objects of miosa_rollback differ in version
DETAIL:  The library is version \Q$newest\E, and the SQL objects are version \Q$release\E[.]
HINT:  ALTER EXTENSION miosa_rollback UPDATE;/,
			"$name: a rollback says what to do");
		like(said('rows', 'SELECT item, status, fix FROM miosa_doctor()'),
			qr/^versions\|fail\|ALTER EXTENSION miosa_rollback UPDATE;$/m, "$name: and so does the doctor");
		ok( poll_until(sub { slurp_file($node->logfile) =~ /dispatcher.*WARNING:  the library and the SQL objects of miosa_rollback differ/s }),
			"$name: and the log");
	}
	$node->safe_psql('rows', <<'EOS');
SELECT miosa_hold('dep_1', 'INC-7');
SELECT miosa_put_freeze('night', now() + interval '2 days', now() + interval '1 day', reason => 'holidays');
SELECT miosa_watch('dep_1');
SELECT miosa_grant_tenant('miosa_viewer', 'ten_1', '{read}');
EOS
	is($node->safe_psql('rows', "SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "$name: edges are updated before it");
	for my $view (split /\n/, $node->safe_psql('rows', "SELECT oid::regclass FROM pg_class WHERE relnamespace = 'miosa'::regnamespace AND relkind = 'v'"))
	{
		unlike(said('rows', "SELECT * FROM $view"), qr/ERROR/, "$name: $view can be read before it");
	}
	unlike(said('rows', "SELECT miosa_metrics(); SELECT miosa_page(); SELECT miosa_page('dep_1'); SELECT miosa_report('dep_1'); SELECT * FROM miosa.status('dep_1')"),
		qr/ERROR/, "$name: metrics, pages and status, too");

	my $record = "SELECT miosa_rollback('dep_1', 'ver_2', 'key-1', reason => 'INC-7', attribution => '{\"external_user_id\": \"u-1\"}')";
	my $answer = $node->safe_psql('rows', $record);
	my @query = queries('rows');
	my $before = join "\n", map { $node->safe_psql('rows', $_) } @query;

	$node->safe_psql('rows', $update);
	is_as_new('rows', "$name, where there are rows");
	is(join("\n", map { $node->safe_psql('rows', $_) } @query), $before, "$name: all rows are as they were");
	is($node->safe_psql('rows', $record), $answer, "$name: a repeated key has its first answer");
	like($node->safe_psql('rows', 'SELECT miosa_audit_verify_all()'), qr/"verified": true/, "$name: the audit trail verifies");
	unlike(said('rows', "SELECT miosa_rollback('dep_1', 'ver_1', 'key-2', reason => 'INC-8')"),
		qr/ERROR|differ in version/, "$name: a rollback");
	is($node->safe_psql('rows', "SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "$name: and the dispatcher that has run all the time delivers it");
	like(said('rows', 'SELECT item, status FROM miosa_doctor()'), qr/^versions\|ok$/m, "$name: the doctor is content");
	$node->safe_psql('postgres', 'DROP DATABASE rows (FORCE)');
}

# Objects that are newer than the library that the server has loaded
my $share = $node->config_data('--sharedir') . '/extension';
my $next = "$share/miosa_rollback--$newest--999.0.sql";

append_to_file($next, <<'EOS');
SELECT miosa.require_library();
CREATE FUNCTION miosa.of_the_next_version() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'mrb_of_the_next_version';
EOS
like( said('postgres', "ALTER EXTENSION miosa_rollback UPDATE TO '999.0'"),
	qr/ERROR:  the library and the SQL objects of miosa_rollback differ in version
DETAIL:  The library is version \Q$newest\E, and the SQL objects are version 999[.]0[.]
HINT:  Restart the server, so that it loads the library that is installed[.]/,
	'an older library refuses newer objects, and says what to do');
is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'miosa_rollback'"),
	$newest, 'and nothing has changed');
unlink $next;

# An object that the library misses is the fault of the version, and the error says
# so; where versions are equal it is not.
my $missing = 'ALTER FUNCTION miosa.qualify(text) RENAME TO unqualify; SELECT * FROM miosa_doctor()';

unlike(said('postgres', "BEGIN; $missing"), qr/ALTER EXTENSION/, 'something else is missing: no word about versions');
like( said('postgres', "BEGIN; UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'miosa_rollback'; $missing"),
	qr/ERROR:  function miosa[.]qualify.*DETAIL:  The library is version.*HINT:  ALTER EXTENSION miosa_rollback UPDATE;/s,
	'what older objects have not: the error says what to do');

done_testing();
