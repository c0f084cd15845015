# On a standby a known key still gets its answer and a plan can be made, answers
# say how old they are, a new operation is refused with what to do, as is every
# other function that writes; each that only reads answers as on the primary, and
# each view can be selected from. After a promotion all goes on with the same keys
# and the next number.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaHttp qw(poll_until);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = MiosaPostgres->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', <<'EOC');
shared_preload_libraries = 'miosa_rollback'
max_worker_processes = 16
EOC
$primary->start;
$primary->safe_psql('postgres', <<'EOS');
CREATE EXTENSION miosa_rollback;
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');
INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('dep_1', 'ten_1', 'Shop', 'shop');
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_1', 'ver_' || i, 'ten_1', i, 'ready' FROM generate_series(1, 3) i;
DO 'BEGIN PERFORM miosa_promote(''dep_1'', ''ver_'' || i) FROM generate_series(1, 3) i; END';
SELECT miosa_put_endpoint('nobody', 'webhook', 'http://127.0.0.1:1/', enabled => false);
EOS
$primary->backup('base');
my $standby = MiosaPostgres->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
# An idle primary is asked for a sign of life after half of this
$standby->append_conf('postgresql.conf', 'wal_receiver_timeout = 2s');
$standby->start;

# The SQLSTATE and HINT of a call that is refused
sub refusal
{
	my ($sql) = @_;
	my (undef, undef, $err) =
	  $standby->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $err;
}

my $call = q{SELECT miosa_rollback('dep_1', 'ver_2', 'key-1')};
my $first = $primary->safe_psql('postgres', $call);
$primary->wait_for_catchup($standby);
# It is known to be confirmed when the dispatcher has taken it
ok(poll_until(sub { $standby->psql('postgres', $call) == 0 }),
	'a known key gets an answer');
is($standby->safe_psql('postgres', $call =~ s/^(SELECT) (.*)/$1 $2 - 'as_of'/r),
	$first, 'a known key gets its answer, byte for byte');

# How old an answer of the standby is
my %reads = (
	'a replay' => $call,
	miosa_deployment => q{SELECT miosa_deployment('dep_1')},
	miosa_plan => q{SELECT miosa_plan('dep_1')},
	miosa_route => q{SELECT miosa_route('shop.acme.miosa.app')},
	miosa_version => q{SELECT miosa_version('dep_1', 'ver_1')},
	miosa_versions => q{SELECT miosa_versions('dep_1')});

sub as_of
{
	my ($name) = @_;

	return decode_json(
		$standby->safe_psql('postgres', $reads{ $name // 'miosa_deployment' }))
	  ->{as_of};
}

# The time of an answer, beside one of the database
sub after
{
	my ($as_of, $time) = @_;

	return $primary->safe_psql('postgres',
		"SELECT '$as_of->{time}'::timestamptz > '$time'") eq 't';
}

for my $name (sort keys %reads)
{
	my $as_of;

	ok( poll_until(
			sub {
				$as_of = as_of($name);
				$as_of->{standby} && defined $as_of->{time};
			}),
		"$name says that it is a standby's");
	is(join(' ', sort keys %$as_of),
		'lag_seconds standby time', "$name has all of as_of");
	unlike($primary->safe_psql('postgres', $reads{$name}),
		qr/as_of/, "$name of the primary has none");
}
my $quiet = $primary->safe_psql('postgres', 'SELECT clock_timestamp()');
my $as_of;

ok( poll_until(
		sub {
			$as_of = as_of();
			defined $as_of->{lag_seconds} && after($as_of, $quiet);
		}),
	'on an idle primary the answer goes on with the time');
cmp_ok($as_of->{lag_seconds}, '>=', 0, 'its lag is a number');

# What was received and is not replayed yet counts as not there
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
ok( $standby->poll_query_until(
		'postgres', q{SELECT pg_get_wal_replay_pause_state()}, 'paused'),
	'replay is paused');
my $behind = $primary->safe_psql('postgres', 'SELECT clock_timestamp()');

$primary->safe_psql('postgres', q{SELECT miosa_resend('dep_1')});
$primary->wait_for_catchup($standby, 'flush');
ok( poll_until(
		sub {
			$as_of = as_of();
			defined $as_of->{lag_seconds} && !after($as_of, $behind);
		}),
	'the answer is as of before that');
my $lag = $as_of->{lag_seconds};

ok(poll_until(sub { (as_of()->{lag_seconds} // 0) > $lag }),
	'and the lag grows');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
ok( poll_until(
		sub { $as_of = as_of(); $as_of->{time} && after($as_of, $behind) }),
	'until it is replayed');

# Without the primary nobody knows what was committed
$primary->stop('fast');
ok(poll_until(sub { $as_of = as_of(); !defined $as_of->{lag_seconds} }),
	'without the primary the lag is unknown');
ok(exists $as_of->{lag_seconds}, 'which null says');
ok(defined $as_of->{time}, 'the newest commit is not');
like(refusal("$call;"),
	qr/MR53P/, 'a replay is refused: its operation may be lost');
$primary->start;
ok(poll_until(sub { defined as_of()->{lag_seconds} }),
	'it is known again when the primary is back');

# One that follows no primary, and has replayed no change unless one was made
# while the backup was taken
$primary->backup('quiet');
my $new = MiosaPostgres->new('new');
$new->init_from_backup($primary, 'quiet');
append_to_file($new->data_dir . '/standby.signal', '');
$new->start;
like($new->safe_psql('postgres', 'SELECT miosa_page()'),
	qr/how old its data is, is unknown: it is not connected to a primary, or has only just been(\. The newest change that it has is of \d{4}-[-0-9: ]+)?\.</,
	'its page says so');
$new->stop;
ok( poll_until(
		sub {
			$standby->safe_psql('postgres', 'SELECT miosa_page()') =~
			  /A standby made it, from data of \d{4}-[-0-9: ]+, at most [0-9.]+ s old/;
		}),
	'that of a standby that follows says of when its data is');

my $refused = refusal(q{SELECT miosa_rollback('dep_1', 'ver_1', 'key-2');});
like($refused, qr/MR53P: this server is a standby/,
	'a new operation is refused as NOT_PRIMARY');
my ($hint) = $refused =~ /HINT: .*primary.*?(SELECT .*);/;
is($standby->safe_psql('postgres', "SELECT count(*) FROM ($hint) c"),
	'3', 'with what works here');
like(refusal(q{SELECT miosa_promote('dep_1', 'ver_3');}),
	qr/MR53P/, 'a promotion is, too');
like(refusal(q{SELECT miosa_rollback('dep_1', 'ver_1', 'key-1');}),
	qr/MR49I/, 'a known key for another request is refused as anywhere');
is( $standby->safe_psql('postgres', <<'EOS'),
SELECT p ->> 'target_version_id', p ->> 'outcome', p ->> 'would_succeed'
FROM (SELECT miosa_plan('dep_1', 'ver_1') -> 'data' AS p) x
EOS
	'ver_1|changed|true',
	'a plan can be made');

# Every function that a role of the extension may call, from the catalogs, with
# its volatility. Most arguments name nothing, but a standby may not know yet what
# there is.
my $callable = $standby->safe_psql('postgres', <<'EOS');
SELECT p.provolatile, format('%s %s.%I(%s);', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.pronamespace::regnamespace, p.proname,
	(SELECT string_agg(format('%L::%s', CASE t
			WHEN 'text'::regtype THEN CASE WHEN p.proargnames[n] LIKE '%version%' THEN 'ver_1'
				WHEN p.proargnames[n] = 'attribution' THEN '{}'
				WHEN p.proargnames[n] = 'host' THEN 'www.example.com'
				WHEN p.proargnames[n] = 'slug' THEN 'other' ELSE 'dep_1' END
			WHEN 'uuid'::regtype THEN '00000000-0000-0000-0000-000000000001'
			WHEN 'boolean'::regtype THEN 'true'
			WHEN 'text[]'::regtype THEN '{}'
			WHEN 'tid[]'::regtype THEN '{}'
			WHEN 'jsonb'::regtype THEN CASE p.proargnames[n] WHEN 'selector' THEN '{"all": true}' ELSE '{}' END
			WHEN 'timestamptz'::regtype THEN '2026-01-01'
			WHEN 'inet'::regtype THEN '192.0.2.1'
			WHEN 'json'::regtype THEN '{}'
			WHEN 'miosa.idempotency_keys'::regtype THEN NULL
			ELSE '1' END, t::regtype), ', ' ORDER BY n)
		FROM unnest(p.proargtypes[0:p.pronargs - p.pronargdefaults - 1]) WITH ORDINALITY a (t, n)))
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
	AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	AND p.prorettype <> 'trigger'::regtype
	AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner))
ORDER BY 2
EOS
# What reads, and may have to do so from shared memory or from storage
my %reader = (
	'miosa.candidates' => q{SELECT count(*) > 0 FROM miosa.candidates('dep_1')},
	'miosa.dispatcher' => q{SELECT state = 'none' FROM miosa.dispatcher()},
	'miosa.due_artifacts' => q{SELECT count(*) > 0 FROM miosa.due_artifacts('')},
	'miosa.endpoint_stats' => q{SELECT count(*) = 0 FROM miosa.endpoint_stats()},
	'miosa.fleet_pace' => q{SELECT miosa.fleet_pace()},
	'miosa.fleets_rows' => q{SELECT count(*) = 0 FROM miosa.fleets_rows()},
	'miosa.heartbeat_horizon' => q{SELECT miosa.heartbeat_horizon() IS NOT NULL},
	'miosa.metric_rows' => q{SELECT count(*) > 0 FROM miosa.metrics},
	'miosa.open_freeze_rows' => q{SELECT count(*) = 0 FROM miosa.open_freeze_rows()},
	'miosa.open_hold_rows' => q{SELECT count(*) > 0 FROM miosa.open_hold_rows()},
	'miosa.overdue_rows' => q{SELECT count(*) = 0 FROM miosa.overdue_rows(true)},
	'miosa.overview_rows' => q{SELECT count(*) > 0 FROM miosa.overview},
	'miosa.wall_rows' => q{SELECT count(*) > 0 FROM miosa.wall},
	'miosa.plan_many' => q{SELECT count(*) > 0 FROM miosa.plan_many('{"all": true}')},
	'miosa.progress_rows' => q{SELECT count(*) > 0 FROM miosa.progress},
	'miosa.some_deployment' => q{SELECT miosa.some_deployment() = 'dep_1'},
	'miosa.timeline' => q{SELECT count(*) > 0 FROM miosa.timeline('dep_1')},
	'miosa.verify_artifact' => q{SELECT miosa.verify_artifact('dep_1', 'none') IS NULL},
	'miosa.status' => q{SELECT count(*) > 0 FROM miosa.status('dep_1')},
	'miosa.verdict' => q{SELECT code IS NOT NULL FROM miosa.verdict('dep_1')},
	'public.miosa_convergence' => q{SELECT miosa_convergence('dep_1') IS NOT NULL},
	'public.miosa_doctor' => q{SELECT count(*) > 0 FROM miosa_doctor()},
	'public.miosa_page' => q{SELECT miosa_page() ~ 'A standby made it, from data of .*</html>' AND miosa_page('dep_1') ~ '</html>'},
	'public.miosa_plan' => q{SELECT miosa_plan('dep_1') IS NOT NULL},
	'public.miosa_plan_many' => q{SELECT miosa_plan_many('{"all": true}') IS NOT NULL},
	'public.miosa_report' => q{SELECT miosa_report('dep_1') LIKE '%</html>%'},
	'public.miosa_metrics' => q{SELECT miosa_metrics() ~ 'miosa_in_recovery 1\n' AND miosa_metrics() !~ 'miosa_dispatcher_up'},
	'public.miosa_test_endpoint' => q{SELECT miosa_test_endpoint('nobody') IS NOT NULL},
	'public.miosa_test_storage' => q{SELECT miosa_test_storage('test://bucket/none') IS NOT NULL},
	'public.miosa_wait_converged' => q{SELECT miosa_wait_converged('dep_1', '0 s') IS NOT NULL});

# Steps of procedures, which are refused before they come to them
my %step = (
	'miosa.fleet_step' => '25006',
	'miosa.maintain_route_log' => '25006',
	'miosa.maintain_rows' => '20000',
	'miosa.maintained' => '25006');

# How each call ends: its SQLSTATE, or "works".
sub outcomes
{
	my ($node, @call) = @_;
	my (undef, undef, $messages) = $node->psql('postgres',
		"\\set VERBOSITY sqlstate\n" . join('', map { "\\warn call $_\n$call[$_]\n" } 0 .. $#call),
		on_error_stop => 0);
	my @outcome = ('works') x @call;
	my $n;

	for my $line (split /\n/, $messages)
	{
		$n = $1 if $line =~ /^call (\d+)$/;
		$outcome[$n] = $1 if $line =~ /ERROR: +(\w{5})$/;
	}
	return @outcome;
}

my (@same, @writer, %seen);

for my $line (split /\n/, $callable)
{
	my ($volatility, $call) = split /\|/, $line, 2;
	my ($name) = $call =~ /^\w+ ([\w.]+)/;

	$seen{$name} = 1;
	next if $reader{$name};
	# It says itself whether this is a primary
	if ($volatility ne 'v' && $name ne 'miosa.require_primary') { push @same, $call }
	elsif ($name =~ /miosa_try_/)
	{
		like($standby->safe_psql('postgres', $call), qr/"NOT_PRIMARY"/, "returned: $call");
	}
	else { push @writer, $call }
}
cmp_ok(scalar @same, '>', 30, 'many functions only read');
my @here = outcomes($standby, @same);
my @there = outcomes($primary, @same);

is($here[$_], $there[$_], "as on the primary: $same[$_]") for 0 .. $#same;
cmp_ok(scalar @writer, '>', 30, 'many write');
my @refused = outcomes($standby, @writer);

for my $n (0 .. $#writer)
{
	my ($name) = $writer[$n] =~ /^\w+ ([\w.]+)/;

	is($refused[$n], $step{$name} // 'MR53P', "refused: $writer[$n]");
}
for my $name (sort keys %reader)
{
	ok($seen{$name}, "$name is among them");
	is($standby->safe_psql('postgres', $reader{$name}), 't', "$name works");
}

# Views, and what else can be selected from
my @relation = split /\n/, $standby->safe_psql('postgres', <<'EOS');
SELECT c.oid::regclass FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
	AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	AND c.relkind IN ('r', 'v', 'm', 'p')
ORDER BY 1
EOS
my @selected = outcomes($standby, map { "SELECT * FROM $_;" } @relation);

cmp_ok(scalar @relation, '>', 30, 'there are many relations');
is($selected[$_], 'works', "selected from: $relation[$_]") for 0 .. $#relation;

# The standby takes over
$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', $call),
	$first, 'after the promotion the key is still known');
is( $standby->safe_psql('postgres',
		q{SELECT miosa_rollback('dep_1', 'ver_1', 'key-2') #>> '{operation,id}'}
	),
	'dep_1#5',
	'and the numbers go on');

$standby->stop;
done_testing();
