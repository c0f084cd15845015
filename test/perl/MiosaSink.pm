#
# A small HTTP server that logs its requests and answers by rules, for webhooks
# and for faults. One process, one event loop, Perl core only.
#
#   my $sink = MiosaSink->new(dir => $dir)->start;
#   $sink->answer('^/hook', status => 503, headers => {'Retry-After' => 1});
#   $sink->answer('^/slow/', hold => 'gate');   # until $sink->release('gate')
#   $sink->wait_for(2, '^/hook');               # the first two requests
#
# Without a rule the answer is 200 and the body is the path that was asked
# for. The newest rule that matches wins. A request that is in the log has its
# rule: what becomes of the rules afterwards does not change its answer.
#
package MiosaSink;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP qw(decode_json encode_json);
use MiosaConnections;
use MiosaHttp qw(http take_request);
use parent qw(MiosaLog);
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

my $library = dirname(abs_path(__FILE__));

# dir: an own folder; port: a free one when absent; address: to listen on,
# loopback when absent; keep: as MiosaServer
sub new
{
	my ($class, %arg) = @_;
	my $self = bless { rules => [], %arg }, $class;

	$self->make_server($self->{name} // 'sink');
	return $self;
}

sub start
{
	my ($self) = @_;

	$self->{server}->start($^X, "-I$library", '-MMiosaSink', '-e',
		'MiosaSink::serve(@ARGV)', $self->{dir}, $self->{port},
		$self->{address} // '127.0.0.1');
	return $self;
}

# Add a rule for paths (with query) that match the pattern:
#   status, headers, body   the answer; "%p" in the body is the path
#   method                  only for this method
#   times                   for so many requests, then the rule is over
#   delay                   seconds before the answer
#   hold                    no answer before release() of this name
#   hang                    no answer at all
#   reset                   the connection is reset instead
#   close                   the connection is closed instead
#   slow                    seconds between two bytes of the answer
#   raw                     these bytes instead, then the connection is closed
#   more                    and then these, again and again
#   leave                   the connection is closed after the answer, without
#                           having said so
#   chance                  the rule holds with this probability only
sub answer
{
	my ($self, $match, %rule) = @_;

	unshift @{ $self->{rules} },
	  { id => ++$self->{rule_id}, match => $match, %rule };
	$self->_write_rules;
	return $self;
}

# Forget all rules, but for this one if any; no request comes in between.
sub plain
{
	my ($self, $match, %rule) = @_;

	$self->{rules} = [];
	return $self->answer($match, %rule) if defined $match;
	$self->_write_rules;
	return $self;
}

sub release
{
	my ($self, $gate) = @_;

	open(my $fh, '>', "$self->{dir}/gate.$gate") or die "gate: $!\n";
	close $fh;
	return;
}

# Answered at once, by no rule, and not logged.
my $ping = '/-/ping';

sub ping
{
	my ($self) = @_;

	return http(port => $self->{port}, path => $ping);
}

# A request is {n, time, method, path, port, headers, body}: the port is the
# client's, header names are in lower case. Its mark is a pattern of its path.
sub meant
{
	my ($self, $request, $match) = @_;

	return !defined $match || $request->{path} =~ /$match/;
}

sub _write_rules
{
	my ($self) = @_;
	my $path = "$self->{dir}/rules";

	open(my $fh, '>', "$path.new") or die "$path.new: $!\n";
	print $fh encode_json($self->{rules});
	close $fh or die "$path.new: $!\n";
	rename("$path.new", $path) or die "$path: $!\n";
	return;
}

#
# What follows runs in the server process.
#

my ($dir, $log, $connections, %used, @rules, $rules_seen);

sub serve
{
	($dir, my $port, my $address) = @_;

	$SIG{PIPE} = 'IGNORE';
	open($log, '>>', "$dir/requests") or die "$dir/requests: $!\n";
	$log->autoflush(1);
	$connections = MiosaConnections->new($port, $address);
	while (1)
	{
		_read($_) for $connections->ready(_until_next());
		_turn($_) for grep { $_->{rule} } $connections->all;
	}
}

# Seconds until something is to be sent; gates are looked at every 10 ms.
sub _until_next
{
	my $wait = 1;

	for my $c (grep { $_->{rule} && !$_->{rule}{hang} } $connections->all)
	{
		my $left = $c->{rule}{hold} ? 0.01 : $c->{turn} - time();

		$wait = $left if $left < $wait;
	}
	return $wait < 0 ? 0 : $wait;
}

sub _read
{
	my ($c) = @_;

	return unless $connections->receive($c);
	_request($c) unless $c->{rule};
	return;
}

# Take one whole request from what has arrived, write it down, and decide
# when and how it is answered.
sub _request
{
	my ($c) = @_;
	my $request = take_request(\$c->{in}) or return;
	my ($method, $path) = @$request{qw(method path)};
	my $rule = $path eq $ping ? {} : _rule($method, $path);

	print $log encode_json(
		{
			n => ++$used{requests},
			time => time(),
			%$request,
			port => $c->{sock}->peerport
		}), "\n" unless $path eq $ping;

	$c->{path} = $path;
	$c->{head} = $method eq 'HEAD';
	$c->{close} = lc($request->{headers}{connection} // '') eq 'close';
	$c->{turn} = time() + ($rule->{delay} // 0);
	$c->{rule} = $rule;
	return;
}

sub _rule
{
	my ($method, $path) = @_;
	my $seen = join '.', (Time::HiRes::stat("$dir/rules"))[ 1, 7, 9 ];

	if ($seen ne ($rules_seen // ''))
	{
		$rules_seen = $seen;
		@rules = ();
		if (open(my $fh, '<', "$dir/rules"))
		{
			@rules = @{ decode_json(join '', <$fh>) };
			close $fh;
		}
	}
	for my $rule (@rules)
	{
		next if $path !~ /$rule->{match}/;
		next if $rule->{method} && $rule->{method} ne $method;
		next if defined $rule->{chance} && rand() >= $rule->{chance};
		next
		  if defined $rule->{times}
		  && ($used{ $rule->{id} } // 0) >= $rule->{times};
		$used{ $rule->{id} }++;
		return $rule;
	}
	return {};
}

# Go on with an answer whose time has come.
sub _turn
{
	my ($c) = @_;
	my $rule = $c->{rule};

	return if $rule->{hang} || $c->{turn} > time();
	return if $rule->{hold} && !-e "$dir/gate.$rule->{hold}";
	if ($rule->{reset})
	{
		setsockopt($c->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
		return $connections->drop($c);
	}
	return $connections->drop($c) if $rule->{close};
	$c->{out} //= $rule->{raw} // _answer($c);
	my $sent = syswrite($c->{sock}, $c->{out}, $rule->{slow} ? 1 : 65536);

	return $connections->drop($c) if !defined $sent && !$!{EAGAIN} && !$!{EINTR};
	substr($c->{out}, 0, $sent // 0) = '';
	$c->{turn} = time() + ($rule->{slow} // 0.001);
	$c->{out} = $rule->{more} if defined $rule->{more} && $c->{out} eq '';
	return if length $c->{out};
	delete @$c{qw(out rule)};
	return $connections->drop($c) if $c->{close} || $rule->{leave} || defined $rule->{raw};
	_request($c);
	_turn($c) if $c->{rule};
	return;
}

sub _answer
{
	my ($c) = @_;
	my $rule = $c->{rule};
	my $status = $rule->{status} // 200;
	my $body = $rule->{body} // "%p\n";
	my %header = (%{ $rule->{headers} // {} });

	$body =~ s/%p/$c->{path}/g;
	$body = '' if $status == 204 || $status == 304;
	$header{'Content-Length'} = length $body unless $status == 204;
	return "HTTP/1.1 $status Answer\r\n"
	  . join('', map { "$_: $header{$_}\r\n" } sort keys %header)
	  . "\r\n"
	  . ($c->{head} ? '' : $body);
}

1;
