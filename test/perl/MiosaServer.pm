#
# One server process of a test: started in the foreground of its own process
# group, its output in a log file, gone when the test is gone.
#
# Every live server is stopped at exit, and the kernel is asked to stop it
# should this process be killed (not with keep, which leaves it running).
#
package MiosaServer;

use strict;
use warnings FATAL => 'all';

# Loaded before our END block, so that its own removes folders after servers
# have ended.
use File::Temp ();
use Fcntl qw(:DEFAULT :flock :seek);
use File::Path qw(make_path);
use File::Spec;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use MiosaHttp qw(connect_to poll_until);

my %live;
my %given;
my $owner = $$;

# A port of 127.0.0.1 that nobody listens on, below the range from which the
# kernel takes the local ports of outgoing connections. No other process that
# asks here, or makes a PostgreSQL::Test::Cluster, is given it before this one
# has ended.
sub free_port
{
	for (1 .. 1000)
	{
		my $port = 12000 + int(rand(20000));

		return $port if _reserve($port) && _is_free($port);
	}
	die "no free port found\n";
}

# Write this process into the file of a port, unless another one that lives is
# there. The files are those of PostgreSQL::Test::Cluster.
sub _reserve
{
	my ($port) = @_;
	my $dir = $ENV{PG_TEST_PORT_DIR}
	  // File::Spec->tmpdir . "/miosa-ports.$<";

	make_path($dir);
	sysopen(my $fh, "$dir/$port.rsv", O_RDWR | O_CREAT)
	  or die "$dir/$port.rsv: $!\n";
	_again(sub { flock($fh, LOCK_EX) }) or die "$dir/$port.rsv: $!\n";
	my $pid = (readline($fh) // 0) + 0;

	return 0 if $pid && (kill(0, $pid) || $!{EPERM});
	seek($fh, 0, SEEK_SET);
	printf $fh "%10d\n", $$;
	close $fh or die "$dir/$port.rsv: $!\n";
	$given{$port} = { file => "$dir/$port.rsv", pid => $$ };
	return 1;
}

sub _is_free
{
	my ($port) = @_;

	return IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => $port,
		Listen => 1,
		ReuseAddr => 1);
}

# Call again what a signal has interrupted.
sub _again
{
	my ($call) = @_;
	my $result;

	1 until ($result = $call->()) || !$!{EINTR};
	return $result;
}

# name, log (file), port (answers when up), keep
sub new
{
	my ($class, %arg) = @_;

	return bless {%arg}, $class;
}

# Run a command and wait until its port accepts connections.
sub start
{
	my ($self, @command) = @_;

	die "$self->{name} is running already\n" if $self->running;
	my $pid = $self->_spawn(@command);
	$self->{pid} = $pid;
	$live{$self} = $self;
	$self->_wait_for_port;
	return $self;
}

# Start a successor that takes over from the present process, as a reload
# does; the old one ends by itself.
sub replace
{
	my ($self, @command) = @_;
	my $old = $self->{pid};

	$self->{pid} = $self->_spawn(@command);
	die $self->trouble("the old process did not end")
	  unless poll_until(sub { waitpid($old, WNOHANG) != 0 }, 180);
	$self->_wait_for_port;
	return $self;
}

sub _spawn
{
	my ($self, @command) = @_;
	my $parent = $$;

	unshift @command, 'setpriv', '--pdeathsig', 'TERM' unless $self->{keep};
	my $pid = fork();
	die "could not fork: $!\n" unless defined $pid;
	return $pid if $pid;

	# The child must not run this process's END blocks, whatever happens.
	eval {
		setpgrp(0, 0);
		open(STDIN, '<', '/dev/null') or die;
		open(STDOUT, '>>', $self->{log}) or die;
		open(STDERR, '>&', \*STDOUT) or die;
		$SIG{INT} = $SIG{TERM} = 'DEFAULT';
		no warnings 'exec';
		exec { $command[0] } @command if getppid() == $parent;
	};
	POSIX::_exit(127);
}

sub _wait_for_port
{
	my ($self) = @_;

	return unless $self->{port};
	my $up = poll_until(
		sub {
			die $self->trouble("ended at once") unless $self->running;
			return connect_to($self->{port});
		},
		180);
	die $self->trouble("did not listen on port $self->{port}") unless $up;
	return;
}

# Is the process there? Reaps it when it has ended.
sub running
{
	my ($self) = @_;

	return 0 unless $self->{pid};
	return 1 if waitpid($self->{pid}, WNOHANG) == 0;
	delete $self->{pid};
	delete $live{$self};
	return 0;
}

# Ask it to end. One that does not is a fault, which must not go unseen.
sub stop
{
	my ($self) = @_;

	return unless $self->running;
	kill 'TERM', $self->{pid};
	return if poll_until(sub { !$self->running });
	$self->kill9;
	die $self->trouble('did not end within 180 s of SIGTERM');
}

# No good-bye: the whole group is killed, as a power cut would do it.
sub kill9
{
	my ($self) = @_;

	return unless $self->running;
	kill 'KILL', -$self->{pid};
	poll_until(sub { !$self->running }, 180)
	  or die $self->trouble("survived SIGKILL");
	return;
}

# The end of the log, for messages.
sub tail
{
	my ($self) = @_;

	open(my $fh, '<', $self->{log}) or return "(no log)\n";
	my @line = <$fh>;
	close $fh;
	splice(@line, 0, -15) if @line > 15;
	return join('', @line);
}

sub trouble
{
	my ($self, $what) = @_;

	return "$self->{name}: $what; end of $self->{log}:\n" . $self->tail;
}

END
{
	unlink map { $_->{pid} == $$ ? $_->{file} : () } values %given;
	if ($$ == $owner)
	{
		# waitpid would otherwise overwrite the exit status
		local $?;
		for my $server (grep { !$_->{keep} } values %live)
		{
			eval { $server->stop; };
			warn $@ if $@;
		}
	}
}

1;
