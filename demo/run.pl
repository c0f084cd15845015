#!/usr/bin/perl
#
# The main job on real servers: a site of two hosts is served by nginx, behind
# two HAProxy routers, behind Varnish, whose pages live 10 s. A bad version 3
# is rolled back by one call in psql, and the world sees version 2 again. Then
# the rest of an incident (MiosaIncident), and a deployment that runs in
# instances (MiosaDynamic).
#
# "make demo" runs this as an unprivileged user in a temporary folder, with
# the programs of a private PostgreSQL first in PATH. Everything that is
# printed as a fact was checked; the first one that is not true ends the demo
# with exit status 1. KEEP=1 leaves the servers running.
#
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::Bin, "$FindBin::Bin/../test/perl";

use MiosaCluster;
use MiosaDemo qw(check fact figure prompt refused show since start_visitors
  step stop_visitors tail);
use MiosaDynamic qw(dynamic_act dynamic_settings dynamic_versions);
use MiosaEdge;
use MiosaHttp qw(poll_until);
use MiosaIncident qw(incident_act);
use Time::HiRes qw(time);

my $keep = $ENV{KEEP} ? 1 : 0;
my $folder = $ENV{MIOSA_TMP} or die "this is started by \"make demo\"\n";
my $lifetime = 10;
# The managed host of deployment "shop" of tenant "acme", and a custom domain.
my @hosts = ('shop.acme.miosa.app', 'www.acme.test');
my $began = time();
my ($visitors, $paused, $with_push, $first_answer);

$| = 1;
$SIG{INT} = $SIG{TERM} = sub { exit 130 };

my $edge = MiosaEdge->new(
	dir => "$folder/edge",
	routers => 2,
	ttl => $lifetime,
	dynamic => dynamic_versions(),
	keep => $keep);
my $db = MiosaCluster->new(
	dir => "$folder/pg",
	keep => $keep,
	settings => <<'EOC' . dynamic_settings());
shared_preload_libraries = 'miosa_rollback'
miosa_rollback.allow_private_endpoints = on
miosa_rollback.artifact_max_age = 0
track_commit_timestamp = on
timezone = 'UTC'
EOC

$MiosaDemo::db = $db;
eval { main(); 1 } or do
{
	my $error = $@;

	stop_visitors();
	print "\nFAILED: $error\n", $edge->logs;
	print "postgres:\n", tail("$folder/pg/postgres.log", 30);
	exit 1;
};

# A dispatcher that is stopped would not let its server stop.
END
{
	local $?;
	kill 'CONT', $paused if $paused;
	stop_visitors();
}

sub main
{
	start_servers();
	publish();
	roll_back();
	without_push();
	same_key_again();
	refusals();
	history();
	lost_router();
	incident_act(
		folder => $folder,
		db => $db,
		edge => $edge,
		hosts => \@hosts,
		put_version => \&put_version);
	step('Visitors all the while');
	stop_visitors($visitors);
	dynamic_act($folder, db => $db, edge => $edge, keep => $keep);
	farewell();
	return;
}

sub start_servers
{
	my $start = time();

	step('A site of two hosts, on real servers');
	$edge->start;
	fact("Varnish (pages live $lifetime s), 2 HAProxy, nginx", since($start));

	$start = time();
	$db->start;
	$db->psql('CREATE EXTENSION miosa_rollback');
	$db->psql("INSERT INTO miosa.secrets (name, value)
		VALUES ('edge', '$edge->{secret}')");
	$db->psql("SELECT miosa_put_endpoint('$_', 'haproxy-map', '"
		  . $edge->router_url($_)
		  . "', secret => 'edge')")
	  for $edge->router_names;
	$db->psql("SELECT miosa_put_endpoint('cache', 'varnish-xkey', '"
		  . $edge->url . "')");
	$db->psql("SELECT miosa_put_tenant('ten_acme', 'acme');
		SELECT miosa_put_deployment('dep_shop', 'ten_acme', 'shop');
		SELECT miosa_put_deployment('dep_blog', 'ten_acme', 'blog')");
	$db->psql("SELECT miosa_put_domain('$hosts[1]', 'dep_shop')");
	fact('PostgreSQL with miosa_rollback', since($start));
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
	my $seq = $db->psql("SELECT seq FROM miosa.deployments
		WHERE id = 'dep_shop'");

	step('The same key again');
	prompt($call);
	check($db->psql($call) eq $first_answer, 'the answer is the same');
	check(
		$db->psql("SELECT seq FROM miosa.deployments WHERE id = 'dep_shop'") eq
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

sub farewell
{
	printf "\nEverything above was checked. %.0f s\n", time() - $began;
	return unless $keep;
	print "\nThe servers are left running:\n\n  ",
	  join(' ', $db->psql_command), "\n";
	print "  curl -H 'Host: $_' ", $edge->url, "/\n" for @hosts;
	print "\n";
	return;
}

# Stop the dispatcher's process, or let it go on.
sub dispatcher
{
	my ($signal) = @_;
	my $pid = $db->psql("SELECT pid FROM miosa.dispatcher()");

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
	my $commit = $db->psql("SELECT extract(epoch FROM
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

