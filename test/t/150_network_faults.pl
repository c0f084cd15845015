# Every way in which an edge can misbehave on the network, all at once: the
# good ones beside it receive a change while it does, each bad one shows what
# is wrong with it, and nothing is lost when it recovers. What may have been
# acted upon is sent once more, because a request that is stuck somewhere must
# not be the last to arrive.

use strict;
use warnings FATAL => 'all';

use MiosaFault qw(certificates full_listener hanging_resolver silent_listener
  tls_server);
use MiosaHttp qw(poll_until);
use MiosaServer;
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir_short();

# Only this server, and what it starts, looks names up in vain
my $node = do
{
	local $ENV{LD_PRELOAD} = hanging_resolver("$dir/resolver");
	make_node('network');
};
my ($good, $bad) =
  map { MiosaSink->new(dir => "$dir/$_", name => $_)->start } qw(good bad);
my @full = full_listener();
my $silent = silent_listener();

certificates("$dir/tls");
my ($tls, $tls_port) =
  tls_server("$dir/tls", qw(good other expired stranger));

my $number = 1;

sub sql { return $node->safe_psql('postgres', @_); }

sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# An endpoint's error becomes the expected one. On a slow machine an attempt
# may time out before it fails as it should; the next one says more.
sub error_like
{
	my ($name, $pattern, $what) = @_;
	my $error = '';

	poll_until(
		sub {
			$error = sql("SELECT last_error FROM miosa.endpoint_state
				WHERE endpoint = '$name'");
			return $error =~ $pattern;
		},
		180,
		0.05);
	return like($error, $pattern, $what);
}

sub add
{
	my ($name, $url, $adapter) = @_;

	return sprintf(
		"SELECT miosa_put_endpoint('%s', '%s', '%s', zone => '%s');\n",
		$name, $adapter // 'put', $url, $name);
}

# Change the route; whether the good ones have all acknowledged it. They do so
# while another one, which may take five minutes, does not answer.
sub change
{
	$number = 3 - $number;
	$good->clear;
	sql("SELECT miosa_promote('dep_1', 'v$number')");
	for my $name (qw(good hook))
	{
		$good->wait_for(1, "^/$name") or return 0;
	}
	return 1;
}

sub good_ones_hear
{
	my ($name) = @_;

	ok(change(), "$name: the good ones receive a change");
	return;
}

# One that is asked and does not answer, from now on or until now.
sub patient
{
	my ($there) = @_;

	return sql("SELECT miosa_remove_endpoint('patient')") unless $there;
	$good->answer('^/patient/', hang => 1);
	$good->clear;
	sql(add('patient', $good->url . '/patient', 'patient'));
	$good->wait_for(1, '^/patient/') or die "it was not asked\n";
	return;
}

sub dispatcher { return sql('SELECT pid FROM miosa.dispatcher()'); }

# Resident memory of the dispatcher, in kB.
sub memory
{
	my ($kb) = slurp_file('/proc/' . dispatcher() . '/status') =~ /^VmRSS:\s+(\d+)/m;

	return $kb;
}

# What each of them does, what is said about it, and whether it may have acted
my %junk = (raw => "HTTP/1.1 200 OK\r\n", more => 'x' x 60000);
my %fault = (
	hang => [ { hang => 1 }, qr/timed out/i, 1 ],
	reset => [ { reset => 1 }, qr/reset|receiv/i, 1 ],
	close => [ { close => 1 }, qr/empty reply/i, 1 ],
	slow => [ { slow => 0.05 }, qr/timed out/i, 1 ],
	garbage => [ { raw => "SSH-2.0-OpenSSH_9.2p1\r\n" }, qr/HTTP/, 1 ],
	binary => [ { raw => join('', map { chr } 0 .. 255) }, qr/HTTP/, 1 ],
	status => [ { raw => "HTTP/1.1 abc\r\n\r\n" }, qr/./, 1 ],
	cut => [
		{ raw => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno" },
		qr/transfer closed|outstanding/i, 1
	],
	headers => [
		{
			raw => "HTTP/1.1 200 OK\r\n",
			more => "X-Junk: " . 'x' x 1000 . "\r\n"
		},
		qr/header|timed out/i, 1
	],
	header => [ { %junk, raw => "$junk{raw}X-Junk: " }, qr/header|timed out|memory/i, 1 ],
	drip => [ { %junk, raw => "$junk{raw}\r\n", slow => 0.01 }, qr/timed out/i, 1 ],
	continues => [
		{ raw => "HTTP/1.1 100 Continue\r\n\r\n",
			more => "HTTP/1.1 100 Continue\r\n\r\n" },
		qr/timed out|header/i, 1
	],
	redirect => [
		{ status => 302, headers => { Location => $good->url . '/led' } },
		qr/302/, 0
	],
	denied => [ { status => 401 }, qr/401/, 0 ],
	broken => [ { status => 500 }, qr/500/, 0 ]);

sql(<<"EOS" . add('good', $good->url . '/good') . add('hook', $good->url . '/hook', 'webhook'));
INSERT INTO miosa.adapters (name, timeout, request) VALUES
	('put', '1 s', '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}'),
	('patient', '5 min', '{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_promote('dep_1', 'v1');
EOS
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'ready');
good_ones_hear('without faults');

#
# Servers that misbehave
#
my $names = join ', ', map { "'$_'" } sort keys %fault;

$bad->answer("^/$_/", %{ $fault{$_}[0] }) for keys %fault;
sql(join '', map { add($_, $bad->url . "/$_") } sort keys %fault);
is(wait_sql("SELECT count(*) FROM miosa.endpoint_state
		WHERE endpoint IN ($names) AND last_error IS NOT NULL",
		scalar keys %fault),
	scalar keys %fault, 'each of them fails');
my $before = memory();

patient(1);
good_ones_hear("$_ of 3") for 1 .. 3;
for my $name (sort keys %fault)
{
	is(wait_sql("SELECT health FROM miosa.endpoint_state
			WHERE endpoint = '$name'", 'backing off'),
		'backing off', "$name: backs off");
	error_like($name, $fault{$name}[1], "$name: and says why");
}
is(wait_sql("SELECT state FROM miosa.convergence_rows('dep_1')
		WHERE endpoint = 'hang'", 'backing off'),
	'backing off', 'convergence shows it');
is(sql("SELECT miosa_wait_converged('dep_1', '100 ms')"),
	'waiting_edges', 'and claims nothing');
is(scalar($good->requests('^/led')), 0, 'a redirect was not followed');
SKIP:
{
	skip 'AddressSanitizer keeps what was freed', 1
	  if slurp_file('/proc/' . dispatcher() . '/maps') =~ /libasan/;
	cmp_ok(memory() - $before, '<', 10000, 'endless answers are not kept');
}

# An answer without an end is an answer: it is cut, and what it said counts
$bad->answer('^/endless/', %junk, raw => "$junk{raw}\r\n");
sql(add('endless', $bad->url . '/endless'));
is(wait_sql("SELECT health FROM miosa.endpoint_state
		WHERE endpoint = 'endless'", 'healthy'),
	'healthy', 'an endless body is cut');
sql("SELECT miosa_remove_endpoint('endless')");

# They recover
patient(0);
my $version = "v$number";

# Not cleared afterwards: the first good answer may come in between
my $recovered = time();
$bad->plain;
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'all is delivered when they have recovered');
ok( poll_until(
		sub { return !grep { !again($_) } grep { $fault{$_}[2] } keys %fault; },
		180),
	'what may have been acted upon is sent once more');
for my $name (sort keys %fault)
{
	my @path = map { $_->{path} } $bad->requests("^/$name/");

	is($path[-1], "/$name/dep_1/$version", "$name: the last request is right");
	ok(!$fault{$name}[2] || again($name), "$name: sent as often as is needed");
}
is(sql('SELECT count(*) FROM miosa.delivery_failures'),
	0, 'what endpoints do wrong is no delivery failure');

# Whether it was sent again, a little after it has answered.
sub again
{
	my ($name) = @_;
	my @request =
	  grep { $_->{time} >= $recovered } $bad->requests("^/$name/");

	return @request >= 2 && $request[-1]{time} - $request[0]{time} > 0.5;
}

#
# Kept connections that are closed at random, before or after an answer
#
sql(join '', map { "SELECT miosa_remove_endpoint('$_');\n" } keys %fault);
sql(add('flaky', $bad->url . '/flaky'));
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'ready');
$bad->answer('^/flaky/', leave => 1, chance => 0.4);
$bad->answer('^/flaky/', reset => 1, chance => 0.1);
$bad->answer('^/flaky/', close => 1, chance => 0.1);
good_ones_hear("an edge that closes connections at random, $_ of 20")
  for 1 .. 20;
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'it gets everything');
my @request = $bad->requests('^/flaky/');
is($request[-1]{path}, "/flaky/dep_1/v$number", 'the last request is right');
$bad->plain;

#
# Connections and names that hang
#
sql(add('connect', 'http://127.0.0.1:' . $full[0]->sockport)
	  . add('handshake', 'https://127.0.0.1:' . $silent->sockport)
	  . add('name', 'http://edge.hanging.test:80')
	  . add('nowhere', 'http://edge.invalid:80')
	  . add('closed', 'http://127.0.0.1:' . MiosaServer::free_port()));
error_like($_->[0], $_->[1], "$_->[0]: says why")
  for [ connect => qr/timed out/i ],
  [ handshake => qr/timed out|timeout/i ],
  [ name => qr/timed out/i ],
  [ nowhere => qr/resolve host|timed out/i ],
  [ closed => qr/refused|connect/i ];
patient(1);
good_ones_hear('connections and names that hang');
patient(0);
is(sql("SELECT min(failures) > 0 FROM miosa.endpoint_state
		WHERE endpoint IN ('connect', 'handshake', 'name', 'closed')"),
	't', 'failures are counted');

sql("SELECT miosa_put_endpoint('name', 'put', '@{[ $bad->url ]}/name', zone => 'name')");
is( wait_sql("SELECT health FROM miosa.endpoint_state
		WHERE endpoint = 'name'", 'healthy'),
	'healthy', 'an address that is corrected is used at once');
sql("SELECT miosa_remove_endpoint('$_')")
  for qw(connect handshake name nowhere closed);

#
# TLS: who the other side is matters
#
sub tls_url { return "https://127.0.0.1:$tls_port->{ $_[0] }"; }

sql(add('good-tls', tls_url('good')) . add('stranger', tls_url('stranger'))
	. add('plain', tls_url('plain')));
error_like('good-tls', qr/certificate/,
	'a certificate of an unknown authority is refused');
error_like('stranger', qr/certificate/, 'so is one that signed itself');
error_like('plain', qr/SSL|TLS/, 'and a server that speaks no TLS');
good_ones_hear('unknown certificates');
unlike(slurp_file("$dir/tls/access.log"),
	qr/PUT/, 'nothing was sent to any of them');

# With the right authority a right certificate will do, and no other
$node->append_conf('postgresql.conf',
	"miosa_rollback.ca_file = '$dir/tls/ca.pem'");
$node->reload;
is(wait_sql("SELECT health FROM miosa.endpoint_state
		WHERE endpoint = 'good-tls'", 'healthy'),
	'healthy', 'its authority is known: delivered');
sql("SELECT miosa_remove_endpoint('plain')");
sql(add('other', tls_url('other')) . add('expired', tls_url('expired'))
	. add('old', tls_url('old')));
error_like('other', qr/name|subject/,
	'a certificate for another name is refused');
error_like('expired', qr/expired/, 'so is one that has expired');
error_like('stranger', qr/certificate/, 'and one that signed itself');
my $offered = `echo | openssl s_client -tls1_1 -cipher DEFAULT\@SECLEVEL=0 \
	-connect 127.0.0.1:$tls_port->{old} 2>&1`;

SKIP:
{
	skip 'openssl offers no TLS 1.1 here', 1
	  unless $offered =~ /Protocol *: TLSv1\.1/;
	error_like('old', qr/SSL|TLS/, 'TLS 1.1 is refused');
}
good_ones_hear('certificates that are refused');
# A line is written after the answer
my %asked;
poll_until(
	sub {
		%asked = map { $_ => 1 } slurp_file("$dir/tls/access.log") =~ /^(\d+) PUT/gm;
		return $asked{ $tls_port->{good} };
	},
	180);

is_deeply(\%asked, { $tls_port->{good} => 1 }, 'only the good one was asked');
done_testing();
