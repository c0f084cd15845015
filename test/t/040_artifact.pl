# What storage says about an artifact, and what is done when it says nothing:
# no hanging storage may hold up a rollback, and none is taken for a yes.

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $root = "$dir/artifacts";
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $node = MiosaPostgres->new('artifact');
my $number = 1;

mkdir $root or die "$root: $!\n";

$node->init;
$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'miosa_rollback'
miosa_rollback.allow_private_endpoints = on
miosa_rollback.artifact_timeout = 60s
miosa_rollback.artifact_file_root = '$root'
EOC
$node->start;
$node->safe_psql('postgres', <<'EOS');
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_1', 1);
SELECT miosa_promote('dep_1', 'ver_1');
EOS

# A ready version whose artifact is at a URI; returns the version's id.
sub version_at
{
	my ($uri, $verified) = @_;
	my $id = 'ver_' . ++$number;

	$node->safe_psql('postgres',
		"SELECT miosa_put_version('dep_1', '$id', $number, storage_uri => '$uri')");
	$node->safe_psql('postgres',
		"UPDATE miosa.releases SET verified_at = now() - interval '$verified'
		WHERE deployment_version_id = '$id'") if defined $verified;
	return $id;
}

# Promote the version: {state: SQLSTATE or 'done', messages, ms}.
sub promote
{
	my ($id, %arg) = @_;
	my $started = time();
	my ($status, $out, $messages) = $node->psql('postgres',
		($arg{settings} // '')
		  . "\\set VERBOSITY verbose\n"
		  . "SELECT miosa_promote('dep_1', '$id'"
		  . ($arg{more} // '') . ')');
	my ($state) = $messages =~ /ERROR:  (\w{5}):/;

	return {
		state => $state // ($status == 0 ? 'done' : 'no error'),
		messages => $messages,
		ms => 1000 * (time() - $started)
	};
}

# What is asked of a path, as "METHOD METHOD".
sub asked
{
	my ($path) = @_;

	return join ' ', map { $_->{method} } $sink->requests("^$path");
}

# Promote a version whose artifact is at that path, and compare.
sub storage_says
{
	my ($path, $state, $pattern, $name, %arg) = @_;
	my $got = promote(version_at($sink->url . $path, $arg{verified}), %arg);

	is($got->{state}, $state, $name) or diag $got->{messages};
	like($got->{messages}, $pattern, "$name: it is said why");
	like($got->{messages}, qr/^LOCATION:  \w+, finding[.]c:\d+$/m,
		"$name: the log says where it is raised")
	  if $state =~ /^MR/;
	return $got;
}

# Where storage does not answer.
my $short = "SET miosa_rollback.artifact_timeout = '300 ms';\n";

# Certain answers
storage_says('/there', 'done', qr/^$/, 'an artifact that is there');
is(asked('/there'), 'HEAD', 'storage is asked once, without a body');

$sink->answer('^/missing', status => 404);
storage_says('/missing?sig=secret', 'MR410',
	qr{Storage answered 404 to HEAD http://127\.0\.0\.1:\d+/missing\?\.\.\.\.},
	'an artifact that is gone');
$sink->answer('^/gone', status => 410);
storage_says('/gone', 'MR410', qr/answered 410/, 'one that is gone for good');

# Storage that knows no HEAD
$sink->answer('^/get-only', status => 206);
$sink->answer('^/get-only', method => 'HEAD', status => 405);
storage_says('/get-only', 'done', qr/^$/, 'a server without HEAD');
is(asked('/get-only'), 'HEAD GET', 'the request is repeated by GET');
is(($sink->requests('^/get-only'))[1]{headers}{range},
	'bytes=0-0', 'for one byte');
$sink->answer('^/get-none', status => 404);
$sink->answer('^/get-none', method => 'HEAD', status => 501);
storage_says('/get-none', 'MR410', qr/answered 404 to GET/,
	'a server without HEAD and without the artifact');

# Uncertain answers
$sink->answer('^/denied', status => 403);
storage_says('/denied', 'MR503', qr/answered 403/, 'a refusal');
storage_says(
	'/denied', 'done', qr/WARNING.*answered 403/s,
	'a refusal after a verification of two hours ago',
	verified => '2 hours');
storage_says('/denied', 'MR503', qr/answered 403/,
	'a refusal after a verification of long ago',
	verified => '2 days');
storage_says(
	'/denied', 'done', qr/WARNING.*answered 403/s,
	'a refusal that the caller accepts',
	more => ', accept_unverified => true');
$sink->answer('^/broken', status => 500);
storage_says('/broken', 'MR503', qr/answered 500/, 'an error of the server');
storage_says('/other#part', 'MR503', qr/characters that must be escaped/,
	'a fragment, which is never sent');
is(asked('/other'), '', 'another file is not asked for instead');
$sink->answer('^/moved', status => 302,
	headers => { Location => '/moved-there' });
storage_says('/moved', 'MR503', qr/answered 302/, 'a redirection');
is(asked('/moved-there'), '', 'which is not followed');
$sink->answer('^/reset', reset => 1);
storage_says('/reset', 'MR503', qr/could not be asked/, 'a reset');
is($node->safe_psql('postgres',
		"SELECT count(*) FROM miosa.audit_events WHERE marks::text LIKE '%unverified%'"),
	2, 'both that went on unverified are marked in the audit');

# A version that is named is asked for, however young its verification, which
# counts when storage does not answer
$sink->clear;
storage_says('/known', 'done', qr/^$/, 'verified a minute ago',
	verified => '1 minute');
is(asked('/known'), 'HEAD', 'storage is asked all the same');
$sink->answer('^/lately', status => 404);
storage_says('/lately', 'MR410', qr/answered 404/,
	'gone since a minute ago',
	verified => '1 minute');
$sink->answer('^/silent', hang => 1);
storage_says(
	'/silent', 'done', qr/WARNING.*did not answer/s,
	'no answer, but verified a minute ago',
	verified => '1 minute',
	settings => "$short SET miosa_rollback.artifact_unknown_grace = 0;\n");

# A default target is not asked for while its verification is young; what
# people see of it is what a rollback would do
$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('dep_2', 'ten_1', 'blog');
SELECT miosa_put_version('dep_2', 'c' || n, n, storage_uri => '@{[ $sink->url ]}/c' || n) FROM generate_series(1, 3) n;
SELECT miosa_promote('dep_2', 'c1');
SELECT miosa_promote('dep_2', 'c2');
SELECT miosa_promote('dep_2', 'c3');
EOS
$sink->clear;
my $seen = "SELECT string_agg(version || ' ' || split_part(artifact, ' ', 1) || ' ' || note, ', ') FROM miosa.candidates('dep_2')";
is($node->safe_psql('postgres', $seen),
	'v3 seen active, v2 seen default, v1 seen ', 'seen a moment ago');
is(asked('/c2'), '', 'storage is not asked');
$sink->answer('^/c2', status => 404);
my $ask = "SET miosa_rollback.artifact_max_age = 0;\n";
is($node->safe_psql('postgres', $ask . $seen),
	'v3 seen active, v2 missing gone, v1 seen default',
	'what the plan passes over is gone, and the next one the default');
is( $node->safe_psql('postgres',
		$ask . "SELECT miosa_plan('dep_2') -> 'data' ->> 'target_version_id'"),
	'c1', 'as in the plan');
$sink->answer('^/c1', status => 403);
is($node->safe_psql('postgres', $ask
		  . "SET miosa_rollback.artifact_unknown_grace = 0;\n"
		  . $seen),
	'v3 seen active, v2 missing gone, v1 seen default refused',
	'and that it would be refused is said');

ok($node->safe_psql('postgres',
		"SELECT verified_at > now() - interval '1 minute'
		FROM miosa.releases WHERE storage_uri LIKE '%/there'"),
	'a verification is remembered');

# A group asks for all artifacts before it locks anything, and goes on without
# the targets that are refused
$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('g_' || n, 'ten_1', 'g' || n) FROM generate_series(1, 4) n;
SELECT miosa_put_version('g_' || n, 'v1', 1, storage_uri => '@{[ $sink->url ]}/group-' || n) FROM generate_series(1, 4) n;
SELECT miosa_put_version('g_' || n, 'v2', 2) FROM generate_series(1, 4) n;
SELECT miosa_promote('g_' || n, 'v2') FROM generate_series(1, 4) n;
EOS
$sink->answer('^/group-2', status => 404);
$sink->answer('^/group-3', status => 403);
my $group = "FROM miosa.rollback_group(ARRAY['g_4', 'g_3', 'g_2', 'g_1'], array_fill('v1'::text, ARRAY[4])";
is( $node->safe_psql('postgres',
		"SELECT string_agg(concat_ws(' ', deployment_id, outcome, condition), ', ') $group)"),
	'g_1 changed, g_2 ARTIFACT_GONE, g_3 STORAGE_UNAVAILABLE, g_4 changed',
	'a group: who has an artifact');
is( $node->safe_psql('postgres',
		"SELECT string_agg(deployment_id, ', ' ORDER BY 1) FROM miosa.releases
		WHERE deployment_id LIKE 'g_%' AND verified_at > now() - interval '1 minute'"),
	'g_1, g_4', 'their verifications are remembered');
is( $node->safe_psql('postgres',
		"SELECT string_agg(concat_ws(' ', deployment_id, outcome, response #>> '{operation,warnings,0,code}'), ', ')
		$group, accept_unverified => true)"),
	'g_1 unchanged, g_2, g_3 changed ARTIFACT_UNVERIFIED, g_4 unchanged',
	'without an answer, which the caller accepts');
$sink->answer('^/group-3', hang => 1);
$node->safe_psql('postgres',
	"SELECT miosa_rollback('g_' || n, 'v2') FROM generate_series(1, 4) n");
$sink->clear;

my $grouped = $node->background_psql('postgres', on_error_stop => 0);

$grouped->query_safe("SET miosa_rollback.artifact_timeout = '60 s';
");
$grouped->query_until(qr/go/, "\\echo go\nSELECT outcome $group);\n");
ok($sink->wait_for(1, '^/group-3'), 'a group asks storage');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM (SELECT FROM miosa.deployments WHERE id LIKE 'g_%' FOR UPDATE NOWAIT) d"),
	4, 'while it has locked nothing');
$node->safe_psql('postgres',
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity
	WHERE query LIKE 'SELECT outcome%'");
like($grouped->query('SELECT 1 + 1'), qr/2/, 'and can be cancelled');
is( $node->safe_psql('postgres',
		"SELECT string_agg(DISTINCT active_version_id, ', ') FROM miosa.deployments WHERE id LIKE 'g_%'"),
	'v2', 'so that nothing is done');
$grouped->quit;

# It is asked for many at a time, but not for all at once: none is answered here
$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('m_' || n, 'ten_1', 'm' || n) FROM generate_series(1, 40) n;
SELECT miosa_put_version('m_' || n, 'v1', 1, storage_uri => '@{[ $sink->url ]}/many-' || n) FROM generate_series(1, 40) n;
SELECT miosa_put_version('m_' || n, 'v2', 2) FROM generate_series(1, 40) n;
SELECT miosa_promote('m_' || n, 'v2') FROM generate_series(1, 40) n;
EOS
$sink->answer('^/many', hang => 1);
my $many = "FROM miosa.rollback_group((SELECT array_agg('m_' || n) FROM generate_series(1, 40) n), array_fill('v1'::text, ARRAY[40]))";

$grouped = $node->background_psql('postgres', on_error_stop => 0);
$grouped->query_safe("SET miosa_rollback.artifact_timeout = '60 s';
");
$grouped->query_until(qr/go/, "\\echo go\nSELECT outcome $many;\n");
ok($sink->wait_for(32, '^/many'), 'a group asks for many artifacts at a time');
$node->safe_psql('postgres',
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity
	WHERE query LIKE 'SELECT outcome%'");
like($grouped->query('SELECT 1 + 1'), qr/2/, 'and ends when it is cancelled');
is(scalar $sink->requests('^/many'), 32, 'and does not ask for more at a time');
# the same session repeats it, when most is answered
$sink->answer('^/many', status => 200);
$sink->answer('^/many-7$', status => 404);
$sink->answer('^/many-8$', method => 'HEAD', status => 405);
like(
	$grouped->query(
		"SELECT string_agg(outcome || ' ' || n, ' ' ORDER BY n DESC), string_agg(deployment_id, ' ') FILTER (WHERE outcome IS NULL)
		FROM (SELECT *, count(*) OVER (PARTITION BY outcome) AS n $many) g WHERE deployment_id IN ('m_1', 'm_7', 'm_8')"),
	qr/^changed 39 changed 39\|m_7$/m,
	'afterwards all of them are rolled back but the one that is gone');
$grouped->quit;

$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('s_' || n, 'ten_1', 's' || n) FROM generate_series(1, 5) n;
SELECT miosa_put_version('s_' || n, 'v1', 1, storage_uri => '@{[ $sink->url ]}/' || CASE n WHEN 5 THEN 'shared-gone' ELSE 'shared' END) FROM generate_series(1, 5) n;
SELECT miosa_put_version('s_' || n, 'v2', 2, storage_uri => '@{[ $sink->url ]}/v2-' || n) FROM generate_series(1, 5) n;
SELECT miosa_put_version('s_' || n, 'v3', 3) FROM generate_series(1, 5) n;
EOS
$node->safe_psql('postgres',
	"SELECT miosa_promote('s_' || n, v) FROM generate_series(1, 5) n, unnest(ARRAY['v1', 'v2', 'v3']) v ORDER BY v, n");
$sink->answer('^/v2-[345]', status => 404);
$sink->answer('^/shared-gone', status => 404);
# Default targets: a deployment that has lost one goes further back, as in a
# single call
$node->safe_psql('postgres',
	"UPDATE miosa.releases SET verified_at = NULL, missing_at = NULL WHERE deployment_id LIKE 's_%'");
my $target = "g.deployment_id, g.condition, g.message, g.detail, response #>> '{operation,target_version_id}',
	response #>> '{operation,skipped}'";

sub went
{
	my ($from) = @_;

	return $node->safe_psql('postgres',
		"BEGIN; SELECT concat_ws(' ', $target) FROM $from ORDER BY 1; ROLLBACK");
}
my @defaults = map { "'s_$_'" } 1 .. 5;
my $together = went('miosa.rollback_group(ARRAY[' . join(', ', @defaults) . ']) g');
my $alone = join "\n",
  map { went("miosa.rollback_group(ARRAY[$_]) g") } @defaults;

is($together, $alone, 'default targets of a group are those of one at a time');
like($together, qr/^s_1 v2.*^s_3 v1 .*v2.*^s_5 NO_PREVIOUS_VERSION/ms,
	'and go past what is gone');
my ($single) = $node->safe_psql('postgres',
	"BEGIN; SELECT miosa_rollback('s_3') -> 'operation' ->> 'target_version_id'; ROLLBACK");
is($single, 'v1', 'as a single call does');

# Storage is asked for three versions at most
$node->safe_psql('postgres', <<"EOS");
SELECT miosa_put_deployment('three', 'ten_1', 'three');
SELECT miosa_put_version('three', 'v' || n, n, storage_uri => '@{[ $sink->url ]}/three-' || n) FROM generate_series(1, 5) n;
SELECT miosa_promote('three', 'v' || n) FROM generate_series(1, 5) n;
UPDATE miosa.releases SET verified_at = NULL WHERE deployment_id = 'three';
EOS
$sink->answer('^/three-[234]', status => 404);
$sink->clear;
my $passed = join ', ',
  map { qq{v$_ ("v$_"): its artifact is gone from storage} } 4, 3, 2;
my (undef, undef, $refusal) =
  $node->psql('postgres', "SELECT miosa_rollback('three')");
$passed = "Skipped: $passed, and older versions were not checked.";
like($refusal, qr/DETAIL: +\Q$passed\E/, 'three versions that are gone are enough');
is( $node->safe_psql(
		'postgres', "SELECT detail FROM miosa.rollback_group(ARRAY['three'])"),
	$passed,
	'in a group too');
is(asked('/three-1'), '', 'and the one before is not asked for');

# Of one artifact that many deployments have, storage is asked once
$sink->clear;
$node->safe_psql('postgres',
	"UPDATE miosa.releases SET verified_at = NULL WHERE deployment_id LIKE 's_%'");
my $shared = "FROM miosa.rollback_group(ARRAY['s_1', 's_2', 's_3', 's_4'], array_fill('v1'::text, ARRAY[4]))";

is( $node->safe_psql('postgres', "SELECT string_agg(outcome, ' ') $shared"),
	'changed changed changed changed',
	'a group of deployments with one artifact');
is(scalar $sink->requests('^/shared$'), 1, 'asks for it once');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM miosa.releases WHERE deployment_id LIKE 's_%' AND deployment_version_id = 'v1'
		AND verified_at > now() - interval '1 minute'"),
	4, 'and remembers it for each of them');

# All or nothing: the first one that is refused, also when a later one is known
# to be before storage has answered
my (undef, undef, $why) = $node->psql('postgres',
	"SELECT * FROM miosa.rollback_group(ARRAY['s_5', 'x'], ARRAY['v1', 'v1'], all_or_nothing => true)");
like($why, qr/ERROR: .*"v1" is gone/,
	'all or nothing: the first refusal is raised');

# Storage that hangs
$sink->answer('^/hang', hang => 1);
storage_says('/hang', 'MR503', qr/did not answer HEAD .* within 300 ms/,
	'storage that hangs', settings => $short);
$sink->answer('^/slow', slow => 0.2);
storage_says('/slow', 'MR503', qr/within 300 ms/, 'storage that trickles', settings => $short);
# Each question alone is answered in time
$sink->answer('^/late', delay => 3);
$sink->answer('^/late', method => 'HEAD', status => 405, delay => 3);
storage_says('/late', 'MR503', qr/did not answer GET/,
	'both questions share one time-out',
	settings => "SET miosa_rollback.artifact_timeout = '5500 ms';\n");

# Ctrl-C and statement_timeout
my $hanging = version_at($sink->url . '/hang-long');
my $long = "SET miosa_rollback.artifact_timeout = '60 s';\n";

my $got = promote($hanging,
	settings => $long . "SET statement_timeout = '200 ms';\n");
is($got->{state}, '57014', 'statement_timeout ends a hanging probe');
cmp_ok($got->{ms}, '<', 60000, 'and does not wait for the time-out of the probe');

my $psql = $node->background_psql('postgres', on_error_stop => 0);
$psql->query_safe($long);
$psql->query_until(qr/go/,
	"\\echo go\nSELECT miosa_promote('dep_1', '$hanging');\n");
ok($sink->wait_for(2, '^/hang-long'), 'another probe hangs');
my $started = time();
$node->safe_psql('postgres',
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity
	WHERE query LIKE 'SELECT miosa_promote%'");
like($psql->query('SELECT 1 + 1'), qr/2/, 'the session goes on');
cmp_ok(time() - $started, '<', 60, 'a cancel ends a hanging probe before its time-out');
$psql->quit;

# The connection stays open for the next probe of the same session
$sink->clear;
my @versions = map { version_at($sink->url . $_) } '/first', '/second';

$node->safe_psql('postgres',
	join '', map { "SELECT miosa_promote('dep_1', '$_');\n" } @versions);
my @port = map { $_->{port} } $sink->requests('^/(first|second)$');

is(scalar @port, 2, 'two probes of a session');
is($port[0], $port[1], 'share a connection');

# What is never sent
for my $host ('user:pw@127.0.0.1', 'user@127.0.0.1')
{
	$got = promote(version_at("http://$host:$sink->{port}/creds"));
	is($got->{state}, 'MR503', "$host: credentials in a URI");
	unlike($got->{messages}, qr/pw\@/, 'they are not shown');
}
$node->safe_psql('postgres', <<"EOS");
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	VALUES ('dep_1', 'ver_raw', 'ten_1', 999, 'ready');
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri)
	VALUES ('dep_1', 'rel_raw', 'ver_raw', 'ten_1', 'http://127.0.0.1:$sink->{port}/creds more');
EOS
$got = promote('ver_raw');
is($got->{state}, 'MR503', 'a space in a URI');
like($got->{messages}, qr/characters that must be escaped/, 'it is said why');
is(asked('/creds'), '', 'none of them is asked for');

# Other schemes are decided by our own record
is(promote(version_at('s3://bucket/key'))->{state},
	'done', 'a scheme that is not asked');

# Files, below the root only
open(my $file, '>', "$root/a b.tar") or die "$root: $!\n";
close $file;
mkdir "$root/dir" or die "$root/dir: $!\n";
symlink('/etc', "$root/out") or die "$root/out: $!\n";
symlink('dir', "$root/in") or die "$root/in: $!\n";
for my $case (
	[ "$root/a%20b.tar", 'done', qr/^$/ ],
	[ "$root/dir", 'done', qr/^$/ ],
	[ "$root/in", 'done', qr/^$/ ],
	[ "$root/none", 'MR410', qr/There is no file/ ],
	[ "$root/dir/none/x", 'MR410', qr/There is no file/ ],
	[ "$root/a%20b.tar/x", 'MR410', qr/There is no file/ ],
	[ '/etc/passwd', 'MR503', qr/is not below/ ],
	[ "$root/../sink", 'MR503', qr/is not below/ ],
	[ "$root/%2e%2e/sink", 'MR503', qr/is not below/ ],
	[ "$root/out/passwd", 'MR503', qr/is not below/ ],
	[ "$root/out/none", 'MR503', qr/is not below/ ],
	[ "${root}2/x", 'MR503', qr/is not below/ ],
	[ "$root/x%00", 'MR503', qr/is not of the form/ ],
	[ "$root/x%4", 'MR503', qr/is not of the form/ ],
	[ "$root/x%g0", 'MR503', qr/is not of the form/ ],
	[ "localhost$root/dir", 'done', qr/^$/ ],
	[ "LOCALHOST$root/none", 'MR410', qr/There is no file "\Q$root\E\/none"/ ],
	[ "elsewhere$root/dir", 'MR503', qr/is not of the form/ ],
	[ "$root/" . 'x' x 300, 'MR503', qr/could not be accessed: File name too long/ ])
{
	my ($path, $state, $pattern) = @$case;

	$got = promote(version_at("file://$path"));
	is($got->{state}, $state, "file://$path");
	like($got->{messages}, $pattern, 'it is said why');
}
rename($root, "$root.away") or die "$root: $!\n";
is(promote(version_at("file://$root/dir"))->{state},
	'MR503', 'without the root nothing is gone');

# Everything may be below the root, also what would be in a missing folder
$node->append_conf('postgresql.conf',
	"miosa_rollback.artifact_file_root = '/'\n");
$node->reload;
$node->poll_query_until('postgres',
	"SELECT current_setting('miosa_rollback.artifact_file_root') = '/'");
for my $path ('/miosa-none', '/miosa-none/x/y', "$root.away/none/x")
{
	$got = promote(version_at("file://$path"));
	is($got->{state}, 'MR410', "file://$path is gone");
	like($got->{messages}, qr/There is no file/, 'it is said why');
}
is(promote(version_at("file://$root.away/dir"))->{state},
	'done', 'and what is there is found');

# The defaults
$node->append_conf('postgresql.conf', <<'EOC');
miosa_rollback.allow_private_endpoints = off
miosa_rollback.artifact_file_root = ''
EOC
$node->restart;
$sink->clear;
is(promote(version_at('file:///etc/none'))->{state},
	'done', 'files are not looked for by default');
$got = promote(version_at($sink->url . '/private'));
is($got->{state}, 'MR503', 'private addresses are not asked by default');
like($got->{messages}, qr/in no network of miosa_rollback\.allowed_networks/, 'it is said why');
$got = promote(version_at("http://localhost:$sink->{port}/private"));
is($got->{state}, 'MR503', 'a name is no way around it');
unlike($got->{messages}, qr/127\.0|::1/, 'and its address is not shown');
is(asked('/private'), '', 'storage saw nothing of it');

$sink->stop;
done_testing();
