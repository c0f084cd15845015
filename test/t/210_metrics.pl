# Metrics, with Debian's Prometheus and exporters: the commands of
# docs/monitoring.md lead to an alert that fires; so does an edge that is killed.
# Counters fall at a start of the server alone.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use JSON::PP qw(decode_json);
use MiosaHttp qw(http poll_until);
use MiosaServer;
use MiosaSink;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('metrics', "listen_addresses = '127.0.0.1'\nmiosa_rollback.audit_head_interval = '1 s'\nrestart_after_crash = on\n");
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $files = 'contrib/prometheus';

sub sql { return $node->safe_psql('postgres', @_); }

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('edge-1', 'webhook', '@{[ $sink->url ]}/hook', zone => 'eu');
SELECT miosa_promote('dep_1', 'ver_1');
CALL miosa_maintain();
EOS

# The value of a metric; empty when there is none.
sub value
{
	my ($name, $labels) = @_;

	return sql(sprintf q{SELECT value FROM miosa.metrics WHERE name = '%s' AND labels @> '%s'}, $name, $labels // '{}');
}

# Wait until a condition on the value of a metric holds.
sub becomes
{
	my ($name, $labels, $condition, $what) = @_;

	ok($node->poll_query_until('postgres', sprintf q{SELECT EXISTS (SELECT FROM miosa.metrics WHERE name = '%s' AND labels @> '%s' AND value %s)},
			$name, $labels, $condition), $what)
	  or diag(sql('SELECT miosa_metrics()'));
	return;
}

# What Prometheus' own tool says.
sub promtool
{
	my ($input, @arguments) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'promtool', @arguments ], '<', \$input, '>', \$out, '2>', \$err);

	return $ok && $err eq '' ? 'passes' : "$out$err";
}

becomes('miosa_endpoint_up', '{"endpoint": "edge-1"}', '= 1', 'an edge is up');
sql(q{SELECT miosa_promote('dep_1', 'ver_2')});
becomes('miosa_audit_head_lag_seconds', '{}', '>= 0', 'heads of the audit trail are stated');
becomes('miosa_artifact_verification_age_seconds', '{}', '>= 0', 'the verifier has begun');
becomes('miosa_endpoint_acknowledgement_seconds_count', '{"endpoint": "edge-1", "zone": "eu", "role": "edge"}', '>= 1', 'acknowledgements are timed');

# The documents and the configurations have every metric and every label. Those of
# sites are there for the moment.
my $with_site = q{BEGIN; INSERT INTO miosa.sites (role, site, epoch, told_at, edges)
	VALUES ('primary', 'home', 1, now(), 0), ('replica', 'eu', 1, now(), 3);};
my $shown = sql($with_site . q{
	SELECT string_agg(format('| %s | %s | %s |', name, type, labels), E'\n' ORDER BY name COLLATE "C") FROM (
		SELECT CASE type WHEN 'histogram' THEN regexp_replace(name, '_(bucket|sum|count)$', '') ELSE name END AS name, type,
			coalesce(string_agg(DISTINCT l.label, ', ' ORDER BY l.label), '') AS labels
		FROM miosa.metrics LEFT JOIN LATERAL jsonb_object_keys(labels) l (label) ON true GROUP BY 1, 2) m; ROLLBACK});
is(join("\n", slurp_file('docs/reference.md') =~ /^(\| miosa_\w+ \| (?:gauge|counter|histogram) \| [^|]*\|)/gm), $shown, 'docs/reference.md has every metric');
my @labels = split / /, sql($with_site . q{SELECT string_agg(DISTINCT l, ' ' ORDER BY l) FROM miosa.metrics, jsonb_object_keys(labels) l; ROLLBACK});
for my $file (qw(postgres-exporter.yml sql-exporter.yml))
{
	my @passed = sort { $a cmp $b } slurp_file("$files/$file") =~ /m\.labels ->> '(\w+)'/g;

	is("@passed", "@labels", "$file passes every label on");
}

# The rules, each with a case that fires and one that does not
my $rules = slurp_file("$files/miosa-rules.yml");
my $cases = slurp_file("$files/miosa-rules-test.yml");
my @alerts = $rules =~ /- alert: (\w+)$/gm;
is(promtool('', 'check', 'rules', "$files/miosa-rules.yml"), 'passes', 'promtool check rules');
is(promtool('', 'test', 'rules', "$files/miosa-rules-test.yml"), 'passes', 'promtool test rules');
is(promtool('', 'check', 'config', "$files/prometheus.yml"), 'passes', 'promtool check config');
is(promtool(sql('SELECT miosa_metrics()') . "\n", 'check', 'metrics'), 'passes', 'promtool check metrics');
cmp_ok(scalar @alerts, '>', 20, 'there are alerts');
for my $alert (@alerts)
{
	like($cases, qr/alertname: $alert\n\s+exp_alerts:\n\s+- exp_labels/, "$alert has a case that fires");
	like($cases, qr/alertname: $alert\n\s+exp_alerts: \[\]\n/, "$alert has a case that does not");
}
my %known = map { $_ => 1 } sql($with_site . 'SELECT DISTINCT name FROM miosa.metrics; ROLLBACK') =~ /\w+/g;
is(join(' ', grep { !$known{$_} && !/^miosa_shard_up$/ } map { /\b(miosa_\w+)(?=[ \[{)]|$)/g } $rules =~ /expr: (.*)/g), '', 'rules use metrics that there are');

# The commands of docs/monitoring.md. Files go into a folder of the test; Prometheus
# asks every second, and alerts wait for no longer.
my ($commands) = slurp_file('docs/monitoring.md') =~ /^```sh\n(sudo apt-get install.*?)^```$/ms;
my %port = map { $_ => MiosaServer::free_port() } qw(postgres sql prometheus);
my $host = $node->host;
my %server;
my %said;

sub in_place
{
	my ($file, $change) = @_;

	local $_ = slurp_file("$dir/$file");
	$change->();
	unlink "$dir/$file";
	append_to_file("$dir/$file", $_);
	return;
}

sub restart
{
	my ($name, $at, @command) = @_;

	$server{$name} = MiosaServer->new(name => $name, log => "$dir/$name.log", port => $at);
	$server{$name}->start(@command);
	return;
}

mkdir "$dir/$_" for qw(etc etc/prometheus etc/default);
is(scalar(my @commands = split /\n/, $commands), 10, 'ten commands');
for my $command (@commands)
{
	if ($command =~ /^sudo apt-get install -y (.*)/)
	{
		is(system("command -v $_ >/dev/null"), 0, "$_ is installed") for split / /, $1;
		next;
	}
	if ($command =~ /^sudo systemctl restart prometheus-postgres-exporter prometheus$/)
	{
		in_place('etc/default/prometheus-postgres-exporter',
			sub { s{host=/run/postgresql dbname=control}{host=$host port=@{[ $node->port ]} dbname=postgres}; s{/etc/}{$dir/etc/}g; });
		in_place('etc/prometheus/prometheus.yml',
			sub { s/_interval: 15s/_interval: 1s/g; s/9187/$port{postgres}/; s/# (- targets: \['127\.0\.0\.1:)9237/$1$port{sql}/; });
		in_place('etc/prometheus/miosa-rules.yml', sub { s/for: [1-9]\d*m/for: 1s/g; });
		my ($source, @arguments) = split /\n/, `. $dir/etc/default/prometheus-postgres-exporter; printf '%s\\n' "\$DATA_SOURCE_NAME" \$ARGS`;
		local $ENV{DATA_SOURCE_NAME} = $source;
		restart('exporter', $port{postgres}, 'prometheus-postgres-exporter', @arguments, "--web.listen-address=127.0.0.1:$port{postgres}");
		restart('prometheus', $port{prometheus}, 'prometheus', "--config.file=$dir/etc/prometheus/prometheus.yml",
			"--storage.tsdb.path=$dir/tsdb", "--web.listen-address=127.0.0.1:$port{prometheus}");
		next;
	}
	$command =~ s/^sudo -u postgres psql(?: -d control)?/psql -X -v ON_ERROR_STOP=1 -h $host -p @{[ $node->port ]} -d postgres/;
	$command =~ s/^sudo //;
	$command =~ s{ /etc/}{ $dir/etc/}g;
	$command =~ s/:9187/:$port{postgres}/;
	$command =~ s/:9090/:$port{prometheus}/;
	# What it shows comes when Prometheus has asked.
	ok(poll_until(
			sub {
				$said{$command} = `$command`;
				return 0 if $?;
				return $command =~ /curl/ ? $said{$command} =~ /miosa_dispatcher_up.* 1\n|"miosa_endpoint_up"|MiosaEndpointDown/ : 1;
			},
			$command =~ /curl/ ? 180 : 0, 0.2), $command)
	  or diag($said{$command} . join '', map { $_->tail } values %server);
}

# An answer of Prometheus
sub ask
{
	my ($path) = @_;
	my $answer = http(port => $port{prometheus}, path => "/api/v1/$path");

	return $answer->{status} == 200 ? decode_json($answer->{body})->{data} : {};
}

# The labels of the alerts of a name that fire
sub firing
{
	my ($name) = @_;

	return grep { $_->{alertname} eq $name } map { $_->{labels} } grep { $_->{state} eq 'firing' } @{ ask('alerts')->{alerts} // [] };
}

sub fires
{
	my ($name, $wanted, $what, %label) = @_;

	ok(poll_until(
			sub {
				my @found = grep { my $l = $_; !grep { ($l->{$_} // '') ne $label{$_} } keys %label } firing($name);
				return $wanted ? @found > 0 : @found == 0;
			},
			180, 0.2), $what)
	  or diag(http(port => $port{prometheus}, path => '/api/v1/alerts')->{body});
	return;
}

fires('MiosaEndpointDown', 1, 'the alert of the documentation fires', endpoint => 'nobody', role => 'edge', zone => 'default', severity => 'critical');
sql(q{SELECT miosa_remove_endpoint('nobody')});
fires('MiosaEndpointDown', 0, 'and ends', endpoint => 'nobody');

# The other exporter passes on the same.
append_to_file("$dir/sql-exporter.yml", slurp_file("$files/sql-exporter.yml") =~ s/interval: 15s/interval: 1s/r
	=~ s{127\.0\.0\.1:5432/control}{127.0.0.1:@{[ $node->port ]}/postgres}r);
restart('sql', $port{sql}, 'prometheus-sql-exporter', "-config.file=$dir/sql-exporter.yml", "-web.listen-address=127.0.0.1:$port{sql}");
my $names;
ok(poll_until(
		sub {
			my %by;

			$by{ $_->{metric}{instance} } .= "$_->{metric}{__name__} "
			  for sort { $a->{metric}{__name__} cmp $b->{metric}{__name__} }
			  @{ ask('query?query=' . 'count%20by%20(instance,__name__)%20({__name__%3D~%22miosa_.%2B%22})')->{result} // [] };
			$names = join "\n", map { "$_: $by{$_}" } sort keys %by;
			return keys %by == 2 && (values %by)[0] eq (values %by)[1] && $names =~ /miosa_operation_duration_seconds_bucket/;
		},
		180, 0.2), 'both exporters pass on the same metrics')
  or diag($names, $server{sql}->tail);
my $operations = ask('query?query=' . 'miosa_operations_total{action%3D%22promote%22,outcome%3D%22changed%22,database%3D%22postgres%22}')->{result};
is(join(' ', map { $_->{value}[1] } @$operations), '2 2', 'with their labels and values');

# An edge is killed.
fires('MiosaEndpointDown', 0, 'no edge is down', endpoint => 'edge-1');
$sink->kill9;
sql(q{SELECT miosa_rollback('dep_1', 'ver_1')});
fires('MiosaEndpointDown', 1, 'the alert of an edge that is killed fires', endpoint => 'edge-1', zone => 'eu', role => 'edge');
$sink->start;
fires('MiosaEndpointDown', 0, 'until it is back', endpoint => 'edge-1');
becomes('miosa_endpoint_epochs_behind', '{"endpoint": "edge-1"}', '= 0', 'and lacks nothing');
for my $name (keys %server)
{
	$server{$name}->stop;
}

# Counters: neither the end of the dispatcher nor that of an endpoint lowers them.
my $edge = '{"endpoint": "edge-1"}';
my %before = map { $_ => value($_, $edge) } qw(miosa_endpoint_requests_total miosa_endpoint_requests_failed_total miosa_endpoint_acknowledgement_seconds_count);
my $passes = value('miosa_dispatcher_passes_total');
cmp_ok($before{$_}, '>', 0, "$_ has counted") for sort keys %before;

sub not_fallen
{
	my ($what) = @_;

	becomes('miosa_endpoint_up', $edge, '= 1', "$what, and the edge is up");
	cmp_ok(value($_, $edge), '>=', $before{$_}, "$_ has not fallen: $what") for sort keys %before;
	cmp_ok(value('miosa_dispatcher_passes_total'), '>=', $passes, "nor have passes");
	cmp_ok(value('miosa_operations_total', '{"action": "promote", "outcome": "changed"}'), '>=', 2, 'nor operations');
	return;
}

my $pid = sql('SELECT pid FROM miosa.dispatcher()');
sql("SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT state = 'running' AND pid <> $pid FROM miosa.dispatcher()"), 'another dispatcher runs');
sql(q{SELECT miosa_resync('edge-1')});
not_fallen('the dispatcher was ended');
sql(sprintf q{SELECT miosa_remove_endpoint('edge-1'); SELECT miosa_put_endpoint('edge-1', 'webhook', '%s/hook', zone => 'eu')}, $sink->url);
not_fallen('the endpoint was removed and added');
sql('SELECT miosa_reset_stats()');
is(sql(q{SELECT s.sent < m.value FROM miosa.stat_endpoint s, miosa.metrics m
	WHERE s.name = 'edge-1' AND m.name = 'miosa_endpoint_requests_total' AND m.labels ->> 'endpoint' = 'edge-1'}), 't', 'statistics are reset');
not_fallen('statistics were reset');

sql(sprintf q{SET miosa_rollback.allow_drop = on; DROP EXTENSION miosa_rollback CASCADE; CREATE EXTENSION miosa_rollback;
	SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop'); SELECT miosa_put_version('dep_1', 'ver_1', 1);
	SELECT miosa_put_endpoint('edge-1', 'webhook', '%s/hook', zone => 'eu'); SELECT miosa_promote('dep_1', 'ver_1')}, $sink->url);
not_fallen('the extension was created again');

# A crash of the server does.
my $backend = sql('SELECT pid FROM miosa.dispatcher()');
kill 'KILL', $backend;
ok(poll_until(
		sub {
			my ($rc, $out) = $node->psql('postgres', "SELECT state = 'running' AND pid <> $backend FROM miosa.dispatcher()");
			return defined $out && $out eq 't';
		},
		180, 0.1), 'the server has crashed and runs again');
is(value('miosa_operations_total', '{"action": "promote", "outcome": "changed"}'), 0, 'a start of the server sets counters to zero');
is(value('miosa_operation_duration_seconds_count', '{"action": "rollback"}'), 0, 'and histograms');

done_testing();
