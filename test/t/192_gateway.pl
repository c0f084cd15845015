#
# The HTTP face: docs/sql/gateway.sql behind a gateway that follows PostgREST's
# conventions, called with the client library that users of it have. Every
# answer has the bodies and statuses of the platform's API.
#
use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(hmac_sha256);
use IPC::Run qw(run);
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64url);
use MiosaHttp qw(http);
use MiosaNode;
use MiosaServer;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'x' x 32;
# Nothing listens there: storage that does not answer.
my $silent = MiosaServer::free_port();
my $node = make_node('gateway', <<"EOC");
listen_addresses = '127.0.0.1'
miosa_rollback.trusted_gateways = 'authenticator'
EOC

$node->psql('postgres', undef,
	extra_params => [ '-v', 'ON_ERROR_STOP=1', '-f', 'docs/sql/gateway.sql' ]) == 0
  or die "docs/sql/gateway.sql fails\n";
$node->safe_psql('postgres', <<"EOS");
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE web_operator NOLOGIN IN ROLE miosa_operator;
CREATE ROLE web_nobody NOLOGIN;
GRANT web_operator, web_nobody TO authenticator;
GRANT USAGE ON SCHEMA miosa_gateway TO web_nobody;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_deployment('dep_2', 'ten_1', 'docs');
SELECT miosa_put_deployment('dep_3', 'ten_1', 'blog');
SELECT miosa_put_version('dep_1', 'ver_' || i, i) FROM generate_series(1, 3) i;
SELECT miosa_put_version('dep_1', 'ver_4', 4, state => 'building');
SELECT miosa_put_version('dep_1', 'ver_5', 5, storage_uri => 's3://artifacts/dep_1/ver_5');
SELECT miosa_put_version('dep_1', 'ver_6', 6, storage_uri => 'http://127.0.0.1:$silent/ver_6');
SELECT miosa_put_version('dep_2', 'ver_1', 1);
SELECT miosa_put_version('dep_3', 'ver_' || i, i) FROM generate_series(1, 2) i;
SELECT miosa_promote('dep_1', 'ver_' || i) FROM generate_series(1, 3) i;
SELECT miosa_promote('dep_3', 'ver_' || i) FROM generate_series(1, 2) i;
UPDATE miosa.releases SET collected_at = now(), collected_by = 'test' WHERE deployment_id = 'dep_1' AND deployment_version_id = 'ver_5';
ALTER ROLE authenticator SET miosa_rollback.lock_wait = '200 ms';
EOS

my $gateway = MiosaNode->new(
	dir => PostgreSQL::Test::Utils::tempdir_short() . '/gateway',
	script => 'postgrest',
	services => ['postgrest']);
{
	local %ENV = (
		%ENV,
		PGHOST => '127.0.0.1',
		PGPORT => $node->port,
		PGDATABASE => 'postgres',
		PGUSER => 'authenticator');

	$gateway->start;
}
my $url = $gateway->url('postgrest');

$gateway->set(
	'postgrest',
	secret => $secret,
	schema => 'miosa_gateway',
	pre_request => 'miosa_gateway.pre_request');

# A token as an identity provider makes it.
sub token
{
	my (%claim) = @_;
	my $text = join '.', map { encode_base64url(encode_json($_)) }
	  { alg => 'HS256', typ => 'JWT' },
	  { role => 'web_operator', sub => 'user_42', %claim };

	return "$text." . encode_base64url(hmac_sha256($text, $secret));
}

# What the client library makes of the answer to a call.
sub call
{
	my ($fn, $args, %more) = @_;
	my $line = encode_json(
		{ fn => $fn, args => $args // {}, token => token(), %more });
	my ($out, $err);

	run([ 'node', 'test/js/supabase.js', $url ],
		'<', \"$line\n", '>', \$out, '2>', \$err)
	  or die "the client fails: $err\n";
	return decode_json($out);
}

# Headers that the gateway has answered the last call with.
sub last_headers
{
	return ($gateway->requests('postgrest'))[-1]{answer};
}

# Fields of the platform's objects: those that the strictest client refuses an
# object without, those that may be null, and those that may be absent but not
# null.
my %shape = (
	deployment => {
		needed => [qw(id tenant_id name slug state)],
		nullable => [
			qw(owner_id workspace_id project_id repo_url repo_provider branch
			  build_command run_command runtime_image current_build_id
			  active_version_id active_release_id running_artifact_sha256
			  source_type custom_domain_id linked_database_id deployment_product
			  external_workspace_id external_user_id external_project_id
			  public_url auto_subdomain created_at updated_at)
		],
		present => [qw(auto_deploy metadata)],
		objects => [qw(metadata)],
		words => { state => [qw(pending building running stopped failed)] },
	},
	version => {
		needed =>
		  [qw(id deployment_id tenant_id version_number kind state)],
		nullable => [
			qw(created_by source_sandbox_id build_id workspace_id project_id
			  external_workspace_id external_user_id external_project_id
			  artifact_uri artifact_sha256 source_sha256 runtime_image
			  runtime_command health_check_path runtime_port build_log_uri
			  promoted_at archived_at created_at updated_at)
		],
		present => [qw(artifact_manifest metadata)],
		objects => [qw(artifact_manifest metadata)],
		words => {
			kind => [qw(static dynamic sandbox_backed)],
			state => [qw(created building ready failed archived)]
		},
	},
	event => {
		needed => [
			qw(id tenant_id actor_id actor_type action resource resource_type
			  resource_id metadata created_at inserted_at)
		],
		nullable => ['ip_address'],
		present => [],
		objects => ['metadata'],
		words => {},
	});

# What is wrong with an object of that kind; empty: nothing.
sub faults
{
	my ($kind, $object) = @_;
	my $shape = $shape{$kind};
	my @fault;

	return ('it is no object') unless ref $object eq 'HASH';
	push @fault, map { "$_ is missing or null" }
	  grep { !defined $object->{$_} } @{ $shape->{needed} };
	push @fault, map { "$_ is missing" }
	  grep { !exists $object->{$_} } @{ $shape->{nullable} };
	push @fault, map { "$_ is null" }
	  grep { exists $object->{$_} && !defined $object->{$_} }
	  @{ $shape->{present} };
	push @fault, map { "$_ is no object" }
	  grep { defined $object->{$_} && ref $object->{$_} ne 'HASH' }
	  @{ $shape->{objects} };
	for my $field (sort keys %{ $shape->{words} })
	{
		push @fault, "$field is \"$object->{$field}\""
		  unless grep { $_ eq $object->{$field} } @{ $shape->{words}{$field} };
	}
	push @fault, map { "$_ is no time in UTC" }
	  grep { /_at$/ && defined $object->{$_} &&
		  $object->{$_} !~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/ }
	  keys %$object;
	return @fault;
}

# Answers that succeed: function, arguments, options; what data is.
for my $case (
	[ 'rollback', { deployment_id => 'dep_1', version_id => 'ver_2' }, {}, 'deployment' ],
	[ 'rollback', { deployment_id => 'dep_3' }, {}, 'deployment' ],
	[ 'promote', { deployment_id => 'dep_1', version_id => 'ver_3' }, {}, 'deployment' ],
	[ 'deployment', { deployment_id => 'dep_1' }, { get => JSON::PP::true }, 'deployment' ],
	[ 'version', { deployment_id => 'dep_1', version_id => 'ver_1' }, { get => JSON::PP::true }, 'version' ],
	[ 'versions', { deployment_id => 'dep_1' }, { get => JSON::PP::true }, ['version'] ],
	[ 'versions', { deployment_id => 'dep_1', limit => 2 }, {}, ['version'] ],
	[ 'versions', { deployment_id => 'dep_1', state => 'building' }, {}, ['version'] ],
	[ 'audit_log', { resource_id => 'dep_1' }, { get => JSON::PP::true }, ['event'] ],
	[ 'audit_log', { resource_id => 'dep_1', limit => 2 }, {}, ['event'] ],
	[ 'audit_log', { actor_id => 'user_42', action => 'deployment.rollback', resource_type => 'deployment' }, {}, ['event'] ])
{
	my ($fn, $args, $more, $kind) = @$case;
	my $answer = call($fn, $args, %$more);
	my $data = $answer->{data}{data};
	my $name = "$fn " . JSON::PP->new->canonical->encode($args);
	my @object = ref $kind ? @{ $data // [] } : ($data);

	$kind = $kind->[0] if ref $kind;
	is($answer->{status}, 200, "$name: 200") or diag explain $answer;
	ok(scalar @object, "$name: there is data");
	is(scalar @object, $args->{limit}, "$name: no more than that") if $args->{limit};
	is(join('; ', map { faults($kind, $_) } @object), '', "$name: $kind");
	ok(exists $answer->{data}{next_cursor}, "$name: next_cursor")
	  if ref $case->[3];
}
is_deeply(
	call('audit_log', { resource_type => 'workspace' })->{data},
	{ data => [], next_cursor => undef },
	'an audit log of other resources is empty');

# The caller of the platform names the actor; what gateways forward is the
# token's user, or its key.
sub last_actor
{
	return $node->safe_psql('postgres', <<'EOS');
SELECT actor_type || ':' || actor_id FROM miosa.audit_events
WHERE deployment_id = 'dep_1' ORDER BY seq DESC LIMIT 1
EOS
}
is(last_actor(), 'user:user_42', 'the actor is the user of the token');
call('promote', { deployment_id => 'dep_1', version_id => 'ver_3' },
	token => token(sub => undef, key_id => 'key_7'));
is(last_actor(), 'api_key:key_7', 'or its key');

# The same key, quoted or bare, in whatever capitals, is one request.
my %key = map { $_ => { 'Idempotency-Key' => $_ } } 'k-1', '"k-1"';
my $first = call('rollback', { deployment_id => 'dep_1', version_id => 'ver_1' },
	headers => $key{'k-1'});
is(last_headers()->{'Idempotent-Replayed'}, undef, 'a first call is no replay');
for my $header ($key{'k-1'}, $key{'"k-1"'}, { 'idempotency-key' => 'k-1' })
{
	my ($name, $value) = %$header;
	my $again = call('rollback', { deployment_id => 'dep_1', version_id => 'ver_1' },
		headers => $header);

	is_deeply($again->{data}, $first->{data}, "$name: $value is answered the same");
	is(last_headers()->{'Idempotent-Replayed'}, 'true', '... as a replay');
}

# Answers that refuse: status, code, function, arguments, options.
for my $case (
	[ 404, 'NOT_FOUND', 'rollback', { deployment_id => 'dep_9' } ],
	[ 404, 'NOT_FOUND', 'rollback', { deployment_id => 'dep_1', version_id => 'ver_9' } ],
	[ 404, 'NOT_FOUND', 'rollback', { deployment_id => 'dep_2', version_id => 'ver_2' } ],
	[ 404, 'NOT_FOUND', 'deployment', { deployment_id => 'dep_9' }, get => JSON::PP::true ],
	[ 404, 'NOT_FOUND', 'versions', { deployment_id => 'dep_9' }, get => JSON::PP::true ],
	[ 400, 'INVALID_ID', 'rollback', { deployment_id => 'dep 1' } ],
	[ 400, 'INVALID_ID', 'promote', { deployment_id => 'dep_1', version_id => 'x/y' } ],
	[ 400, 'INVALID_ID', 'deployment', { deployment_id => '' } ],
	[ 400, 'MISSING_PARAM', 'rollback', {} ],
	[ 400, 'MISSING_PARAM', 'promote', { deployment_id => 'dep_1' } ],
	[ 400, 'MISSING_PARAM', 'versions', {} ],
	[ 422, 'VALIDATION_ERROR', 'rollback', { deployment_id => 'dep_1', cutover => 'later' } ],
	[ 422, 'VALIDATION_ERROR', 'versions', { deployment_id => 'dep_1', limit => 0 } ],
	[ 422, 'VALIDATION_ERROR', 'versions', { deployment_id => 'dep_1', state => 'odd' } ],
	[ 422, 'VALIDATION_ERROR', 'versions', { deployment_id => 'dep_1', cursor => 'odd' } ],
	[ 422, 'VALIDATION_ERROR', 'rollback', { deployment_id => 'dep_1', version_id => 'ver_1' }, headers => { 'Idempotency-Key' => '""' } ],
	[ 409, 'IDEMPOTENCY_PAYLOAD_MISMATCH', 'rollback', { deployment_id => 'dep_1', version_id => 'ver_2' }, headers => $key{'k-1'} ],
	[ 409, 'VERSION_NOT_READY', 'promote', { deployment_id => 'dep_1', version_id => 'ver_4' } ],
	[ 409, 'NO_PREVIOUS_VERSION', 'rollback', { deployment_id => 'dep_2' } ],
	[ 409, 'ROLLBACK_REPEATED', 'rollback', { deployment_id => 'dep_1' } ],
	[ 410, 'ARTIFACT_GONE', 'rollback', { deployment_id => 'dep_1', version_id => 'ver_5' } ],
	[ 412, 'ACTIVE_VERSION_CHANGED', 'rollback', { deployment_id => 'dep_1', version_id => 'ver_2', expected_active => 'ver_3' } ],
	[ 503, 'STORAGE_UNAVAILABLE', 'rollback', { deployment_id => 'dep_1', version_id => 'ver_6' } ],
	# PostgREST's own
	[ 403, '42501', 'rollback', { deployment_id => 'dep_1' }, token => token(role => 'web_nobody') ],
	[ 401, 'PGRST302', 'rollback', { deployment_id => 'dep_1' }, token => undef ],
	[ 401, 'PGRST301', 'rollback', { deployment_id => 'dep_1' }, token => token() . 'x' ],
	[ 404, 'PGRST202', 'rollback', { deployment => 'dep_1' } ])
{
	my ($status, $code, $fn, $args, @more) = @$case;
	my $answer = call($fn, $args, @more);
	my $name = "$fn " . JSON::PP->new->canonical->encode($args);
	my $error = $answer->{error};

	is("$answer->{status} $error->{code}", "$status $code", "$name: $status $code")
	  or diag explain $answer;
	is_deeply([ sort keys %$error ], [qw(code details hint message)],
		'... in the form of an error')
	  or diag explain $error;
	is(last_headers()->{'Retry-After'} ? 1 : 0, $status == 503 ? 1 : 0,
		'... with Retry-After where that helps');
}

# The page, as a browser asks for it, in a transaction that may not write.
sub page
{
	my ($query, %header) = @_;
	my ($port) = $url =~ /:(\d+)/;

	return http(port => $port, path => "/rpc/page$query",
		headers => { Authorization => 'Bearer ' . token(), Accept => 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8', %header });
}
my $page = page('');
is("$page->{status} $page->{headers}{'content-type'}", '200 text/html', 'the page is HTML');
like($page->{body}, qr{^<!DOCTYPE html>.*<h1 id="headline">.*</html>\n\z}s, '... and whole');
like(page('?deployment=shop')->{body}, qr{<p id="deployment"><strong><bdi>shop</bdi></strong> <small><bdi>dep_1</bdi>}, 'the page of one deployment');
is(page('?deployment=nosuch')->{status}, 404, '... which may not be there');
is(page('', Accept => 'application/json')->{status}, 406, 'there is no JSON of it');

# A deployment that another transaction holds
my $holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; SELECT FROM miosa.deployments WHERE id = 'dep_1' FOR UPDATE});
my $busy = call('rollback', { deployment_id => 'dep_1', version_id => 'ver_2' });
is("$busy->{status} $busy->{error}{code}", '423 DEPLOYMENT_BUSY', 'it is busy');
is(last_headers()->{'Retry-After'}, '1', '... and says when to come back');
$holder->query_safe('ROLLBACK');

# Conflicts between transactions are the server's errors for SQL, and an answer
# that clients repeat for HTTP.
$node->safe_psql('postgres', q{ALTER ROLE authenticator SET miosa_rollback.lock_wait = '60 s'});
$gateway->set('postgrest', isolation => 'REPEATABLE READ');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'authenticator'});
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'authenticator'}) or die "sessions do not end\n";
# The gateway knows that they have ended when it has answered this
$gateway->catch_up;
$holder->query_safe(q{BEGIN; UPDATE miosa.deployments SET name = 'Shop' WHERE id = 'dep_1'});
my $input = PostgreSQL::Test::Utils::tempdir_short() . '/call';
append_to_file(
	$input,
	encode_json({
			fn => 'rollback',
			token => token(),
			args => { deployment_id => 'dep_1', version_id => 'ver_2' }
		}) . "\n");
my ($out, $err) = ('', '');
my $client = IPC::Run::start([ 'node', 'test/js/supabase.js', $url ],
	'<', $input, '>', \$out, '2>', \$err);
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'authenticator' AND wait_event_type = 'Lock'}),
	'a request waits for the deployment');
$holder->query_safe('COMMIT');
$client->finish;
my $conflict = decode_json($out);
is("$conflict->{status} $conflict->{error}{code}", '409 CONFLICT',
	'its transaction cannot go on') or diag explain $conflict, $err;
like($conflict->{error}{hint}, qr/again/, '... and says to repeat the request');
$holder->quit;

done_testing();
