// Plays the services that cannot be run on a developer's machine, as strictly
// as their documentation says what they accept: Fastly, Cloudflare,
// CloudFront, Bunny, NGINX Plus, the HAProxy Data Plane API and S3. What a real
// one would refuse is refused; what it would forgive but no client should
// send is refused too, with 499.

'use strict';

const { json, ordered, parse, serve, wrong } = require('./serve');
const { refusal } = require('./sigv4');

const isTexts = (list) =>
	Array.isArray(list) && list.every((item) => typeof item === 'string' && item);

// A bucket of tokens that is filled at a rate; seconds to wait, 0 for none.
function take(bucket, rate, size) {
	const now = Date.now() / 1000;

	bucket.tokens = Math.min(
		size,
		(bucket.tokens ?? size) + (now - (bucket.filled ?? now)) * rate
	);
	bucket.filled = now;
	if (bucket.tokens < 1) {
		return (1 - bucket.tokens) / rate;
	}
	bucket.tokens -= 1;
	return 0;
}

const basic = (pair) => `Basic ${Buffer.from(pair).toString('base64')}`;

// POST /service/{id}/purge takes up to 256 keys, in a header or in the body,
// and not in both; a header of theirs has at most 16384 bytes, a key 1024.
const fastly = {
	options: { service: 'SU1Z0isxPaozGVKXdv0eY', secret: 'fastly-token' },
	state: { purged: {}, calls: 0 },
	answer(request, options, state) {
		const { headers } = request;
		const one = `/service/${options.service}/purge`;
		const given = parse(request.body);
		let keys;

		if (headers['fastly-key'] !== options.secret) {
			return json(401, { msg: 'Provided credentials are missing or invalid' });
		}
		if (request.method !== 'POST' || request.url !== one) {
			return json(404, { msg: 'Record not found' });
		}
		if (headers['surrogate-key'] !== undefined && request.body !== '') {
			return wrong('keys both in the header and in the body');
		}
		if (headers['surrogate-key'] !== undefined) {
			keys = headers['surrogate-key'].split(' ');
			if (headers['surrogate-key'].length > 16384) {
				return json(400, { msg: 'Surrogate-Key header too long' });
			}
		} else if (!/^application\/json/.test(headers['content-type'] || '')) {
			return json(415, { msg: 'Unsupported media type' });
		} else {
			keys = given && given.surrogate_keys;
		}
		if (!isTexts(keys) || keys.some((key) => key.length > 1024)) {
			return json(400, { msg: 'Bad request' });
		}
		if (keys.length > 256) {
			return json(400, { msg: 'Too many keys' });
		}
		if (new Set(keys).size !== keys.length) {
			return wrong('a key twice');
		}
		if (!/^(1|undefined)$/.test(headers['fastly-soft-purge'])) {
			return wrong('Fastly-Soft-Purge');
		}
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		keys.forEach((key) => (state.purged[key] = (state.purged[key] || 0) + 1));
		state.calls += 1;
		return json(
			200,
			Object.fromEntries(keys.map((key, i) => [key, `108-1391560174-${i}`]))
		);
	},
};

// POST /client/v4/zones/{zone}/purge_cache with up to 100 tags, and a bucket of
// tokens; the status of a refusal can be 200 with "success": false.
const cloudflare = {
	options: {
		zone: '023e105f4ecef8ad9ca31a8372d0c353',
		secret: 'cloudflare-token',
		rate: 5,
		bucket: 25,
	},
	state: { purged: {}, calls: 0, refused: 0, tokens: {} },
	answer(request, options, state) {
		const say = (status, errors, headers) =>
			json(
				status,
				{
					success: errors.length === 0,
					errors,
					messages: [],
					result: errors.length ? null : { id: options.zone },
				},
				headers
			);
		const { headers } = request;
		const given = parse(request.body);

		if (headers.authorization !== `Bearer ${options.secret}`) {
			return say(403, [{ code: 10000, message: 'Authentication error' }]);
		}
		if (
			request.method !== 'POST' ||
			request.url !== `/client/v4/zones/${options.zone}/purge_cache`
		) {
			return say(404, [{ code: 7003, message: 'Could not route' }]);
		}
		if (headers['content-type'] !== 'application/json') {
			return say(400, [{ code: 6003, message: 'Invalid request headers' }]);
		}
		if (
			!given ||
			Object.keys(given).join() !== 'tags' ||
			!isTexts(given.tags) ||
			given.tags.length === 0
		) {
			return say(400, [{ code: 1012, message: 'Request must contain tags' }]);
		}
		if (given.tags.length > 100) {
			return say(400, [{ code: 1094, message: 'Max 100 tags' }]);
		}
		if (new Set(given.tags).size !== given.tags.length) {
			return wrong('a tag twice');
		}
		const wait = take(state.tokens, options.rate, options.bucket);

		if (wait > 0) {
			state.refused += 1;
			return say(429, [{ code: 1134, message: 'Rate limited' }], {
				'Retry-After': String(Math.ceil(wait)),
			});
		}
		const other = ordered(options, request);

		if (other && other.success === false) {
			return say(200, [{ code: 1107, message: 'Only enterprise zones' }]);
		}
		if (other) {
			return other;
		}
		given.tags.forEach(
			(tag) => (state.purged[tag] = (state.purged[tag] || 0) + 1)
		);
		state.calls += 1;
		return say(200, []);
	},
};

const xml = (status, text) => ({
	status,
	headers: { 'Content-Type': 'text/xml' },
	body: `<?xml version="1.0"?>\n${text}`,
});

// POST /2020-05-31/distribution/{id}/invalidation; wildcards in progress are
// few, and a reference that is known is not invalidated again.
const cloudfront = {
	options: {
		name: 'cloudfront',
		region: 'us-east-1',
		distribution: 'EDFDVBD6EXAMPLE',
		id: 'AKIDEXAMPLE',
		secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
		most: 15,
		seconds: 0.5,
	},
	state: { batches: {}, calls: 0, repeated: 0, refused: 0, error: null },
	answer(request, options, state) {
		const refuse = (status, code, message) => {
			state.error = { code, message };
			return xml(
				status,
				'<ErrorResponse xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">' +
					`<Error><Type>Sender</Type><Code>${code}</Code>` +
					`<Message>${message}</Message></Error></ErrorResponse>`
			);
		};
		const unsigned = refusal(request, options);

		if (unsigned) {
			return refuse(403, ...unsigned);
		}
		if (
			request.url !==
			`/2020-05-31/distribution/${options.distribution}/invalidation`
		) {
			return refuse(404, 'NoSuchDistribution', request.url);
		}
		if (request.method === 'GET') {
			return xml(200, '<InvalidationList></InvalidationList>');
		}
		if (request.method !== 'POST') {
			return refuse(405, 'MethodNotAllowed', request.method);
		}
		if (!/^(text|application)\/xml$/.test(request.headers['content-type'])) {
			return refuse(400, 'MissingBody', 'Content-Type');
		}
		// The order of the members is the documentation's
		const parts = request.body.match(
			/^(?:<\?xml version="1\.0" encoding="UTF-8"\?>\s*)?<InvalidationBatch xmlns="http:\/\/cloudfront\.amazonaws\.com\/doc\/2020-05-31\/">(.*)<\/InvalidationBatch>\s*$/s
		);
		const reference =
			parts && parts[1].match(/<CallerReference>([^<]+)<\/CallerReference>/);
		const paths =
			parts && [...parts[1].matchAll(/<Path>([^<]*)<\/Path>/g)].map((m) => m[1]);
		const quantity = parts && parts[1].match(/<Quantity>(\d+)<\/Quantity>/);
		const rest =
			parts &&
			parts[1]
				.replace(/<CallerReference>[^<]+<\/CallerReference>/, '')
				.replace(/<Quantity>\d+<\/Quantity>/, '')
				.replace(/<Path>[^<]*<\/Path>/g, '')
				.replace(/\s+/g, '');

		if (
			!reference ||
			!quantity ||
			rest !== '<Paths><Items></Items></Paths>' ||
			paths.some((path) => !/^\/[\x21-\x7e]*$/.test(path))
		) {
			return refuse(400, 'MalformedXML', request.body);
		}
		if (Number(quantity[1]) !== paths.length) {
			return refuse(400, 'InconsistentQuantities', quantity[1]);
		}
		const known = state.batches[reference[1]];

		if (known && known.paths.join() !== paths.join()) {
			return refuse(400, 'InvalidationBatchAlreadyExists', reference[1]);
		}
		const now = Date.now() / 1000;
		const busy = Object.values(state.batches)
			.filter((batch) => now - batch.time < options.seconds)
			.reduce((sum, batch) => sum + batch.paths.length, 0);

		if (!known && busy + paths.length > options.most) {
			state.refused += 1;
			return refuse(400, 'TooManyInvalidationsInProgress', String(busy));
		}
		if (known) {
			state.repeated += 1;
		} else {
			state.batches[reference[1]] = { paths, time: now };
			state.calls += 1;
		}
		// What is lost on its way back has been done all the same
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		return xml(
			201,
			`<Invalidation><Id>I${state.calls}</Id><Status>InProgress</Status></Invalidation>`
		);
	},
};

// POST /pullzone/{id}/purgeCache with one tag.
const bunny = {
	options: { zone: '1234567', secret: 'bunny-key' },
	state: { purged: {} },
	answer(request, options, state) {
		const given = parse(request.body);

		if (request.headers.accesskey !== options.secret) {
			return json(401, { Message: 'The request authorization failed' });
		}
		if (
			request.method !== 'POST' ||
			request.url !== `/pullzone/${options.zone}/purgeCache`
		) {
			return json(404, { ErrorKey: 'pullzone.not_found' });
		}
		if (request.headers['content-type'] !== 'application/json') {
			return json(415, {});
		}
		// Without a tag the whole zone would be purged
		if (
			!given ||
			Object.keys(given).join() !== 'CacheTag' ||
			!isTexts([given.CacheTag])
		) {
			return wrong('CacheTag');
		}
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		state.purged[given.CacheTag] = (state.purged[given.CacheTag] || 0) + 1;
		return { status: 204 };
	},
};

// /api/9/http/keyvals/{zone}: PATCH changes one key that is there, or takes it
// away when the value is null; POST adds one that is not.
const keyval = {
	options: { zone: 'routes', secret: 'admin:keyval-password' },
	state: { pairs: {} },
	answer(request, options, state) {
		const say = (status, code) =>
			json(status, { error: { status, text: code, code }, request_id: '1' });
		const pair = parse(request.body);
		const keys = pair && Object.keys(pair);

		if (request.headers.authorization !== basic(options.secret)) {
			return say(401, 'Unauthorized');
		}
		if (request.url !== `/api/9/http/keyvals/${options.zone}`) {
			return say(404, 'KeyvalNotFound');
		}
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		if (request.method === 'GET') {
			return json(200, state.pairs);
		}
		if (!['POST', 'PATCH'].includes(request.method)) {
			return say(405, 'MethodDisabled');
		}
		if (!keys || Array.isArray(pair)) {
			return say(415, 'JsonError');
		}
		const [key] = keys;

		if (
			keys.length !== 1 ||
			!(
				typeof pair[key] === 'string' ||
				(pair[key] === null && request.method === 'PATCH')
			)
		) {
			return say(400, 'KeyvalFormatError');
		}
		if (request.method === 'POST') {
			if (key in state.pairs) {
				return say(409, 'KeyvalKeyExists');
			}
			state.pairs[key] = pair[key];
			return { status: 201 };
		}
		if (!(key in state.pairs)) {
			return say(404, 'KeyvalKeyNotFound');
		}
		if (pair[key] === null) {
			delete state.pairs[key];
		} else {
			state.pairs[key] = pair[key];
		}
		return { status: 204 };
	},
};

// /v3/services/haproxy/runtime/maps/{map}/entries: POST adds, PUT changes and
// DELETE removes the entry that is there.
const dataplane = {
	options: { map: 'routes', secret: 'admin:dataplane-password' },
	state: { entries: {} },
	answer(request, options, state) {
		const say = (code, message) => json(code, { code, message });
		const base = `/v3/services/haproxy/runtime/maps/${options.map}/entries`;
		const url = new URL(request.url, 'http://localhost');
		const key = decodeURIComponent(url.pathname.slice(base.length + 1));
		const given = parse(request.body);

		if (request.headers.authorization !== basic(options.secret)) {
			return say(401, 'unauthenticated for invalid credentials');
		}
		if (
			!(url.pathname === base || url.pathname.startsWith(`${base}/`)) ||
			!['', '?force_sync=true'].includes(url.search)
		) {
			return say(404, `path ${request.url} was not found`);
		}
		const other = ordered(options, request);

		if (other) {
			return other;
		}
		if (request.method === 'GET' && key in state.entries) {
			return json(200, { id: '0x1', key, value: state.entries[key] });
		}
		if (request.method === 'DELETE' && key in state.entries) {
			delete state.entries[key];
			return { status: 204 };
		}
		if (['POST', 'PUT'].includes(request.method)) {
			if (request.headers['content-type'] !== 'application/json') {
				return say(415, 'unsupported media type');
			}
			if (!given || typeof given.value !== 'string') {
				return say(422, 'value in body is required');
			}
		}
		if (request.method === 'POST' && url.pathname === base) {
			if (typeof given.key !== 'string') {
				return say(422, 'key in body is required');
			}
			if (given.key in state.entries) {
				return say(409, 'entry already exists');
			}
			state.entries[given.key] = given.value;
			return json(201, given);
		}
		if (request.method === 'PUT' && key in state.entries) {
			if (given.key !== undefined && given.key !== key) {
				return wrong('another key in the body');
			}
			state.entries[key] = given.value;
			return json(200, { key, value: given.value });
		}
		return say(404, 'entry not found');
	},
};

// Whatever is asked, signed as for S3 with a token of a session.
const s3 = {
	options: {
		name: 's3',
		region: 'eu-central-1',
		id: 'AKIDEXAMPLE',
		secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
		token: 'session/token==',
	},
	state: { error: null },
	answer(request, options, state) {
		const unsigned =
			request.headers['x-amz-security-token'] === options.token
				? refusal(request, options)
				: ['InvalidToken', request.headers['x-amz-security-token']];

		if (unsigned) {
			state.error = { code: unsigned[0], message: unsigned[1] };
		}
		return { status: unsigned ? 403 : 204 };
	},
};

serve({ fastly, cloudflare, cloudfront, bunny, keyval, dataplane, s3 });
