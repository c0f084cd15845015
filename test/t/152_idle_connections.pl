# The dispatcher keeps connections open between requests, and their sockets in
# the epoll set that it waits for: nothing has to be added for the next
# request. A server that closes such a connection makes the socket readable for
# good, so it has to leave the set, or the dispatcher would never wait again.
# What is in a set is read from /proc.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my ($edge, $storage) =
  map { MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(edge storage);
my $node = make_node('idle_connections', <<'EOC');
miosa_rollback.artifact_max_age = 0
EOC

sub sql { return $node->safe_psql('postgres', @_); }

# The descriptors of a process whose link is like this: number => link.
sub descriptors
{
	my ($pid, $pattern) = @_;
	my %link =
	  map { m{(\d+)$} => readlink($_) // '' } glob("/proc/$pid/fd/*");

	return map { $_ => $link{$_} } grep { $link{$_} =~ $pattern } keys %link;
}

# Inodes of the sockets of this machine whose peer is a port of loopback.
sub inodes_to
{
	my ($port) = @_;
	my $peer = sprintf '0100007F:%04X', $port;

	return map { (split)[9] => 1 }
	  grep { (split)[2] eq $peer } split /\n/, slurp_file('/proc/net/tcp');
}

# Number of the dispatcher's connections to a port, and of those that are in
# one of its epoll sets.
sub connections
{
	my ($server) = @_;
	my $pid = sql('SELECT pid FROM miosa.dispatcher()');
	my %inode = inodes_to($server->{port});
	my %socket = descriptors($pid, qr/^socket:/);
	my @connection =
	  grep { $socket{$_} =~ /\[(\d+)\]/ && $inode{$1} } keys %socket;
	my %sets = descriptors($pid, qr/eventpoll/);
	my %watched = map { $_ => 1 }
	  map { slurp_file("/proc/$pid/fdinfo/$_") =~ /^tfd:\s*(\d+)/mg } keys %sets;

	return scalar(@connection) . ' open, '
	  . grep({ $watched{$_} } @connection)
	  . ' watched';
}

sub becomes
{
	my ($server, $expected, $what) = @_;
	my $connections = '';

	poll_until(
		# A descriptor may be closed while it is looked at
		sub { ($connections = eval { connections($server) } // $@) eq $expected }, 180, 0.05);
	return is($connections, $expected, $what);
}

# Promote the version, which every edge acknowledges.
sub promote
{
	my ($number) = @_;

	sql("SELECT miosa_promote('dep_1', 'ver_$number')");
	return is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "version $number is delivered");
}

# The ports that the edge received its requests from, each once.
sub ports
{
	my %port = map { $_->{port} => 1 } $edge->requests('^/edge');

	return scalar keys %port;
}

wait_dispatcher($node, 'running');
sql("SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_' || i, i,
		storage_uri => '" . $storage->url . "/' || i) FROM generate_series(1, 2) i;
	SELECT miosa_put_endpoint('edge', 'webhook', '" . $edge->url . "/edge')");

# Between two requests
promote(1);
becomes($edge, '1 open, 1 watched',
	'the socket of an idle connection stays in the set');
promote(2);
becomes($edge, '1 open, 1 watched', 'also after the next request');
is(ports(), 1, 'both came by one connection');

# The server closes it while nothing is sent
$edge->stop;
becomes($edge, '1 open, 0 watched',
	'a connection that the edge has closed leaves the set');
$edge->start;
promote(1);
becomes($edge, '1 open, 1 watched', 'the next request opens another');

# The server closes it right after an answer
$edge->answer('^/edge', leave => 1);
promote(2);
becomes($edge, '1 open, 0 watched', 'one that is closed with the answer, too');
$edge->plain;
promote(1);
becomes($edge, '1 open, 1 watched', 'and the next one stays');

# Storage, which the dispatcher asks by another set, once an hour
sql('UPDATE miosa.releases SET verified_at = NULL');
$node->append_conf('postgresql.conf',
	"miosa_rollback.artifact_max_age = '1 h'\n");
$node->reload;
is( MiosaTest::wait_sql($node,
		"SELECT verified_at IS NOT NULL FROM miosa.releases WHERE deployment_version_id = 'ver_2'",
		't'),
	't',
	'the default target is verified');
becomes($storage, '1 open, 1 watched', 'the connection to storage stays');
$storage->stop;
becomes($storage, '1 open, 0 watched', 'and leaves its set when it is closed');

done_testing();
