# The statements of docs/growth.md about sites, as they are written there but for
# hosts, make a primary site and a replica out of two servers that have run without
# a name. A role without other rights copies, and the doctor has nothing against it.

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $root = abs_path(dirname(abs_path(__FILE__)) . '/../..');
my $dir = PostgreSQL::Test::Utils::tempdir_short() . '/sink';
my $sink = MiosaSink->new(dir => $dir)->start;
my $home = make_node('home', '', allows_streaming => 'logical');
my $eu = make_node('eu', '', extra => ['--lc-time=C'], allows_streaming => 'logical');

my ($section) = slurp_file("$root/docs/growth.md") =~ /^## Sites\n(.*?)^### /ms;
my ($primary, $role, $replica, $back) = $section =~ /^```\n(.*?)^```$/gms;

# As pasted into psql: the script's path and the hosts are those of this machine.
sub paste
{
	my ($node, $statements) = @_;

	$statements =~ s{contrib/}{$root/contrib/}g;
	$statements =~ s{'host=home\.internal dbname=control}{"'host=" . $home->host . ' port=' . $home->port . ' dbname=postgres'}ge;
	$statements =~ s{'host=eu\.internal dbname=region}{"'host=" . $eu->host . ' port=' . $eu->port . ' dbname=postgres'}ge;
	$statements =~ s{'haproxy-map', 'https://edge-eu-1\.internal:8443'}{"'webhook', '" . $sink->url . "'"}ge;
	$statements =~ s{'file:edge'}{'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'};
	my ($status, $out, $err) = $node->psql('postgres', $statements);

	is($status, 0, 'the statements run as written') or diag $err;
	return;
}

sub doctor
{
	my ($node, $item) = @_;

	return $node->safe_psql('postgres', "SELECT concat_ws(' ', status, seen) FROM miosa_doctor() WHERE item = '$item'");
}

wait_dispatcher($_, 'running') for $home, $eu;
$home->safe_psql('postgres', <<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || v, v, storage_uri => 'test://' || v) FROM generate_series(1, 2) v;
SELECT miosa_promote('dep_1', 'v1', 'key-1');
EOS
paste($home, $primary);
paste($home, $role);
paste($eu, $replica =~ s/(?=^CREATE SUBSCRIPTION)/$role/mr);
paste($home, $back);
is(wait_sql($eu, "SELECT seen FROM miosa_doctor() WHERE item = 'dispatcher'", 'paused: miosa_rollback.site is "eu", but the dispatcher last ran at ""'),
	'paused: miosa_rollback.site is "eu", but the dispatcher last ran at ""', 'a replica that has run without a name is paused');
$eu->safe_psql('postgres', 'SELECT miosa_resume()');
is(wait_sql($home, "SELECT count(*) FROM miosa.replica_sites WHERE site = 'eu'", 1), 1, 'the primary site knows the replica');
is($home->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'its edge gets the first copy');
$home->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'v2', 'key-2')");
is($home->safe_psql('postgres', "SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', '... and what follows');
like(slurp_file("$dir/requests"), qr/v2/, 'the edge was sent it');
for my $node ($home, $eu)
{
	is(doctor($node, 'grants'), 'ok there are only the rights that the extension granted', 'the doctor has nothing against the role at ' . $node->name);
	like(doctor($node, 'sites'), qr/^ok /, '... nor against the site');
}

done_testing();
