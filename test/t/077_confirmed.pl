# A replay confirms no operation that can still be lost: with synchronous
# replication a primary waits for its standby, also for what a crash made visible,
# and a standby answers only what it knows to be confirmed.

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
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 3) n;
EOS
$primary->backup('base');
my $standby = MiosaPostgres->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub call { my ($n) = @_; return "SELECT miosa_promote('dep_1', 'ver_$n', 'key-$n')"; }

# Commits wait for a standby of this name; for none, if it is empty.
sub wait_for_standby
{
	my ($name) = @_;

	$primary->safe_psql('postgres',
		"ALTER SYSTEM SET synchronous_standby_names = '$name'");
	$primary->reload;
	# The checkpointer decides
	my $done = poll_until(
		sub {
			my ($status) = $primary->psql('postgres',
				"SET statement_timeout = '300ms'; SELECT pg_current_xact_id()");

			return $primary->safe_psql('postgres', 'SHOW synchronous_standby_names') eq $name;
		});

	ok($done, $name eq '' ? 'commits wait for nobody' : 'commits wait for a standby that is not there');
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
	my ($node, $n) = @_;
	my (undef, undef, $messages) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET statement_timeout = '1s';\n" . call($n));

	return $messages;
}

# A standby that was not asked shows what nobody confirmed
wait_for_standby('absent');
my $session = call_that_waits(1);

ok(knows($standby, 1), 'the standby has replayed it');
like(failure($standby, 1), qr/MR53P: this server is a standby/,
	'and does not confirm it');
wait_for_standby('');
my $confirmed = $primary->safe_psql('postgres', call(1));

$session->quit;
ok( poll_until(
		sub { $standby->psql('postgres', call(1)) == 0 }),
	'it does when the dispatcher has taken it');
is( $standby->safe_psql('postgres', call(1) . q{ - 'as_of'}),
	$confirmed, 'with the same answer');

# After a crash the primary shows what nobody confirmed
wait_for_standby('absent');
$session = call_that_waits(2);
$primary->stop('immediate');
eval { $session->quit };
$primary->start;
ok(knows($primary, 2), 'the crash made it visible');
like(failure($primary, 2),
	qr/57014/, 'the primary does not confirm it before a standby has it');
wait_for_standby('');
like($primary->safe_psql('postgres', call(2)),
	qr/"dep_1#2"/, 'and does then');

# A standby that hears from nobody may be a primary that was demoted
ok( poll_until(
		sub { $standby->psql('postgres', call(2)) == 0 }),
	'the standby confirms it, too');
$primary->stop('fast');
ok( poll_until(
		sub { failure($standby, 2) =~ /MR53P: this server is a standby/ }),
	'but not when it has no primary');
$standby->promote;
ok(wait_dispatcher($standby, 'running'), 'it takes over');
like($standby->safe_psql('postgres', call(2)),
	qr/"dep_1#2"/, 'and confirms it as the primary');

$standby->stop;
done_testing();
