# Routers that lose their table, die and come back: noticed, named, sent
# everything again.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaTest qw(make_edge make_node make_site operate verdict);
use Test::More;

my @hosts = ('shop.acme.test', 'www.acme.test');
my $edge = make_edge(routers => 2);
my $node = make_node('routers');

make_site($node, $edge, \@hosts);
operate($node, 'promote', 'ver_1');
operate($node, 'promote', 'ver_2');
ok($edge->wait_for_page('/ver_2/', \@hosts), 'version 2 is served')
  or diag $edge->logs;
is(verdict($node, '180 s'), 'converged', 'converged')
  or diag progress();

# A reload empties the table; the dispatcher gets no sign of it, no rollback follows
$edge->reload('router-1');
ok( poll_until(
		sub {
			PostgreSQL::Test::Utils::slurp_file($node->logfile) =~
			  /endpoint "router-1" lost its routing table/;
		},
		180),
	'the table is lost on a reload');
ok( poll_until(sub { knows('router-1', 'ver_2') }, 180),
	'the lost table is noticed and filled again')
  or diag $edge->logs;

# A router that is dead: the rollback commits all the same
$edge->kill9('router-2');
operate($node, 'rollback', 'ver_1');
pass('a dead router does not hold up a rollback');
ok($edge->wait_for_page('/ver_1/', \@hosts),
	'visitors see it through the other router');
is(verdict($node, '1 s'), 'waiting_edges', 'it is not called converged');
like(progress(), qr/router-2/, 'the dead router is named');

# Back with an empty table
$edge->start('router-2');
is(verdict($node, '180 s'), 'converged', 'converged when it is back')
  or diag progress();
ok(knows('router-2', 'ver_1'), 'with its whole table')
  or diag $edge->logs;

# A loss that a change follows at once, before anybody has looked: what the
# change does not touch has to come back as well
$node->safe_psql(
	'postgres', q{
	SELECT miosa_put_deployment('dep_2', 'ten_1', 'blog');
	SELECT miosa_put_domain('blog.acme.test', 'dep_2');
	SELECT miosa_put_version('dep_2', 'ver_1', 1);
	SELECT miosa_promote('dep_2', 'ver_1')});
ok( poll_until(
		sub {
			$edge->route('router-1', 'GET', 'blog.acme.test')->{body} eq
			  'dep_2/ver_1';
		},
		180),
	'another deployment has its route');
$edge->reload('router-1');
operate($node, 'promote', 'ver_2');
ok(poll_until(sub { knows('router-1', 'ver_2') }, 180),
	'a change right after a reload is delivered');
ok( poll_until(
		sub {
			$edge->route('router-1', 'GET', 'blog.acme.test')->{body} eq
			  'dep_2/ver_1';
		},
		180),
	'and does not hide that the rest was lost')
  or diag progress(), $edge->logs;

# Routers that refuse what they receive keep serving the old version; the
# cache, purged after a short wait, fetches it from them again. When they take
# the route at last, the cache has to be purged once more.
is(verdict($node, '180 s'), 'converged', 'converged before the secret changes')
  or diag progress();
$node->safe_psql('postgres', "UPDATE miosa.secrets SET value = 'outdated'");
operate($node, 'rollback', 'ver_1');
is(verdict($node, '3 s'), 'waiting_edges', 'routers refuse the secret');
$edge->send_to_cache('PURGE', $_, '/') for @hosts;
like($edge->get($_)->{body}, qr{/ver_2/}, "$_: the old page is in the cache")
  for @hosts;
$node->safe_psql('postgres',
	"UPDATE miosa.secrets SET value = '$edge->{secret}'");
ok($edge->wait_for_page('/ver_1/', \@hosts, step => 0.05),
	'routers are late, and the cache forgets once more')
  or diag progress(), $edge->logs;
is(verdict($node, '180 s'), 'converged', 'converged with the right secret')
  or diag progress();

# The server itself is stopped between commit and delivery, or just after
operate($node, 'promote', 'ver_3');
$node->stop('immediate');
$edge->reload('router-1');
$node->start;
ok(poll_until(sub { knows('router-1', 'ver_3') && knows('router-2', 'ver_3') },
		180),
	'what was committed before a crash is delivered after it')
  or diag progress(), $edge->logs;

sub knows
{
	my ($router, $version) = @_;

	return !grep {
		$edge->route($router, 'GET', $_)->{body} ne "dep_1/$version"
	} @hosts;
}

sub progress
{
	return $node->safe_psql('postgres', "SELECT miosa_convergence('dep_1')");
}

done_testing();
