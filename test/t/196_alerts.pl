# Prometheus's Alertmanager rolls a deployment back: the real one, set up as
# docs/alerts.md says, through a gateway that follows PostgREST's conventions. An
# alert that rolls nothing back goes to hooks, at least once and in order, also
# when the server crashes or the hook is away.

use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(hmac_sha256);
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64 encode_base64url);
use MiosaHttp qw(poll_until);
use MiosaNode;
use MiosaServer;
use MiosaTest qw(make_node wait_sql);
use POSIX qw(strftime);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $jwt_secret = 'x' x 32;
my $secret = 'whsec_' . encode_base64('s' x 32, '');
my $node = make_node('alerts', <<"EOC");
listen_addresses = '127.0.0.1'
miosa_rollback.trusted_gateways = 'authenticator'
EOC

sub sql { return $node->safe_psql('postgres', @_) }

$node->psql('postgres', undef,
	extra_params => [ '-v', 'ON_ERROR_STOP=1', '-f', 'docs/sql/gateway.sql' ]) == 0
  or die "docs/sql/gateway.sql fails\n";
sql(<<"EOS");
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE web_operator NOLOGIN IN ROLE miosa_operator;
GRANT web_operator TO authenticator;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_' || d, 'ten_1', 'shop-' || d) FROM generate_series(1, 2) d;
SELECT miosa_put_version('dep_' || d, 'ver_' || v, v) FROM generate_series(1, 2) d, generate_series(1, 3) v;
SELECT miosa_promote('dep_' || d, 'ver_' || v) FROM generate_series(1, 2) d, generate_series(1, 3) v;
SELECT miosa_put_domain('shop.example.com', 'dep_1');
EOS

my $gateway = MiosaNode->new(dir => "$dir/gateway", script => 'postgrest', services => ['postgrest']);
{
	local %ENV = (%ENV, PGHOST => '127.0.0.1', PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'authenticator');

	$gateway->start;
}
$gateway->set('postgrest', secret => $jwt_secret, schema => 'miosa_gateway', pre_request => 'miosa_gateway.pre_request');

my $hooks = MiosaNode->new(dir => "$dir/hooks", script => 'webhook', services => [ 'receiver', 'elsewhere' ])->start;
$hooks->set('receiver', secrets => [$secret]);
sql(<<"EOS");
INSERT INTO miosa.secrets (name, value) VALUES ('hook', '$secret');
SELECT miosa_put_endpoint('pager', 'alert-webhook', '@{[ $hooks->url('receiver') ]}/pager', secret => 'hook');
SELECT miosa_put_endpoint('second', 'alert-webhook', '@{[ $hooks->url('elsewhere') ]}/second', selector => '{"deployment": "dep_2"}');
EOS

# Alertmanager, with the configuration of the documentation
my ($config) = slurp_file('docs/alerts.md') =~ /^```yaml\n(route:.*?)^```$/ms;
my ($watch) = slurp_file('docs/alerts.md') =~ /^```sql\n(SELECT \* FROM miosa\.watch\(.*?)^```$/ms;
my $token = join '.', map { encode_base64url(encode_json($_)) } { alg => 'HS256', typ => 'JWT' }, { role => 'web_operator', sub => 'alertmanager' };

$token .= '.' . encode_base64url(hmac_sha256($token, $jwt_secret));
append_to_file("$dir/miosa.token", $token);
like($config, qr{http://gateway\.internal:3000/rpc/alert}, 'the documentation has a receiver');
$config =~ s{http://gateway\.internal:3000}{$gateway->url('postgrest')}e;
$config =~ s{/etc/alertmanager/}{$dir/};
$config =~ s{group_interval: 10s}{group_interval: 1s};
append_to_file("$dir/alertmanager.yml", $config);
for my $case ([ 'severity=critical', 'people' ], [ 'miosa_deployment=shop', 'miosa,people' ])
{
	is(`amtool config routes test --config.file=$dir/alertmanager.yml $case->[0] 2>/dev/null`, "$case->[1]\n", "an alert with $case->[0] goes to $case->[1]");
}
my $port = MiosaServer::free_port();
MiosaServer->new(name => 'alertmanager', log => "$dir/alertmanager.log", port => $port)->start(
	'prometheus-alertmanager', "--config.file=$dir/alertmanager.yml", "--storage.path=$dir/alertmanager",
	"--web.listen-address=127.0.0.1:$port", '--cluster.listen-address=');

# Fire an alert, or end it.
sub fire
{
	my ($name, @more) = @_;
	my @command = ('amtool', "--alertmanager.url=http://127.0.0.1:$port", 'alert', 'add', $name, @more);

	is(system(@command), 0, "alert $name: @more") or diag slurp_file("$dir/alertmanager.log");
	return;
}

# What became of an alert, once it came.
sub became
{
	my ($name, $expected) = @_;

	return wait_sql($node, "SELECT string_agg(concat_ws(' ', deployment_id, done, condition), ', ' ORDER BY received_at) FROM miosa.alerts WHERE name = '$name'", $expected);
}

# The alerts that a hook has accepted, each once.
sub raised
{
	my ($service) = @_;
	my %seen;

	return grep { !$seen{ $_->{data}{id} }++ } map { decode_json($_->{body}) }
	  grep { ($_->{status} // 0) =~ /^2/ } $hooks->requests($service);
}

# Whether the hook has the alerts of these names, in this order.
sub has
{
	my ($service, @names) = @_;
	my $names;

	poll_until(sub { $names = join ' ', map { $_->{data}{alert}{alertname} } raised($service); $names eq "@names" }, 180);
	return is($names, "@names", "hook $service has: @names");
}

# The first one rolls back, the second one does not
sql($watch =~ s/'shop'/'shop.example.com'/r);
fire('ErrorRate', 'severity=critical', 'miosa_deployment=shop.example.com', "--annotation=summary=5xx \x{c3}\x{bc}ber 5 %");
is(became('ErrorRate', 'dep_1 rollback'), 'dep_1 rollback', 'an alert rolls back');
is(sql("SELECT concat_ws(' ', target_version_id, actor_type, actor_id, marks #>> '{alert,alertname}', reason) FROM miosa.audit_events
	WHERE deployment_id = 'dep_1' AND action = 'deployment.rollback'"),
	"ver_2 user alertmanager ErrorRate alert ErrorRate: 5xx \x{c3}\x{bc}ber 5 %", 'by the user of the token, with the reason');
fire('Latency', 'severity=critical', 'miosa_deployment=dep_1', 'page=M\x{c3}\x{bc}nchen', '--annotation=summary=p99 above 2 s');
is(became('Latency', 'dep_1 notified'), 'dep_1 notified', 'another one does not');
is(sql("SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'"), 'ver_2', 'what was rolled back to stays');
fire('Disk', 'severity=warning', 'miosa_deployment=dep_2');
has('receiver', 'Latency', 'Disk');
has('elsewhere', 'Disk');
my ($message) = raised('receiver');
is($message->{type}, 'alert.raised', 'the message says what it is');
is_deeply([ @{ $message->{data}{alert} }{qw(deployment_id tenant_id version_id why operation_id)} ],
	[ 'dep_1', 'ten_1', 'ver_2', 'v2 is what an alert has rolled back to', sql("SELECT 'dep_1#' || max(seq) FROM miosa.audit_events WHERE deployment_id = 'dep_1'") ],
	'which deployment, and why');
is($message->{data}{alert}{annotations}{summary}, 'p99 above 2 s', 'with the annotations');
my @state = @{ $hooks->state('receiver')->{messages} };
is(scalar(grep { $_->{good}[0] && !$_->{forgeable} } @state), scalar @state, 'all are signed');

# An alert that ends is recorded, and not sent
fire('Disk', 'severity=warning', 'miosa_deployment=dep_2', strftime('--end=%Y-%m-%dT%H:%M:%SZ', gmtime(time + 10)));
is(wait_sql($node, "SELECT bool_and(resolved_at IS NOT NULL) FROM miosa.alerts WHERE name = 'Disk'", 't'), 't', 'its end is recorded');

# The server is away when an alert fires: Alertmanager sends it again
$node->stop('immediate');
fire('Later', 'severity=critical', 'miosa_deployment=dep_2');
$hooks->set('receiver', answers => [ { status => 503 } ]);
$node->start;
is(became('Later', 'dep_2 notified'), 'dep_2 notified', 'it comes when the server is back');
has('receiver', 'Latency', 'Disk', 'Later');
has('elsewhere', 'Disk', 'Later');

# A deployment that is locked keeps no other one from being rolled back, and is
# recorded
sql("SELECT miosa_watch('dep_2'), miosa_promote('dep_2', 'ver_1')");
my $holder = $node->background_psql('postgres');
$holder->query_safe(q(BEGIN; SELECT FROM miosa.deployments WHERE id = 'dep_1' FOR UPDATE));
is(sql(<<'EOS'), "dep_2 rollback t\ndep_1 notified f\ndep_1 recorded f", 'one of two is locked');
SET miosa_rollback.lock_wait = '3s';
SELECT concat_ws(' ', a ->> 'deployment_id', a ->> 'done', jsonb_typeof(a -> 'operation_id') = 'string')
FROM jsonb_array_elements(miosa_alert(jsonb_build_object('version', '4', 'alerts', (SELECT jsonb_agg(jsonb_build_object(
	'status', s, 'fingerprint', 'f' || d || s, 'startsAt', '2126-03-01T10:00:00Z', 'endsAt', '2126-03-01T10:05:00Z',
	'labels', jsonb_build_object('alertname', 'Busy', 'miosa_deployment', d)) ORDER BY d DESC, s)
	FROM (VALUES ('dep_1', 'firing'), ('dep_1', 'resolved'), ('dep_2', 'firing')) v (d, s)))) #> '{data,alerts}') a
EOS
$holder->query_safe('ROLLBACK');
$holder->quit;
is(sql(q(SELECT string_agg(concat_ws(' ', deployment_id, done, condition, seq IS NOT NULL), ', ' ORDER BY deployment_id, done) FROM miosa.alerts WHERE name = 'Busy')),
	'dep_1 notified DEPLOYMENT_BUSY f, dep_1 recorded f, dep_2 rollback t', 'and all are recorded');
has('receiver', 'Latency', 'Disk', 'Later', 'Busy');

# An alert that a hook never takes keeps no later one from it
$hooks->set('receiver', answers => [ ({ status => 413 }) x 8 ]);
fire('Huge', 'severity=critical', 'miosa_deployment=dep_1');
is(became('Huge', 'dep_1 notified'), 'dep_1 notified', 'an alert that the hook refuses');
fire('After', 'severity=critical', 'miosa_deployment=dep_1');
has('receiver', 'Latency', 'Disk', 'Later', 'Busy', 'After');
like(slurp_file($node->logfile), qr{LOG:  endpoint "pager" has refused alert number \d+ 8 times}, 'the log names it');

# A rollback that is refused is among the refused calls
sql(q(SELECT miosa_put_deployment('dep_3', 'ten_1', 'new'), miosa_put_version('dep_3', 'ver_1', 1), miosa_promote('dep_3', 'ver_1'), miosa_watch('dep_3')));
fire('First', 'severity=critical', 'miosa_deployment=new');
is(became('First', 'dep_3 notified NO_PREVIOUS_VERSION'), 'dep_3 notified NO_PREVIOUS_VERSION', 'a rollback is refused');
is(wait_sql($node, "SELECT concat_ws(' ', function_name, condition, idempotency_key LIKE 'alert:%') FROM miosa.refusals WHERE deployment_id = 'dep_3'", 'public.miosa_alert NO_PREVIOUS_VERSION t'),
	'public.miosa_alert NO_PREVIOUS_VERSION t', 'and recorded like any other one');

# A hook that is added later receives what comes then; it has no part in
# convergence
sql("SELECT miosa_remove_endpoint('second'); SELECT miosa_put_endpoint('third', 'alert-webhook', '@{[ $hooks->url('elsewhere') ]}/third')");
is(wait_sql($node, "SELECT count(*) FROM miosa.alert_receivers WHERE receiver = 'third'", '1'), '1', 'a new hook is known');
is(wait_sql($node, "SELECT count(*) FROM miosa.alert_receivers WHERE receiver = 'second'", '0'), '0', 'one that was removed is forgotten');
fire('Last', 'severity=critical', 'miosa_deployment=nobody');
fire('Most', 'severity=critical', 'miosa_deployment=dep_1');
has('elsewhere', 'Disk', 'Later', 'Most');
is(sql("SELECT count(*) FROM miosa.alerts WHERE name = 'Last'"), '0', 'an alert about another deployment is nothing');
is(sql(q(SELECT miosa_convergence('dep_1') #>> '{data,state}')), 'no_edges', 'hooks for alerts are no edges');
is(wait_sql($node, q(SELECT count(*) FROM miosa.stat_endpoint WHERE state NOT IN ('healthy', 'new')), '0'), '0', 'all are well');
is(sql(q(SELECT miosa_audit_verify_all() #>> '{data,verified}')), 'true', 'the audit trail has all of it');

done_testing();
