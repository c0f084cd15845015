# Secrets in files: which files are read, that another value is used as soon as
# it is there, however it came there, and that nothing is sent without one.

use strict;
use warnings FATAL => 'all';

use MIME::Base64 qw(encode_base64);
use MiosaHttp qw(poll_until);
use MiosaNode;
use MiosaSink;
use MiosaTest qw(make_node wait_ready);
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $files = "$dir/secrets";
my $sink = MiosaSink->new(dir => "$dir/sink")->start;
my $hook = MiosaNode->new(
	dir => "$dir/webhook",
	script => 'webhook',
	services => [ 'receiver', 'elsewhere' ])->start;
my $node = make_node('files');
my $n = 0;

sub sql { return $node->safe_psql('postgres', @_); }
sub wait_sql { return MiosaTest::wait_sql($node, @_); }

# Write a file in one step, as a program that replaces a secret does.
sub put
{
	my ($file, $text) = @_;

	overwrite("$file.new", $text);
	rename("$files/$file.new", "$files/$file") or die "$file: $!\n";
	return;
}

# Write a file over what it has.
sub overwrite
{
	my ($file, $text) = @_;

	open(my $out, '>', "$files/$file") or die "$file: $!\n";
	print $out $text;
	close $out or die "$file: $!\n";
	return;
}

# What putting a secret says.
sub refusal
{
	my ($value) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', "SELECT miosa_put_secret('bad', '$value')");

	return $status == 0 ? 'taken' : $err;
}

# Promote the other version.
sub flip { return sql("SELECT miosa_promote('dep', 'v" . (++$n % 2 + 1) . "')"); }

# The secret that an endpoint received, after the next promotion.
sub token
{
	flip();
	is(sql("SELECT miosa_wait_converged('dep', '180 s')"), 'converged', 'it is delivered');
	return ($sink->requests('^/router/'))[-1]{headers}{authorization};
}

# Wait until the dispatcher uses a value; it looks at the files by itself.
sub told_with
{
	my ($value, $what) = @_;
	my $seen = '';

	poll_until(
		sub {
			sql("SELECT miosa_resend('dep')");
			sql("SELECT miosa_wait_converged('dep', '180 s')");
			$seen = ($sink->requests('^/router/'))[-1]{headers}{authorization};
			return $seen eq "Bearer $value";
		},
		180, 0.2);
	return is($seen, "Bearer $value", $what);
}

# What monitoring says of an endpoint, once it is that.
sub state_is
{
	my ($name, $expected, $what) = @_;

	return is(wait_sql("SELECT concat_ws(': ', state, last_error) FROM miosa.stat_endpoint WHERE name = '$name'", $expected),
		$expected, $what);
}

mkdir $files or die "$files: $!\n";
mkdir "$dir/elsewhere" or die "$dir/elsewhere: $!\n";
put('edge', "tok-1\n");

# Without the setting no file is read, and it is no setting for callers
like(refusal('file:edge'), qr/DETAIL:  The secret has no value: it refers to a file, but miosa_rollback[.]secret_directory is empty[.]/,
	'no file is read by default');
my ($status, undef, $err) = $node->psql('postgres', "SET miosa_rollback.secret_directory = '$files'");
isnt($status, 0, 'a session cannot choose the directory');
($status, undef, $err) = $node->psql('postgres', "ALTER SYSTEM SET miosa_rollback.secret_directory = 'base'");
like($err, qr/The path must be absolute/, 'nor is it in the data directory');
$node->append_conf('postgresql.conf', "miosa_rollback.secret_directory = '$files'\n");
$node->reload;
is(wait_sql('SHOW miosa_rollback.secret_directory', $files), $files, 'the configuration chooses it');

# Which files are not read
open(my $outside, '>', "$dir/elsewhere/token") or die "token: $!\n";
print $outside 'outside';
close $outside;
symlink("$dir/elsewhere/token", "$files/link") or die "link: $!\n";
symlink("$dir/elsewhere", "$files/way") or die "way: $!\n";
symlink('edge', "$files/alias") or die "alias: $!\n";
mkfifo("$files/pipe", oct(600)) or die "pipe: $!\n";
mkdir "$files/folder";
overwrite('empty', '');
overwrite('newline', "\n");
overwrite('lines', "one\ntwo\n");
overwrite('binary', "a\0b");
overwrite('space', "x \n");
overwrite('long', 'x' x 8193);
overwrite('longest', 'x' x 8192);
overwrite('dos', "dos\r\n");
like(refusal("file:$_->[0]"), qr/secret "bad" cannot be used\nDETAIL:  The secret has no value: $_->[1]\.\n/,
	"a file that is not read: $_->[0]")
  for (
	[ 'none', 'file "' . quotemeta("$files/none") . '" could not be read: No such file or directory' ],
	[ '', '"' . quotemeta("$files/") . '" is not a regular file' ],
	[ '../elsewhere/token', 'file ".*" is not below miosa_rollback[.]secret_directory' ],
	[ "$files/../elsewhere/token", 'file ".*" is not below miosa_rollback[.]secret_directory' ],
	[ '/etc/passwd', 'file "/etc/passwd" is not below miosa_rollback[.]secret_directory' ],
	[ "${files}x", 'file ".*" is not below miosa_rollback[.]secret_directory' ],
	[ 'link', 'file ".*" is not below miosa_rollback[.]secret_directory' ],
	[ 'way/token', 'file ".*" is not below miosa_rollback[.]secret_directory' ],
	[ 'way/none', 'file ".*" is not below miosa_rollback[.]secret_directory' ],
	[ 'pipe', '".*" is not a regular file' ],
	[ 'folder', '".*" is not a regular file' ],
	[ 'empty', 'file ".*" is empty' ],
	[ 'newline', 'file ".*" is not one line of .*' ],
	[ 'lines', 'file ".*" is not one line of .*' ],
	[ 'binary', 'file ".*" is not one line of .*' ],
	[ 'space', 'file ".*" is not one line of .*' ],
	[ 'long', 'file ".*" has more than 8192 bytes' ]);
is(sql('SELECT count(*) FROM miosa.secrets'), 0, 'none was put');
is(refusal("file:$_"), 'taken', "a file that is read: $_") for ('longest', 'dos', 'alias', "$files/edge");
is(sql("SELECT miosa.read_secret('file:dos')"), 'dos', 'without the end of its line');
sql('DELETE FROM miosa.secrets');

# The value is sent, and is in no table
sql(<<"EOS");
SELECT miosa_put_secret('edge', 'file:edge');
INSERT INTO miosa.adapters (name, request) VALUES ('test-router', '{"method": "PUT", "path": "/{deployment_id}/{version_id}",
	"headers": {"Authorization": "Bearer {secret}"}}');
SELECT miosa_put_tenant('ten', 'acme');
SELECT miosa_put_deployment('dep', 'ten', 'dep');
SELECT miosa_put_version('dep', 'v' || i, i) FROM generate_series(1, 2) i;
SELECT miosa_put_endpoint('router', 'test-router', '@{[ $sink->url ]}/router', secret => 'edge');
EOS
is(token(), 'Bearer tok-1', 'the value is what the file has, without its newline');
is(sql('SELECT miosa.reveal(value) FROM miosa.secrets'), 'file:edge', 'the table has the name alone');
is(sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'secrets'"),
	'ok 1 in files, 0 in miosa.secrets', 'the doctor counts it');

# A request to an endpoint that does not use the secret goes on meanwhile
sql(<<"EOS");
INSERT INTO miosa.adapters (name, timeout, request) VALUES ('open', '5 min',
	'{"method": "PUT", "path": "/{deployment_id}/{version_id}"}');
SELECT miosa_put_deployment('other', 'ten', 'other');
SELECT miosa_put_version('other', 'v1', 1);
SELECT miosa_put_endpoint('open', 'open', '@{[ $sink->url ]}/open', selector => '{"deployment": ["other"]}');
EOS
# A new endpoint is sent everything first, which could be this change as well
is(wait_ready($node, 'open'), 1, 'it is ready');
$sink->answer('^/open/', hold => 'open');
sql("SELECT miosa_promote('other', 'v1')");
ok($sink->wait_for(1, '^/open/'), 'it is under way');
put('edge', "tok-1b\n");
told_with('tok-1b', 'while another request is under way');
$sink->release('open');
is(sql("SELECT miosa_wait_converged('other', '180 s')"), 'converged', 'that one ends well');
is(scalar $sink->requests('^/open/.*v1'), 1, 'and was not sent again');
sql("SELECT miosa_remove_endpoint('open')");

# Rotation: by rename, in place, with the same size and time, by a link
put('edge', "tok-2\n");
told_with('tok-2', 'a file that is replaced is read again');
overwrite('edge', 'tok-3');
told_with('tok-3', 'one that is written over, too');
my @before = stat("$files/edge");
overwrite('edge', 'tok-4');
utime($before[8], $before[9], "$files/edge");
told_with('tok-4', 'one of the same size and time, too');
mkdir "$files/..2026";
mkdir "$files/..2027";
overwrite('..2026/token', 'tok-7');
overwrite('..2027/token', 'tok-8');
symlink('..2026', "$files/..data");
symlink('..data/token', "$files/token");
sql("SELECT miosa_put_secret('edge', 'file:token')");
told_with('tok-7', 'as Kubernetes mounts them');
symlink('..2027', "$files/..next");
rename("$files/..next", "$files/..data") or die "..data: $!\n";
told_with('tok-8', 'and replaces them');

# Without the file nothing is sent, and everybody says why
my $problem = qq{secret "edge": file "$files/edge" could not be read: No such file or directory};
put('edge', 'tok-5');
sql("SELECT miosa_put_secret('edge', 'file:edge')");
told_with('tok-5', 'back in a file');
my $log = -s $node->logfile;
unlink "$files/edge" or die "edge: $!\n";
state_is('router', "misconfigured: $problem", 'monitoring says that the file is gone');
my $sent = $sink->requests('^/router/');
flip();
is(sql("SELECT miosa_wait_converged('dep', '300 ms')"), 'waiting_edges', 'a change waits');
is(sql("SELECT miosa_test_endpoint('router') -> 'data' ->> 'verdict'"), $problem, 'the test says why');
is(sql("SELECT status || ' ' || seen FROM miosa_doctor() WHERE item = 'secrets'"),
	qq{fail secrets cannot be used: edge (file "$files/edge" could not be read: No such file or directory)},
	'so does the doctor');
ok(poll_until(sub { slurp_file($node->logfile, $log) =~ /LOG:  secret "edge" cannot be used: file ".*edge" could not be read/ }, 180), 'and the log');
is(scalar $sink->requests('^/router/'), $sent, 'nothing was sent');
overwrite('edge', 'two lines
are none');
state_is('router', qq{misconfigured: secret "edge": file "$files/edge" is not one line of printable ASCII characters, with no space at its ends},
	'another problem is another reason');
put('edge', 'tok-6');
is(sql("SELECT miosa_wait_converged('dep', '180 s')"), 'converged', 'the change is delivered when the file is back');
is(($sink->requests('^/router/'))[-1]{headers}{authorization}, 'Bearer tok-6', 'with its value');
is(scalar(grep { $_->{headers}{authorization} !~ /^Bearer ./ } $sink->requests('^/router/')), 0, 'no request went without one');
is(sql("SELECT count(*) FROM miosa.delivery_failures"), 0, 'and nothing was given up');

# The directory itself may go, by the configuration too
rename($files, "$dir/away") or die "away: $!\n";
state_is('router', 'misconfigured: secret "edge": the directory of miosa_rollback.secret_directory could not be read: No such file or directory',
	'a directory that is not mounted');
rename("$dir/away", $files) or die "back: $!\n";
told_with('tok-6', 'and is mounted again');
$node->append_conf('postgresql.conf', "miosa_rollback.secret_directory = ''\n");
$node->reload;
state_is('router', 'misconfigured: secret "edge": it refers to a file, but miosa_rollback.secret_directory is empty',
	'a setting that is taken back');
$node->append_conf('postgresql.conf', "miosa_rollback.secret_directory = '$files'\n");
$node->reload;
told_with('tok-6', 'and is set again');

# Promise: a secret goes where it was put for. An endpoint that is led
# elsewhere, by a plain UPDATE too, is sent nothing.
my $port = MiosaServer::free_port();
my $url = $sink->url;
sql("UPDATE miosa.endpoints SET url = 'http://localhost:$port/router' WHERE name = 'router'");
state_is('router', qq{misconfigured: secret "edge": it is not for http://localhost:$port; it was put for: $url},
	'another server does not get it');
is(sql("SELECT miosa_test_endpoint('router') -> 'data' ->> 'verdict'"),
	qq{secret "edge": it is not for http://localhost:$port; it was put for: $url}, 'by a test neither');
sql("UPDATE miosa.endpoints SET url = '$url/router' WHERE name = 'router'");
told_with('tok-6', 'its own server does');
# Who writes the files decides, whatever a role says that may name them
put('edge.origins', "https://edge.example.com\nhttps://other.example.com:8443\n");
sql("SELECT miosa_put_secret('edge', 'file:edge', origins => '{*}')");
state_is('router', qq{misconfigured: secret "edge": it is not for $url; it was put for: https://edge.example.com https://other.example.com:8443 },
	'a file beside it says where it may go');
put('edge.origins', "$url\n");
told_with('tok-6', 'and is read again like it');
unlink "$files/edge.origins" or die "edge.origins: $!\n";
sql(<<"EOS");
SELECT miosa_put_secret('other', 'hush');
INSERT INTO miosa.adapters (name, request) VALUES ('test-thief', '{"method": "PUT", "path": "/{deployment_id}", "headers": {"x-token": "{secret:other}"}}');
SELECT miosa_put_endpoint('thief', 'test-thief', '$url/thief');
EOS
state_is('thief', 'misconfigured: secret "other": its endpoints do not include "thief"', 'no adapter names a secret that does not name its endpoint');
sql("SELECT miosa_remove_endpoint('thief')");
is(scalar $sink->requests('^/thief/'), 0, 'and nothing was sent');

# A secret by its name, and one for storage
put('named', 'tok-9');
sql(<<"EOS");
SELECT miosa_put_secret('named', 'file:named', endpoints => '{named}');
INSERT INTO miosa.adapters (name, request) VALUES ('test-named', '{"method": "PUT", "path": "/{deployment_id}", "headers": {"x-token": "{secret:named}"}}');
SELECT miosa_put_endpoint('named', 'test-named', '@{[ $sink->url ]}/named');
EOS
is(sql("SELECT miosa_wait_converged('dep', '180 s')"), 'converged', 'a secret by its name');
is(($sink->requests('^/named/'))[-1]{headers}{'x-token'}, 'tok-9', 'is read from its file');
unlink "$files/named";
state_is('named', qq{misconfigured: secret "named": file "$files/named" could not be read: No such file or directory}, 'or waits for it');
sql("SELECT miosa_remove_endpoint('named')");
my $put = "SELECT miosa_put_storage('s3://bucket/', '@{[ $sink->url ]}', secret => 'named')";
($status, undef, $err) = $node->psql('postgres', $put);
like($err, qr/DETAIL:  Secret "named": file ".*" could not be read/, 'storage is refused without it');
put('named', 'KEYID:KEYSECRET');
sql($put);
sql("SELECT miosa_test_storage('s3://bucket/x')");
like(($sink->requests('^/bucket/x'))[-1]{headers}{authorization}, qr/Credential=KEYID\//, 'and is asked with it');
unlink "$files/named";
my $asked = $sink->requests('^/bucket/');
like(sql("SELECT miosa_test_storage('s3://bucket/y')"), qr/Secret .*named.* of storage .*: file .* could not be read/, 'a storage without it');
is(scalar $sink->requests('^/bucket/'), $asked, 'is not asked unsigned');
sql("SELECT miosa_remove_storage('s3://bucket/')");

# Webhooks are signed with both while one is rotated out
my ($old, $new) = map { 'whsec_' . encode_base64($_ x 32, '') } 'o', 'n';
put('hook-1', "$old\n");
put('hook-2', "$new\n");
$hook->set('receiver', secrets => [ $old, $new ]);
sql("SELECT miosa_put_secret('hook', 'file:hook-1');
	SELECT miosa_put_endpoint('hook', 'webhook', '@{[ $hook->url('receiver') ]}/hooks/miosa', secret => 'hook')");
is(sql("SELECT miosa_wait_converged('dep', '180 s')"), 'converged', 'a webhook with a file');
is_deeply(signatures(), [ 1, 0 ], 'is signed with its value');
sql("SELECT miosa_put_secret('hook', 'file:hook-2', keep_previous => true)");
flip();
is(sql("SELECT miosa_wait_converged('dep', '180 s')"), 'converged', 'with two files');
is_deeply(signatures(), [ 1, 1 ], 'it is signed with both');
unlink "$files/hook-1";
state_is('hook', qq{misconfigured: secret "hook": file "$files/hook-1" could not be read: No such file or directory},
	'which must both be there');
sql("SELECT miosa_put_secret('hook', 'file:hook-2')");
flip();
is(sql("SELECT miosa_wait_converged('dep', '180 s')"), 'converged', 'rotated');
is_deeply(signatures(), [ 0, 1 ], 'it is signed with the new one');

# Which of the receiver's secrets have signed the newest message.
sub signatures
{
	my $message = $hook->state('receiver')->{messages}[-1];

	return [ map { $_ ? 1 : 0 } @{ $message->{good} } ];
}

unlike(slurp_file($node->logfile), qr/tok-|KEYSECRET|whsec_/,
	'no value is in the log');
done_testing();
