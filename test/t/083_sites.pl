# Sites: a primary site publishes routes, and two replicas deliver them to edges of
# their own. The primary site counts each as one edge, and says which one is behind.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $edges = 20;
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;
my $primary = make_node('primary', "miosa_rollback.site = 'home'\n", allows_streaming => 'logical');
# Each with a system identifier of its own
my %locale = (eu => 'C', us => 'POSIX');
my %replica = map {
	$_ => make_node($_, "miosa_rollback.site = '$_'\nmiosa_rollback.site_role = replica\n", extra => ["--lc-time=$locale{$_}"], allows_streaming => 'logical')
} sort keys %locale;

# Run a file of contrib/sites.
sub run_file
{
	my ($node, $file) = @_;

	is($node->psql('postgres', undef, extra_params => [ '-v', 'ON_ERROR_STOP=1', '-f', "contrib/sites/$file" ]), 0, $file);
	return;
}

# Subscribe one node to a publication of another one.
sub subscribe
{
	my ($node, $name, $origin, $publication) = @_;

	$node->safe_psql('postgres', "CREATE SUBSCRIPTION $name CONNECTION \$\$" . $origin->connstr('postgres') . "\$\$ PUBLICATION $publication WITH (slot_name = '${name}_@{[ $node->name ]}')");
	return;
}

# Both directions between the primary site and a replica.
sub join_site
{
	my ($name) = @_;

	run_file($replica{$name}, 'replica.sql');
	subscribe($replica{$name}, 'miosa_routes', $primary, 'miosa_routes');
	subscribe($primary, "miosa_site_$name", $replica{$name}, 'miosa_site');
	return;
}

# Edges of a replica, and what they received last of a deployment.
sub add_edges
{
	my ($name) = @_;

	$replica{$name}->safe_psql('postgres', "INSERT INTO miosa.adapters (name, request) VALUES ('test-edge', '{\"method\": \"PUT\", \"path\": \"/{deployment_id}/{version_id}\"}');
		SELECT count(miosa_put_endpoint('edge-' || n, 'test-edge', '@{[ $sink->url ]}/$name/' || n)) FROM generate_series(1, $edges) n");
	return;
}

sub newest
{
	my ($name, $deployment) = @_;
	my %last = map { m{^/$name/(\d+)/$deployment/(\w+)$} ? ($1 => $2) : () } map { $_->{path} } $sink->requests("^/$name/");
	my %count;

	$count{$_}++ for values %last;
	return join ' ', map { "$count{$_}x$_" } sort keys %count;
}

# All edges of a replica come to have a version.
sub has
{
	my ($name, $deployment, $version, $what) = @_;

	poll_until(sub { newest($name, $deployment) eq "${edges}x$version" }, 180);
	return is(newest($name, $deployment), "${edges}x$version", $what);
}

sub sql { return $primary->safe_psql('postgres', @_) }

sql(<<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_' || d, 'ten_1', 'shop-' || d) FROM generate_series(1, 3) d;
SELECT miosa_put_version('dep_' || d, 'v' || v, v, storage_uri => 'test://' || v, fields => '{"metadata": {"internal": "hush"}}') FROM generate_series(1, 3) d, generate_series(1, 3) v;
SELECT miosa_promote('dep_' || d, 'v1', 'key-hush', 'hush') FROM generate_series(1, 3) d;
SELECT miosa_put_domain('www.example.com', 'dep_1');
SELECT miosa_put_secret('hush', 'hush');
EOS
# What no log has any longer is copied all the same
wait_sql($primary, 'SELECT count(*) FROM miosa.outbox', 0);
sql('UPDATE miosa.dispatcher_state SET trimmed_epoch = last_epoch; DELETE FROM miosa.route_log');
run_file($primary, 'primary.sql');
add_edges('eu');
join_site('eu');
has('eu', "dep_$_", 'v1', "a new replica delivers what there was: dep_$_") for 1 .. 3;
is(sql("SELECT miosa_wait_converged('dep_2', '180 s')"), 'converged', 'the primary site hears so');
is(sql("SELECT endpoint, zone, adapter, state FROM miosa.convergence_rows('dep_2')"), 'site:eu|eu|site|acknowledged', 'as of one edge');

# What comes later
sql("SELECT miosa_promote('dep_1', 'v2')");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'a promotion is confirmed');
is(newest('eu', 'dep_1'), "${edges}xv2", 'and all edges have it by then');
sql("SELECT miosa_rollback('dep_1', 'v1')");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'a rollback too');
is(newest('eu', 'dep_1'), "${edges}xv1", 'with the same promise');
is(sql("SELECT site, edges, behind, failures, silent FROM miosa.replica_sites"), "eu|$edges|0|0|f", 'the view shows the site');

# Nothing else left the primary site
my $eu = $replica{eu};
is($eu->safe_psql('postgres', 'SELECT (SELECT count(*) FROM miosa.audit_events) + (SELECT count(*) FROM miosa.idempotency_keys) + (SELECT count(*) FROM miosa.secrets)'),
	0, 'no audit event, key or secret is there');
is($eu->safe_psql('postgres', "SELECT count(*) FROM miosa.versions WHERE metadata::text ~ 'hush'"), 0, 'nor what routes do not need');

# A replica is no place for operations
for my $call ("miosa_rollback('dep_1')", "miosa_promote('dep_1', 'v2')", "miosa_put_deployment('dep_9', 'ten_1')", "miosa_resend('dep_1')", "miosa_put_domain('x.example.com', 'dep_1')",
	"miosa_remove_domain('www.example.com')", "miosa_hold('dep_1', 'x')")
{
	$eu->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call", stderr => \my $stderr);
	like($stderr, qr/MR53P.*this site gets its routes from another one.*HINT:  Call the function at the primary site/s, "refused there: $call");
}
is($eu->safe_psql('postgres', "SELECT miosa_plan('dep_1', 'v2') #>> '{data,target_version_id}'"), 'v2', 'a plan works there')
  or diag slurp_file($eu->logfile);

# One edge is behind, and another one refuses a deployment
$sink->answer('^/eu/7/', status => 503);
sql("SELECT miosa_promote('dep_2', 'v2')");
is(wait_sql($primary, 'SELECT behind FROM miosa.replica_sites', 1), 1, 'one edge lacks a change');
is(sql("SELECT miosa_wait_converged('dep_2', '0 s')"), 'waiting_edges', 'so the site is not done');
$sink->plain;
is(sql("SELECT miosa_wait_converged('dep_2', '180 s')"), 'converged', 'until it has it');
$sink->answer('^/eu/7/dep_3/', status => 422);
sql("SELECT miosa_promote('dep_3', 'v2'), miosa_promote('dep_1', 'v3')");
is(wait_sql($primary, 'SELECT failures || $$ $$ || failed::text FROM miosa.replica_sites', '1 {dep_3}'), '1 {dep_3}', 'a refusal is known');
is(sql("SELECT state FROM miosa.convergence_rows('dep_3')"), 'failed', 'and shown for its deployment');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'alone');
$sink->plain;
$eu->safe_psql('postgres', "SELECT miosa_redrive('edge-7')");
is(sql("SELECT miosa_wait_converged('dep_3', '180 s')"), 'converged', 'it is delivered in the end');

# Another replica joins; one is cut off, serves on, and is shown as behind
add_edges('us');
join_site('us');
has('us', "dep_$_->[0]", $_->[1], "a replica that joins delivers dep_$_->[0]") for [ 1, 'v3' ], [ 2, 'v2' ], [ 3, 'v2' ];
is(wait_sql($primary, "SELECT string_agg(site || failures, ' ' ORDER BY site) FROM miosa.replica_sites", 'eu0 us0'), 'eu0 us0', 'both are known')
  or diag($replica{us}->safe_psql('postgres', 'SELECT DISTINCT status, last_error FROM miosa.delivery_failures'));
is($_->safe_psql('postgres', 'SELECT coalesce(sum(apply_error_count + sync_error_count), 0) FROM pg_stat_subscription_stats'), 0, 'nothing had to be tried again: ' . $_->name)
  for ($primary, $eu);
$replica{us}->stop('immediate');
sql("SELECT miosa_rollback('dep_1', 'v2')");
has('eu', 'dep_1', 'v2', 'the other one goes on');
is(sql("SELECT miosa_wait_converged('dep_1', '0 s')"), 'waiting_edges', 'the one that is cut off is waited for');
is(wait_sql($primary, "SELECT epochs_behind > 0 FROM miosa.replica_sites WHERE site = 'us'", 't'), 't', 'and behind');
is(wait_sql($primary, "SELECT silent FROM miosa.replica_sites WHERE site = 'us'", 't'), 't', 'it is said to be silent');
is(sql("SELECT state, error IS NOT NULL FROM miosa.convergence_rows('dep_1') WHERE zone = 'us'"), 'backing off|t', 'and why it is waited for')
  or diag(sql('SELECT * FROM miosa.sites'));
$replica{us}->start;
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'when it is back, it catches up');
is(newest('us', 'dep_1'), "${edges}xv2", 'with all edges');

# A host that goes away, and a crash of the primary site
sql("SELECT miosa_remove_domain('www.example.com')");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'a host is removed everywhere');
is($replica{us}->safe_psql('postgres', "SELECT count(*) FROM miosa.removed_hosts WHERE host = 'www.example.com'"), 1, 'and remembered there');
$primary->stop('immediate');
$primary->start;
sql("SELECT miosa_rollback('dep_2', 'v1')");
is(sql("SELECT miosa_wait_converged('dep_2', '180 s')"), 'converged', 'the primary site comes back');
is(newest($_, 'dep_2'), "${edges}xv1", "site $_ has what happened then") for qw(eu us);

# A replica that is called like the primary site, and one that is given up
$replica{us}->append_conf('postgresql.conf', "miosa_rollback.site = 'home'");
$replica{us}->reload;
is(wait_sql($replica{us}, 'SELECT miosa.pause_reason()', 'the primary site is called "home" as well'), 'the primary site is called "home" as well', 'a name is taken');
like($replica{us}->safe_psql('postgres', "SELECT fix FROM miosa_doctor() WHERE item = 'dispatcher'"), qr/ALTER SYSTEM SET miosa_rollback.site/, 'the doctor says what to do');
sql("DROP SUBSCRIPTION miosa_site_us; DELETE FROM miosa.sites WHERE site = 'us'");
sql("SELECT miosa_promote('dep_2', 'v3')");
is(sql("SELECT miosa_wait_converged('dep_2', '180 s')"), 'converged', 'one that was given up is not waited for');

done_testing();
