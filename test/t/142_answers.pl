# What answers mean, to the dispatcher and to miosa_test_endpoint: verdicts of
# statuses and of bodies, whatever is in them; no secret is ever shown; TLS.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MIME::Base64 qw(encode_base64);
use MiosaHttp qw(poll_until);
use MiosaServer;
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

# Databases in UTF-8, as people have them
$ENV{LC_ALL} = 'C.UTF-8';
my $dir = PostgreSQL::Test::Utils::tempdir_short();

# An OpenSSL that would speak any version of TLS, so that only we refuse some
append_to_file("$dir/openssl.cnf", <<'EOC');
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = any
[any]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
EOC
local $ENV{OPENSSL_CONF} = "$dir/openssl.cnf";
my $node = make_node('answers');
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $secret = 'Wonder:Pass word/1+"<';
my $encoded = encode_base64($secret, '');
my $whsec = 'whsec_' . encode_base64('k' x 32, '');
my $old = 'whsec_' . encode_base64('o' x 32, '');
my $key = 'AKIDWONDER:wJalrXUtnFEMI/K7MDENG:TOKENwonder==';

sub sql { return $node->safe_psql('postgres', @_); }

# What miosa_test_endpoint returns: the text of it, and its parts.
sub try_endpoint
{
	my ($name) = @_;
	my $text = sql("SELECT miosa_test_endpoint('$name') -> 'data'");

	return ($text, decode_json($text));
}

# The verdict when the sink answers so.
sub verdict
{
	my ($name, %answer) = @_;

	$sink->answer('.', %answer);
	my (undef, $result) = try_endpoint($name);

	return $result->{verdict};
}

sql(<<"EOS");
INSERT INTO miosa.secrets (name, value, previous) VALUES ('pair', '$secret', NULL),
	('hook', '$whsec', '$old'), ('key', '$key', NULL), ('other', 'Blue/Moon 7', NULL);
INSERT INTO miosa.adapters (name, request) VALUES ('named',
	'{"method": "PUT", "path": "/n/{secret:other}", "headers": {"x-a": "{secret:other|base64}", "x-b": "{secret}"},
	"body": {"a": "{secret:other}", "b": "{secret|base64}"}}');
INSERT INTO miosa.adapters (name, verdicts, request) VALUES ('judged',
	'{"400": "endpoint", "404": "message", "503": "message", "418": "gone"}', '{"method": "PUT", "path": "/j"}');
SELECT miosa_put_endpoint(e.name, e.adapter, '@{[ $sink->url ]}/' || e.name, secret => e.secret, enabled => false)
FROM (VALUES ('router', 'haproxy-map', 'pair'), ('api', 'haproxy-dataplane', 'pair'), ('named', 'named', 'pair'),
	('judged', 'judged', NULL), ('plain', 'varnish-xkey', NULL), ('nginx', 'nginx-cache-purge', NULL),
	('hook', 'webhook', 'hook'), ('flare', 'cloudflare', 'pair'), ('front', 'cloudfront', 'key')) e (name, adapter, secret);
EOS

# Statuses
for my $case (
	[ 'plain', 200, qr/^ok$/ ],
	[ 'plain', 204, qr/^ok$/ ],
	[ 'plain', 301, qr/^the endpoint redirects/ ],
	[ 'plain', 401, qr/^the endpoint does not accept the secret/ ],
	[ 'plain', 403, qr/^the endpoint does not accept the secret/ ],
	[ 'plain', 404, qr/^the endpoint fails \(HTTP status 404\)/ ],
	[ 'plain', 429, qr/^the endpoint fails/ ],
	[ 'plain', 500, qr/^the endpoint fails/ ],
	(map { [ 'plain', $_, qr/does not accept the message/ ] } 400, 409, 413, 414, 422),
	[ 'judged', 400, qr/^the endpoint fails \(HTTP status 400\)/ ],
	[ 'judged', 404, qr/does not accept the message/ ],
	[ 'judged', 503, qr/does not accept the message/ ],
	[ 'judged', 418, qr/^the endpoint answers that it is gone \(HTTP status 418\)/ ],
	[ 'judged', 422, qr/does not accept the message/ ],
	[ 'nginx', 404, qr/^ok$/ ],
	[ 'nginx', 204, qr/^the endpoint fails/ ],
	[ 'api', 404, qr/^ok: there is no such entry, and it would be added/ ],
	[ 'router', 404, qr/^the endpoint does not accept the marker \(HTTP status 404\)/ ],
	[ 'hook', 410, qr/^the endpoint answers that it is gone/ ],
	[ 'hook', 302, qr/^the endpoint redirects/ ],
	[ 'front', 200, qr/^ok$/ ])
{
	my ($name, $status, $expected) = @$case;

	like(
		verdict(
			$name,
			status => $status,
			headers => { Location => $sink->url . '/elsewhere' }),
		$expected,
		"$name answers $status");
}
is(scalar $sink->requests('elsewhere'), 0, 'no redirect was followed');

# Bodies: only one that says success is one, none is an error of ours, and one
# that cannot be read is not called untrue
my $untrue = qr/the answer does not satisfy \(\$\."success" == true\)/;
my $no_json = qr/the answer cannot be read: it is not JSON/;
for my $case (
	[ '{"success": true}' ],
	[ '{"result": {"id": "x"}, "success": true, "errors": []}' ],
	[ ' {"success":true} ' ],
	[ "\xef\xbb\xbf{\"success\": true}" ],
	[ '{"success": true, "text": "bücher \u00e9"}' ],
	[ '{"success": false}', $untrue ],
	[ '{"success": "true"}', $untrue ],
	[ '{"success": null}', $untrue ],
	[ '{}', $untrue ],
	[ '[]', $untrue ],
	[ 'true', $untrue ],
	[ '', qr/$no_json$/ ],
	[ 'success', qr/$no_json$/ ],
	[ '<html>', qr/$no_json$/ ],
	[ "\xef\xbb\xbf", qr/$no_json$/ ],
	[ '{"success": true', qr/$no_json$/ ],
	[ '{"success": true}}', qr/$no_json$/ ],
	[
		"{\"success\": true, \"x\": \"\xff\xfe\"}",
		qr/the answer cannot be read: it is not UTF-8$/
	],
	[ "{\"success\": true}\0", qr/$no_json$/ ],
	[
		'{"success": true, "x": "\u0000"}',
		qr/cannot be read: it has a \\u escape that the database cannot store$/
	],
	[ '{"success": true, "x": ' . '[' x 20000, qr/the answer cannot be read/ ],
	[ '{"success": true, "x": ' . '[' x 100 . ']' x 100 . '}' ],
	[
		'{"success": true, "x": ' . '[' x 32000 . ']' x 32000 . '}',
		qr/the answer cannot be read: it is nested too deeply$/
	],
	[
		'{"success": true, "x": 1e999999}',
		qr/cannot be read: it is not JSON that the database can store$/
	],
	[
		'{"success": true, "x": "' . 'y' x 70000 . '"}',
		qr/the answer cannot be read: it is longer than 64 kB$/
	])
{
	my ($body, $flaw) = @$case;
	my $shown = substr($body, 0, 50) =~ s/[^ -~]/?/gr;
	my $verdict = verdict('flare', body => $body);

	if ($flaw)
	{
		my ($reason) =
		  $verdict =~ /^the endpoint fails \(HTTP status 200, but (.*)\)$/;

		like($reason // $verdict, $flaw, "not taken: $shown");
	}
	else
	{
		is($verdict, 'ok', "taken: $shown");
	}
}

# A path that cannot be evaluated is not true; that somebody cancels while one
# is evaluated says nothing about the answer
$sink->answer('.', body => '{"success": true, "at": "2026-01-01", "x": '
	  . '[' x 300 . ']' x 300 . '}');
for my $path (
	'$.success == $x',
	'$.at.datetime() < "2026-01-01T00:00:00+01".datetime()',
	'1 / ($.success ? (@ == false)).size() == 1')
{
	sql("UPDATE miosa.adapters SET success_json_path = '$path' WHERE name = 'judged'");
	like((try_endpoint('judged'))[1]{verdict}, qr/the answer does not satisfy/, "not true: $path");
}
sql(q(UPDATE miosa.adapters SET success_json_path = 'exists ($.**.**.**.**.** ? (@ == 5))' WHERE name = 'judged'));
my (undef, undef, $cancelled) = $node->psql('postgres',
	"SET statement_timeout = '2 s'; SELECT miosa_test_endpoint('judged')");
like($cancelled, qr/canceling statement due to statement timeout/,
	'a cancellation is not an answer');
sql("UPDATE miosa.adapters SET success_json_path = NULL WHERE name = 'judged'");

# A database of another encoding cannot hold all of JSON, but judges alike
$node->safe_psql('postgres',
	"CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
$node->safe_psql('ascii', <<"EOS");
CREATE EXTENSION miosa_rollback;
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'x');
SELECT miosa_put_endpoint('ascii', 'cloudflare', '@{[ $sink->url ]}/ascii', secret => 'key', enabled => false);
EOS
for my $case (
	[ '{"success": true, "text": "bücher \u00e9 \\\\"}', 'ok' ],
	[ '{"success": true, "text": "\u00"}', 'the endpoint fails' ],
	[ '{"text": "\\\\", "success": false}', 'the endpoint fails' ])
{
	$sink->answer('.', body => $case->[0]);
	like(
		$node->safe_psql('ascii',
			"SELECT miosa_test_endpoint('ascii') -> 'data' ->> 'verdict'"),
		qr/^$case->[1]/,
		'in SQL_ASCII: ' . ($case->[0] =~ s/[^ -~]/?/gr));
}

# The dispatcher holds the cursor, says why, and lives
my $pid = sql('SELECT pid FROM miosa.dispatcher()');
$sink->answer('^/flare', body => "\xff{{{");
sql(<<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_1');
SELECT miosa_promote('dep_1', 'ver_1');
SELECT miosa_set_endpoint('flare', true);
EOS
ok( $node->poll_query_until('postgres',
		"SELECT health = 'backing off' AND last_error LIKE '%the answer cannot be read: it is not UTF-8'
		FROM miosa.endpoint_state WHERE endpoint = 'flare'"),
	'an answer that is no JSON is a failure of the endpoint');
is(sql('SELECT count(*) FROM miosa.delivery_failures'), 0, 'of no message');
$sink->answer('^/flare', body => '{"success": true}');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'once it says success, it is one');
is(sql('SELECT pid FROM miosa.dispatcher()'), $pid, 'by the same dispatcher');

# What is to be removed and is not there is removed; so it is with a status
# that would be the endpoint's failure otherwise
sql(<<"EOS");
INSERT INTO miosa.adapters (name, per, verdicts, request, remove) VALUES ('hosts', 'host', '{"410": "gone"}',
	'{"method": "PUT", "path": "/{host}"}', '{"method": "DELETE", "path": "/{host}"}');
SELECT miosa_set_endpoint('flare', false);
SELECT miosa_put_domain('a.test', 'dep_1'), miosa_put_domain('b.test', 'dep_1');
SELECT miosa_put_endpoint('hosts', 'hosts', '@{[ $sink->url ]}/hosts');
EOS
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'hosts are delivered');
for my $case ([ 'a.test', 404 ], [ 'b.test', 410 ])
{
	my ($host, $status) = @$case;

	$sink->answer("^/hosts/$host", method => 'DELETE', status => $status);
	sql("SELECT miosa_remove_domain('$host')");
	ok($sink->wait_for(1, "^/hosts/$host"), "$host was routed");
	is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "removed, by an answer of $status");
	is( (grep { $_->{path} eq "/hosts/$host" } $sink->requests)[-1]{method},
		'DELETE', 'to a request that removes');
}

# An edge that answers 404 to a wildcard host knows none, and is well
sql(<<'EOS');
UPDATE miosa.adapters SET wildcards = true, wildcard_request = '{"method": "PUT", "path": "/wild/{domain}"}',
	wildcard_remove = '{"method": "DELETE", "path": "/wild/{domain}"}' WHERE name = 'hosts';
EOS
$sink->answer('^/hosts/wild/', status => 404);
sql("SELECT miosa_put_domain('*.c.test', 'dep_1'), miosa_put_domain('d.test', 'dep_1')");
ok( $node->poll_query_until('postgres',
		"SELECT endpoint = 'hosts' AND deployment_id = 'dep_1' AND last_error LIKE '%HTTP status 404%' FROM miosa.delivery_failures"),
	'a wildcard host that is answered with 404 is a failure of the message');
is(sql("SELECT health FROM miosa.endpoint_state WHERE endpoint = 'hosts'"),
	'healthy', 'and not of the endpoint');
ok($sink->wait_for(1, '^/hosts/d[.]test'), 'which receives the other host');
sql("SELECT miosa_remove_domain('*.c.test')");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'without that host it converges');
sql("UPDATE miosa.adapters SET wildcards = false, wildcard_request = NULL, wildcard_remove = NULL WHERE name = 'hosts'");

# A row that somebody breaks stops its endpoint, with the place of the
# mistake, and not the dispatcher; once it is right requests are sent again
my @wrong = (
	[ q(verdicts = '{"x": 1}'), 'verdicts: "x" is not an HTTP status' ],
	[ q(verdicts = '7'), 'verdicts: the value must be an object' ],
	[ q(charsets = '{"host": "z-a"}'), 'charsets.host, character 1' ],
	[ q(success = '{{200,201},{202,203}}'), 'success, element 1' ],
	[ q(request = '"x"'), 'request: the value must be an object' ],
	[ q(request = '{"method": "PUT", "path": "/{host"}'), 'request.path, character 2' ],
	[ q(remove = '[]'), 'remove: the value must be an object' ],
	[ q(signer = 'sigv4'), 'signer_options.service' ],
	[ q(batch_max = 5), 'batch_max' ],
	[ q(volatile = true), 'volatile' ]);

sql('ALTER TABLE miosa.adapters DISABLE TRIGGER adapters_check;
	CREATE TABLE saved AS SELECT * FROM miosa.adapters');
for my $case (@wrong)
{
	my ($column, $error) = @$case;

	sql("UPDATE miosa.adapters SET $column WHERE name = 'hosts'");
	ok( $node->poll_query_until('postgres',
			"SELECT health = 'misconfigured' AND starts_with(last_error, '$error')
			FROM miosa.endpoint_state WHERE endpoint = 'hosts'"),
		"$column: $error");
	sql("UPDATE miosa.adapters a SET (verdicts, charsets, success, request, remove, signer, batch_max, volatile)
			= (s.verdicts, s.charsets, s.success, s.request, s.remove, s.signer, s.batch_max, s.volatile)
		FROM saved s WHERE s.name = a.name AND a.name = 'hosts'");
	ok( $node->poll_query_until('postgres',
			"SELECT health <> 'misconfigured'
			FROM miosa.endpoint_state WHERE endpoint = 'hosts'"),
		'and requests are sent again');
}
sql('ALTER TABLE miosa.adapters ENABLE TRIGGER adapters_check');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'which converges');
is(sql('SELECT pid FROM miosa.dispatcher()'), $pid, 'the dispatcher has lived');

# Nothing that miosa_test_endpoint shows holds a secret, not even an answer
# that repeats it in whatever form
my %forms = (
	router => [
		$secret, $encoded, 'Wonder%3APass%20word%2F1%2B%22%3C',
		'Pass word/1+\\"<', 'Pass word/1+&#34;&#60;', 'Pass word/1+"<'
	],
	named => [
		$secret, $encoded, 'Blue/Moon 7', 'Blue%2FMoon%207',
		encode_base64('Blue/Moon 7', '')
	],
	hook => [ $whsec, $old ],
	front => [ $key, 'wJalrXUtnFEMI/K7MDENG', 'TOKENwonder==' ]);

for my $name (sort keys %forms)
{
	my @form = @{ $forms{$name} };

	$sink->answer('.', body => 'You sent: ' . join(', ', @form) . '.');
	my ($text, $result) = try_endpoint($name);

	is( $result->{answer}{body},
		'You sent: ' . join(', ', ('***') x @form) . '.',
		"an answer of $name shows no secret");
	is_deeply([ grep { index($text, $_) >= 0 } @form ],
		[], 'nor does anything else')
	  or diag $text;
}
is_deeply(
	(try_endpoint('named'))[1]{request}{headers},
	[ 'x-a: ***', 'x-b: ***' ], 'not a header');
cmp_ok((try_endpoint('named'))[1]{answer}{elapsed_ms}, '>', 0, 'the time is shown');
is((try_endpoint('named'))[1]{request}{url}, $sink->url . '/named/n/***', 'not a URL');
is( (try_endpoint('named'))[1]{request}{body},
	'{"a": "***", "b": "***"}', 'not a body');
is( (try_endpoint('hook'))[1]{request}{headers}[-1],
	'webhook-signature: v1,*** v1,***', 'a signature is not shown either');
is( (try_endpoint('front'))[1]{request}{headers}[-1],
	'authorization: AWS4-HMAC-SHA256 ***', 'nor is that of AWS');

# TLS is verified, with authorities of our own if need be
sub certificate
{
	my ($name, $names) = @_;

	system_or_bail(
		'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days',
		'1', '-subj', "/CN=$name", '-addext', "subjectAltName=$names", '-keyout',
		"$dir/$name.key", '-out', "$dir/$name.crt");
	return;
}

certificate('right', 'IP:127.0.0.1');
certificate('wrong', 'DNS:edge.test');

my %tls;
for my $case ([ 'right', '-no_tls1_1' ], ['wrong'], [ 'old', '-tls1_1' ])
{
	my ($name, @option) = @$case;
	my $file = -e "$dir/$name.crt" ? $name : 'right';
	my $port = MiosaServer::free_port();

	$tls{$name} = MiosaServer->new(
		name => $name,
		log => "$dir/$name.log",
		port => $port)->start(
		'openssl', 's_server', '-quiet', '-www', '-accept',
		"127.0.0.1:$port", '-cert', "$dir/$file.crt", '-key',
		"$dir/$file.key", '-cipher', 'ALL:@SECLEVEL=0', @option);
	sql("SELECT miosa_put_endpoint('tls-$name', 'nginx-cache-purge',
		'https://127.0.0.1:$port', enabled => false)");
}

sub tls_verdict { return (try_endpoint("tls-$_[0]"))[1]{verdict}; }

sub trust
{
	my ($name) = @_;

	$node->append_conf('postgresql.conf', "miosa_rollback.ca_file = '$name'");
	$node->reload;
	return $node->poll_query_until('postgres',
		"SELECT current_setting('miosa_rollback.ca_file') = '$name'");
}

like(tls_verdict('right'), qr/^no answer: .*certificate/i,
	'an authority that nobody knows is not trusted');
trust("$dir/right.crt");
is(tls_verdict('right'), 'ok', 'one that is set is');
my $offered = `curl -sko $dir/offered -w '%{http_code}' --tlsv1.0 https://127.0.0.1:$tls{old}{port}`;
is($offered, 200, 'a server of TLS 1.1 answers others');
like(tls_verdict('old'), qr/^no answer: .*(?:version|protocol)/i, 'TLS before 1.2 is not spoken');
like(tls_verdict('wrong'), qr/^no answer: .*certificate/i,
	'nor is another one trusted');
trust("$dir/wrong.crt");
like(tls_verdict('wrong'), qr/^no answer: .*(?:subject|match)/i,
	'a certificate must be for the host');
like(tls_verdict('right'), qr/^no answer: .*certificate/i,
	'a connection that was trusted before is not used again');
my ($status, undef, $error) =
  $node->psql('postgres', "ALTER SYSTEM SET miosa_rollback.ca_file = 'ca.crt'");
like($error, qr/must be absolute/, 'a relative file is refused');

# An endpoint that has said how long to wait is left alone for as long, also when
# it accepts what was under way.
my $busy = MiosaSink->new(dir => "$dir/busy")->start;

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('d' || i, 'ten_1', 'shop-' || i), miosa_put_version('d' || i, 'v1', 1) FROM generate_series(1, 3) i;
INSERT INTO miosa.adapters (name, request) VALUES ('by-path', '{"method": "PUT", "path": "/{deployment_id}"}');
SELECT miosa_put_endpoint('busy', 'by-path', '@{[ $busy->url ]}');
SELECT miosa_promote('d3', 'v1');
EOS
is(sql("SELECT miosa_wait_converged('d3', '180 s')"), 'converged', 'an endpoint works');
$busy->answer('^/d1', hold => 'first');
$busy->answer('^/d2', hold => 'second', status => 429, headers => { 'Retry-After' => 3000 });
sql("SELECT miosa_promote('d' || i, 'v1') FROM generate_series(1, 2) i");
ok($busy->wait_for(1, "^/d$_"), "a request is under way: d$_") for 1, 2;
my $state = q{SELECT state || ' ' || (next_try_at > now() + interval '10 min') FROM miosa.stat_endpoint WHERE name = 'busy'};
$busy->release('second');
is(MiosaTest::wait_sql($node, $state, 'backing off true'), 'backing off true', 'it says how long to wait');
my $before = sql("SELECT last_success_at FROM miosa.endpoint_stats() WHERE endpoint = 'busy'");
$busy->release('first');
isnt($before, '', 'when it has accepted a request is known');
ok(poll_until(sub { sql("SELECT last_success_at FROM miosa.endpoint_stats() WHERE endpoint = 'busy'") ne $before }), 'it accepts another one that was under way');
MiosaTest::reload_settings($node);
is(scalar(() = $busy->requests('^/d2')), 1, 'and is left alone all the same');
is(sql($state), 'backing off true', 'for as long as it has said');

done_testing();
