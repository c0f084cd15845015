#
# A psql that stays: queries are given to it one after the other, and each one
# ends as if a psql of its own had been run for it with ON_ERROR_STOP. A psql
# costs 65 ms of a processor, a query in one that is there costs 1 ms.
#
#   my $session = MiosaSession->new('psql', '-d', $connstr) or ...;
#   my ($status, $output, $messages) = $session->run($sql);
#
# An error ends the session, as it ends psql; the next one is another object.
#
package MiosaSession;

use strict;
use warnings FATAL => 'all';

use IO::Handle;
use IPC::Open3 qw(open3);
use Symbol qw(gensym);

my $count = 0;

# The command without what makes it read standard input. Nothing if it cannot
# connect.
sub new
{
	my ($class, @command) = @_;
	my ($in, $out, $err) = (gensym, gensym, gensym);
	my $pid =
	  open3($in, $out, $err, @command, '-XAtq', '-v', 'ON_ERROR_STOP=1',
		'-f', '-');
	my $self = bless {
		pid => $pid,
		owner => $$,
		in => $in,
		out => $out,
		err => $err,
		lines => 0
	}, $class;

	$in->blocking(0);
	(my $status, $self->{backend}) =
	  $self->run('SELECT pg_catalog.pg_backend_pid()');
	return $status == 0 ? $self : undef;
}

# Can this process use it, and is its backend still there?
sub usable
{
	my ($self) = @_;

	return 0 if $self->{owner} != $$ || $self->{busy} || !$self->{pid};
	open(my $fh, '<', "/proc/$self->{backend}/stat") or return 0;
	return (readline($fh) // '') =~ /\) [^ZX] / ? 1 : 0;
}

# Run SQL that is complete in itself: psql's exit status (0 when it goes on),
# what it printed, and its messages.
sub run
{
	my ($self, $sql) = @_;
	my $end = 'the end of query ' . ++$count . "\n";
	my %got = (out => '', err => '');
	my $lines = $self->{lines};

	$sql .= "\n;" unless $sql =~ /;\s*\z/;
	$sql .= "\n\\echo $end\\warn $end";
	$self->{lines} += $sql =~ tr/\n//;

	# A die in a handler of a signal leaves it busy.
	$self->{busy} = 1;
	$self->_talk($sql, \%got, $end);
	$self->{busy} = 0;

	my $status = $self->{pid} ? 0 : $self->{status};

	s/\Q$end\E\z//, chomp for values %got;
	# Each psql would have counted its own lines
	$got{err} =~ s/^(psql:<stdin>:)(\d+):/$1 . ($2 - $lines) . ':'/gem;
	return ($status, $got{out}, $got{err});
}

# Send, and read until both outputs end with that line, or end at all.
sub _talk
{
	my ($self, $send, $got, $end) = @_;
	my %open = map { $_ => fileno($self->{$_}) } qw(out err);

	local $SIG{PIPE} = 'IGNORE';
	while (my @wait =
		grep { length $got->{$_} < length $end
			|| substr($got->{$_}, -length $end) ne $end } keys %open)
	{
		my ($read, $write) = ('', '');

		vec($read, $open{$_}, 1) = 1 for @wait;
		vec($write, fileno($self->{in}), 1) = 1 if length $send;
		next if select($read, $write, undef, undef) < 0;
		if (length $send && vec($write, fileno($self->{in}), 1))
		{
			my $sent = syswrite($self->{in}, $send);

			$send = '' if !defined $sent && !$!{EAGAIN} && !$!{EINTR};
			substr($send, 0, $sent // 0) = '';
		}
		for my $name (grep { vec($read, $open{$_}, 1) } @wait)
		{
			my $length = sysread($self->{$name}, $got->{$name}, 65536,
				length $got->{$name});

			delete $open{$name} if defined $length && !$length;
		}
	}
	$self->_reap if keys %open < 2;
	return;
}

sub _reap
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;

	close $self->{$_} for qw(in out err);
	local $?;
	1 while waitpid($pid, 0) < 0 && $!{EINTR};
	$self->{status} = $? >> 8 || $? & 127;
	return;
}

# End psql, and wait until it has ended.
sub quit
{
	my ($self) = @_;

	return unless $self->{pid} && $self->{owner} == $$;
	local $SIG{PIPE} = 'IGNORE';
	# A fork of this process may hold the other end of its input open.
	if ($self->{busy}) { kill 'TERM', $self->{pid}; }
	else { syswrite($self->{in}, "\\q\n"); }
	$self->_reap;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	local ($@, $!, $?);
	$self->quit;
	return;
}

1;
