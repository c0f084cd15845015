# README and docs say what is true: the transcript is what psql prints on real
# edges, their SQL runs as it stands, their lists are complete, their defaults
# are the real ones and their links lead somewhere.

use strict;
use warnings FATAL => 'all';

use IPC::Run qw(run);
use MiosaHttp qw(http poll_until);
use MiosaNginx;
use MiosaServer;
use MiosaTest qw(make_edge make_node make_site operate verdict);
use PostgreSQL::Test::Utils;
use Test::More;

my @documents = (qw(README.md CONTRIBUTING.md CHANGELOG.md), sort glob 'docs/*.md');
my $readme = join "\n", map { slurp_file($_) } @documents;
my $edge = make_edge(ttl => 600);
my $secrets = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('readme', "miosa_rollback.secret_directory = '$secrets'\n");

# A deployment on which versions 1, 2 and 3 were promoted, and the last has
# served long enough for that to be shown
make_site($node, $edge, ['shop.example.com']);
for my $number (1 .. 3)
{
	operate($node, 'promote', "ver_$number");
	verdict($node, '180 s');
}
$node->poll_query_until('postgres',
	"SELECT max(created_at) < now() - '1100 ms'::interval
	FROM miosa.audit_events");

# What psql prints for a statement, as a person sees it.
sub psql_prints
{
	my ($statement) = @_;
	my $output;

	run [
		'psql', '-X', '-d', $node->connstr('postgres'), '-c', $statement
	  ],
	  '>', \$output, '2>&1';
	return $output;
}

# Without what depends on the clock.
sub timeless
{
	my ($text) = @_;

	$text =~ s/<?\d+(\.\d+)? (ms|s|min|h|d)\b/N time/g;
	$text =~ s/\s+$//gm;
	return $text;
}

# A statement, or several, must succeed.
sub runs
{
	my ($database, $sql) = @_;
	my ($title) = $sql =~ /^(.*)/;
	my ($status, undef, $error) =
	  $node->psql($database, $sql, extra_params => ['-1']);

	is($status, 0, "it runs: $title") or diag $error;
	return;
}

my ($transcript) = $readme =~ /^```\n(control=> .*?)^```$/ms;
my $printed = '';

for my $statement ($transcript =~ /^control=> (.*)$/gm)
{
	$printed .= "control=> $statement\n" . psql_prints($statement);
	$printed =~ s/\n+\z/\n\n/;
}
is(timeless($transcript), timeless($printed), 'the transcript is real')
  or diag "paste this:\n$printed";

# Blocks of SQL, from an empty database on, with the edges of the documents
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my %port = map { $_ => MiosaServer::free_port() } qw(80 6081 8000 8081 8090);

# A text with the files and ports that this test has in the place of those that
# a reader has.
sub adapted
{
	my ($text) = @_;

	$text =~ s{/(?:etc/haproxy|srv)/}{$dir/}g;
	$text =~ s{bind :80$}{bind 127.0.0.1:$port{80}}m;
	$text =~ s{(host = "127\.0\.0\.1"; \.port = ")80"}{$1$port{80}"};
	$text =~ s{"10\.0\.0\.7", 8090}{"127.0.0.1", $port{8090}};
	$text =~ s{(http://)10\.0\.0\.7:8090}{${1}127.0.0.1:$port{8090}}g;
	$text =~ s{127\.0\.0\.1:(8000|6081|8081)\b}{127.0.0.1:$port{$1}}g;
	return $text;
}

# The one block of the documents that matches.
sub block
{
	my ($begin) = @_;
	my @found = $readme =~ /^```\w*\n($begin.*?)^```$/gms;

	is(scalar @found, 1, "there is one block that begins like $begin");
	return adapted($found[0]);
}

sub start
{
	my ($name, $number, @command) = @_;

	return MiosaServer->new(
		name => $name, log => "$dir/$name.log", port => $port{$number})
	  ->start(@command);
}

# The site and its two edges, as README and edges.md set them up
my ($site) = block('apt-get install python3 curl\n') =~ /^(mkdir .*)^python3/ms;
my $haproxy = block('global\n');

$node->command_ok([ 'sh', '-ec', $site ], 'the site is made');
start('origin', 8000, qw(python3 -m http.server), $port{8000},
	'--bind', '127.0.0.1', '--directory', "$dir/site");
$haproxy =~ s/^  (?:user|group) haproxy\n//mg;
append_to_file("$dir/routes.map", '');
append_to_file("$dir/haproxy.cfg", $haproxy);
start('haproxy', 8081, qw(haproxy -db -f), "$dir/haproxy.cfg");
append_to_file("$dir/default.vcl", block('vcl 4\.1;\n'));
start('varnish', 6081, qw(varnishd -F -T none -s), 'malloc,16m',
	'-n', "$dir/varnish", '-a', "127.0.0.1:$port{6081}", '-f', "$dir/default.vcl");

# The edge of one's own
append_to_file("$dir/own.py", block('import http\.server'));
my $own = start('own', 8090, 'python3', "$dir/own.py");

# The files that secrets are in
my %value = (
	edge => 'TOKEN', mine => 'the token of edge-1', s3 => 'KEYID:SECRET');
my %file = map { $_ => 1 } map { /'file:([a-z0-9-]+)'/g }
  $readme =~ /^```sql\n(.*?)^```$/gms;

cmp_ok(scalar keys %file, '>=', 5, 'there are secrets in files');
append_to_file("$secrets/$_", ($value{$_} // 'whsec_' . 'x' x 32) . "\n") for keys %file;
$node->safe_psql('postgres', 'CREATE ROLE alice; CREATE ROLE ci; CREATE DATABASE control; CREATE DATABASE ops');
$node->safe_psql('control', 'CREATE EXTENSION miosa_rollback');

# What visitors see at the cache.
sub page
{
	return http(port => $port{6081}, host => 'shop.example.com')->{body};
}

my ($first, @blocks) = map { adapted($_) } $readme =~ /^```sql\n(.*?)^```$/gms;
my $page;

cmp_ok(scalar @blocks, '>', 10, 'there are blocks to try');
runs('control', $first);
poll_until(sub { ($page = page()) eq "two\n" }, 180);
is($page, "two\n", 'the version that was promoted is served');
runs('control', shift @blocks) for 1 .. 2;
is($node->safe_psql('control', "SELECT miosa_wait_converged('shop', '180 s')"),
	'converged', 'the first rollback converges');
is(page(), "one\n", 'and is served');
$node->safe_psql('control', "SELECT miosa_put_tenant('ten_old', 'old'), miosa_put_deployment('dep_old', 'ten_old')");
# An installation in a schema of its own is another one.
runs(/^CREATE SCHEMA ops;/ ? 'ops' : 'control', $_) for @blocks;
is($node->safe_psql('ops', 'SET ROLE miosa_viewer; SELECT ops.miosa_routes_since(0) IS NOT NULL'), 't', 'groups may use a schema of its own');

# What that edge holds for the host of the examples, or the status.
sub own_route
{
	my $answer = http(
		port => $port{8090},
		path => '/routes/shop.example.com',
		headers => { Authorization => 'Bearer the token of edge-1' });

	return $answer->{status} == 200 ? $answer->{body} : $answer->{status};
}

my $verdict = "SELECT miosa_test_endpoint('edge-1') -> 'data' ->> 'verdict'";
my $route;

poll_until(sub { ($route = own_route()) eq 'ver_1' }, 180);
is($route, 'ver_1', "the edge of one's own receives the route");
my $log = -s $node->logfile;
$own->stop;
$own->start('python3', "$dir/own.py");
ok( poll_until(sub { slurp_file($node->logfile, $log) =~ /endpoint "edge-1" lost its routing table/ }, 180),
	'it loses its table when it is restarted');
poll_until(sub { ($route = own_route()) eq 'ver_1' }, 180);
is($route, 'ver_1', 'and receives it again');
poll_until(sub { ($route = $node->safe_psql('control', $verdict)) eq 'ok' }, 180);
is($route, 'ok', 'it passes its test');

# The statements of the incident card
my ($card) = $readme =~ /^## Incident card$(.*?)^## /ms;
my @statements = grep { /^SELECT/ } $card =~ /`([^`]+;)`/g;

cmp_ok(scalar @statements, '>=', 6, 'there are statements to try');
# What served a while ago is known only of a deployment that is older than that.
$node->safe_psql('postgres', "ALTER TABLE miosa.audit_events DISABLE TRIGGER audit_events_keep;
	UPDATE miosa.audit_events SET created_at = created_at - interval '1 hour' WHERE deployment_id = 'dep_1';
	ALTER TABLE miosa.audit_events ENABLE ALWAYS TRIGGER audit_events_keep");
for my $statement (@statements)
{
	# Also after the statement that marks it as bad.
	$node->safe_psql('postgres', "SELECT miosa_promote('dep_1', 'ver_3', accept_bad => true)");
	runs('postgres', $statement);
}

# Every word by which status and the like say how things are is explained, as
# are the states of edges and of waiting.
my $explained = join "\n", slurp_file('docs/incident.md') =~ /`([^`\n]+)`/g;
my %word = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', <<'EOS');
WITH said AS (
	SELECT p.proname, pg_get_functiondef(p.oid) AS def FROM pg_proc p
	WHERE p.pronamespace = 'miosa'::regnamespace AND p.prokind = 'f'
)
SELECT m[1] FROM said, regexp_matches(def, $$(?:'|, )([A-Z]{2,}(?: [A-Z]{2,})*)(?=: | on %|'|, no pass)$$, 'g') m
WHERE proname ~ '^(status|verdict|judge|operate|dispatcher_words)'
UNION
SELECT m[1] FROM said, regexp_matches(def, $$(?:THEN|ELSE) '([a-z_ ]+)'(?:::text)?\s$$, 'g') m
WHERE proname ~ '^convergence'
EOS
$word{$_} = 1
  for map { slurp_file("src/$_") =~ /\[MRB_(?:EDGE|CONVERGENCE)_\w+\] = "([^"]+)"/g }
  qw(delivery/edge_state.c api/convergence_state.c);

cmp_ok(scalar keys %word, '>=', 20, 'there are words to explain');
is(join(', ', grep { $explained !~ /\b$_\b/ } sort keys %word),
	'', 'incident.md explains them');

# Verdicts stand there as they are printed.
my %part;

for my $verdict ($node->safe_psql('postgres',
		"SELECT prosrc FROM pg_proc WHERE proname = 'verdict_of'")
	=~ /'([A-Z]{2}[^']*|, not [^']*)'/g)
{
	$part{$_} = 1 for grep { length > 8 } split /%s/, $verdict;
}
cmp_ok(scalar keys %part, '>=', 10, 'there are verdicts');
is(join('; ', grep { index($explained, $_) < 0 } sort keys %part),
	'', 'incident.md has them');

# Statements in the text.  These wait for what a reader has and the examples
# have not.
my %untried = map { $_ => 1 } (
	'SELECT pg_terminate_backend(pid);',
	q{SELECT miosa_confirm_collected('dep_1', 'rel_1');},
	q{SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname::text LIKE 'miosa\\_rollback % control';});
my %tried = map { $_ => 1 } @statements;
(my $text = $readme) =~ s/^```.*?^```$//gms;

for my $statement ($text =~ /`([^`]+;)`/g)
{
	$statement =~ s/\s+/ /g;
	next if $statement !~ /^(?:SELECT|TABLE|SET|SHOW|CALL) / || $statement =~ /\.\.\./;
	next if delete $untried{$statement} || $tried{$statement}++;
	if ($statement =~ /^CALL/)
	{
		$node->safe_psql('control', $statement);
		next;
	}
	runs('control', "$statement\nROLLBACK;");
}
is(join(' ', keys %untried), '', 'what is not tried is there');

# nginx and Caddy accept their configurations
my $nginx = block('location / ');
my $caddy = block('\{\n  "admin"');

my @command = MiosaNginx::command(
	"$dir/nginx",
	"load_module /usr/lib/nginx/modules/ngx_http_cache_purge_module.so;\n",
	<<"EOC");
  access_log off;
  proxy_cache_path $dir/pages keys_zone=pages:1m;
  upstream router { server 127.0.0.1:1; }
  server {
    listen 127.0.0.1:@{[ MiosaServer::free_port() ]};
$nginx
  }
EOC
$node->command_ok([ @command, '-t', '-q' ],
	'nginx takes its lines');
append_to_file("$dir/caddy.json", $caddy);
$node->command_ok([ 'caddy', 'validate', '--config', "$dir/caddy.json" ],
	'Caddy takes its lines');

# Settings, with their defaults
$node->append_conf('postgresql.conf', "miosa_rollback.secret_directory = ''\n");
$node->adjust_conf('postgresql.conf', "miosa_rollback.$_", undef) for qw(artifact_timeout lock_wait);
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('miosa_rollback.secret_directory') = ''");
my %default = $readme =~ /^### (miosa_rollback\.\S+)\n.*?^The default is (?:`([^`]*)`|empty)/gms;
my %real = map { split /\|/, $_, 2 } split /\n/,
  $node->safe_psql('postgres', <<'EOS');
SELECT name || '|' || current_setting(name) FROM pg_settings
WHERE name LIKE 'miosa_rollback.%'
	AND name <> 'miosa_rollback.allow_private_endpoints'
EOS

delete $default{'miosa_rollback.allow_private_endpoints'};
is_deeply({ map { $_ => $default{$_} // '' } keys %default },
	\%real, 'settings and their defaults');

# The tables of these sections leave out nothing that there is
sub missing
{
	my ($where, $query) = @_;
	my ($text) = $where =~ /\.md$/ ? slurp_file($where) : $readme =~ /^## \Q$where\E$(.*?)(?=^## |\z)/ms;

	$text = join "\n", $text =~ /^\|.*/gm;
	return join ' ', grep { $text !~ /\b\Q$_\E\b/ } split /\n/,
	  $node->safe_psql('postgres', $query);
}

is( missing(
		'Functions for programs',
		"SELECT DISTINCT proname FROM pg_proc WHERE proname LIKE 'miosa\\_%'
			AND pronamespace = 'public'::regnamespace"),
	'',
	'every function for programs');
is( join(' ', grep { $readme !~ /^### \Q$_\E$/m } split /\n/, $node->safe_psql('postgres', <<'EOS')), '', 'each has a section');
SELECT DISTINCT proname FROM pg_proc
WHERE proname LIKE 'miosa\_%' AND pronamespace = 'public'::regnamespace
	AND proname <> 'miosa_collectable_releases'
EOS
is( missing(
		'Tables',
		"SELECT relname FROM pg_class WHERE relkind IN ('r', 'v')
			AND relnamespace = 'miosa'::regnamespace"),
	'',
	'every table and view');
is( missing(
		'docs/monitoring.md',
		"SELECT attname FROM pg_attribute WHERE attnum > 0 AND attrelid IN
			('miosa.stat_endpoint'::regclass, 'miosa.stat_dispatcher'::regclass)"),
	'',
	'every column that is monitored');

# Links from one document to another or to a heading
for my $document (@documents)
{
	my ($folder) = $document =~ m{^(.*/)?};

	for my $link (slurp_file($document) =~ /\]\(([^)\s]+)\)/g)
	{
		my ($path, $heading) = $link =~ m{^(?!https?:)([^#]*)#?(.*)} or next;
		my $target = $path eq '' ? $document : ($folder // '') . $path;
		my @headings = -f $target ? slurp_file($target) =~ /^#+ (.*)$/gm : ();

		s/[^\w -]//g, s/ /-/g for @headings;
		ok(-f $target && ($heading eq '' || grep { lc eq $heading } @headings),
			"$document: the link $link leads somewhere");
	}
}

done_testing();
