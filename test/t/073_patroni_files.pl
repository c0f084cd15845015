# What docs/growth.md makes of the files of contrib/patroni: every word between at
# signs is replaced, HAProxy accepts its file, a node may connect to itself and to
# the others, and the commands are those of a shell. "make ha" runs them.

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use MiosaFile qw(slurp spew);
use MiosaPatroni;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $text = MiosaPatroni::documented_file(
	'/etc/haproxy/haproxy.cfg', "$dir/haproxy.cfg",
	map { ("ADDRESS_$_" => "10.0.0.$_") } 1 .. 3);

is(scalar(() = $text =~ /^  server node\d 10\.0\.0\.\d:5432$/mg),
	6, 'HAProxy has three servers for each port');
command_ok([ 'haproxy', '-c', '-f', "$dir/haproxy.cfg" ], 'and accepts the file');
$text = MiosaPatroni::documented_file(
	'/etc/patroni/config.yml', "$dir/patroni.yml",
	NODE => 'node-10-0-0-1',
	ADDRESS => '10.0.0.1',
	ETCD => '10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379',
	NETWORK => '10.0.0.0/24',
	SUPERUSER_PASSWORD => 'one',
	REPLICATION_PASSWORD => 'two');
for my $database (qw(all replication))
{
	for my $from ('127.0.0.1/32', '::1/128', '10.0.0.0/24')
	{
		like($text, qr{^ +- host $database \w+ $from scram-sha-256$}m,
			"a node accepts connections to $database from $from");
	}
}
my $growth = slurp(dirname(abs_path(__FILE__)) . '/../../docs/growth.md');
my ($section) = $growth =~ /^## Fail-over with Patroni\n(.*?)^## /ms;
my @block = $section =~ /^```sh\n(.*?)^```$/msg;

cmp_ok(scalar @block, '>', 5, 'there are commands to type');
for my $n (0 .. $#block)
{
	spew("$dir/block", $block[$n]);
	command_ok([ 'bash', '-n', "$dir/block" ], 'a shell understands block ' . ($n + 1));
}

done_testing();
