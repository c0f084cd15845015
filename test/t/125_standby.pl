# On a standby a known key still gets its answer and a plan can be made, answers
# say how old they are, a new operation is refused with what to do, as is every
# other function that writes, and after a promotion all goes on with the same
# keys and the next number.

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

# Every public function that may write, from the catalogs. Most arguments name
# nothing, but a standby may not know yet what there is.
my $writers = $standby->safe_psql('postgres', <<'EOS');
SELECT format('%s %s.%I(%s);', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.pronamespace::regnamespace, p.proname,
	(SELECT string_agg(format('%L::%s', CASE t
			WHEN 'text'::regtype THEN CASE WHEN p.proargnames[n] LIKE '%version%' THEN 'ver_1'
				WHEN p.proargnames[n] = 'attribution' THEN '{}' ELSE 'dep_1' END
			WHEN 'uuid'::regtype THEN '00000000-0000-0000-0000-000000000001'
			WHEN 'boolean'::regtype THEN 'true'
			WHEN 'text[]'::regtype THEN '{}'
			WHEN 'jsonb'::regtype THEN '{}'
			WHEN 'timestamptz'::regtype THEN '2026-01-01'
			WHEN 'json'::regtype THEN '{}'
			ELSE '1' END, t::regtype), ', ' ORDER BY n)
		FROM unnest(p.proargtypes[0:p.pronargs - p.pronargdefaults - 1]) WITH ORDINALITY a (t, n)))
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
	AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'miosa_rollback')
	AND p.provolatile = 'v' AND p.prorettype <> 'trigger'::regtype
	AND (p.pronamespace <> 'miosa'::regnamespace OR p.proname IN ('rollback', 'promote', 'status', 'verdict', 'candidates', 'progress_rows'))
ORDER BY 1
EOS
# What reads, and may have to do so from shared memory or from storage
my %reader = (
	'miosa.candidates' => q{SELECT count(*) > 0 FROM miosa.candidates('dep_1')},
	'miosa.progress_rows' => q{SELECT count(*) > 0 FROM miosa.progress},
	'miosa.status' => q{SELECT count(*) > 0 FROM miosa.status('dep_1')},
	'miosa.verdict' => q{SELECT code IS NOT NULL FROM miosa.verdict('dep_1')},
	'public.miosa_convergence' => q{SELECT miosa_convergence('dep_1') IS NOT NULL},
	'public.miosa_doctor' => q{SELECT count(*) > 0 FROM miosa_doctor()},
	'public.miosa_plan' => q{SELECT miosa_plan('dep_1') IS NOT NULL},
	'public.miosa_plan_many' => q{SELECT miosa_plan_many('{"all": true}') IS NOT NULL},
	'public.miosa_report' => q{SELECT miosa_report('dep_1') LIKE '%</html>%'},
	'public.miosa_test_endpoint' => q{SELECT miosa_test_endpoint('nobody') IS NOT NULL},
	'public.miosa_test_storage' => q{SELECT miosa_test_storage('test://bucket/none') IS NOT NULL},
	'public.miosa_wait_converged' => q{SELECT miosa_wait_converged('dep_1', '0 s') IS NOT NULL});
my %seen;

for my $call (split /\n/, $writers)
{
	my ($name) = $call =~ /^\w+ ([\w.]+)/;

	$seen{$name} = 1;
	next if $reader{$name};
	if ($name =~ /miosa_try_/)
	{
		like($standby->safe_psql('postgres', $call), qr/"NOT_PRIMARY"/, "returned: $call");
		next;
	}
	like(refusal($call), qr/MR53P: this server is a standby/, "refused: $call");
}
cmp_ok(scalar keys %seen, '>', 30, 'these are many');
for my $name (sort keys %reader)
{
	ok($seen{$name}, "$name is among them");
	is($standby->safe_psql('postgres', $reader{$name}), 't', "$name works");
}

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
