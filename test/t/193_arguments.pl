#
# Arguments in other encodings (attack 9). Whatever bytes a client sends, and
# whatever encoding the database has, a call takes them as they are or refuses
# them and says why; nothing crashes and no error is internal.
#
use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('arguments');

# In the database of an encoding: characters of it beyond ASCII, and what no
# text has there, as bytes in hexadecimal.
my %encoding = (
	SQL_ASCII => [ 'ff80fe', '' ],
	UTF8 => [ 'c3a9f09f9880cc81', 'ff' ],
	LATIN1 => [ 'e9ad80', '' ],
	EUC_JP => [ 'a4a2a4a48fb0a1', 'a4' ]);

sub prepare
{
	my ($database) = @_;

	$node->safe_psql($database, <<'EOS');
CREATE EXTENSION IF NOT EXISTS miosa_rollback;
CREATE SCHEMA test;
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_1', 'ten_1', 'shop');
SELECT miosa_put_version('dep_1', 'ver_' || i, i, storage_uri => 'test://' || i) FROM generate_series(1, 3) i;
SELECT miosa_promote('dep_1', 'ver_' || i) FROM generate_series(1, 2) i;
EOS
	$node->safe_psql($database,
		PostgreSQL::Test::Utils::slurp_file('test/arguments.sql'));
	return;
}

for my $name (sort keys %encoding)
{
	my ($good, $bad) = @{ $encoding{$name} };
	my $database = lc $name;

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0
		ENCODING '$name' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'");
	prepare($database);

	# Texts of the database's own encoding, in every argument, also so long that
	# a message has to be cut between two characters
	is( $node->safe_psql($database, <<"EOS"), '', "$name: every argument");
SET client_min_messages = error;
SELECT u.* FROM convert_from('\\x$good', '$name') v
	CROSS JOIN LATERAL test.unclear(ARRAY['high', 'many'], ARRAY[v, repeat(v, 99)]) u
EOS
	is( $node->safe_psql($database, <<"EOS"), 't', "$name: a reason is taken as it is");
SELECT FROM (SELECT miosa_promote('dep_1', 'ver_3', reason => v) FROM convert_from('\\x$good', '$name') v) o WHERE o IS NULL;
SELECT a.reason = convert_from('\\x$good', '$name') FROM miosa.audit_events a ORDER BY a.seq DESC LIMIT 1
EOS

	# Bytes from clients of every encoding, for each function with a text
	my $calls = $node->safe_psql($database, <<'EOS');
SELECT format('%s %s(%s);', CASE WHEN a.procedure THEN 'CALL' ELSE 'SELECT' END, p.proname,
	(SELECT string_agg(CASE WHEN b.n = a.n THEN '@' ELSE test.plausible(b.name, b.type) END, ', ' ORDER BY b.n)
		FROM unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) WITH ORDINALITY b (name, type, n)))
FROM test.argument a JOIN pg_proc p ON p.oid = a.function
WHERE a.type = 'text'::regtype AND p.pronamespace = 'public'::regnamespace AND p.prosrc <> 'mrb_overload'
EOS
	for my $client (sort keys %encoding)
	{
		# The server has no conversion between these two.
		next if $name ne $client && "$name $client" !~ /UTF8|ASCII/;
		for my $hex ($encoding{$client}[0], join '', @{ $encoding{$client} })
		{
			my $bytes = pack('H*', $hex);
			my $stderr = '';

			$node->psql($database,
				"\\set VERBOSITY sqlstate\nSET client_encoding = '$client';\n"
				  . $calls =~ s/@/'a$bytes'::text/gr,
				stderr => \$stderr, on_error_stop => 0);
			my %state = map { $_ => 1 } $stderr =~ /ERROR:\s+(\w{5})/g;

			is(join(' ', grep { !/^(?:MR\d\d\w|22...)$/ } sort keys %state),
				'', "$name, $client client, $hex: " . join(' ', sort keys %state));
			unlike($stderr, qr/connection|terminated/, 'and the session goes on');
		}
	}
}
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server runs');
unlike(
	PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/XX000|PANIC|signal/,
	'nothing crashed');

done_testing();
