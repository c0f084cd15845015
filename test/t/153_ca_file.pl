# An authority that is taken out of the settings while a request is on its way
# is not trusted by the requests after it, which may be made with the same
# handle of libcurl.

use strict;
use warnings FATAL => 'all';

use MiosaFault qw(certificates tls_server);
use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node reload_settings wait_dispatcher);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();

certificates("$dir/tls");
my ($tls, $port) = tls_server("$dir/tls", 'good');
my $edge = MiosaSink->new(dir => "$dir/edge")->start;
my $node = make_node('ca_file', "miosa_rollback.ca_file = '$dir/tls/ca.pem'\n");

sub sql { return $node->safe_psql('postgres', @_); }

wait_dispatcher($node, 'running');
sql("SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_1', 1);
	SELECT miosa_put_endpoint('edge', 'webhook', '" . $edge->url . "/edge')");
$edge->answer('^/edge', hold => 'gate');
sql("SELECT miosa_promote('dep_1', 'ver_1')");
$edge->wait_for(1, '^/edge');

$node->append_conf('postgresql.conf', "miosa_rollback.ca_file = ''\n");
reload_settings($node);
$edge->release('gate');
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"),
	'converged', 'the request on its way is answered');

sql("SELECT miosa_put_endpoint('tls', 'webhook', 'https://127.0.0.1:$port->{good}/')");
my $state = '';
poll_until(
	sub {
		$state = sql("SELECT coalesce(nullif(last_error, ''), health)
			FROM miosa.endpoint_state WHERE endpoint = 'tls'");
		return $state eq 'healthy' || $state =~ /certificate/;
	},
	180,
	0.05);
like($state, qr/certificate/, 'the next one does not trust that authority');
unlike(slurp_file("$dir/tls/access.log"), qr/POST/, 'and nothing is sent');

done_testing();
