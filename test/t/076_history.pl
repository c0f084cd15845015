# The checker of "make ha" accepts a right history, names what is wrong with
# others, and measures how long a fail-over took.

use strict;
use warnings FATAL => 'all';

use MiosaHistory;
use Test::More;

# Epoch n of a term
sub epoch { my ($term, $n) = @_; return ($term << 40) + $n; }

# A history: two deployments, three operations of the first one, of which the
# second is confirmed by its third try, after a fail-over at 10 s.
sub right
{
	return (
		call(1, 'a', 'dep_1', 'v1'),
		audit('dep_1', 1, 'a', 'v1', undef),
		request(1.1, 'dep_1', 1, 'v1', epoch(1, 1)),
		ack(1.2, 1, 'a', 'dep_1', 1, 'v1', 'one'),
		call(1, 'x', 'dep_2', 'v5'),
		audit('dep_2', 1, 'x', 'v5', undef),
		request(1.3, 'dep_2', 1, 'v5', epoch(1, 2)),
		ack(1.4, 1, 'x', 'dep_2', 1, 'v5', 'one'),
		call(9, 'b', 'dep_1', 'v2'),
		audit('dep_1', 2, 'b', 'v2', 'v1'),
		request(9.9, 'dep_1', 2, 'v2', epoch(1, 3)),
		{ type => 'fault', time => 10, kind => 'kill', server => 'one' },
		ack(16, 15.5, 'b', 'dep_1', 2, 'v2', 'two'),
		request(16.5, 'dep_1', 2, 'v2', epoch(2, 1)),
		request(17, 'dep_2', 1, 'v5', epoch(2, 2)),
		call(18, 'c', 'dep_1', 'v1'),
		audit('dep_1', 3, 'c', 'v1', 'v2'),
		request(18.1, 'dep_1', 3, 'v1', epoch(2, 3)),
		ack(18.2, 18, 'c', 'dep_1', 3, 'v1', 'two'),
		table(17.5, 'one.example.com', 'dep_1/v2', 'dep_1/v2'),
		table(17.5, 'two.example.com', 'dep_2/v5', 'dep_2/v5'),
		{ type => 'state', deployment => 'dep_1', version => 'v1' },
		{ type => 'state', deployment => 'dep_2', version => 'v5' });
}

sub table
{
	my ($time, $host, $route, $has) = @_;

	return {
		type => 'table',
		time => $time,
		edge => 'router-1',
		host => $host,
		route => $route,
		has => $has
	};
}

sub call
{
	my ($time, $key, $deployment, $version) = @_;

	return {
		type => 'call',
		time => $time,
		key => $key,
		deployment => $deployment,
		version => $version
	};
}

sub ack
{
	my ($time, $began, $key, $deployment, $seq, $version, $server) = @_;

	return {
		%{ call($time, $key, $deployment, $version) },
		type => 'ack',
		began => $began,
		operation => "$deployment#$seq",
		server => $server
	};
}

sub audit
{
	my ($deployment, $seq, $key, $version, $previous) = @_;

	return {
		type => 'audit',
		deployment => $deployment,
		seq => $seq,
		key => $key,
		version => $version,
		previous => $previous
	};
}

sub request
{
	my ($time, $deployment, $seq, $version, $epoch) = @_;

	return {
		type => 'request',
		time => $time,
		deployment => $deployment,
		operation => "$deployment#$seq",
		version => $version,
		epoch => $epoch
	};
}

# The rules that a history breaks.
sub broken
{
	my %rule = map { $_->{rule} => 1 } MiosaHistory->new(@_)->problems;

	return join ' ', sort keys %rule;
}

# The right history with what a pattern describes changed or left out: fields
# that have to match, and a sub that changes the entry, or none to drop it.
sub with
{
	my ($match, $change) = @_;
	my ($done, @entry);

	for my $entry (right())
	{
		my $hit =
		  !grep { !defined $entry->{$_} || $entry->{$_} ne $match->{$_} }
		  keys %$match;

		$done += $hit ? 1 : 0;
		$change->($entry) if $hit && $change;
		push @entry, $entry if !$hit || $change;
	}
	is($done, 1, 'one entry is another one');
	return @entry;
}

is(broken(right()), '', 'a right history breaks no rule');

# One that was confirmed is not there: the next one took its number
is( broken(
		grep { ($_->{key} // '') ne 'c' || $_->{type} ne 'audit' } right()),
	'lost',
	'lost: the newest operation is missing');
is( broken(with({ type => 'audit', key => 'b' }, sub { $_[0]{key} = 'z' })),
	'lost unasked',
	'lost: another operation has its number');
is( broken(
		with({ type => 'audit', key => 'c' }, sub { $_[0]{version} = 'v3' })),
	'lost unasked',
	'lost: it has another target');

# A retry was applied again
is( broken(
		right(),
		audit('dep_1', 4, 'b', 'v2', 'v1'),
		request(19, 'dep_1', 4, 'v2', epoch(2, 4))
	) =~ s/ ?newest//r,
	'doubled',
	'doubled: a key is there twice');

# Called for after another one was confirmed, and before it in the trail
is( broken(
		map {
			$_->{type} eq 'call' && $_->{key} eq 'c' ? { %$_, time => 17.9 } : $_
		} right(),
		call(17.2, 'd', 'dep_1', 'v1'),
		ack(17.5, 17.4, 'd', 'dep_1', 4, 'v1', 'two'),
		audit('dep_1', 4, 'd', 'v1', 'v1')),
	'reordered',
	'reordered: a later call has a lower number');
is( broken(
		with({ type => 'audit', key => 'c' }, sub { $_[0]{previous} = 'v1' })),
	'reordered',
	'reordered: an operation begins where none ended');

is( broken(
		right(),
		call(19, 'e', 'dep_2', 'v6'),
		audit('dep_2', 3, 'e', 'v6', 'v5')
	) =~ s/ ?newest//r,
	'gap',
	'gap: a number is missing');
is( broken(with({ type => 'audit', key => 'a' })),
	'gap lost', 'gap: the first number is');

is( broken(right(), audit('dep_2', 2, 'y', 'v5', 'v5')),
	'unasked', 'unasked: nobody called for an operation');

is( broken(
		with(
			{ type => 'request', time => 18.1 },
			sub { $_[0]{epoch} = epoch(1, 9) })),
	'backwards',
	'backwards: an epoch of an earlier term');
is( broken(
		with(
			{ type => 'request', time => 17 },
			sub { $_[0]{epoch} = epoch(1, 9) })),
	'backwards',
	'backwards: an earlier term, of another deployment');
is( broken(
		with(
			{ type => 'request', time => 9.9 },
			sub { $_[0]{epoch} = epoch(1, 0) })),
	'backwards',
	'backwards: a lower epoch of the same term');

is( broken(
		with(
			{ type => 'request', time => 18.1 },
			sub { $_[0]{epoch} = epoch(2, 1) })),
	'reused',
	'reused: two routes of a deployment have one epoch');

is( broken(with({ type => 'request', time => 18.1 })),
	'newest', 'newest: the newest route is missing');
is( broken(right(), request(19, 'dep_1', 2, 'v2', epoch(2, 4))),
	'newest', 'newest: an older route came last');

is( broken(
		with(
			{ type => 'table', host => 'two.example.com' },
			sub { $_[0]{has} = 'dep_2/v4' })),
	'table',
	'table: a router sends a host elsewhere');

# Times
my ($time) = MiosaHistory->new(right())->times;

is($time->{kind}, 'kill', 'a fault is measured');
is($time->{first}, 6, 'until a call was confirmed by another server');
is($time->{converged}, 7,
	'until the receiver had everything in the new term');
($time) = MiosaHistory->new(with({ type => 'request', time => 17 }))->times;
is($time->{converged}, undef, 'which it may never have');
($time) = MiosaHistory->new(
	map { $_->{type} eq 'ack' ? { %$_, server => 'one' } : $_ } right())->times;
is($time->{first}, undef,
	'what the server confirmed that was lost is no success');
is_deeply([ MiosaHistory::median_and_max(3, 1, 9, 2) ],
	[ 2, 9 ], 'median and maximum');

done_testing();
