# Refused calls are recorded: by the dispatcher, with what is known of them, also
# those of transactions that are rolled back (attack: probing without a trace).

use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_node);
use Test::More;

my $node = make_node('refusals');
my $any = "count(*) > 0 FROM miosa.refusals WHERE";

sub sql { return $node->safe_psql('postgres', @_) }

# Run a statement that is refused.
sub refused
{
	my ($statement, $condition, %with) = @_;
	my ($rc, undef, $stderr) = $node->psql($with{database} // 'postgres', "\\set VERBOSITY sqlstate\n$statement",
		on_error_stop => 1, connstr => $with{connstr});

	like($stderr, qr/ERROR:  $condition\b/, "refused: $statement");
}

# A row of the table arrives.
sub arrives
{
	my ($where, $what, $database) = @_;

	ok($node->poll_query_until($database // 'postgres', "SELECT $any $where"), $what)
	  or diag($node->safe_psql($database // 'postgres', 'TABLE miosa.refusals'));
}

my $fixture = q(
	SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_tenant('ten_2', 'other');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_deployment('dep_2', 'ten_1', 'blog');
	SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
	SELECT miosa_put_version('dep_2', 'ver_3', 1);
	SELECT miosa_promote('dep_1', 'ver_1');
	CREATE ROLE regress_caller LOGIN);
sql("$fixture; GRANT miosa_operator TO regress_caller");

# Each kind of refusal, with its fields
refused(q(SELECT miosa_rollback('dep_1', 'ver_9', 'key-1')), 'MR44V');
arrives(q(condition = 'VERSION_NOT_FOUND' AND function_name = 'public.miosa_rollback' AND action = 'deployment.rollback'
	AND deployment_id = 'dep_1' AND version_id = 'ver_9' AND idempotency_key = 'key-1' AND tenant_id = 'ten_1' AND count = 1
	AND actor_type = 'role' AND actor_id = session_user AND session_user_name = session_user AND client_addr IS NULL), 'a rollback');
refused(q(SELECT miosa_promote('dep_1', 'ver_8')), 'MR44V');
arrives(q(action = 'deployment.version.promote' AND function_name = 'public.miosa_promote' AND version_id = 'ver_8'
	AND idempotency_key IS NULL), 'a promotion');
refused(q(SELECT miosa_rollback('dep_9', 'ver_1', 'key-9')), 'MR404');
arrives(q(condition = 'DEPLOYMENT_NOT_FOUND' AND deployment_id = 'dep_9' AND idempotency_key = 'key-9' AND tenant_id IS NULL), 'no such deployment');
refused(q(SELECT miosa_rollback('not an id')), 'MR400');
arrives(q(condition = 'INVALID_ARGUMENT' AND deployment_id = 'not an id' AND tenant_id IS NULL), 'an id that is none');
refused(q(SELECT miosa_rollback('dep_2')), 'MR49P');
arrives(q(condition = 'NO_PREVIOUS_VERSION' AND deployment_id = 'dep_2' AND version_id IS NULL), 'nothing to go back to');
refused(q(SELECT * FROM miosa.rollback('shop', 'v9')), 'MR44V');
arrives(q(function_name = 'miosa.rollback'), 'by the console');
refused(q(SELECT miosa_put_endpoint('hook', 'no-such-adapter', 'https://h.example.com/')), 'MR400');
arrives(q(function_name = 'public.miosa_put_endpoint' AND action IS NULL AND deployment_id IS NULL AND condition = 'INVALID_ARGUMENT'), 'another function');
refused(q(SET miosa_rollback.actor = 'x'; SET ROLE regress_caller;
	BEGIN; SET LOCAL miosa_rollback.actor = 'user:mallory'; SELECT miosa_rollback('dep_1', 'ver_2')), 'MR403');
arrives(q(condition = 'FORBIDDEN' AND actor_type = 'role' AND actor_id = 'regress_caller' AND session_user_name = session_user
	AND deployment_id = 'dep_1'), 'a name that the caller may not use is not recorded');
is(sql("SELECT count(*) FROM miosa.refusals WHERE actor_id = 'mallory'"), 0, 'nowhere');

# A group that continues without what is refused
is(sql(q(SELECT string_agg(concat(deployment_id, ' ', condition), ', ' ORDER BY deployment_id COLLATE "C") FROM miosa.rollback_group(
	ARRAY['dep_1', 'dep_8'], ARRAY['ver_7', NULL], ARRAY['key-7', NULL]))), 'dep_1 VERSION_NOT_FOUND, dep_8 DEPLOYMENT_NOT_FOUND', 'a group');
arrives(q(deployment_id = 'dep_1' AND version_id = 'ver_7' AND idempotency_key = 'key-7' AND tenant_id = 'ten_1'
	AND function_name = 'miosa.rollback_group'), 'each target that it refuses');
arrives(q(deployment_id = 'dep_8' AND tenant_id IS NULL AND version_id IS NULL), 'also without a version');

# A refusal that is returned is recorded once: as an event, which is committed, ...
my $event = "SELECT count(*) FROM miosa.audit_events WHERE deployment_id = 'dep_1' AND outcome = 'refused' AND idempotency_key =";
is(sql(q(SELECT miosa_try_rollback('dep_1', 'ver_6', 'key-6') -> 'error' ->> 'code')), 'VERSION_NOT_FOUND', 'a refusal is returned');
is(sql("$event 'key-6'"), 1, 'and is an event');
# ... or if that is rolled back, also by a subtransaction, or none was needed.
sql(q(BEGIN; SELECT miosa_try_rollback('dep_1', 'ver_6', 'key-rolled-back'); ROLLBACK));
arrives(q(idempotency_key = 'key-rolled-back' AND condition = 'VERSION_NOT_FOUND' AND function_name = 'public.miosa_try_rollback'
	AND tenant_id = 'ten_1' AND count = 1), 'one whose event was rolled back');
sql(q(BEGIN; SELECT miosa_try_promote('dep_1', 'ver_6', 'key-kept'); SAVEPOINT a; SELECT miosa_try_promote('dep_1', 'ver_6', 'key-released');
	RELEASE a; SAVEPOINT b; SELECT miosa_try_promote('dep_1', 'ver_6', 'key-saved'); ROLLBACK TO b; COMMIT));
arrives(q(idempotency_key = 'key-saved' AND action = 'deployment.version.promote'), 'or to a savepoint');
sql(q(SELECT miosa_try_rollback('dep_1', 'ver_6', 'key-6'), miosa_try_rollback('dep_1', 'ver_6', 'key-6')));
arrives(q(idempotency_key = 'key-6'), 'and one that is repeated');
sql(q(SELECT miosa_try_rollback('dep_99')));
arrives(q(deployment_id = 'dep_99' AND tenant_id IS NULL AND function_name = 'public.miosa_try_rollback'), 'or of no deployment');
is(sql("SELECT coalesce(sum(count), 0) FROM miosa.refusals WHERE idempotency_key IN ('key-kept', 'key-released')"), 0, 'no event is a row too');
is(sql("$event ANY ('{key-kept,key-released}')"), 2, 'and each is one');
is(sql("SELECT sum(count) FROM miosa.refusals WHERE idempotency_key = 'key-6'"), 2, 'nor is the first of those that were repeated');

# Nothing of an earlier request is left
sql(q(SELECT miosa_rollback('dep_1', 'ver_2', 'good-key')));
refused(q(SELECT miosa_wait_converged('dep_77')), 'MR404');
arrives(q(function_name = 'public.miosa_wait_converged' AND action IS NULL AND deployment_id IS NULL), 'a call after one that succeeded');
is(sql("SELECT count(*) FROM miosa.refusals WHERE idempotency_key = 'good-key'"), 0, 'which is not there itself');

# Caught by the caller, in a transaction that is rolled back
sql(q(BEGIN;
	DO $$ BEGIN PERFORM miosa_rollback('dep_1', 'ver_6'); EXCEPTION WHEN SQLSTATE 'MR44V' THEN NULL; END $$;
	ROLLBACK));
arrives(q(version_id = 'ver_6'), 'caught and rolled back');

# The same refusal
sql(q(DO $$ BEGIN
	FOR i IN 1..100 LOOP
		BEGIN PERFORM miosa_rollback('dep_1', 'ver_5'); EXCEPTION WHEN SQLSTATE 'MR44V' THEN NULL; END;
	END LOOP;
END $$));
ok($node->poll_query_until('postgres', "SELECT sum(count) = 100 FROM miosa.refusals WHERE version_id = 'ver_5'"), 'all of the same are counted');
cmp_ok(sql("SELECT count(*) FROM miosa.refusals WHERE version_id = 'ver_5'"), '<', 100, 'in fewer rows');

# A hold counts the promotions that it refuses and remembers the newest version,
# also of a role that CI has, and of a plain UPDATE
sql(q(SELECT miosa_put_deployment('dep_3', 'ten_1', 'held');
	SELECT miosa_put_version('dep_3', 'v' || n, n) FROM generate_series(1, 4) n;
	SELECT miosa_promote('dep_3', 'v1'); SELECT miosa_promote('dep_3', 'v2'); SELECT miosa_rollback('dep_3', 'v1');
	CREATE ROLE regress_ci LOGIN; GRANT miosa_deployer TO regress_ci; ALTER ROLE regress_ci SET miosa_rollback.automatic = on));
my $ci = $node->connstr('postgres') . ' user=regress_ci';
refused(q(SELECT miosa_promote('dep_3', 'v4', 'ci-1')), 'MR42H', connstr => $ci);
refused(q(SELECT miosa_promote('dep_3', 'v3', 'ci-2')), 'MR42H', connstr => $ci);
refused(q(SET miosa_rollback.automatic = on; UPDATE miosa.deployments SET active_version_id = 'v3' WHERE id = 'dep_3'), 'MR42H');
my $held = "held = %s AND waiting_version_id = 'v4' AND waiting_since IS NOT NULL FROM miosa.holds WHERE deployment_id = 'dep_3'";
ok($node->poll_query_until('postgres', sprintf("SELECT $held", 3)), 'a hold counts what it refuses') or diag(sql('TABLE miosa.holds'));
arrives(q(condition = 'HELD' AND version_id = 'v4' AND actor_id = 'regress_ci' AND idempotency_key = 'ci-1'), 'and is recorded as any other refusal');
# while an operation has locked the deployment, others are not held up
my $operation = $node->background_psql('postgres');
refused(q(SELECT miosa_promote('dep_3', 'v4', 'ci-3')), 'MR42H', connstr => $ci);
$operation->query_safe(q(BEGIN; SELECT miosa_hold('dep_3', 'still')));
refused(q(SELECT miosa_rollback('dep_1', 'ver_meanwhile')), 'MR44V');
arrives(q(version_id = 'ver_meanwhile'), 'other refusals are written while it is locked');
$operation->query_safe('COMMIT');
$operation->quit;
ok($node->poll_query_until('postgres', sprintf("SELECT $held", 4)), 'and the hold counts its own then') or diag(sql('TABLE miosa.holds'));
is(sql(q(SELECT response #>> '{operation,target_version_id}' FROM (SELECT miosa_release('dep_3', promote => 'newest') AS response) r)), 'v4', 'what waited is promoted');

# The table cannot be changed
for my $statement ("UPDATE miosa.refusals SET actor_id = 'x'", 'DELETE FROM miosa.refusals', 'TRUNCATE miosa.refusals')
{
	refused($statement, 'MR403');
}

# Another database
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION miosa_rollback');
ok($node->poll_query_until('other', "SELECT state IN ('running', 'paused') FROM miosa.stat_dispatcher"), 'a second dispatcher');
refused(q(SELECT miosa_rollback('dep_other')), 'MR404', database => 'other');
arrives(q(deployment_id = 'dep_other'), 'in the other database', 'other');
is(sql("SELECT count(*) FROM miosa.refusals WHERE deployment_id = 'dep_other'"), 0, 'and not in this one');

# While the dispatcher cannot write, calls do not wait: what has no room is
# counted.  Then it is ended, and its successor writes what is there.
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE miosa.refusals');
sql(q(DO $$ BEGIN
	FOR i IN 1..600 LOOP
		BEGIN PERFORM miosa_rollback('dep_1', 'ver_many_' || i); EXCEPTION WHEN SQLSTATE 'MR44V' THEN NULL; END;
	END LOOP;
END $$));
my $dropped = sql('SELECT refusals_dropped FROM miosa.stat_dispatcher');
cmp_ok($dropped, '>=', 88, 'those without room are counted');
is(sql(q(SELECT outcome FROM miosa.rollback_group(ARRAY['dep_1'], ARRAY['ver_1']))), 'changed', 'a rollback goes on');
my $pid = sql('SELECT pid FROM miosa.stat_dispatcher');
sql("SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT pid <> $pid FROM miosa.stat_dispatcher WHERE state IN ('running', 'paused')"), 'another dispatcher');
$lock->query_safe('COMMIT');
$lock->quit;
ok($node->poll_query_until('postgres', "SELECT count(*) = 600 - $dropped FROM miosa.refusals WHERE version_id LIKE 'ver_many_%'"),
	'what had room is written, once')
  or diag(sql("SELECT count(*) FROM miosa.refusals WHERE version_id LIKE 'ver_many_%'"));
is(sql("SELECT count(*) FROM miosa.refusals WHERE version_id LIKE 'ver_many_%' AND count <> 1"), 0, 'each as one call');

# Tenants
sql(q(CREATE ROLE regress_one LOGIN; GRANT miosa_viewer TO regress_one; SELECT miosa_grant_tenant('regress_one', 'ten_1', '{read}');
	CREATE ROLE regress_two LOGIN; GRANT miosa_viewer TO regress_two; SELECT miosa_grant_tenant('regress_two', 'ten_2', '{read}');
	ALTER SYSTEM SET miosa_rollback.tenancy = enforced; SELECT pg_reload_conf()));
ok($node->poll_query_until('postgres', "SELECT current_setting('miosa_rollback.tenancy') = 'enforced'"), 'tenancy');
is(sql("SET ROLE regress_one; SELECT count(*) > 0, bool_and(tenant_id = 'ten_1') FROM miosa.refusals"), 't|t', 'a tenant sees its own');
is(sql('SET ROLE regress_two; SELECT count(*) FROM miosa.refusals'), 0, 'and nothing of another one');
refused(q(SET ROLE regress_two; SELECT miosa_plan('dep_1')), '(MR404|42501)');

done_testing();
