#
# Faults that need more than a server which misbehaves: names that are never
# resolved, connections that are never accepted, certificates of every kind.
# Nothing here needs a privilege.
#
package MiosaFault;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use File::Path qw(make_path);
use IO::Socket::INET;
use MiosaFile qw(spew);
use MiosaNginx;
use MiosaServer;
use POSIX ();

our @EXPORT_OK =
  qw(certificates full_listener hanging_resolver silent_listener tls_server);

# A library to be preloaded into a server: there, names that end in
# ".hanging.test" are looked up for ever, as when no name server answers.
sub hanging_resolver
{
	my ($dir) = @_;

	make_path($dir);
	spew("$dir/resolver.c", <<'EOC');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int (*resolver) (const char *, const char *,
						 const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *node, const char *service,
			const struct addrinfo *hints, struct addrinfo **result)
{
	const char *end = ".hanging.test";
	size_t		len = node ? strlen(node) : 0;

	while (len > strlen(end) && strcmp(node + len - strlen(end), end) == 0)
		sleep(60);
	return ((resolver) dlsym(RTLD_NEXT, "getaddrinfo")) (node, service, hints,
														 result);
}
EOC
	_run('cc', '-shared', '-fPIC', '-o', "$dir/resolver.so",
		"$dir/resolver.c");
	return "$dir/resolver.so";
}

# A socket that accepts connections in the kernel, and nobody ever reads from
# them; as many as that.
sub silent_listener
{
	my ($backlog) = @_;

	return IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => MiosaServer::free_port(),
		Listen => $backlog // 128,
		ReuseAddr => 1) // die "could not listen: $!\n";
}

# A port to which connecting hangs: its queue is full and nobody accepts.
# Returns the sockets, the listening one first; keep them.
sub full_listener
{
	my $listener = silent_listener(1);
	my @socket = ($listener);

	# The module takes 0 for its default; one more than that fits in
	listen($listener, 0) or die "could not listen: $!\n";
	for (1 .. 4)
	{
		push @socket,
		  IO::Socket::INET->new(
			PeerAddr => '127.0.0.1',
			PeerPort => $listener->sockport,
			Blocking => 0);
	}
	return @socket;
}

# In the folder: ca.pem, and <name>.pem and <name>.key for servers at
# 127.0.0.1: good, other (for another name), expired, and stranger (signed by
# nobody). More can be asked for: name => 'IP:127.0.0.1,DNS:www.test'.
sub certificates
{
	my ($dir, %more) = @_;

	make_path("$dir/issued");
	spew("$dir/index.txt", '');
	spew("$dir/serial", "01\n");
	spew("$dir/ca.cnf", <<"EOC");
[ca]
default_ca = own
[own]
database = $dir/index.txt
serial = $dir/serial
new_certs_dir = $dir/issued
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
EOC
	_self_signed($dir, 'ca', 'Test CA',
		'basicConstraints=critical,CA:TRUE');
	_self_signed($dir, 'stranger', '127.0.0.1',
		'subjectAltName=IP:127.0.0.1');
	_issue($dir, 'good', 'IP:127.0.0.1', '20200101000000Z',
		'20491231000000Z');
	_issue($dir, 'other', 'DNS:other.test', '20200101000000Z',
		'20491231000000Z');
	_issue($dir, 'expired', 'IP:127.0.0.1', '20200101000000Z',
		'20200102000000Z');
	_issue($dir, $_, $more{$_}, '20200101000000Z', '20491231000000Z')
	  for sort keys %more;
	return;
}

sub _self_signed
{
	my ($dir, $name, $subject, $extension) = @_;

	_run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
		'-subj', "/CN=$subject", '-addext', $extension, '-days', '30',
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.pem");
	return;
}

sub _issue
{
	my ($dir, $name, $for, $from, $until) = @_;

	_run('openssl', 'req', '-newkey', 'rsa:2048', '-nodes',
		'-subj', "/CN=$name", '-addext', "subjectAltName=$for",
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.csr");
	_run('openssl', 'ca', '-batch', '-notext', '-config', "$dir/ca.cnf",
		'-startdate', $from, '-enddate', $until, '-in', "$dir/$name.csr",
		'-out', "$dir/$name.pem");
	return;
}

# nginx, which answers 204 over TLS: a port for each of the named
# certificates, "old" which speaks nothing above TLS 1.1, and "plain" which
# speaks no TLS. Returns the server and a hash of ports; requests are in
# <dir>/access.log.
sub tls_server
{
	my ($dir, @name) = @_;
	my %port = map { $_ => MiosaServer::free_port() } @name, qw(old plain);
	my $servers = join '', map { _tls_site($dir, $_, $port{$_}) } @name;
	my $old = _tls_site($dir, $name[0], $port{old});

	$old =~ s/TLSv1.2 TLSv1.3;/TLSv1 TLSv1.1; ssl_ciphers DEFAULT\@SECLEVEL=0;/;
	my @command =
	  MiosaNginx::command($dir, "master_process off;\n", <<"EOC");
  log_format asked '\$server_port \$request_method \$uri';
  access_log $dir/access.log asked;
$servers$old  server {
    listen 127.0.0.1:$port{plain};
    location / { return 204; }
  }
EOC
	my $server = MiosaServer->new(
		name => 'tls',
		log => "$dir/tls.log",
		port => $port{ $name[0] });

	$server->start(@command);
	return ($server, \%port);
}

sub _tls_site
{
	my ($dir, $name, $port) = @_;

	return <<"EOC";
  server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate $dir/$name.pem;
    ssl_certificate_key $dir/$name.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / { return 204; }
  }
EOC
}

# Run a program; its output is shown if it fails.
sub _run
{
	my (@command) = @_;
	my $pid = open(my $pipe, '-|') // die "could not fork: $!\n";

	if (!$pid)
	{
		open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	my $output = join '', <$pipe>;

	close $pipe or die "@command failed:\n$output";
	return;
}

1;
