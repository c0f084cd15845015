# Migrations by a real tool, Sqitch: each is reported by the line of
# docs/schema.md, and a rollback is judged by what is applied.

use strict;
use warnings FATAL => 'all';

use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = MiosaPostgres->new('migrations');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'miosa_rollback'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION miosa_rollback');
$node->safe_psql('postgres', 'CREATE ROLE migrations LOGIN; GRANT miosa_agent TO migrations; GRANT CREATE ON DATABASE postgres TO migrations');
$node->safe_psql('postgres', <<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop', fields => '{"schema_name": "app"}');
SELECT miosa_put_version('dep_1', 'ver_' || n, n, fields => jsonb_build_object('schema_version', n,
	'metadata', CASE n WHEN 2 THEN '{"requires": {"columns": {"app.orders": {"note": "text"}}}}'::jsonb ELSE '{}' END)) FROM generate_series(1, 3) n;
SELECT miosa_put_schema('app', '{app}');
EOS

my $plan = PostgreSQL::Test::Utils::tempdir();
my $target = sprintf 'db:pg://migrations@/postgres?host=%s&port=%s', $node->host, $node->port;
my ($line) = slurp_file('docs/schema.md') =~ /^\| Sqitch \| `psql "\$DATABASE_URL" -c "(.*?)"`/m;
ok($line, 'the line of the page');

# Run Sqitch as its users do, and then the line, as the role of the tool.
sub sqitch
{
	my @command = @_;

	local $ENV{SQITCH_FULLNAME} = 'Tester';
	local $ENV{SQITCH_EMAIL} = 'tester@example.org';
	local $ENV{HOME} = $plan;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'sqitch', '--chdir', $plan, @command ], '>', \$out, '2>', \$err)
	  or die "sqitch @command: $out$err";
}

sub migrate
{
	my ($what, @more) = @_;

	sqitch($what, @more, $target);
	return $node->safe_psql('postgres', $line, extra_params => [ '-U', 'migrations' ]);
}

# A change, with what deploys and what reverts it.
sub change
{
	my ($name, $deploy, $revert) = @_;

	sqitch('add', $name, '-n', $name);
	append_to_file("$plan/deploy/$name.sql", "$deploy\n");
	append_to_file("$plan/revert/$name.sql", "$revert\n");
}

sub finding
{
	my ($version) = @_;

	return $node->safe_psql('postgres', "SELECT concat_ws(' ', f.result, f.detail) FROM miosa.schema_finding('dep_1', '$version') f");
}

sqitch('init', 'app', '--engine', 'pg');
change('orders', 'CREATE SCHEMA app; CREATE TABLE app.orders (id bigint);', 'DROP SCHEMA app CASCADE;');
like(migrate('deploy'), qr/"version": 1,/, 'the first migration is reported');
$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_1')");
like(finding('ver_2'), qr/^warning Not in this database: column app\.orders\.note\.$/, 'a version needs what the next migration brings');

change('note', 'ALTER TABLE app.orders ADD note text;', 'ALTER TABLE app.orders DROP note;');
like(migrate('deploy'), qr/"version": 2,.*"recorded": true/, 'so is the second one');
like(migrate('deploy'), qr/"recorded": false/, 'and a deployment without a migration reports nothing new');
is(finding('ver_2'), 'ok', 'the version fits');
my ($status, $out, $err) = $node->psql('postgres', "SELECT miosa_promote('dep_1', 'ver_2') IS NOT NULL");
is($err, '', 'and is promoted without a warning');

($status, $out, $err) = $node->psql('postgres',
	"SET miosa_rollback.on_schema_mismatch = 'refuse'; SELECT miosa_rollback('dep_1')");
like($err, qr/^.*ERROR:  version "ver_1" does not fit schema "app"/, 'nobody said that older code works with the new schema');
like(migrate('revert', '-y', '--to', 'orders'), qr/"version": 1,.*"newest": true/, 'a migration is taken back');
($status, $out, $err) = $node->psql('postgres',
	"SET miosa_rollback.on_schema_mismatch = 'refuse'; SELECT miosa_rollback('dep_1') IS NOT NULL");
is("$status $out $err", '0 t ', 'and then the rollback goes through');
is($node->safe_psql('postgres', 'SELECT string_agg(version::text, \' \' ORDER BY seq) FROM miosa.schema_reports'), '1 2 1', 'every report is kept');

done_testing();
