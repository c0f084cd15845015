# The live page in a real browser: its figures are those of the database, what
# people wrote stays text, it fits a telephone, both color schemes and paper; and
# psqlrc in a real psql.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaBrowser qw(browse colors framed);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('page');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink")->start;

sub sql { return $node->safe_psql('postgres', @_) }

# Trouble: an edge that fails, a deployment that is failed and one that has lost
# its instances; names that would do harm, the longest, and one that is written from
# right to left.
my $evil = q{<script>document.title='owned'</script>"><img src=x onerror="document.title='owned'"> 'q' &amp; </li></ol>};
$sink->answer('^/far', status => 503);
sql(q(
	SELECT miosa_put_tenant('ten_' || t, 'tenant-' || t) FROM generate_series(1, 2) t;
	SELECT miosa_put_deployment('dep_' || n, CASE WHEN n < 5 THEN 'ten_1' ELSE 'ten_2' END, 'shop-' || n,
		kind => CASE WHEN n = 3 THEN 'dynamic' ELSE 'static' END) FROM generate_series(1, 5) n;
	SELECT miosa_put_version('dep_' || n, 'v' || v, v) FROM generate_series(1, 5) n, generate_series(1, 2) v;
	SELECT miosa_promote('dep_' || n, 'v' || v) FROM generate_series(1, 5) n, generate_series(1, 2) v;
	SELECT miosa_report_instance('dep_3', 'i1', 'v2', 'healthy');
	SELECT miosa_report_instance('dep_3', 'i1', 'v2', 'failed');
	UPDATE miosa.deployments SET state = 'failed', name = repeat('n', 255) WHERE id = 'dep_2';
	-- What is late is late at once.
	CREATE OR REPLACE FUNCTION miosa.patience() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '0 s'::interval));
sql("UPDATE miosa.deployments SET name = \$evil\$$evil\$evil\$ WHERE id = 'dep_1'");
sql("UPDATE miosa.deployments SET name = E'\\xe2\\x80\\xae \\xd7\\x97\\xd7\\xa0 \\xf0\\x9f\\x9b\\x92' WHERE id = 'dep_3'");
sql("SELECT miosa_put_endpoint(e.name, 'webhook', '" . $sink->url . "/' || e.name, zone => e.zone)
	FROM (VALUES ('near1', 'eu'), ('near2', 'eu'), ('near3', 'us'), ('far', 'us')) e (name, zone)");
sql("SELECT miosa_rollback('dep_1', reason => \$reason\$$evil\$reason\$)");
sql("SELECT miosa_hold('dep_4', \$reason\$$evil\$reason\$)");
ok($node->poll_query_until('postgres', q{SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) = 'far backing off, near1 healthy, near2 healthy, near3 healthy'
	AND min(epochs_behind) = 0 AND bool_and((undelivered_since IS NOT NULL) = (name = 'far')) FROM miosa.stat_endpoint}), 'one edge fails, the others have all');

# The page and the figures of the same moment.
sub pages
{
	my ($deployment, $figures) = @_;
	my @answer = split /\x01/, sql("SELECT miosa_page($deployment) || chr(1) || ($figures)");

	return @answer;
}
my ($html, $figures) = pages('NULL', q{SELECT json_build_object(
	'zones', (SELECT json_object_agg(s.zone, s.counts) FROM (SELECT zone,
		concat_ws(', ', nullif(count(*) FILTER (WHERE state = 'backing off'), 0) || ' failing', count(*) FILTER (WHERE state = 'healthy') || ' current') AS counts
		FROM miosa.stat_endpoint GROUP BY zone) s),
	'needs', (SELECT json_agg(substring(next FROM '\(.*')) FROM miosa.overview WHERE next ~ 'status'),
	'operations', (SELECT count(*) FROM miosa.audit_events WHERE target_rule <> 'none'),
	'names', (SELECT json_agg(name ORDER BY id) FROM miosa.deployments WHERE id IN ('dep_1', 'dep_2', 'dep_3')))::text});
$figures = decode_json($figures);
my $look = <<'EOS';
(d, w) => ({
	title: d.title,
	head: d.querySelector('#headline').textContent,
	made: d.querySelector('#made time').textContent,
	stale: w.getComputedStyle(d.querySelector('.stale')).visibility,
	zones: Object.fromEntries([...d.querySelectorAll('#zone-list > li')].map((l) => [l.querySelector('bdi').textContent, l.querySelector('.counts').textContent])),
	needs: [...d.querySelectorAll('#needs > li[data-code]')].map((l) => l.querySelector('code').textContent),
	names: [...d.querySelectorAll('#needs > li[data-code], #recent > li')].map((l) => [l.querySelector('small').textContent, l.querySelector('strong').textContent]),
	counted: [...d.querySelectorAll('.chips b')].map((b) => Number(b.textContent)).reduce((a, b) => a + b, 0),
	worst: d.querySelector('#zone-list p').textContent,
	elements: [...new Set([...d.querySelectorAll('*')].map((e) => e.localName))].sort().join(' '),
	width: d.documentElement.scrollWidth, window: d.documentElement.clientWidth,
	back: w.getComputedStyle(d.body).backgroundColor
})
EOS

# What the browser makes of a page in a frame.
my $frames = 0;

sub seen
{
	my ($html, $width, $scheme, $script) = @_;
	my $file = framed("$dir/frame" . ++$frames . '.html', $html, $width, $script // $look);
	my @how = ("--window-size=$width,1200", '--blink-settings=preferredColorScheme=' . ($scheme eq 'dark' ? 0 : 1));
	my ($found) = browse($file, @how, '--dump-dom') =~ m{<p id="found">(.*?)</p>}s;

	browse($file, @how, "--screenshot=$file.png");
	cmp_ok(colors(slurp_file("$file.png")), '>', 20, "it renders at $width pixels, $scheme");
	$found =~ s/&lt;/</g;
	$found =~ s/&gt;/>/g;
	$found =~ s/&nbsp;/ /g;
	$found =~ s/&amp;/&/g;
	return decode_json($found);
}

my %back;
for my $case ([ 360, 'light' ], [ 360, 'dark' ], [ 768, 'light' ], [ 1280, 'dark' ])
{
	my ($width, $scheme) = @$case;
	my $seen = seen($html, $width, $scheme);

	is($seen->{width}, $width, "no more than $width pixels wide");
	is($seen->{window}, $width, '... which is what there is');
	$back{$scheme}{ $seen->{back} } = 1;
	is_deeply($seen->{zones}, $figures->{zones}, 'edges by zone as in the database');
	is_deeply($seen->{needs}, [ map { "SELECT * FROM miosa.status$_" } @{ $figures->{needs} } ], 'who needs somebody as in miosa.overview')
	  or diag explain $seen;
}
is(join(' ', map { keys %$_ } @back{qw(light dark)}), 'rgb(255, 255, 255) rgb(22, 22, 22)', 'light and dark');

my $seen = seen($html, 1280, 'light');
like($seen->{head}, qr/^\d deployments need somebody$/, 'the headline');
is($seen->{title}, "$seen->{head} - postgres", 'is the title, too');
like($seen->{made}, qr/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \S/, 'it says when it was made');
is($seen->{stale}, 'hidden', 'and nothing of standing still when it is new');
is($seen->{counted}, $figures->{operations} + 1, 'operations and the hold are counted');
like($seen->{worst}, qr/^far: backing off, lacks a change for /, 'the worst edge is named');
my %name = map { @$_ } @{ $seen->{names} };
is($name{'dep_1#3'}, $figures->{names}[0], 'a name is a text');
is($name{dep_2}, 'n' x 255, 'also the longest');
is($name{dep_3}, '\u202e ' . substr($figures->{names}[2], 2), 'what changes the direction of text is shown, and letters stay');
unlike($seen->{elements}, qr/\b(?:script|img|link|iframe|object)\b/, 'no element that could fetch or run anything');
# Standing still: the animation is run to its end.
$seen = seen($html, 1280, 'light', '(d, w) => { d.getAnimations().forEach((a) => a.finish()); return [w.getComputedStyle(d.querySelector(".stale")).visibility] }');
is($seen->[0], 'visible', 'a page that stands still says so');

# One deployment.
for my $deployment (qw(dep_1 dep_2 dep_3))
{
	my ($page, $verdict) = pages("'$deployment'", "SELECT text FROM miosa.verdict('$deployment')");
	my $one = seen($page, 360, 'dark', <<'EOS');
(d, w) => ({ head: d.querySelector('#headline').textContent, versions: [...d.querySelectorAll('#candidate-list th span')].map((v) => v.textContent),
	edges: [...d.querySelectorAll('#edge-list > li')].map((l) => l.querySelector('bdi').textContent + ' ' + l.querySelector('.counts').textContent).sort(),
	served: d.querySelectorAll('#served-list li').length, next: d.querySelectorAll('#next + code').length,
	elements: [...new Set([...d.querySelectorAll('*')].map((e) => e.localName))].join(' '), width: d.documentElement.scrollWidth })
EOS

	is($one->{width}, 360, "$deployment: no wider than a telephone");
	is($one->{head}, $verdict, 'the verdict');
	is_deeply($one->{versions}, [ 'v2', 'v1' ], 'its versions');
	is_deeply($one->{edges}, [ 'eu 2 of 2 have it', 'us 1 of 2 have it' ], 'its edges');
	ok($one->{served} && $one->{next}, 'what served, and what to type next');
	unlike($one->{elements}, qr/\b(?:script|img)\b/, 'and texts are texts');
}

# On paper.
append_to_file("$dir/print.html", $html);
browse("$dir/print.html", "--print-to-pdf=$dir/page.pdf");
like(slurp_file("$dir/page.pdf"), qr/^%PDF/, 'it can be printed');

# A file, as the documentation says.
command_like([ 'psql', '-XAt', '-d', $node->connstr('postgres'), '-c', 'SELECT miosa_page()' ], qr{^<!DOCTYPE html>.*</html>\n$}s, 'psql writes it');

# What the doctor advises is a command only if it can be pasted as it stands.
my ($advice) = sql('SELECT miosa_page()') =~ m{(<h2 id="doctor">.*)}s;
my @commands = $advice =~ m{<code class="cmd" dir="ltr">(.*?)</code>}gs;
like($advice, qr{</p><p>[^<]+</p></li>}, 'some is text');
is(join("\n", grep { !/^[A-Z]+ (?:[^;]|&#\d+;)*;$/ } @commands), '', 'every command is one statement');

# Of a tenant's page.
$node->append_conf('postgresql.conf', 'miosa_rollback.tenancy = enforced');
$node->reload;
sql(q(CREATE ROLE tenant LOGIN IN ROLE miosa_viewer; SELECT miosa_grant_tenant('tenant', 'ten_2', '{read}')));
ok(poll_until(sub { sql(q{SET ROLE tenant; SELECT count(*) FROM miosa.deployments}) eq '1' }), 'tenants are kept apart');
my $own = sql(q(SET ROLE tenant; SELECT miosa_page()));
like($own, qr/1 deployment\b/, 'it counts its own deployments');
unlike($own, qr/dep_[1-4]|&#60;script|nnnn/, 'and has none of others');
unlike($own, qr/near\d|Zone </, 'no zones');
like($own, qr/Unknown: edges serve other tenants/, 'it says so');
like($own, qr/Unknown: the doctor speaks to/, 'nor the doctor');
is(sql(q(SET ROLE tenant; SELECT count(*) FROM miosa.wall)), 0, 'nor has the wall');
like(sql(q(SET ROLE tenant; SELECT miosa_page('dep_5'))), qr/NOT CONVERGED: 3 of 4 edges/, 'but it has its own deployment');
like(($node->psql('postgres', q(SET ROLE tenant; SELECT miosa_page('dep_1'))))[2], qr/does not exist/, 'and no other one');

# psqlrc, as psql loads it.
{
	local $ENV{PSQLRC} = 'docs/psqlrc';
	my ($out, $err);
	my $variables = join ' ', map { /^\\set (\w+) '.*;'$/ ? ":$1\n" : () } split /\n/, slurp_file('docs/psqlrc');
	my $functions = join ' ', map { /^\\set (\w+) '.*[^;]'$/ ? ":$1('dep_5');\n" : () } split /\n/, slurp_file('docs/psqlrc');

	cmp_ok(scalar($variables =~ tr/:/:/), '>=', 7, 'variables that run');
	cmp_ok(scalar($functions =~ tr/:/:/), '>=', 4, 'and those that take a deployment');
	IPC::Run::run([ 'psql', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ], '<', \"$variables$functions", '>', \$out, '2>', \$err);
	is($err, '', 'all of them work');
	like($out, qr/^1 EDGE DOWN\|[^|]+\|TABLE miosa\.wall;$/m, ':overview');
	like($out, qr/^us\|#{6}-{6} 1\/2\|far\|/m, ':wall');
	like($out, qr/^verdict\|NOT CONVERGED: 3 of 4 edges/m, ':status');
	like($out, qr/^endpoint_health\|fail\|/m, ':doctor');
}

$node->stop;
done_testing();
