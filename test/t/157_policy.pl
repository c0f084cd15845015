# A user who may write a URL must not be able to make the server ask questions
# in its own network: nothing but the networks of
# miosa_rollback.allowed_networks is connected to, in whatever way an address is
# written, no metadata service of a cloud ever is, and an error does not say
# which address it was. What is written here reaches a server that listens,
# should it be let through. (Attack 8.)
#
# Where that may be done, all this runs in a network of its own, in which this
# machine has public addresses.

use strict;
use warnings FATAL => 'all';

# In its own network 8.8.8.8 and 2600::1 are what a machine's own addresses
# are; a connection to 9.9.9.9 or 2600::2 comes from another address, as one to
# somebody else does.
BEGIN
{
	my @own = qw(unshare --user --map-current-user --net --keep-caps sh -ec);
	my $begin = <<'EOS';
ip link set lo up
ip address add 8.8.8.8 dev lo
ip route add local 9.9.9.9 dev lo src 127.0.0.1
ip address add 2600::1 dev lo nodad
ip route add local 2600::2 dev lo src ::1
exec setpriv --ambient-caps=-all -- "$@"
EOS

	if (!defined $ENV{MIOSA_OWN_NETWORK})
	{
		my $why = qx{@own '$begin' sh true 2>&1};

		$ENV{MIOSA_OWN_NETWORK} = $? == 0 ? 1 : 0;
		print "# no network of its own: $why\n" if $?;
		exec @own, $begin, 'sh', $^X, (map { "-I$_" } @INC), $0
		  if $ENV{MIOSA_OWN_NETWORK};
	}
}

use IO::Socket::IP;
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node reload_settings);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my ($sink, $proxy) =
  map { MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(sink proxy);
my $port = $sink->{port};
my $node = do
{
	local @ENV{qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy
		  ALL_PROXY)} = ($proxy->url) x 6;
	local $ENV{no_proxy} = '';

	make_node('policy', <<"EOC");
miosa_rollback.allow_private_endpoints = off
EOC
};

sub sql { return $node->safe_psql('postgres', @_); }

sub set
{
	my ($name, $value) = @_;

	$node->append_conf('postgresql.conf', "miosa_rollback.$name = '$value'");
	reload_settings($node);
	return $node->poll_query_until('postgres',
		"SELECT current_setting('miosa_rollback.$name') = '$value'");
}

sub allow { return set(allow_private_endpoints => @_); }

sub tested
{
	my ($host, $port) = @_;

	sql("SELECT miosa_put_endpoint('tried', 'put', 'http://$host:$port')");
	return decode_json(sql("SELECT miosa_test_endpoint('tried')"))->{data};
}

sub last_error
{
	my ($name, $like) = @_;
	my $error = '';

	poll_until(
		sub {
			$error = sql("SELECT last_error FROM miosa.endpoint_state
				WHERE endpoint = '$name'");
			return $error =~ $like;
		},
		180,
		0.05);
	return $error;
}

my $refused = qr/in no network of miosa_rollback\.allowed_networks/;
my $is_address = qr/\d+\.\d+|::|[0-9a-f]+:[0-9a-f]|7f00|localhost/;

sql(<<'EOS');
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('put', '60 s',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || n, n) FROM generate_series(1, 2) n;
EOS

#
# Addresses
#
my @host = qw(
  127.0.0.1 127.1 127.8.9.10 0.0.0.0 0 10.0.0.1 10.255.255.255 172.16.0.1
  172.31.255.255 192.168.0.1 169.254.1.1 100.64.0.1 100.127.255.254
  192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
  255.255.255.255 2130706433 017700000001 0x7f000001 0x7f.1 0177.0.0.1
  0x7f.0.0.0x1 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1]
  [::ffff:7f00:1] [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::127.0.0.1]
  [2002:7f00:1::] [2001::1] [2001:db8::1] [fc00::1] [fd12:3456::1] [fe80::1]
  [fec0::1] [ff02::1] localhost LOCALHOST);

for my $host (@host)
{
	sql("SELECT miosa_put_endpoint('tried', 'put', 'http://$host:$port')");
	my $verdict =
	  decode_json(sql("SELECT miosa_test_endpoint('tried')"))
	  ->{data}{verdict};

	like($verdict, $refused, "$host is refused");
	unlike($verdict, $is_address, 'and the address is not named');
}
sql("SELECT miosa_put_endpoint('tried', 'put', 'http://localhost:$port');
	SELECT miosa_promote('dep_1', 'v1')");
my $error = last_error('tried', $refused);

like($error, $refused, 'the dispatcher refuses it too');
unlike($error, $is_address, 'and names no address either');
is(scalar(map { $_->requests } $sink, $proxy), 0, 'nobody was asked');

#
# Allowed: directly, without a proxy, and not further than one step
#
allow('on');
sql("SELECT miosa_put_endpoint('tried', 'put', 'http://127.0.0.1:$port')");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'it is delivered when that is allowed');
is(scalar($proxy->requests),
	0, "a proxy in the server's environment is not used");
$sink->answer('.', status => 307,
	headers => { Location => $proxy->url . '/further' });
like(decode_json(sql("SELECT miosa_test_endpoint('tried')"))->{data}{verdict},
	qr/redirects/, 'a redirect is not followed');
is(scalar($proxy->requests), 0, 'by nobody');
$sink->plain;

#
# Metadata services of clouds: never, in no form, whatever is allowed
#
my $metadata = qr/metadata service/;

for my $how ([ allow_private_endpoints => 'on' ],
	[ allowed_networks => 'public, 0.0.0.0/0, ::/0' ])
{
	set(@$how);
	for my $host (
		qw(169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376
		169.254.43518 100.100.100.200 168.63.129.16 [fd00:ec2::254]
		[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe]
		[2002:a9fe:a9fe::] [::169.254.169.254]))
	{
		like(tested($host, $port)->{verdict}, $metadata, "$host is never asked");
	}
	allow('off');
}
is(scalar($proxy->requests), 0, 'also not by another way');

#
# Only the networks that are listed
#
set(allowed_networks => '127.0.0.0/30, fd00::/8');
$sink->answer('.', status => 500, body => 'private words');
my $data = tested('127.0.0.1', $port);

is($data->{answer}{status}, 500, 'a listed network is connected to');
is($data->{answer}{body}, 'private words', 'an administrator sees the body');
sql('CREATE ROLE worker IN ROLE miosa_operator');
$data = decode_json(
	sql("SET ROLE worker; SELECT miosa_test_endpoint('tried')"))->{data};
is($data->{answer}{status}, 500, 'an operator sees the status');
ok(!exists $data->{answer}{body}, 'and not the body');
like($data->{verdict}, qr/^the endpoint fails/, 'and the verdict');
unlike($data->{verdict}, qr/private words/, 'without the body');
$sink->plain;
for my $host (qw(127.0.0.4 [::1] 10.0.0.1 8.8.8.8))
{
	like(tested($host, $port)->{verdict},
		$refused, "$host is in none that is listed");
}
is(sql("SELECT concat_ws(' ', miosa.refused_address('127.0.0.3'),
		miosa.refused_address('::ffff:127.0.0.1'), miosa.refused_address('fd12::1'))"),
	'', 'what is listed is not refused');
like(sql("SELECT miosa.refused_address('64:ff9b::7f00:4')"),
	$refused, 'an address behind a translator is not listed by its own form');
set(allowed_networks => '64:ff9b::/96, 9.9.9.9');
is(sql("SELECT miosa.refused_address('64:ff9b::909:909')"),
	'', 'both forms are listed');
like(sql("SELECT miosa.refused_address('64:ff9b::7f00:4')"),
	$refused, 'a translator is no way around the list');
set(allowed_networks => 'public');
allow('on');
sql("SELECT miosa_put_endpoint('tried', 'put', 'http://127.0.0.1:$port')");

#
# A connection that is open already is of no use when it is not allowed
#
for my $version (qw(v2 v1 v2))
{
	sql("SELECT miosa_promote('dep_1', '$version')");
	is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "$version is delivered");
}
my @request = $sink->requests;
my %port = map { $_->{port} => 1 } @request;

cmp_ok(scalar keys %port, '<', scalar @request, 'connections are kept');
allow('off');
$sink->clear;
sql("SELECT miosa_promote('dep_1', 'v1')");
like(last_error('tried', $refused), $refused, 'turned off, it is refused');
is(scalar($sink->requests), 0, 'although a connection was open');
is(sql("SELECT miosa_wait_converged('dep_1', '100 ms')"),
	'waiting_edges', 'which is not called converged');
allow('on');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'turned on again, it is delivered');

#
# What is on the Internet may be connected to, but not this machine, whose
# ports its public addresses have too
#
SKIP:
{
	skip 'no network of its own can be made here', 8
	  unless $ENV{MIOSA_OWN_NETWORK};
	my $listen = IO::Socket::IP->new(LocalHost => '::', Listen => 10)
	  // die "listen: $!";
	my $public = $listen->sockport;
	my $pid = fork // die "fork: $!";

	if (!$pid)
	{
		while (my $client = $listen->accept)
		{
			$client->sysread(my $request, 65536);
			$client->print("HTTP/1.0 204 No Content\r\n\r\n");
		}
		POSIX::_exit(0);
	}
	allow('off');
	for my $host (qw(8.8.8.8 9.9.9.9 [2600::1] [2600::2] [::ffff:8.8.8.8]))
	{
		sql("SELECT miosa_put_endpoint('far', 'put', 'http://$host:$public')");
		my $verdict =
		  decode_json(sql("SELECT miosa_test_endpoint('far')"))
		  ->{data}{verdict};

		if ($host =~ /9|2600::2/)
		{
			is($verdict, 'ok', "$host may be connected to");
			next;
		}
		like($verdict, qr/$refused|this server/,
			"$host is this machine, or hides what it is");
		unlike($verdict, qr/8\.8|2600/, 'and the address is not named');
	}
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

#
# Other protocols
#
for my $url ("ftp://127.0.0.1:$port", "file:///etc/passwd",
	"gopher://127.0.0.1:$port", "telnet://127.0.0.1:$port", "127.0.0.1:$port",
	"http:127.0.0.1", "http://a\@127.0.0.1:$port", "http://127.0.0.1:$port\\t",
	"dict://127.0.0.1:$port", "HTTPS://127.0.0.1", "http://127.0.0.1:$port/?x")
{
	my ($status, undef, $message) = $node->psql('postgres',
		"SELECT miosa_put_endpoint('other', 'put', E'$url')");

	like($message, qr/invalid endpoint URL/, "$url cannot be an endpoint");
}

done_testing();
