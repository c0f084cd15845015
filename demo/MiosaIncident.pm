#
# The rest of an incident: what a rollback is held against, a fault that many
# deployments share, undo, a version that is bad for good, and the report.
#
package MiosaIncident;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use MiosaDemo qw(check fact figure prompt refused_call show since step);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(incident_act);

my $sites = 200;
my $selector = '{"active_label": {"base": "node 20.11"}}';
my ($db, $edge, $folder, $mode);

# $put_version: registers a version of deployment shop and its page. mode: of a
# fleet, where it is not the usual one.
sub incident_act
{
	my (%arg) = @_;

	($folder, $db, $edge) = @arg{qw(folder db edge)};
	$mode = $arg{mode} ? ", mode => '$arg{mode}'" : '';
	held($arg{hosts}, $arg{put_version});
	fleet();
	undo();
	bad();
	report();
	return;
}

# A person rolls back, and CI would publish the same version again.
sub held
{
	my ($hosts, $put_version) = @_;

	step('Version 5 is bad, and CI will publish it again');
	$put_version->('shop', 5, 'Shop, version 5: prices are wrong');
	$db->psql("SELECT miosa_promote('dep_shop', 'ver_shop5')");
	$edge->wait_for_page('version 5', $hosts)
	  or die "version 5 is not seen\n";
	show(
		"SELECT * FROM miosa.rollback('shop', reason => 'prices are wrong')",
		qr/changed/);
	$edge->wait_for_page('version 2', $hosts)
	  or die "version 2 is not seen\n";
	refused_call(
		"SELECT miosa_promote('dep_shop', 'ver_shop5', automatic => true)",
		'MR42H');
	check($edge->get($_)->{body} =~ /version 2/, "$_ still shows version 2")
	  for @$hosts;
	fact('what no person decides is held until somebody lifts the hold');
	return;
}

# Sites that were built on the same base image; their routes are all that they
# have here.
sub fleet
{
	my ($start, $call);

	step("$sites sites have the same base image: one call for all of them");
	$db->psql(<<"EOS");
SELECT count(*) FROM (
	SELECT miosa_put_deployment('dep_site_' || i, 'ten_acme', 'site-' || i),
		miosa_put_version('dep_site_' || i, 'ver_1', 1, fields => '{"metadata": {"base": "node 20.9"}}'),
		miosa_put_version('dep_site_' || i, 'ver_2', 2, fields => '{"metadata": {"base": "node 20.11"}}'),
		miosa_promote('dep_site_' || i, 'ver_1'), miosa_promote('dep_site_' || i, 'ver_2')
	FROM generate_series(1, $sites) i OFFSET 0) s
EOS
	check(
		$db->psql("SELECT miosa_wait_converged('dep_site_$sites', '180 s')") eq
		  'converged',
		'all sites are published');
	show(
		"SELECT outcome, count(*) FROM miosa.plan_many('$selector')\n"
		  . "  WHERE deployment LIKE 'site-%' GROUP BY 1",
		qr/changed \| +$sites\b/);
	$call = "SELECT outcome, count(*) FROM miosa.rollback_many('$selector',\n"
	  . "  reason => 'CVE in node 20.11'$mode) WHERE deployment LIKE 'site-%' GROUP BY 1";
	show($call, qr/changed \| +$sites\b/);
	$start = time();
	check(
		$db->psql("SELECT string_agg(DISTINCT miosa_wait_converged(fleet, '180 s'), ' ') FROM miosa.fleets")
		  eq 'converged',
		'the fleet has converged');
	fact("all edges have all $sites sites", figure(time() - $start));
	return;
}

sub undo
{
	step('One of the sites cannot live with that: undo');
	show("SELECT * FROM miosa.undo('site-7', reason => 'needs 20.11')",
		qr/changed/);
	fact('the version that it had is active again, as before the call');
	return;
}

sub bad
{
	step('Version 5 of the shop is bad for good');
	show(
		"SELECT * FROM miosa.mark_bad('shop', 'v5', reason => 'prices are wrong')",
		qr/v5/);
	refused_call("SELECT * FROM miosa.promote('shop', 'v5')", 'MR49B');
	show(
		"SELECT version, note FROM miosa.candidates('shop')",
		qr/v5 .*bad/);
	fact('nobody publishes it by habit, and no rollback goes to it');
	return;
}

sub report
{
	my $file = "$folder/incident.html";
	my $page = $db->psql("SELECT miosa_report('dep_shop')");

	step('The report for the post-mortem');
	prompt("SELECT miosa_report('dep_shop') \\g $file");
	open(my $fh, '>:encoding(UTF-8)', $file) or die "$file: $!\n";
	print $fh $page;
	close $fh or die "$file: $!\n";
	check($page =~ /prices are wrong/ && $page =~ /<svg/,
		'the report has the reason and its charts');
	fact("written to $file (kept with KEEP=1)");
	return;
}

1;
