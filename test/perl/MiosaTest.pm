#
# What the TAP tests of the edge share: a server with the extension, and a
# small site on a real edge.
#
package MiosaTest;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use MiosaEdge;
use MiosaHttp qw(poll_until);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT_OK =
  qw(is_delivered make_edge make_may_be_refused make_node make_site operate reload_settings
  rows_of_every_kind switch_seconds switches verdict wait_dispatcher wait_ready wait_sql);

# The adapter for each kind of edge, if a test does not say otherwise.
my %adapter = (
	caddy => 'caddy',
	haproxy => 'haproxy-map',
	nginx => 'nginx-cache-purge',
	varnish => 'varnish-xkey');

# A started server with the extension in database "postgres"; init: arguments
# of PostgreSQL::Test::Cluster::init. Storage may take its time, and so may who
# has a lock, since a busy machine does.
sub make_node
{
	my ($name, $settings, %init) = @_;
	my $node = MiosaPostgres->new($name);

	$node->init(%init);
	$node->append_conf('postgresql.conf', <<'EOC' . ($settings // ''));
shared_preload_libraries = 'miosa_rollback'
miosa_rollback.allow_private_endpoints = on
miosa_rollback.artifact_timeout = 60s
miosa_rollback.lock_wait = 60s
track_commit_timestamp = on
EOC
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION miosa_rollback');
	return $node;
}

# A started edge; arguments as MiosaEdge.
sub make_edge
{
	my (%arg) = @_;

	return MiosaEdge->new(
		dir => PostgreSQL::Test::Utils::tempdir_short() . '/edge',
		%arg)->start;
}

# Deployment dep_1 with versions ver_1 to ver_3, the given hosts, and the edge
# as endpoints router-1, ... and cache; nothing is promoted yet.
sub make_site
{
	my ($node, $edge, $hosts, $cache) = @_;
	my $sql = <<"EOS";
INSERT INTO miosa.secrets (name, value) VALUES ('edge', '$edge->{secret}');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
EOS

	$sql .= "SELECT miosa_put_domain('$_', 'dep_1');\n" for @$hosts;
	for my $number (1 .. 3)
	{
		my $id = "ver_$number";

		$edge->publish($id, 'index.html' => "<h1>/$id/</h1>\n");
		$sql .= "SELECT miosa_put_version('dep_1', '$id', $number,
			state => 'ready', storage_uri => '"
		  . $edge->origin_url
		  . "/releases/$id/index.html');\n";
	}
	$sql .= "SELECT miosa_put_endpoint('$_', '$adapter{ $edge->{router} }', '"
	  . $edge->router_url($_)
	  . "', secret => 'edge');\n"
	  for $edge->router_names;
	$sql .= "SELECT miosa_put_endpoint('cache', '"
	  . ($cache // $adapter{ $edge->{cache} }) . "', '"
	  . $edge->url . "');\n";
	$node->safe_psql('postgres', $sql);
	return;
}

# The SQL function may_be_refused(statement): runs a statement that may be
# refused, by a condition of ours and nothing else.
sub make_may_be_refused
{
	my ($node) = @_;

	$node->safe_psql('postgres', <<'EOS');
CREATE FUNCTION may_be_refused(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	IF SQLSTATE NOT LIKE 'MR%' THEN
		RAISE;
	END IF;
END $$;
EOS
	return;
}

# Statements that make rows of every kind, in every state; url: the sink that the
# endpoints are at.
sub rows_of_every_kind
{
	my ($url) = @_;

	return <<"EOS";
UPDATE miosa.plans SET audit_retention = '31 days' WHERE name = 'pro';
INSERT INTO miosa.plans VALUES ('own', '1 day', '2 days', '3 days');
INSERT INTO miosa.secrets (name, value) VALUES ('token', 'whsec_never/dumped/never/dumped/nev/er');
INSERT INTO miosa.adapters (name, role, stage, request)
	VALUES ('own', 'edge', 0, '{"method": "PUT", "path": "/own/{deployment_id}"}');
SELECT miosa_put_endpoint('hook', 'webhook', '$url/hook', secret => 'token');
SELECT miosa_report_schema('app', 7, 5);
SELECT miosa_put_endpoint('mine', 'own', '$url', zone => 'eu');
SELECT miosa_put_endpoint('off', 'varnish-ban', '$url/off', enabled => false);
INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "copied"}')).*
	FROM miosa.adapters a WHERE name = 'webhook';
SELECT miosa_put_endpoint('copied', 'copied', '$url/copied', enabled => false);
SELECT miosa_put_tenant('ten_1', 'acme', 'pro');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_deployment('dep_2', 'ten_1', 'api', kind => 'dynamic', desired_replicas => 2);
SELECT miosa_put_deployment('dep_3', 'ten_1', 'new');
SELECT miosa_put_storage('s3://elsewhere/', '$url/s3');
SELECT miosa_put_domain('shop.example.com', 'dep_1');
SELECT miosa_put_domain('old.example.com', 'dep_1', state => 'removed');
SELECT miosa_put_version('dep_1', 'ver_' || i, i, storage_uri => 's3://b/' || i,
	release => '{"metadata": {"migration_compatibility": "incompatible"}}')
	FROM generate_series(1, 5) i;
SELECT miosa_put_version('dep_1', 'ver_6', state => 'building');
SELECT miosa_put_version('dep_1', 'ver_7', state => 'failed');
SELECT miosa_put_version('dep_2', 'ver_' || i, i) FROM generate_series(1, 2) i;
SELECT miosa_promote('dep_1', 'ver_' || i) FROM generate_series(1, 3) i;
SELECT miosa_rollback('dep_1', 'ver_2', 'key-1', reason => 'INC-7',
	attribution => '{"external_user_id": "u-1"}');
SELECT miosa_archive_version('dep_1', 'ver_4');
UPDATE miosa.versions SET pinned = true WHERE id = 'ver_1' AND deployment_id = 'dep_1';
UPDATE miosa.releases SET collected_at = now() WHERE id = 'rel_4' AND deployment_id = 'dep_1';
SELECT miosa_promote('dep_2', 'ver_1');
SELECT miosa_report_instance('dep_2', 'ins_1', 'ver_1', 'healthy', '10.0.0.7', 8080);
SELECT miosa_report_instance('dep_2', 'ins_2', 'ver_1', 'failed', error_message => 'exit 1');
SELECT miosa_promote('dep_2', 'ver_2');
EOS
}

# A test: the other one of versions v1 and v2 of dep_1 is promoted, and reaches
# the endpoint of the sink whose path is /good.
sub is_delivered
{
	my ($node, $sink, $name) = @_;

	$sink->clear;
	my $version = $node->safe_psql('postgres', <<'EOS');
SELECT miosa_promote('dep_1', CASE active_version_id WHEN 'v2' THEN 'v1' ELSE 'v2' END) #>> '{operation,target_version_id}'
FROM miosa.deployments WHERE id = 'dep_1'
EOS

	ok($sink->wait_for(1, "^/good/dep_1/$version"), $name);
	return;
}

# promote or roll back, in a transaction of its own
sub operate
{
	my ($node, $what, $version) = @_;

	return $node->safe_psql('postgres',
		"SELECT miosa_$what('dep_1', '$version')");
}

# Seconds from the commit of an operation until all hosts show the version
# through the cache, or nothing. psql runs beside the visitors.
sub switch_seconds
{
	my ($node, $edge, $what, $version, $hosts) = @_;

	open(my $psql, '-|', 'psql', '-XqAt', '-d', $node->connstr('postgres'),
		'-c', "SELECT miosa_$what('dep_1', '$version')")
	  or die "could not run psql: $!\n";
	my $seen =
	  $edge->wait_for_page("/$version/", $hosts) && time();

	local $/;
	<$psql>;
	close $psql or die "psql failed\n";
	return unless $seen;
	return $seen - $node->safe_psql('postgres',
		'SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin))
		FROM miosa.audit_events ORDER BY seq DESC LIMIT 1');
}

# Roll back to version 2 and promote version 3, so many times in all. A test:
# each is seen through the cache by visitors of all hosts; a note: how soon.
# Before each one, before() is called.
sub switches
{
	my ($node, $edge, $hosts, $times, $before) = @_;
	my @seconds;

	for my $turn (1 .. $times)
	{
		$before->() if $before;
		push @seconds,
		  scalar switch_seconds($node, $edge,
			$turn % 2 ? ('rollback', 'ver_2') : ('promote', 'ver_3'), $hosts);
	}
	is(scalar(grep { !defined } @seconds),
		0, 'every switch is seen long before the page would expire')
	  or diag $edge->logs;
	@seconds = sort { $a <=> $b } grep { defined } @seconds;
	note sprintf(
		'commit to switch seen through the cache on all hosts: '
		  . 'median %.1f ms, slowest %.1f ms of %d',
		1000 * $seconds[ @seconds / 2 ],
		1000 * $seconds[-1],
		scalar @seconds)
	  if @seconds;
	return;
}

# Whether the dispatcher is in this state in the end; database: its database;
# after: the id of the process that it is no longer.
sub wait_dispatcher
{
	my ($node, $state, %arg) = @_;

	return $node->poll_query_until($arg{database} // 'postgres',
		"SELECT state = '$state' AND pid IS DISTINCT FROM @{[ $arg{after} // 0 ]}
		FROM miosa.dispatcher()");
}

# Reload the configuration, and wait until the dispatcher has read it, which it
# does before a pass. The pass that ends next may have begun before that, and be
# followed by one that was put off; the third one begins anew.
sub reload_settings
{
	my ($node) = @_;
	my $last = 'SELECT last_pass_at FROM miosa.stat_dispatcher';
	my $loaded = $node->safe_psql('postgres', 'SELECT pg_conf_load_time()');

	$node->reload;
	$node->poll_query_until('postgres', "SELECT pg_conf_load_time() > '$loaded'")
	  or die "the configuration is not read\n";
	# The postmaster begins another session when it has sent all the signals
	$node->safe_psql('postgres', 'SHOW miosa_rollback.site');
	for (1 .. 3)
	{
		my $before = $node->safe_psql('postgres', $last);

		$node->safe_psql('postgres', 'SELECT miosa.wake()');
		poll_until(sub { $node->safe_psql('postgres', $last) ne $before })
		  or die "the dispatcher makes no pass\n";
	}
	return;
}

# What a query returns, as soon as that is what is expected, or in the end.
sub wait_sql
{
	my ($node, $query, $expected, $timeout, $database) = @_;
	my $found;

	poll_until(
		sub {
			$found = $node->safe_psql($database // 'postgres', $query);
			return $found eq $expected;
		},
		$timeout // 180,
		0.05);
	return $found;
}

# Wait until a new endpoint has been sent everything.  One of its name that was
# removed just now may still be shown, with another generation.
sub wait_ready
{
	my ($node, $name) = @_;

	return wait_sql($node, "SELECT count(*) FROM miosa.stat_endpoint v
		JOIN miosa.endpoints e USING (name)
		JOIN miosa.endpoint_stats() s ON s.endpoint = e.name AND s.generation = e.generation
		WHERE v.name = '$name' AND v.state IN ('healthy', 'new') AND v.epochs_behind = 0", 1);
}

# How waiting for the deployment's present route ends.
sub verdict
{
	my ($node, $timeout) = @_;

	return $node->safe_psql('postgres',
		"SELECT miosa_wait_converged('dep_1', '$timeout')");
}

1;
