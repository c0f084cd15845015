# What surrounds the dispatcher is hostile: few descriptors, settings that are
# meant for people, a process that was stopped. It works, or it is said why it
# does not.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# A standby can be waited for.
my $node = make_node('trouble', "wal_level = replica\nmax_wal_senders = 2\n");
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $url = $sink->url;

my $setup = qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 2) n;
	SELECT miosa_put_endpoint('hook', 'webhook', '$url/hook/' || current_database())};

sql($setup);
waits_until('postgres', 'ok');
is(delivered(), 'converged', 'ready');

#
# Intervals: one that is polled every hour is not polled while another one is
# polled again and again
#
$sink->answer('^/poll/', body => '{"n": 0}');
for my $kind ([ 'fast', '100 ms' ], [ 'slow', '1 hour' ])
{
	my ($name, $interval) = @$kind;

	sql(qq{
	INSERT INTO miosa.adapters SELECT (jsonb_populate_record(a, '{"name": "$name", "builtin": false,
			"poll": {"method": "GET", "path": "/{deployment_id}"}, "healthy_json_path": "\$.n", "poll_interval": "$interval"}')).*
		FROM miosa.adapters a WHERE name = 'webhook-scheduler';
	SELECT miosa_put_endpoint('$name', '$name', '$url/poll', selector => '{"deployment": "$name"}');
	SELECT miosa_put_deployment('$name', 'ten_1', '$name', kind => 'dynamic', desired_replicas => 1);
	SELECT miosa_put_version('$name', 'ver_1', 1, 'dynamic')});
}
$sink->clear;
sql("SELECT miosa_promote('slow', 'ver_1')");
ok($sink->wait_for(1, '^/poll'), 'a scheduler is asked for an instance');
my $began = time();
sql("SELECT miosa_promote('fast', 'ver_1')");
ok($sink->wait_for(20, '^/poll/fast'), 'one is polled ten times a second');

my @fast = $sink->requests('^/poll/fast');
my $seconds = $fast[-1]{time} - $began;

cmp_ok(scalar $sink->requests('^/poll/slow'),
	'<=', 1, 'one that is polled every hour is not');
cmp_ok(scalar @fast, '<=', 2 + $seconds / 0.1, 'and no more often than that');
sql("DELETE FROM miosa.endpoints WHERE name IN ('fast', 'slow')");

#
# An option that libcurl does not accept, here because of its length, is an
# error of the endpoint; it is not waited for memory.  The limit of secrets
# refuses such a value, so it is written without triggers.
#
sql(qq{
	INSERT INTO miosa.adapters (name, signer, signer_options, request) VALUES
		('signed', 'sigv4', '{"service": "s3", "region": "us-east-1"}', '{"method": "PUT", "path": "/{deployment_id}"}');
	SET session_replication_role = replica;
	INSERT INTO miosa.secrets (name, value) VALUES ('long', 'AKID:' || repeat('x', 8000001));
	RESET session_replication_role;
	SELECT miosa_put_endpoint('signed', 'signed', '$url/signed', secret => 'long')});
ok( $node->poll_query_until('postgres', q{SELECT last_error LIKE 'libcurl does not accept CURLOPT_USERPWD: %'
		FROM miosa.stat_endpoint WHERE name = 'signed'}),
	'what libcurl does not accept is shown');
sql("DELETE FROM miosa.endpoints WHERE name = 'signed'; DELETE FROM miosa.secrets WHERE name = 'long'");

#
# An error in a transaction of the dispatcher is logged with all of its fields
#
sql("ALTER SYSTEM SET log_error_verbosity = 'verbose'");
$node->reload;
restart_dispatcher('postgres');

my $logged_from = -s $node->logfile;

sql(q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE division_by_zero USING MESSAGE = 'no epoch is given', DETAIL = 'A trigger refuses.', HINT = 'Drop the trigger.';
	END $$;
	CREATE TRIGGER refuse BEFORE UPDATE ON miosa.dispatcher_state FOR EACH ROW EXECUTE FUNCTION refuse()});
promote_other('postgres');
ok( poll_until(
		sub {
			slurp_file($node->logfile, $logged_from) =~ m{LOG:\ \ 22012:\ no\ epoch\ is\ given\n
				.*DETAIL:\ \ A\ trigger\ refuses[.]\n
				.*HINT:\ \ Drop\ the\ trigger[.]\n
				.*CONTEXT:\ \ PL/pgSQL\ function\ public[.]refuse\(\)[^\n]*\n
				\tSQL\ statement\ "UPDATE\ miosa[.]dispatcher_state[^\n]*\n
				\tmiosa_rollback\ dispatcher\ of\ database\ "postgres"\n
				.*LOCATION:\ \ exec_stmt_raise}x;
		},
		180),
	'SQLSTATE, DETAIL, HINT and CONTEXT of an error are logged')
  or diag slurp_file($node->logfile, $logged_from);
sql('DROP FUNCTION refuse() CASCADE');
sql('ALTER SYSTEM RESET log_error_verbosity');
$node->reload;
waits_until('postgres', 'ok');
is(delivered(), 'converged', 'once the trigger is gone, it delivers');

#
# A database whose DROP was interrupted is left alone, and an extension that is
# dropped and made again is no error
#
my $before = -s $node->logfile;

sql('CREATE DATABASE broken ALLOW_CONNECTIONS false');
sql("UPDATE pg_database SET datallowconn = true, datconnlimit = -2 WHERE datname = 'broken'");
for my $turn (1 .. 5)
{
	sql("SET miosa_rollback.allow_drop = on; DROP EXTENSION miosa_rollback CASCADE; CREATE EXTENSION miosa_rollback; $setup");
	waits_until('postgres', 'ok');
	is(delivered(), 'converged', "turn $turn: made again, it delivers");
}
unlike(slurp_file($node->logfile, $before),
	qr/does not exist|cannot connect to invalid database|broken.*started/, 'nothing is logged that was to be expected');
sql('DROP DATABASE broken');

#
# Settings that are meant for people: those of the database and of the role
#
my @hostile = (
	[ role => 'stranger' ],
	[ search_path => 'nowhere' ],
	[ statement_timeout => '1ms' ],
	[ lock_timeout => '1ms' ],
	[ idle_in_transaction_session_timeout => '1ms' ],
	[ idle_session_timeout => '1ms' ],
	[ default_transaction_isolation => 'serializable' ],
	[ default_transaction_read_only => 'on' ],
	[ default_transaction_deferrable => 'on' ],
	[ row_security => 'off' ],
	[ session_replication_role => 'replica' ],
	[ exit_on_error => 'on' ],
	[ client_min_messages => 'error' ],
	[ standard_conforming_strings => 'off' ],
	[ array_nulls => 'off' ],
	[ transform_null_equals => 'on' ],
	[ quote_all_identifiers => 'on' ],
	[ DateStyle => 'SQL, DMY' ],
	[ IntervalStyle => 'sql_standard' ],
	[ TimeZone => 'Asia/Kathmandu' ],
	[ bytea_output => 'escape' ],
	[ extra_float_digits => '-15' ],
	[ xmloption => 'document' ],
	[ default_tablespace => 'pg_global' ],
	[ plan_cache_mode => 'force_custom_plan' ],
	[ jit => 'on' ],
	[ jit_above_cost => '0' ],
	[ enable_indexscan => 'off' ],
	[ enable_nestloop => 'off' ],
	[ join_collapse_limit => '1' ],
	[ track_activities => 'off' ],
	[ track_counts => 'off' ],
	[ synchronous_commit => 'off' ],
	[ 'plpgsql.variable_conflict' => 'use_column' ],
	[ 'plpgsql.extra_errors' => 'all' ],
	[ 'miosa_rollback.actor' => 'user:nobody' ],
	[ 'request.method' => 'POST' ]);

push @hostile, [ transaction_timeout => '1ms' ]
  if sql('SHOW server_version_num') >= 170000;
my $me = sql('SELECT current_user');
my %place = (
	by_database => 'DATABASE by_database',
	by_role => "ROLE $me IN DATABASE by_role");
my $log_from = -s $node->logfile;

sql('CREATE ROLE stranger');
for my $database (sort keys %place)
{
	sql("CREATE DATABASE $database");
	sql_in($database, 'CREATE EXTENSION miosa_rollback');
	sql_in($database, $setup);
	waits_until($database, 'ok');
	is(delivered($database), 'converged', "$database: ready");

	# What maintenance has not done for a day is done by the dispatcher.
	sql_in($database, q{
		SELECT miosa_promote('dep_1', 'ver_1', 'key');
		UPDATE miosa.idempotency_keys SET created_at = now() - '9 days'::interval, expires_at = now() - '8 days'::interval});
	sql(join ";\n", map { "ALTER $place{$database} SET $_->[0] = '$_->[1]'" } @hostile);
	restart_dispatcher($database);

	# It has read them by now, and the sessions of this test need not.
	sql("ALTER $place{$database} RESET ALL");
}
for my $database (sort keys %place)
{
	is(delivered($database), 'converged', "$database: it delivers");
	is(sql_in($database, 'SELECT status FROM miosa.check_dispatcher()'),
		'ok', "$database: the doctor says so");
	ok( $node->poll_query_until($database, 'SELECT count(*) = 0 FROM miosa.idempotency_keys'),
		"$database: maintenance is done");
}
unlike(slurp_file($node->logfile, $log_from),
	qr/^(?!.*terminating).*(?:ERROR|FATAL)/m, 'nothing fails');

#
# One that is stopped, one that waits for a standby that is not there
#
restart_dispatcher('by_database');
my %pid = map { $_ => sql_in($_, 'SELECT pid FROM miosa.dispatcher()') } sort keys %place;

# An old error of the endpoint is no reason for what comes later.
$sink->answer('^/hook/by_role$', status => 500, times => 1);
is(delivered('by_role'), 'converged', 'an endpoint that failed once works again');
ok( $node->poll_query_until('by_role', 'SELECT last_error IS NOT NULL FROM miosa.stat_endpoint'),
	'its error is kept');
my $launcher = sql('SELECT launcher_pid FROM miosa.dispatcher()');

kill 'STOP', $pid{by_role}, $launcher;
sql_in('by_role', "SELECT miosa_promote('dep_1', 'ver_1', reason => 'unseen')");
sql_in('by_role', "SELECT miosa_promote('dep_1', 'ver_2', reason => 'unseen')");
is(waits_until('by_role', 'fail'), 'fail', 'a stopped dispatcher: the doctor fails');
is(waits_until('postgres', 'warn'), 'warn', 'a stopped launcher: the doctor warns');
like(sql('SELECT seen || fix FROM miosa.check_dispatcher()'),
	qr/running, process \d+, and the launcher, process $launcher, is stopped or stuck.*kill -CONT $launcher;/,
	'launcher: it says what to do');
like(sql_in('by_role', 'SELECT seen || fix FROM miosa.check_dispatcher()'),
	qr/no pass for [^:]+: process $pid{by_role} is stopped or stuck.*kill -CONT $pid{by_role};/,
	'stopped: it says what to do');
is(sql_in('by_role', "SELECT miosa_wait_converged('dep_1', '180 s')"),
	'no_dispatcher', 'nobody is waited for in vain');
is( sql_in('by_role', "SELECT count(*) FROM miosa.convergence_rows('dep_1') c JOIN miosa.outbox o ON o.deployment_id = 'dep_1'
		WHERE c.error IS NOT NULL OR c.age > clock_timestamp() - (SELECT min(created_at) FROM miosa.outbox)"),
	0, 'no endpoint is blamed, and the age is that of the change');
like(sql_in('by_role', "SELECT string_agg(value, ' ') FROM miosa.status('dep_1') WHERE item IN ('verdict', 'dispatcher')"),
	qr/NOT CONVERGED.*not delivering.*STUCK, no pass for/, 'status says so');
my ($ok, $out, $err) = $node->psql('by_role', "SELECT miosa_promote('dep_1', 'ver_1')");

like($err, qr/WARNING:  no dispatcher runs in this database, so changes are not delivered yet/,
	'a user who changes a route is warned');
# From now on every dispatcher that commits waits, also one that only did not run
# for a while
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
ok( $node->poll_query_until('by_database', q{SELECT current_setting('synchronous_standby_names') = 'nobody'}),
	'a standby is missing');
sql_in('by_database', "SET synchronous_commit = local; SELECT miosa_promote('dep_1', 'ver_1')");
sql_in('by_database', "SET synchronous_commit = local; SELECT miosa_promote('dep_1', 'ver_2')");
is(waits_until('by_database', 'fail'), 'fail', 'one that waits for a standby: the doctor fails');
like(sql_in('by_database', 'SELECT seen || fix FROM miosa.check_dispatcher()'),
	qr/process $pid{by_database} waits for a synchronous standby.*synchronous_standby_names/,
	'waits for a standby: it says what to do');
kill 'CONT', $pid{by_role}, $launcher;
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;
for my $database (sort keys %place)
{
	is(waits_until($database, 'ok'), 'ok', "$database: it is well again");
	is(sql_in($database, "SELECT miosa_wait_converged('dep_1', '180 s')"),
		'converged', "$database: and delivers");
}

#
# One whose every start fails says why
#
sql_in('by_role', 'ALTER TABLE miosa.dispatcher_state RENAME TO hidden');
sql_in('by_role', 'SELECT pg_terminate_backend(pid) FROM miosa.dispatcher()');
is(waits_until('by_role', 'fail'), 'fail', 'what does not start fails');
ok($node->poll_query_until('by_role', q{SELECT seen LIKE '%relation "miosa.dispatcher_state" does not exist%' FROM miosa.check_dispatcher()}),
	'and says why');
sql_in('by_role', 'ALTER TABLE miosa.hidden RENAME TO dispatcher_state');
is(waits_until('by_role', 'ok'), 'ok', 'until it does');

#
# More databases than may have a dispatcher: one has it, the others have none,
# and the log and the doctor say so
#
my @database = qw(postgres by_database by_role);
my $begin = -s $node->logfile;

$node->append_conf('postgresql.conf', 'miosa_rollback.max_databases = 1');
$node->restart;
ok( poll_until(
		sub {
			slurp_file($node->logfile, $begin) =~
			  /more databases than miosa_rollback[.]max_databases\n.*HINT:  Raise miosa_rollback[.]max_databases and restart the server[.]/;
		},
		180),
	'more databases than may have a dispatcher are logged');
ok(poll_until(sub { return with_dispatcher() == 1 }, 180),
	'as many as the setting says have one, and the doctor says which');
my ($first) = with_dispatcher();
my ($other) = grep { $_ ne $first } @database;
my %started = map { $_ => 1 }
  slurp_file($node->logfile, $begin) =~ /dispatcher of database "(\w+)" started/g;

is(join(' ', sort keys %started), $first, 'no other one was started');

# One more is counted, and none takes the counters of another one.
my %refused = map { $_ => [ refused($_), refused($_) ] } @database;
push @{ $refused{$_} }, refused($_) for @database;
is(join(', ', map { "@{ $refused{$_} }" } sort { $refused{$b}[2] cmp $refused{$a}[2] } @database),
	'1 2 3, 1 2 3, - - -', 'counters of two databases only grow, and a third one has none');
sql_in($other, "ALTER DATABASE $first ALLOW_CONNECTIONS false");
sql_in($other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE datname = '$first' AND application_name LIKE 'miosa_rollback % dispatcher'");
ok( poll_until(
		sub {
			return 1 == grep { dispatcher_is_ok($_) }
			  grep { $_ ne $first } @database;
		},
		180),
	'its place is given to another database');
sql_in($other, "ALTER DATABASE $first ALLOW_CONNECTIONS true");

# A template takes no place, although its CREATE EXTENSION requests a dispatcher
$node->append_conf('postgresql.conf', 'miosa_rollback.max_databases = 4');
$node->restart;
is(waits_until($_, 'ok'), 'ok', "$_ has one of four") for @database;
my @template = qw(template_a template_b);
for my $name (@template)
{
	sql("CREATE DATABASE $name IS_TEMPLATE true");
	sql_in($name, 'CREATE EXTENSION miosa_rollback');
}
sql('CREATE DATABASE fourth');
sql_in('fourth', 'CREATE EXTENSION miosa_rollback');
ok(poll_until(sub { return dispatcher_is_ok('fourth') }, 180),
	'the fourth database has one beside two templates');
sql("ALTER DATABASE $_ IS_TEMPLATE false") for @template;
sql("DROP DATABASE $_ WITH (FORCE)") for @template, 'fourth';
$node->append_conf('postgresql.conf', 'miosa_rollback.max_databases = 16');
$node->restart;
is(waits_until($_, 'ok'), 'ok', "$_ has one again") for @database;

#
# Limits of open files, from the highest that there is here
#
for my $limit (65536, 5000, 4096, 1024, 320, 120)
{
  SKIP:
	{
		skip "this process may not have $limit files open", 2
		  if hard_limit() < $limit;
		lower_limit($limit);
		my $from = -s $node->logfile;

		$node->restart;
		waits_until('postgres', 'ok');
		is(delivered(), 'converged', "$limit open files: it delivers");
		unlike(slurp_file($node->logfile, $from),
			qr/open files|ERROR/, "$limit open files: nothing fails");
	}
}

sub sql { return $node->safe_psql('postgres', @_); }
sub sql_in { return $node->safe_psql(@_); }

# How many calls were refused, after one more; - where none is counted.
sub refused
{
	my ($database) = @_;

	return $node->safe_psql($database, <<'EOS') =~ s/.*\n//sr;
SELECT miosa_try_rollback('none') IS NULL;
SELECT coalesce((SELECT value::text FROM miosa.metrics
	WHERE name = 'miosa_refusals_total' AND labels ->> 'condition' = 'DEPLOYMENT_NOT_FOUND'), '-');
EOS
}

# How the delivery of a new change ends.
sub delivered
{
	my ($database) = @_;

	$database //= 'postgres';
	promote_other($database);
	return sql_in($database, "SELECT miosa_wait_converged('dep_1', '180 s')");
}

# Promote a version that is not active.
sub promote_other
{
	my ($database) = @_;

	sql_in($database, qq{SELECT miosa_promote('dep_1', v.id) FROM miosa.versions v, miosa.deployments d
		WHERE v.id IS DISTINCT FROM d.active_version_id AND v.deployment_id = 'dep_1' AND d.id = 'dep_1' LIMIT 1});
	return;
}

# What the doctor says of the dispatcher, once that is as expected.
sub waits_until
{
	my ($database, $expected) = @_;
	my $query = 'SELECT status FROM miosa.check_dispatcher()';

	return MiosaTest::wait_sql($node, $query, $expected, 180, $database);
}

# The databases whose dispatcher works.
sub with_dispatcher { return grep { dispatcher_is_ok($_) } @database; }

# Whether the doctor finds nothing wrong with the dispatcher of a database.
sub dispatcher_is_ok
{
	my ($database) = @_;

	return sql_in($database, 'SELECT status FROM miosa.check_dispatcher()') eq 'ok';
}

# A new process, which has read its settings.
sub restart_dispatcher
{
	my ($database) = @_;
	my $of = "FROM pg_stat_activity WHERE datname = '$database' AND application_name LIKE 'miosa_rollback % dispatcher'";
	my $pid = sql("SELECT pid $of");

	sql("SELECT pg_terminate_backend($pid)");
	ok( $node->poll_query_until('postgres', "SELECT count(*) = 1 $of AND pid <> $pid"),
		"$database: a dispatcher is started again");
	return;
}

sub hard_limit
{
	my ($limit) = run_command(
		[ 'prlimit', "--pid=$$", '--nofile', '--output=HARD', '--noheadings' ]);

	$limit =~ s/\D//g;
	return $limit eq '' ? 1e9 : $limit;
}

# For this process and all that it starts from now on.
sub lower_limit
{
	my ($limit) = @_;

	system_or_bail('prlimit', "--pid=$$", "--nofile=$limit:$limit");
	return;
}

done_testing();
