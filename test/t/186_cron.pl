# The clock that people can see and change: pg_cron, in this database and in
# another one, over libpq and in background workers. Both ways must be able to
# CALL a procedure that commits.

use strict;
use warnings FATAL => 'all';

use MiosaTest qw(wait_sql);
use MiosaPostgres;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $share = qx(pg_config --sharedir));
plan skip_all => 'this PostgreSQL has no pg_cron'
  unless -e "$share/extension/pg_cron.control";

my %way = (libpq => 'off', workers => 'on');
my %node;

# A server that has pg_cron in "postgres", and our extension there and in
# "other".
sub start
{
	my ($name, $workers) = @_;
	my $node = MiosaPostgres->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', <<"EOC");
shared_preload_libraries = 'miosa_rollback, pg_cron'
cron.database_name = 'postgres'
cron.host = '@{[ $node->host ]}'
cron.use_background_workers = $workers
max_worker_processes = 24
EOC
	$node->start;
	$node->safe_psql('postgres', $_) for 'CREATE DATABASE other', 'CREATE ROLE regress_mallory';
	$node->safe_psql('postgres',
		'CREATE EXTENSION pg_cron; CREATE EXTENSION miosa_rollback; GRANT USAGE ON SCHEMA cron TO miosa_owner');
	$node->safe_psql('other', 'CREATE EXTENSION miosa_rollback');
	return $node;
}

sub fill
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, <<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT 'dep_1', 'old-' || n, 'rollback', '', '{}', 1, now() - '2 days'::interval, now() - '1 day'::interval
	FROM generate_series(1, 3000) n
EOS
}

# Attack 10: a role that may create objects in public has overloads of what jobs
# call there, and an operator that is better for a jobname than the server's.
sub overload
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, <<'EOS');
GRANT CREATE ON SCHEMA public TO regress_mallory;
SET ROLE regress_mallory;
CREATE TABLE fooled (who text);
CREATE PROCEDURE miosa_maintain(artifacts boolean, more integer DEFAULT 1) LANGUAGE sql AS 'INSERT INTO fooled VALUES (current_user)';
CREATE PROCEDURE miosa_verify_artifacts("limit" integer, more integer DEFAULT 1) LANGUAGE sql AS 'INSERT INTO fooled VALUES (current_user)';
CREATE PROCEDURE miosa_maintain() LANGUAGE sql AS 'INSERT INTO fooled VALUES (current_user)';
CREATE FUNCTION fool(name, name) RETURNS boolean LANGUAGE sql AS 'INSERT INTO fooled VALUES (current_user) RETURNING true';
CREATE OPERATOR ~~ (LEFTARG = name, RIGHTARG = name, FUNCTION = fool);
EOS
}

sub doctor
{
	my ($node, $database) = @_;

	return $node->safe_psql($database,
		'SELECT status, seen FROM miosa_doctor() WHERE item = \'pg_cron\'');
}

for my $way (sort keys %way)
{
	my $node = $node{$way} = start("cron_$way", $way{$way});
	my @paste;

	like(doctor($node, 'postgres'), qr/^warn\|0 of 3 jobs are scheduled/,
		"$way: the doctor misses the jobs");
	is($node->safe_psql('postgres', 'SELECT * FROM miosa_schedule_maintenance()'),
		join("\n",
			'scheduled "miosa_rollback maintenance in postgres" (*/5 * * * *)',
			'scheduled "miosa_rollback artifacts in postgres" (*/5 * * * *)',
			'scheduled "miosa_rollback job history of postgres" (17 3 * * *)'),
		"$way: with pg_cron in this database the jobs are made");
	$node->safe_psql('postgres', 'SELECT * FROM miosa_schedule_maintenance()');

	# A role that cannot log in could not run them.
	$node->safe_psql('postgres', 'CREATE ROLE no_login IN ROLE miosa_admin; GRANT USAGE ON SCHEMA cron TO no_login');
	like($node->safe_psql('postgres', 'SET ROLE no_login; SELECT * FROM miosa_schedule_maintenance()'),
		qr/^SELECT cron\.schedule_in_database\(/, "$way: a role that cannot log in gets statements");

	like(doctor($node, 'other'), qr/^warn\|not in this database; no main/,
		"$way: in another database the doctor cannot see jobs");
	@paste = split /\n/, $node->safe_psql('other',
		'SELECT * FROM miosa_schedule_maintenance()');
	is(scalar @paste, 3, "$way: there are statements to paste");
	$node->safe_psql('postgres', join "\n", @paste);
	is($node->safe_psql('postgres', <<'EOS'), <<'EOR' =~ s/\n\z//r, "$way: all jobs, once");
SELECT database, jobname, command FROM cron.job WHERE command LIKE 'CALL%' ORDER BY 1, 2
EOS
other|miosa_rollback artifacts in other|CALL miosa.verify_artifacts("limit" => 1000)
other|miosa_rollback maintenance in other|CALL miosa.maintain(artifacts => false)
postgres|miosa_rollback artifacts in postgres|CALL miosa.verify_artifacts("limit" => 1000)
postgres|miosa_rollback maintenance in postgres|CALL miosa.maintain(artifacts => false)
EOR
	is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'),
		6, "$way: and the two for the history");
	fill($node, $_) for qw(postgres other);
	overload($node, $_) for qw(postgres other);

	# pg_cron begins at the next full minute; all of them do.
	$node->safe_psql('postgres', <<'EOS');
SELECT cron.alter_job(jobid, schedule => '* * * * *') FROM cron.job WHERE command LIKE 'CALL%'
EOS
}

for my $way (sort keys %way)
{
	my $node = $node{$way};

	for my $database (qw(postgres other))
	{
		ok($node->poll_query_until($database,
				'SELECT count(*) = 1 FROM miosa.maintenance WHERE ended_at IS NOT NULL'),
			"$way, $database: pg_cron has run the maintenance");
		is($node->safe_psql($database, 'SELECT count(*) FROM miosa.idempotency_keys'),
			0, "$way, $database: what had expired is gone");
		ok( $node->poll_query_until($database,
				q{SELECT status = 'ok' FROM miosa_doctor() WHERE item = 'pg_cron'}),
			"$way, $database: the doctor is content");
	}
	is(wait_sql($node, <<'EOS', 4), 4, "$way: all jobs have succeeded");
SELECT count(DISTINCT j.jobid) FROM cron.job_run_details d JOIN cron.job j ON j.jobid = d.jobid
WHERE j.command LIKE 'CALL%' AND d.status = 'succeeded'
EOS
	is($node->safe_psql('postgres', q{SELECT string_agg(return_message, ' ') FROM cron.job_run_details WHERE status = 'failed'}),
		'', "$way: and none has failed");
}

# What failed last is shown, what has worked since is not.
my $node = $node{libpq};
my $details = 'INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time)
	SELECT j.jobid, %d, j.database, j.username, j.command, %s, %s, now(), now() %s
	FROM cron.job j WHERE j.jobname = \'miosa_rollback maintenance in postgres\'';
$node->safe_psql('postgres', "SELECT cron.alter_job(jobid, schedule => '0 0 1 1 *') FROM cron.job");
is(wait_sql($node, q{SELECT count(*) FROM cron.job_run_details WHERE status NOT IN ('succeeded', 'failed')}, 0), 0, 'no job is at work');
$node->safe_psql('postgres', sprintf $details, 1000001, "'failed'", "'ERROR: out of luck'", '');
like(doctor($node, 'postgres'),
	qr/^warn\|"miosa_rollback maintenance in postgres" failed: ERROR: out of luck$/,
	'the doctor says which job failed, and why');
$node->safe_psql('postgres', sprintf $details, 1000002, "'succeeded'", "'CALL'", '');
like(doctor($node, 'postgres'), qr/^ok\|3 of 3 jobs are scheduled/, 'and not after it has worked again');

# The third job keeps the history of ours for a week, and lets others' alone.
$node->safe_psql('postgres', sprintf $details, 1000003, "'succeeded'", "'old'", " - interval '8 days'");
$node->safe_psql('postgres', q{SELECT cron.schedule('somebody else''s', '0 0 1 1 *', 'SELECT 1')});
$node->safe_psql('postgres', q{INSERT INTO cron.job_run_details (jobid, runid, status, return_message, end_time)
	SELECT jobid, 1000004, 'succeeded', 'old', now() - interval '8 days' FROM cron.job WHERE jobname = 'somebody else''s'});
$node->safe_psql('postgres',
	$node->safe_psql('postgres', q{SELECT command FROM cron.job WHERE jobname = 'miosa_rollback job history of postgres'}));
is($node->safe_psql('postgres', "SELECT string_agg(runid::text, ' ' ORDER BY runid) FROM cron.job_run_details WHERE runid > 1000000"),
	'1000001 1000002 1000004', 'old lines of our jobs are deleted, and no others');
is($node->safe_psql($_, 'SELECT count(*) FROM fooled'), 0, "no job in $_ has run what somebody else created")
  for qw(postgres other);

# A job that is switched off is missed.
$node->safe_psql('postgres', q{SELECT cron.alter_job(jobid, active => false) FROM cron.job WHERE jobname::text LIKE '% artifacts in postgres'});
like(doctor($node, 'postgres'), qr/^warn\|2 of 3 jobs are scheduled/, 'the doctor misses a job that is not active');

$_->stop for values %node;
done_testing();
