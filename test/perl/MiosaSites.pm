#
# Sites that share routes: a primary site and replicas, each a server of its own,
# set up by the files of contrib/sites/.
#
#   my $sites = MiosaSites->new('home', qw(eu us));
#   $sites->join('eu');      # both directions
#   $sites->sql('SELECT miosa_rollback(...)');        # at the primary site
#   $sites->sql_at('eu', 'TABLE miosa.sites');
#
package MiosaSites;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use MiosaTest qw(make_node wait_sql);

our $contrib = abs_path(dirname(abs_path(__FILE__)) . '/../../contrib/sites');

# Each server has a system identifier of its own, as in real life: the nodes of a
# test are copies of one data directory if they are initialized alike.
my @locale = qw(POSIX C.UTF-8 C.utf8);

# The primary site has a server, unless it has no name, and each replica has.
sub new
{
	my ($class, $home, @replicas) = @_;
	my $self = bless { home => $home }, $class;

	$self->{node}{$home} =
	  make_node($home, "miosa_rollback.site = '$home'\n", allows_streaming => 'logical')
	  if defined $home;
	$self->add_replica($_) for @replicas;
	return $self;
}

# A server for a replica; preload: a library for it.
sub add_replica
{
	my ($self, $name, %arg) = @_;

	local $ENV{LD_PRELOAD} = $arg{preload} if $arg{preload};
	$self->{node}{$name} = make_node($name, "miosa_rollback.site = '$name'\nmiosa_rollback.site_role = replica\n" . ($arg{settings} // ''),
		extra => [ '--lc-time=' . $locale[ keys %{ $self->{node} // {} } ] ],
		allows_streaming => 'logical');
	return $self->{node}{$name};
}

sub node { return $_[0]{node}{ $_[1] } }

# Run a file of contrib/sites: (exit status, output, messages).
sub run_file
{
	my ($self, $name, $file, $database) = @_;

	return $self->node($name)->psql($database // 'postgres', "\\i $contrib/$file");
}

# The publication of the primary site.
sub publish
{
	my ($self) = @_;
	my ($status, $out, $err) = $self->run_file($self->{home}, 'primary.sql');

	die "primary.sql: $err\n" if $status;
	return;
}

sub subscribe_statement
{
	my ($self, $name, $origin, $publication) = @_;

	return sprintf 'CREATE SUBSCRIPTION %s CONNECTION $$%s$$ PUBLICATION %s WITH (slot_name = %s)',
	  $publication eq 'miosa_site' ? "miosa_site_$origin" : $publication,
	  $self->node($origin)->connstr('postgres'), $publication, "${publication}_$name";
}

# The replica gets the routes.
sub subscribe
{
	my ($self, $name) = @_;

	$self->node($name)->safe_psql('postgres', $self->subscribe_statement($name, $self->{home}, 'miosa_routes'));
	return;
}

# The primary site gets the replica's row.
sub listen_to
{
	my ($self, $name) = @_;

	$self->node($self->{home})->safe_psql('postgres', $self->subscribe_statement($self->{home}, $name, 'miosa_site'));
	return;
}

# Both directions between the primary site and a replica, whose row is waited for.
sub join
{
	my ($self, $name) = @_;
	my ($status, $out, $err) = $self->run_file($name, 'replica.sql');

	die "replica.sql: $err\n" if $status;
	$self->subscribe($name);
	$self->listen_to($name);
	return wait_sql($self->node($self->{home}), "SELECT count(*) FROM miosa.replica_sites WHERE site = '$name'", 1) eq '1';
}

sub sql { return $_[0]->node($_[0]{home})->safe_psql('postgres', $_[1]) }

sub sql_at { return $_[0]->node($_[1])->safe_psql('postgres', $_[2]) }

# Status, what was seen, the fix and who may apply it, in one line.
sub doctor
{
	my ($self, $name) = @_;

	return $self->sql_at($name, "SELECT concat_ws(' | ', status, seen, fix, needs) FROM miosa_doctor() WHERE item = 'sites'");
}

1;
