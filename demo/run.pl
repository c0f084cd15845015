#!/usr/bin/perl
#
# The main job on real servers: a site of two hosts is served by nginx, behind
# two HAProxy routers, behind Varnish, whose pages live 10 s. A bad version 3
# is rolled back by one call in psql, and the world sees version 2 again
# (MiosaShop). Then the rest of an incident (MiosaIncident), and a deployment that
# runs in instances (MiosaDynamic).
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
use MiosaDemo qw(fact since step stop_visitors tail);
use MiosaDynamic qw(dynamic_act dynamic_settings dynamic_versions);
use MiosaEdge;
use MiosaIncident qw(incident_act);
use MiosaShop qw(put_shop put_version release_dispatcher shop_acts shop_hosts shop_visitors);
use Time::HiRes qw(time);

my $keep = $ENV{KEEP} ? 1 : 0;
my $folder = $ENV{MIOSA_TMP} or die "this is started by \"make demo\"\n";
my $lifetime = 10;
my $began = time();

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

END
{
	local $?;
	release_dispatcher();
	stop_visitors();
}

sub main
{
	start_servers();
	shop_acts();
	incident_act(
		folder => $folder,
		db => $db,
		edge => $edge,
		hosts => [shop_hosts()],
		put_version => \&put_version);
	step('Visitors all the while');
	stop_visitors(shop_visitors());
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
	put_shop(folder => $folder, db => $db, edge => $edge, lifetime => $lifetime);
	fact('PostgreSQL with miosa_rollback', since($start));
	return;
}

sub farewell
{
	printf "\nEverything above was checked. %.0f s\n", time() - $began;
	return unless $keep;
	print "\nThe servers are left running:\n\n  ",
	  join(' ', $db->psql_command), "\n";
	print "  curl -H 'Host: $_' ", $edge->url, "/\n" for shop_hosts();
	print "\n";
	return;
}

