# Listeners: what NOTIFY says is short and comes in batches, it never fails a
# commit, and the listener of docs/listening.md, run as it stands there, knows
# every route whatever it has missed.

use strict;
use warnings FATAL => 'all';

use IPC::Run;
use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaTest qw(make_node);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('listen', "max_prepared_transactions = 10\n");
my $long = 'i' x 255;
my $longest = 'j' x 9000;

sub sql { return $node->safe_psql('postgres', @_); }

sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment(d, 'ten_1', replace(d, '_', '-')) FROM
	(SELECT 'dep_' || n AS d FROM generate_series(1, 400) n) x;
SELECT miosa_put_version('dep_' || d, 'v' || n, n) FROM generate_series(1, 400) d, generate_series(1, 2) n;
SELECT miosa_put_deployment('$long', 'ten_1', 'long');
SELECT miosa_put_version('$long', '$long', 1);
EOS

#
# The listener of docs/listening.md
#
my ($example) =
  slurp_file('docs/listening.md') =~ /^```python\n(import select.*?)^```$/ms;

# It must learn of it by NOTIFY, and not because it looks again
$example =~ s/(select\.select\(.*), 10\)/$1, 600)/ or die "no time to look again\n";
append_to_file("$dir/listener.py", <<"EOC");
import json, sys
$example
follow(sys.argv[1], lambda d, v: print(json.dumps([d, v]), flush=True))
EOC
my $dsn = $node->connstr('postgres') . ' application_name=listener client_encoding=UTF8';
my $listener = IPC::Run::start([ 'python3', "$dir/listener.py", $dsn ],
	'<', \undef, '>', "$dir/heard", '2>', "$dir/trouble");

# What it knows by now.
sub known
{
	my %version;

	for my $line (-e "$dir/heard" ? split /\n/, slurp_file("$dir/heard") : ())
	{
		my $route = eval { decode_json($line) } or next;

		# What is not named after this is not routed any more.
		%version = () if !defined $route->[0];
		$version{ $route->[0] } = $route->[1] if defined $route->[0];
	}
	return \%version;
}

# Everything that is served, as the database says.
sub served
{
	return {
		map { split /\|/ } split /\n/,
		sql('SELECT deployment_id, version_id FROM miosa.routes
			WHERE version_id IS NOT NULL')
	};
}

sub knows_all
{
	my ($name, $timeout) = @_;
	my $served = served();
	my $known;

	poll_until(
		sub {
			$known = known();
			return !grep { ($known->{$_} // '') ne $served->{$_} }
			  keys %$served;
		},
		$timeout // 180);
	is_deeply({ map { $_ => $known->{$_} } keys %$served }, $served, $name)
	  or diag slurp_file("$dir/trouble");
	return;
}

# What somebody else hears, who only listens.
my $ear = $node->background_psql('postgres');
my $heard = '';

$ear->query_safe('LISTEN miosa_route');

# Payloads until one of them matches.
sub hears
{
	my ($like) = @_;

	$heard = '';
	poll_until(
		sub {
			$heard .= $ear->query('SELECT 1') . "\n";
			return $heard =~ $like;
		},
		180,
		0.05);
	return $heard =~ /with payload "(.*?)" received/g;
}

# Start without the listener having an epoch
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'listener'"),
	'the example runs');
sql("SELECT miosa_promote('dep_1', 'v1')");
knows_all('it learns of a change');
is_deeply([ map { decode_json($_)->{deployment_id} } hears(qr/dep_1/) ],
	['dep_1'], 'one message for one change');

#
# Length and number of messages
#
sql("SELECT miosa_promote('$long', '$long')");
my @payload = hears(qr/iii/);

is(decode_json($payload[0])->{version_id}, $long, 'an id of 255 characters');
cmp_ok(length $payload[0], '<', 8000, 'fits into a message');
sql(<<"EOS");
SET session_replication_role = replica;
INSERT INTO miosa.deployments (id, tenant_id, name, slug, active_version_id, seq, route_seq)
	VALUES ('$longest', 'ten_1', 'longest', 'longest', '$longest', 1, 1);
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	VALUES ('$longest', '$longest', 'ten_1', 1, 'ready');
INSERT INTO miosa.outbox (deployment_id, kind, route_seq) VALUES ('$longest', 'route', 1);
SELECT miosa.wake();
EOS
@payload = hears(qr/payload/);
like($payload[0], qr/^\{"from":\d+,"to":\d+\}$/,
	'one that does not fit is announced by its place');
knows_all('and is read there');

sql('DO $$ BEGIN FOR d IN 1 .. 300 LOOP
	PERFORM miosa_promote(\'dep_\' || d, \'v2\'); END LOOP; END $$');
@payload = hears(qr/payload/);
# What else there is about them comes before what is said of the next change
sql("SELECT miosa_promote('dep_300', 'v1')");
push @payload, hears(qr/"dep_300"/);
is(scalar @payload, 2, '300 changes at once are one message');
my $range = decode_json($payload[0]);

is($range->{to} - $range->{from}, 299, 'which names all of them');
knows_all('and all of them are known');

#
# Away
#
my $connected = "SELECT pid FROM pg_stat_activity
	WHERE application_name = 'listener'";
my $old = sql($connected);

sql("SELECT pg_terminate_backend($old)");
sql("SELECT miosa_promote('dep_' || d, 'v1') FROM generate_series(1, 50) d");
knows_all('what changed while it was away');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($connected) l");
$node->stop('immediate');
$node->start;
sql("SELECT miosa_promote('dep_' || d, 'v2') FROM generate_series(1, 50) d");
knows_all('while the server was away');

# Away for longer than the log reaches back
$listener->kill_kill;
sql("SELECT miosa_promote('dep_' || d, 'v1') FROM generate_series(20, 70) d");
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM miosa.outbox');
sql('UPDATE miosa.dispatcher_state SET trimmed_epoch = last_epoch;
	DELETE FROM miosa.route_log');
unlink "$dir/heard";
$listener = IPC::Run::start([ 'python3', "$dir/listener.py", $dsn ],
	'<', \undef, '>', "$dir/heard", '2>', "$dir/trouble");
knows_all('when the log does not reach back, everything is read');

#
# What a primary has given out that was lost is a gap
#
my $epoch = sql('SELECT last_epoch FROM miosa.dispatcher_state');
sub gap { return sql("SELECT miosa_routes_since($_[0]) ->> 'gap'"); }

is(gap($epoch), 'false', 'the newest epoch leaves no gap');
is(gap($epoch + 1), 'true', 'one from the future does');
sql("SELECT miosa_promote('dep_1', 'v2')");
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM miosa.outbox');
sql('UPDATE miosa.dispatcher_state SET term = term + 1, last_epoch = (term + 1) << 40');
is(gap($epoch + 1), 'false', 'in a new term, what the log has leaves no gap');
is(gap($epoch + 2), 'true', 'what it does not have does');
$listener->kill_kill;
$ear->quit;
$node->stop;

#
# Without a dispatcher the transaction notifies, and never fails of it
#
$node = MiosaPostgres->new('alone');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 10');
$node->start;
sql(<<"EOS");
CREATE EXTENSION miosa_rollback;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_' || n, 'ten_1', 'd' || n) FROM generate_series(1, 150) n;
SELECT miosa_put_version('dep_' || d, 'v' || n, n) FROM generate_series(1, 150) d, generate_series(1, 2) n;
EOS
$ear = $node->background_psql('postgres');
$ear->query_safe('LISTEN miosa_route');

sql("BEGIN; SELECT miosa_promote('dep_1', 'v1'); PREPARE TRANSACTION 'later'");
sql("COMMIT PREPARED 'later'");
is(sql("SELECT active_version_id FROM miosa.deployments WHERE id = 'dep_1'"),
	'v1', 'an operation can be prepared');
sql("BEGIN; SELECT miosa_promote('dep_2', 'v1');
	SAVEPOINT s; SELECT miosa_promote('dep_3', 'v1'); ROLLBACK TO s;
	SAVEPOINT t; SELECT miosa_promote('dep_4', 'v1'); RELEASE t; COMMIT");
is( join(' ', map { decode_json($_)->{deployment_id} } hears(qr/dep_4/)),
	'dep_2 dep_4',
	'a savepoint that is rolled back is not announced, nor what was prepared');
sql('DO $$ BEGIN FOR d IN 1 .. 150 LOOP
	PERFORM miosa_promote(\'dep_\' || d, \'v2\'); END LOOP; END $$');
is( join(' ', hears(qr/payload/)),
	'{"epoch":null,"deployment_id":null,"version_id":null}',
	'many are announced together');
$node->append_conf('postgresql.conf', 'miosa_rollback.tenancy = enforced');
$node->reload;
poll_until(sub { sql('SHOW miosa_rollback.tenancy') eq 'enforced' });
sql("SELECT miosa_promote('dep_5', 'v1')");
is( join(' ', hears(qr/payload/)),
	'{"epoch":null,"deployment_id":null,"version_id":null}',
	'any role may listen, so no message names a deployment where tenants are kept apart');
$ear->quit;

done_testing();
