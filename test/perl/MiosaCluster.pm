#
# A throw-away PostgreSQL server for programs that are not TAP tests (those
# use PostgreSQL::Test::Cluster). It listens on a Unix socket in its folder.
#
package MiosaCluster;

use strict;
use warnings FATAL => 'all';

use File::Path qw(make_path);
use MiosaServer;
use POSIX ();

# dir: an own, short folder; database; settings: text for postgresql.conf;
# keep: leave the server running at exit
sub new
{
	my ($class, %arg) = @_;

	make_path($arg{dir});
	chmod 0700, $arg{dir};
	return bless {
		database => 'demo',
		settings => '',
		port => MiosaServer::free_port(),
		%arg
	}, $class;
}

# initdb, start, and an empty database; a folder that is there from a server of
# before is only started. Programs are taken from PATH.
sub start
{
	my ($self) = @_;
	my $data = "$self->{dir}/data";
	my $new = !-e $data;

	$self->_init($data) if $new;
	open(my $conf, '>>', "$data/postgresql.conf")
	  or die "postgresql.conf: $!\n";
	# The last line of a name is the one that counts
	print $conf "unix_socket_directories = '$self->{dir}'\n",
	  "port = $self->{port}\n";
	close $conf or die "postgresql.conf: $!\n";
	_run("$self->{dir}/start.log", 'pg_ctl', '-D', $data, '-w', '-s', '-l',
		"$self->{dir}/postgres.log", 'start');
	$self->{owner} = $$;
	$self->psql_in('postgres', "CREATE DATABASE $self->{database}") if $new;
	return $self;
}

sub _init
{
	my ($self, $data) = @_;

	_run("$self->{dir}/initdb.log", 'initdb', '-D', $data, '-U', 'postgres',
		'-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-instructions');
	open(my $conf, '>>', "$data/postgresql.conf")
	  or die "postgresql.conf: $!\n";
	print $conf <<"EOC";
listen_addresses = ''
log_line_prefix = '%m [%p] %b %q%a '
$self->{settings}
EOC
	close $conf or die "postgresql.conf: $!\n";
	return;
}

sub stop
{
	my ($self) = @_;

	return unless ($self->{owner} // 0) == $$;
	delete $self->{owner};
	local $?;
	system('pg_ctl', '-D', "$self->{dir}/data", '-w', '-s', '-m', 'fast',
		'stop');
	return;
}

# The command line of psql, for people too.
sub psql_command
{
	my ($self, $database) = @_;

	return ('psql', '-h', $self->{dir}, '-p', $self->{port}, '-U', 'postgres',
		'-d', $database // $self->{database});
}

# Open a pipe from psql, its messages included. Further arguments go to psql.
sub open_psql
{
	my ($self, $database, @arg) = @_;
	my $pid = open(my $pipe, '-|') // die "could not fork: $!\n";

	return $pipe if $pid;
	open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
	exec {'psql'} $self->psql_command($database), '-X', '-w', @arg
	  or POSIX::_exit(127);
}

# Run SQL; the output, or die with the message.
sub psql_in
{
	my ($self, $database, $sql) = @_;
	my ($ok, $output) = $self->try($sql, $database, '-qAt');

	die "$sql\n$output" unless $ok;
	return $output;
}

sub psql
{
	my ($self, $sql) = @_;

	return $self->psql_in($self->{database}, $sql);
}

# Run SQL that reads a deployment's rows where they are: here.
sub psql_of
{
	my ($self, $deployment, $sql) = @_;

	return $self->psql($sql);
}

# Run SQL that may fail: (whether it went well, output and messages).
sub try
{
	my ($self, $sql, $database, @arg) = @_;
	my $pipe =
	  $self->open_psql($database, '-v', 'ON_ERROR_STOP=1', @arg, '-c', $sql);
	my $output = join '', <$pipe>;
	my $ok = close $pipe;

	$output =~ s/\n+\z//;
	return ($ok, $output);
}

# Run a program with its output in a file, which is shown if it fails.
sub _run
{
	my ($log, @command) = @_;
	my $pid = fork() // die "could not fork: $!\n";

	if (!$pid)
	{
		open(STDIN, '<', '/dev/null') or POSIX::_exit(127);
		open(STDOUT, '>', $log) or POSIX::_exit(127);
		open(STDERR, '>&', \*STDOUT) or POSIX::_exit(127);
		exec {$command[0]} @command or POSIX::_exit(127);
	}
	waitpid($pid, 0);
	return if $? == 0;
	open(my $fh, '<', $log) or die "$command[0] failed: $log: $!\n";
	die "$command[0] failed:\n", <$fh>;
}

sub DESTROY
{
	my ($self) = @_;

	$self->stop unless $self->{keep};
	return;
}

1;
