# Services that cannot be run here, from miosa_promote to what they are asked,
# byte for byte; and their limits, which are obeyed without an operator. The
# server refuses what their documentation does not allow (test/js/cloud.js).

use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(sha256_hex);
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64);
use MiosaHttp qw(poll_until);
use MiosaNode;
use MiosaTest qw(make_node operate verdict);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my @services = qw(fastly cloudflare cloudfront bunny keyval dataplane s3);
my $cloud = MiosaNode->new(
	dir => PostgreSQL::Test::Utils::tempdir_short() . '/cloud',
	script => 'cloud',
	services => \@services)->start;
my $node = make_node('cloud');
my $agent = 'miosa_rollback/'
  . sql("SELECT extversion FROM pg_extension WHERE extname = 'miosa_rollback'");

# Where each service is, and with which secret
my %path = (
	fastly => '/service/SU1Z0isxPaozGVKXdv0eY',
	cloudflare => '/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353',
	cloudfront => '/2020-05-31/distribution/EDFDVBD6EXAMPLE',
	bunny => '/pullzone/1234567',
	keyval => '/api/9/http/keyvals/routes',
	dataplane => '/v3/services/haproxy/runtime/maps/routes',
	s3 => '/bucket');
my %secret = (
	fastly => 'fastly-token',
	cloudflare => 'cloudflare-token',
	cloudfront => 'AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
	bunny => 'bunny-key',
	keyval => 'admin:keyval-password',
	dataplane => 'admin:dataplane-password',
	s3 => 'AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY:session/token==');
my %adapter = (
	keyval => 'nginx-plus-keyval',
	dataplane => 'haproxy-dataplane');


# Two customers: one with a site, one with many
sql(q{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_' || i, i)
		FROM generate_series(1, 9) i;
	SELECT miosa_put_tenant('ten_2', 'many');
	SELECT miosa_put_deployment('many_' || i, 'ten_2', 'many-' || i),
		miosa_put_version('many_' || i, 'ver_1', 1),
		miosa_put_version('many_' || i, 'ver_2', 2),
		miosa_promote('many_' || i, 'ver_1')
	FROM generate_series(1, 600) i});
sql("INSERT INTO miosa.secrets (name, value) VALUES ('$_', '$secret{$_}')")
  for @services;

# What each service is asked for one promotion. Those that hold a table are
# sent the route; at the first request they lack it yet, and it is added.
my $host = 'shop.acme.miosa.app';
my $number = 0;
my $flips = 0;
my %golden = (
	fastly => sub {
		return request(
			'fastly', "POST $path{fastly}/purge",
			'Accept: application/json',
			"Fastly-Key: $secret{fastly}",
			'Content-Type: application/json',
			'{"surrogate_keys":["dep_1"]}');
	},
	cloudflare => sub {
		return request(
			'cloudflare', "POST $path{cloudflare}/purge_cache",
			'Content-Type: application/json',
			"Authorization: Bearer $secret{cloudflare}",
			'{"tags":["dep_1"]}');
	},
	bunny => sub {
		return request(
			'bunny', "POST $path{bunny}/purgeCache",
			"AccessKey: $secret{bunny}",
			'Content-Type: application/json',
			'{"CacheTag": "dep_1"}');
	},
	keyval => sub {
		return request(
			'keyval', "PATCH $path{keyval}",
			'Content-Type: application/json',
			'Authorization: Basic ' . encode_base64($secret{keyval}, ''),
			qq({"$host": "dep_1/ver_$number"}));
	},
	dataplane => sub {
		return request(
			'dataplane', "PUT $path{dataplane}/entries/$host?force_sync=true",
			'Content-Type: application/json',
			'Authorization: Basic ' . encode_base64($secret{dataplane}, ''),
			qq({"value": "dep_1/ver_$number"}));
	},
	cloudfront => \&cloudfront_request);
my %added = (
	keyval => sub { return $golden{keyval}->() =~ s/^PATCH/POST/r; },
	dataplane => sub {
		return request(
			'dataplane', "POST $path{dataplane}/entries?force_sync=true",
			'Content-Type: application/json',
			'Authorization: Basic ' . encode_base64($secret{dataplane}, ''),
			qq({"key": "$host", "value": "dep_1/ver_$number"}));
	});

my %settles = map { $_ => 1 } split /\n/,
  sql("SELECT name FROM miosa.adapters WHERE settle > '0'");

for my $service (grep { $golden{$_} } @services)
{
	$cloud->clear;
	only($service, 'ten_1');
	if ($added{$service})
	{
		my @first = $cloud->requests($service);

		is_deeply(
			[ map { $_->{status} } @first ],
			[ 404, 201 ],
			"$service: what it does not know is added");
		is($first[1]{raw}, $added{$service}->(), "$service: byte for byte");
	}
	$cloud->clear;
	$number++;
	operate($node, 'promote', "ver_$number");
	is(verdict($node, '180 s'), 'converged', "$service: delivered")
	  or diag state_of($service);

	# What is repeated of an earlier change has another number; a signature has
	# the time in it.
	my @request = $cloud->requests($service);

	@request = grep { index($_->{raw}, '@' . newest_epoch()) >= 0 } @request
	  if $service eq 'cloudfront';
	my %different = map { $_->{raw} =~ s/^(?:Authorization|X-Amz-Date): .*\n//mgr => 1 } @request;

	# A purge is repeated soon, and is then the same.
	is($settles{$service} ? scalar keys %different : scalar @request,
		1, "$service: by one request");
	is($request[0]{raw},
		$golden{$service}->($request[0]), "$service: byte for byte");
}

# Tables: a host that goes is taken away, and one that is not there is as good
# as taken away; what was added by somebody else meanwhile is changed
my %removal = (
	keyval => sub {
		return request(
			'keyval', "PATCH $path{keyval}",
			'Content-Type: application/json',
			'Authorization: Basic ' . encode_base64($secret{keyval}, ''),
			'{"www.acme.test": null}');
	},
	dataplane => sub {
		return request(
			'dataplane',
			"DELETE $path{dataplane}/entries/www.acme.test?force_sync=true",
			'Authorization: Basic ' . encode_base64($secret{dataplane}, ''));
	});
my %table = (keyval => 'pairs', dataplane => 'entries');

for my $service (sort keys %removal)
{
	my $route = "dep_1/ver_$number";
	my $table = sub { return $cloud->state($service)->{ $table{$service} } };

	only($service, 'ten_1');
	sql("SELECT miosa_put_domain('www.acme.test', 'dep_1')");
	catches_up($service);
	is_deeply($table->(), { $host => $route, 'www.acme.test' => $route },
		"$service: a second host is added");
	$cloud->clear;
	sql("SELECT miosa_remove_domain('www.acme.test')");
	catches_up($service);

	my ($removal) = grep { $_->{raw} =~ /www/ } $cloud->requests($service);

	is($removal->{raw},
		$removal{$service}->(), "$service: and taken away, byte for byte");
	is_deeply($table->(), { $host => $route }, "$service: it is gone");

	sql("SELECT miosa_put_domain('www.acme.test', 'dep_1')");
	catches_up($service);
	is_deeply([ sort keys %{ $table->() } ],
		[ $host, 'www.acme.test' ], "$service: it is back");
	$cloud->set($service, only => 'www', times => 1, answer => { status => 404 });
	sql("SELECT miosa_remove_domain('www.acme.test')");
	catches_up($service);
	is(failures(), '0', "$service: what is not there need not be taken away");

	# Not there when it was asked for, there when it was added: 409
	$cloud->clear;
	$cloud->set($service, only => $host, times => 1, answer => { status => 404 });
	$number++;
	operate($node, 'promote', "ver_$number");
	is(verdict($node, '180 s'), 'converged', "$service: delivered after a conflict")
	  or diag state_of($service);
	is($table->()->{$host}, "dep_1/ver_$number", "$service: the new route");
	is(scalar(grep { $_->{status} == 409 } $cloud->requests($service)),
		1, "$service: there was one");
}

# Many deployments in one transaction are few requests
my %most = (fastly => 256, cloudflare => 100, cloudfront => 100);

for my $service (sort keys %most)
{
	my $few = int((600 + $most{$service} - 1) / $most{$service});

	only($service, 'ten_2');
	$cloud->clear;
	flip();
	catches_up($service);

	my @request = $cloud->requests($service);

	# Sent at once, and once more when caches have settled
	cmp_ok(scalar(grep { $_->{status} < 300 } @request),
		'<=', 3 * $few + 2, "$service: 600 deployments in few requests");
	is(failures(), '0', "$service: all of them taken");
	next if $service eq 'cloudfront';

	my @size = map { scalar @{ keys_of($_) } } @request;
	my %key = map { $_ => 1 } map { @{ keys_of($_) } } @request;

	is((sort { $b <=> $a } @size)[0],
		$most{$service}, "$service: none has more keys than it may have");
	is_deeply(
		[ sort keys %key ],
		[ sort map { "many_$_" } 1 .. 600 ],
		"$service: each deployment is in one");
}

# The rate is obeyed from the start, so that nothing is ever refused
$cloud->set('cloudflare', rate => 40, bucket => 25);
copy_adapter('cloudflare', 'paced', rate => 36, burst => 8, batch_max => 24);
$cloud->clear;

my $refused = $cloud->state('cloudflare')->{refused};

my $began = time();
only('cloudflare', 'ten_2', 'paced');
flip();
catches_up('cloudflare');

my @paced = $cloud->requests('cloudflare');

cmp_ok(scalar @paced, '>=', 50, 'paced: twice 600 deployments, 24 at a time');
is($cloud->state('cloudflare')->{refused}, $refused, 'paced: none refused');
cmp_ok($paced[-1]{time} - $began,
	'>', (@paced - 8) / 36, 'paced: no faster than the rate');

# Without a rate of our own, what the service says is obeyed
$cloud->set('cloudflare', rate => 1000, bucket => 1000);
copy_adapter('cloudflare', 'hasty',
	rate => undef,
	settle => '0',
	batch_max => 50);
only('cloudflare', 'ten_2', 'hasty');
$cloud->set('cloudflare', rate => 3, bucket => 3);
$cloud->clear;
flip();
catches_up('cloudflare');

my @hasty = $cloud->requests('cloudflare');
my ($first) = grep { $_->{status} == 429 } @hasty;
my $pause = $first->{answer}{'Retry-After'};

# Those that were under way when the answer came are none of its business
my @early = grep {
	$_->{time} > $first->{time} && $_->{time} < $first->{time} + $pause - 0.05
} @hasty;

ok($first, 'hasty: the service has had enough');
cmp_ok(scalar @early, '<', 8, 'hasty: so it is left alone for as long as it says');
is(failures(), '0', 'hasty: no message is blamed, however often it is refused');

# Some are sent once more where the answer came too late: those that bring nothing
# new do not count
my (%taken, @bringing);
for my $request (grep { $_->{status} == 200 } @hasty)
{
	push @bringing, $request if grep { !$taken{$_}++ } @{ keys_of($request) };
}
is_deeply([ sort keys %taken ], [ sort map { "many_$_" } 1 .. 600 ], 'hasty: 600 deployments, each is in one');
is((grep { @{ keys_of($_) } > 50 } @hasty) + 0, 0, 'hasty: at most 50 at a time');
cmp_ok(scalar @bringing, '<=', 24, 'hasty: and not one by one');

# A status of success with "success": false in the body is none
$cloud->set(
	'cloudflare',
	rate => 1000,
	bucket => 1000,
	times => 1000,
	answer => { success => JSON::PP::false });
only('cloudflare', 'ten_1', 'hasty', 'silent');
is(verdict($node, '500 ms'), 'waiting_edges', 'a failure with status 200 is one');
ok( $node->poll_query_until(
		'postgres', q{
		SELECT last_status = 200 AND last_error ~ 'success'
		FROM miosa.stat_endpoint WHERE name = 'cloudflare'}),
	'and is distinguished from others')
  or diag state_of('cloudflare');
$cloud->set('cloudflare', times => 0);
is(verdict($node, '180 s'), 'converged', 'delivered when it is over');
is(failures(), '0', 'and no message is blamed');

# Too many invalidations at a time are answered with 400, which is no fault of
# the message; and what was done but not answered is not done twice
$cloud->set('cloudfront', most => 2, seconds => 0.25);
only('cloudfront', 'ten_2');
is(failures(), '0', 'cloudfront: no message is blamed for 400');
cmp_ok($cloud->state('cloudfront')->{refused},
	'>', 0, 'cloudfront: it was busy');
$cloud->set('cloudfront', most => 15);
$number++;
# No repeat of what was sent before may come between
copy_adapter('cloudfront', 'once', settle => '0');
only('cloudfront', 'ten_1', 'once');

my $before = $cloud->state('cloudfront');

$cloud->set('cloudfront', times => 1, answer => { status => 500 });
operate($node, 'promote', "ver_$number");
is(verdict($node, '180 s'), 'converged', 'cloudfront: delivered at the second try');

my $after = $cloud->state('cloudfront');

is_deeply(
	[ map { $after->{$_} - $before->{$_} } qw(calls repeated) ],
	[ 1, 1 ],
	'cloudfront: invalidated once');

# A token that is changed there and not yet here holds everything up
only('fastly', 'ten_1');
$cloud->set('fastly', secret => 'another-token');
operate($node, 'rollback', 'ver_1');
is(verdict($node, '500 ms'), 'waiting_edges', 'an outdated token is waited for');
is(failures(), '0', 'and no message is blamed');
sql("UPDATE miosa.secrets SET value = 'another-token' WHERE name = 'fastly'");
is(verdict($node, '180 s'), 'converged', 'delivered with the new one');

# Every character that is encoded in a path, the token of a session, and a body
# are signed as others sign them
my $odd = join '', map { sprintf '%%%02X', $_ }
  grep { chr !~ m{[A-Za-z0-9._~/-]} } 0x20 .. 0x7e;

sql(qq(INSERT INTO miosa.adapters (name, signer, signer_options, request)
	VALUES ('odd', 'sigv4', '{"service": "s3", "region": "eu-central-1"}',
	'{"method": "PUT", "path": "/a$odd/{deployment_id}", "body": "b={version_id}"}')));
only('s3', 'ten_1', 'odd', 'silent');
is(verdict($node, '180 s'), 'converged', 's3: signed')
  or diag explain $cloud->state('s3');
is($cloud->state('s3')->{error}, undef, 's3: each time');
like(($cloud->requests('s3'))[-1]{raw}, qr{^PUT /bucket/a\Q$odd\E/dep_1 }, 's3: and sent like that');

# A request as it should be: method and path, headers, and a body if any.
sub request
{
	my ($service, $first, @line) = @_;
	my $body = @line && $line[-1] =~ /^\{/ ? pop @line : '';
	my ($port) = $cloud->url($service) =~ /:(\d+)$/;

	push @line, 'Content-Length: ' . length $body if $body;
	return join("\r\n",
		"$first HTTP/1.1", "Host: 127.0.0.1:$port",
		"User-Agent: $agent", @line, '', $body);
}

# The same for CloudFront; the signature is what the server has checked.
sub cloudfront_request
{
	my ($got) = @_;
	my $epoch = newest_epoch();
	my ($port) = $cloud->url('cloudfront') =~ /:(\d+)$/;
	my $body =
		'<?xml version="1.0" encoding="UTF-8"?><InvalidationBatch xmlns='
	  . '"http://cloudfront.amazonaws.com/doc/2020-05-31/"><Paths><Quantity>1'
	  . '</Quantity><Items><Path>/*</Path></Items></Paths><CallerReference>'
	  . "dep_1\@$epoch</CallerReference></InvalidationBatch>";

	return join("\r\n",
		"POST $path{cloudfront}/invalidation HTTP/1.1",
		"Host: 127.0.0.1:$port",
		"Authorization: $got->{headers}{authorization}",
		"X-Amz-Date: $got->{headers}{'x-amz-date'}",
		"User-Agent: $agent",
		'Accept: */*',
		'Content-Type: text/xml',
		'x-amz-content-sha256: ' . sha256_hex($body),
		'Content-Length: ' . length $body,
		'', $body);
}

sub newest_epoch
{
	return sql("SELECT max(epoch) FROM miosa.route_log WHERE kind = 'route'");
}

# Promote all that ten_2 has, in one transaction.
sub flip
{
	my $version = $flips++ % 2 ? 'ver_1' : 'ver_2';

	sql("SELECT count(miosa_promote('many_' || i, '$version'))
		FROM generate_series(1, 600) i");
	return;
}

sub keys_of
{
	my ($request) = @_;
	my $body = decode_json($request->{body});

	return $body->{surrogate_keys} // $body->{tags};
}

# A shipped adapter with other limits.
sub copy_adapter
{
	my ($from, $name, %change) = @_;
	my $json =
	  encode_json({ name => $name, builtin => JSON::PP::false, %change });

	sql("INSERT INTO miosa.adapters
		SELECT (jsonb_populate_record(a, '$json')).*
		FROM miosa.adapters a WHERE name = '$from'");
	return;
}

sub failures
{
	return sql('SELECT count(*) FROM miosa.delivery_failures');
}

# There is one endpoint, for one customer's deployments; it has acknowledged
# all there is, unless it does not answer.
sub only
{
	my ($service, $tenant, $adapter, $silent) = @_;

	$adapter //= $adapter{$service} // $service;
	sql("SELECT miosa_remove_endpoint(name) FROM miosa.endpoints");
	MiosaTest::wait_sql($node, 'SELECT count(*) FROM miosa.endpoint_stats()', 0);
	$cloud->catch_up;
	sql("SELECT miosa_put_endpoint('$service', '$adapter', '"
		  . $cloud->url($service)
		  . "$path{$service}', secret => '$service',
		selector => '{\"tenant\": \"$tenant\"}')");
	catches_up($service) unless $silent;
	return;
}

# Wait until an endpoint has acknowledged all there is.
sub catches_up
{
	my ($service) = @_;

	poll_until(
		sub {
			sql("SELECT v.epochs_behind = 0 AND v.state <> 'resyncing'
				AND NOT EXISTS (SELECT FROM miosa.outbox)
				FROM miosa.stat_endpoint v JOIN miosa.endpoints e USING (name)
				JOIN miosa.endpoint_stats() s ON s.endpoint = e.name AND s.generation = e.generation
				WHERE v.name = '$service'") eq 't';
		},
		180) or die "$service has not acknowledged all: " . state_of($service);
	return;
}

sub state_of
{
	my ($service) = @_;

	return sql("SELECT to_jsonb(s) FROM miosa.stat_endpoint s
		WHERE name = '$service'");
}

sub sql
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

done_testing();
