#
# What a user would deliver with instead of the dispatcher: rows of a table,
# which a loop sends as pg_net does (curl_queue.c), and jobs of graphile-worker,
# which undici sends (job_queue.js).
#
package MiosaQueues;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use MiosaBench qw(progress slurp);
use MiosaHttp qw(poll_until);
use MiosaServer;

my $bench = dirname(__FILE__);

sub rows { return bless { name => 'rows', what => 'rows as pg_net' }, __PACKAGE__; }

sub jobs { return bless { name => 'jobs', what => 'graphile-worker' }, __PACKAGE__; }

# Start it; false if that is not possible on this machine.
sub start
{
	my ($self, $delivery, $database, $url) = @_;
	my $db = $delivery->{db};

	$self->{log} = "$delivery->{work}/$self->{name}.log";
	$self->{server} =
	  MiosaServer->new(name => $self->{name}, log => $self->{log});
	if ($self->{name} eq 'rows')
	{
		chomp(my @dir = `pg_config --includedir --libdir`);
		$delivery->compile('curl_queue', "-I$dir[0]", "-L$dir[1]", '-lpq',
			'-lcurl');
		$self->{server}->start("$delivery->{work}/curl_queue",
			"host=$db->{dir} port=$db->{port} user=postgres dbname=$database",
			200, $url);
		return 1;
	}
	return 0 unless fetched();
	$self->{server}->start('node', "$bench/job_queue.js", $db->{dir},
		$db->{port}, $database, 64, $url);
	poll_until(sub { -s $self->{log} && slurp($self->{log}) =~ /^ready$/m }, 60)
	  or die "graphile-worker does not start:\n" . slurp($self->{log});
	return 1;
}

sub stop { my ($self) = @_; return $self->{server}->stop; }

# The statements that put so much into the queue, in one transaction.
sub put
{
	my ($self, $count) = @_;

	return "SELECT queue.put_jobs($count)" if $self->{name} eq 'jobs';
	return "SELECT queue.put_rows($count); NOTIFY queue";
}

# Whether test/run could fetch the modules; else a line of the table says so.
sub fetched
{
	return 1 if -d "$ENV{MIOSA_TMP}/npm/node_modules/graphile-worker"
	  && -d "$ENV{MIOSA_TMP}/npm/node_modules/undici";
	progress('');
	print "graphile-worker is left out: npm is missing, or cannot fetch it\n";
	return 0;
}

1;
