# The order of requests to a scheduler: no deployment is left out, however many
# there are for its rate, and whatever it refuses of another.

use strict;
use warnings FATAL => 'all';

use MiosaHttp qw(poll_until);
use MiosaSink;
use MiosaTest qw(make_node);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = make_node('ask', 'miosa_rollback.capacity_interval = 1s');
my $sink = MiosaSink->new(dir => "$dir/sink")->start;

sql(q{
	INSERT INTO miosa.adapters (name, role, rate, burst, request) VALUES
		('slow', 'scheduler', 2, 1, '{"method": "PUT", "path": "/{deployment_id}/{count}"}');
	INSERT INTO miosa.adapters (name, role, per, request, remove) VALUES
		('machines', 'scheduler', 'instance', '{"method": "POST", "path": "/start/{instance_id}"}',
			'{"method": "POST", "path": "/stop/{instance_id}"}');
	SELECT miosa_put_tenant('ten_1', 'acme')});

# More than the scheduler takes in an interval, and nothing ever comes of it
sql(q{
	SELECT miosa_put_deployment('dep_' || i, 'ten_1', 'shop' || i, kind => 'dynamic') FROM generate_series(1, 9) i;
	SELECT miosa_put_version('dep_' || i, 'ver_1', 1, 'dynamic') FROM generate_series(1, 9) i;
	SELECT miosa_put_endpoint('slow', 'slow', '} . $sink->url . q{')});
sql(q{
	SELECT miosa_promote('dep_' || i, 'ver_1', 'key_' || i, 'test') FROM generate_series(1, 9) i});
for my $i (1 .. 9)
{
	ok($sink->wait_for(1, "^/dep_$i/1"), "dep_$i is asked for");
}
sql(q{SELECT miosa_remove_endpoint('slow')});

# A machine at which the service fails keeps no other one from being started
$sink->answer('^/start/m1$', status => 500);
sql(q{
	SELECT miosa_put_deployment('dep_m', 'ten_1', 'machines', kind => 'dynamic', desired_replicas => 3);
	SELECT miosa_put_version('dep_m', 'ver_1', 1, 'dynamic');
	SELECT miosa_report_instance('dep_m', 'm' || i, 'ver_1', 'stopped') FROM generate_series(1, 3) i;
	SELECT miosa_put_endpoint('machines', 'machines', '} . $sink->url . q{')});
sql(q{SELECT miosa_promote('dep_m', 'ver_1', 'key_m', 'test')});
ok($sink->wait_for(1, '^/start/m1$'), 'the first machine is asked for');
ok($sink->wait_for(1, '^/start/m2$'), 'so is the second');
ok($sink->wait_for(1, '^/start/m3$'), 'and the third');
ok($sink->wait_for(5, '^/start/m1$'), 'the first again and again');

sub sql { return $node->safe_psql('postgres', @_); }

done_testing();
