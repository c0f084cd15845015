#
# A server with databases of a thousand to a million deployments, which takes
# minutes to fill: the parts that need it leave it to each other.
#
package MiosaLarge;

use strict;
use warnings FATAL => 'all';

use MiosaCluster;
use MiosaDelivery;
use MiosaOurs;

# Where every deployment has had so many operations; what they left is loaded
# by the part that reads it.
use constant OPERATIONS => 10;

# folder, work
sub start
{
	my ($class, %arg) = @_;
	my $largest = $ENV{BENCH_DEPLOYMENTS} || 1_000_000;
	my $db = MiosaCluster->new(
		dir => "$arg{folder}/pg-large",
		database => 'empty',
		settings => MiosaOurs::settings());
	my $delivery = MiosaDelivery->new(db => $db, work => $arg{work});

	$delivery->compile('edge');
	$db->start;
	return bless {
		db => $db,
		delivery => $delivery,
		deployments => {
			small => 1000,
			medium => $largest / 10,
			large => $largest
		}
	}, $class;
}

# The rollbacks of one database, which is filled if it is not there. Its
# endpoint is an edge that starts now; where it was before, or it would be sent
# everything.
sub database
{
	my ($self, $name) = @_;
	my $ours = MiosaOurs->new(
		db => $self->{db},
		delivery => $self->{delivery},
		database => $name,
		deployments => $self->{deployments}{$name});
	my $there = $self->{db}->psql_in('postgres',
		"SELECT count(*) FROM pg_database WHERE datname = '$name'");

	local $self->{delivery}{port} = $self->{db}
	  ->psql_in($name, q{SELECT substring(url FROM '\d+$') FROM miosa.endpoints})
	  if $there;
	my $edges = $self->{delivery}->start_edges($name, 204);

	$ours->load($edges, '-v', 'seq=' . OPERATIONS) unless $there;
	return $ours;
}

1;
