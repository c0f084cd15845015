#
# What a user would write without the extension (narrow.sql), as variants for
# MiosaRounds, and the listener that delivers for it.
#
package MiosaNarrow;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use MiosaBench qw(slurp);
use MiosaHttp qw(poll_until);
use MiosaRounds;
use MiosaServer;

my $bench = dirname(__FILE__);

# db, delivery (a MiosaDelivery), database, deployments
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {
		counts => "$arg{delivery}{work}/counts",
		%arg
	}, $class;

	chomp(my @dir = map { `pg_config --$_` } qw(includedir libdir));
	$arg{delivery}->compile('listener', "-I$dir[0]", "-L$dir[1]", '-lpq',
		'-lcurl');
	return $self;
}

# Start the listener for these URLs; one that is there is stopped before.
sub listen
{
	my ($self, $in_flight, @url) = @_;
	my $db = $self->{db};
	my $server = MiosaServer->new(
		name => 'listener',
		log => "$self->{delivery}{work}/listener.log");

	$self->{server}->stop if $self->{server};
	unlink $self->{counts};
	$server->start("$self->{delivery}{work}/listener",
		"host=$db->{dir} port=$db->{port} user=postgres dbname=$self->{database}",
		'narrow_route', $self->{counts}, $in_flight, @url);
	@$self{qw(server urls)} = ($server, scalar @url);
	poll_until(sub { -s $self->{counts} }, 30)
	  or die $server->trouble('does not listen');
	return;
}

# Its processes: its own, and that of the server.
sub deliverers
{
	my ($self) = @_;

	return ($self->{server}{pid}, (split ' ', slurp($self->{counts}))[0]);
}

# narrow: a bare statement; function: with checks and NOTIFY; narrow_lookup,
# function_replay; hot_update, hot_function
sub variant
{
	my ($self, $name, %more) = @_;
	my $notifies = $name =~ /function/ && $name !~ /replay/;
	my $counted = $name =~ /lookup|replay|update/ ? 0 : 1;
	my $before;

	return {
		name => $name,
		script => MiosaRounds::script($bench, $name),
		database => $self->{database},
		deployments => $self->{deployments},
		walk => 'narrow',
		events => $counted,
		written => 'SELECT count(*) FROM narrow.audit',
		deliverers => sub { $self->deliverers },
		before => sub { $before = $self->requests },
		quiet => sub {
			$self->wait_for($before + $_[0] * $self->{urls}) if $notifies;
		},
		%more
	};
}

sub requests
{
	my ($self) = @_;

	return (split ' ', slurp($self->{counts}))[2];
}

sub wait_for
{
	my ($self, $requests) = @_;

	poll_until(
		sub {
			die $self->{server}->trouble('has ended')
			  unless $self->{server}->running;
			return $self->requests >= $requests;
		},
		180) or die $self->{server}->trouble('does not deliver');
	return;
}

# Every pointer at version 1 again, and no dead rows.
sub put_back
{
	my ($self) = @_;

	$self->{db}->psql_in($self->{database}, <<'EOS');
UPDATE narrow.deployments SET active_version = '1' WHERE active_version <> '1'
EOS
	$self->{db}->psql_in($self->{database}, 'VACUUM narrow.deployments');
	return;
}

1;
