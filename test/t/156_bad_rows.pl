# A row that cannot be made sense of never ends the dispatcher, whatever role
# put it there and whatever it says: rows of every kind are written here past
# all checks, as a careless owner or a broken restore could.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('rows');
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $url = $sink->url;
my $number = 1;

sub sql { return $node->safe_psql('postgres', @_); }

sub pid { return sql("SELECT coalesce(pid, 0) FROM miosa.dispatcher()"); }

# The dispatcher is the one that it was, and delivers what comes.
sub goes_on
{
	my ($name, $before) = @_;

	$number = 3 - $number;
	$sink->clear;
	my $received = $node->psql('postgres',
		"SELECT miosa_promote('dep_1', 'v$number')") == 0
	  && poll_until(
		sub {
			my @request = $sink->requests('^/good/dep_1/');

			return @request && $request[-1]{path} eq "/good/dep_1/v$number";
		},
		180);

	ok($received, "$name: others receive it");
	is(pid(), $before, "$name: the dispatcher goes on") if $before;
	return;
}

sql(<<"EOS");
INSERT INTO miosa.adapters (name, request) VALUES ('put',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}", "headers": {"x-id": "{message_id}"}}');
INSERT INTO miosa.adapters (name, per, request, remove) VALUES ('hosts', 'host',
	'{"method": "PUT", "path": "/{host}", "headers": {"x-host": "{host}"}}',
	'{"method": "DELETE", "path": "/{host}"}');
INSERT INTO miosa.secrets (name, value) VALUES ('key', 'secret');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'v' || n, n) FROM generate_series(1, 2) n;
SELECT miosa_put_endpoint('good', 'put', '$url/good');
SELECT miosa_put_endpoint('hosts', 'hosts', '$url/hosts');
SELECT miosa_put_endpoint('hook', 'webhook', '$url/hook');
SELECT miosa_put_endpoint('cache', 'varnish-xkey', '$url/cache');
EOS
goes_on('before');
my $pid = pid();

#
# Endpoints and adapters
#
my @request = (
	'[]', '"x"', '1', 'null', '{}', '{"method": "GET"}', '{"path": "/"}',
	'{"method": 1, "path": "/"}', '{"method": "G T", "path": "/"}',
	'{"method": "PUT", "path": "/{nothing}"}',
	'{"method": "PUT", "path": "/{host"}',
	'{"method": "PUT", "path": "}{"}',
	'{"method": "PUT", "path": "/", "headers": []}',
	'{"method": "PUT", "path": "/", "headers": {"a b": "c"}}',
	'{"method": "PUT", "path": "/", "headers": {"X": "a\\r\\nb: c"}}',
	'{"method": "PUT", "path": "/", "headers": {"X": 1}}',
	'{"method": "PUT", "path": "/", "headers": {"X": "{secret:none}"}}',
	'{"method": "PUT", "path": "/", "body": 7}',
	'{"method": "PUT", "path": "/", "body": "{hosts}", "more": 1}');
my $n = 0;
my $adapters = join '', map {
	$n++;
	"INSERT INTO miosa.adapters (name, wildcards, request) VALUES ('bad-$n', false, '$_');
	INSERT INTO miosa.endpoints (name, adapter, url)
	VALUES ('bad-$n', 'bad-$n', '$url/bad');\n";
} @request;
my @place = (
	'', 'nowhere', '//', 'http://', 'http:///x', 'file:///etc/passwd',
	'ftp://127.0.0.1', 'http://user:word@127.0.0.1', 'http://[::1', 'http://a b',
	"http://127.0.0.1\r\nX: y", 'http://127.0.0.1:99999',
	'http://' . 'x' x 3000, 'gopher://127.0.0.1:70/_x');
my $endpoints = join '', map {
	$n++;
	"INSERT INTO miosa.endpoints (name, adapter, url)
	VALUES ('bad-$n', 'put', '$_');\n";
} @place;

sql(<<"EOS");
SET session_replication_role = replica;
$adapters$endpoints
INSERT INTO miosa.endpoints (name, adapter, url, selector, secret) VALUES
	('bad-s1', 'put', '$url/bad', '[]', NULL),
	('bad-s2', 'put', '$url/bad', 'null', NULL),
	('bad-s3', 'put', '$url/bad', '"tenant"', NULL),
	('bad-s4', 'put', '$url/bad', '{"tenant": {"a": [1]}}', NULL),
	('bad-s5', 'put', '$url/bad', '{"kind": null, "x": 1}', NULL),
	('bad-s6', 'put', '$url/bad', '{}', 'there-is-none'),
	('bad-s8', 'put', '$url/bad', '["tenant", "kind", "deployment", "dep_1"]', NULL),
	('bad-s9', 'put', '$url/bad', '[{"tenant": "ten_1"}, [], 5, null]', NULL),
	('bad-s7', 'there-is-none', '$url/bad', '{}', NULL);
UPDATE miosa.endpoints SET origin = (SELECT origin FROM miosa.endpoints WHERE name = 'good');
SET session_replication_role = origin;
UPDATE miosa.endpoints SET zone = zone WHERE name = 'good';
EOS
goes_on('endpoints and adapters', $pid);
is(sql("SELECT string_agg(e.name, ' ' ORDER BY e.name) FROM miosa.endpoints e
		LEFT JOIN miosa.endpoint_state s ON s.endpoint = e.name
		WHERE e.name LIKE 'bad-%' AND s.health = 'healthy' AND e.name !~ '-s[4-6]\$'"),
	'', 'none of them is called healthy');
is( MiosaTest::wait_sql(
		$node, "SELECT string_agg(s.endpoint, ' ' ORDER BY s.endpoint) FROM miosa.endpoint_state s
		WHERE s.health = 'misconfigured' AND s.last_error = 'selector is not a JSON object'",
		'bad-s1 bad-s2 bad-s3 bad-s8 bad-s9'),
	'bad-s1 bad-s2 bad-s3 bad-s8 bad-s9', 'a selector of another shape is named');

#
# Deployments, versions, domains
#
my $long = 'x' x 300;
my $longer = 'y' x 9000;
my @id = ("${long}1", "${long}2", $longer, ' ', q(quote''s), "line\nend",
	"cr\r\nX-Injected: 1", 'a/../b', '%00', '{host}', "\x{c3}\x{a9}\x{e2}\x{82}\x{ac}");

sql(join "\n",
	'SET session_replication_role = replica;',
	(
		map {
			$n++;
			"INSERT INTO miosa.deployments (id, tenant_id, name, slug, active_version_id, seq, route_seq)
			VALUES ('$_', 'ten_1', 'odd', 'odd-$n', '$_', 1, 1);
			INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
			VALUES ('$_', '$_', 'ten_1', 1, 'ready');
			INSERT INTO miosa.outbox (deployment_id, kind, route_seq) VALUES ('$_', 'route', 1);"
		} @id),
	"INSERT INTO miosa.deployments (id, tenant_id, name, slug) VALUES ('orphan', 'gone', 'x', 'orphan');",
	"INSERT INTO miosa.outbox (deployment_id, kind, route_seq) VALUES ('orphan', 'route', 1);",
	'SET session_replication_role = origin; SELECT miosa.wake();');
ok( poll_until(
		sub {
			my %received = map { $_->{path} => 1 } $sink->requests('^/good/');

			return $received{"/good/${long}1/${long}1"}
			  && $received{"/good/${long}2/${long}2"};
		},
		180),
	'long ids are delivered, and are not taken for one another');
goes_on('ids of every kind', $pid);
is((grep { $_->{headers}{'x-injected'} } $sink->requests),
	0, 'no id brings a header of its own');

#
# What the dispatcher itself writes
#
sql(<<"EOS");
INSERT INTO miosa.outbox (deployment_id, kind, route_seq, host) VALUES
	('dep_1', 'repurge', 100, NULL), ('dep_1', 'host_removed', 101, NULL),
	('dep_1', 'capacity', 102, NULL), ('dep_1', 'repurge', 103, ''),
	('dep_1', 'host_removed', 104, ''), ('dep_1', 'host_removed', 105, E'a\\r\\nb'),
	('dep_1', 'host_removed', 106, repeat('h', 5000)), ('dep_1', 'repurge', 107, repeat('z', 500)),
	('', 'route', 108, NULL), ('', 'repurge', 109, NULL), ('unknown', 'route', -1, NULL),
	('unknown', 'host_removed', 9223372036854775807, 'x.test'),
	(repeat('u', 2000), 'route', -9223372036854775808, NULL);
SELECT miosa.wake();
EOS
goes_on('outbox', $pid);
is( poll_until(sub { sql('SELECT count(*) FROM miosa.outbox') == 0 }, 180),
	1, 'nothing is left in the outbox');

sql(<<'EOS');
INSERT INTO miosa.delivery_failures (endpoint, deployment_id, epoch, attempts, next_try_at) VALUES
	('good', 'dep_1', 1, -5, 'infinity'), ('good', 'unknown', 1, 2147483647, '-infinity'),
	('hosts', 'dep_1', -1, -2147483648, '294276-12-31'), ('hosts', '', 0, 0, '4713-01-01 BC'),
	('gone', 'dep_1', 1, 0, now()), ('cache', repeat('u', 2000), 1, 1, now())
	ON CONFLICT (endpoint, deployment_id) DO UPDATE
		SET attempts = excluded.attempts, next_try_at = excluded.next_try_at;
UPDATE miosa.endpoint_state SET health = 'fine', failures = -1, config = '', resync_after = repeat('r', 500)
	WHERE endpoint = 'hook';
UPDATE miosa.endpoint_state SET acked_epoch = -1, settled_epoch = -1 WHERE endpoint = 'hosts';
UPDATE miosa.endpoint_state SET acked_epoch = 9223372036854775807,
	settled_epoch = 9223372036854775807, marker_epoch = -1 WHERE endpoint = 'cache';
DELETE FROM miosa.endpoint_state WHERE endpoint = 'bad-1';
EOS
goes_on('state', $pid);

#
# All of it is there when the next one starts
#
sql("SELECT pg_terminate_backend($pid)");
ok( poll_until(
		sub {
			return sql("SELECT state = 'running' AND pid <> $pid
				FROM miosa.dispatcher()") eq 't';
		},
		180,
		0.1),
	'another dispatcher runs');
$pid = pid();
goes_on('the next one', $pid);
sql("SELECT miosa_resync(name) FROM miosa.endpoints WHERE name !~ '^bad'");
goes_on('all over again', $pid);
sql("SELECT miosa_redrive(name) FROM miosa.endpoints WHERE name !~ '^bad'");
goes_on('and what has failed', $pid);
is(sql("SELECT count(*) FROM miosa_doctor()") > 0, 1, 'miosa_doctor() answers');

my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|PANIC/, 'nothing crashed');

done_testing();
