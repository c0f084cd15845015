# Sites: a primary site publishes routes, and two replicas deliver them to 200 edges
# of their own each. The primary site counts each as one edge, and says which one is
# behind.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaSites;
use MiosaTest qw(wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $edges = 200;
my $dir = PostgreSQL::Test::Utils::tempdir_short() . '/sink';
my $sink = MiosaSink->new(dir => $dir)->start;
my $sites = MiosaSites->new('home', qw(eu us));
my $primary = $sites->node('home');

# Edges of a replica, which share a receiver and have paths of their own.
sub add_edges
{
	my ($name) = @_;

	$sites->sql_at($name, "INSERT INTO miosa.adapters (name, request) VALUES ('test-edge', '{\"method\": \"PUT\", \"path\": \"/{deployment_id}/{version_id}\"}');
		SELECT count(miosa_put_endpoint('edge-' || n, 'test-edge', '@{[ $sink->url ]}/$name/' || n)) FROM generate_series(1, $edges) n");
	return;
}

# What the edges received last: {site}{deployment}{edge}. The log is read on from
# where the last call left it.
my ($log, %last);

sub newest
{
	my ($name, $deployment) = @_;
	my %count;

	$log //= do { open(my $fh, '<', "$dir/requests") or return ''; $fh };
	while (my $line = <$log>)
	{
		if ($line !~ /\n\z/)
		{
			seek($log, -length $line, 1);
			last;
		}
		$last{$1}{$3}{$2} = $4 if $line =~ m{"path":"/(\w+)/(\d+)/(\w+)/(\w+)"};
	}
	seek($log, 0, 1);
	$count{$_}++ for values %{ $last{$name}{$deployment} };
	return join ' ', map { "$count{$_}x$_" } sort keys %count;
}

# All edges of a replica come to have a version.
sub has
{
	my ($name, $deployment, $version, $what) = @_;

	poll_until(sub { newest($name, $deployment) eq "${edges}x$version" }, 180, 0.05);
	return is(newest($name, $deployment), "${edges}x$version", $what);
}

sub sql { return $sites->sql(@_) }

sub converges
{
	my ($deployment, $what) = @_;

	return is(sql("SELECT miosa_wait_converged('$deployment', '180 s')"), 'converged', $what);
}

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
$sites->publish;
add_edges($_) for qw(eu us);
ok($sites->join($_), "$_ joins") for qw(eu us);
for my $name (qw(eu us))
{
	has($name, "dep_$_", 'v1', "a new replica delivers what there was: dep_$_ at $name") for 1 .. 3;
}
converges('dep_2', 'the primary site hears so');
is(sql("SELECT string_agg(concat_ws('|', endpoint, zone, adapter, state), ' ' ORDER BY zone) FROM miosa.convergence_rows('dep_2')"),
	'site:eu|eu|site|acknowledged site:us|us|site|acknowledged', 'as of one edge each');

# What comes later
sql("SELECT miosa_promote('dep_1', 'v2')");
converges('dep_1', 'a promotion is confirmed');
is(newest($_, 'dep_1'), "${edges}xv2", "and all edges of $_ have it by then") for qw(eu us);
sql("SELECT miosa_rollback('dep_1', 'v1')");
converges('dep_1', 'a rollback too');
is(newest($_, 'dep_1'), "${edges}xv1", "with the same promise: $_") for qw(eu us);
is(wait_sql($primary, "SELECT string_agg(concat_ws('|', site, edges, behind, failures, silent), ' ' ORDER BY site) FROM miosa.replica_sites",
		"eu|$edges|0|0|f us|$edges|0|0|f"), "eu|$edges|0|0|f us|$edges|0|0|f", 'the view shows the sites');
is($sites->node($_)->safe_psql('postgres', 'SELECT coalesce(sum(apply_error_count + sync_error_count), 0) FROM pg_stat_subscription_stats'), 0, "nothing had to be tried again: $_")
  for qw(home eu us);

# Metrics show them, by site
sub metric
{
	my ($name, $site) = @_;

	return sql("SELECT value FROM miosa.metrics WHERE name = 'miosa_site_$name' AND labels = '{\"site\": \"$site\"}'");
}
is(metric($_->[0], 'eu'), $_->[1], "as metrics: $_->[0]") for [ endpoints => $edges ], [ endpoints_behind => 0 ], [ dead_letters => 0 ];
is(wait_sql($primary, "SELECT string_agg(value::text, ' ') FROM miosa.metrics WHERE name = 'miosa_site_epochs_behind'", '0 0'), '0 0', 'as metrics: epochs_behind');

# One site is cut off, serves on, and is shown as behind.  The other one goes on.
$sites->node('us')->stop('immediate');
sql("SELECT miosa_rollback('dep_1', 'v2')");
has('eu', 'dep_1', 'v2', 'the other site goes on');
is(newest('us', 'dep_1'), "${edges}xv1", 'edges of the one that is cut off have what they had');
is(sql("SELECT miosa_wait_converged('dep_1', '0 s')"), 'waiting_edges', 'it is waited for');
is(wait_sql($primary, "SELECT epochs_behind > 0 FROM miosa.replica_sites WHERE site = 'us'", 't'), 't', 'and behind');

cmp_ok(metric('epochs_behind', 'us'), '>', 0, 'so say metrics');
my $age = metric('report_age_seconds', 'us');
ok(poll_until(sub { metric('report_age_seconds', 'us') > $age + 6 }), 'its report gets older than those of the others');

# Nothing else left the primary site
my $eu = $sites->node('eu');
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
my $of_eu = "FROM miosa.replica_sites WHERE site = 'eu'";
$sink->answer('^/eu/7/', status => 503);
sql("SELECT miosa_promote('dep_2', 'v2')");
is(wait_sql($primary, "SELECT behind $of_eu", 1), 1, 'one edge lacks a change');
is(sql("SELECT state FROM miosa.convergence_rows('dep_2') WHERE zone = 'eu'"), 'waiting', 'so the site is not done');
is(metric('endpoints_behind', 'eu'), 1, 'and a metric says so');
$sink->plain;
is(wait_sql($primary, "SELECT state FROM miosa.convergence_rows('dep_2') WHERE zone = 'eu'", 'acknowledged'), 'acknowledged', 'until it has it');
$sink->answer('^/eu/7/dep_3/', status => 422);
sql("SELECT miosa_promote('dep_3', 'v2')");
is(wait_sql($primary, "SELECT failures || ' ' || failed::text $of_eu", '1 {dep_3}'), '1 {dep_3}', 'a refusal is known');
is(sql("SELECT state FROM miosa.convergence_rows('dep_3') WHERE zone = 'eu'"), 'failed', 'and shown for its deployment');
is(metric('dead_letters', 'eu'), 1, 'and in metrics');
is(sql("SELECT fix FROM miosa.primary_site_problems() WHERE seen = 'edges of site \"eu\" refuse deployments: 1 (dep_3)'"),
	q[At that site: TABLE miosa.delivery_failures; when it is repaired: SELECT miosa_redrive('endpoint');], 'the doctor knows it');
$sink->plain;
$eu->safe_psql('postgres', "SELECT miosa_redrive('edge-7')");
is(wait_sql($primary, "SELECT state FROM miosa.convergence_rows('dep_3') WHERE zone = 'eu'", 'acknowledged'), 'acknowledged', 'it is delivered in the end');

# The site that was cut off comes back
is(wait_sql($primary, "SELECT silent FROM miosa.replica_sites WHERE site = 'us'", 't'), 't', 'it is said to be silent');
is(sql("SELECT state, error IS NOT NULL FROM miosa.convergence_rows('dep_1') WHERE zone = 'us'"), 'backing off|t', 'and why it is waited for')
  or diag(sql('SELECT * FROM miosa.sites'));
like($sites->doctor('home'), qr/^fail \| site "us" is silent: .* \| At that site: SELECT \* FROM miosa_doctor\(\); .*DROP SUBSCRIPTION miosa_site_us;.*superuser$/, 'the doctor says so too');
$sites->node('us')->start;
converges("dep_$_", "when it is back, it catches up: dep_$_") for 1 .. 3;
is(newest('us', "dep_$_->[0]"), "${edges}x$_->[1]", "with all edges: dep_$_->[0]") for [ 1, 'v2' ], [ 2, 'v2' ], [ 3, 'v2' ];

# A host that goes away, and a crash of the primary site
sql("SELECT miosa_remove_domain('www.example.com')");
converges('dep_1', 'a host is removed everywhere');
is($sites->sql_at('us', "SELECT count(*) FROM miosa.removed_hosts WHERE host = 'www.example.com'"), 1, 'and remembered there');
$primary->stop('immediate');
$primary->start;
sql("SELECT miosa_rollback('dep_2', 'v1')");
converges('dep_2', 'the primary site comes back');
is(newest($_, 'dep_2'), "${edges}xv1", "site $_ has what happened then") for qw(eu us);

# A replica that is called like the primary site, and one that is given up
my $us = $sites->node('us');
$us->append_conf('postgresql.conf', "miosa_rollback.site = 'home'");
$us->reload;
is(wait_sql($us, 'SELECT miosa.pause_reason()', 'the primary site is called "home" as well'), 'the primary site is called "home" as well', 'a name is taken');
like($us->safe_psql('postgres', "SELECT fix FROM miosa_doctor() WHERE item = 'dispatcher'"), qr/ALTER SYSTEM SET miosa_rollback.site/, 'the doctor says what to do');
like($sites->doctor('us'), qr/^fail \| paused: the primary site is called "home" as well.* \| ALTER SYSTEM SET miosa_rollback.site = 'another name'; SELECT pg_reload_conf\(\); \| superuser$/, 'with its line about sites too');
sql("DROP SUBSCRIPTION miosa_site_us; DELETE FROM miosa.sites WHERE site = 'us'");
sql("SELECT miosa_promote('dep_2', 'v3')");
converges('dep_2', 'one that was given up is not waited for');

done_testing();
