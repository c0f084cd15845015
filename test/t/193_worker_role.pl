# The dispatcher acts as the owner of the extension's schema, whichever function
# of it or trigger on its tables runs there: a role that can become that owner
# does not become a superuser (attack 1: roles).

use strict;
use warnings FATAL => 'all';

use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('worker_role');
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;

sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
	SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $sink->url ]}/hook')});
is(delivered('ver_1'), 'converged', 'ready');

# What a member of miosa_owner can do: a trigger that tries to get out, and a
# function that is replaced.
sql(q{
	CREATE SCHEMA probe AUTHORIZATION miosa_owner;
	CREATE ROLE regress_ally;
	CREATE FUNCTION probe.identity(OUT site text, OUT system_identifier text, OUT timeline bigint, OUT database_oid oid)
		LANGUAGE c AS 'miosa_rollback', 'mrb_identity';
	SET ROLE miosa_owner;
	CREATE TABLE probe.seen (what text, who name, "by" text);
	CREATE FUNCTION probe.note(what text) RETURNS void LANGUAGE sql AS
		'INSERT INTO probe.seen VALUES (what, current_user, current_setting(''application_name''))';
	CREATE FUNCTION probe.try(statement text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		PERFORM probe.note('done: ' || statement);
	EXCEPTION WHEN OTHERS THEN
		PERFORM probe.note(SQLSTATE || ': ' || statement);
	END $$;
	CREATE FUNCTION probe.leave() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM probe.note(TG_ARGV[0]);
		PERFORM probe.try(s.statement) FROM unnest(ARRAY[
			'ALTER ROLE regress_ally SUPERUSER', 'RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION',
			'SET SESSION AUTHORIZATION regress_ally', 'COPY (SELECT 1) TO PROGRAM ''true''']) s (statement);
		IF TG_ARGV[0] = 'trigger' THEN
			EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT probe.note(''held cursor'')';
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER leave BEFORE UPDATE ON miosa.dispatcher_state FOR EACH ROW EXECUTE FUNCTION probe.leave('trigger');
	CREATE CONSTRAINT TRIGGER leave_late AFTER UPDATE ON miosa.dispatcher_state DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION probe.leave('deferred trigger');
	CREATE OR REPLACE FUNCTION miosa.identity(OUT site text, OUT system_identifier text, OUT timeline bigint, OUT database_oid oid)
		LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		PERFORM probe.note('function');
		SELECT * INTO site, system_identifier, timeline, database_oid FROM probe.identity();
	END $$;
	RESET ROLE});
is(delivered('ver_2'), 'converged', 'it delivers while triggers look around');
sql('DROP TRIGGER leave ON miosa.dispatcher_state; DROP TRIGGER leave_late ON miosa.dispatcher_state');

is(sql(q{SELECT string_agg(DISTINCT what, ', ' ORDER BY what) FROM probe.seen WHERE what !~ ':|function' AND "by" LIKE 'miosa_rollback % dispatcher'}),
	'deferred trigger, held cursor, trigger', 'all of them ran in the dispatcher');
is(sql('SELECT string_agg(DISTINCT who, chr(32)) FROM probe.seen'),
	'miosa_owner', 'and as the owner');
is(sql("SELECT count(*) FROM probe.seen WHERE what LIKE 'done: %'"), 0, 'none of the attempts succeeded');
is(sql("SELECT count(DISTINCT what) FROM probe.seen WHERE what LIKE '_____: %'"), 6, 'each was refused');
is(sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'regress_ally'"), 'f', 'nobody became a superuser');

# A new process reads its identity by a function of the schema
sql('DELETE FROM probe.seen');
restart_dispatcher();
ok($node->poll_query_until('postgres', q{SELECT status = 'ok' FROM miosa.check_dispatcher()}), 'and has made a pass');
is(sql(q{SELECT string_agg(DISTINCT what || ' as ' || who, chr(32)) FROM probe.seen WHERE "by" LIKE 'miosa_rollback % dispatcher'}),
	'function as miosa_owner', 'a function that the dispatcher calls runs as the owner');
is(delivered('ver_1'), 'converged', 'it delivers');

# Another owner of the schema, also a superuser as in older installations
sql(q{
	CREATE ROLE regress_other BYPASSRLS;
	GRANT miosa_owner, pg_read_all_stats TO regress_other;
	ALTER SCHEMA miosa OWNER TO regress_other;
	GRANT USAGE ON SCHEMA miosa TO miosa_owner;
	DELETE FROM probe.seen;
	CREATE TRIGGER leave BEFORE UPDATE ON miosa.dispatcher_state FOR EACH ROW EXECUTE FUNCTION probe.leave('owner')});
is(delivered('ver_2'), 'converged', 'it delivers as another owner');
is(sql("SELECT string_agg(DISTINCT who, chr(32)) FROM probe.seen WHERE what = 'owner'"), 'regress_other', 'and reads the owner in the catalog');
sql('ALTER SCHEMA miosa OWNER TO CURRENT_USER; GRANT USAGE ON SCHEMA miosa TO miosa_owner; DELETE FROM probe.seen; DROP TRIGGER leave ON miosa.dispatcher_state');
is(delivered('ver_1'), 'converged', 'it delivers as a superuser who owns the schema');

# What needs more than a table's owner: the doctor still sees all of it
sql('ALTER SCHEMA miosa OWNER TO miosa_owner');
is(delivered('ver_2'), 'converged', 'it delivers as the owner again');
is(sql('SELECT status FROM miosa.check_dispatcher()'), 'ok', 'the doctor says so');
is(sql('SELECT count(*) FROM miosa.stat_dispatcher WHERE errors > 0'), 0, 'and no pass failed');

sub sql { return $node->safe_psql('postgres', @_); }

# How the delivery of a version ends.
sub delivered
{
	my ($version) = @_;

	sql("SELECT miosa_promote('dep_1', '$version')");
	return sql("SELECT miosa_wait_converged('dep_1', '180 s')");
}

# A new process.
sub restart_dispatcher
{
	my $of = "FROM pg_stat_activity WHERE application_name LIKE 'miosa_rollback % dispatcher'";
	my $pid = sql("SELECT pid $of");

	sql("SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $of AND pid <> $pid"), 'a dispatcher is started again');
	return;
}

done_testing();
