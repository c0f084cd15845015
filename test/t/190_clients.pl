#
# Programs in other languages call the functions with the types that their
# drivers send, and get the same answers as psql. A language that is not
# installed is left out; modules of npm are in NODE_PATH.
#
use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_node);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('clients', <<"EOC");
listen_addresses = '127.0.0.1'
EOC
my $clients = 'test/clients';
my $jar = '/usr/share/java/postgresql.jar';
my $go = '/usr/share/gocode';

# Name, what shows that the driver is there, the command.
my @client = (
	[ 'psycopg', [qw(/usr/bin/python3 -c), 'import psycopg'], '/usr/bin/python3', "$clients/psycopg_client.py" ],
	[ 'asyncpg', [qw(/usr/bin/python3 -c), 'import asyncpg'], '/usr/bin/python3', "$clients/asyncpg_client.py" ],
	[ 'node-postgres', [qw(node -e), 'require("pg")'], 'node', "$clients/pg.js" ],
	[ 'DBD::Pg', [qw(/usr/bin/perl -MDBD::Pg -e 1)], '/usr/bin/perl', "$clients/dbd.pl" ],
	[ 'PHP', [qw(php -r), 'exit(extension_loaded("pgsql") && extension_loaded("pdo_pgsql") ? 0 : 1);'],
		'php', "$clients/pgsql.php" ],
	[ 'Ruby', [qw(ruby -rpg -e 1)], 'ruby', "$clients/pg.rb" ],
	[ 'JDBC', [ 'sh', '-c', "test -r $jar && java --version" ],
		qw(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp), $jar, "$clients/Jdbc.java" ],
	[ 'pgx', [ 'sh', '-c', "test -d $go/src/github.com/jackc/pgx && go version" ],
		qw(go run), "$clients/pgx.go" ]);

$node->safe_psql('postgres', "SELECT miosa_put_tenant('ten_1', 'acme')");
for my $number (1 .. @client)
{
	my ($name, $there, @command) = @{ $client[ $number - 1 ] };
	my ($dep, $v1, $v2, $key) =
	  map { sprintf('%08x-0000-0000-0000-%012x', $number, $_) } 0 .. 3;

  SKIP:
	{
		skip "$name is not installed", 1 unless run_log($there, '>', \my $out, '2>', \my $err);
		$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('$dep', 'ten_1', 'shop $number');
SELECT miosa_put_version('$dep', '$v1', 1), miosa_put_version('$dep', '$v2', 2);
SELECT miosa_promote('$dep', '$v1', 'first');
EOS
		local %ENV = (
			%ENV,
			PGHOST => '127.0.0.1',
			PGPORT => $node->port,
			PGDATABASE => 'postgres',
			PGUSER => $node->safe_psql('postgres', 'SELECT current_user'),
			PGCLIENTENCODING => 'UTF8',
			JDBC_URL => '',
			GOPATH => $go,
			GO111MODULE => 'off',
			GOFLAGS => '-mod=mod',
			DEPLOYMENT => $dep,
			V1 => $v1,
			V2 => $v2,
			KEY => $key);
		$ENV{JDBC_URL} =
		  "jdbc:postgresql://127.0.0.1:$ENV{PGPORT}/postgres?user=$ENV{PGUSER}";
		my ($stdout, $stderr) = run_command([@command]);

		is($stdout, "changed\nchanged\nchanged\nchanged\n$v1\nno_edges", $name)
		  or diag($stderr);
		is( $node->safe_psql('postgres',
				"SELECT string_agg(attribution::text, ' ' ORDER BY seq) FROM miosa.audit_events WHERE deployment_id = '$dep'"),
			'{} {} {"ticket": 7}', "$name: one event an operation, JSON as JSON");
	}
}

done_testing();
