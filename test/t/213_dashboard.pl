# The dashboard for Grafana: each query of each panel, of the variables and of the
# annotations returns data from a real Prometheus, or from PostgreSQL as the role
# that the documentation gives the data source. Grafana itself is not in Debian; its
# macros and variables are replaced here as it does.

use strict;
use warnings FATAL => 'all';
use feature qw(state);

use JSON::PP qw(decode_json);
use MiosaFile qw(slurp spew);
use MiosaHttp qw(http poll_until);
use MiosaServer;
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('dashboard', "listen_addresses = '127.0.0.1'\n");
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $dashboard = decode_json(slurp('contrib/grafana/miosa.json'));
my %port = map { $_ => MiosaServer::free_port() } qw(exporter prometheus);

# What somebody has chosen at the top of the page
my %chosen = (database => '.*', endpoint => 'edge-1', deployment => 'dep_1');

sub sql { return $node->safe_psql('postgres', @_); }

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 3) n;
SELECT miosa_put_endpoint('edge-1', 'webhook', '@{[ $sink->url ]}/hook', zone => 'eu');
SELECT miosa_promote('dep_1', 'ver_' || n) FROM generate_series(1, 3) n;
CREATE ROLE grafana LOGIN IN ROLE miosa_viewer, pg_monitor;
CREATE ROLE prometheus LOGIN IN ROLE pg_monitor;
EOS

my @server = map { MiosaServer->new(name => $_, log => "$dir/$_.log", port => $port{$_}) } qw(exporter prometheus);
{
	local $ENV{DATA_SOURCE_NAME} = sprintf 'user=prometheus host=%s port=%s dbname=postgres', $node->host, $node->port;
	my ($arguments) = slurp('contrib/prometheus/postgres-exporter.default') =~ /^ARGS='--extend.query-path=\S+ (.*)'/m;

	$server[0]->start('prometheus-postgres-exporter', '--extend.query-path=contrib/prometheus/postgres-exporter.yml',
		split(/ /, $arguments), "--web.listen-address=127.0.0.1:$port{exporter}");
}
spew("$dir/prometheus.yml", slurp('contrib/prometheus/prometheus.yml') =~ s/_interval: 15s/_interval: 1s/gr
	=~ s/9187/$port{exporter}/r =~ s/^  - miosa-rules.yml\n//mr =~ s/^rule_files:\n//mr);
$server[1]->start('prometheus', "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/tsdb",
	"--web.listen-address=127.0.0.1:$port{prometheus}");

# An answer of Prometheus: the rows of a query, or the values of a label
sub ask
{
	my ($path, %parameter) = @_;
	my $query = join '&', map { "$_=" . $parameter{$_} =~ s/([^\w.~-])/sprintf '%%%02X', ord $1/ger } keys %parameter;
	my $answer = http(port => $port{prometheus}, path => "/api/v1/$path?$query");
	my $data = decode_json($answer->{body} || '{}')->{data};

	return ref $data eq 'HASH' ? @{ $data->{result} // [] } : @{ $data // [] };
}

# A query as Grafana sends it to Prometheus
sub promql
{
	my ($query) = @_;

	$query =~ s/\$__rate_interval/30s/g;
	$query =~ s/\$(\w+)/$chosen{$1} \/\/ die "$1 is not a variable\n"/ge;
	return $query;
}

# A query as Grafana sends it to PostgreSQL
sub rows
{
	my ($query) = @_;

	$query =~ s/\$__timeFilter\((\w+)\)/$1 BETWEEN now() - interval '1 hour' AND now()/g;
	$query =~ s/\$\{(\w+):sqlstring\}/"'" . ($chosen{$1} \/\/ die "$1 is not a variable\n") =~ s{'}{''}gr . "'"/ge;
	die "what is \$ in $query?\n" if $query =~ /\$/;
	return split /\n/, sql("SET ROLE grafana; SET default_transaction_read_only = on; $query");
}

# Calls of all kinds, so that their rates are not zero
sub call
{
	state $n = 0;
	$n++;
	sql("SELECT miosa_promote('dep_1', 'ver_" . (1 + $n % 2) . "', 'key-$n') FROM generate_series(1, 2)");
	$node->psql('postgres', "SELECT miosa_promote('dep_1', 'ver_9')");
	return;
}

ok(poll_until(sub { call(); return ask('query', query => 'rate(miosa_convergence_seconds_count[30s]) > 0') }, 180),
	'Prometheus has what happens')
  or diag(map { $_->tail } @server);

# Panels that are rows only have a title. Panels do not overlap, and have ids and
# titles of their own.
my @panels = grep { $_->{type} ne 'row' } @{ $dashboard->{panels} };
my (%id, %title, %place);
cmp_ok(scalar @panels, '>', 15, 'there are panels');
for my $panel (@panels)
{
	my $grid = $panel->{gridPos};

	is($id{ $panel->{id} }++, 0, "$panel->{title} has an id of its own");
	is($title{ $panel->{title} }++, 0, 'and a title of its own');
	isnt($panel->{description} // '', '', 'and says what it shows');
	for my $x ($grid->{x} .. $grid->{x} + $grid->{w} - 1)
	{
		$place{"$x $_"}++ for $grid->{y} .. $grid->{y} + $grid->{h} - 1;
	}
	for my $target (@{ $panel->{targets} })
	{
		if ($target->{datasource}{type} eq 'prometheus')
		{
			my $query = promql($target->{expr});

			ok(poll_until(sub { call(); return scalar grep { $_->{value}[1] =~ /^[\d.e+-]+$/ } ask('query', query => $query) }, 180),
				"$panel->{title}: $target->{expr}")
			  or diag($query);
		}
		else
		{
			cmp_ok(scalar rows($target->{rawSql}), '>', 0, "$panel->{title}: rows");
		}
	}
}
is((grep { $_ > 1 } values %place) + 0, 0, 'no panel covers another');

# Variables and annotations
for my $variable (@{ $dashboard->{templating}{list} })
{
	if ($variable->{type} eq 'query')
	{
		my ($metric, $label) = $variable->{query}{query} =~ /^label_values\((\w+), (\w+)\)$/;

		ok(scalar(ask("label/$label/values", 'match[]' => $metric)), "variable $variable->{name} has values");
	}
	ok(exists $chosen{ $variable->{name} } || $variable->{type} eq 'datasource', "variable $variable->{name} is known here");
}
for my $annotation (@{ $dashboard->{annotations}{list} })
{
	cmp_ok(scalar rows($annotation->{target}{rawSql}), '>', 2, "annotations: $annotation->{name}");
}
{
	local $chosen{deployment} = '';
	cmp_ok(scalar rows($dashboard->{annotations}{list}[0]{target}{rawSql}), '>', 2, 'of all deployments when none is named');
}

$_->stop for reverse @server;
done_testing();
