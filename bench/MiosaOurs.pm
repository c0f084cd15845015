#
# Rollbacks by the extension, and the floors that write the same rows, as
# variants for MiosaRounds.
#
package MiosaOurs;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use MiosaRounds;

my $bench = dirname(__FILE__);

# For the server of every part that compares speeds. Autovacuum would make one
# variant pay for the dead rows of another. Peers wait for a row as long as it
# takes, and so do we.
sub settings
{
	return <<'EOC';
shared_preload_libraries = 'miosa_rollback'
miosa_rollback.allow_private_endpoints = on
miosa_rollback.lock_wait = 60s
shared_buffers = 512MB
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
plan_cache_mode = force_generic_plan
EOC
}

# db, delivery (a MiosaDelivery), database, deployments; session: a
# MiosaSession of the database that is used for waiting; deliverers: a sub, for
# the variants
sub new
{
	my ($class, %arg) = @_;

	return bless {%arg}, $class;
}

# The database, with these edges as endpoints; more arguments go to psql.
sub load
{
	my ($self, $edges, @arg) = @_;

	$self->{delivery}->make_database(
		$self->{database},
		deployments => $self->{deployments},
		edges => $edges,
		in_flight => @{ $edges->{url} } > 1 ? 8 : 64,
		path => '{epoch}',
		load => [ '-f', "$bench/plpgsql.sql", @arg ]);
	return;
}

# new, replay, or a floor: floor, plpgsql, lookup, full_lookup; hot_new
sub variant
{
	my ($self, $name, %more) = @_;
	my $writes = $name !~ /lookup$|^replay$/;

	# Both move the pointer by an UPDATE of their own, which is theirs to judge.
	my $verb = $name =~ /^(floor|plpgsql)$/ ? 'DISABLE' : 'ENABLE';

	return {
		name => $name,
		script => MiosaRounds::script($bench, $name),
		database => $self->{database},
		deployments => $self->{deployments},
		walk => "$self->{database}, ours",
		events => $writes ? 1 : 0,
		written => 'SELECT count(*) FROM miosa.audit_events'
		  . ($name =~ /^hot/ ? '' : " WHERE outcome = 'changed'"),
		before => sub { $self->_trigger($verb) },
		# What the dispatcher still has to do shall not slow down the next one.
		quiet => sub { $self->wait_until_quiet },
		deliverers => $self->{deliverers},
		%more
	};
}

sub wait_until_quiet
{
	my ($self) = @_;

	$self->{delivery}
	  ->wait_until_quiet($self->{database}, $self->{session});
	return;
}

sub _trigger
{
	my ($self, $verb) = @_;

	return if ($self->{trigger} // '') eq $verb;
	$self->{trigger} = $verb;
	$self->{db}->psql_in($self->{database},
		"ALTER TABLE miosa.deployments $verb TRIGGER deployments_pointer");
	return;
}

# Every pointer at version 1 again, and no dead rows.
sub put_back
{
	my ($self) = @_;

	$self->{db}->psql_in($self->{database}, <<'EOS');
SET session_replication_role = replica;
UPDATE miosa.deployments SET active_version_id = '1'
	WHERE active_version_id <> '1';
EOS
	$self->{db}->psql_in($self->{database}, "VACUUM $_")
	  for map { "miosa.$_" }
	  qw(deployments outbox route_log endpoint_state dispatcher_state);
	return;
}

1;
