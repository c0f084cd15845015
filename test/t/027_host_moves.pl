# Hosts that change hands: an edge is sent who has a host now before the one who
# had it, and a removal never takes a host from its new deployment.

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);
use MiosaSink;
use MiosaTest qw(make_node);
use Test::More;

# Who waits does so for as long as the test takes
my $node = make_node('moves', "miosa_rollback.stage_wait = 60s\n");
my $sink = MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')->start;
my $url = $sink->url;

sub sql { return $node->safe_psql('postgres', @_) }

sub converges
{
	is(sql("SELECT miosa_wait_converged('$_', '180 s')"), 'converged', "$_ converges") for @_;
}

# What was sent for a host since the sink was cleared.
sub sent
{
	my ($host) = @_;

	return join ' ', map { $_->{method} . ($_->{method} eq 'PUT' ? "=$_->{headers}{'x-deployment'}" : '') } $sink->requests("^/hosts/$host\$");
}

# A router by hosts, and one that is sent whole routes, one at a time.
sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment(d, 'ten_1', slug => d) FROM unnest('{d1,d2,d3}'::text[]) d;
	SELECT miosa_put_version(d, 'v' || n, n), miosa_promote(d, 'v' || n) FROM unnest('{d1,d2,d3}'::text[]) d, generate_series(1, 2) n;
	SELECT miosa_put_domain('www.test', 'd1');
	INSERT INTO miosa.adapters (name, per, request, remove) VALUES ('hosts', 'host',
		'{"method": "PUT", "path": "/{host}", "headers": {"x-deployment": "{deployment_id}"}}', '{"method": "DELETE", "path": "/{host}"}');
	SELECT miosa_put_adapter('one-by-one', '{"max_in_flight": 1}', copy_of => 'webhook');
	SELECT miosa_put_endpoint('hosts', 'hosts', '$url/hosts');
	SELECT miosa_put_endpoint('whole', 'one-by-one', '$url/whole')});
converges(qw(d1 d2 d3));

# Renamed: the new host is there before the old one is taken away.  While the
# request for it is not answered, others are sent, but not the removal.
$sink->clear;
$sink->answer('^/hosts/shop', hold => 'gate');
sql("SELECT miosa_rename_deployment('d1', 'shop')");
ok($sink->wait_for(1, '^/hosts/shop'), 'the new host is sent');
sql("SELECT miosa_promote('d3', 'v1')");
ok($sink->wait_for(1, '^/hosts/d3'), 'and then something else');
is(sent('d1\.acme\.miosa\.app'), '', 'the old host is not removed yet');
$sink->release('gate');
converges(qw(d1 d3));
is(sent('d1\.acme\.miosa\.app'), 'DELETE', 'but when the new one was taken');
my ($body) = map { decode_json($_->{body})->{data} } grep { $_->{body} =~ /"d1"/ } $sink->requests('^/whole');
is_deeply([ sort(@{ $body->{hosts} }), @{ $body->{removed_hosts} } ], [ 'shop.acme.miosa.app', 'www.test', 'd1.acme.miosa.app' ],
	'a whole route has both in one message');

# Moved: the new deployment first, whatever their ids, and also when the one that
# loses the host has changed before
for my $to (qw(d2 d1 d3))
{
	my $from = sql("SELECT deployment_id FROM miosa.domains WHERE fqdn = 'www.test'");
	my $turn = sql("SELECT CASE active_version_id WHEN 'v1' THEN 'v2' ELSE 'v1' END FROM miosa.deployments WHERE id = '$from'");

	$sink->clear;
	sql("BEGIN; SELECT miosa_promote('$from', '$turn'), miosa_move_host('www.test', '$to', '$from'); COMMIT");
	converges($from, $to);
	is(join(' ', map { decode_json($_->{body})->{data}{deployment_id} } $sink->requests('^/whole')), "$to $from", "$to is sent before $from");
	is(sent('www\.test'), "PUT=$to", 'and the router by hosts is sent the host once');
}

# Nor does a dispatcher that starts anew forget who has to be sent first.
$sink->clear;
sql(qq{
	INSERT INTO miosa.adapters (name, request) VALUES ('by-path',
		'{"method": "PUT", "path": "/{deployment_id}", "body": "{\\"hosts\\": {hosts}}"}');
	SELECT miosa_put_endpoint('by-path', 'by-path', '$url/by-path')});
ok($sink->wait_for(3, '^/by-path/d'), 'a router that is sent a deployment by its path');
converges(qw(d1 d2 d3));
$sink->clear;
$sink->answer('^/by-path/d1', status => 503);
sql("SELECT miosa_move_host('www.test', 'd1', 'd3')");
ok($sink->wait_for(2, '^/by-path/d1'), 'it does not accept the new deployment of a host');
my $pid = sql('SELECT pid FROM miosa.dispatcher()');
sql("SELECT pg_terminate_backend($pid)");
ok(MiosaTest::wait_dispatcher($node, 'running', after => $pid), 'the dispatcher starts anew');
my $tried = () = $sink->requests('^/by-path/d1');
ok($sink->wait_for($tried + 3, '^/by-path/d1'), 'it is sent again and again');
is(() = $sink->requests('^/by-path/d3'), 0, 'but the old one is not');
$sink->plain;
converges(qw(d1 d3));
like(join(' ', map { $_->{path} =~ s/.*\///r } $sink->requests('^/by-path/d[13]')), qr{^(d1 )+d3( d[13])*$}, 'until the new one is accepted');
sql("SELECT miosa_remove_endpoint('by-path'), miosa_move_host('www.test', 'd3', 'd1')");
converges(qw(d1 d3));

# Two hosts change places in one transaction: each is set once and none is removed
sql("SELECT miosa_put_domain('shop.test', 'd2')");
converges(qw(d1 d2));
my %has = map { $_ => sql("SELECT deployment_id FROM miosa.domains WHERE fqdn = '$_'") } qw(www.test shop.test);
$sink->clear;
sql("BEGIN; SELECT miosa_move_host('www.test', '$has{'shop.test'}'), miosa_move_host('shop.test', '$has{'www.test'}'); COMMIT");
converges(qw(d1 d2));
is(sent('www\.test'), "PUT=$has{'shop.test'}", 'one of two hosts that change places');
is(sent('shop\.test'), "PUT=$has{'www.test'}", 'and the other one');
my %whole = map { $_->{deployment_id} => join ' ', sort @{ $_->{hosts} } } map { decode_json($_->{body})->{data} } $sink->requests('^/whole');
like($whole{ $has{'shop.test'} }, qr/www\.test/, 'also where routes are sent whole');
like($whole{ $has{'www.test'} }, qr/shop\.test/, 'for both');
is(join(' ', map { @{ decode_json($_->{body})->{data}{removed_hosts} } } $sink->requests('^/whole')), '', 'and nothing is removed');
sql("SELECT miosa_remove_domain('shop.test'), miosa_move_host('www.test', 'd1')");
converges(qw(d1 d2));

# Removed and added elsewhere in one transaction: nothing is removed
$sink->clear;
sql("BEGIN; SELECT miosa_remove_domain('www.test'); SELECT miosa_put_domain('www.test', 'd1'); COMMIT");
converges(qw(d1 d3));
is(sent('www\.test'), 'PUT=d1', 'a host that was removed and added is only set');
my @removed = map { @{ decode_json($_->{body})->{data}{removed_hosts} } } $sink->requests('^/whole');
is((grep { $_ eq 'www.test' } @removed) + 0, 0, 'no message removes it') or diag("@removed");

# A removal that has waited for its router comes too late: the host is d2's by then
$sink->clear;
$sink->answer('^/hosts/www', method => 'DELETE', status => 503);
sql("SELECT miosa_remove_domain('www.test')");
ok($sink->wait_for(1, '^/hosts/www\.test'), 'a removal fails');
sql("SELECT miosa_put_domain('www.test', 'd2')");
is(MiosaTest::wait_sql($node, 'SELECT count(*) FROM miosa.outbox', 0), 0, 'the host is put to another deployment');
$sink->plain;
converges(qw(d1 d2));
like(sent('www\.test'), qr/^(DELETE )+PUT=d2$/, 'and is not removed any more');

# A deployment that is removed leaves no host behind
$sink->clear;
sql("SELECT miosa_unpublish('d2')");
converges('d2');
sql("SELECT miosa_remove_deployment('d2', 'not needed')");
ok($sink->wait_for(1, '^/hosts/d2\.acme'), 'its managed host');
is(MiosaTest::wait_sql($node, "SELECT count(*) FROM miosa.outbox", 0), 0, 'is taken');
converges('d1');
like(sent('www\.test'), qr/^DELETE/, 'its own host is removed');
like(sent('d2\.acme\.miosa\.app'), qr/^DELETE/, 'and the managed one');
is(sql("SELECT count(*) FROM miosa.audit_events WHERE deployment_id = 'd2' AND action = 'deployment.remove'"), 1, 'its audit trail is there');

done_testing();
