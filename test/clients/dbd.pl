# DBD::Pg: prepared on the server, with values that have or have no type.
use strict;
use warnings FATAL => 'all';

use DBD::Pg qw(:pg_types);
use DBI;

my ($dep, $v1, $v2, $key) = @ENV{qw(DEPLOYMENT V1 V2 KEY)};
my $db = DBI->connect('dbi:Pg:', undef, undef,
	{ RaiseError => 1, PrintError => 0, pg_server_prepare => 1 });

# A value is a text without a type, or [value, type].
sub call
{
	my ($expression, @value) = @_;
	my $statement = $db->prepare("SELECT $expression");

	for my $n (1 .. @value)
	{
		my $value = $value[ $n - 1 ];

		$statement->bind_param($n,
			ref $value ? ($value->[0], { pg_type => $value->[1] }) : $value);
	}
	$statement->execute;
	print $statement->fetchrow_array, "\n";
	return;
}

sub uuid { return [ $_[0], PG_UUID ]; }

call(q{miosa_promote(?, ?, ?) #>> '{operation,outcome}'},
	uuid($dep), uuid($v2), uuid($key));
call(q{miosa_promote(?, ?, ?) #>> '{operation,outcome}'}, $dep, $v2, $key);
call(q{miosa_rollback(?, ?, ?, ?, ?, ?) #>> '{operation,outcome}'},
	$dep, $v1, 'DBD::Pg', 'INC-7', $v2, [ '{"ticket": 7}', PG_JSON ]);
call(q{miosa_plan(?, version_id => ?) #>> '{data,outcome}'}, $dep, $v2);
call(q{miosa_deployment(?) #>> '{data,active_version_id}'}, uuid($dep));
call(q{miosa_wait_converged(?, ?)}, [ $dep, PG_VARCHAR ], [ '1 s', PG_VARCHAR ]);
