#
# Databases whose dispatcher delivers to edges of edge.c: what the parts of
# "make bench" share. Every edge has an address of loopback of its own
# (127.0.x.y), so that it is a host of its own to libcurl and to the breaker.
#
package MiosaDelivery;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use MiosaBench qw(progress slurp);
use MiosaHttp qw(poll_until);
use MiosaServer;

# db: a MiosaCluster; work: a folder, which is made
sub new
{
	my ($class, %arg) = @_;

	mkdir $arg{work} or die "$arg{work}: $!\n";
	return bless { bench => dirname(__FILE__), %arg }, $class;
}

# Compile a program of bench/ into the folder.
sub compile
{
	my ($self, $name, @arg) = @_;
	my $output =
	  `cc -O2 -Wall -o $self->{work}/$name $self->{bench}/$name.c @arg 2>&1`;

	die "compiling $name.c failed:\n$output" if $? != 0;
	return;
}

# One process that is all edges, each with a status and a delay, as edge.c
# wants them: {server, log, url => [...]}. A port of the object is taken instead
# of a free one.
sub start_edges
{
	my ($self, $name, @answer) = @_;
	my $port = $self->{port} // MiosaServer::free_port();
	my $log = "$self->{work}/$name.requests";
	my @arg = map { address($_) . ":$port=$answer[$_ - 1]" } 1 .. @answer;
	my $server = MiosaServer->new(
		name => 'edge',
		log => "$self->{work}/edge.log",
		port => $port);

	$server->start("$self->{work}/edge", $log, @arg);
	return {
		server => $server,
		log => $log,
		url => [ map { url($_, $port) } 1 .. @answer ]
	};
}

sub address
{
	my ($number) = @_;

	return sprintf '127.0.%d.%d', ($number - 1) / 250, 1 + ($number - 1) % 250;
}

sub url
{
	my ($number, $port) = @_;

	return 'http://' . address($number) . ":$port";
}

# A database with the rows of load.sql. deployments; in_flight: of an endpoint
# (8); path: of its requests; edges: its endpoints, which exist before the rows,
# so that nothing has to be sent to them; load: more arguments of psql.
sub make_database
{
	my ($self, $name, %arg) = @_;
	my $path = $arg{path}
	  // ($arg{deployments} > 1000 ? '{epoch}' : '{operation_id}');

	progress("$name: a database of $arg{deployments} deployments");
	$self->{db}->psql_in('postgres', "CREATE DATABASE $name");
	$self->run_psql(
		$name,
		'-v', 'in_flight=' . ($arg{in_flight} // 8),
		'-v', "path=/route/{deployment_id}/$path",
		'-c', 'CREATE EXTENSION miosa_rollback',
		'-f', "$self->{bench}/delivery.sql");
	if ($arg{edges})
	{
		$self->put_endpoints($name, $arg{edges});
		$self->wait_until_quiet($name);
	}
	$self->run_psql(
		$name,
		'-v', "deployments=$arg{deployments}",
		'-f', "$self->{bench}/load.sql",
		@{ $arg{load} // [] },
		'-c', 'VACUUM (ANALYZE)');
	return;
}

sub run_psql
{
	my ($self, $database, @arg) = @_;
	my $psql =
	  $self->{db}->open_psql($database, '-qAt', '-v', 'ON_ERROR_STOP=1', @arg);
	my $output = join '', <$psql>;

	close $psql or die "loading failed:\n$output";
	return;
}

# Endpoints edge-1, edge-2, ... that receive every route.
sub put_endpoints
{
	my ($self, $database, $edges, $adapter) = @_;
	my $urls = join ',', map { "'$_'" } @{ $edges->{url} };

	$adapter //= 'bench';
	$self->{db}->psql_in($database, <<"EOS");
SELECT count(miosa_put_endpoint('edge-' || u.n, '$adapter', u.url))
	FROM unnest(ARRAY[$urls]) WITH ORDINALITY u(url, n)
EOS
	return;
}

# Enable the first endpoints, and no other.
sub enable_endpoints
{
	my ($self, $database, $count) = @_;

	$self->{db}->psql_in($database, <<"EOS");
SELECT count(miosa_set_endpoint(e.name, substr(e.name, 6)::integer <= $count))
	FROM miosa.endpoints e
EOS
	$self->wait_until_quiet($database);
	return;
}

# Nothing to be sent, nothing under way, nothing to be written down. By a
# session that stays, if there is one.
sub wait_until_quiet
{
	my ($self, $database, $session) = @_;
	my $ask = sub {
		return $self->{db}->psql_in($database, $_[0]) unless $session;
		my ($status, $output, $messages) = $session->run($_[0]);

		die $messages if $status != 0;
		return $output;
	};

	poll_until(sub { $ask->('SELECT bench.is_quiet()') eq 't' }, 180, 0.05)
	  or die $self->trouble("\"$database\" does not become quiet");
	return;
}

# The end of the server's log, for messages.
sub trouble
{
	my ($self, $what) = @_;
	my @log = split /^/, slurp("$self->{db}{dir}/postgres.log");

	return "$what; the server's log ends with:\n"
	  . join('', @log > 20 ? @log[ -20 .. -1 ] : @log);
}

1;
