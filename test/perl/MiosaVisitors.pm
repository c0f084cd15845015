#
# Visitors: a child process that asks for pages, one after the other, until it
# gets SIGTERM. The signal must not interrupt a request: an answer that was not
# read is a page that somebody did not get. So TERM is blocked, and looked for
# between two visits.
#
#   my $pid = start_visitors(\&visit, \&done);    # done is called at the end
#   stop_visitors($pid);
#
package MiosaVisitors;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use POSIX qw(:signal_h);

our @EXPORT_OK = qw(start_visitors stop_visitors);

sub start_visitors
{
	my ($visit, $done) = @_;
	my $parent = $$;
	my $term = POSIX::SigSet->new(SIGTERM);
	my $before = POSIX::SigSet->new;

	# Before the fork, so that no TERM can come too early
	sigprocmask(SIG_BLOCK, $term, $before);
	my $pid = fork() // die "could not fork: $!\n";

	if ($pid)
	{
		sigprocmask(SIG_SETMASK, $before);
		return $pid;
	}
	my $ok = eval {
		$visit->() until _is_ended() || getppid() != $parent;
		$done->() if $done;
		1;
	};
	warn $@ unless $ok;
	# The parent's END blocks are not the child's
	POSIX::_exit($ok ? 0 : 1);
}

# Waits until the last visit is over.
sub stop_visitors
{
	my ($pid) = @_;

	kill 'TERM', $pid;
	waitpid($pid, 0);
	return;
}

sub _is_ended
{
	my $pending = POSIX::SigSet->new;

	sigpending($pending);
	return $pending->ismember(SIGTERM);
}

1;
