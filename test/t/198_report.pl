# The report of an incident in a real browser: it renders, its figures are those of
# the convergence log, and what people wrote stays text.

use strict;
use warnings FATAL => 'all';

use MiosaBrowser qw(browse colors);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('report');
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $sink = MiosaSink->new(dir => "$dir/sink")->start;

sub sql { return $node->safe_psql('postgres', @_) }

# The cells of each row of a table in the page that the browser has made.
sub rows
{
	my ($dom, $id) = @_;
	my ($table) = $dom =~ m{<table id="$id">.*?<tbody>(.*?)</tbody>}s;

	return [ map { [ map { s/<[^>]*>//gr } m{<t[hd][^>]*>(.*?)</t[hd]>}gs ] } ($table // '') =~ m{<tr[^>]*>(.*?)</tr>}gs ];
}

# Two zones, the slowest edge in one; a reason and names that would do harm.
my $evil = q{<script>document.title='owned'</script>"><img src=x onerror="document.title='owned'"> 'q' 100 % &amp; </td></table>};
sql(q(
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	UPDATE miosa.deployments SET name = '<script>document.title=''owned''</script>';
	SELECT miosa_put_version('dep_1', 'v' || v, v) FROM generate_series(1, 2) v;
	SELECT miosa_promote('dep_1', 'v1')));
sql("SELECT miosa_put_endpoint(e.name, 'webhook', '" . $sink->url . "/' || e.name, zone => e.zone)
	FROM (VALUES ('near1', 'eu'), ('near2', 'us'), ('far', 'us')) e (name, zone)");
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'edges have the first version');
$sink->answer('^/far', hold => 'far');
sql("SELECT miosa_promote('dep_1', 'v2', reason => \$reason\$$evil\$reason\$)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM miosa.convergence_rows('dep_1') WHERE done"), 'all edges but one have it');
$sink->release('far');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'all have it');
ok($node->poll_query_until('postgres', "SELECT state = 'converged' FROM miosa.convergence_log WHERE seq = 2"), 'and the log');
# Characters that calls refuse, as an older version may have stored them.
sql(q(INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, reason, marks, created_at)
	VALUES ('dep_1', 1000, 'ten_1', 'deployment.<b>', 'unchanged', 'none', 'user', '<i>ana</i>', 'app', E'left \xe2\x80\xae right \x01 end', '{"<u>": "<u>"}', clock_timestamp())));

my $html = sql("SELECT miosa_report('dep_1')");
PostgreSQL::Test::Utils::append_to_file("$dir/report.html", $html);
like($html, qr/Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';/, 'the page allows nothing but its style');

browse("$dir/report.html", '--window-size=640,520', "--screenshot=$dir/report.png");
my $colors = colors(PostgreSQL::Test::Utils::slurp_file("$dir/report.png"));
cmp_ok($colors, '>', 20, "it renders, in $colors colors");

# As the browser has understood it, without the policy: escapes alone do.
my $bare = "$dir/bare.html";
PostgreSQL::Test::Utils::append_to_file($bare, $html =~ s/<meta http-equiv="Content-Security-Policy"[^>]*>//r);
my $dom = browse($bare, '--dump-dom');
like($dom, qr{<title>Incident report: &lt;script&gt;document.title='owned'&lt;/script&gt; \(dep_1\)</title>}, 'the title is a text');
unlike($dom, qr/<(script|img|i|b|u)\b/i, 'no element but our own');
my $timeline = rows($dom, 'timeline');
is((grep { $_->[4] eq $evil =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr } @$timeline), 1, 'the reason is a text') or diag($dom);
is_deeply([ map { [ @$_[ 1 .. 4 ] ] } grep { $_->[1] eq '#1000' } @$timeline ],
	[ [ '#1000', 'deployment.&lt;b&gt;', 'user:&lt;i&gt;ana&lt;/i&gt;', '&lt;u&gt; &lt;u&gt;; left \u202e right \u0001 end' ] ], 'hidden characters are shown');
is_deeply([ map { [ @$_[ 2 .. 8 ] ] } grep { $_->[0] =~ /^#2 / } @{ rows($dom, 'edges') } ],
	[ [ split /\|/, sql("SELECT concat_ws('|', state, confirmed || ' of ' || edges, first_ms, p50_ms, p99_ms, last_ms, last_edge)
		FROM miosa.convergence_log WHERE deployment_id = 'dep_1' AND seq = 2") ] ], 'the figures are those of the log');
my $last = sql("SELECT format('last: far, %s ms', last_ms) FROM miosa.convergence_log WHERE seq = 2 AND last_edge = 'far'");
like($dom, qr{<text [^>]*>\Q$last\E</text>}, 'the last edge is named in the picture');
like($dom, qr{<svg [^>]*role="img"[^>]*><title[^>]*>Which version was served when</title>.*?<text class="in"[^>]*>v2</text>}s, 'and which version was served');

# Healthy instances over time.
# (In one transaction: instances that ended so long ago are deleted.)
my $report = sql(q(
	SET timezone = 'UTC';
	BEGIN;
	DO $$
	BEGIN
		PERFORM miosa_put_deployment('dep_2', 'ten_1', 'service', kind => 'dynamic');
		PERFORM miosa_put_version('dep_2', 'v' || v, v) FROM generate_series(1, 2) v;
	END $$;
	INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, updated_at) VALUES
		('dep_2', 'i0', 'ten_1', 'v1', 'starting', '2026-01-01 09:00Z'), ('dep_2', 'i1', 'ten_1', 'v1', 'healthy', '2026-01-01 09:30Z'),
		('dep_2', 'i2', 'ten_1', 'v1', 'healthy', '2026-01-01 10:15Z'), ('dep_2', 'i3', 'ten_1', 'v2', 'healthy', '2026-01-01 10:20Z'),
		('dep_2', 'i4', 'ten_1', 'v2', 'starting', '2026-01-01 10:30Z'), ('dep_2', 'i5', 'ten_1', 'v2', 'healthy', '2026-01-01 10:40Z');
	UPDATE miosa.runtime_instances SET state = 'unhealthy', updated_at = '2026-01-01 10:30Z' WHERE id = 'i1';
	UPDATE miosa.runtime_instances SET state = 'stopped', updated_at = '2026-01-01 10:31Z' WHERE id = 'i1';
	UPDATE miosa.runtime_instances SET state = 'healthy', updated_at = '2026-01-01 10:40Z' WHERE id = 'i4';
	SELECT miosa_report('dep_2', '2026-01-01 10:00Z', '2026-01-01 11:00Z');
	UPDATE miosa.runtime_instances SET state = 'healthy', updated_at = '2026-01-01 10:50Z' WHERE id = 'i1';
	SELECT 'i1 ' || (healthy_at = '2026-01-01 09:30Z' AND healthy_until IS NULL) FROM miosa.runtime_instances WHERE id = 'i1';
	COMMIT));
ok($report =~ s/\ni1 true\z//, 'an instance that is healthy again counts again');
PostgreSQL::Test::Utils::append_to_file("$dir/capacity.html", $report);
$dom = browse("$dir/capacity.html", '--dump-dom');
is_deeply(rows($dom, 'capacity'), [
	[ 'v1', '2026-01-01 10:00:00.000', 2, '2026-01-01 10:15:00.000', 1 ],
	[ 'v2', '2026-01-01 10:20:00.000', 3, '2026-01-01 10:40:00.000', 3 ] ], 'instances that each version reached');
is_deeply([ $dom =~ m{<path class="line s\d" d="([^"]*)"}g ],
	[ 'M44.0 162.0 H44.0 V112.0 H194.0 V62.0 H344.0 V112.0 H644', 'M244.0 162.0 H244.0 V112.0 H444.0 V12.0 H644' ], 'and in the picture, over time');

$node->stop;
done_testing();
