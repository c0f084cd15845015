# Slugs, and with them managed hosts, are unique over shards: a second one is
# refused as on one server, also when two calls come at once, and after a call was
# killed between its steps.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use MiosaRouter;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('all');
my $router = MiosaRouter->new($node, map { [ $_ => $node ] } qw(s0 s1));
my ($here, $beside) = map { $router->here('s0', $_) } 1, 2;
my ($there, $second) = map { $router->here('s1', $_) } 1, 2;

sub messages { return ($router->try($_[0]))[2]; }

# What an error is for a caller: SQLSTATE, message, DETAIL and HINT.
my $seen = <<'EOS';
CREATE FUNCTION seen(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN '"no error"';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN jsonb_build_array(SQLSTATE, message, detail, hint);
END $$;
EOS
$router->sql($seen);
$router->shard_sql('s0', $seen);

# Start SQL on the router in the background.
sub begin
{
	my ($sql) = @_;
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('router'), '-c', $sql ], \$run{in}, \$run{out}, \$run{err});
	return \%run;
}

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme'), miosa_put_tenant('ten_2', 'other')");
$router->sql("SELECT miosa_put_deployment('$here', 'ten_1', slug => 'shop')");

# As on one server, where the other deployment would be on the same shard.
for my $call ("miosa_put_deployment('ID', 'ten_1', slug => 'shop')", "miosa_put_deployment('ID', 'ten_1', 'Shop')",
	"miosa_put_deployment('ID', 'ten_1', fields => '{\"slug\": \"shop\"}')", "miosa_put_deployment('ID', 'ten_1', slug => 'A b')",
	"miosa_put_deployment('ID', 'ten_9', slug => 'shop')")
{
	my $one = $router->shard_sql('s0', 'SELECT seen($$SELECT ' . $call =~ s/ID/$beside/r . '$$)');

	isnt($one, '"no error"', "$call is refused");
	is($router->sql('SELECT seen($$SELECT ' . $call =~ s/ID/$there/r . '$$)'), $one, '... on another shard as on the same one');
}
is($router->sql("SELECT miosa_put_deployment('$there', 'ten_2', slug => 'shop') #>> '{data,slug}'"), 'shop', 'another tenant may have the slug');
$router->sql("SELECT miosa_put_deployment('$second', 'ten_1'); SELECT miosa_put_deployment('$beside', 'ten_1')");
is($router->sql("SELECT seen(\$\$SELECT miosa_rename_deployment('$second', 'shop')\$\$)"),
	$router->shard_sql('s0', "SELECT seen(\$\$SELECT miosa_rename_deployment('$beside', 'shop')\$\$)"), 'a new name that another shard has is refused as on one server');

# A slug that is given up may be taken elsewhere; the host is not removed there
# later.
$router->sql("SELECT miosa_rename_deployment('$here', 'store')");
$router->sql("SELECT miosa_rename_deployment('$second', 'shop', 'r1')");
is($router->shard_sql('s1', "SELECT slug FROM miosa.deployments WHERE id = '$second'"), 'shop', '... and taken on another shard');
is($router->shard_sql('s0', "SELECT (SELECT count(*) FROM miosa.removed_hosts WHERE host = 'shop.acme.miosa.app') + (SELECT count(*) FROM miosa.outbox WHERE host = 'shop.acme.miosa.app')"), 0, '... the first shard has forgotten the host');
like(messages("SELECT miosa_rename_deployment('$here', 'shop')"), qr/ERROR:  slug "shop" is taken\nDETAIL:  Deployment "$second" has it\./, '... where it is refused then');
is($router->sql("SELECT miosa_rename_deployment('$second', 'shop', 'r1') #>> '{operation,id}'"), "$second#1", '... a repeated call has the same answer');

# A call is killed between the claim and the end.
$router->shard_sql('s1', <<'EOS');
CREATE TABLE gate (step text);
GRANT SELECT ON gate TO PUBLIC;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM public.gate WHERE step = 'wait') LOOP
		PERFORM pg_sleep(0.02);
	END LOOP;
	IF EXISTS (SELECT FROM public.gate WHERE step = 'fail') THEN
		RAISE 'no';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER wait BEFORE INSERT ON miosa.deployments FOR EACH ROW EXECUTE FUNCTION wait();
EOS
my $at_gate = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = 's1'";
my $n = 2;
for my $end ('fail', 'go')
{
	my $new = $router->here('s1', ++$n);
	my $other = $router->here('s0', $n);

	$router->shard_sql('s1', "DELETE FROM gate; INSERT INTO gate VALUES ('wait')");
	my $run = begin("SELECT miosa_put_deployment('$new', 'ten_1', slug => '$end')");
	is(wait_sql($node, $at_gate, 1), 1, "$end: the shard is at work");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'router' AND query LIKE '%put_deployment%' AND pid <> pg_backend_pid()");
	$run->{handle}->finish;
	like(messages("SELECT miosa_put_deployment('$other', 'ten_1', slug => '$end')"), qr/ERROR:  slug "$end" is being taken by another call\nDETAIL:  The claim is/,
		'... the router is killed: the claim counts');
	$router->shard_sql('s1', "UPDATE gate SET step = '$end'");
	is(wait_sql($node, $at_gate, 0), 0, '... the shard ends');
	is($router->shard_sql('s1', "SELECT count(*) FROM miosa.deployments WHERE id = '$new'"), $end eq 'go' ? 1 : 0, '... with or without the deployment');
	$router->shard_sql($_, "UPDATE miosa_shard.hosts SET claimed_at = now() - interval '1 min' WHERE state = 'claimed'") for qw(s0 s1);
	my $message = messages("SELECT miosa_put_deployment('$other', 'ten_1', slug => '$end')");

	if ($end eq 'go') { like($message, qr/ERROR:  invalid deployment\nDETAIL:  Key \(tenant_id, slug\)=\(ten_1, go\) already exists\./, '... a slug that the shard has is taken') }
	else { is($message, '', '... a claim that nothing came of is taken over') }
}
$router->shard_sql('s1', 'DELETE FROM gate');

# Two calls at once on different shards: one has the slug.
for my $turn (1 .. 3)
{
	my @ids = map { $router->here($_, 10 + $turn) } qw(s0 s1);
	my @runs = map { begin("SELECT miosa_put_deployment('$_', 'ten_1', slug => 'busy-$turn')") } @ids;

	$_->{handle}->finish for @runs;
	is(scalar(grep { $router->shard_sql($_, "SELECT count(*) FROM miosa.deployments WHERE tenant_id = 'ten_1' AND slug = 'busy-$turn'") } qw(s0 s1)), 1, 'of two calls at once one gets the slug')
	  or diag map { $_->{err} } @runs;
}

# Slugs that came to a shard directly.
my ($direct, $twice) = map { $router->here('s0', $_) } 20, 21;
my $also = $router->here('s1', 21);
$router->shard_sql('s0', "SELECT miosa_put_deployment('$direct', 'ten_1', slug => 'direct'), miosa_put_deployment('$twice', 'ten_1', slug => 'twice')");
$router->shard_sql('s1', "SELECT miosa_put_deployment('$also', 'ten_1', slug => 'twice')");
like(messages('SELECT miosa_router.register_slugs()'), qr/WARNING:  slug "ten_1\/twice" of shard "s1" is in the directory for another deployment\nHINT:  If that one exists: SELECT miosa_rename_deployment\('$also'/, 'a slug that two shards have is found');
like(messages("SELECT miosa_rename_deployment('$second', 'direct')"), qr/ERROR:  slug "direct" is taken\nDETAIL:  Deployment "$direct" has it\./, '... the others are entered');

# A host that is put is not a managed one of another shard.
my ($mine) = map { $router->here('s1', $_) } 30;
$router->sql("SELECT miosa_put_deployment('$mine', 'ten_1', slug => 'mine')");
is($router->sql("SELECT seen(\$\$SELECT miosa_put_domain('direct.acme.miosa.app', '$mine')\$\$)"),
	$router->shard_sql('s0', "SELECT seen(\$\$SELECT miosa_put_domain('direct.acme.miosa.app', '$beside')\$\$)"), 'the managed host of a deployment of another shard is refused as on one server');
is($router->sql("SELECT miosa_put_domain('www.mine.test', '$mine') #>> '{data,fqdn}'"), 'www.mine.test', '... another host is not');

# A host does not move between shards by itself; the HINT is what to type.
my ($hint) = messages("SELECT miosa_move_host('www.mine.test', '$direct')") =~ /ERROR:  host "www\.mine\.test" is on another shard\n.*\nHINT:  Move the deployment there, then the host: (.*)\n/;
ok($hint, 'a host of another shard does not move by itself') and $router->sql($_) for split /(?<=;) /, $hint;
is($router->shard_sql('s1', "SELECT deployment_id FROM miosa.domains WHERE fqdn = 'www.mine.test'"), $direct, '... what the HINT says moves it');

done_testing();
