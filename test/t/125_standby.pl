# On a standby a known key still gets its answer and a plan can be made, a new
# operation is refused with what to do, and after a promotion all goes on with
# the same keys and the next number.

use strict;
use warnings FATAL => 'all';

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
EOS
$primary->backup('base');
my $standby = MiosaPostgres->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $call = q{SELECT miosa_rollback('dep_1', 'ver_2', 'key-1')};
my $first = $primary->safe_psql('postgres', $call);
$primary->wait_for_catchup($standby);

is($standby->safe_psql('postgres', $call),
	$first, 'a known key gets its answer, byte for byte');

# The SQLSTATE and HINT of a call that is refused
sub refusal
{
	my ($sql) = @_;
	my (undef, undef, $err) =
	  $standby->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $err;
}

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
