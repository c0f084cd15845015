#
# PostgreSQL::Test::Cluster whose safe_psql() keeps a session for plain
# queries, which are most of them (see MiosaSession). What a query returns or
# dies with is the same.
#
# What would differ in a session of its own is run in one: a statement
# that changes the session, or what new sessions are given, and one that needs
# that no other session is connected. It ends the kept session, as do a stop, a
# start and a reload of the server.
#
package MiosaPostgres;

use strict;
use warnings FATAL => 'all';

use MiosaSession;
use PostgreSQL::Test::Cluster;
use parent -norequire, 'PostgreSQL::Test::Cluster';

# Since 16 a module of PostgreSQL lets signals raise an error, which would have
# a child that a test has just forked, and ends again, stop the servers.
INIT
{
	$SIG{TERM} = $SIG{INT} = 'DEFAULT';
}

# What a plain statement begins with, and what is in none.
my $plain = qr/^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|TABLE|VALUES)\b/i;
my $special = qr/\\
	| \b(?:set_config | pg_reload_conf | pg_(?:try_)?advisory_\w+
	| pg_(?:terminate|cancel)_backend | pg_stat_(?!activity\b)\w+
	| pg_backend_pid | pg_promote | currval | lastval | temp | temporary)\b/xi;

for my $name (qw(start stop kill9 reload restart promote logrotate))
{
	my $method = PostgreSQL::Test::Cluster->can($name);

	no strict 'refs';
	*$name = sub {
		my ($self, @arg) = @_;

		$self->end_session;
		return $self->$method(@arg);
	};
}

# At the end of a test, which does not wait for its servers, unless what counts
# is what their processes write when they end by themselves (make coverage).
sub teardown_node
{
	my ($self, @arg) = @_;

	if ($ENV{MIOSA_STOP_FAST})
	{
		local $ENV{PGCTLTIMEOUT} = 60;
		$self->stop('fast', fail_ok => 1);
	}
	return $self->SUPER::teardown_node(@arg);
}

sub safe_psql
{
	my ($self, $dbname, $sql, %params) = @_;

	if (%params || $sql =~ $special || grep { !/$plain/ } split /;\s*/, $sql)
	{
		$self->end_session;
		return $self->SUPER::safe_psql($dbname, $sql, %params);
	}
	my $session = $self->_session($dbname)
	  // return $self->SUPER::safe_psql($dbname, $sql);
	my ($status, $output, $messages) = $session->run($sql);

	if ($status)
	{
		my $running = "while running '" . join(' ', $self->_command($dbname));

		$self->end_session;
		die "error running SQL: '$messages'\n$running' with sql '$sql'"
		  if $status == 3;
		die "connection error: '$messages'\n$running'";
	}
	print "#### Begin standard error\n$messages\n#### End standard error\n"
	  if $messages ne '';
	return $output;
}

# The kept session of this process with that database, or nothing.
sub _session
{
	my ($self, $dbname) = @_;
	my $kept = $self->{miosa_session};

	return $kept->{session}
	  if $kept && $kept->{dbname} eq $dbname && $kept->{session}->usable;
	$self->end_session;
	return unless defined $self->{_pid};

	local %ENV = $self->_get_env();
	my $session = MiosaSession->new($self->_command($dbname)) // return;

	$self->{miosa_session} = { dbname => $dbname, session => $session };
	return $session;
}

sub _command
{
	my ($self, $dbname) = @_;

	return ($self->installed_command('psql'), '-d', $self->connstr($dbname));
}

sub end_session
{
	my ($self) = @_;

	delete $self->{miosa_session};
	return;
}

1;
