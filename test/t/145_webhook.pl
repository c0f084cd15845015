# Webhooks as Standard Webhooks 1.0 has them, checked by the library of that
# name: what is signed, with which secrets, and what an answer means.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MIME::Base64 qw(encode_base64);
use MiosaHttp qw(poll_until);
use MiosaNode;
use MiosaTest qw(wait_sql make_node operate verdict);
use PostgreSQL::Test::Utils;
use Test::More;

my $host = 'shop.acme.test';
my ($old, $new, $other) =
  map { 'whsec_' . encode_base64($_ x 32, '') } 'o', 'n', 'x';
my $node = make_node('webhook');
my $server = MiosaNode->new(
	dir => PostgreSQL::Test::Utils::tempdir_short() . '/webhook',
	script => 'webhook',
	services => [ 'receiver', 'elsewhere' ])->start;
my $url = $server->url('receiver') . '/hooks/miosa';

$server->set('receiver', secrets => [$old]);
$node->safe_psql(
	'postgres', qq{
	INSERT INTO miosa.secrets (name, value) VALUES ('hook', '$old');
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_domain('$host', 'dep_1');
	SELECT miosa_put_version('dep_1', 'ver_' || i, i,
		storage_uri => 's3://artifacts/dep_1/ver_' || i || '.tar.zst')
	FROM generate_series(1, 3) i;
	SELECT miosa_put_endpoint('hook', 'webhook', '$url', secret => 'hook')});

# What is sent because the endpoint is new has ids of its own
ok( $node->poll_query_until('postgres',
		'SELECT resync_after IS NULL FROM miosa.endpoint_state'),
	'the endpoint has all there is');

# One message: signed, and of use to nobody who changes it
my $promoted = int(time());
operate($node, 'promote', 'ver_1');
is(verdict($node, '180 s'), 'converged', 'a message is delivered')
  or diag $server->tail;

my ($request) = $server->requests('receiver');
my $message = last_message();
my $body = decode_json($message->{body});

my $epoch = $node->safe_psql('postgres',
	"SELECT max(epoch) FROM miosa.route_log WHERE kind = 'route'");
my $version = $node->safe_psql('postgres',
	"SELECT extversion FROM pg_extension WHERE extname = 'miosa_rollback'");
my ($port) = $url =~ /:(\d+)/;
my $signature = $request->{headers}{'webhook-signature'};
my $golden = qq({"type":"route.changed","timestamp":"$body->{timestamp}",)
  . qq("data":{"id":"dep_1\@$epoch","epoch":$epoch,)
  . q("operation_id":"dep_1#1","deployment_id":"dep_1","tenant_id":"ten_1",)
  . q("version_id":"ver_1","version_number":1,"release_id":"rel_1",)
  . q("storage_uri":"s3://artifacts/dep_1/ver_1.tar.zst","sha256":null,)
  . qq("hosts":["shop.acme.miosa.app","$host"],"removed_hosts":[]}});

is( $request->{raw},
	join("\r\n",
		'POST /hooks/miosa HTTP/1.1',
		"Host: 127.0.0.1:$port",
		"User-Agent: miosa_rollback/$version",
		'Content-Type: application/json',
		"webhook-id: dep_1\@$epoch",
		"webhook-timestamp: $message->{timestamp}",
		"webhook-signature: $signature",
		'Content-Length: ' . length $golden,
		'',
		$golden),
	'byte for byte what it should be');
like($body->{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
	'it says when');
like($signature, qr{^v1,[A-Za-z0-9+/]{43}=$}, 'one secret, one signature');
is_deeply($message->{good}, [1], 'the signature is right');
ok(!$message->{forgeable}, 'for this id, this time and this body alone');
ok($message->{timestamp} >= $promoted && $message->{timestamp} <= time(), 'the time is now');
unlike($request->{raw}, qr/\Q@{[ substr($old, 6) ]}/,
	'the secret itself is not sent');

# The same id, whatever number of tries it takes
$server->set(
	'receiver',
	answers => [
		{ status => 503 },
		{ status => 500 },
		{ status => 429, headers => { 'Retry-After' => '1' } }
	]);
operate($node, 'promote', 'ver_2');
is(verdict($node, '180 s'), 'converged', 'delivered at the fourth try');

my @tries = (messages())[ 1 .. 4 ];

is(scalar(grep { $_->{id} eq $tries[0]{id} } @tries),
	4, 'every try has the same id');
is(scalar(grep { $_->{good}[0] } @tries), 4, 'and a good signature');
is(scalar(grep { $_->{body} eq $tries[0]{body} } @tries),
	4, 'and the same body');
isnt($tries[0]{id}, $message->{id}, 'another message has another id');

# Rotation: while two secrets live, a receiver may know either
rotate("value = '$new', previous = '$old'");
$server->set('receiver', secrets => [ $old, $new, $other ]);
operate($node, 'rollback', 'ver_1');
is(verdict($node, '180 s'), 'converged', 'delivered during a rotation');
is_deeply(last_message()->{good}, [ 1, 1, 0 ], 'signed with both secrets');
$server->set('receiver', secrets => [$old]);
operate($node, 'promote', 'ver_3');
is(verdict($node, '180 s'),
	'converged', 'a receiver with the old secret takes it');
$server->set('receiver', secrets => [$new]);
operate($node, 'rollback', 'ver_1');
is(verdict($node, '180 s'), 'converged', 'one with the new secret as well');
rotate('previous = NULL');
$server->set('receiver', secrets => [ $old, $new ]);
operate($node, 'promote', 'ver_2');
is(verdict($node, '180 s'), 'converged', 'delivered after the rotation');
is_deeply(last_message()->{good}, [ 0, 1 ], 'signed with the new one alone');

# A secret that the receiver does not know: its 401 holds everything up, and
# makes no failure of any message
rotate("value = '$other'");
operate($node, 'rollback', 'ver_1');
is(verdict($node, '1 s'), 'waiting_edges', 'a wrong secret is waited for');
is(failures(), '0', 'and no message is blamed');
rotate("value = '$new'");
is(verdict($node, '180 s'), 'converged', 'the right one ends it');
is(last_message()->{good}[1], 1, 'by a good signature');

# A secret that cannot be one: nothing is sent at all
rotate("value = 'not-a-webhook-secret'");
my $before = messages();
operate($node, 'promote', 'ver_2');
ok( poll_until(
		sub {
			$node->safe_psql('postgres',
				'SELECT health FROM miosa.endpoint_state') eq 'misconfigured';
		},
		180),
	'a secret of another form is a mistake in the settings');
is(scalar messages(), $before, 'nothing is sent unsigned');
rotate("value = '$new'");
is(verdict($node, '180 s'), 'converged', 'delivered when it is put right');

# A redirect is a failure and is not followed
$server->set(
	'receiver',
	answers => [
		map {
			+{
				status => $_,
				headers => { Location => $server->url('elsewhere') . '/' }
			}
		} 301, 302, 307, 308
	]);
operate($node, 'rollback', 'ver_1');
is(verdict($node, '180 s'), 'converged', 'redirected four times, then taken');
is_deeply([ map { $_->{status} } ($server->requests('receiver'))[ -5 .. -1 ] ],
	[ 301, 302, 307, 308, 204 ], 'each was a failed try');
is(scalar $server->requests('elsewhere'), 0, 'nobody was led elsewhere');

# 410: it is gone, which is not the same as disabled
$server->set('receiver', answers => [ { status => 410 } ]);
operate($node, 'promote', 'ver_3');
is( wait_sql($node, "SELECT state FROM miosa.stat_endpoint WHERE name = 'hook'", 'gone', 180),
	'gone', 'a receiver that answers 410 is gone');
like(
	$node->safe_psql('postgres',
		"SELECT last_error FROM miosa.stat_endpoint WHERE name = 'hook'"),
	qr/410/,
	'the error says why');
$before = messages();
operate($node, 'rollback', 'ver_1');
is(verdict($node, '100 ms'), 'waiting_edges', 'it counts as not converged');
is(scalar messages(), $before, 'nothing is sent before gone_retry has passed');
$node->safe_psql('postgres', "SELECT miosa_resync('hook')");
is(verdict($node, '180 s'), 'converged', 'it is when somebody asks for it');
is(decode_json(last_message()->{body})->{data}{version_id},
	'ver_1', 'of the present route');

sub messages
{
	return @{ $server->state('receiver')->{messages} };
}

sub last_message
{
	my $message = (messages())[-1];

	$message->{good} = [ map { $_ ? 1 : 0 } @{ $message->{good} } ];
	return $message;
}

# Change the secret.
sub rotate
{
	my ($assignments) = @_;

	$node->safe_psql('postgres',
		"UPDATE miosa.secrets SET $assignments WHERE name = 'hook'");
	return;
}

sub failures
{
	return $node->safe_psql('postgres',
		'SELECT count(*) FROM miosa.delivery_failures');
}

done_testing();
