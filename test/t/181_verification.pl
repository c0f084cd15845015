# The target of a rollback is verified before it is needed: by the
# dispatcher, all the time and at a pace, and by a procedure, by hand.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaS3;
use MiosaSink;
use MiosaTest qw(make_node reload_settings verdict wait_dispatcher wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $s3 = MiosaS3->new(dir => "$dir/s3")->start;
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
# The dispatcher gives storage that hangs up soon, calls do not
my $node = make_node('verification', <<"EOC");
miosa_rollback.artifact_timeout = 300ms
miosa_rollback.artifact_max_age = '4 s'
miosa_rollback.artifact_file_root = '$dir'
EOC

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }
my $patient = "SET miosa_rollback.artifact_timeout = '60 s';\n";

sub setting
{
	my ($name, $value) = @_;

	$node->append_conf('postgresql.conf', "miosa_rollback.$name = $value\n");
	reload_settings($node);
	return;
}

# Deployment dep_<n> with versions 1 to 3, of which 3 is active.
sub deployment
{
	my ($n) = @_;

	$s3->put('shop', "$n/$_.tar", 'x') for 1 .. 3;
	return "${patient}SELECT miosa_put_deployment('dep_$n', 'ten_1', 'shop-$n');\n"
	  . join '', map {
		"SELECT miosa_put_version('dep_$n', 'ver_$_', $_, storage_uri => 's3://shop/$n/$_.tar');
		SELECT miosa_promote('dep_$n', 'ver_$_');\n"
	  } 1 .. 3;
}

# Forget what was verified.
sub forget
{
	my ($where) = @_;

	sql("UPDATE miosa.releases SET verified_at = NULL WHERE $where");
	return;
}

# Which releases of a deployment are verified, as "rel_1 rel_2".
sub verified
{
	my ($id) = @_;

	return "SELECT string_agg(id, ' ' ORDER BY id) FROM miosa.releases
		WHERE deployment_id = '$id' AND verified_at IS NOT NULL";
}

# Wait until nothing is asked for a second.
sub quiet
{
	return poll_until(
		sub { $s3->clear; return !$s3->wait_for(1, '/', 1); });
}

# Switch the dispatcher's part off, and wait until it is.
sub switch_off
{
	setting('artifact_max_age', 0);
	return quiet();
}

sub doctor
{
	my ($like) = @_;
	my $said;

	poll_until(
		sub {
			$said = sql("SELECT status || ': ' || seen FROM miosa_doctor() WHERE item = 'artifacts'");
			return $said =~ $like;
		},
		180,
		0.1);
	return $said;
}

sql("SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_secret('s3', '" . $s3->secret . "');
	SELECT miosa_put_storage('s3://', '" . $s3->url . "', 'eu-central-1', secret => 's3')");
sql(deployment(1));

# The default target, and nothing else
forget('true');
is(wait_sql($node, verified('dep_1'), 'rel_2'),
	'rel_2', 'the default target is verified');
my $first = sql("SELECT verified_at FROM miosa.releases WHERE id = 'rel_2'");
is(wait_sql($node,
		"SELECT verified_at > '$first' FROM miosa.releases WHERE id = 'rel_2'", 't'),
	't', 'and again, by itself');
is(sql("SELECT verified_at - '$first' >= '2 s'
		FROM miosa.releases WHERE id = 'rel_2'"),
	't', 'but not all the time');
is(sql(verified('dep_1')), 'rel_2', 'nothing else was');
ok(switch_off(), 'switched off');
$s3->clear;
sql("$patient SET miosa_rollback.artifact_max_age = '1 h';
	SELECT miosa_rollback('dep_1'); SELECT miosa_promote('dep_1', 'ver_3', accept_unverified => true)");
is(scalar $s3->requests('/shop/1/2.tar'), 0, 'a rollback need not ask');
setting('artifact_max_age', "'4 s'");

# One that is gone
my $log = -s $node->logfile;

$s3->delete('shop', '1/2.tar');
is(wait_sql($node,
		"SELECT missing_at IS NOT NULL AND verified_at IS NULL FROM miosa.releases WHERE id = 'rel_2'", 't'),
	't', 'an object that was deleted is found missing');
is(wait_sql($node, verified('dep_1') . " AND id <> 'rel_3'", 'rel_1'),
	'rel_1', 'and what would be taken in its place is verified');
like(doctor(qr/^fail: .*dep_1 v2/), qr/^fail: .*dep_1 v2/, 'the doctor names it');
is(sql("SELECT artifact FROM miosa.candidates('dep_1') WHERE version = 'v2'"),
	'missing', 'the candidates show it');
$first = sql("SELECT missing_at FROM miosa.releases WHERE id = 'rel_2'");
is(wait_sql($node,
		"SELECT missing_at > '$first' FROM miosa.releases WHERE id = 'rel_2'", 't'),
	't', 'it is asked for again');
my $logged = () = slurp_file($node->logfile, $log) =~
  /LOG:  the artifact of version "ver_2" of deployment "dep_1" is gone from storage/g;
is($logged, 1, 'it is logged once');
$s3->put('shop', '1/2.tar', 'x');
is(wait_sql($node,
		"SELECT missing_at IS NULL AND verified_at IS NOT NULL FROM miosa.releases WHERE id = 'rel_2'", 't'),
	't', 'it has come back');
like(doctor(qr/^ok/), qr/^ok/, 'the doctor is content');

# An answer that says nothing
$s3->set(expired => \1);
$s3->clear;
# No answer of before is under way then
ok($s3->wait_for(1, '/shop/1/2.tar'), 'storage refuses');
sql("UPDATE miosa.releases SET verified_at = now() - interval '1 hour' WHERE id = 'rel_2'");
$first = sql("SELECT verified_at FROM miosa.releases WHERE id = 'rel_2'");
$s3->clear;
ok($s3->wait_for(3, '/shop/1/2.tar'), 'storage is asked although it refuses');
is(sql("SELECT verified_at, missing_at FROM miosa.releases WHERE id = 'rel_2'"),
	"$first|", 'which changes nothing');
$s3->set(expired => \0);

# Storage that hangs holds up nobody
sql("SELECT miosa_put_endpoint('hook', 'webhook', '" . $sink->url . "/hook')");
$s3->set(instead => { raw => '' });
sql("UPDATE miosa.releases SET verified_at = NULL WHERE deployment_id = 'dep_1'");
$s3->clear;
ok($s3->wait_for(1, '/shop/1/2.tar'), 'storage hangs');
sql("SELECT miosa_promote('dep_1', 'ver_1', accept_unverified => true)");
ok($sink->wait_for(1, '^/hook'), 'an edge receives it all the same');
$s3->set(instead => undef);

# Many, at a pace
ok(switch_off(), 'switched off');
sql(join '', map { deployment($_) } 100 .. 219);
forget('true');
$s3->clear;
ok(!$s3->wait_for(1, '/', 1), 'with an age of 0 nothing is verified');
my $began = time();
setting('artifact_max_age', "'12 s'");
is(wait_sql($node,
		"SELECT count(*) FROM miosa.releases WHERE id = 'rel_2'
			AND deployment_id ~ '^dep_\\d{3}' AND verified_at IS NOT NULL", '120'),
	'120', 'all of many deployments are verified');
my @time = map { $_->{time} } grep { $_->{url} =~ m{/2\.tar$} } $s3->requests('/shop/');

# Those that are under way may come in together.
cmp_ok(scalar @time, '<=', 16 + 50 * ($time[-1] - $began), 'no more than some fifty a second');
cmp_ok($time[-1] - $began, '>', 2, 'spread over time');

# By hand
ok(switch_off(), 'switched off again');
forget('true');
$s3->clear;
my $hour = "${patient}SET miosa_rollback.artifact_max_age = '1 h';\n";

sql($hour . 'CALL miosa_verify_artifacts(30)');
is(scalar $s3->requests('/shop/'), 30, 'the procedure asks no more than it may');
sql($hour . "SET ROLE miosa_admin;\nCALL miosa_verify_artifacts()");
is(sql("SELECT count(*) FROM miosa.releases WHERE id = 'rel_2'
		AND deployment_id ~ '^dep_\\d{3}' AND verified_at IS NOT NULL"),
	'120', 'administrators may call it, and it goes round');
my $asked = $s3->requests('/shop/');

sql($hour . 'CALL miosa_verify_artifacts()');
is(scalar $s3->requests('/shop/'), $asked, 'what is verified is not asked for again');
my (undef, undef, $error) =
  $node->psql('postgres', "BEGIN; ${hour}CALL miosa_verify_artifacts()");
like($error, qr/invalid transaction termination/, 'it is not for use in a transaction');
(undef, undef, $error) = $node->psql('postgres', 'CALL miosa_verify_artifacts(0)');
like($error, qr/invalid value for argument "limit": "0"/, 'a limit of nothing');

# Files are looked for by the procedure alone
append_to_file("$dir/1.tar", 'x');
sql("SELECT miosa_put_deployment('dep_f', 'ten_1', 'files');
	SELECT miosa_put_version('dep_f', 'ver_1', 1, storage_uri => 'file://$dir/1.tar');
	SELECT miosa_put_version('dep_f', 'ver_2', 2);
	SELECT miosa_promote('dep_f', 'ver_1');
	SELECT miosa_promote('dep_f', 'ver_2')");
forget("deployment_id = 'dep_f'");
sql($hour . 'CALL miosa_verify_artifacts()');
is(sql(verified('dep_f')), 'rel_1', 'a file is looked for');
unlink("$dir/1.tar") or die "$dir/1.tar: $!\n";
forget("deployment_id = 'dep_f'");
sql($hour . 'CALL miosa_verify_artifacts()');
is(sql("SELECT missing_at IS NOT NULL FROM miosa.releases WHERE deployment_id = 'dep_f'"),
	't', 'and missed');

# An age that is made shorter counts at once, not after a tour of the old one
ok(switch_off(), 'switched off once more');
forget('true');
setting('artifact_max_age', "'1 h'");
ok($s3->wait_for(1, '/shop/'), 'with an age of an hour the tour begins');
ok(quiet(), 'and takes its time');
setting('artifact_max_age', "'4 s'");
ok($s3->wait_for(1, '/shop/'), 'it begins anew when the age is made shorter');
ok(switch_off(), 'switched off for good');

# A copy of the database asks nobody
forget('true');
setting('artifact_max_age', "'4 s'");
setting('site', "'elsewhere'");
ok(wait_dispatcher($node, 'paused'), 'the dispatcher is paused');
# It has very much to ask for
ok(quiet(), 'and asks nothing');

$s3->stop;
$sink->stop;
done_testing();
