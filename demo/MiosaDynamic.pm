#
# The second act of the demo: a deployment that runs in instances. A scheduler
# starts and stops them, HAProxy has requests served by them, artifacts are in
# object storage that checks signatures; and visitors come all the time.
#
package MiosaDynamic;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use MIME::Base64 qw(encode_base64);
use MiosaDemo qw(check fact figure prompt refused show since start_visitors
  step stop_visitors);
use MiosaHttp qw(poll_until);
use MiosaS3;
use MiosaScheduler;
use Time::HiRes qw(time);

our @EXPORT_OK = qw(dynamic_act dynamic_settings dynamic_versions);

my $bucket = 'artifacts';
my $host = 'api.acme.miosa.app';
my $wanted = 3;
my @versions = map { "ver_api$_" } 1 .. 3;
my ($db, $edge, $scheduler, $s3, $visitors);

# HAProxy has to know of them when it starts.
sub dynamic_versions { return [@versions]; }

# Requests to a scheduler are repeated every second here, and instances that are
# not needed are kept for two.
sub dynamic_settings
{
	return <<'EOC';
miosa_rollback.capacity_interval = '1s'
miosa_rollback.drain_delay = '2s'
EOC
}

sub dynamic_act
{
	my ($folder, %arg) = @_;

	($db, $edge) = @arg{qw(db edge)};
	$visitors = "$folder/visitors-api";
	start_servers($folder, $arg{keep});
	publish();
	roll_back_to_nothing();
	roll_back_to_living();
	artifact_deleted();
	stop_visitors($visitors);
	return;
}

sub start_servers
{
	my ($folder, $keep) = @_;
	my $secret = 'whsec_' . encode_base64('the secret of the demo only', '');
	my $start = time();

	step('A deployment that runs in instances');
	$s3 = MiosaS3->new(dir => "$folder/s3", keep => $keep)->start;
	$scheduler = MiosaScheduler->new(
		dir => "$folder/scheduler",
		psql => [ $db->psql_command ],
		secret => $secret,
		sockets => [ $edge->sockets ],
		boot => 1,
		stagger => 0.5,
		heartbeat => 2,
		keep => $keep)->start;
	$db->psql("SELECT miosa_put_secret('boots', '$secret');
		SELECT miosa_put_secret('s3', '" . $s3->secret . "');
		SELECT miosa_put_storage('s3://', '" . $s3->url . "', '"
		  . $s3->region . "', secret => 's3');
		SELECT miosa_put_endpoint('boots', 'webhook-scheduler', '"
		  . $scheduler->url . "', secret => 'boots');
		SELECT miosa_put_deployment('dep_api', 'ten_acme', 'api',
			kind => 'dynamic', desired_replicas => $wanted)");
	fact('a scheduler, and object storage that checks signatures',
		since($start));
	return;
}

# Each version is promoted and has its instances started, which serve what is
# in object storage; then version 1 is needed by nobody any more.
sub publish
{
	my ($start, %artifact);

	for my $number (1 .. @versions)
	{
		my $id = $versions[ $number - 1 ];
		my $key = "dep_api/$id/dist.tar.zst";

		$start = time();
		$s3->put($bucket, $key, "<h1>/$id/</h1> from object storage\n");
		$artifact{$id} = $s3->presign('GET', $bucket, $key);
		$scheduler->set(artifacts => \%artifact);
		$db->psql("SELECT miosa_put_version('dep_api', '$id', $number,
			storage_uri => 's3://$bucket/$key')");
		$db->psql("SELECT miosa_promote('dep_api', '$id')");
		$edge->wait_for_page("/$id/", [$host])
		  or die "$id is not seen\n" . $scheduler->tail;
		start_visitors($edge, $visitors, $host) if $number == 1;
		fact("version $number promoted, instances are started, it serves",
			since($start));
	}
	check(
		$edge->get($host)->{body} =~ /$versions[2].*from object storage/,
		'instances serve what is in object storage');
	fact('they serve what is in object storage, fetched with a signed URL');
	$start = time();
	poll_until(sub { !$scheduler->instances($versions[0]) }, 180)
	  or die "$versions[0] is not drained\n" . $scheduler->tail;
	fact('version 1 is not needed any more: its instances were stopped',
		since($start));
	show("SELECT * FROM miosa.candidates('api')", qr/default/);
	return;
}

# The version that serves goes on serving until the other one can.
sub roll_back_to_nothing
{
	my $start = time();
	my $last = '';

	step('Back to version 1, which has no instance: nobody may notice');
	show(
		"SELECT * FROM miosa.rollback('api', 'v1', reason => 'INC-8')",
		qr/pending/);
	prompt("SELECT * FROM miosa.progress \\watch 0.2");
	poll_until(
		sub {
			my ($line) = grep { /instances/ }
			  split /\n/, $db->psql('SELECT age, edges, operation
				FROM miosa.progress');

			return 1 unless defined $line;
			$line =~ s/^[^|]*\|([^|]*)\|.*/$1/;
			printf "  instances  %s  %s\n", $line, since($start)
			  if $line ne $last;
			$last = $line;
			return;
		},
		180,
		0.1) or die "the instances do not come up\n" . $scheduler->tail;
	$edge->wait_for_page("/$versions[0]/", [$host])
	  or die "version 1 is not seen\n";
	fact("all $wanted instances are healthy, and version 1 serves",
		since($start));
	check(
		$db->psql("SELECT miosa_wait_converged('dep_api', '180 s')") eq
		  'converged',
		'it has converged');
	show("SELECT * FROM miosa.status('api')", qr/OK: .* v1/);
	return;
}

# The version that was left still has its instances.
sub roll_back_to_living
{
	my $asked = $scheduler->requests($versions[2]);
	my $call = "SELECT * FROM miosa.promote('api', 'v3')";
	my $start = time();

	step('Version 3 again, whose instances still live');
	show($call, qr/changed/);
	$edge->wait_for_page("/$versions[2]/", [$host])
	  or die "version 3 is not seen\n";
	fact('it serves at once', since($start));
	# A request to stop version 2 may reach it meanwhile
	check($scheduler->requests($versions[2]) == $asked,
		'the scheduler was not asked for instances of version 3');
	fact('the scheduler was asked for none of its instances');
	return;
}

sub artifact_deleted
{
	step('An artifact is deleted from object storage by hand');
	$s3->delete($bucket, "dep_api/$versions[1]/dist.tar.zst");
	my $said = refused('api', 'v2', 'MR410', 'its object is gone (410)');

	check(
		$said =~ /HINT:.*miosa_rollback\('dep_api', '$versions[0]'\)/,
		'the nearest version that can be restored is named');
	fact('the nearest version that can be restored is named');
	return;
}

1;
