# A replay confirms no operation that can still be lost: with synchronous
# replication a primary waits for as many standbys as its setting asks for, also
# for what a crash made visible, and a standby answers only what it knows to be
# confirmed. With asynchronous replication a lost key is a new one.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaPostgres;
use MiosaTest qw(make_node wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = make_node('primary', <<'EOC', allows_streaming => 1);
miosa_rollback.site = 'main'
wal_receiver_timeout = 2s
EOC
$primary->safe_psql('postgres', <<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 7) n;
EOS
$primary->backup('base');
my $standby = MiosaPostgres->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub call { my ($n) = @_; return "SELECT miosa_promote('dep_1', 'ver_$n', 'key-$n')"; }

# Set synchronous_standby_names, and wait until commits obey, which do as the
# checkpointer does. It was signalled before a new session sees the setting, and
# has read it before it makes a checkpoint.
sub set_standbys
{
	my ($setting) = @_;

	$primary->safe_psql('postgres',
		"ALTER SYSTEM SET synchronous_standby_names = '$setting'");
	$primary->reload;
	ok( $primary->poll_query_until(
			'postgres',
			q{SELECT current_setting('synchronous_standby_names')}, $setting),
		$setting eq '' ? 'commits wait for nobody' : "commits wait for $setting");
	$primary->safe_psql('postgres', 'CHECKPOINT');
	return;
}

# A call that does not end, since its commit waits.
sub call_that_waits
{
	my ($n) = @_;
	my $session = $primary->background_psql('postgres', on_error_stop => 0);

	$session->query_until(qr/begun/, '\echo begun' . "\n" . call($n) . ";\n");
	ok( $primary->poll_query_until(
			'postgres',
			q{SELECT count(*) > 0 FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND query LIKE '%miosa_promote%'}),
		"the commit of call $n waits");
	return $session;
}

sub knows
{
	my ($node, $n) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM miosa.idempotency_keys WHERE key = 'key-$n'");
}

# The SQLSTATE and the messages of a call that fails.
sub failure
{
	my ($node, $n, $timeout) = @_;
	my (undef, undef, $messages) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET statement_timeout = '" . ($timeout // '60s') . "';\n" . call($n));

	return $messages;
}

# A standby that was not asked shows what nobody confirmed
set_standbys('absent');
my $session = call_that_waits(1);

ok(knows($standby, 1), 'the standby has replayed it');
like(failure($standby, 1), qr/MR53P: this server is a standby/,
	'and does not confirm it');
set_standbys('');
my $confirmed = $primary->safe_psql('postgres', call(1));

$session->quit;
ok( poll_until(
		sub { $standby->psql('postgres', call(1)) == 0 }),
	'it does when the dispatcher has taken it');
is( $standby->safe_psql('postgres', call(1) . q{ - 'as_of'}),
	$confirmed, 'with the same answer');

# After a crash the primary shows what nobody confirmed
set_standbys('absent');
$session = call_that_waits(2);
$primary->stop('immediate');
eval { $session->quit };
$primary->start;
ok(knows($primary, 2), 'the crash made it visible');
like(failure($primary, 2, '1s'),
	qr/57014/, 'the primary does not confirm it before a standby has it');
set_standbys('');
like($primary->safe_psql('postgres', call(2)),
	qr/"dep_1#2"/, 'and does then');

# How many have to confirm, and which
my $here = $standby->name;

for my $setting ("ANY 1 ($here, absent)", "FIRST 1 (absent, $here)", "$here")
{
	set_standbys($setting);
	like($primary->safe_psql('postgres', call(2)),
		qr/"dep_1#2"/, 'one that is there is enough');
}
my $n = 2;

for my $setting ("ANY 2 ($here, absent)", "FIRST 2 (absent, $here)")
{
	set_standbys($setting);
	$session = call_that_waits(++$n);
	# The repetition waits for all that is written, whosever it is
	like(failure($primary, 2, '1s'), qr/57014/, 'one of two is not enough');
	set_standbys("$here");
	like($primary->safe_psql('postgres', call(2)),
		qr/"dep_1#2"/, 'it is when one is asked for');
	$session->quit;
}

# The setting changes while a repetition waits
set_standbys('absent');
$session = call_that_waits(5);
my $replay = $primary->background_psql('postgres', on_error_stop => 0);

$replay->query_until(qr/begun/, '\echo begun' . "\n" . call(2) . ";\n\\echo ended\n");
ok( $primary->poll_query_until(
		'postgres',
		q{SELECT count(*) = 2 FROM pg_stat_activity
		WHERE wait_event = 'SyncRep' AND query LIKE '%miosa_promote%'}),
	'a repetition waits beside a commit');
set_standbys("FIRST 1 (absent, $here)");
like($replay->query_until(qr/ended/, ''), qr/"replayed": true/,
	'it ends when the setting names a standby that is there');
$replay->quit;
$session->quit;
set_standbys('');

# A standby that hears from nobody may be a primary that was demoted
ok( poll_until(
		sub { $standby->psql('postgres', call(2)) == 0 }),
	'the standby confirms it, too');
$primary->stop('fast');
ok( poll_until(
		sub { failure($standby, 2) =~ /MR53P: this server is a standby/ }),
	'but not when it has no primary');
$primary->start;
ok( poll_until(
		sub { $standby->psql('postgres', call(2)) == 0 }),
	'it confirms it when the primary is back');

# With asynchronous replication an operation can be lost that was confirmed. Its
# key is lost with it: no server confirms it again, and a repetition is a new
# operation.
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->reload;
ok( $standby->poll_query_until('postgres',
		'SELECT count(*) = 0 FROM pg_stat_wal_receiver'),
	'the standby is cut off');
my $seq = $primary->safe_psql('postgres',
	q{SELECT seq FROM miosa.deployments WHERE id = 'dep_1'});

like($primary->safe_psql('postgres', call(6)),
	qr/"dep_1#@{[ $seq + 1 ]}"/, 'the primary confirms an operation all the same');
$primary->stop('immediate');
like(failure($standby, 6), qr/MR53P/, 'the standby does not');
$standby->promote;
ok(wait_dispatcher($standby, 'running'), 'it takes over');
like($standby->safe_psql('postgres', call(2)),
	qr/"dep_1#2"/, 'what it has it confirms as the primary');
like($standby->safe_psql('postgres', call(7)),
	qr/"dep_1#@{[ $seq + 1 ]}"/, 'another operation gets the number of the lost one');
my $anew = $standby->safe_psql('postgres', call(6));

like($anew, qr/"dep_1#@{[ $seq + 2 ]}"/, 'the lost key is applied anew');
unlike($anew, qr/"replayed": true/, 'and says so');

$standby->stop;
done_testing();
