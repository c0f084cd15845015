-- The adapters that are shipped: rows like those that users add.  What
-- distinguishes services of one kind (a map, a zone, a distribution) is in
-- the endpoint's URL.  Akamai is missing: it has a way of signing of its own.

-- Routers receive the new route.

INSERT INTO miosa.adapters (name, description, per, request, remove, wildcard_request, wildcard_remove, volatile, marker_write, marker_read, builtin) VALUES
	('haproxy-map', 'HAProxy with a map from host to deployment/version, written over HTTP (http-request set-map)', 'host',
		'{"method": "PUT", "path": "/map/{host}", "headers": {"Authorization": "Bearer {secret}", "x-deployment": "{deployment_id}", "x-version": "{version_id}"}}',
		'{"method": "DELETE", "path": "/map/{host}", "headers": {"Authorization": "Bearer {secret}"}}',
		'{"method": "PUT", "path": "/wildcard/{domain}", "headers": {"Authorization": "Bearer {secret}", "x-deployment": "{deployment_id}", "x-version": "{version_id}"}}',
		'{"method": "DELETE", "path": "/wildcard/{domain}", "headers": {"Authorization": "Bearer {secret}"}}',
		true,
		'{"method": "PUT", "path": "/map/_epoch.{origin}", "headers": {"Authorization": "Bearer {secret}", "x-version": "{epoch}"}}',
		'{"method": "GET", "path": "/map/_epoch.{origin}", "headers": {"Authorization": "Bearer {secret}"}}', true);

INSERT INTO miosa.adapters (name, description, per, signer, request, add, remove, builtin) VALUES
	('haproxy-dataplane', 'HAProxy Data Plane API 3, a map from host to deployment/version, without wildcard hosts; URL: .../v3/services/haproxy/runtime/maps/MAP; secret: USER:PASSWORD', 'host', 'header',
		'{"method": "PUT", "path": "/entries/{host}?force_sync=true", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"value": "{deployment_id}/{version_id}"}}',
		'{"method": "POST", "path": "/entries?force_sync=true", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"key": "{host}", "value": "{deployment_id}/{version_id}"}}',
		'{"method": "DELETE", "path": "/entries/{host}?force_sync=true", "headers": {"Authorization": "Basic {secret|base64}"}}', true),
	('nginx-plus-keyval', 'NGINX Plus, a key-value zone from host to deployment/version, with a state file, without wildcard hosts; URL: .../api/9/http/keyvals/ZONE; secret, if any: USER:PASSWORD', 'host', 'none',
		'{"method": "PATCH", "path": "", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"{host}": "{deployment_id}/{version_id}"}}',
		'{"method": "POST", "path": "", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"{host}": "{deployment_id}/{version_id}"}}',
		'{"method": "PATCH", "path": "", "headers": {"Authorization": "Basic {secret|base64}", "Content-Type": "application/json"}, "body": {"{host}": null}}', true);

-- An id of ours always begins with "miosa:", so that no deployment is called
-- like another object of the configuration.  A body is a text where a value
-- must stand without quotes: a list, or null for what serves nothing.  All
-- routes that match set the variables one after the other, so one that matches
-- by a wildcard host leaves alone what is set already.
INSERT INTO miosa.adapters (name, description, max_in_flight, request, add, volatile, marker_write, marker_read, builtin) VALUES
	('caddy', 'Caddy by its admin API: sets the variables miosa_deployment and miosa_version for the hosts', 1,
		$${"method": "PATCH", "path": "/id/miosa:{deployment_id}", "headers": {"Content-Type": "application/json"}, "body": "{\"@id\":\"miosa:{deployment_id}\",\"match\":[{\"host\":{plain_hosts}},{\"host\":{wildcard_hosts},\"vars\":{\"miosa_deployment\":[\"\",\"<nil>\"]}}],\"handle\":[{\"handler\":\"vars\",\"miosa_deployment\":{deployment_id},\"miosa_version\":{version_id}}]}"}$$,
		$${"method": "POST", "path": "/id/miosa/routes", "headers": {"Content-Type": "application/json"}, "body": "{\"@id\":\"miosa:{deployment_id}\",\"match\":[{\"host\":{plain_hosts}},{\"host\":{wildcard_hosts},\"vars\":{\"miosa_deployment\":[\"\",\"<nil>\"]}}],\"handle\":[{\"handler\":\"vars\",\"miosa_deployment\":{deployment_id},\"miosa_version\":{version_id}}]}"}$$,
		true,
		'{"method": "PATCH", "path": "/id/miosa_epoch", "headers": {"Content-Type": "application/json"}, "body": {"@id": "miosa_epoch", "handler": "vars", "epoch": "{epoch}"}}',
		'{"method": "GET", "path": "/id/miosa_epoch/epoch"}', true);

INSERT INTO miosa.adapters (name, description, verdicts, signer, request, builtin) VALUES
	('webhook', 'An HTTP service that takes the route as JSON by POST and answers 2xx (Standard Webhooks 1.0); secret, if any: whsec_ and base64',
		'{"410": "gone"}', 'standard-webhooks',
		$${"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"route.changed\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"epoch\":{epoch},\"operation_id\":{operation_id},\"deployment_id\":{deployment_id},\"tenant_id\":{tenant_id},\"version_id\":{version_id},\"version_number\":{version_number},\"release_id\":{release_id},\"storage_uri\":{storage_uri},\"sha256\":{sha256},\"hosts\":{hosts},\"removed_hosts\":{removed_hosts}}}"}$$, true);

-- Many routes in one request, for a service that has thousands of deployments.
INSERT INTO miosa.adapters (name, description, batch_max, verdicts, signer, request, builtin) VALUES
	('webhook-batch', 'An HTTP service that takes up to 100 routes at a time as JSON by POST and answers 2xx when it has all of them (Standard Webhooks 1.0); secret, if any: whsec_ and base64', 100,
		'{"410": "gone"}', 'standard-webhooks',
		$${"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"routes.changed\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"epoch\":{epoch},\"routes\":{routes}}}"}$$, true);

-- Caches receive purges.

INSERT INTO miosa.adapters (name, description, stage, per, self_expires, settle, success, request, remove, wildcard_request, wildcard_remove, builtin) VALUES
	('varnish-xkey', 'Varnish with vmod xkey: purges every object that is tagged with the deployment', 1, 'deployment', true, '2 s', NULL,
		'{"method": "PURGE", "path": "/", "headers": {"xkey-purge": "{deployment_id}"}}', NULL, NULL, NULL, true),
	('varnish-purge', 'Varnish with return (purge): purges the page / of each host, and no other; for sites of one page, without wildcard hosts', 1, 'host', true, '2 s', NULL,
		'{"method": "PURGE", "path": "/", "headers": {"Host": "{host}"}}',
		'{"method": "PURGE", "path": "/", "headers": {"Host": "{host}"}}', NULL, NULL, true),
	('varnish-ban', 'Varnish with std.ban on a header that holds the host: bans everything of each host', 1, 'host', true, '2 s', NULL,
		'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-host": "{host}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-domain": "{domain}"}}',
		'{"method": "BAN", "path": "/", "headers": {"x-ban-domain": "{domain}"}}', true),
	('nginx-cache-purge', 'nginx with ngx_cache_purge in a location of its own: purges the page / of each host, and no other; for sites of one page, without wildcard hosts', 1, 'host', true, '2 s', '{200,404}',
		'{"method": "GET", "path": "/_purge/{host}/"}',
		'{"method": "GET", "path": "/_purge/{host}/"}', NULL, NULL, true);

-- CDNs know what they hold by tags, one of which is the deployment's id.

INSERT INTO miosa.adapters (name, description, stage, self_expires, settle, timeout, batch_max, rate, burst, success_json_path, signer, request, builtin) VALUES
	('fastly', 'Fastly, by surrogate keys; URL: https://api.fastly.com/service/SERVICE; secret: the API token', 1, true, '2 s', '10 s', 256, NULL, 1, NULL, 'header',
		$${"method": "POST", "path": "/purge", "headers": {"Fastly-Key": "{secret}", "Content-Type": "application/json", "Accept": "application/json"}, "body": "{\"surrogate_keys\":{deployment_ids}}"}$$, true),
	('cloudflare', 'Cloudflare, by cache tags; URL: https://api.cloudflare.com/client/v4/zones/ZONE; secret: the API token. On the free plan use a copy with rate 0.08', 1, true, '2 s', '10 s', 100, 5, 5, '$.success == true', 'header',
		$${"method": "POST", "path": "/purge_cache", "headers": {"Authorization": "Bearer {secret}", "Content-Type": "application/json"}, "body": "{\"tags\":{deployment_ids}}"}$$, true),
	('bunny', 'bunny.net, by cache tags; URL: https://api.bunny.net/pullzone/ZONE; secret: the access key', 1, true, '2 s', '10 s', 1, NULL, 1, NULL, 'header',
		'{"method": "POST", "path": "/purgeCache", "headers": {"AccessKey": "{secret}", "Content-Type": "application/json"}, "body": {"CacheTag": "{deployment_id}"}}', true);

-- CloudFront has no tags, so everything is forgotten; too many invalidations
-- at a time are answered 400, which is no fault of the message.
INSERT INTO miosa.adapters (name, description, stage, self_expires, timeout, max_in_flight, batch_max, success, verdicts, signer, signer_options, request, marker_read, builtin) VALUES
	('cloudfront', 'Amazon CloudFront: invalidates everything of the distribution; URL: https://cloudfront.amazonaws.com/2020-05-31/distribution/ID; secret: KEYID:SECRET or KEYID:SECRET:TOKEN', 1, true, '10 s', 1, 100,
		'{201}', '{"400": "endpoint"}', 'sigv4', '{"service": "cloudfront", "region": "us-east-1"}',
		$${"method": "POST", "path": "/invalidation", "headers": {"Content-Type": "text/xml"}, "body": "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>1</Quantity><Items><Path>/*</Path></Items></Paths><CallerReference>{message_id}</CallerReference></InvalidationBatch>"}$$,
		'{"method": "GET", "path": "/invalidation"}', true);

-- Schedulers receive the number of instances that a version is to have.  A
-- version runs as a workload of its own, whose name is {workload}.

INSERT INTO miosa.adapters (name, description, role, timeout, signer, signer_options, success, charsets, request, poll, healthy_json_path, poll_valid, builtin) VALUES
	('kubernetes-scale', 'Kubernetes, a Deployment for each version; URL: https://HOST/apis/apps/v1/namespaces/NAMESPACE; secret: a token that may patch deployments/scale and get deployments', 'scheduler', '10 s', 'header', '{}', '{200}', '{"workload": "a-z0-9.-"}',
		$${"method": "PATCH", "path": "/deployments/{workload}/scale", "headers": {"Authorization": "Bearer {secret}", "Content-Type": "application/merge-patch+json", "Accept": "application/json"}, "body": "{\"spec\":{\"replicas\":{count}}}"}$$,
		'{"method": "GET", "path": "/deployments/{workload}", "headers": {"Authorization": "Bearer {secret}", "Accept": "application/json"}}',
		'$.status.readyReplicas', '$.kind == "Deployment"', true),
	('nomad-scale', 'Nomad, a job for each version, with one group that is called like the job; URL: https://HOST/v1; secret, if any: a token that may scale and read jobs', 'scheduler', '10 s', 'none', '{}', '{200}', '{}',
		$${"method": "POST", "path": "/job/{workload}/scale", "headers": {"X-Nomad-Token": "{secret}", "Content-Type": "application/json"}, "body": "{\"Count\":{count},\"Target\":{\"Group\":{workload}},\"Message\":\"miosa_rollback {operation_id}\",\"Meta\":{\"miosa_request\":{message_id}}}"}$$,
		'{"method": "GET", "path": "/job/{workload}/scale", "headers": {"X-Nomad-Token": "{secret}"}}',
		'$.TaskGroups.*.Healthy', '$.JobID.type() == "string"', true),
	('ecs-service', 'Amazon ECS, a service for each version in the cluster "default" of us-east-1 (for others use a copy); URL: https://ecs.us-east-1.amazonaws.com; secret: KEYID:SECRET or KEYID:SECRET:TOKEN', 'scheduler', '10 s', 'sigv4', '{"service": "ecs", "region": "us-east-1"}', '{200}', '{"workload": "A-Za-z0-9_-"}',
		$${"method": "POST", "path": "/", "headers": {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.UpdateService"}, "body": "{\"cluster\":\"default\",\"service\":{workload},\"desiredCount\":{count}}"}$$,
		$${"method": "POST", "path": "/", "headers": {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeServices"}, "body": "{\"cluster\":\"default\",\"services\":[{workload}]}"}$$,
		'$.services[0].runningCount', '$.services.size() == 1', true);

-- Its machines are made by others and are there while they are stopped; so it
-- is asked for each by itself, and they are reported with the machine's id.
INSERT INTO miosa.adapters (name, description, role, per, timeout, rate, burst, success, signer, request, remove, builtin) VALUES
	('fly-machines', 'Fly Machines, which are reported as instances by their ids; URL: https://api.machines.dev/v1/apps/APP; secret: the API token', 'scheduler', 'instance', '10 s', 1, 3, '{200}', 'header',
		'{"method": "POST", "path": "/machines/{instance_id}/start", "headers": {"Authorization": "Bearer {secret}"}}',
		'{"method": "POST", "path": "/machines/{instance_id}/stop", "headers": {"Authorization": "Bearer {secret}", "Content-Type": "application/json"}, "body": {}}', true);

INSERT INTO miosa.adapters (name, description, role, verdicts, signer, request, builtin) VALUES
	('webhook-scheduler', 'An HTTP service that takes the number of wanted instances as JSON by POST, answers 2xx and reports them with miosa_report_instance (Standard Webhooks 1.0); secret, if any: whsec_ and base64', 'scheduler',
		'{"410": "gone"}', 'standard-webhooks',
		$${"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"capacity.wanted\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"operation_id\":{operation_id},\"deployment_id\":{deployment_id},\"tenant_id\":{tenant_id},\"version_id\":{version_id},\"version_number\":{version_number},\"release_id\":{release_id},\"storage_uri\":{storage_uri},\"sha256\":{sha256},\"workload\":{workload},\"count\":{count}}}"}$$, true);

-- Hooks receive alerts that have done nothing.

INSERT INTO miosa.adapters (name, description, role, alerts, max_in_flight, signer, request, builtin) VALUES
	('alert-webhook', 'An HTTP service that receives alerts that roll nothing back: takes them as JSON by POST and answers 2xx (Standard Webhooks 1.0); secret, if any: whsec_ and base64', 'hook', true, 1, 'standard-webhooks',
		$${"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"alert.raised\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"number\":{epoch},\"alert\":{alert}}}"}$$, true);

-- Auditors receive heads of the audit trail.

INSERT INTO miosa.adapters (name, description, role, max_in_flight, signer, request, builtin) VALUES
	('audit-webhook', 'An HTTP service that keeps heads of the audit trail: takes statements as JSON by POST and answers 2xx (Standard Webhooks 1.0); secret: whsec_ and base64', 'audit', 1, 'standard-webhooks',
		$${"method": "POST", "path": "", "headers": {"Content-Type": "application/json"}, "body": "{\"type\":\"audit.statement\",\"timestamp\":{changed_at},\"data\":{\"id\":{message_id},\"number\":{epoch},\"sha256\":{sha256},\"statement\":{statement}}}"}$$, true);
