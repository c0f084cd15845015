# Artifacts in S3, asked for with signatures that a server really checks
# (test/js/s3.js): whatever key, whatever way of addressing, and whatever
# storage answers, only a plain no is taken for one.

use strict;
use warnings FATAL => 'all';

use JSON::PP ();
use MiosaFault qw(certificates);
use MiosaS3;
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $dir = PostgreSQL::Test::Utils::tempdir_short();

certificates("$dir/tls", s3 => 'IP:127.0.0.1,DNS:shop-bucket.localhost');
my $s3 = MiosaS3->new(dir => "$dir/s3")->start;
my $tls = MiosaS3->new(
	dir => "$dir/s3s",
	tls => { key => "$dir/tls/s3.key", cert => "$dir/tls/s3.pem" })->start;
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $node = make_node('storage', <<"EOC");
miosa_rollback.ca_file = '$dir/tls/ca.pem'
miosa_rollback.artifact_timeout = '60 s'
EOC
my $number = 0;

my $database = 'postgres';

sub sql { my ($query) = @_; return $node->safe_psql($database, $query); }

sub quoted { my ($text) = @_; return "'" . $text =~ s/'/''/gr . "'"; }

# A ready version whose artifact is at a URI; returns the version's id.
sub version_at
{
	my ($uri, $more) = @_;
	my $id = 'ver_' . ++$number;

	sql("SELECT miosa_put_version('dep_1', '$id', $number, storage_uri => "
		  . quoted($uri)
		  . ($more // '') . ')');
	return $id;
}

# Promote a version with its artifact there: "done" or SQLSTATE, and why.
sub promote
{
	my ($uri, $more) = @_;
	my $id = version_at($uri, $more);
	my ($status, $out, $messages) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT miosa_promote('dep_1', '$id')");
	my ($state) = $messages =~ /ERROR:  (\w{5}):/;

	return ($state // ($status == 0 ? 'done' : 'no error'), $messages);
}

sub storage_says
{
	my ($uri, $expected, $pattern, $name, $more) = @_;
	my ($state, $messages) = promote($uri, $more);

	is($state, $expected, $name)
	  or diag $messages, $s3->state->{refused} // '';
	like($messages, $pattern, "$name: it is said why");
	return;
}

sub verdict
{
	my ($uri) = @_;

	return sql("SELECT miosa_test_storage('$uri') -> 'data' ->> 'verdict'");
}

# Options that hold for a while.
sub with_options
{
	my ($option, $code) = @_;
	my %default =
	  (expired => \0, list => \1, instead => undef, token => undef);

	$s3->set(%$option);
	$code->();
	$s3->set(map { $_ => $default{$_} } keys %$option);
	return;
}

sql(q{
	SELECT miosa_put_tenant('ten_1', 'acme');
	SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');});
sql("SELECT miosa_put_secret('s3', '" . $s3->secret . "', origins => '{*}')");
sql("SELECT miosa_put_storage('s3://', '"
	  . $s3->url
	  . "/', 'eu-central-1', secret => 's3')");
$s3->put('shop-bucket', $_, 'hello')
  for '1.tar', 'some where/a%20b?c#d+e&f=g.tar', "\xF0\x9F\x9A\x80/\xC3\xA9";

# Certain answers
storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/, 'an object that is there');
is(($s3->requests)[-1]{method}, 'HEAD', 'it is asked for without a body');
like(($s3->requests)[-1]{headers}{authorization},
	qr/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/, 'with a signature');
storage_says('s3://shop-bucket/2.tar', 'MR410',
	qr{Storage answered 404 to HEAD http://127\.0\.0\.1:\d+/shop-bucket/2\.tar\.},
	'one that is not');
storage_says('s3://shop-bucket/some where/a%20b?c#d+e&f=g.tar',
	'done', qr/^$/, 'a key of what means something in a URL');
storage_says("s3://shop-bucket/\xF0\x9F\x9A\x80/\xC3\xA9",
	'done', qr/^$/, 'a key beyond ASCII');
for my $key ('../shop-bucket/1.tar', './1.tar', '/1.tar', 'x/../1.tar',
	'1.tar/', '1.tar?', '1%2Etar', 'x/%2e%2e/1.tar', '1.tar#x')
{
	storage_says("s3://shop-bucket/$key", 'MR410', qr/answered 404/,
		"\"$key\" is no other way to 1.tar");
}

# Edges receive the URI of such a key
sql("SELECT miosa_put_endpoint('hook', 'webhook', '" . $sink->url . "/hook')");
like((map { $_->{body} } $sink->wait_for(1, '^/hook'))[-1],
	qr{"storage_uri":"s3://shop-bucket/%F0%9F%9A%80/%C3%A9"},
	'an edge receives it');
sql("SELECT miosa_remove_endpoint('hook')");

# The size
storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/,
	'an object of the right size', ', size_bytes => 5');
storage_says('s3://shop-bucket/1.tar', 'MR503',
	qr/Storage has 5 bytes there, but the artifact has 6\./,
	'one of another size', ', size_bytes => 6');

$sink->answer('^/part', status => 206, headers => { 'Content-Range' => 'bytes 0-0/7' });
$sink->answer('^/part', method => 'HEAD', status => 405);
storage_says($sink->url . '/part', 'done', qr/^$/,
	'the size of what was asked for a byte of', ', size_bytes => 7');
storage_says($sink->url . '/part', 'MR503', qr/has 7 bytes there/,
	'another one', ', size_bytes => 8');

# What says nothing about the object
with_options(
	{ list => \0 },
	sub {
		storage_says('s3://shop-bucket/2.tar', 'MR503', qr/answered 403/,
			'a missing object where listing is not granted');
		like(verdict('s3://shop-bucket/1.tar'),
			qr/grant s3:ListBucket/, 'the test says what to grant');
	});
with_options(
	{ expired => \1 },
	sub {
		storage_says('s3://shop-bucket/1.tar', 'MR503', qr/answered 403/,
			'credentials that have expired');
		like(verdict('s3://shop-bucket/1.tar'),
			qr/does not report which artifacts it has/, 'the test says so');
	});
for my $case (
	[ 405, {}, qr/answered 405/, 'a mark that the object was deleted' ],
	[ 500, {}, qr/answered 500/, 'an error of the server' ],
	[ 503, { 'Retry-After' => '1' }, qr/answered 503/, 'a busy server' ],
	[ 204, {}, qr/answered 204/, 'an odd success' ],
	[ 302, { Location => '/elsewhere' }, qr/answered 302/, 'a redirection' ],
	[ 301, { 'x-amz-bucket-region' => 'ap-east-1' },
		qr/answered 301 .* The bucket is in region "ap-east-1"\./, 'another region' ],
	[ 301, { 'x-amz-bucket-region' => 'x"; y' },
		qr/answered 301 to HEAD \S+\n/, 'a region that is none' ])
{
	my ($status, $headers, $pattern, $name) = @$case;

	with_options(
		{ instead => { status => $status, headers => $headers } },
		sub {
			storage_says('s3://shop-bucket/1.tar', 'MR503', $pattern, $name);
		});
}
is(scalar(grep { $_->{method} ne 'HEAD' } $s3->requests),
	0, 'S3 is never asked by GET');
is(scalar $s3->requests('/elsewhere'), 0, 'no redirection is followed');
sql("UPDATE miosa.storages SET region = 'us-east-1'");
storage_says('s3://shop-bucket/1.tar', 'MR503',
	qr/The bucket is in region "eu-central-1"/,
	'a wrong region of ours is named');
sql("UPDATE miosa.storages SET region = 'eu-central-1'");

# Storage that breaks the rules
with_options(
	{ instead => { raw => "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello" } },
	sub {
		storage_says('s3://shop-bucket/9.tar', 'MR410', qr/answered 404/,
			'a body in the answer to HEAD is passed over');
	});
with_options(
	{ instead => { raw => "HTTP/1.1 404 Not Found\r\nno header\r\n\r\n" } },
	sub {
		storage_says('s3://shop-bucket/1.tar', 'MR503', qr/could not be asked/,
			'an answer that is not HTTP');
	});
with_options(
	{ instead => { status => 200 } },
	sub {
		like(verdict('s3://shop-bucket/1.tar'),
			qr/reports every artifact as present/, 'one that has everything is found out');
	});
is(verdict('s3://shop-bucket/1.tar'),
	'ok: storage distinguishes present from missing artifacts', 'a good one is good');
is(verdict('s3://shop-bucket/7.tar'),
	'ok: storage can be asked, but this artifact is missing', 'also without the artifact');
like(sql("SELECT miosa_test_storage('s3://shop-bucket/x/1.tar') #>> '{data,absent,detail}'"),
	qr{/shop-bucket/x/miosa-test-[0-9a-f]{32}\.$}, 'what cannot be there is beside it');

# Secrets
my ($id, $key) = split /:/, $s3->secret;

sql("SELECT miosa_put_secret('s3', '$id:wrong')");
storage_says('s3://shop-bucket/1.tar', 'MR503', qr/answered 403/,
	'a wrong secret');
sql("DELETE FROM miosa.secrets WHERE name = 's3'");
storage_says('s3://shop-bucket/1.tar', 'MR503',
	qr{Secret "s3" of storage "s3://" is not in miosa\.secrets, so storage was not asked\.},
	'no secret');
sql("SELECT miosa_put_secret('s3', '$id')");
my ($state, $messages) = promote('s3://shop-bucket/1.tar');
is($state, 'MR503', 'half a secret');
like($messages, qr/not of the form KEYID:SECRET/, 'it is said why');
unlike($messages, qr/$id/, 'but it is not shown');
with_options(
	{ token => 'session/token==' },
	sub {
		sql("SELECT miosa_put_secret('s3', '" . $s3->secret('session/token==') . "')");
		storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/,
			'credentials of a session');
	});
sql("SELECT miosa_put_secret('s3', '" . $s3->secret . "', origins => '{*}')");

# A bucket that everybody may read
sql("SELECT miosa_put_storage('s3://shop-bucket/public/', '" . $s3->url . "')");
with_options(
	{ instead => { status => 200 } },
	sub {
		storage_says('s3://shop-bucket/public/1.tar', 'done', qr/^$/,
			'a storage without a secret');
		is(($s3->requests)[-1]{headers}{authorization},
			undef, 'is asked without a signature');
	});
sql("SELECT miosa_remove_storage('s3://shop-bucket/public/')");

# What cannot be the URI of an artifact, and what has nothing beside it
for my $uri ('', 'shop-bucket/1.tar', 's3://')
{
	my (undef, undef, $error) =
	  $node->psql('postgres', "SELECT miosa_test_storage('$uri')");

	like($error, qr/invalid value for argument "storage_uri": ".*"\nDETAIL:  The URI has no scheme, or nothing after the scheme/,
		"miosa_test_storage('$uri') is refused");
}
for my $path ('', '/1.tar?signature=x/y')
{
	like(sql("SELECT miosa_test_storage('" . $s3->url . "$path') #>> '{data,absent,detail}'"),
		qr{ HEAD \Q@{[ $s3->url ]}\E/[^/?]+\.$}, "what is asked for beside \"$path\"");
}

# Who is asked: the longest prefix
sql("SELECT miosa_put_storage('s3://shop-bucket/closed', 'http://127.0.0.1:1', secret => 's3')");
storage_says('s3://shop-bucket/closed/1.tar', 'MR503',
	qr/could not be asked/, 'the longest prefix counts');
storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/, 'where it fits');
sql("SELECT miosa_put_storage('s3://shop', 'http://127.0.0.1:1')");
storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/,
	'a bucket is not that of a longer name');
sql("SELECT miosa_remove_storage(prefix) FROM miosa.storages WHERE prefix <> 's3://'");
storage_says('s3://b/x', 'MR503', qr/no valid name of a bucket/, 'no bucket');
storage_says('s3://shop-bucket/', 'MR503', qr/names a bucket and no key/, 'no key');
storage_says('S3://shop-bucket/2.tar', 'MR410', qr/answered 404/,
	'the scheme in capitals');

# The bucket in the name of the host, and TLS with authorities of our own
sql("SELECT miosa_put_storage('s3://shop-bucket/', 'http://localhost:"
	  . $s3->port . "', 'eu-central-1', 'virtual', 's3')");
storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/, 'virtual-host style');
like(($s3->requests)[-1]{headers}{host},
	qr/^shop-bucket\.localhost:/, 'the bucket is in the host');
is(($s3->requests)[-1]{url}, '/1.tar', 'and not in the path');
storage_says('s3://shop-bucket//1.tar', 'MR410', qr/answered 404/,
	'virtual-host style, a key that begins with a slash');
$tls->put('shop-bucket', '1.tar', 'hello');
sql("SELECT miosa_put_storage('s3://shop-bucket/', 'https://localhost:"
	  . $tls->port . "', 'eu-central-1', 'virtual', 's3')");
storage_says('s3://shop-bucket/1.tar', 'done', qr/^$/,
	'virtual-host style over TLS');
sql("SELECT miosa_put_storage('s3://shop-bucket/', '"
	  . $tls->url
	  . "', 'eu-central-1', secret => 's3')");
my $before = $tls->state->{connections};

sql(join '', map {
		"SELECT miosa_test_storage('s3://shop-bucket/$_.tar');\n"
	} 1 .. 5);
is($tls->state->{connections} - $before,
	1, 'ten probes of one session share one TLS handshake');
sql("SELECT miosa_remove_storage('s3://shop-bucket')");

# URLs that were signed beforehand
storage_says($s3->presign('HEAD', 'shop-bucket', '1.tar'),
	'done', qr/^$/, 'a URL for HEAD');
storage_says($s3->presign('HEAD', 'shop-bucket', '2.tar'),
	'MR410', qr{answered 404 to HEAD \S+/2\.tar\?\.\.\.\.}, 'of what is missing');
storage_says($s3->presign('GET', 'shop-bucket', '1.tar'),
	'MR503', qr/answered 403/, 'a URL for GET');
storage_says($s3->presign('HEAD', 'shop-bucket', '1.tar', 0),
	'MR503', qr/answered 403/, 'one that has expired');

# A database of its own, set up like the first one
sub other_database
{
	my ($encoding) = @_;

	sql("CREATE DATABASE $encoding ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$database = $encoding;
	sql("CREATE EXTENSION miosa_rollback;
		SELECT miosa_put_secret('s3', '" . $s3->secret . "');
		SELECT miosa_put_storage('s3://', '" . $s3->url . "', 'eu-central-1', secret => 's3');
		SELECT miosa_put_tenant('ten_1', 'acme');
		SELECT miosa_put_deployment('many', 'ten_1', 'many')");
	return;
}

# Storage knows keys in UTF-8, also when the database does not
other_database('latin1');
is(sql(q{SELECT miosa_test_storage('s3://shop-bucket/' || chr(233)) #>> '{data,artifact,detail}'})
	  =~ m{(/shop-bucket/\S*)\.$} && $1,
	'/shop-bucket/%C3%A9', 'a key in another encoding');
other_database('euc_jp');
like(sql(q{SELECT miosa_test_storage('s3://shop-bucket/' || convert_from('\xfefe', 'EUC_JP'))
		#>> '{data,artifact,detail}'}),
	qr/cannot be written in UTF-8/, 'a key that no UTF-8 can be made of');

# Ten thousand keys of anything, half of them there
other_database('utf8');
srand(20240607);
my @keys = MiosaS3::random_keys(10000);
my @present = @keys[ grep { $_ % 2 == 0 } 0 .. $#keys ];

$s3->set(objects => { many => { map { $_ => 1 } @present } });
append_to_file("$dir/keys.json", JSON::PP->new->ascii->encode(\@keys));
sql(qq{
	WITH key AS (SELECT 's3://many/' || key AS uri, n
			FROM jsonb_array_elements_text(pg_read_file('$dir/keys.json')::jsonb) WITH ORDINALITY k (key, n)),
		version AS (INSERT INTO miosa.versions (deployment_id, id, tenant_id, version_number)
			SELECT 'many', 'ver_' || n, 'ten_1', n FROM key)
	INSERT INTO miosa.releases (deployment_id, id, deployment_version_id, tenant_id, storage_uri)
		SELECT 'many', 'rel_' || n, 'ver_' || n, 'ten_1', miosa.check_uri(uri, 'storage_uri') FROM key});
my $wrong = sql(q{
	SELECT count(*) FROM generate_series(1, 10000) n
	WHERE miosa.verify_artifact('many', 'rel_' || n) <> CASE n % 2 WHEN 1 THEN 'present' ELSE 'gone' END});

is($wrong, '0', 'every key is found, and every other one is not');
is(scalar(grep { $_->{status} !~ /^(200|404)$/ } $s3->requests('/many/')),
	0, 'every signature was right');
is($s3->state->{connections} < 200 ? 'few' : $s3->state->{connections},
	'few', 'over one connection');

# Bad rows
$database = 'postgres';
for my $case (
	[ "'ftp://x', 'http://a'", qr/invalid value for column "prefix"/ ],
	[ "'s3://B_x/', 'http://a'", qr/invalid value for column "prefix"/ ],
	[ "NULL, 'http://a'", qr/column "prefix" must not be null/ ],
	[ "'s3://', 'file:///a'", qr/must begin with http/ ],
	[ "'s3://', 'http://u:p\@a'", qr/has credentials/ ],
	[ "'s3://', NULL", qr{The URL is empty} ],
	[ "'s3://', 'http://a', 'Up'", qr/invalid value for column "region": "Up"/ ],
	[ "'s3://', 'http://a', 'x', 'dns'", qr/invalid value for column "addressing": "dns"/ ],
	[ "'s3://', 'http://10.0.0.1:9000', 'x', 'virtual'", qr/host that is an address/ ],
	[ "'s3://', 'http://a', secret => 'none'", qr/secret "none" cannot be used/ ])
{
	my ($arguments, $pattern) = @$case;
	my (undef, undef, $error) =
	  $node->psql('postgres', "SELECT miosa_put_storage($arguments)");

	like($error, $pattern, "miosa_put_storage($arguments)");
}
my (undef, undef, $error) =
  $node->psql('postgres', "SELECT miosa_remove_storage('s3://none/')");
like($error, qr/storage "s3:\/\/none\/" does not exist/, 'no storage to remove');
sql("SELECT miosa_remove_storage('s3://')");
storage_says('s3://shop-bucket/2.tar', 'done', qr/^$/,
	'without a storage our own record decides');
like(verdict('s3://shop-bucket/2.tar'), qr/is not asked/, 'the test says so');

$_->stop for $s3, $tls, $sink;
done_testing();
