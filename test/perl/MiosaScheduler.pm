#
# A small real scheduler: it is asked by webhook (adapter webhook-scheduler)
# how many instances of a version there shall be, starts and stops a process
# for each, has them served by HAProxy, and reports them by SQL as any
# scheduler of a platform would: starting, healthy, a heartbeat, stopping,
# stopped.
#
#   my $scheduler = MiosaScheduler->new(
#       dir => $dir,                        # an own folder
#       psql => [ $cluster->psql_command ], # how to report
#       secret => 'whsec_...',              # what requests are signed with
#       sockets => [ $edge->sockets ],      # of HAProxy; see MiosaHaproxy
#       boot => 2)->start;                  # seconds until an instance listens
#   ... miosa_put_endpoint('boots', 'webhook-scheduler', $scheduler->url, ...)
#   $scheduler->wait_for(1, 'ver_1');       # the first request about ver_1
#   $scheduler->instances('ver_1');         # [ {id, state, port, ...}, ... ]
#
# An instance answers "<h1>/VERSION/</h1>" to whatever it is asked, or what it
# has fetched from its version's URL in artifacts. It ends with the scheduler.
#
package MiosaScheduler;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use Digest::SHA qw(hmac_sha256);
use Fcntl;
use File::Basename qw(dirname);
use IO::Handle;
use IO::Socket::UNIX;
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(decode_base64 encode_base64);
use MiosaConnections;
use MiosaHttp qw(http take_request);
use MiosaServer;
use parent qw(MiosaLog);
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

my $library = dirname(abs_path(__FILE__));

# dir, psql, secret, sockets, boot: as above. stagger: seconds more for each
# instance of a version after the first (0). heartbeat: seconds between two of
# an instance (5). artifacts: by versions, the URL that an instance fetches its
# page from when it starts. refuse: answer so many requests with 503 first. hold:
# leave instances that start as they are until it is 0. keep: leave it running at
# exit, as MiosaServer does.
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {
		sockets => [],
		boot => 0,
		stagger => 0,
		heartbeat => 5,
		artifacts => {},
		refuse => 0,
		hold => 0,
		%arg
	}, $class;

	$self->make_server('scheduler');
	return $self;
}

sub start
{
	my ($self) = @_;
	my %option = map { $_ => $self->{$_} }
	  qw(dir port psql secret sockets boot stagger heartbeat artifacts
	  refuse hold);

	$self->{server}->start($^X, "-I$library", '-MMiosaScheduler', '-e',
		'MiosaScheduler::serve(@ARGV)', encode_json(\%option));
	return $self;
}

# Change boot, heartbeat, artifacts, refuse or hold while it runs.
sub set
{
	my ($self, %option) = @_;

	$self->_control('PUT', '/options', encode_json(\%option));
	return $self;
}

# The instances that run, {id, deployment, version, state, port, pid}, oldest
# first; of one version, or of all.
sub instances
{
	my ($self, $version) = @_;

	return
	  grep { !defined $version || $_->{version} eq $version }
	  @{ decode_json($self->_control('GET', '/instances')) };
}

# A request is {n, time, id, again, deployment, version, count, status}: again
# is true for one that was dropped because its id was seen before. Its mark is
# the version.
sub meant
{
	my ($self, $request, $version) = @_;

	return !defined $version || $request->{version} eq $version;
}

sub ping { my ($self) = @_; return $self->instances; }

sub _control
{
	my ($self, $method, $path, $body) = @_;
	my $answer = http(
		port => $self->{port},
		method => $method,
		path => $path,
		body => $body);

	die "scheduler: $path: $answer->{status} $answer->{body}\n" . $self->tail
	  unless $answer->{status} == 200;
	return $answer->{body};
}

#
# What follows runs in the scheduler's process.
#

my ($option, $log, $psql, $connections, %want, %instance, %seen);
my $requests = 0;
my $started = 0;
my $stop = 0;

sub serve
{
	$option = decode_json($_[0]);
	$SIG{PIPE} = 'IGNORE';
	$SIG{TERM} = sub { $stop = 1 };
	open($log, '>>', "$option->{dir}/requests") or die "requests: $!\n";
	$log->autoflush(1);
	$connections = MiosaConnections->new($option->{port});
	while (!$stop)
	{
		_read($_, \&_answer) for $connections->ready(%instance ? 0.02 : 0.5);
		_look_after($_) for sort { $a->{n} <=> $b->{n} } values %instance;
	}
	kill 'TERM', map { $_->{pid} } values %instance;
	return;
}

# Take whole requests from what has arrived, and answer each.
sub _read
{
	my ($c, $answer) = @_;

	return unless $connections->receive($c);
	while (my $request = take_request(\$c->{in}))
	{
		my $header = $request->{headers};
		my ($status, $text, @more) =
		  $answer->(
			$request->{method}, $request->{path}, $header, $request->{body});
		my $out = join "\r\n", "HTTP/1.1 $status Answer",
		  'Content-Length: ' . length $text, @more, '',
		  $request->{method} eq 'HEAD' ? '' : $text;

		$c->{sock}->blocking(1);
		print { $c->{sock} } $out or return $connections->drop($c);
		$c->{sock}->flush;
		$c->{sock}->blocking(0);
		return $connections->drop($c)
		  if lc($header->{connection} // '') eq 'close';
	}
	return;
}

sub _answer
{
	my ($method, $path, $header, $body) = @_;

	if ($method eq 'GET' && $path eq '/instances')
	{
		return (200, encode_json(
			[
				map {
					my $i = $_;
					+{ map { $_ => $i->{$_} }
						  qw(id deployment version state port pid) }
				} sort { $a->{n} <=> $b->{n} } values %instance
			]));
	}
	if ($method eq 'PUT' && $path eq '/options')
	{
		$option = { %$option, %{ decode_json($body) } };
		return (200, '');
	}
	return (405, '') unless $method eq 'POST';
	return (401, "not signed by our secret\n")
	  unless _is_signed($header, $body);
	return _take_request($header->{'webhook-id'}, $body);
}

# As Standard Webhooks 1.0 has it; without a secret everybody may ask.
sub _is_signed
{
	my ($header, $body) = @_;

	return 1 unless defined $option->{secret};
	my $key = decode_base64($option->{secret} =~ s/^whsec_//r);
	my $text = join '.', $header->{'webhook-id'} // '',
	  $header->{'webhook-timestamp'} // '', $body;
	my $good = 'v1,' . encode_base64(hmac_sha256($text, $key), '');

	return 0 + grep { $_ eq $good }
	  split / /, $header->{'webhook-signature'} // '';
}

# An absolute count, so it does not matter how often it is asked for; a
# message that came before is dropped all the same.
sub _take_request
{
	my ($id, $body) = @_;
	my $given = eval { decode_json($body)->{data} };
	my $status = 204;

	return (400, "no JSON\n") unless ref $given eq 'HASH';
	my ($deployment, $version, $count) =
	  @$given{qw(deployment_id version_id count)};

	return (422, "deployment_id, version_id or count is missing\n")
	  unless defined $deployment
	  && defined $version
	  && ($count // '') =~ /^\d+$/;
	$status = 503 if $option->{refuse} > 0 && $option->{refuse}--;
	print $log encode_json(
		{
			n => ++$requests,
			time => time(),
			id => $id,
			again => $seen{$id} ? 1 : 0,
			deployment => $deployment,
			version => $version,
			count => $count,
			status => $status
		}), "\n";
	return ($status, '') if $status != 204 || $seen{$id}++;
	$want{$deployment}{$version} = $count;
	_reconcile($deployment, $version);
	return ($status, '');
}

# As many as are wanted; the newest go first.
sub _reconcile
{
	my ($deployment, $version) = @_;
	my $count = $want{$deployment}{$version} // 0;
	my @there = sort { $a->{n} <=> $b->{n} }
	  grep {
			 $_->{deployment} eq $deployment
		  && $_->{version} eq $version
		  && $_->{state} ne 'stopping'
	  } values %instance;

	_stop_instance(pop @there) while @there > $count;
	for (@there + 1 .. $count)
	{
		_start_instance($deployment, $version);
	}
	return;
}

sub _start_instance
{
	my ($deployment, $version) = @_;
	my $port = MiosaServer::free_port();
	my $n = ++$started;
	my %slot = map { $_->{slot} => 1 }
	  grep { $_->{version} eq $version } values %instance;
	my ($slot) = grep { !$slot{$_} } 1 .. 1000;
	my $parent = $$;
	my $pid = fork() // die "could not fork: $!\n";

	if (!$pid)
	{
		no warnings 'exec';
		exec 'setpriv', '--pdeathsig', 'TERM', $^X, "-I$library",
		  '-MMiosaScheduler', '-e', 'MiosaScheduler::instance(@ARGV)', $port,
		  $version, "$version-$n",
		  $option->{boot} + ($slot - 1) * $option->{stagger},
		  $option->{artifacts}{$version} // ''
		  if getppid() == $parent;
		POSIX::_exit(127);
	}
	$instance{$n} = {
		n => $n,
		id => "$version-$n",
		deployment => $deployment,
		version => $version,
		slot => $slot,
		port => $port,
		pid => $pid,
		state => 'starting'
	};
	_report($instance{$n});
	return;
}

# Routers send requests elsewhere before it gets SIGTERM.
sub _stop_instance
{
	my ($i) = @_;

	$i->{state} = 'stopping';
	_report($i);
	_set_in_routers($i, 'state maint');
	kill 'TERM', $i->{pid};
	return;
}

# Has it come up, has it ended, is a heartbeat due?
sub _look_after
{
	my ($i) = @_;

	if (waitpid($i->{pid}, WNOHANG) != 0)
	{
		my $failed = $i->{state} ne 'stopping';

		_set_in_routers($i, 'state maint') if $failed;
		$i->{state} = $failed ? 'failed' : 'stopped';
		_report($i);
		delete $instance{ $i->{n} };
		_reconcile($i->{deployment}, $i->{version});
		return;
	}
	if ($i->{state} eq 'starting' && !$option->{hold} && _is_healthy($i))
	{
		_set_in_routers($i, "addr 127.0.0.1 port $i->{port}", 'state ready');
		$i->{state} = 'healthy';
		_report($i);
	}
	_report($i) if time() > $i->{reported} + $option->{heartbeat};
	return;
}

sub _is_healthy
{
	my ($i) = @_;

	return http(
		port => $i->{port},
		path => '/health',
		timeout => 30)->{status} == 200;
}

# What a router loses at a reload is set again with the next instance.
sub _set_in_routers
{
	my ($i, @what) = @_;

	for my $path (@{ $option->{sockets} })
	{
		for my $what (@what)
		{
			my $sock = IO::Socket::UNIX->new(Peer => $path);

			if (!$sock)
			{
				print STDERR "$path: $!\n";
				next;
			}
			print $sock "set server inst-$i->{version}/s$i->{slot} $what\n";
			$sock->flush;
			print STDERR "$path: $_" for grep { /\S/ && !/changed|no need/i } <$sock>;
			close $sock;
		}
	}
	return;
}

# By one psql that is there all the time; one that has ended is started again.
sub _report
{
	my ($i) = @_;
	my ($deployment, $id, $version, $state) =
	  map { s/'/''/gr } @$i{qw(deployment id version state)};

	$i->{reported} = time();
	if ($psql && waitpid($psql->{pid}, WNOHANG) != 0)
	{
		close $psql->{pipe};
		undef $psql;
	}
	if (!$psql)
	{
		my $pid = open(my $pipe, '|-', @{ $option->{psql} }, '-XqAt', '-o',
			'/dev/null') or die "could not run psql: $!\n";

		# Instances must not inherit it
		fcntl($pipe, F_SETFD, FD_CLOEXEC) or die "fcntl: $!\n";
		$pipe->autoflush(1);
		$psql = { pid => $pid, pipe => $pipe };
	}
	print { $psql->{pipe} }
	  "SELECT miosa_report_instance('$deployment', '$id', '$version',"
	  . " '$state', '127.0.0.1', $i->{port});\n"
	  or print STDERR "could not report: $!\n";
	return;
}

# An instance without its artifact does not come up.
sub _fetch
{
	my ($url) = @_;
	my ($port, $path) = $url =~ m{^http://127\.0\.0\.1:(\d+)(/.*)};
	my $answer = http(port => $port, path => $path);

	return $answer->{body} if $answer->{status} == 200;
	die "$url: $answer->{status}\n";
}

# An instance: nothing for some seconds, then its page.
sub instance
{
	my ($port, $version, $id, $boot, $artifact) = @_;
	my $page = "<h1>/$version/</h1>\n";

	$SIG{TERM} = sub { $stop = 1 };
	$SIG{PIPE} = 'IGNORE';
	$page = _fetch($artifact) if $artifact ne '';
	sleep($boot) if $boot > 0;
	return if $stop;
	my $answer = sub {
		return (200, $page, 'Content-Type: text/html',
			'Cache-Control: no-store', "X-Instance: $id");
	};

	$connections = MiosaConnections->new($port);
	while (!$stop)
	{
		_read($_, $answer) for $connections->ready(1);
	}
	# Routers may have begun to send a request
	my $until = time() + 1;

	while (time() < $until)
	{
		for my $c ($connections->ready(0.1))
		{
			_read($c, $answer);
			$until = time() + 1;
		}
	}
	return;
}

1;
