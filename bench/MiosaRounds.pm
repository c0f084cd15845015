#
# Variants of a load that take turns, so that what disturbs one disturbs the
# others: in each round every variant runs for some time, one after the other.
# Ratios are taken within a round.
#
# A variant is a hash:
#
#   name
#   script      text of a script of pgbench
#   deployments on which it works, shared out to the clients
#   walk        variants of the same walk move the same pointers, so each goes
#               on where the one before ended
#   events      that a transaction writes (1); 0.1: every tenth transaction does
#   rollbacks   of a transaction (1)
#   warm_up     transactions of a client before the first that counts (20)
#   database    where it runs
#   written     SQL that counts its events so far
#   before      a sub that is called before each run
#   quiet       a sub that waits until all is delivered; it is given the number
#               of events
#   deliverers  a sub: processes that deliver, besides the dispatcher
#
package MiosaRounds;

use strict;
use warnings FATAL => 'all';

use List::Util qw(min sum);
use MiosaBench qw(pgbench progress slurp spew);
use MiosaCost;

# Calls of a client before the first that counts: its caches are cold.
use constant WARM_UP => 20;

# db, work (a folder), seconds, rounds; cost: a MiosaCost, or nothing
sub new
{
	my ($class, %arg) = @_;

	return bless { series => 0, %arg }, $class;
}

# The text of scripts in bench/, after that which chooses a deployment.
sub script
{
	my ($folder, @name) = @_;

	# pgbench has no way to include a file.
	return join '', map { slurp("$folder/$_.pgbench") } 'call', @name;
}

# Run variants in turn. Arguments: clients, title, and seconds and rounds
# instead of the object's. Returns for each variant its transactions a second
# by round, in {rate}, and the costs of a rollback by round under their names.
sub compare
{
	my ($self, $variants, %arg) = @_;
	my $rounds = $arg{rounds} // $self->{rounds};
	my %run = (
		clients => $arg{clients},
		series => ++$self->{series},
		n => {});
	my %calls =
	  map { $_->{name} => 2 * ($_->{warm_up} // WARM_UP) } @$variants;
	my %result;

	# The first round only finds out how many calls make a run long enough.
	for my $round (0 .. $rounds)
	{
		for my $variant (@$variants)
		{
			my $name = $variant->{name};

			progress("$arg{title}: "
				  . ($round ? "round $round of $rounds" : 'trial')
				  . ", $name");
			my $run = $self->_measure(\%run, $variant, $calls{$name}, $round);

			$calls{$name} = _calls($variant, $run->{rate},
				$arg{seconds} // $self->{seconds},
				$arg{clients});
			next unless $round;
			push @{ $result{$name}{$_} }, $run->{$_} for keys %$run;
		}
	}
	return \%result;
}

# Calls of a client that take so long; whole ones of a script that does not
# write each time.
sub _calls
{
	my ($variant, $rate, $seconds, $clients) = @_;
	my $calls = ($variant->{warm_up} // WARM_UP)
	  + int(1 + $rate * $seconds / $clients);

	return $calls + -$calls % 10;
}

# One run of so many calls a client.
sub _measure
{
	my ($self, $run, $variant, $calls, $counts) = @_;
	my $clients = $run->{clients};
	my $n = \($run->{n}{ $variant->{walk} // $variant->{name} } //= 0);
	my $events = $calls * $clients * ($variant->{events} // 1);
	my %variable = (
		n => $$n,
		series => $run->{series},
		clients => $clients,
		per_client => int($variant->{deployments} / $clients));
	my $cost = $counts && $self->{cost};

	$variant->{before}->() if $variant->{before};
	my $written = $self->_written($variant);
	my @deliverer = $variant->{deliverers} ? $variant->{deliverers}->() : ();
	my $before = $cost ? $cost->before(@deliverer) : undef;

	spew("$self->{work}/script", $variant->{script});
	pgbench($self->{db}, $variant->{database}, "$self->{work}/output",
		'-c', $clients, '-j', min(2, $clients), '-t', $calls,
		'-l', "--log-prefix=$self->{work}/log",
		'-f', "$self->{work}/script",
		map { ('-D', "$_=$variable{$_}") } sort keys %variable);
	# What was written by the run, and what it still causes, is its own.
	$variant->{quiet}->($events) if $variant->{quiet};
	my %cost = $cost
	  ? MiosaCost::of_one($before, $cost->after(@deliverer),
		$calls * $clients * ($variant->{rollbacks} // 1))
	  : ();

	$$n += $calls * ($variant->{rollbacks} // 1) if $events;
	$written = $self->_written($variant) - $written;
	die "$variant->{name}: $written events instead of $events\n"
	  if $variant->{written} && $written != $events;
	return { rate => $self->_rate($variant->{warm_up} // WARM_UP), %cost };
}

sub _written
{
	my ($self, $variant) = @_;

	return 0 unless $variant->{written};
	return $self->{db}->psql_in($variant->{database}, $variant->{written});
}

# Transactions a second: the sum of the clients' rates, each from when it was
# warm.
sub _rate
{
	my ($self, $warm_up) = @_;
	my %time;

	for my $path (glob("$self->{work}/log.*"))
	{
		for (split /\n/, slurp($path))
		{
			my ($client, undef, undef, undef, $s, $us) = split;

			push @{ $time{$client} }, $s + $us / 1e6;
		}
		unlink $path;
	}
	return sum(map { (@$_ - $warm_up) / ($_->[-1] - $_->[ $warm_up - 1 ]) }
		  values %time);
}

# The ratio of a kind of two variants by round.
sub ratios
{
	my ($result, $one, $other, $kind) = @_;
	my @one = @{ $result->{$one}{ $kind // 'rate' } };
	my @other = @{ $result->{$other}{ $kind // 'rate' } };

	return [ map { $one[$_] / $other[$_] } 0 .. $#one ];
}

1;
