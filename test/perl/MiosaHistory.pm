#
# Checks the history of a run with fail-overs: what clients called and what was
# confirmed to them, what a receiver got, and what the database had in the end.
#
#   my $history = MiosaHistory->new(@entry);       # or MiosaHistory->read($file)
#   my @problem = $history->problems;              # {rule =>, text =>}
#   my @time = $history->times;                    # one a fault
#
# An entry has a type and a time in seconds:
#
#   call     {client, key, deployment, version}    the first try of a key
#   ack      {key, deployment, version, operation, began, server}
#                                                  it was confirmed; began is
#                                                  when that try was sent
#   fault    {kind, server}                        what was done to the primary
#   request  {deployment, version, epoch, operation}   what the receiver got
#   audit    {deployment, seq, key, version, previous}  the trail in the end
#   state    {deployment, version}                 the active version in the end
#   table    {edge, host, route, has}              after a fail-over: where the
#                                                  database sends a host, and
#                                                  where a router does
#
# The rules, each of which names what breaks it:
#
#   lost       a confirmed operation is in the trail, as it was confirmed
#   doubled    a key is applied once
#   reordered  what was confirmed before another call began has a lower number,
#              and each operation begins where the one before it ended
#   gap        the numbers of a deployment are 1, 2, 3 ...
#   unasked    every operation was called for, as it was called for
#   backwards  epochs of a deployment never fall, nor does the term of any
#   reused     an epoch of a deployment means one version
#   newest     the newest request about a deployment names its active version
#   table      after a fail-over a router sends each host where the database does
#
package MiosaHistory;

use strict;
use warnings FATAL => 'all';

use JSON::PP qw(decode_json);

my $term_bits = 40;

sub new
{
	my ($class, @entry) = @_;
	my %list;

	push @{ $list{ $_->{type} } }, $_
	  for sort { ($a->{time} // 0) <=> ($b->{time} // 0) } @entry;
	$list{$_} //= [] for qw(call ack fault request audit state table);
	return bless {%list}, $class;
}

# Entries from a file, a line of JSON each.
sub read
{
	my ($class, @file) = @_;
	my @entry;

	for my $file (@file)
	{
		open(my $fh, '<', $file) or die "$file: $!\n";
		push @entry, map { decode_json($_) } grep { /\n\z/ } <$fh>;
		close $fh;
	}
	return $class->new(@entry);
}

# How many entries of a type there are.
sub count
{
	my ($self, $type) = @_;

	return scalar @{ $self->{$type} };
}

# Whatever breaks a rule.
sub problems
{
	my ($self) = @_;

	$self->{problem} = [];
	$self->_index;
	$self->_check_acks;
	$self->_check_order;
	$self->_check_trail;
	$self->_check_requests;
	$self->_check_tables;
	return @{ $self->{problem} };
}

sub _problem
{
	my ($self, $rule, $text) = @_;

	push @{ $self->{problem} }, { rule => $rule, text => "$rule: $text" };
	return;
}

# The trail by deployment, in the order of its numbers, and by operation.
sub _index
{
	my ($self) = @_;

	$self->{trail} = {};
	$self->{operation} = {};
	for my $event (sort { $a->{seq} <=> $b->{seq} } @{ $self->{audit} })
	{
		push @{ $self->{trail}{ $event->{deployment} } }, $event;
		$self->{operation}{"$event->{deployment}#$event->{seq}"} = $event;
	}
	return;
}

sub _check_acks
{
	my ($self) = @_;

	for my $ack (@{ $self->{ack} })
	{
		my $event = $self->{operation}{ $ack->{operation} };

		next if $event
		  && ($event->{key} // '') eq $ack->{key}
		  && $event->{version} eq $ack->{version};
		$self->_problem('lost',
			"$ack->{operation} to $ack->{version} was confirmed for key $ack->{key}, the trail has "
			  . ($event ? "$event->{version} for key " . ($event->{key} // 'none') : 'nothing'));
	}
	return;
}

# Of two calls one after the other, the second has the higher number. It is
# enough to compare a call with the highest number that was confirmed before it.
# A replay confirms an operation that may be older: it has to be younger than
# what was confirmed before the first try of its key alone.
sub _check_order
{
	my ($self) = @_;
	my %called = map { $_->{key} => $_->{time} } @{ $self->{call} };
	my %acks;

	push @{ $acks{ $_->{deployment} } }, $_ for @{ $self->{ack} };
	for my $deployment (sort keys %acks)
	{
		my @ack = @{ $acks{$deployment} };
		my @call = sort { $called{ $a->{key} } <=> $called{ $b->{key} } }
		  grep { defined $called{ $_->{key} } } @ack;
		my ($highest, $by) = (0, '');

		for my $call (@call)
		{
			while (@ack && $ack[0]{time} < $called{ $call->{key} })
			{
				my $seq = _seq($ack[0]);

				($highest, $by) = ($seq, $ack[0]{operation}) if $seq > $highest;
				shift @ack;
			}
			$self->_problem('reordered',
				"$call->{operation} was called for after $by had been confirmed")
			  if _seq($call) <= $highest;
		}
	}
	return;
}

# The number in the id of an operation.
sub _seq
{
	my ($entry) = @_;
	my ($seq) = ($entry->{operation} // '') =~ /#(\d+)$/;

	return $seq // 0;
}

sub _check_trail
{
	my ($self) = @_;
	my %call = map { $_->{key} => $_ } @{ $self->{call} };

	for my $deployment (sort keys %{ $self->{trail} })
	{
		my ($seq, $active, %seen) = (0);

		for my $event (@{ $self->{trail}{$deployment} })
		{
			my $id = "$deployment#$event->{seq}";
			my $key = $event->{key};

			$self->_problem('gap', "$id follows $deployment#$seq")
			  if $event->{seq} != $seq + 1;
			$self->_problem('reordered',
				"$id begins at " . ($event->{previous} // 'nothing')
				  . ", not at $active")
			  if defined $active
			  && $event->{seq} == $seq + 1
			  && ($event->{previous} // '') ne $active;
			($seq, $active) = @$event{qw(seq version)};
			next unless defined $key;
			$self->_problem('doubled', "$id applies key $key, as $seen{$key} did")
			  if $seen{$key};
			$seen{$key} = $id;
			my $call = $call{$key};

			$self->_problem('unasked', "$id has key $key")
			  unless $call
			  && $call->{deployment} eq $deployment
			  && $call->{version} eq $event->{version};
		}
	}
	return;
}

sub _check_requests
{
	my ($self) = @_;
	my ($term, %epoch, %route, %last) = (0);

	for my $request (@{ $self->{request} })
	{
		my ($deployment, $version, $epoch) =
		  @$request{qw(deployment version epoch)};
		my $before = $epoch{$deployment} // 0;
		my $this = $epoch >> $term_bits;
		my $route = "$deployment to $version";

		$self->_problem('backwards',
			"$route with epoch " . _shown($epoch) . ' after ' . _shown($before))
		  if $epoch < $before;
		$self->_problem('backwards', "$route of term $this after term $term")
		  if $this < $term && $epoch >= $before;
		my $known = $route{$deployment}{$epoch} //= $version;

		$self->_problem('reused',
			'epoch ' . _shown($epoch) . " means $route, and $known")
		  if $known ne $version;
		$epoch{$deployment} = $epoch if $epoch > $before;
		$term = $this if $this > $term;
		$last{$deployment} = $version;
	}
	for my $state (@{ $self->{state} })
	{
		my $last = $last{ $state->{deployment} } // 'nothing';

		$self->_problem('newest',
			"$state->{deployment} is at $state->{version}, the receiver got $last")
		  if $last ne $state->{version};
	}
	return;
}

sub _check_tables
{
	my ($self) = @_;

	for my $line (@{ $self->{table} })
	{
		$self->_problem('table',
			"$line->{edge} sends $line->{host} to $line->{has}, the database to $line->{route}")
		  if $line->{has} ne $line->{route};
	}
	return;
}

# An epoch as term and number.
sub _shown
{
	my ($epoch) = @_;

	return ($epoch >> $term_bits) . '/' . ($epoch & (1 << $term_bits) - 1);
}

# For each fault its kind; seconds until a call that was sent after it was
# confirmed by another server (first); and seconds until the receiver had, in
# the new term, all that was confirmed up to that moment (converged).
sub times
{
	my ($self) = @_;

	return map { $self->_time($_) } @{ $self->{fault} };
}

sub _time
{
	my ($self, $fault) = @_;
	my $begin = $fault->{time};
	my ($first) = grep {
			 $_->{began} >= $begin
		  && $_->{server} ne $fault->{server}
	} @{ $self->{ack} };
	my %time = (kind => $fault->{kind});

	return \%time unless $first;
	$time{first} = $first->{time} - $begin;
	my $term = 0;
	my %need;

	for my $ack (grep { $_->{time} <= $first->{time} } @{ $self->{ack} })
	{
		my $seq = _seq($ack);

		$need{ $ack->{deployment} } = $seq
		  if $seq > ($need{ $ack->{deployment} } // 0);
	}
	for my $request (@{ $self->{request} })
	{
		my ($deployment, $this) =
		  ($request->{deployment}, $request->{epoch} >> $term_bits);

		if ($request->{time} < $begin)
		{
			$term = $this if $this > $term;
			next;
		}
		next if $this <= $term;
		delete $need{$deployment}
		  if defined $need{$deployment} && _seq($request) >= $need{$deployment};
		next if %need;
		$time{converged} = $request->{time} - $begin;
		last;
	}
	return \%time;
}

# The median and the maximum of some numbers.
sub median_and_max
{
	my (@number) = sort { $a <=> $b } @_;

	return @number ? ($number[ int($#number / 2) ], $number[-1]) : ();
}

1;
