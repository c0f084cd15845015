#
# What rollbacks cost: time of the processors, bytes of write-ahead log, flushes
# to disk and buffers, between two looks.
#
# Time is that of processes in /proc: the backends of clients, which have ended
# by the second look, so that their parent has their time; what delivers (the
# dispatcher, or a listener with its backend); and the rest of the server (WAL
# writer, checkpointer, launcher). Beside it stands that of the whole machine,
# clients and edges and strangers included. Autovacuum has to be off, since
# its workers would look like backends.
#
package MiosaCost;

use strict;
use warnings FATAL => 'all';

use MiosaBench qw(slurp);
use MiosaHttp qw(poll_until);
use MiosaSession;
use POSIX ();
use Time::HiRes qw(sleep);

# What the columns of a look are, in the order of a table.
our @KINDS = qw(backends deliverer rest machine wal fsyncs buffers);

# Statistics are reported at most once a second (PGSTAT_MIN_INTERVAL).
use constant REPORTED => 1.1;

my $tick = POSIX::sysconf(POSIX::_SC_CLK_TCK());

# db: a running MiosaCluster; database: where its session is
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {%arg}, $class;

	$self->{session} =
	  MiosaSession->new($self->{db}->psql_command($self->{database}))
	  or die "no session in \"$self->{database}\"\n";
	($self->{postmaster}) = split /\n/,
	  slurp("$self->{db}{dir}/data/postmaster.pid");
	$self->{fsyncs} =
	  $self->ask('SHOW server_version_num') >= 180000
	  ? q{(SELECT coalesce(sum(o.fsyncs), 0) FROM pg_stat_io o WHERE o.object = 'wal')}
	  : '(SELECT w.wal_sync FROM pg_stat_wal w)';
	return $self;
}

# A query of a session that stays, which costs little and is not counted.
sub ask
{
	my ($self, $sql) = @_;
	my ($status, $output, $messages) = $self->{session}->run($sql);

	die "$sql\n$messages" if $status != 0;
	return $output;
}

# The sums so far, before or after the work; deliverers: more processes that
# deliver, besides the dispatcher. The wait for statistics is not between the
# two looks at the processors.
sub before
{
	my ($self, @deliverer) = @_;
	my $statistics = $self->_statistics;

	return { %$statistics, %{ $self->_used(@deliverer) } };
}

sub after
{
	my ($self, @deliverer) = @_;
	my $used = $self->_used(@deliverer);

	return { %$used, %{ $self->_statistics } };
}

# Flushes and buffers, as far as they are reported.
sub _statistics
{
	my ($self) = @_;
	my %cost;

	sleep REPORTED;
	@cost{qw(fsyncs buffers)} = split /\|/, $self->ask(<<"EOS");
SELECT $self->{fsyncs}, (SELECT sum(d.blks_hit + d.blks_read)::bigint FROM pg_stat_database d)
EOS
	return \%cost;
}

# Time and WAL. Waits until the backends of clients have ended.
sub _used
{
	my ($self, @deliverer) = @_;
	my %delivers = map { $_ => 1 } @deliverer;
	my %cost = (deliverer => 0);

	poll_until(sub { !$self->_clients(\%delivers) }, 30)
	  or die "backends of clients do not end\n";
	$cost{machine} = _machine();
	$cost{wal} = $self->ask("SELECT pg_current_wal_insert_lsn() - '0/0'");
	@cost{qw(rest backends)} = _seconds_of_stat($self->{postmaster});
	$cost{deliverer} += _seconds($_) for @deliverer;
	for my $pid (grep { !$delivers{$_} } $self->_children)
	{
		next if $pid == $self->{session}{backend};
		$cost{ _title($pid) =~ /dispatcher/ ? 'deliverer' : 'rest' } +=
		  _seconds($pid);
	}
	return \%cost;
}

# What one rollback took of everything; times in microseconds.
sub of_one
{
	my ($before, $after, $rollbacks) = @_;
	my %unit = map { $_ => 1e6 } qw(backends deliverer rest machine);

	return map {
		$_ => ($after->{$_} - $before->{$_}) * ($unit{$_} // 1) / $rollbacks
	} @KINDS;
}

# Processes of the server but the first.
sub _children
{
	my ($self) = @_;
	my $list = slurp("/proc/$self->{postmaster}/task/$self->{postmaster}/children");

	return split ' ', $list;
}

# Backends of clients, besides ours and those of listeners.
sub _clients
{
	my ($self, $delivers) = @_;

	return grep {
			 $_ != $self->{session}{backend}
		  && !$delivers->{$_}
		  && _title($_) =~ /^postgres: postgres /
	} $self->_children;
}

# The title of a process; empty when it has ended.
sub _title
{
	my ($pid) = @_;

	open(my $fh, '<', "/proc/$pid/cmdline") or return '';
	return readline($fh) // '';
}

# Seconds that a process has run.
sub _seconds
{
	my ($pid) = @_;

	if (open(my $fh, '<', "/proc/$pid/schedstat"))
	{
		my ($ns) = split ' ', readline($fh) // '';

		return $ns / 1e9 if $ns;
	}
	return (_seconds_of_stat($pid))[0];
}

# Seconds of a process, and of its children that have ended.
sub _seconds_of_stat
{
	my ($pid) = @_;

	open(my $fh, '<', "/proc/$pid/stat") or return (0, 0);
	my @field = split ' ', (readline($fh) // '') =~ s/^.*\) //sr;

	return (($field[11] + $field[12]) / $tick,
		($field[13] + $field[14]) / $tick);
}

# Seconds that the processors of the machine were busy.
sub _machine
{
	my ($user, $nice, $system, undef, undef, $irq, $softirq) =
	  (split ' ', slurp('/proc/stat'))[ 1 .. 7 ];

	return ($user + $nice + $system + $irq + $softirq) / $tick;
}

1;
