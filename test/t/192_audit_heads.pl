# Heads of the audit trail leave the server by themselves: as signed webhooks, in
# a file and as notifications, in the order of their numbers, also after a crash
# and while a receiver is away. With them, a program that has none of this code
# finds a trail that was rewritten as a whole.

use strict;
use warnings FATAL => 'all';

use Digest::SHA qw(sha256 sha256_hex);
use JSON::PP qw(decode_json);
use MIME::Base64 qw(decode_base64 encode_base64);
use MiosaHttp qw(poll_until);
use MiosaNode;
use MiosaTest qw(make_node wait_sql);
use PostgreSQL::Test::Utils;
use Test::More;

my $tempdir = PostgreSQL::Test::Utils::tempdir_short();
my $file = "$tempdir/heads";
my $node = make_node('heads', <<"EOS");
miosa_rollback.audit_head_file = '$file'
miosa_rollback.audit_head_interval = 100ms
EOS
my $secret = 'whsec_' . encode_base64('s' x 32, '');
my $server = MiosaNode->new(dir => "$tempdir/webhook", script => 'webhook', services => ['receiver'])->start;
my $url = $server->url('receiver') . '/heads';

sub sql { return $node->safe_psql('postgres', @_) }

# The statements in a text: empty line, lines, sha256
sub statements
{
	my ($text) = @_;

	return map { { text => $_->[0], hash => $_->[1] } } map { [ /\A(.*\n)sha256 ([0-9a-f]{64})\n\z/s ] } grep { length } split /^\n/m, $text;
}

# What is wrong with a row of statements, by the description alone.  One that a
# crash left unrecorded follows once more as it was.
sub broken
{
	my (%hash, $previous);

	for my $statement (@_)
	{
		my ($number) = $statement->{text} =~ /^number (\d+)$/m;

		return "the hash of $number" if sha256_hex($statement->{text}) ne $statement->{hash};
		if (defined $hash{$number})
		{
			return "$number is two statements" if $statement->{hash} ne $hash{$number};
			next;
		}
		return "the link of $number" if defined $previous && $statement->{text} !~ /^previous $previous$/m;
		$previous = $hash{$number} = $statement->{hash};
	}
	return 'nothing';
}

# A field of an event's encoding.
sub field { return defined $_[0] ? pack('N/a*', $_[0]) : "\xff\xff\xff\xff" }

# The hashes of a deployment's events by number, computed from the rows alone.
sub hashes
{
	my ($deployment) = @_;
	my (%hash, $previous);

	for my $line (split /\n/, sql(<<"EOS"))
SELECT json_build_array(deployment_id, seq::text, tenant_id, action, outcome, target_rule, previous_version_id, target_version_id, actor_type,
	actor_id, session_user_name, client_addr::text, application_name, idempotency_key, reason, attribution::text, marks::text,
	((extract(epoch FROM created_at) * 1000000)::bigint)::text, ((extract(epoch FROM keep_until) * 1000000)::bigint)::text)
FROM miosa.audit_events WHERE deployment_id = '$deployment' ORDER BY seq
EOS
	{
		my $columns = decode_json($line);

		$previous = sha256(join '', map { field($_) } 'miosa audit event 1', $previous, @$columns);
		$hash{ $columns->[1] } = unpack 'H*', $previous;
	}
	return \%hash;
}

$server->set('receiver', secrets => [$secret]);
sql(<<"EOS");
INSERT INTO miosa.secrets (name, value) VALUES ('hook', '$secret');
SELECT miosa_put_endpoint('auditor', 'audit-webhook', '$url', secret => 'hook');
SELECT miosa_put_tenant('ten_1', 'acme');
SELECT miosa_put_deployment('dep_' || i, 'ten_1', 'shop-' || i) FROM generate_series(1, 3) i;
SELECT miosa_put_version('dep_' || i, 'ver_' || v, v, storage_uri => 's3://b/' || v) FROM generate_series(1, 3) i, generate_series(1, 3) v;
EOS
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN miosa_audit');
# Whether a statement lists an event.
sub listed
{
	my ($deployment, $seq) = @_;

	return wait_sql($node, "SELECT EXISTS (SELECT FROM miosa.audit_statements WHERE content LIKE E'%\\ndeployment $deployment $seq %')", 't');
}

# What a statement that was kept says of the trail.
sub verify
{
	my ($statement, $path) = @_;

	return sql("SELECT miosa_audit_verify_statement(\$q\$$statement->{text}\$q\$) #>> '{data,$path}'");
}

# Whether the file and the endpoint have all statements.
my $all_sent = 'SELECT string_agg((r.number = (SELECT max(number) FROM miosa.audit_statements))::text, \' \') FROM miosa.audit_receivers r';

sql(q(SELECT miosa_promote('dep_1', 'ver_1', reason => 'first')));
is(listed('dep_1', 1), 't', 'a statement is made by itself');
is(wait_sql($node, $all_sent, 'true true'), 'true true', 'the file and the endpoint have it');

my ($first) = grep { $_->{text} =~ /^deployment dep_1 1 /m } statements(slurp_file($file));
ok($first, 'it is in the file');
is($first->{text} =~ /^deployment dep_1 1 ([0-9a-f]{64})$/m && $1, hashes('dep_1')->{1}, 'and has the hash that the event should have');
my @messages = grep { ref $_->{headers} } $server->requests('receiver');
my $body = decode_json($messages[-1]{body});
is($body->{type}, 'audit.statement', 'the endpoint was sent it');
is(sha256_hex(decode_base64($body->{data}{statement})), $body->{data}{sha256}, 'with its hash');
like($messages[-1]{headers}{'webhook-signature'}, qr{^v1,[A-Za-z0-9+/]{43}=$}, 'and a signature');
my $heard = '';
ok(poll_until(sub { ($heard .= $listener->query_safe('SELECT 1')) =~ /"miosa_audit" with payload "\{"number" ?: ?\d+/ }, 180, 0.05), 'who listens is notified')
  or diag $heard;

# A receiver that is away, and a crash, lose nothing and change no order
$server->set('receiver', answers => [ { status => 503 } ]);
sql(q(SELECT miosa_promote('dep_2', 'ver_1'), miosa_promote('dep_1', 'ver_2')));
is(listed('dep_2', 1), 't', 'statements go on while a receiver is away');
$node->stop('immediate');
$node->start;
sql(q(SELECT miosa_promote('dep_3', 'ver_1')));
is(listed('dep_3', 1), 't', 'and after a crash');
$server->set('receiver', answers => []);
is(wait_sql($node, $all_sent, 'true true'), 'true true', 'in the end all are sent');
is(broken(statements(slurp_file($file))), 'nothing', 'the file is one chain');
sql(q(DELETE FROM miosa.audit_receivers WHERE receiver = ''));
$node->stop('immediate');
$node->start;
is(wait_sql($node, $all_sent, 'true true'), 'true true', 'a crash before the record of what was written is made');
my @again = statements(slurp_file($file));
is(broken(@again), 'nothing', 'writes it once more');
is($again[-1]{hash}, $again[-2]{hash}, 'as it was');
my @numbers = map { decode_json($_->{body})->{data}{number} } grep { $_->{body} =~ /audit.statement/ } $server->requests('receiver');
my %seen;
my @new = grep { !$seen{$_}++ } @numbers;
is_deeply(\@new, [ sort { $a <=> $b } @new ], 'the endpoint has received all in their order');
is($new[-1], sql('SELECT max(number) FROM miosa.audit_statements'), 'up to the newest');

# Another interval counts from its reload on, and not after the one before.
sub set_interval
{
	my ($interval) = @_;

	$node->append_conf('postgresql.conf', "miosa_rollback.audit_head_interval = $interval");
	$node->reload;
	return;
}
set_interval('1h');
ok($node->poll_query_until('postgres', q(SELECT current_setting('miosa_rollback.audit_head_interval') = '1h')), 'an interval of an hour');
my ($next) = sql(q(SELECT miosa_promote('dep_2', 'ver_3') #>> '{operation,id}')) =~ /#(\d+)/;
set_interval('100ms');
is(listed('dep_2', $next), 't', 'a shorter one does not wait for its end');

# The trail verifies, by our functions and by the rows alone
is(sql(q(SELECT miosa_audit_verify_all() #>> '{data,verified}')), 'true', 'nothing was changed');
my ($kept) = reverse grep { $_->{text} =~ /^deployment dep_1 2 /m } statements(slurp_file($file));
is(verify($kept, 'verified'), 'true', 'as a statement that was kept says');

# Attack 4: a superuser rewrites all of it, statements too, with hashes that fit
sql(<<'EOS');
SET session_replication_role = replica;
ALTER TABLE miosa.audit_events DISABLE TRIGGER ALL;
ALTER TABLE miosa.audit_statements DISABLE TRIGGER ALL;
ALTER TABLE miosa.deployments DISABLE TRIGGER ALL;
UPDATE miosa.audit_events a SET actor_id = 'somebody else' WHERE deployment_id = 'dep_1' AND seq = 1;
UPDATE miosa.audit_events a SET hash = miosa.audit_hash(a, NULL) WHERE deployment_id = 'dep_1' AND seq = 1;
UPDATE miosa.audit_events a SET hash = miosa.audit_hash(a, (SELECT b.hash FROM miosa.audit_events b WHERE b.deployment_id = 'dep_1' AND b.seq = 1))
	WHERE deployment_id = 'dep_1' AND seq = 2;
UPDATE miosa.deployments d SET audit_head = (SELECT b.hash FROM miosa.audit_events b WHERE b.deployment_id = 'dep_1' AND b.seq = 2) WHERE id = 'dep_1';
DELETE FROM miosa.audit_statements;
EOS
is(sql(q(SELECT miosa_audit_verify_all() #>> '{data,verified}')), 'true', 'the server alone does not tell');
isnt(verify($kept, 'verified'), 'true', 'a statement that was kept does');
like(verify($kept, 'problems'), qr/"seq": 2, "problem": "the event has another hash than was given"/, 'and says which event');
isnt($kept->{text} =~ /^deployment dep_1 2 ([0-9a-f]{64})$/m && $1, hashes('dep_1')->{2}, 'so does the file without our code');

$listener->quit;
done_testing();
