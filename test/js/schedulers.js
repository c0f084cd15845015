// Plays the schedulers that cannot be run on a developer's machine, as strictly
// as their documentation says what they accept: Kubernetes, Nomad, Amazon ECS
// and Fly Machines. What a real one would refuse is refused; what it would
// forgive but no client should send is refused too, with 499.
//
// Workloads are options.workloads, by their names; those that are asked for
// are healthy options.boot seconds later, unless options.healthy says how many
// are. options.times, only and answer: the next answers to requests that hold
// a text.

'use strict';

const { json, ordered, parse, serve, wrong } = require('./serve');
const { refusal } = require('./sigv4');

const now = () => Date.now() / 1000;
const isCount = (n) => Number.isInteger(n) && n >= 0;

// A workload is {count, since, before}: how many there shall be, since when,
// and how many there were then.
function scale(state, name, count) {
	const old = state.workloads[name];

	state.workloads[name] = {
		count,
		since: now(),
		before: old ? old.count : 0,
		scaled: (old ? old.scaled : 0) + 1,
	};
}

function healthy(options, state, name) {
	const workload = state.workloads[name];

	if (options.healthy && name in options.healthy) {
		return options.healthy[name];
	}
	if (!workload) {
		return 0;
	}
	return now() < workload.since + options.boot
		? Math.min(workload.before, workload.count)
		: workload.count;
}

// PATCH .../deployments/{name}/scale as a merge patch, GET .../deployments/{name}.
const kubernetes = {
	options: {
		base: '/apis/apps/v1/namespaces/sites',
		secret: 'k8s-token',
		workloads: [],
		boot: 0.3,
	},
	state: { workloads: {} },
	answer(request, options, state) {
		const refuse = (code, reason, message) =>
			json(code, {
				kind: 'Status',
				apiVersion: 'v1',
				metadata: {},
				status: 'Failure',
				message,
				reason,
				code,
			});
		const parts = request.url.match(
			/^(\/apis\/apps\/v1\/namespaces\/[a-z0-9-]+)\/deployments\/([a-z0-9.-]+)(\/scale)?$/
		);

		if (request.headers.authorization !== `Bearer ${options.secret}`) {
			return refuse(401, 'Unauthorized', 'Unauthorized');
		}
		if (!parts || parts[1] !== options.base) {
			return refuse(404, 'NotFound', 'the server could not find the requested resource');
		}
		const [, , name, isScale] = parts;
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		if (!options.workloads.includes(name)) {
			return refuse(404, 'NotFound', `deployments.apps "${name}" not found`);
		}
		if (request.method === 'GET' && !isScale) {
			const ready = healthy(options, state, name);

			// What is zero is left out
			return json(200, {
				kind: 'Deployment',
				apiVersion: 'apps/v1',
				metadata: { name, generation: 1 },
				spec: { replicas: (state.workloads[name] || { count: 0 }).count },
				status: {
					observedGeneration: 1,
					...(ready === 0 ? {} : { replicas: ready, readyReplicas: ready }),
				},
			});
		}
		if (request.method !== 'PATCH' || !isScale) {
			return refuse(405, 'MethodNotAllowed', request.method);
		}
		if (request.headers['content-type'] !== 'application/merge-patch+json') {
			return refuse(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format');
		}
		const given = parse(request.body);

		if (given === undefined) {
			return refuse(400, 'BadRequest', 'invalid JSON');
		}
		if (JSON.stringify(given) !== `{"spec":{"replicas":${given.spec?.replicas}}}`) {
			return wrong('more than the replicas would be changed');
		}
		if (!isCount(given.spec.replicas)) {
			return refuse(422, 'Invalid', 'spec.replicas: must be greater than or equal to 0');
		}
		scale(state, name, given.spec.replicas);
		return json(200, {
			kind: 'Scale',
			apiVersion: 'autoscaling/v1',
			metadata: { name },
			spec: given.spec,
			status: { replicas: healthy(options, state, name) },
		});
	},
};

// POST /v1/job/{job}/scale, with a reason and not while the job is being
// deployed, options.active seconds; GET of the same.
const nomad = {
	options: { secret: 'nomad-token', workloads: [], boot: 0.3, active: 0 },
	state: { workloads: {}, blocked: 0 },
	answer(request, options, state) {
		const say = (status, text) => ({
			status,
			headers: { 'Content-Type': 'text/plain' },
			body: text,
		});
		const parts = request.url.match(/^\/v1\/job\/([A-Za-z0-9._-]+)\/scale$/);

		if (request.headers['x-nomad-token'] !== options.secret) {
			return say(403, 'ACL token not found');
		}
		if (!parts) {
			return say(404, 'Invalid URL');
		}
		const [, name] = parts;
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		if (!options.workloads.includes(name)) {
			return say(404, `job ${name} not found`);
		}
		const workload = state.workloads[name];

		if (request.method === 'GET') {
			const up = healthy(options, state, name);

			return json(200, {
				JobID: name,
				JobCreateIndex: 10,
				JobModifyIndex: 12,
				JobStopped: false,
				Namespace: 'default',
				TaskGroups: {
					[name]: {
						Desired: workload ? workload.count : 0,
						Placed: up,
						Running: up,
						Healthy: up,
						Unhealthy: 0,
						Events: null,
					},
				},
			});
		}
		if (!['POST', 'PUT'].includes(request.method)) {
			return say(405, 'Invalid method');
		}
		const given = parse(request.body);

		if (!given) {
			return say(400, 'invalid character');
		}
		if (!given.Message === !given.Error) {
			return say(400, 'one of Message and Error is required');
		}
		if (!given.Target || given.Target.Group !== name) {
			return say(400, `task group ${given.Target?.Group} specified for scaling does not exist in job`);
		}
		if (!isCount(given.Count)) {
			return say(400, 'scaling action count cannot be negative');
		}
		if (workload && now() < workload.since + options.active) {
			state.blocked += 1;
			return say(400, 'job scaling blocked due to active deployment');
		}
		scale(state, name, given.Count);
		return json(200, { EvalID: 'e-1', EvalCreateIndex: 13, JobModifyIndex: 13, Index: 13 });
	},
};

// POST / with the name of the action in X-Amz-Target, signed.
const ecs = {
	options: {
		name: 'ecs',
		region: 'us-east-1',
		id: 'AKIDEXAMPLE',
		secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
		workloads: [],
		boot: 0.3,
	},
	state: { workloads: {}, error: null },
	answer(request, options, state) {
		const say = (status, value) =>
			json(status, value, { 'Content-Type': 'application/x-amz-json-1.1' });
		const refuse = (code, message) => {
			state.error = { code, message };
			return say(400, { __type: code, message });
		};
		const unsigned = refusal(request, options);

		if (unsigned) {
			return refuse(...unsigned);
		}
		if (request.method !== 'POST' || request.url !== '/') {
			return wrong('everything is POST /');
		}
		if (request.headers['content-type'] !== 'application/x-amz-json-1.1') {
			return refuse('SerializationException', 'Content-Type');
		}
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		const [, action] =
			(request.headers['x-amz-target'] || '').match(
				/^AmazonEC2ContainerServiceV20141113\.([A-Za-z]+)$/
			) || [];
		const given = parse(request.body);
		const describe = (name) => ({
			serviceName: name,
			status: 'ACTIVE',
			desiredCount: (state.workloads[name] || { count: 0 }).count,
			runningCount: healthy(options, state, name),
			pendingCount: 0,
		});

		if (!given || given.cluster !== 'default') {
			return refuse('ClusterNotFoundException', 'Cluster not found.');
		}
		if (action === 'UpdateService') {
			if (!options.workloads.includes(given.service)) {
				return refuse('ServiceNotFoundException', 'Service not found.');
			}
			if (!isCount(given.desiredCount)) {
				return refuse('InvalidParameterException', 'desiredCount');
			}
			if (Object.keys(given).sort().join() !== 'cluster,desiredCount,service') {
				return wrong('more than the count would be changed');
			}
			scale(state, given.service, given.desiredCount);
			return say(200, { service: describe(given.service) });
		}
		if (action === 'DescribeServices') {
			const known = given.services.filter((name) => options.workloads.includes(name));

			return say(200, {
				services: known.map(describe),
				failures: given.services
					.filter((name) => !known.includes(name))
					.map((name) => ({ arn: name, reason: 'MISSING' })),
			});
		}
		return refuse('UnknownOperationException', String(action));
	},
};

// POST /v1/apps/{app}/machines/{id}/start and /stop: one request a second for
// each machine and action, three at once. A machine that is stopping can not
// be started.
const fly = {
	options: { app: 'sites', secret: 'fly-token', machines: [], boot: 0.3 },
	state: { machines: {}, buckets: {}, limited: 0 },
	answer(request, options, state) {
		const parts = request.url.match(
			/^\/v1\/apps\/([a-z0-9-]+)\/machines\/([a-z0-9]+)\/(start|stop)$/
		);

		if (request.headers.authorization !== `Bearer ${options.secret}`) {
			return json(401, { error: 'Authenticate: unauthorized' });
		}
		if (!parts || parts[1] !== options.app || !options.machines.includes(parts[2])) {
			return json(404, { error: 'machine not found' });
		}
		if (request.method !== 'POST') {
			return json(405, { error: 'method not allowed' });
		}
		if (request.body && parse(request.body) === undefined) {
			return json(400, { error: 'invalid JSON' });
		}
		const [, , id, action] = parts;
		const bucket = (state.buckets[`${id} ${action}`] ??= { tokens: 3, filled: now() });

		bucket.tokens = Math.min(3, bucket.tokens + (now() - bucket.filled));
		bucket.filled = now();
		if (bucket.tokens < 1) {
			state.limited += 1;
			return json(429, { error: 'rate limit exceeded' });
		}
		bucket.tokens -= 1;
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		const machine = (state.machines[id] ??= { state: 'stopped', since: 0 });

		if (machine.state === 'stopping' && now() > machine.since + options.boot) {
			machine.state = 'stopped';
		}
		if (action === 'start' && machine.state === 'stopping') {
			return json(412, {
				error: 'failed_precondition: machine still active, refusing to start',
			});
		}
		const previous = machine.state;
		const next = action === 'start' ? 'started' : 'stopping';

		if (!(action === 'stop' && previous === 'stopped') && previous !== next) {
			machine.state = next;
			machine.since = now();
		}
		return action === 'start'
			? json(200, { previous_state: previous, migrated: false, new_host: '' })
			: json(200, { ok: true });
	},
};

serve({ kubernetes, nomad, ecs, fly });
