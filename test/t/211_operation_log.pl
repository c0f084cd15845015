# miosa_rollback.log_operations: a line of the server's log for each operation that
# commits, each that is refused, and when the last edge has one; whatever names say.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaPostgres;
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('log', <<'EOC', extra => [ '--encoding=UTF8', '--locale=C' ]);
miosa_rollback.log_operations = on
miosa_rollback.lock_wait = '20 s'
EOC
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;
my $seen = 0;

sub sql { return $node->safe_psql('postgres', @_); }

# The lines since the last call, as fields; times are blotted out.
sub lines
{
	my ($like) = @_;
	my @found;

	poll_until(
		sub {
			my $log = substr(slurp_file($node->logfile), $seen);

			@found = map { s/\b((?:first_|last_)?ms=)\d+\.\d{3}\b/$1N/gr } $log =~ /LOG:  (app=miosa_rollback .*)$/gm;
			@found = grep { /$like/ } @found if $like;
			return $like ? @found > 0 : 1;
		},
		$like ? 180 : 0, 0.1);
	$seen = length slurp_file($node->logfile) unless $like;
	return join "\n", @found;
}

# What a statement logs by itself, in its transaction.
sub logs
{
	my ($statement, $expected, $what) = @_;

	lines();
	$node->psql('postgres', $statement);
	is(join("\n", grep { !/op=converged/ } split /\n/, lines()), $expected, $what);
	return;
}

my $as = "SET LOCAL miosa_rollback.actor = 'user:ann';";
sql(<<"EOS");
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || n, n) FROM generate_series(1, 3) n;
EOS

logs(q{SELECT miosa_promote('dep_1', 'ver_1')},
	q{app=miosa_rollback op=promote deployment=dep_1 to=ver_1 actor=role:} . sql('SELECT session_user') . q{ outcome=changed ms=N}, 'a promotion');
logs("BEGIN; $as SELECT miosa_promote('dep_1', 'ver_2'); SELECT miosa_rollback('dep_1', 'ver_1'); COMMIT",
	"app=miosa_rollback op=promote deployment=dep_1 from=ver_1 to=ver_2 actor=user:ann outcome=changed ms=N\n"
	  . 'app=miosa_rollback op=rollback deployment=dep_1 from=ver_2 to=ver_1 actor=user:ann outcome=changed ms=N', 'two in one transaction');
logs("BEGIN; SELECT miosa_promote('dep_1', 'ver_2'); ROLLBACK", '', 'none of a transaction that is rolled back');
logs("BEGIN; $as SAVEPOINT a; SELECT miosa_promote('dep_1', 'ver_2'); ROLLBACK TO a; SELECT miosa_promote('dep_1', 'ver_3'); COMMIT",
	'app=miosa_rollback op=promote deployment=dep_1 from=ver_1 to=ver_3 actor=user:ann outcome=changed ms=N', 'nor of a subtransaction');
logs("BEGIN; $as UPDATE miosa.deployments SET active_version_id = 'ver_1' WHERE id = 'dep_1'; COMMIT",
	'app=miosa_rollback op=rollback deployment=dep_1 from=ver_3 to=ver_1 actor=user:ann outcome=changed ms=N', 'a plain UPDATE');
logs("BEGIN; $as SELECT miosa_hold('dep_1'); COMMIT",
	'app=miosa_rollback op=hold deployment=dep_1 from=ver_1 to=ver_1 actor=user:ann outcome=unchanged ms=N', 'an operation that moves nothing');
logs("BEGIN; $as SELECT miosa_rollback('dep_1', 'ver_9'); COMMIT",
	'app=miosa_rollback op=rollback deployment=dep_1 to=ver_9 actor=user:ann outcome=refused condition=VERSION_NOT_FOUND ms=N', 'a refusal');
logs("BEGIN; $as SELECT miosa_try_rollback('dep_1', 'ver_9'); COMMIT",
	'app=miosa_rollback op=rollback deployment=dep_1 to=ver_9 actor=user:ann outcome=refused condition=VERSION_NOT_FOUND ms=N', 'one that is returned, once');
logs("BEGIN; $as SELECT miosa_rollback_many('{\"ids\": [\"dep_1\"]}', served_at => now()); COMMIT",
	'app=miosa_rollback op=rollback deployment=dep_1 from=ver_1 to=ver_1 actor=user:ann outcome=unchanged ms=N', 'a fleet');

# Hostile names: quotes, backslashes, line feeds, <, emoji, marks that turn the
# direction of writing, 255 characters.
my $name = qq{a"b\\\\c\n<i>\x{1F680}\x{202E}};
my $long = 'x' x 255;
utf8::encode(my $bytes = $name =~ s/\\\\/\\/r);
my $literal = join '', map { sprintf '\\x%02x', ord } split //, $bytes;
logs("SELECT miosa_rollback('dep_1', E'$literal')",
	'app=miosa_rollback op=rollback deployment=dep_1 to="a\"b\\\\c\u000a<i>\ud83d\ude80\u202e" actor=role:' . sql('SELECT session_user')
	  . ' outcome=refused condition=INVALID_ARGUMENT ms=N', 'a version with a hostile name');
logs("SELECT miosa_rollback(E'$literal')",
	'app=miosa_rollback op=rollback deployment="a\"b\\\\c\u000a<i>\ud83d\ude80\u202e" actor=role:' . sql('SELECT session_user')
	  . ' outcome=refused condition=INVALID_ARGUMENT ms=N', 'and a deployment');
logs("BEGIN; SET LOCAL miosa_rollback.actor = E'user:a\"b <i>'; SELECT miosa_rollback('dep_1', '$long'); COMMIT",
	"app=miosa_rollback op=rollback deployment=dep_1 to=$long actor=\"user:a\\\"b <i>\" outcome=refused condition=VERSION_NOT_FOUND ms=N", 'an actor, and a long name');

# A plain UPDATE that is refused; but not one to a version of which nothing is known
logs("BEGIN; $as UPDATE miosa.versions SET state = 'archived' WHERE id = 'ver_2'; UPDATE miosa.deployments SET active_version_id = 'ver_2'; COMMIT",
	'app=miosa_rollback op=promote deployment=dep_1 to=ver_2 actor=user:ann outcome=refused condition=VERSION_NOT_READY ms=N', 'a plain UPDATE that is refused');
logs("UPDATE miosa.deployments SET active_version_id = 'ver_9'", '', 'one to a version that is not there');

# A call that fails otherwise leaves nothing to the next refusal of the session.
sql(<<'EOS');
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
CREATE TRIGGER fail BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION fail();
EOS
logs("\\set ON_ERROR_STOP off\nSELECT miosa_rollback('dep_1', 'ver_3');\nSELECT miosa_put_version('dep_1', 'ver_4', -1);", '', 'another refusal after a failure');
sql('DROP TRIGGER fail ON miosa.audit_events; DROP FUNCTION fail()');

# How long a rollback by an alert took is its own time, whatever came before in the
# transaction.
sql(q{SELECT miosa_release('dep_1'), miosa_promote('dep_1', 'ver_3'), miosa_watch('dep_1')});
lines();
my $took = sql(q[BEGIN; SELECT FROM miosa_watch('dep_1'); SELECT pg_sleep(1); SELECT clock_timestamp() AS began \gset
	SELECT FROM miosa_alert('{"version": "4", "alerts": [{"status": "firing", "fingerprint": "f", "startsAt": "2126-03-01T10:00:00Z", "labels": {"miosa_deployment": "dep_1"}}]}');
	SELECT extract(epoch FROM clock_timestamp() - :'began') * 1000; COMMIT]) =~ s/\s//gr;
my ($ms) = substr(slurp_file($node->logfile), $seen) =~ /op=rollback deployment=dep_1 from=ver_3 to=ver_1 .* ms=([0-9.]+)$/m;
cmp_ok($ms, '>', 0, 'a rollback by an alert took some time');
cmp_ok($ms, '<=', $took, 'and no longer than the call');

# In a database in another encoding the characters of bytes are not known.
sql(q{CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
$node->safe_psql('latin', q{CREATE EXTENSION miosa_rollback; SELECT miosa_put_tenant('ten_1', 'acme'); SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop')});
lines();
$node->psql('latin', q{SELECT miosa_rollback('dep_1', convert_from('\x636166e9', 'LATIN1'))});
like(lines(), qr/ to="caf\\\\xe9" .*condition=INVALID_ARGUMENT/, 'a byte of another encoding');

# Readers refuse a line that has any escape that JSON does not have.
my @logged = slurp_file($node->logfile) =~ /LOG:  (app=miosa_rollback .*)$/gm;
my @unreadable = grep { !/^(?:\w+=(?:[-\w.:\/@+#*]+|"(?:[^"\\]|\\["\\]|\\u[0-9a-f]{4})*")(?: |$))+$/ } @logged;
cmp_ok(scalar @logged, '>', 10, 'there are lines');
is(join("\n", @unreadable), '', 'each of which readers of logfmt can read');

# When edges have it
sql(q{SELECT miosa_release('dep_1')});
sql(sprintf <<'EOS', $sink->url);
INSERT INTO miosa.adapters (name, request, wildcards) VALUES ('edge', '{"method": "PUT", "path": "/{version_id}"}', true);
SELECT miosa_put_endpoint('edge-1', 'edge', '%s');
EOS
$node->poll_query_until('postgres', q{SELECT state = 'healthy' FROM miosa.stat_endpoint WHERE name = 'edge-1'});
lines();
my $seq = sql(q{SELECT miosa_promote('dep_1', 'ver_3') #>> '{operation,id}'}) =~ s/.*#//r;
like(lines(qr/op=converged .*seq=$seq /), qr/^app=miosa_rollback op=converged deployment=dep_1 seq=$seq version=ver_3 edges=1 first_ms=N last_ms=N$/m,
	'when the last edge has it');

# Off, and who may set it
sql(q{ALTER SYSTEM SET miosa_rollback.log_operations = off; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT current_setting('miosa_rollback.log_operations') = 'off'});
logs(q{SELECT miosa_rollback('dep_1', 'ver_1')}, '', 'nothing when it is off');
sql('CREATE ROLE regress_operator LOGIN IN ROLE miosa_operator');
my ($rc, $out, $err) = $node->psql('postgres', 'SET ROLE regress_operator; SET miosa_rollback.log_operations = on');
like($err, qr/permission denied to set parameter "miosa_rollback\.log_operations"/, 'only superusers turn it on');

# Without preloading: operations and refusals, too.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
logs("LOAD 'miosa_rollback'; SET miosa_rollback.log_operations = on; SELECT miosa_promote('dep_1', 'ver_2'); SELECT miosa_rollback('dep_1', 'ver_9')",
	'app=miosa_rollback op=promote deployment=dep_1 from=ver_1 to=ver_2 actor=role:' . sql('SELECT session_user') . " outcome=changed ms=N\n"
	  . 'app=miosa_rollback op=rollback deployment=dep_1 to=ver_9 actor=role:' . sql('SELECT session_user') . ' outcome=refused condition=VERSION_NOT_FOUND ms=N',
	'without preloading');

# What metrics say without it
is(sql(q{SELECT string_agg(name || coalesce(' ' || (labels ->> 'state'), '') || ' ' || value, ', ' ORDER BY name COLLATE "C") FROM miosa.metrics
	WHERE name ~ '^miosa_(preloaded|dispatcher_up|dispatcher_paused)$' OR name = 'miosa_dispatcher_state' AND value = 1}),
	'miosa_dispatcher_state not preloaded 1, miosa_dispatcher_up 0, miosa_preloaded 0', 'metrics say that the library is not preloaded');
is(sql(q{SELECT count(*) FROM miosa.metrics WHERE name ~ '_(total|bucket)$|_slots|^miosa_endpoint_(up|breaker_open)$'}), 0, 'and nothing of what is not known');
like(sql('SELECT miosa_metrics()'), qr/^miosa_preloaded 0$/m, 'as text, too');

done_testing();
