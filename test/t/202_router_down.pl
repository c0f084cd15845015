# A shard that is down: its calls fail at once and say so, the others go on, and
# calls of all shards return the rest and name it. Hosts are on one shard only, also
# after a call was killed in the middle.

use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use JSON::PP qw(decode_json);
use MiosaRouter;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'this PostgreSQL has no PL/Proxy' unless MiosaRouter->available;

my $node = make_node('here');
my $other = make_node('there');
my $router = MiosaRouter->new($node, [ s0 => $node ], [ s1 => $other ]);
my %id = map { $_ => $router->here($_) } qw(s0 s1);
my $second = $router->here('s0', 2);

$router->sql("SELECT miosa_put_tenant('ten_1', 'acme')");
for my $id (values %id, $second)
{
	$router->sql("SELECT miosa_put_deployment('$id', 'ten_1')");
	$router->sql("SELECT miosa_put_version('$id', 'v$_', $_, state => 'ready')") for 1 .. 3;
	$router->sql("SELECT miosa_promote('$id', 'v$_')") for 1 .. 3;
}

sub messages { return ($router->try($_[0]))[2]; }

# Start SQL on the router in the background.
sub begin
{
	my ($sql) = @_;
	my %run = (in => '', out => '', err => '');

	$run{handle} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('router'), '-c', $sql ],
		\$run{in}, \$run{out}, \$run{err});
	return \%run;
}

# The answer of a call is lost: what it has done is found by its key.
$router->shard_sql('s1', <<'EOS');
CREATE TABLE gate (step text);
INSERT INTO gate VALUES ('wait');
GRANT SELECT ON gate TO PUBLIC;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	now_at text;
BEGIN
	LOOP
		SELECT step INTO now_at FROM public.gate;
		EXIT WHEN now_at <> 'wait';
		PERFORM pg_sleep(0.02);
	END LOOP;
	IF now_at = 'fail' THEN
		RAISE 'no';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER wait BEFORE INSERT ON miosa.domains FOR EACH ROW EXECUTE FUNCTION wait();
CREATE TRIGGER wait BEFORE INSERT ON miosa.audit_events FOR EACH ROW EXECUTE FUNCTION wait();
EOS
my $working = "FROM pg_stat_activity WHERE datname = 's1' AND backend_type = 'client backend' AND state <> 'idle'";
my $at_gate = "SELECT count(*) $working AND wait_event = 'PgSleep'";
my $run = begin("SELECT miosa_rollback('$id{s1}', idempotency_key => 'k1')");
is(wait_sql($other, $at_gate, 1), 1, 'a call is at work on the shard');
$other->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $working");
$run->{handle}->finish;
like($run->{err}, qr/MR53S: shard "s1" is unavailable\n.*HINT:  Retry with the same idempotency key/s, 'its shard ends it: SHARD_UNAVAILABLE');
$router->shard_sql('s1', "UPDATE gate SET step = 'go'");
is($router->sql("SELECT miosa_rollback('$id{s1}', idempotency_key => 'k1') #>> '{operation,outcome}'"), 'changed', '... and it is done by its key');

# Down.
$other->stop('immediate');
like(messages("SELECT miosa_rollback('$id{s1}', idempotency_key => 'k2')"),
	qr/ERROR:  shard "s1" is unavailable\nDETAIL:  .*\n.*HINT:  Retry with the same idempotency key/s, 'calls of the shard fail');
is($router->sql("SELECT miosa_rollback('$id{s0}', idempotency_key => 'k2') #>> '{operation,outcome}'"), 'changed', 'the other shard goes on');
is($router->sql("SELECT count(*) FROM miosa.status('$id{s0}') WHERE item = 'verdict'"), 1, '... also for people');
like(messages("SELECT * FROM miosa.status('some-slug')"), qr/shard "s1" is unavailable/, 'whether a slug is unique is not known');
my $gateway = messages("BEGIN; SET LOCAL request.method = 'POST'; SELECT miosa_rollback('$id{s1}'); COMMIT");
like($gateway, qr/"code" : "SHARD_UNAVAILABLE".*\n.*"status" : 503.*"Retry-After" : "1"/, 'a gateway answers 503 with Retry-After');
my ($status, $page, $warning) = $router->try('SELECT miosa_audit_log("limit" => 3)');
is_deeply(decode_json($page)->{unavailable_shards}, ['s1'], 'an answer of all shards names the one that is missing');
is(scalar @{ decode_json($page)->{data} }, 3, '... and has the rest');
like($warning, qr/WARNING:  shards that are unavailable are missing here: s1/, '... with a warning');
my ($out, $err) = ($router->try('SELECT deployment FROM miosa.open_holds'))[1, 2];
is($out, $id{s0}, 'a view has the rest');
like($err, qr/WARNING:  shards that are unavailable are missing here: s1/, '... with a warning');
like(($router->try(q[SELECT miosa_rollback_many('{"all": true}', mode => 'best_effort')]))[1], qr/"unavailable_shards": \["s1"\]/, 'a fleet does');
like(messages("SELECT miosa_put_plan('gold', '90 days', '1 day', '30 days')"),
	qr/ERROR:  shards are unavailable: s1\nDETAIL:  It is done on shards: s0\.\nHINT:  Repeat the call/, 'a change of all shards is not complete');
like($router->sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'router: shard s1'"), qr/^fail \S/, 'the doctor says that it is down');
$router->sql("UPDATE miosa_router.shards SET state = 'off' WHERE name = 's1'");
like(messages("SELECT miosa_deployment('$id{s1}')"), qr/ERROR:  shard "s1" is unavailable\nDETAIL:  The shard is off/, 'one that is off is not tried');
$router->sql("UPDATE miosa_router.shards SET state = 'on' WHERE name = 's1'");
$other->start;
is($router->sql("SELECT miosa_rollback('$id{s1}', idempotency_key => 'k1') #>> '{operation,outcome}'"), 'changed', 'it is back: a replay');
$router->sql("SELECT miosa_put_plan('gold', '90 days', '1 day', '30 days')");
is($router->sql("SELECT status FROM miosa_doctor() WHERE item = 'router: plans'"), 'ok', '... and the repeated change makes it equal');

# Hosts are unique among shards.
is($router->sql("SELECT miosa_put_domain('WWW.example.com', '$id{s0}') #>> '{data,fqdn}'"), 'www.example.com', 'a host on one shard');
like(messages("SELECT miosa_put_domain('www.example.com', '$id{s1}')"), qr/ERROR:  host "www.example.com" is taken/, '... is refused on another one');
is($router->sql("SELECT miosa_put_domain('www.example.com', '$second') #>> '{data,deployment_id}'"), $second, '... and moves within the shard');
like(messages("SELECT miosa_put_domain('www.example.com', '$id{s1}')"), qr/ERROR:  host "www.example.com" is taken/, '... where it stays unique');
is($router->sql("SELECT miosa_route('www.example.com') #>> '{data,deployment_id}'"), $second, 'its route is found');
like(messages("SELECT miosa_move_host('www.example.com', '$id{s1}')"), qr/ERROR:  host "www.example.com" is on another shard\n.*\nHINT:  Move the deployment/, 'it does not move to another shard by itself');
$router->sql("SELECT miosa_remove_domain('www.example.com')");
is($router->sql("SELECT miosa_put_domain('www.example.com', '$id{s1}') #>> '{data,deployment_id}'"), $id{s1}, 'once removed, it may be put on another shard');
like(messages("SELECT miosa_put_domain('bad host', '$id{s1}')"), qr/ERROR:  invalid host name: "bad host"/, 'a bad name is refused by the rules of the extension');
$router->shard_sql('s1', "UPDATE gate SET step = 'fail'");
like(messages("SELECT miosa_put_domain('refused.example.com', '$id{s1}')"), qr/ERROR:  no/, 'a shard refuses a host');
is($router->sql("SELECT miosa_put_domain('refused.example.com', '$id{s0}') #>> '{data,fqdn}'"), 'refused.example.com', '... which then is free');

# A call is killed between the claim and the end.
sub claims
{
	return join ' ', map { split /\n/, $router->shard_sql($_, "SELECT host || ':' || deployment_id || ':' || state FROM miosa_shard.hosts WHERE host LIKE '$_[0].%'") } qw(s0 s1);
}
for my $end ('fail', 'go')
{
	$router->shard_sql('s1', "UPDATE gate SET step = 'wait'");
	$run = begin("SELECT miosa_put_domain('$end.example.com', '$id{s1}')");
	is(wait_sql($other, $at_gate, 1), 1, "$end: the shard is at work");
	is(claims($end), "$end.example.com:$id{s1}:claimed", '... the host is claimed');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'router' AND query LIKE '%put_domain%' AND pid <> pg_backend_pid()");
	$run->{handle}->finish;
	like(messages("SELECT miosa_put_domain('$end.example.com', '$id{s0}')"), qr/ERROR:  host "$end.example.com" is being taken by another call/,
		'... the router is killed: the claim counts');
	$router->shard_sql('s1', "UPDATE gate SET step = '$end'");
	is(wait_sql($other, "SELECT count(*) $working", 0), 0, '... the shard ends');
	is($router->shard_sql('s1', "SELECT count(*) FROM miosa.domains WHERE fqdn = '$end.example.com'"), $end eq 'go' ? 1 : 0, '... with or without the host');
	$router->shard_sql($_, "UPDATE miosa_shard.hosts SET claimed_at = now() - interval '1 min' WHERE state = 'claimed'") for qw(s0 s1);
}
like(messages("SELECT miosa_put_domain('go.example.com', '$id{s0}')"), qr/ERROR:  host "go.example.com" is taken/, 'a host that the shard has is taken, confirmed or not');
is($router->sql("SELECT miosa_put_domain('fail.example.com', '$id{s0}') #>> '{data,deployment_id}'"), $id{s0}, 'a claim that nothing came of is taken over when it is old');
is($router->sql("SELECT miosa_put_domain('go.example.com', '$id{s1}') #>> '{data,deployment_id}'"), $id{s1}, 'the repeated call confirms its claim');
is(claims('go'), "go.example.com:$id{s1}:held", '... which is held then');

# Many calls at once: one has the host.
my @runs = map { my $n = $_; map { begin("SELECT miosa_put_domain('busy$n.example.com', '$_')") } @id{qw(s0 s1)} } 1 .. 4;
$_->{handle}->finish for @runs;
is(join(' ', map { my $n = $_; scalar grep { $router->shard_sql($_, "SELECT count(*) FROM miosa.domains WHERE fqdn = 'busy$n.example.com'") } qw(s0 s1) } 1 .. 4),
	'1 1 1 1', 'of two calls at once for a host, one gets it')
  or diag map { $_->{out}, $_->{err} } @runs;

# Hosts that came to a shard directly.
$router->shard_sql('s0', "SELECT miosa_put_domain('direct.example.com', '$id{s0}'); SELECT miosa_put_domain('twice.example.com', '$id{s0}')");
$router->shard_sql('s1', "SELECT miosa_put_domain('twice.example.com', '$id{s1}')");
like(messages('SELECT miosa_router.register_hosts()'), qr/WARNING:  host "twice\.example\.com" is on shard "s1", but the directory has it for deployment "$id{s0}"/,
	'a host that two shards have is found');
like(messages("SELECT miosa_put_domain('direct.example.com', '$id{s1}')"), qr/ERROR:  host "direct.example.com" is taken/, '... and the others are entered');

done_testing();
