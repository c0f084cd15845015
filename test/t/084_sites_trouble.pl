# What goes wrong with sites: what is done in the wrong order or forgotten, clocks
# an hour apart, slots, names, versions, and a primary site that was restored. The
# doctor has a line for each, with the command that mends it.

use strict;
use warnings FATAL => 'all';

use MiosaClock;
use MiosaHttp qw(poll_until);
use MiosaPostgres;
use MiosaSink;
use MiosaSites;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $clock = MiosaClock->new($dir) or plan skip_all => 'no C compiler';
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $url = $sink->url;
my $sites = MiosaSites->new('home');

$clock->set(3600);
my $eu = $sites->add_replica('eu', preload => $clock->library, settings => "miosa_rollback.stage_wait = 60s\n");

sub sql { return $sites->sql(@_) }
sub eu_sql { return $sites->sql_at('eu', @_) }

sub converges
{
	my ($name, @deployments) = @_;

	is(sql("SELECT miosa_wait_converged('$_', '180 s')"), 'converged', "$name: $_ converges") for @deployments;
	return;
}

# The doctor comes to say something about sites.
sub doctor_says
{
	my ($site, $pattern, $name) = @_;

	poll_until(sub { $sites->doctor($site) =~ $pattern }, 180, 0.1);
	return like($sites->doctor($site), $pattern, $name);
}

# What edges were sent since the sink was cleared: "METHOD name name ...".
sub sent
{
	my ($pattern) = @_;

	return join ' ', map { $_->{path} =~ m{([^/]+)$} } $sink->requests($pattern);
}

sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment(d, 'ten_1', slug => d) FROM unnest('{d1,d2,d3}'::text[]) d;
	SELECT miosa_put_version(d, 'v' || n, n), miosa_promote(d, 'v' || n) FROM unnest('{d1,d2,d3}'::text[]) d, generate_series(1, 2) n;
	SELECT miosa_put_domain(h, 'd1') FROM unnest('{www.test,a.test,b.test}'::text[]) h});
eu_sql(qq{
	INSERT INTO miosa.adapters (name, per, request, remove) VALUES ('hosts', 'host',
		'{"method": "PUT", "path": "/{host}/{deployment_id}/{version_id}", "headers": {"x-epoch": "{epoch}"}}', '{"method": "DELETE", "path": "/{host}/gone", "headers": {"x-epoch": "{epoch}"}}');
	INSERT INTO miosa.adapters (name, request) VALUES ('by-path',
		'{"method": "PUT", "path": "/{deployment_id}", "body": "{\\"hosts\\": {hosts}}"}');
	SELECT miosa_put_endpoint('hosts', 'hosts', '$url/hosts');
	SELECT miosa_put_endpoint('by-path', 'by-path', '$url/by-path')});

#
# The wrong order, the wrong place, twice
#
for my $wrong ([ 'home', 'replica.sql', qr/This site is no replica: ALTER SYSTEM SET miosa_rollback.site_role = 'replica'/ ],
	[ 'eu', 'primary.sql', qr/This site is a replica: run .*replica.sql here/ ])
{
	my ($site, $file, $message) = @$wrong;
	my ($status, $out, $err) = $sites->run_file($site, $file);

	isnt($status, 0, "$file is refused at $site");
	like($err, $message, '... and says why');
}
like($sites->doctor('eu'),
	qr/^fail \| this replica has no subscription to miosa_routes; paused: no routes were copied from a primary site yet.* \| CREATE SUBSCRIPTION miosa_routes CONNECTION '...' PUBLICATION miosa_routes; .*superuser$/,
	'a replica without a subscription');
is(eu_sql('SELECT miosa_resume()'), 'still paused: no routes were copied from a primary site yet', 'is paused, and stays so');
is(scalar($sink->requests), 0, 'its edges were sent nothing');
$sites->subscribe('eu');
doctor_says('eu', qr/^fail \| paused: no routes were copied from a primary site yet.* \| DROP SUBSCRIPTION miosa_routes; SELECT miosa.forget_primary_site\(\); CREATE SUBSCRIPTION/, 'a subscription that was made before the publication');
$sites->publish;
eu_sql('DROP SUBSCRIPTION miosa_routes');
is(eu_sql('SELECT miosa.forget_primary_site()'), '0 deployments forgotten', '... has copied nothing');
$sites->subscribe('eu');
doctor_says('eu', qr{^fail \| there is no publication miosa_site.* \| In psql: \\i contrib/sites/replica.sql}, 'is mended so; then the publication is missing');
for my $twice ([ 'home', 'primary.sql', 'miosa_routes' ], [ 'eu', 'replica.sql', 'miosa_site' ], [ 'eu', 'replica.sql', 'miosa_site' ])
{
	my ($site, $file, $publication) = @$twice;

	is(($sites->run_file($site, $file))[0], 0, "$file may be run again");
}
doctor_says('eu', qr/^warn \| the primary site does not subscribe to miosa_site, .* \| There: CREATE SUBSCRIPTION miosa_site_eu CONNECTION/, 'the other direction is missing');
$sites->listen_to('eu');
is(wait_sql($sites->node('home'), 'SELECT count(*) FROM miosa.replica_sites', 1), 1, 'the primary site knows the replica');
doctor_says('home', qr/^ok \| the primary site of 1 replica with edges/, 'all is well at the primary site');
doctor_says('eu', qr/^ok \| a replica of "home"/, 'and at the replica');
is(sql("SELECT seen FROM miosa_doctor() WHERE item = 'replication'"), 'no standby', 'a subscriber is not taken for a standby');

#
# Clocks an hour apart, in either direction
#
for my $ahead (3600, -3600)
{
	$clock->set($ahead);
	is(sql("SELECT miosa_promote('d1', 'v1') IS NOT NULL, miosa_promote('d2', 'v1') IS NOT NULL"), 't|t', "a clock $ahead s ahead");
	converges("$ahead s", 'd1', 'd2');
	is(sql('SELECT silent FROM miosa.replica_sites'), 'f', '... the site is not silent');
	is(sql("SELECT heard_at BETWEEN clock_timestamp() - interval '30 min' AND clock_timestamp() FROM miosa.replica_sites"), 't', '... it has received just now what was written, by the clock of the primary site');
	is(eu_sql("SELECT created_at BETWEEN clock_timestamp() - interval '30 min' AND clock_timestamp() FROM miosa.route_log ORDER BY epoch DESC LIMIT 1"),
		't', '... its log has the time of its own clock, by which it is trimmed');
	is(eu_sql("SELECT count(*) FROM miosa_doctor() WHERE item IN ('outbox', 'dispatcher', 'sites') AND status = 'ok'"), 3, '... and its doctor is content');
	sql("SELECT miosa_rollback('d1', 'v2'), miosa_rollback('d2', 'v2')");
	converges('back', 'd1', 'd2');
}
$clock->set(3600);

#
# A host that moves: the edges of a replica are sent who has it now first, and the
# other one when that was accepted
#
sub is_handed_over
{
	my ($name, $to, $from, $move) = @_;

	$sink->clear;
	$sink->answer("^/by-path/$to", status => 503);
	$move->();
	ok($sink->wait_for(2, "^/by-path/$to"), "$name: $to is refused, and tried again");
	is(sent("^/by-path/$from"), '', '... the other one is not sent');
	$sink->plain;
	return;
}

is_handed_over('moved', 'd2', 'd1', sub { sql("SELECT miosa_move_host('www.test', 'd2', 'd1')") });
converges('moved', qw(d1 d2));
like(sent('^/by-path/d[12]'), qr/^(d2 )+d1( d[12])*$/, 'moved: before the new one has accepted');

# Two hosts of one deployment, in one transaction, to two others
$sink->clear;
$sink->answer('^/by-path/d2', status => 503);
sql("BEGIN; SELECT miosa_move_host('a.test', 'd3', 'd1'), miosa_move_host('b.test', 'd2', 'd1'); COMMIT");
ok($sink->wait_for(1, '^/by-path/d3'), 'one of two has accepted');
ok($sink->wait_for(2, '^/by-path/d2'), 'and one has not');
is(sent('^/by-path/d1'), '', 'so the one that had both is not sent');
$sink->plain;
converges('two hosts', qw(d1 d2 d3));
ok($sink->wait_for(1, '^/by-path/d1'), 'but then');

# The log of the primary site comes later than the domain
my $lock = $sites->node('home')->background_psql('postgres');
$lock->query_safe('BEGIN');
$lock->query_safe('SELECT FROM miosa.dispatcher_state FOR UPDATE');
is_handed_over('no log yet', 'd1', 'd2', sub { sql("SELECT miosa_move_host('www.test', 'd1', 'd2')") });
ok($sink->wait_for(1, '^/by-path/d2'), 'no log yet: then the other one is sent');
like(sent('^/by-path/d[12]'), qr/^(d1 )+d2( d[12])*$/, '... in this order');
$lock->query_safe('COMMIT');
$lock->quit;
converges('with the log', qw(d1 d2));
is(sent('^/hosts/www.test/gone'), '', 'no host was removed');

#
# What is disabled or dropped
#
eu_sql('ALTER SUBSCRIPTION miosa_routes DISABLE');
doctor_says('eu', qr/^fail \| subscription miosa_routes is disabled.* \| ALTER SUBSCRIPTION miosa_routes ENABLE; \| superuser$/, 'a subscription that is disabled');
sql('ALTER SYSTEM SET max_wal_size = \'32MB\'');
sql('SELECT pg_reload_conf()');
for (1 .. 8)
{
	sql("SELECT pg_logical_emit_message(false, 'x', 'x')");
	sql('SELECT pg_switch_wal()');
}
sql('CHECKPOINT');
doctor_says('home', qr/^warn \| slot "miosa_routes_eu", which nobody reads, keeps \d+ \wB of WAL.* \| At its subscriber: .*SELECT pg_drop_replication_slot\('miosa_routes_eu'\); \| superuser$/, 'its slot keeps WAL');
eu_sql('ALTER SUBSCRIPTION miosa_routes ENABLE');
sql('ALTER SUBSCRIPTION miosa_site_eu DISABLE');
doctor_says('home', qr/^fail \| subscription miosa_site_eu is disabled.* \| ALTER SUBSCRIPTION miosa_site_eu ENABLE; \| superuser$/, 'the one of the primary site');
sql('ALTER SUBSCRIPTION miosa_site_eu ENABLE');
sql('ALTER SYSTEM RESET max_wal_size');
sql('SELECT pg_reload_conf()');
doctor_says('home', qr/^ok/, 'mended at the primary site');
doctor_says('eu', qr/^ok/, 'and at the replica');

# Something behind for long, another version
like(sql("BEGIN; UPDATE miosa.sites SET epoch = 1 WHERE role = 'replica'; UPDATE miosa.route_log SET created_at = created_at - interval '1 min';
		SELECT status || ' ' || seen FROM miosa.check_sites(); ROLLBACK"), qr/^warn site "eu" lacks a change for more than 30 s: epochs \d+, edges behind \d of 2/m, 'a site that is behind');
like(eu_sql("BEGIN; UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'miosa_rollback'; SELECT status || ' ' || seen FROM miosa.check_sites(); ROLLBACK"),
	qr/^warn the primary site has version [0-9.]+ of the extension, and this one 0\.9/m, 'another version');
like(sql("BEGIN; UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'miosa_rollback'; SELECT status || ' ' || seen FROM miosa.check_sites(); ROLLBACK"),
	qr/^warn site "eu" has version [0-9.]+ of the extension, and this one 0\.9/m, '... seen from the primary site');

# The replica is renamed, then the primary site
$eu->append_conf('postgresql.conf', "miosa_rollback.site = 'eu2'");
$eu->reload;
is(wait_sql($eu, "SELECT miosa.pause_reason() ~ 'but the dispatcher last ran at \"eu\"'", 't'), 't', 'a replica that is renamed is paused');
like(eu_sql('SELECT miosa_resume()'), qr/^resumed/, 'and resumed');
is(wait_sql($sites->node('home'), "SELECT string_agg(site, ' ') FROM miosa.sites WHERE role = 'replica'", 'eu2'), 'eu2', 'the primary site knows it by its new name alone');
sql("SELECT miosa_rollback('d3', 'v1')");
converges('renamed', 'd3');
$sites->node('home')->append_conf('postgresql.conf', "miosa_rollback.site = 'base'");
$sites->node('home')->reload;
doctor_says('home', qr{^fail \| replicas know this site as "home", but miosa_rollback.site is "base".* \| In psql: \\i contrib/sites/primary.sql}, 'the primary site is renamed');
$sites->publish;
is(wait_sql($sites->node('home'), "SELECT miosa.pause_reason() ~ 'last ran at \"home\"'", 't'), 't', 'its dispatcher is paused');
like(sql('SELECT miosa_resume()'), qr/^resumed/, 'and resumed');
is(wait_sql($eu, "SELECT site FROM miosa.sites WHERE role = 'primary'", 'base'), 'base', 'the replica knows its new name');
sql("SELECT miosa_rollback('d3', 'v2')");
converges('renamed too', 'd3');

#
# Publications that are dropped
#
is(eu_sql('SELECT count(*) FROM miosa.deployments'), 3, 'the replica has three deployments');
sql("UPDATE miosa.sites SET epoch = 1 WHERE role = 'primary'");
doctor_says('eu', qr/^fail \| the primary site has gone back to older epochs: it was restored.* \| DROP SUBSCRIPTION miosa_routes; SELECT miosa.forget_primary_site\(\); CREATE/, 'a primary site that has older epochs');
my ($status, $out, $err) = $eu->psql('postgres', 'SELECT miosa.forget_primary_site()');
like($err, qr/this site is still subscribed to its routes.*HINT:  Type DROP SUBSCRIPTION miosa_routes; /s, 'a replica that is subscribed forgets nothing');
($status, $out, $err) = $sites->node('home')->psql('postgres', 'SELECT miosa.forget_primary_site()');
like($err, qr/this site does not get its routes from another one.*HINT:  Call the function at the replica/s, 'nor does a primary site');
sql('DROP PUBLICATION miosa_routes');
doctor_says('home', qr{^fail \| there is no publication miosa_routes.* \| In psql: \\i contrib/sites/primary.sql; .*after SELECT miosa.forget_primary_site\(\); \|}, 'a publication that was dropped');
$sites->publish;
eu_sql('DROP SUBSCRIPTION miosa_routes');
is(eu_sql('SELECT miosa.forget_primary_site()'), '3 deployments forgotten', 'is mended by a new copy');
$sites->subscribe('eu');
sql("SELECT miosa_rollback('d3', 'v1')");
converges('copied anew', 'd3');

# A server that cannot publish, and an extension that is dropped
my $low = make_node('low', "miosa_rollback.site = 'low'\nwal_level = replica\n");
$sites->{node}{low} = $low;
is(($sites->run_file('low', 'primary.sql'))[0], 0, 'a publication where WAL is not logical');
like($sites->doctor('low'), qr/^fail \| wal_level is replica: nothing can be subscribed to.* \| ALTER SYSTEM SET wal_level = 'logical'; then restart the server/, 'the doctor says so');
$low->safe_psql('postgres', 'DROP EXTENSION miosa_rollback');
$low->safe_psql('postgres', 'CREATE EXTENSION miosa_rollback');
like($sites->doctor('low'), qr{^fail \| this site says nothing to replicas: it has no row in miosa.sites.* \| In psql: \\i contrib/sites/primary.sql}, 'after a restore from a dump, or a new extension, the site has no row');
$sites->run_file('low', 'primary.sql');
like($sites->doctor('low'), qr{^fail \| publication miosa_routes lacks tables: tenants, .* \| DROP PUBLICATION miosa_routes; In psql: \\i contrib/sites/primary.sql; }, 'a publication without tables is left of one that was dropped');
$low->stop;

#
# The primary site is restored from a backup, and the replica copied anew as the
# documentation says
#
sql("SELECT miosa_promote('d1', 'v1')");
converges('in the backup', 'd1');
$sites->node('home')->backup('old');
sql(q{
	SELECT miosa_promote('d1', 'v2');
	SELECT miosa_put_deployment('d4', 'ten_1', slug => 'd4'), miosa_put_version('d4', 'v1', 1);
	SELECT miosa_promote('d4', 'v1');
	SELECT miosa_put_domain('new.test', 'd2'), miosa_remove_domain('a.test')});
converges('after the backup', 'd1', 'd2', 'd3', 'd4');
my ($highest) = sort { $b <=> $a } map { $_->{headers}{'x-epoch'} } $sink->requests('^/hosts/');
$sites->node('home')->stop('immediate');
my $home = MiosaPostgres->new('home2');
$home->init_from_backup($sites->node('home'), 'old');
$home->start;
$sites->{node}{home} = $home;
$eu->safe_psql('postgres', $_)
  for 'ALTER SUBSCRIPTION miosa_routes DISABLE', 'ALTER SUBSCRIPTION miosa_routes SET (slot_name = NONE)', 'DROP SUBSCRIPTION miosa_routes';
$sink->clear;
is(eu_sql('SELECT miosa.forget_primary_site()'), '4 deployments forgotten', 'the replica forgets');
is(wait_sql($eu, 'SELECT state FROM miosa.dispatcher()', 'paused'), 'paused', 'and is paused');
is(scalar($sink->requests), 0, 'its edges keep what they have');
is(wait_sql($home, "SELECT epoch FROM miosa.sites WHERE role = 'replica'", 0), 0, 'the primary site that was restored knows that nothing is sure there');
$sites->subscribe('eu');
converges('restored', qw(d1 d2 d3));
my @sent = $sink->requests('^/hosts/');
my %route = map { $_->{path} =~ m{^/hosts/([^/]+)/(\w+)(?:/(\w+))?$} ? ($1 => $2 . ($3 ? " $3" : '')) : () } @sent;
is_deeply(\%route, {
		'www.test' => 'd1 v1', 'a.test' => 'd3 v1', 'b.test' => 'd2 v2', 'new.test' => 'gone',
		'd1.acme.miosa.app' => 'd1 v1', 'd2.acme.miosa.app' => 'd2 v2', 'd3.acme.miosa.app' => 'd3 v1', 'd4.acme.miosa.app' => 'gone' },
	'edges have the routes of the backup, and those of nothing else') or diag explain \%route;
is((grep { $_->{headers}{'x-epoch'} <= $highest } @sent) + 0, 0, 'with epochs that are higher than all before');
is(sql("SELECT r.epoch <= p.epoch FROM miosa.sites r, miosa.sites p WHERE r.role = 'replica' AND p.role = 'primary'"), 't', 'what the replica confirms is of the new order');
doctor_says('eu', qr/^ok/, 'the doctor is content');
sql("SELECT miosa_rollback('d1', 'v2')");
converges('later', 'd1');

done_testing();
