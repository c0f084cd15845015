#
# A router of PL/Proxy with shards, which are databases of servers that are there.
#
#   my $router = MiosaRouter->new($node, [ s0 => $node ], [ s1 => $other ]);
#   $router->sql('SELECT miosa_rollback(...)');    # on the router
#   $router->shard_sql('s1', 'SELECT ...');        # on a shard
#   $router->here('s1');      # an id that is a deployment's of that shard
#
package MiosaRouter;

use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Basename qw(dirname);

our $contrib = abs_path(dirname(abs_path(__FILE__)) . '/../../contrib/plproxy');

# Whether the server has PL/Proxy.
sub available
{
	chomp(my $share = qx(pg_config --sharedir));
	return -e "$share/extension/plproxy.control";
}

# The router is the database "router" of the first server.
sub new
{
	my ($class, $node, @shards) = @_;
	my $self = bless { node => $node, names => [ map { $_->[0] } @shards ] }, $class;

	$node->safe_psql('postgres', 'CREATE DATABASE router');
	_run_file($node, 'router', 'miosa_router.sql');
	for my $shard (@shards)
	{
		my ($name, $server) = @$shard;

		$self->{server}{$name} = $server;
		$server->safe_psql('postgres', "CREATE DATABASE $name");
		$server->safe_psql($name, 'CREATE EXTENSION miosa_rollback');
		_run_file($server, $name, 'miosa_shard.sql');
		$self->sql("SELECT miosa_router.add_shard('$name', 'host="
			  . $server->host . ' port=' . $server->port . " dbname=$name connect_timeout=60')");
	}
	$self->sql('SELECT miosa_router.spread_buckets()');
	return $self;
}

sub _run_file
{
	my ($node, $database, $file) = @_;
	my ($status, $out, $err) = $node->psql($database, "\\i $contrib/$file");

	die "$file: $err\n" if $status;
	return;
}

sub sql
{
	my ($self, $sql) = @_;

	return $self->{node}->safe_psql('router', $sql);
}

# (exit status, output, messages)
sub try
{
	my ($self, $sql) = @_;

	return $self->{node}->psql('router', $sql);
}

sub shard_sql
{
	my ($self, $name, $sql) = @_;

	return $self->{server}{$name}->safe_psql($name, $sql);
}

# The n-th id of the form dep_N that belongs to a shard.
sub here
{
	my ($self, $name, $n) = @_;

	return $self->sql("SELECT 'dep_' || i FROM generate_series(1, 1000) i
		JOIN miosa_router.all_shards() s ON s.number = miosa_router.shard_of('dep_' || i)
		WHERE s.name = '$name' ORDER BY i LIMIT 1 OFFSET @{[ ($n // 1) - 1 ]}");
}

1;
