# The signature of a presigned artifact reaches edges and storage, which need it,
# and no notification, and no message about what storage answers (attack 7:
# presigned queries).

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('presigned');
my $sink =
  MiosaSink->new(dir => PostgreSQL::Test::Utils::tempdir_short() . '/sink')
  ->start;
my $url = $sink->url;
my $listener = $node->background_psql('postgres');

$listener->query_safe('LISTEN miosa_route');
sql(qq{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
	SELECT miosa_put_version('dep_1', 'ver_' || n, n, storage_uri => '$url/storage/' || n || '.tar?X-Amz-Signature=SIGNATURE')
		FROM generate_series(1, 3) n;
	SELECT miosa_put_endpoint('hook', 'webhook', '$url/hook');
	CREATE ROLE regress_edge IN ROLE miosa_edge;
	CREATE ROLE regress_operator IN ROLE miosa_operator});

# Storage is asked with the signature, and it is in what edges are sent
sql("SELECT miosa_promote('dep_1', 'ver_$_')") for 1 .. 2;
is(sql("SELECT miosa_wait_converged('dep_1', '180 s')"), 'converged', 'delivered');
like(($sink->requests('^/storage/2'))[-1]{path}, qr{^/storage/2[.]tar[?]X-Amz-Signature=SIGNATURE$}, 'storage is asked with it');
like(($sink->requests('^/hook'))[-1]{body}, qr{storage/2[.]tar[?]X-Amz-Signature=SIGNATURE}, 'an endpoint is sent it');
my $asks = q{SELECT miosa_route('shop.acme.miosa.app') #>> '{data,storage_uri}', miosa_routes_since(0)::text};
like(sql("SET ROLE regress_edge; $asks"), qr/SIGNATURE\|.*SIGNATURE/, 'an edge can ask for it');
unlike(sql("SET ROLE regress_operator; $asks"), qr/SIGNATURE/, 'an operator cannot');

# Not in notifications
my $told = '';
ok(poll_until(sub { ($told .= $listener->query('SELECT 1')) =~ /dep_1.*ver_2/s }, 180, 0.05), 'a listener receives the change');
unlike($told, qr/SIGNATURE/, 'without the signature');
$listener->quit;

# Nor in what is said about storage's answers
$sink->answer('^/storage/', status => 404);
my (undef, undef, $error) = $node->psql('postgres', "SET ROLE regress_operator; SELECT miosa_promote('dep_1', 'ver_3')");
like($error, qr{ERROR: .*\n.*DETAIL: .*Storage answered 404 to HEAD \Q$url\E/storage/3[.]tar[?][.][.][.]}s, 'a promotion says what storage answered');
unlike($error, qr/SIGNATURE/, 'without the signature');
unlike(sql("SET ROLE regress_operator; SELECT miosa_plan('dep_1')::text"), qr/SIGNATURE/, 'so does a plan');
unlike(slurp_file($node->logfile) =~ s/^[^\n]*(?:LOG:  statement:|STATEMENT:).*?(?=^\d{4}-)//gmsr, qr/SIGNATURE/,
	'nor is it in a line of the log that is not a statement');

sub sql { return $node->safe_psql('postgres', @_); }

done_testing();
