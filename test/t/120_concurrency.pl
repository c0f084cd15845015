# Many clients at once: a key makes one change however many call with it at
# the same time, and whatever is mixed on one deployment, operations are
# numbered without gaps, each begins where the one before it ended, and none
# ends on an artifact that was collected.

use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_may_be_refused make_node);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 16;
my $node = make_node('crowd', "max_connections = 50\n");

make_may_be_refused($node);
$node->safe_psql('postgres', <<'EOS');
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');
INSERT INTO miosa.deployments (id, tenant_id, name, slug)
	SELECT 'dep_' || i, 'ten_1', 'Site', 'site-' || i FROM generate_series(0, 3) i;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, state)
	SELECT 'dep_' || d, 'ver_' || i, 'ten_1', i, 'ready' FROM generate_series(0, 3) d, generate_series(1, 5) i;
INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri)
	SELECT 'dep_' || d, 'rel_' || i, 'ver_' || i, 'ten_1', 'test://artifact' FROM generate_series(0, 3) d, generate_series(1, 5) i;
DO 'BEGIN PERFORM miosa_promote(''dep_'' || d, ''ver_'' || i) FROM generate_series(0, 3) d, generate_series(1, 5) i; END';

CREATE TABLE answers (key integer, answer text);
EOS

# All clients use the same few keys, at the same time
$node->pgbench(
	"-n -c $clients -j 2 -t 25",
	0,
	[qr{actually processed: 400/400\b}],
	[qr{^$}],
	'16 clients with 10 keys',
	{
		'120_same_key' => q{
\set k random(1, 10)
SET client_min_messages = error;
INSERT INTO answers SELECT :k, (miosa_rollback('dep_0', 'ver_' || 1 + :k % 5, 'key-' || :k)
	#- '{operation,replayed}' #- '{operation,superseded_by}' #- '{operation,warnings}')::text;
}
	});
is( $node->safe_psql('postgres', <<'EOS'),
SELECT count(*), count(DISTINCT (key, answer)), count(DISTINCT key) FROM answers
EOS
	'400|10|10',
	'400 calls with 10 keys got 10 answers');
is( $node->safe_psql('postgres', <<'EOS'),
SELECT d.seq - 5, (SELECT count(*) FROM miosa.audit_events a WHERE a.deployment_id = d.id AND a.seq > 5),
	(SELECT count(*) FROM miosa.idempotency_keys k WHERE k.deployment_id = d.id)
	FROM miosa.deployments d WHERE d.id = 'dep_0'
EOS
	'10|10|10',
	'and were 10 operations');

# Everything at once on three deployments
$node->pgbench(
	"-n -c $clients -j 2 -t 60",
	0,
	[qr{actually processed: 960/960\b}],
	[qr{^$}],
	'16 clients with everything',
	{
		'120_operate@6' => q{
\set d random(1, 3)
\set v random(1, 5)
\set w random(1, 6)
SET client_min_messages = error;
SELECT may_be_refused(CASE :w
	WHEN 1 THEN format('SELECT miosa_rollback(''dep_%s'', NULL, ''key-%s'')', :d, random())
	WHEN 2 THEN format('SELECT miosa_rollback(''dep_%s'')', :d)
	WHEN 3 THEN format('SELECT miosa_promote(''dep_%s'', ''ver_%s'')', :d, :v)
	WHEN 4 THEN format('SELECT miosa_promote(''dep_%s'', ''ver_%s'', expected_active => ''ver_%s'')', :d, :v, 1 + :v % 5)
	ELSE format('SELECT miosa_rollback(''dep_%s'', ''ver_%s'')', :d, :v) END);
},
		'120_undo@1' => q{
\set d random(1, 3)
\set v random(1, 5)
SET client_min_messages = error;
BEGIN;
SELECT may_be_refused(format('SELECT miosa_rollback(''dep_%s'', ''ver_%s'', ''undone-%s'')', :d, :v, random()));
ROLLBACK;
},
		'120_owner@2' => q{
\set d random(1, 3)
\set v random(1, 5)
SET client_min_messages = error;
SELECT may_be_refused(format('UPDATE miosa.deployments SET active_version_id = ''ver_%s'' WHERE id = ''dep_%s''', :v, :d));
},
		'120_collector@2' => q{
\set d random(1, 3)
\set v random(1, 5)
SET client_min_messages = error;
SELECT may_be_refused(format('UPDATE miosa.releases SET collected_at = now() WHERE deployment_id = ''dep_%s'' AND id = ''rel_%s''', :d, :v));
SELECT 1 / (CASE WHEN EXISTS (SELECT FROM miosa.deployments d JOIN miosa.releases r
	ON r.deployment_id = d.id AND r.id = d.active_release_id WHERE r.collected_at IS NOT NULL) THEN 0 ELSE 1 END);
UPDATE miosa.releases SET collected_at = NULL WHERE deployment_id = 'dep_' || :d AND id = 'rel_' || :v;
}
	});

my $broken = <<'EOS';
WITH steps AS (
	SELECT *, row_number() OVER w AS number, lag(target_version_id) OVER w AS came_from, lag(created_at) OVER w AS came_at
	FROM miosa.audit_events WINDOW w AS (PARTITION BY deployment_id ORDER BY seq)
) SELECT count(*) FROM steps WHERE %s
EOS
for my $case (
	[ 'seq <> number', 'operations are numbered without gaps' ],
	[
		'number > 1 AND previous_version_id IS DISTINCT FROM came_from',
		'each begins where the one before it ended'
	],
	[ 'created_at <= came_at', 'their times rise with their numbers' ])
{
	is($node->safe_psql('postgres', sprintf($broken, $case->[0])),
		0, $case->[1]);
}
is( $node->safe_psql('postgres', <<'EOS'),
SELECT count(*) FROM miosa.deployments d
WHERE (d.seq, d.active_version_id) IS DISTINCT FROM
	(SELECT (a.seq, a.target_version_id) FROM miosa.audit_events a WHERE a.deployment_id = d.id ORDER BY a.seq DESC LIMIT 1)
	OR d.active_release_id IS DISTINCT FROM replace(d.active_version_id, 'ver', 'rel')
EOS
	0,
	'the last one is what the deployment shows');
is( $node->safe_psql('postgres', <<'EOS'),
SELECT count(*) FROM miosa.idempotency_keys k LEFT JOIN miosa.audit_events a
ON a.deployment_id = k.deployment_id AND a.seq = k.seq AND a.idempotency_key = k.key
WHERE a.seq IS NULL OR miosa.stored_response(k) #>> '{operation,id}' <> a.deployment_id || '#' || a.seq
EOS
	0,
	'each key holds the answer of its own operation');
unlike(slurp_file($node->logfile), qr/deadlock detected|PANIC|signal 11/,
	'no deadlock and no crash');

$node->stop;
done_testing();
