# A standby that has no connection to a primary does not know how old its data is:
# one that restores from an archive, one whose primary is cut off while replay is
# paused, and one that was just started. A standby of a standby measures from the
# one that it follows.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaPostgres;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = make_node('primary', "wal_receiver_timeout = 2s\n",
	allows_streaming => 1, has_archiving => 1);

$primary->safe_psql('postgres', <<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 3) n;
SELECT miosa_promote('dep_1', 'ver_1', 'key-1');
EOS
$primary->backup('base');

sub follow
{
	my ($name, $of, $backup, %how) = @_;
	my $node = MiosaPostgres->new($name);

	$node->init_from_backup($of, $backup, %how);
	$node->start;
	return $node;
}

sub as_of
{
	my ($node) = @_;

	return decode_json($node->safe_psql('postgres', q{SELECT miosa_deployment('dep_1')}))->{as_of};
}

sub active
{
	my ($node) = @_;

	return $node->safe_psql('postgres', q{SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'});
}

sub is_unknown
{
	my ($node, $name) = @_;
	my $as_of = as_of($node);

	ok(exists $as_of->{lag_seconds} && !defined $as_of->{lag_seconds}, $name)
	  or diag explain $as_of;
	return;
}

# From an archive alone
my $archive = follow('archive', $primary, 'base', has_restoring => 1, standby => 1);

is_unknown($archive, 'restored from an archive: the lag is unknown');
$primary->safe_psql('postgres', q{SELECT miosa_promote('dep_1', 'ver_2', 'key-2')});
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
ok(poll_until(sub { active($archive) eq 'ver_2' }), 'it gets what is archived');
is_unknown($archive, 'and the lag is unknown');
ok(defined as_of($archive)->{time}, 'the newest commit is known');
my (undef, undef, $messages) = $archive->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT miosa_promote('dep_1', 'ver_2', 'key-2')");
like($messages, qr/MR53P: this server is a standby/,
	'a repetition is refused, since nobody says what is confirmed');

# A standby of a standby
my $standby = follow('standby', $primary, 'base', has_streaming => 1);
$standby->backup('second');
my $second = follow('second', $standby, 'second', has_streaming => 1);

ok(poll_until(sub { defined as_of($second)->{lag_seconds} }),
	'a standby of a standby knows its lag');
cmp_ok(as_of($second)->{lag_seconds}, '>=', 0, 'which is a number');
$primary->safe_psql('postgres', q{SELECT miosa_promote('dep_1', 'ver_3', 'key-3')});
ok(poll_until(sub { active($second) eq 'ver_3' }), 'it gets what happens at the primary');

# Paused and cut off: what was received is not shown, what was missed is not known
$primary->wait_for_catchup($standby, 'replay');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
ok( $standby->poll_query_until(
		'postgres', 'SELECT pg_get_wal_replay_pause_state()', 'paused'),
	'replay is paused');
$primary->safe_psql('postgres', q{SELECT miosa_promote('dep_1', 'ver_1', 'key-4')});
$primary->wait_for_catchup($standby, 'flush');
$primary->stop('fast');
ok(poll_until(sub { !defined as_of($standby)->{lag_seconds} }),
	'paused and without a primary: the lag is unknown');
is(active($standby), 'ver_3', 'it shows what it had');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
ok(poll_until(sub { active($standby) eq 'ver_1' }), 'it goes on');
is_unknown($standby, 'and the lag is unknown still');

# Started without a primary
$standby->restart;
is_unknown($standby, 'started without a primary: the lag is unknown');
$primary->start;
ok(poll_until(sub { defined as_of($standby)->{lag_seconds} }),
	'it is known when the primary is back');

# The second one is left by the first
$standby->stop;
ok(poll_until(sub { !defined as_of($second)->{lag_seconds} }),
	'without the standby that it follows its lag is unknown');

$second->stop;
$archive->stop;
$primary->stop;
done_testing();
