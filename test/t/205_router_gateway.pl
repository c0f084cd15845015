#
# PostgREST in front of a router: docs/sql/gateway.sql in the router's database,
# behind a gateway that follows PostgREST's conventions, called with the client
# library that users of it have. Statuses, codes and headers are those of one
# server; a shard that is down is 503 with Retry-After.
#
use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(hmac_sha256);
use IPC::Run qw(run);
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64url);
use MiosaNode;
use MiosaRouter;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $secret = 'x' x 32;
# Requests log in on a shard as the role of the token.
my $settings = <<'EOC';
listen_addresses = '127.0.0.1'
miosa_rollback.trusted_gateways = 'web_operator'
miosa_rollback.lock_wait = '200 ms'
EOC
my $node = make_node('here', $settings);
my $other = make_node('there', $settings);
my $router = MiosaRouter->new($node, [ s0 => $node ], [ s1 => $other ]);
my %id = map { $_ => $router->here($_) } qw(s0 s1);
my %second = map { $_ => $router->here($_, 2) } qw(s0 s1);

$_->safe_psql('postgres', <<'EOS') for $node, $other;
CREATE ROLE web_operator LOGIN IN ROLE miosa_operator;
EOS
$node->safe_psql('postgres', <<'EOS');
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE web_nobody NOLOGIN;
GRANT web_operator, web_nobody TO authenticator;
EOS
is($node->psql('router', undef, extra_params => [ '-v', 'ON_ERROR_STOP=1', '-f', 'docs/sql/gateway.sql' ]), 0,
	'gateway.sql runs in the database of a router');
$router->sql('GRANT USAGE ON SCHEMA miosa_gateway TO web_nobody');
$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");
for my $id (values %id, values %second)
{
	$router->sql("SELECT miosa_put_deployment('$id', 'ten_1')");
	$router->sql("SELECT miosa_put_version('$id', 'v$_', $_)") for 1 .. 3;
	$router->sql("SELECT miosa_put_version('$id', 'v4', 4, state => 'building')");
}
$router->sql("SELECT miosa_promote('$_', 'v1'); SELECT miosa_promote('$_', 'v2'); SELECT miosa_promote('$_', 'v3')") for values %id;

my $gateway = MiosaNode->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/gateway', script => 'postgrest', services => ['postgrest']);
{
	local %ENV = (%ENV, PGHOST => '127.0.0.1', PGPORT => $node->port, PGDATABASE => 'router', PGUSER => 'authenticator');

	$gateway->start;
}
$gateway->set('postgrest', secret => $secret, schema => 'miosa_gateway', pre_request => 'miosa_gateway.pre_request');

# A token as an identity provider makes it.
sub token
{
	my (%claim) = @_;
	my $text = join '.', map { encode_base64url(encode_json($_)) } { alg => 'HS256', typ => 'JWT' },
	  { role => 'web_operator', sub => 'user_42', %claim };

	return "$text." . encode_base64url(hmac_sha256($text, $secret));
}

# What the client library makes of the answer to a call.
sub call
{
	my ($fn, $args, %more) = @_;
	my $line = encode_json({ fn => $fn, args => $args // {}, token => token(), %more });
	my ($out, $err);

	run([ 'node', 'test/js/supabase.js', $gateway->url('postgrest') ], '<', \"$line\n", '>', \$out, '2>', \$err)
	  or die "the client fails: $err\n";
	return decode_json($out);
}

# Headers that the gateway has answered the last call with.
sub last_headers { return ($gateway->requests('postgrest'))[-1]{answer}; }

for my $name (qw(s0 s1))
{
	my $id = $id{$name};

	# Answers that succeed
	for my $case ([ 'rollback', { deployment_id => $id, version_id => 'v2' } ], [ 'promote', { deployment_id => $id, version_id => 'v3' } ],
		[ 'plan', { deployment_id => $id } ], [ 'deployment', { deployment_id => $id }, get => JSON::PP::true ],
		[ 'version', { deployment_id => $id, version_id => 'v1' }, get => JSON::PP::true ],
		[ 'versions', { deployment_id => $id, limit => 2 }, get => JSON::PP::true ],
		[ 'audit_log', { resource_id => $id, limit => 2 }, get => JSON::PP::true ])
	{
		my ($fn, $args, %more) = @$case;
		my $answer = call($fn, $args, %more);

		is($answer->{status}, 200, "$name: $fn: 200") or diag explain $answer;
		ok($answer->{data}{data}, '... with data');
	}
	is($router->shard_sql($name, "SELECT string_agg(DISTINCT actor_type || ':' || actor_id, ' ') FROM miosa.audit_events WHERE deployment_id = '$id' AND actor_type = 'user'"),
		'user:user_42', '... the actor is the user of the token');

	# A key of the header is the key on the shard, and a replay says so.
	my $key = { 'Idempotency-Key' => "k-$name" };
	my $first = call('rollback', { deployment_id => $id, version_id => 'v1' }, headers => $key);
	is(last_headers()->{'Idempotent-Replayed'}, undef, "$name: a first call is no replay");
	is_deeply(call('rollback', { deployment_id => $id, version_id => 'v1' }, headers => $key)->{data}, $first->{data}, '... the second one is answered the same');
	is(last_headers()->{'Idempotent-Replayed'}, 'true', '... as a replay');

	# Answers that refuse: status and code
	for my $case ([ 404, 'NOT_FOUND', 'rollback', { deployment_id => "$id-nothere" } ],
		[ 404, 'NOT_FOUND', 'rollback', { deployment_id => $id, version_id => 'v9' } ],
		[ 400, 'INVALID_ID', 'rollback', { deployment_id => 'dep 1' } ],
		[ 400, 'MISSING_PARAM', 'rollback', {} ],
		[ 400, 'MISSING_PARAM', 'promote', { deployment_id => $id } ],
		[ 422, 'VALIDATION_ERROR', 'rollback', { deployment_id => $id, cutover => 'later' } ],
		[ 409, 'IDEMPOTENCY_PAYLOAD_MISMATCH', 'rollback', { deployment_id => $id, version_id => 'v2' }, headers => $key ],
		[ 409, 'VERSION_NOT_READY', 'promote', { deployment_id => $id, version_id => 'v4' } ],
		[ 409, 'NO_PREVIOUS_VERSION', 'rollback', { deployment_id => $second{$name} } ],
		[ 412, 'ACTIVE_VERSION_CHANGED', 'rollback', { deployment_id => $id, version_id => 'v2', expected_active => 'v3' } ],
		[ 403, '42501', 'rollback', { deployment_id => $id }, token => token(role => 'web_nobody') ],
		[ 401, 'PGRST302', 'rollback', { deployment_id => $id }, token => undef ])
	{
		my ($status, $code, $fn, $args, @more) = @$case;
		my $answer = call($fn, $args, @more);

		is("$answer->{status} $answer->{error}{code}", "$status $code", "$name: $fn " . JSON::PP->new->canonical->encode($args) . ": $status $code")
		  or diag explain $answer;
		is_deeply([ sort keys %{ $answer->{error} } ], [qw(code details hint message)], '... in the form of an error');
		is(last_headers()->{'Retry-After'}, undef, '... without Retry-After');
	}

	# A deployment that another transaction holds
	my $holder = ($name eq 's0' ? $node : $other)->background_psql($name);
	$holder->query_safe("BEGIN; SELECT FROM miosa.deployments WHERE id = '$id' FOR UPDATE");
	my $busy = call('rollback', { deployment_id => $id, version_id => 'v3' });
	is("$busy->{status} $busy->{error}{code}", '423 DEPLOYMENT_BUSY', "$name: it is busy");
	is(last_headers()->{'Retry-After'}, '1', '... and says when to come back');
	$holder->query_safe('ROLLBACK');
	$holder->quit;
}

# Refusals of the router itself
$router->sql("INSERT INTO miosa_router.moves (deployment_id, source, target, number) VALUES ('$second{s0}', 0, 1, 1)");
my $moving = call('rollback', { deployment_id => $second{s0} });
is("$moving->{status} $moving->{error}{code}", '423 DEPLOYMENT_BUSY', 'a deployment that is being moved is busy');
is(last_headers()->{'Retry-After'}, '1', '... and says when to come back');
$router->sql('DELETE FROM miosa_router.moves');

# What a function tells the gateway besides its result.
is($router->sql("BEGIN; SET LOCAL request.method = 'POST'; SET LOCAL response.headers = '[{\"a\": \"b\"}]';
	SELECT miosa_rollback('$id{s1}', 'v1', 'k-s1') IS NULL; SELECT current_setting('response.headers'); COMMIT"),
	qq(f\n[{"a": "b"}, {"Idempotent-Replayed": "true"}]), 'headers that the pre-request has set stay');
is($router->sql("BEGIN; SET LOCAL request.method = 'POST'; SELECT miosa_try_rollback('$id{s1}', 'v9') #>> '{error,code}'; SELECT current_setting('response.status'); COMMIT"),
	"VERSION_NOT_FOUND\n404", 'the status of a refusal that was returned is passed on');

# The script of the router can be run again while the gateway's functions depend
# on it.
is(($node->psql('router', "\\i $MiosaRouter::contrib/miosa_router.sql"))[0], 0, 'miosa_router.sql runs again');
is(call('deployment', { deployment_id => $id{s1} }, get => JSON::PP::true)->{status}, 200, '... and the gateway goes on');

# A shard that is down
$other->stop('immediate');
my $down = call('rollback', { deployment_id => $id{s1} }, headers => { 'Idempotency-Key' => 'k-down' });
is("$down->{status} $down->{error}{code}", '503 SHARD_UNAVAILABLE', 'a shard that is down is 503');
is(last_headers()->{'Retry-After'}, '1', '... with Retry-After');
like($down->{error}{hint}, qr/same idempotency key/, '... and says to keep the key');
is(call('deployment', { deployment_id => $id{s1} }, get => JSON::PP::true)->{status}, 503, '... also for GET');
is(call('rollback', { deployment_id => $id{s0}, version_id => 'v2' }, headers => { 'Idempotency-Key' => 'k-up' })->{status}, 200, 'the other one goes on');
my $log = call('audit_log', { limit => 3 }, get => JSON::PP::true);
is($log->{status}, 200, 'the audit log of all is answered');
is_deeply($log->{data}{unavailable_shards}, ['s1'], '... and names what is missing');
$other->start;
is(call('rollback', { deployment_id => $id{s1}, version_id => 'v2' }, headers => { 'Idempotency-Key' => 'k-down' })->{status}, 200, 'the repeated request succeeds');

done_testing();
