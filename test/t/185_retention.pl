# What has expired goes away by itself, little at a time: nobody waits for it,
# it ends, and tables do not grow.

use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $many = 100_000;

# A wait for a lock that is longer than this is written to the log; what holds
# them up here does so to the end, and a process that does not run for no longer
# than this.
my $node = make_node('retention', <<'EOC');
deadlock_timeout = 3s
log_lock_waits = on
autovacuum = off
fsync = off
EOC

sub sql { return $node->safe_psql('postgres', @_); }

# Keys that expired some minutes ago, all at the same time or not.
sub keys_of
{
	my ($name, $number, $minutes, $step) = @_;

	return sql(<<"EOS");
INSERT INTO miosa.idempotency_keys (deployment_id, key, operation, fingerprint, response, seq, created_at, expires_at)
	SELECT 'dep_1', '$name-' || n, 'rollback', sha256(n::text::bytea), '{"data": {}}', 1, now() - '2 days'::interval,
		now() - $minutes * '1 min'::interval - n * $step * '1 ms'::interval
	FROM generate_series(1, $number) n
EOS
}

sub left
{
	my ($name) = @_;

	return sql("SELECT count(*) FROM miosa.idempotency_keys WHERE key LIKE '$name-%'");
}

sub removed { return sql('SELECT removed FROM miosa.maintenance'); }

sql(<<'EOS');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, storage_uri => 'test://' || n) FROM generate_series(1, 2) n;
SELECT miosa_promote('dep_1', 'ver_' || n) FROM generate_series(1, 2) n;
EOS

# How many rows each statement deletes, by whatever runs it.
sql(<<'EOS');
CREATE TABLE steps (deleted bigint, took interval);
GRANT ALL ON steps TO miosa_owner;
CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.steps SELECT count(*), clock_timestamp() - now() FROM gone;
	RETURN NULL;
END $$;
GRANT INSERT ON steps TO miosa_owner;
CREATE TRIGGER note_step AFTER DELETE ON miosa.idempotency_keys REFERENCING OLD TABLE AS gone
	FOR EACH STATEMENT EXECUTE FUNCTION note_step();
CREATE TRIGGER note_step AFTER DELETE ON miosa.audit_events REFERENCING OLD TABLE AS gone
	FOR EACH STATEMENT EXECUTE FUNCTION note_step();
EOS

# The largest step since the last time, and whether all of them were asked.
sub steps
{
	my $largest = sql('SELECT max(deleted) BETWEEN 1 AND 1000, sum(deleted) FROM steps');

	sql('TRUNCATE steps');
	return $largest;
}

# Without pg_cron the dispatcher does it, but only what pg_cron should have
# done twice already.
keys_of('overdue', 5000, 11, 0);
keys_of('due', 10, 1, 0);
sql(<<'EOS');
INSERT INTO miosa.audit_events (deployment_id, seq, tenant_id, action, outcome, target_rule, actor_type, actor_id, session_user_name, created_at, keep_until)
	SELECT 'dep_1', -n, 'ten_1', 'deployment.rollback', 'changed', 'named', 'user', 'u', 'u',
		now() - CASE WHEN n > 2500 THEN '8 days' ELSE '6 days' END::interval,
		now() + CASE WHEN n > 2500 THEN '-1 days' ELSE '1 days' END::interval
	FROM generate_series(1, 5000) n;
INSERT INTO miosa.runtime_instances (deployment_id, id, tenant_id, version_id, state, updated_at)
	SELECT 'dep_1', 'i' || n, 'ten_1', 'ver_1', 'stopped', now() - CASE WHEN n % 2 = 0 THEN '8 days' ELSE '6 days' END::interval
	FROM generate_series(1, 50) n;
UPDATE miosa.route_log SET created_at = now() - '2 h'::interval;
EOS
$node->restart;
is(wait_sql($node, <<'EOS', '0 0 0 0'), '0 0 0 0', 'the dispatcher deletes what is overdue');
SELECT concat_ws(' ', (SELECT count(*) FROM miosa.idempotency_keys WHERE key LIKE 'overdue-%'),
	(SELECT count(*) FROM miosa.audit_events WHERE created_at < now() - '7 days'::interval),
	(SELECT count(*) FROM miosa.runtime_instances WHERE updated_at < now() - '7 days'::interval),
	(SELECT count(*) FROM miosa.route_log WHERE created_at < now() - '70 min'::interval))
EOS
is(steps(), 't|7500', 'a thousand rows at a time at most');
is(left('due'), 10, 'and leaves the rest to pg_cron');
is(sql(<<'EOS'), '2500 25 2', 'what is kept stays');
SELECT concat_ws(' ', (SELECT count(*) FROM miosa.audit_events WHERE seq < 0),
	(SELECT count(*) FROM miosa.runtime_instances), (SELECT count(*) FROM miosa.audit_events WHERE seq > 0))
EOS

# While people roll back, and one has a row locked, and an old snapshot keeps
# all that is deleted.
keys_of('many', $many, 1, 1);
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$old->query_safe('SELECT count(*) FROM miosa.idempotency_keys');
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN');
$locker->query_safe("SELECT key FROM miosa.idempotency_keys WHERE key = 'many-777' FOR UPDATE");
my $rollbacks = $node->background_psql('postgres');
sql('CREATE TABLE seen (calls integer, slowest interval)');
my $log = -s $node->logfile;
my $began = time();
$rollbacks->query_until(qr/begun/, <<'EOS');
\echo begun
DO $$
DECLARE
	at timestamptz;
	slowest interval := '0';
	calls integer := 0;
BEGIN
	WHILE coalesce((SELECT m.ended_at FROM miosa.maintenance m) IS NULL, true) LOOP
		at := clock_timestamp();
		PERFORM miosa_rollback('dep_1', 'ver_' || 1 + calls % 2, 'call-' || calls);
		COMMIT;
		slowest := greatest(slowest, clock_timestamp() - at);
		calls := calls + 1;
	END LOOP;
	INSERT INTO seen VALUES (calls, slowest);
END $$;
EOS
sql('CALL miosa_maintain(false)');
my $seconds = time() - $began;
$rollbacks->query_safe('SELECT 1');
note sprintf('%d keys in %.1f s; %s', $many, $seconds,
	sql("SELECT format('%s rollbacks meanwhile, the slowest took %s', calls, slowest) FROM seen"));
is(left('many'), 1, 'a maintenance ends, and leaves what somebody has locked');
is(removed(), $many - 1 + 10, 'it says how much it has deleted');
cmp_ok(sql('SELECT calls FROM seen'), '>', 20, 'people rolled back meanwhile');
unlike(slurp_file($node->logfile, $log), qr/still waiting for|acquired .* after/,
	'nobody waited for a lock');

# What is dead is not waded through again and again.
keys_of('again', 5000, 1, 1);
$began = time();
sql('CALL miosa_maintain(false)');
is(left('again'), 0, 'the next one ends too, with all the dead rows still there');
cmp_ok(time() - $began, '<', $seconds, 'before as much time has passed as many took');
$_->query_safe('COMMIT') for $old, $locker;
$_->quit for $old, $locker, $rollbacks;
sql('CALL miosa_maintain(false)');
is(left('many'), 0, 'what was locked goes the next time');

# Two at once, of a role that may do nothing but administer.
sql('CREATE ROLE caretaker LOGIN IN ROLE miosa_admin');
keys_of('both', 20000, 1, 0);
my @both = map { $node->background_psql('postgres', extra_params => [ '-U', 'caretaker' ]) } 1, 2;
$_->query_until(qr/begun/, "\\echo begun\nCALL miosa_maintain(false);\n") for @both;
$_->query_safe('SELECT 1') for @both;
$_->quit for @both;
is(left('both'), 0, 'two at once delete everything');
is(sql('SELECT run_by FROM miosa.maintenance'), 'caretaker', 'as an administrator');

# A table that is written and purged all the time stays as large as it was.
my @size;
for my $round (1 .. 6)
{
	keys_of("round$round", 20000, 1, 0);
	sql('CALL miosa_maintain(false)');
	sql('VACUUM miosa.idempotency_keys');
	push @size, sql("SELECT pg_total_relation_size('miosa.idempotency_keys')");
}
cmp_ok($size[5], '<=', $size[0] * 1.2, "the size is bounded (@size)");

$node->stop;
done_testing();
