#
# The main job of the demo: a site of two hosts behind two routers and a cache. A
# bad version 3 is rolled back by one call, and the world sees version 2 again.
# The database is one server, or a router with shards.
#
package MiosaShop;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use MiosaDemo qw(check fact figure prompt refused show since start_visitors step);
use MiosaHttp qw(poll_until);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(put_shop put_version shop_acts shop_hosts shop_visitors
  release_dispatcher);

# The managed host of deployment "shop" of tenant "acme", and a custom domain.
my @hosts = ('shop.acme.miosa.app', 'www.acme.test');
my ($db, $edge, $folder, $lifetime, $visitors, $paused, $with_push, $first_answer);

sub shop_hosts { return @hosts; }

# The visitors that the first version has had started.
sub shop_visitors { return $visitors; }

# Endpoints of the edge, which have a secret already, and the deployments.
# lifetime: of a page in the cache, in seconds.
sub put_shop
{
	my (%arg) = @_;

	($db, $edge, $folder, $lifetime) = @arg{qw(db edge folder lifetime)};
	$db->psql("SELECT miosa_put_endpoint('$_', 'haproxy-map', '"
		  . $edge->router_url($_)
		  . "', secret => 'edge')")
	  for $edge->router_names;
	$db->psql("SELECT miosa_put_endpoint('cache', 'varnish-xkey', '"
		  . $edge->url . "')");
	$db->psql("SELECT miosa_put_tenant('ten_acme', 'acme')");
	$db->psql("SELECT miosa_put_deployment('dep_shop', 'ten_acme', 'shop')");
	$db->psql("SELECT miosa_put_deployment('dep_blog', 'ten_acme', 'blog')");
	$db->psql("SELECT miosa_put_domain('$hosts[1]', 'dep_shop')");
	return;
}

sub shop_acts
{
	publish();
	roll_back();
	without_push();
	same_key_again();
	refusals();
	history();
	lost_router();
	return;
}

# A dispatcher that is stopped would not let its server stop.
sub release_dispatcher
{
	kill 'CONT', $paused if $paused;
	return;
}

# Write the files of a version and register it in the database.
sub put_version
{
	my ($deployment, $number, $text, $state) = @_;
	my $id = "ver_${deployment}$number";

	$edge->publish($id, 'index.html' => "<h1>$text</h1>\n");
	$db->psql("SELECT miosa_put_version('dep_$deployment', '$id', $number,
		state => '" . ($state // 'ready') . "',
		storage_uri => '" . $edge->origin_url . "/releases/$id/index.html')");
	return $id;
}

# Three versions, promoted one after the other; the last one is bad.
sub publish
{
	my @text = (
		'Shop, version 1',
		'Shop, version 2',
		'Shop, version 3: your basket is lost');

	for my $number (1 .. 3)
	{
		my $start = time();
		my $id = put_version('shop', $number, $text[ $number - 1 ]);

		$db->psql("SELECT miosa_promote('dep_shop', '$id')");
		$edge->wait_for_page("version $number", \@hosts)
		  or die "version $number is not seen\n";
		if (!$visitors)
		{
			$visitors = "$folder/visitors-shop";
			start_visitors($edge, $visitors, @hosts);
		}
		fact("version $number published and promoted, both hosts show it",
			since($start));
	}
	curl($_, 'version 3') for @hosts;
	return;
}

# The main job.
sub roll_back
{
	step('Version 3 is bad: one call in psql');
	$with_push = timed_call(
		"SELECT * FROM miosa.rollback('shop', reason => 'basket is lost')",
		'version 2');
	curl($_, 'version 2') for @hosts;
	fact('commit to both hosts showing version 2', figure($with_push));
	return;
}

# The same with the dispatcher stopped. The routers are changed at once, as
# the script of a platform would do it; the cache gets no purge.
sub without_push
{
	my $start;

	step('The same without push: the cache is waited out');
	$db->psql("SELECT miosa_promote('dep_shop', 'ver_shop3')");
	$edge->wait_for_page('version 3', \@hosts)
	  or die "version 3 is not seen again\n";
	dispatcher('STOP');
	# What is in the cache shall be as fresh as can be
	$edge->send_to_cache('PURGE', $_, '/') for @hosts;
	$edge->wait_for_page('version 3', \@hosts);
	$start = time();
	$first_answer = $db->psql(
		"SELECT miosa_rollback('dep_shop', 'ver_shop2', 'incident-7')");
	for my $router ($edge->router_names)
	{
		$edge->route(
			$router, 'PUT', $_,
			'x-deployment' => 'dep_shop',
			'x-version' => 'ver_shop2') for @hosts;
	}
	$edge->wait_for_page('version 2', \@hosts, step => 0.02)
	  or die "version 2 is not seen when the cache is waited out\n";
	my $without_push = since($start, 1);

	dispatcher('CONT');
	check($without_push > $lifetime / 2, 'the cache kept the old page');
	check($with_push < $without_push / 2, 'push was much faster');
	print "  The dispatcher was stopped; the routers were changed by hand at once,\n",
	  "  and Varnish kept the page of version 3 for as long as it may.\n\n";
	printf "  without push %s, with push %s\n", figure($without_push),
	  figure($with_push);
	return;
}

sub same_key_again
{
	my $call = "SELECT miosa_rollback('dep_shop', 'ver_shop2', 'incident-7')";
	my $seq = $db->psql_of('dep_shop', "SELECT seq FROM miosa.deployments
		WHERE id = 'dep_shop'");

	step('The same key again');
	prompt($call);
	check($db->psql($call) eq $first_answer, 'the answer is the same');
	check(
		$db->psql_of('dep_shop', "SELECT seq FROM miosa.deployments WHERE id = 'dep_shop'") eq
		  $seq,
		'nothing moved');
	fact('the same answer, byte for byte; nothing moved');
	return;
}

sub refusals
{
	step('What is refused');
	$edge->unpublish('ver_shop1');
	refused('shop', 'ver_shop1', 'MR410', 'its file was deleted (410)');
	put_version('shop', 4, 'Shop, version 4', 'failed');
	refused('shop', 'ver_shop4', 'MR409', 'its build failed (409)');
	put_version('blog', 1, 'Blog, version 1');
	refused('shop', 'ver_blog1', 'MR44V', 'it is of another deployment (404)');
	check($edge->get($_)->{body} =~ /version 2/, "$_ still shows version 2")
	  for @hosts;
	return;
}

sub history
{
	step('What happened');
	show("SELECT * FROM miosa.history('shop')", qr/rollback .*basket is lost/);
	return;
}

# A router that is down must never be called converged.
sub lost_router
{
	my $start;

	step('A router is killed, and comes back with an empty table');
	$db->psql("SELECT miosa_promote('dep_shop', 'ver_shop3')");
	$edge->wait_for_page('version 3', \@hosts)
	  or die "version 3 is not seen again\n";
	$edge->kill9('router-2');
	$start = time();
	show("SELECT * FROM miosa.rollback('shop', 'ver_shop2')", qr/changed/);
	$edge->wait_for_page('version 2', \@hosts)
	  or die "version 2 is not seen\n";
	fact('committed; the world sees version 2 through the other router',
		since($start));
	# The cache received the change as well, after it had waited for the router
	poll_until(
		sub { $db->psql("TABLE miosa.progress") =~ m{2/3} },
		180) or die "the cache does not confirm\n";
	show(
		"SELECT * FROM miosa.status('shop')",
		qr/NOT CONVERGED.*router-2/s);
	fact('not converged, and the router is named');

	$start = time();
	$edge->start('router-2');
	check(
		$db->psql("SELECT miosa_wait_converged('dep_shop', '180 s')") eq
		  'converged',
		'converged again');
	for my $host (@hosts)
	{
		my $route = $edge->route('router-2', 'GET', $host)->{body};

		check($route eq 'dep_shop/ver_shop2',
			"router-2 has the route of $host, not \"$route\"");
	}
	fact('router-2 is back, was sent everything again; converged',
		since($start));
	return;
}

# Stop the dispatcher's process, or let it go on.
sub dispatcher
{
	my ($signal) = @_;
	my $pid = $db->psql_of('dep_shop', "SELECT pid FROM miosa.dispatcher()");

	check($pid =~ /^\d+$/, 'there is one dispatcher');
	kill $signal, $pid or die "could not signal the dispatcher: $!\n";
	$paused = $signal eq 'STOP' ? $pid : undef;
	return;
}

# Run a call in psql and show it; seconds from its commit until both hosts
# show the text.
sub timed_call
{
	my ($sql, $text) = @_;
	my $pipe = $db->open_psql(undef, '-P', 'footer=off', '-c', $sql);
	my $seen = $edge->wait_for_page($text, \@hosts) && time();
	my $output = join '', <$pipe>;

	prompt($sql);
	print $output =~ s/\n+\z/\n/r;
	close $pipe or die "psql failed\n";
	die "$text is not seen\n" unless $seen;
	my $commit = $db->psql_of('dep_shop', "SELECT extract(epoch FROM
			pg_xact_commit_timestamp(xmin))
		FROM miosa.audit_events WHERE deployment_id = 'dep_shop'
		ORDER BY seq DESC LIMIT 1");

	return $seen - $commit;
}

sub curl
{
	my ($host, $text) = @_;
	my $url = $edge->url . '/';
	my $page = qx(curl -s -H 'Host: $host' $url);

	print "  \$ curl -H 'Host: $host' $url\n  $page";
	check($page =~ /$text/, "$host shows $text");
	return;
}

1;
