# A request that is on its way when the dispatcher ends does not arrive later: the
# kernel would go on sending it, and the edge would get it after the requests of
# the server that has taken over.

use strict;
use warnings FATAL => 'all';

use IO::Select;
use MiosaServer;
use MiosaTest qw(make_node);
use Socket;
use Test::More;

# The edge takes few bytes until it reads, so that most of a request stays in the
# server's buffer, as on a network that is cut
my $port = MiosaServer::free_port();

socket(my $listen, AF_INET, SOCK_STREAM, 0) or die "socket: $!\n";
setsockopt($listen, SOL_SOCKET, SO_RCVBUF, 1024) or die "setsockopt: $!\n";
bind($listen, sockaddr_in($port, inet_aton('127.0.0.1'))) or die "bind: $!\n";
listen($listen, 5) or die "listen: $!\n";

my $node = make_node('abandoned');
my $padding = 'x' x 16000;

$node->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('large', '5 min',
	'{"method": "POST", "path": "/{deployment_id}", "body": "$padding"}');
SELECT miosa_put_endpoint('edge', 'large', 'http://127.0.0.1:$port');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_1', 1);
SELECT miosa_promote('dep_1', 'ver_1');
EOS

ok(IO::Select->new($listen)->can_read(180), 'the edge is connected to');
accept(my $connection, $listen) or die "accept: $!\n";
ok(IO::Select->new($connection)->can_read(180), 'a request begins to arrive');
my $dispatcher = $node->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'miosa_rollback dispatcher'});

$node->safe_psql('postgres', "SELECT pg_terminate_backend($dispatcher, 180000)");
my $got = '';

# Until the connection ends, either way
while (1)
{
	my $n = sysread($connection, $got, 65536, length $got);

	next if !defined $n && $!{EINTR};
	last unless $n;
}
cmp_ok(length $got, '<', length $padding, 'the rest of it never arrives');

$node->stop('immediate');
done_testing();
