# Many clients at once on dynamic deployments: reports, polls, drains and
# operations of all kinds. Whatever is mixed, routes switch only to a version
# that has enough healthy instances at that moment, and nothing is drained that
# serves or that a rollback would go to.

use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_may_be_refused make_node);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# No deadline, so that only the counts decide; everything idle is drained in
# the next pass.
my $node = make_node('crowd', <<'EOC');
max_connections = 50
miosa_rollback.cutover_deadline = '1d'
miosa_rollback.drain_delay = 0
miosa_rollback.heartbeat_timeout = 0
miosa_rollback.capacity_interval = '1h'
EOC

make_may_be_refused($node);
$node->safe_psql('postgres', <<'EOS');
INSERT INTO miosa.tenants (id, slug) VALUES ('ten_1', 'acme');
INSERT INTO miosa.deployments (id, tenant_id, name, slug, kind, desired_replicas)
	SELECT 'dep_' || i, 'ten_1', 'App', 'app-' || i, 'dynamic', 2 FROM generate_series(1, 3) i;
INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number, kind, state)
	SELECT 'dep_' || d, 'ver_' || i, 'ten_1', i, 'dynamic', 'ready' FROM generate_series(1, 3) d, generate_series(1, 6) i;
DO 'BEGIN PERFORM miosa_promote(''dep_'' || d, ''ver_'' || i, cutover => ''immediate'') FROM generate_series(1, 3) d, generate_series(1, 3) i; END';

-- What must not be: counted where it happens, under the deployment's lock.
CREATE TABLE switched (deployment text, was text, now text, before bigint, after bigint);
CREATE TABLE drained (deployment text, version text, kept text[]);
GRANT ALL ON switched, drained TO miosa_owner;
CREATE FUNCTION note_switch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.switched SELECT NEW.id, coalesce(OLD.serving_version_id, OLD.active_version_id),
		coalesce(NEW.serving_version_id, NEW.active_version_id),
		(SELECT count(*) FROM miosa.live_instances i WHERE i.deployment_id = NEW.id
			AND i.version_id = coalesce(OLD.serving_version_id, OLD.active_version_id)),
		(SELECT count(*) FROM miosa.live_instances i WHERE i.deployment_id = NEW.id
			AND i.version_id = coalesce(NEW.serving_version_id, NEW.active_version_id));
	RETURN NULL;
END $$;
CREATE TRIGGER note_switch AFTER UPDATE ON miosa.deployments FOR EACH ROW
	WHEN (coalesce(OLD.serving_version_id, OLD.active_version_id) IS DISTINCT FROM coalesce(NEW.serving_version_id, NEW.active_version_id))
	EXECUTE FUNCTION note_switch();
CREATE FUNCTION note_drain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.drained SELECT NEW.deployment_id, NEW.version_id,
		ARRAY[p.active_version_id, p.serving_version_id, v.promoted_over] || p.recent_served[1:2]
		FROM miosa.deployments p LEFT JOIN miosa.versions v ON v.deployment_id = p.id AND v.id = p.active_version_id
		WHERE p.id = NEW.deployment_id;
	RETURN NULL;
END $$;
CREATE TRIGGER note_drain AFTER UPDATE ON miosa.capacity FOR EACH ROW
	WHEN (OLD.state = 'idle' AND NEW.state = 'draining') EXECUTE FUNCTION note_drain();
EOS

$node->pgbench(
	'-n -c 12 -j 2 -t 400',
	0,
	[qr{actually processed: 4800/4800\b}],
	[qr{^$}],
	'12 clients with everything',
	{
		'171_operate@3' => q{
\set d random(1, 3)
\set v random(1, 6)
\set w random(1, 5)
SET client_min_messages = error;
SELECT may_be_refused(CASE :w
	WHEN 1 THEN format('SELECT miosa_rollback(''dep_%s'', NULL, ''key-%s'')', :d, random())
	WHEN 2 THEN format('SELECT miosa_rollback(''dep_%s'', ''ver_%s'')', :d, :v)
	ELSE format('SELECT miosa_promote(''dep_%s'', ''ver_%s'')', :d, :v) END);
},
		'171_owner@1' => q{
\set d random(1, 3)
\set v random(1, 6)
SET client_min_messages = error;
UPDATE miosa.deployments SET active_version_id = 'ver_' || :v WHERE id = 'dep_' || :d;
},
		'171_agent@8' => q{
\set d random(1, 3)
\set v random(1, 6)
\set i random(1, 4)
\set s random(1, 8)
SET client_min_messages = error;
SELECT miosa_report_instance('dep_' || :d, format('ver_%s-%s', :v, :i), 'ver_' || :v,
	('{starting,unhealthy,stopped,healthy,healthy,healthy,healthy,healthy}'::text[])[:s]);
},
		'171_many@1' => q{
\set d random(1, 3)
\set v random(1, 6)
\set s random(1, 4)
SET client_min_messages = error;
BEGIN;
SELECT miosa_report_instance('dep_' || :d, format('ver_%s-host-%s', :v, i), 'ver_' || :v, CASE :s WHEN i THEN 'failed' ELSE 'healthy' END)
	FROM generate_series(1, 3) i;
COMMIT;
},
		'171_poll@4' => q{
\set d random(1, 3)
\set v random(1, 6)
\set n random(0, 3)
SET client_min_messages = error;
SELECT miosa.take_poll('dep_' || :d, 'ver_' || :v, 'k8s', :n);
},
		'171_pass@3' => q{
SET client_min_messages = error;
SELECT changed FROM miosa.capacity_pass('', 100);
}
	});

sub value
{
	return $node->safe_psql('postgres', shift);
}

cmp_ok(value('SELECT count(*) FROM switched'), '>', 50, 'routes have switched often');
cmp_ok(value('SELECT count(*) FROM drained'), '>', 5, 'and versions were drained');
is( value('SELECT count(*) FROM switched s WHERE s.was IS NOT NULL AND s.after < least(2, s.before)'),
	0,
	'never to a version that has fewer instances than are needed');
is( value('SELECT count(*) FROM drained d WHERE d.version = ANY (d.kept)'),
	0, 'and never one that is kept');

# When nobody moves any more, two passes find all that there is to do
value("SELECT changed FROM miosa.capacity_pass('', 100)") for 1 .. 3;
is(value("SELECT changed FROM miosa.capacity_pass('', 100)"),
	0, 'in the end there is nothing more to do');
is( value('SELECT count(*) FROM miosa.deployments p WHERE (p.serving_version_id IS NULL) <> (p.waiting_since IS NULL)'),
	0,
	'who waits knows since when');
is( value(<<'EOS'), 0, 'and none waits that has enough');
SELECT count(*) FROM miosa.deployments p
WHERE p.serving_version_id IS NOT NULL AND miosa.complete_capacity(p.id)
EOS
is( value(<<'EOS'), 0, 'nor is anything asked for that is there');
SELECT count(*) FROM miosa.capacity c JOIN miosa.deployments p ON p.id = c.deployment_id
WHERE c.state = 'wanted' AND p.desired_replicas <=
	(SELECT count(*) FROM miosa.live_instances i WHERE i.deployment_id = c.deployment_id AND i.version_id = c.version_id)
EOS
unlike(slurp_file($node->logfile), qr/PANIC|signal 11/, 'no crash');

$node->stop;
done_testing();
