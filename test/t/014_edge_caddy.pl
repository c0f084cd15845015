# Caddy as the router, by its admin API: the next request is served by
# the version, what it does not know yet is added, and a table that it has
# lost is noticed and sent again.

use strict;
use warnings FATAL => 'all';

use MiosaCaddy;
use MiosaHttp qw(http poll_until);
use MiosaTest qw(make_edge make_node make_site operate verdict);
use MiosaVisitors qw(start_visitors stop_visitors);
use Test::More;

my @hosts = ('shop.acme.test', 'www.acme.test');
my $blog = 'blog.acme.test';
my $edge = make_edge(router => 'caddy', ttl => 600);
my $node = make_node('caddy');

make_site($node, $edge, [ $hosts[0] ]);
is(visit($hosts[0])->{status}, 404, 'nothing is served at first');
is(routes(), 0, 'Caddy knows no deployment');

# PATCH is answered with 404, then the route is added; later it is changed
operate($node, 'promote', 'ver_1');
is(verdict($node, '180 s'), 'converged', 'a new deployment is delivered');
is_deeply(served(), ['ver_1'], 'the next request is served by it')
  or diag $edge->logs;
is(failures(), '0', 'that it was not there yet is no failure');
operate($node, 'promote', 'ver_2');
is(verdict($node, '180 s'), 'converged', 'another version is delivered');
is_deeply(served(), ['ver_2'], 'the next request is served by it');
is(routes(), 1, 'and the route is changed, not added');

# The main job, ten times; no request after the confirmation sees the old page
my @wrong;

for my $turn (1 .. 10)
{
	my ($what, $version) =
	  $turn % 2 ? ('rollback', 'ver_1') : ('promote', 'ver_2');

	operate($node, $what, $version);
	push @wrong, "$turn: not converged"
	  unless verdict($node, '180 s') eq 'converged';
	push @wrong, "$turn: @{ served() }" unless served()->[0] eq $version;
}
is_deeply(\@wrong, [], 'ten switches, each served by the very next request')
  or diag $edge->logs;

# Caddy tags its answers for the cache in front of it
like($edge->get($hosts[0])->{headers}{xkey} // '', qr/^dep_1$/,
	'pages are tagged with the deployment');
operate($node, 'rollback', 'ver_1');
ok($edge->wait_for_page('/ver_1/', [ $hosts[0] ]),
	'and a rollback is seen through the cache')
  or diag $edge->logs;

# Hosts come and go
$node->safe_psql('postgres', "SELECT miosa_put_domain('$hosts[1]', 'dep_1')");
ok( poll_until(sub { served($hosts[1])->[0] eq 'ver_1' }, 180),
	'a host that is added is served');
$node->safe_psql('postgres', "SELECT miosa_remove_domain('$hosts[1]')");
ok(poll_until(sub { visit($hosts[1])->{status} == 404 }, 180),
	'a host that is removed is not');
is_deeply(served(), ['ver_1'], 'the other one still is');

# A deployment that serves nothing any more
$node->safe_psql(
	'postgres', qq{
	SELECT miosa_put_deployment('dep_2', 'ten_1', 'blog');
	SELECT miosa_put_domain('$blog', 'dep_2');
	SELECT miosa_put_version('dep_2', 'ver_3', 1);
	SELECT miosa_promote('dep_2', 'ver_3')});
ok(poll_until(sub { served($blog)->[0] eq 'ver_3' }, 180),
	'a second deployment is served');
$node->safe_psql('postgres',
	"UPDATE miosa.deployments SET active_version_id = NULL WHERE id = 'dep_2'");
ok(poll_until(sub { visit($blog)->{status} == 404 }, 180),
	'one that is unpublished is not')
  or diag $edge->logs;
$node->safe_psql('postgres', "SELECT miosa_promote('dep_2', 'ver_3')");
ok(poll_until(sub { served($blog)->[0] eq 'ver_3' }, 180), 'until it is again');

# A host that moves to another deployment, and back: nobody finds nothing
my $pages = PostgreSQL::Test::Utils::tempdir() . '/pages';
my %pages;
my $visitors = start_visitors(
	sub {
		my $answer = visit($blog);

		$pages{ $answer->{headers}{'x-version'} // $answer->{status} || 'reset' }++;
	},
	sub { PostgreSQL::Test::Utils::append_to_file($pages, join ' ', map { "$_=$pages{$_}" } sort keys %pages) });
for my $turn (1 .. 6)
{
	my $owner = $turn % 2 ? 'dep_1' : 'dep_2';
	my $version = $turn % 2 ? 'ver_1' : 'ver_3';

	$node->safe_psql('postgres', "SELECT miosa_move_host('$blog', '$owner')");
	ok(poll_until(sub { served($blog)->[0] eq $version }, 180), "the host moves to $owner");
}
stop_visitors($visitors);
like(PostgreSQL::Test::Utils::slurp_file($pages), qr/^(?:reset=\d+ )?ver_1=\d+ ver_3=\d+$/, 'and every visitor has got a page of one of them')
  or diag $edge->logs;

# An operator's reload: the table is lost, nobody says so, no change follows
ok(marked(), 'Caddy holds the marker');
$edge->reload('router-1');
ok( poll_until(
		sub {
			PostgreSQL::Test::Utils::slurp_file($node->logfile) =~
			  /endpoint "router-1" lost its routing table/;
		},
		180),
	'the table is lost on a reload');
ok( poll_until(
		sub { served()->[0] eq 'ver_1' && served($blog)->[0] eq 'ver_3' }, 180),
	'the lost table is noticed and sent again')
  or diag $edge->logs;
is(routes(), 2, 'every deployment once');
is(verdict($node, '180 s'), 'converged', 'converged then');

# The same when a change comes before anybody has looked
ok(poll_until(\&marked, 180), 'Caddy holds the marker again');
$edge->reload('router-1');
operate($node, 'promote', 'ver_2');
ok( poll_until(
		sub { served()->[0] eq 'ver_2' && served($blog)->[0] eq 'ver_3' }, 180),
	'a change right after a reload does not hide that the rest was lost')
  or diag $edge->logs;

# A Caddy that dies: the rollback commits all the same
$edge->kill9('router-1');
operate($node, 'rollback', 'ver_1');
is(verdict($node, '500 ms'), 'waiting_edges', 'a dead Caddy is waited for');
$edge->start('router-1');
is(verdict($node, '180 s'), 'converged', 'converged when it is back');
ok(poll_until(sub { served()->[0] eq 'ver_1' && served($blog)->[0] eq 'ver_3' }, 180), 'with its whole table')
  or diag $edge->logs;

# Many at once: each is added once, though every one of them reloads Caddy
$node->safe_psql(
	'postgres', q{
	SELECT miosa_put_deployment('many_' || i, 'ten_1', 'many-' || i),
		miosa_put_domain('many-' || i || '.acme.test', 'many_' || i),
		miosa_put_version('many_' || i, 'ver_1', 1),
		miosa_promote('many_' || i, 'ver_1')
	FROM generate_series(1, 40) i});
ok( poll_until(
		sub { !grep { served("many-$_.acme.test")->[0] ne 'ver_1' } 1 .. 40 },
		180),
	'forty deployments at once are served')
  or diag $edge->logs;
is(routes(), 42, 'each has one route');
is(failures(), '0', 'and there was no failure');

# A deployment that is removed
$node->safe_psql('postgres', "SELECT miosa_unpublish('many_1')");
ok(poll_until(sub { visit('many-1.acme.test')->{status} == 404 }, 180), 'a deployment that is unpublished is not served');
$node->safe_psql('postgres', "SELECT miosa_remove_deployment('many_1')");
is(verdict($node, '180 s'), 'converged', 'and can be removed');
is_deeply([ visit('many-1.acme.test')->{status}, served('many-2.acme.test')->[0] ], [ 404, 'ver_1' ], 'the others still are');

# What a visitor gets from Caddy itself. A change of its configuration opens
# its port anew, and a connection that waits at the old one is reset; browsers
# try again then, and so do we.
sub visit
{
	my ($host) = @_;
	my $answer;

	for (1 .. 3)
	{
		$answer = http(port => $edge->{port}{'router-1'}, host => $host);
		last if $answer->{status};
		note "no answer: $answer->{error}";
	}
	return $answer;
}

# The version that serves a host, alone in a list.
sub served
{
	my ($host) = @_;

	return [ visit($host // $hosts[0])->{headers}{'x-version'} // 'none' ];
}

sub routes
{
	return scalar @{ MiosaCaddy::object($edge, 'router-1', 'miosa/routes') };
}

# Does Caddy hold a number that it did not start with?
sub marked
{
	return MiosaCaddy::object($edge, 'router-1', 'miosa_epoch/epoch') > 0;
}

sub failures
{
	return $node->safe_psql('postgres',
		'SELECT count(*) FROM miosa.delivery_failures');
}

done_testing();
