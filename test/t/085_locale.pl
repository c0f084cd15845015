#
# The language of a database changes nothing.  In Turkish the small form of I
# is a dotless one, and words are sorted in another order; what is ASCII by
# rule (hosts, ids, names, schemes, digests) must not notice.  The suites of
# pg_regress that compare, sort and fold such texts give the same output there.
#
use strict;
use warnings FATAL => 'all';

use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = make_node('locale', PostgreSQL::Test::Utils::slurp_file('test/regress.conf'));

if ($node->psql('postgres', q{
	CREATE DATABASE turkish TEMPLATE template0 ENCODING 'UTF8'
		LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LC_COLLATE 'C' LC_CTYPE 'C'}) != 0)
{
	plan skip_all => 'this PostgreSQL is built without ICU';
}
is($node->safe_psql('turkish', q{SELECT lower('I') = U&'\0131' AND upper('i') = U&'\0130'}),
	't', 'the database is Turkish');

# What feed.sql and read_api.sql do not write in capitals
is( $node->safe_psql('turkish', q{
		CREATE EXTENSION miosa_rollback;
		SELECT miosa_put_tenant('ten_1', 'indigo') IS NULL;
		SELECT miosa_put_deployment('DEP_1', 'ten_1', 'WIKI I') -> 'data' ->> 'slug';
		SELECT miosa_put_domain('WIKI.Example.COM', 'DEP_1') -> 'data' ->> 'fqdn';
		SELECT miosa_put_domain('*.IMAGES.example.com', 'DEP_1') -> 'data' ->> 'fqdn';
		SELECT miosa_put_version('DEP_1', 'ver_1', 1, storage_uri => 'FILE:///Index.html',
			sha256 => repeat('ABCDEF01', 8)) -> 'data' ->> 'artifact_sha256';
		SELECT string_agg(host, ' ' ORDER BY host) FROM miosa.hosts;
		SELECT count(*) FROM miosa_route('WIKI.EXAMPLE.COM');
		SELECT count(*) FROM miosa_route('Wiki-I.INDIGO.MIOSA.APP');
	}),
	"f\nwiki-i\nwiki.example.com\n*.images.example.com\n"
	  . ('abcdef01' x 8)
	  . "\n*.images.example.com wiki-i.indigo.miosa.app wiki.example.com\n1\n1",
	'hosts, slugs, schemes and digests in capitals');
$node->safe_psql('turkish', 'DROP EXTENSION miosa_rollback');

$node->command_ok(
	[
		$ENV{PG_REGRESS}, '--inputdir=test',
		'--use-existing', '--dbname=turkish',
		'--host=' . $node->host, '--port=' . $node->port,
		qw(feed read_api people rollback_basics target_choice endpoint_settings
		  states collection)
	],
	'the suites give the same output in Turkish');

done_testing();
