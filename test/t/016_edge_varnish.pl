# Varnish is purged in each of the three ways: what is forgotten, what
# is not, and that a rollback is seen at once.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaTest qw(make_edge make_node make_site operate switch_seconds
  verdict);
use Test::More;

my @hosts = ('shop.acme.test', 'www.acme.test');
my $other = 'blog.acme.test';
my $edge = make_edge(ttl => 600);
my $node = make_node('varnish');

make_site($node, $edge, \@hosts);
$edge->publish("ver_$_", 'about.html' => "<p>/ver_$_/</p>\n") for 1 .. 3;

# Another deployment, whose pages are nobody else's business
$node->safe_psql(
	'postgres', qq{
	SELECT miosa_put_deployment('dep_2', 'ten_1', 'blog');
	SELECT miosa_put_domain('$other', 'dep_2');
	SELECT miosa_put_version('dep_2', 'ver_1', 1);
	SELECT miosa_promote('dep_2', 'ver_1')});

# Which pages each way clears; a ban and a tag clear all of a site
my %clears = (
	'varnish-xkey' => 'all',
	'varnish-ban' => 'all',
	'varnish-purge' => 'home pages');

for my $adapter (sort keys %clears)
{
	$node->safe_psql(
		'postgres',
		"SELECT miosa_remove_endpoint('cache');
		SELECT miosa_put_endpoint('cache', '$adapter', '"
		  . $edge->url . "');
		SELECT miosa_resend('dep_2')");
	operate($node, 'promote', 'ver_3');
	is(verdict($node, '180 s'), 'converged', "$adapter: converged");
	settle();
	$edge->send_to_cache('BAN', '', '/', 'x-ban-host' => $_) for @hosts;
	cached($_, '/', 'ver_3') for @hosts;
	cached($_, '/about.html', 'ver_3') for @hosts;
	cached($other, '/', 'ver_1');

	my $seconds =
	  switch_seconds($node, $edge, 'rollback', 'ver_2', \@hosts);

	# Long before pages would expire
	ok(defined $seconds, "$adapter: both hosts show version 2")
	  or diag $edge->logs;
	note sprintf('%s: %.1f ms', $adapter, 1000 * ($seconds // 0));
	is(verdict($node, '180 s'), 'converged', "$adapter: and it is said so");

	my $expected = $clears{$adapter} eq 'all' ? 'ver_2' : 'ver_3';

	like($edge->get($_, '/about.html')->{body},
		qr{/$expected/}, "$adapter: $clears{$adapter} of $_ forgotten")
	  for @hosts;
	is($edge->get($other)->{headers}{'x-cache'},
		'hit', "$adapter: the pages of another deployment stay");

	# A host that is gone
	$node->safe_psql('postgres', "SELECT miosa_remove_domain('$hosts[1]')");
	ok($edge->wait_for_page('no route', [ $hosts[1] ]),
		"$adapter: a removed host is no longer served")
	  or diag $edge->logs;
	$node->safe_psql('postgres', "SELECT miosa_put_domain('$hosts[1]', 'dep_1')");
	ok($edge->wait_for_page('/ver_2/', [ $hosts[1] ]),
		"$adapter: and served again when it is back");
}

# What a value could make of a ban's expression, Varnish and we refuse alike:
# it accepts such a thing where the configuration does not look
my $poison = 'shop.acme.test && obj.status == 200';

is($edge->send_to_cache('BAN', '', '/', 'x-ban-host' => $poison)->{status},
	400, 'an expression is no host to Varnish');
isnt($node->psql('postgres', "SELECT miosa_put_domain('$poison', 'dep_1')"),
	0, 'nor to us');

# Wait until what is repeated after the settle time has been.
sub settle
{
	$node->poll_query_until(
		'postgres', q{
		SELECT settled_epoch >= (SELECT max(epoch) FROM miosa.route_log)
		FROM miosa.endpoint_state WHERE endpoint = 'cache'})
	  or die 'does not settle';
	return;
}

# Have the cache hold a page.
sub cached
{
	my ($host, $path, $version) = @_;
	my $page;

	poll_until(
		sub {
			$page = $edge->get($host, $path);
			return $page->{headers}{'x-cache'} eq 'hit';
		},
		180) or die "$host$path does not get into the cache\n";
	die "$host$path is not of $version\n" if $page->{body} !~ m{/$version/};
	return;
}

done_testing();
