#
# A cluster as docs/growth.md describes it: on each node etcd, Patroni with
# contrib/patroni/patroni.yml and PostgreSQL, and HAProxy in front.
#
# Where the kernel lets this process make them, each node has a network of its
# own, in which programs listen on the ports of the documentation, and a small
# file system (test/suites runs the test in namespaces of its own). Nodes reach
# each other over one network, and clients, HAProxy and edges reach them over a
# second one, so that either can be cut. Else all are on loopback, and what
# needs more is not done.
#
package MiosaPatroni;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use HTTP::Tiny;
use JSON::PP qw(decode_json);
use MiosaFile qw(slurp spew);
use MiosaHttp qw(poll_until);
use MiosaServer;

my $contrib = dirname(abs_path(__FILE__)) . '/../../contrib/patroni';

# Megabytes of a node's file system
my $disk = 700;

# The ports of the documentation
my %documented = (
	client => 2379,
	peer => 2380,
	postgres => 5432,
	primary => 5000,
	rest => 8008,
	standby => 5001);

# dir: an own, short folder; isolated: networks and file systems can be made;
# synchronous: false for asynchronous replication; bindir: PostgreSQL's
# programs; settings: more text for miosa.conf
sub new
{
	my ($class, %arg) = @_;
	my $self = bless {
		synchronous => 1,
		settings => '',
		password => 'secret',
		host => $arg{isolated} ? '10.98.0.254' : '127.0.0.1',
		%arg
	}, $class;

	$self->{port} =
	  $arg{isolated}
	  ? \%documented
	  : { map { $_ => MiosaServer::free_port() } keys %documented };
	for my $n (1 .. 3)
	{
		push @{ $self->{node} },
		  {
			n => $n,
			name => "node$n",
			dir => "$arg{dir}/node$n",
			back => $arg{isolated} ? "10.99.0.$n" : '127.0.0.' . ($n + 1),
			front => $arg{isolated} ? "10.98.0.$n" : '127.0.0.' . ($n + 1),
			run => []
		  };
	}
	return $self;
}

sub nodes { my ($self) = @_; return @{ $self->{node} }; }

# Start everything; returns when the nodes have settled.
sub start
{
	my ($self) = @_;

	make_path($self->{dir});
	$self->_make_networks if $self->{isolated};
	for my $node ($self->nodes)
	{
		make_path($node->{dir});
		_command('mount', '-t', 'tmpfs', '-o', "size=${disk}m", 'miosa',
			$node->{dir})
		  if $self->{isolated};
		mkdir "$node->{dir}/run";
		chmod 0700, $node->{dir};
	}
	$self->_start_etcd($_) for $self->nodes;
	$self->_configure($_) for $self->nodes;
	$self->_start_patroni($_) for $self->nodes;
	$self->_start_haproxy;
	die $self->trouble('the nodes did not become a cluster')
	  unless $self->wait_settled;
	return $self;
}

# Make a bridge for each network, and a pair of interfaces for each node and
# network.
sub _make_networks
{
	my ($self) = @_;

	_command('ip', 'link', 'set', 'lo', 'up');
	_command('mount', '-t', 'tmpfs', 'miosa', '/run');

	# As Debian has it: a node connects to itself over IPv6 first
	spew("$self->{dir}/hosts", "127.0.0.1 localhost\n::1 localhost\n");
	_command('mount', '--bind', "$self->{dir}/hosts", '/etc/hosts');
	for my $net (qw(front back))
	{
		_command('ip', 'link', 'add', $net, 'type', 'bridge');
		_command('ip', 'link', 'set', $net, 'up');
	}
	_command('ip', 'address', 'add', '10.98.0.254/24', 'dev', 'front');
	_command('ip', 'address', 'add', '10.99.0.254/24', 'dev', 'back');
	for my $node ($self->nodes)
	{
		my $name = $node->{name};

		_command('ip', 'netns', 'add', $name);
		$node->{run} = [ 'nsenter', "--net=/run/netns/$name" ];
		_command(@{ $node->{run} }, 'ip', 'link', 'set', 'lo', 'up');
		for my $net (qw(front back))
		{
			_command('ip', 'link', 'add', "$net$node->{n}", 'type', 'veth',
				'peer', 'name', $net, 'netns', $name);
			_command('ip', 'link', 'set', "$net$node->{n}", 'master', $net,
				'up');
			_command(@{ $node->{run} }, 'ip', 'address', 'add',
				"$node->{$net}/24", 'dev', $net);
			_command(@{ $node->{run} }, 'ip', 'link', 'set', $net, 'up');
		}
	}
	return;
}

# Run a program that must succeed.
sub _command
{
	my (@command) = @_;

	system(@command) == 0 or die "@command failed\n";
	return;
}

# A program of a node, without the rights that making networks takes.
sub _on
{
	my ($self, $node, @command) = @_;

	return (@{ $node->{run} }, 'setpriv', '--inh-caps=-all', @command)
	  if $self->{isolated};
	return @command;
}

sub _server
{
	my ($self, $node, $name, @command) = @_;
	my $server = MiosaServer->new(
		name => "$name of $node->{name}",
		log => "$self->{dir}/$node->{name}-$name.log");

	$server->start($self->_on($node, @command));
	$node->{$name} = $server;
	return;
}

sub _start_etcd
{
	my ($self, $node) = @_;
	my ($client, $peer) = @{ $self->{port} }{qw(client peer)};

	# A busy machine answers late
	$self->_server(
		$node, 'etcd', 'etcd',
		'--enable-v2=true',
		'--name' => $node->{name},
		'--data-dir' => "$self->{dir}/$node->{name}-etcd",
		'--listen-client-urls' => "http://$node->{back}:$client",
		'--advertise-client-urls' => "http://$node->{back}:$client",
		'--listen-peer-urls' => "http://$node->{back}:$peer",
		'--initial-advertise-peer-urls' => "http://$node->{back}:$peer",
		'--initial-cluster' => join(',',
			map { "$_->{name}=http://$_->{back}:$peer" } $self->nodes),
		'--initial-cluster-token' => 'miosa',
		'--heartbeat-interval' => 200,
		'--election-timeout' => 2000);
	return;
}

# Replace text that must be there.
sub _replace
{
	my ($text, %by) = @_;

	for my $old (sort { length $b <=> length $a } keys %by)
	{
		$$text =~ s/\Q$old\E/$by{$old}/g
		  or die "\"$old\" is not in contrib/patroni\n";
	}
	return;
}

# Run the sed of docs/growth.md that writes a file, with another file as its
# result; what it wrote.
sub documented_file
{
	my ($result, $file, %variable) = @_;
	my $text = slurp("$contrib/../../docs/growth.md");
	my ($command) = $text =~ /^(sed (?:[^\n]*\\\n)*[^\n]* > \Q$result\E)$/m;

	die "docs/growth.md has no sed that writes $result\n" unless $command;
	$command =~ s/\Q$result\E$/$file/;
	local %ENV = (%ENV, %variable);
	_command('sh', '-ec', "cd $contrib/../..\n$command");
	$text = slurp($file);
	die "$file: $1 is not replaced\n" if $text =~ /(\@\w+\@)/;
	return $text;
}

# What the documentation has a person do, and what differs here.
sub _configure
{
	my ($self, $node) = @_;
	my $port = $self->{port};
	my $text = documented_file(
		'/etc/patroni/config.yml',
		"$node->{dir}/patroni.yml",
		NODE => $node->{name},
		ADDRESS => $node->{back},
		ETCD =>
		  join(',', map { "$_->{back}:$port->{client}" } $self->nodes),
		NETWORK => $self->{isolated} ? '10.98.0.0/15' : '127.0.0.0/8',
		SUPERUSER_PASSWORD => $self->{password},
		REPLICATION_PASSWORD => $self->{password});

	_replace(
		\$text,
		'/etc/patroni/miosa.conf' => "$node->{dir}/miosa.conf",
		'/usr/lib/postgresql/15/bin' => $self->{bindir},
		'/var/lib/postgresql/15/miosa' => "$node->{dir}/data",
		'/var/lib/postgresql/patroni.pgpass' => "$node->{dir}/pgpass",
		'/var/run/postgresql' => "$node->{dir}/run");
	_replace(
		\$text,
		'"*:5432"' => "$node->{back}:$port->{postgres}",
		'0.0.0.0:8008' => "$node->{back}:$port->{rest}",
		':5432' => ":$port->{postgres}",
		':8008' => ":$port->{rest}") unless $self->{isolated};
	_replace(\$text, 'synchronous_mode: true' => 'synchronous_mode: false')
	  unless $self->{synchronous};
	spew("$node->{dir}/patroni.yml", $text);
	spew("$node->{dir}/miosa.conf",
		slurp("$contrib/miosa.conf") . $self->{settings});
	return;
}

sub _start_patroni
{
	my ($self, $node) = @_;

	$self->_server($node, 'patroni', 'patroni', "$node->{dir}/patroni.yml");
	return;
}

sub _start_haproxy
{
	my ($self) = @_;
	my $port = $self->{port};
	my $text = documented_file(
		'/etc/haproxy/haproxy.cfg',
		"$self->{dir}/haproxy.cfg",
		map { ("ADDRESS_$_->{n}" => $_->{front}) } $self->nodes);

	_replace(
		\$text,
		'*:5000' => "127.0.0.1:$port->{primary}",
		'*:5001' => "127.0.0.1:$port->{standby}",
		':5432' => ":$port->{postgres}",
		'port 8008' => "port $port->{rest}") unless $self->{isolated};
	spew("$self->{dir}/haproxy.cfg", $text);
	$self->{haproxy} = MiosaServer->new(
		name => 'haproxy',
		log => "$self->{dir}/haproxy.log",
		port => $port->{primary})
	  ->start('haproxy', '-db', '-f', "$self->{dir}/haproxy.cfg");
	return;
}

# What Patroni says of the cluster: of the first node that answers.
sub members
{
	my ($self, @node) = @_;
	my $http = HTTP::Tiny->new(timeout => 3);

	for my $node (@node ? @node : $self->nodes)
	{
		my $answer =
		  $http->get("http://$node->{front}:$self->{port}{rest}/cluster");
		my $cluster = $answer->{success}
		  && eval { decode_json($answer->{content}) };

		return @{ $cluster->{members} } if $cluster;
	}
	return;
}

# The node that has the leader's key, in the eyes of the given nodes.
sub leader
{
	my ($self, @node) = @_;
	my ($leader) =
	  grep { $_->{role} eq 'leader' && $_->{state} eq 'running' }
	  $self->members(@node);

	return unless $leader;
	my ($found) = grep { $_->{name} eq $leader->{name} } $self->nodes;

	return $found;
}

# Whether there are a leader and two standbys that follow it, one of them
# synchronous.
sub settled
{
	my ($self) = @_;
	my $all = join ' ', sort map { "$_->{role}:$_->{state}" } $self->members;
	my $want = $self->{synchronous} ? 'sync_standby' : 'replica';

	return 0
	  unless $all =~
	  /^leader:running replica:(?:running|streaming) $want:(?:running|streaming)$/;
	return $self->query($self->leader, 'SELECT count(*) FROM pg_stat_replication WHERE state = \'streaming\'') eq '2';
}

sub wait_settled
{
	my ($self) = @_;

	return poll_until(sub { eval { $self->settled } }, 300);
}

# How to connect to an address as the superuser.
sub _psql
{
	my ($self, $host, $port, $database) = @_;

	return ('psql', '-XqAtw', '-v', 'ON_ERROR_STOP=1', '-d',
		"host=$host port=$port user=postgres password=$self->{password} dbname=$database connect_timeout=5");
}

# The answer of a node to a query, or die.
sub query
{
	my ($self, $node, $sql, $database) = @_;

	return $self->_query($sql,
		$self->_psql($node->{front}, $self->{port}{postgres}, $database // 'postgres'));
}

# The primary's, through HAProxy.
sub primary_query
{
	my ($self, $sql, $database) = @_;

	return $self->_query($sql,
		$self->_psql('127.0.0.1', $self->{port}{primary}, $database // 'postgres'));
}

sub _query
{
	my ($self, $sql, @psql) = @_;

	open(my $pipe, '-|', 'timeout', '60', @psql, '-c', $sql)
	  or die "psql: $!\n";
	local $/ = undef;
	my $out = <$pipe> // '';

	close $pipe or die "psql failed: $sql\n";
	$out =~ s{\n+\z}{};
	return $out;
}

# The process of the postmaster.
sub postmaster
{
	my ($self, $node) = @_;

	open(my $fh, '<', "$node->{dir}/data/postmaster.pid") or return;
	my $pid = <$fh>;
	close $fh;
	return $pid ? $pid + 0 : undef;
}

# A process and all that come from it.
sub _family
{
	my (@pid) = @_;
	my (%child, @all);

	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open(my $fh, '<', $stat) or next;
		my $line = <$fh> // '';

		close $fh;
		push @{ $child{$2} }, $1 if $line =~ /^(\d+) \(.*\) \S (\d+)/s;
	}
	while (defined(my $pid = shift @pid))
	{
		push @all, $pid;
		push @pid, @{ $child{$pid} // [] };
	}
	return @all;
}

# Stop all of Patroni and PostgreSQL of a node where they are.
sub freeze
{
	my ($self, $node) = @_;
	my %done;

	# New processes may come while the first ones are stopped
	for (1 .. 3)
	{
		my @pid = grep { !$done{$_}++ } _family($self->postmaster($node),
			$node->{patroni}{pid});

		kill 'STOP', @pid;
	}
	$node->{frozen} = [ keys %done ];
	return;
}

# Let them go on.
sub thaw
{
	my ($self, $node) = @_;

	kill 'CONT', @{ delete $node->{frozen} // [] };
	return;
}

# Cut a node off, from one network or from both, or connect it again.
sub network
{
	my ($self, $node, $state, @net) = @_;

	_command('ip', 'link', 'set', "$_$node->{n}", $state)
	  for @net ? @net : qw(front back);
	return;
}

# patronictl, on a node.
sub patronictl
{
	my ($self, $node, @arg) = @_;
	my @command =
	  $self->_on($node, 'patronictl', '-c', "$node->{dir}/patroni.yml", @arg);

	open(my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command)
	  or die "patronictl: $!\n";
	local $/ = undef;
	my $out = <$pipe> // '';

	return (close($pipe), $out);
}

# What happened, for messages.
sub trouble
{
	my ($self, $what) = @_;
	my @line = map { "  $_->{name}: $_->{role}, $_->{state}\n" } $self->members;

	for my $node ($self->nodes)
	{
		push @line, $node->{patroni}->trouble('this is its log')
		  if $node->{patroni};
	}
	return join('', "$what\n", @line);
}

1;
