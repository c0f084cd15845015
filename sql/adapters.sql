-- The adapters that are shipped: rows, as anybody could add them.

INSERT INTO miosa.adapters (name, description, stage, per, self_expires, settle, request, remove, volatile, marker_write, marker_read, builtin) VALUES
	('haproxy-map', 'HAProxy with a map from host to deployment/version, written over HTTP (http-request set-map)',
		0, 'host', false, '0',
		'{"method": "PUT", "path": "/map/{host}", "headers": {"Authorization": "Bearer {secret}", "x-deployment": "{deployment_id}", "x-version": "{version_id}"}}',
		'{"method": "DELETE", "path": "/map/{host}", "headers": {"Authorization": "Bearer {secret}"}}',
		true,
		'{"method": "PUT", "path": "/map/_epoch", "headers": {"Authorization": "Bearer {secret}", "x-version": "{epoch}"}}',
		'{"method": "GET", "path": "/map/_epoch", "headers": {"Authorization": "Bearer {secret}"}}', true),
	('varnish-xkey', 'Varnish with vmod xkey: forgets every object that is tagged with the deployment',
		1, 'deployment', true, '2 s',
		'{"method": "PURGE", "path": "/", "headers": {"xkey-purge": "{deployment_id}"}}',
		NULL, false, NULL, NULL, true),
	('varnish-purge', 'Varnish with return (purge): forgets the page / of each host, and no other; for sites of one page',
		1, 'host', true, '2 s',
		'{"method": "PURGE", "path": "/", "headers": {"Host": "{host}"}}',
		'{"method": "PURGE", "path": "/", "headers": {"Host": "{host}"}}', false, NULL, NULL, true),
	('varnish-ban', 'Varnish with std.ban on a header that holds the host: forgets everything of each host',
		1, 'host', true, '2 s',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}', false, NULL, NULL, true);

INSERT INTO miosa.adapters (name, description, verdicts, signer, request, builtin) VALUES
	('webhook', 'An HTTP service that takes the route as JSON by POST and answers 2xx (Standard Webhooks 1.0); 410 disables it',
		'{"410": "gone"}', 'standard-webhooks',
		'{"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"route.changed\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"epoch\":{epoch},\"operation_id\":{operation_id},\"deployment_id\":{deployment_id},\"tenant_id\":{tenant_id},\"version_id\":{version_id},\"version_number\":{version_number},\"release_id\":{release_id},\"storage_uri\":{storage_uri},\"sha256\":{sha256},\"hosts\":{hosts},\"removed_hosts\":{removed_hosts}}}"}', true);
