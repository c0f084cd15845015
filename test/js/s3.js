// Object storage that speaks S3 as far as a search for an object needs it,
// and checks every signature: HEAD and GET, path-style and virtual-host style,
// signed in the headers or in the query.

'use strict';

const fs = require('fs');
const path = require('path');
const { serve } = require('./serve');
const { presign, presigned, refusal } = require('./sigv4');

// folder    holds real objects, as folder/bucket/key; null for none
// objects   {bucket: {key: size}}, others that are there
// domain    BUCKET.domain is the host of a bucket
// token     credentials of a session, which every request must have
// expired   they are no longer good
// list      whether they may list a bucket: without that, what is not there
//           is answered 403
// instead   {status, headers, body} or {raw}, answered to whatever is asked
const options = {
	name: 's3',
	region: 'eu-central-1',
	id: 'AKIDEXAMPLE',
	secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
	token: null,
	expired: false,
	list: true,
	folder: null,
	objects: {},
	domain: 'localhost',
	instead: null,
	presign: null,
};

function refuse(status, code, message, headers) {
	return {
		status,
		headers: { 'Content-Type': 'application/xml', ...headers },
		body:
			'<?xml version="1.0" encoding="UTF-8"?>\n' +
			`<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
	};
}

// A key is bytes to S3: only what no file system would read otherwise is
// looked for in the folder.
function file(bucket, key) {
	const name = path.join(options.folder, bucket, key);

	if (key.includes('\0') || name !== `${options.folder}/${bucket}/${key}`) {
		return undefined;
	}
	try {
		return fs.statSync(name).isFile() ? fs.readFileSync(name) : undefined;
	} catch {
		return undefined;
	}
}

// The content of an object; of one that is only listed, as many zeros.
function find(bucket, key) {
	const listed = options.objects[bucket];

	if (listed && Object.hasOwn(listed, key)) {
		return Buffer.alloc(listed[key], '0');
	}
	return options.folder ? file(bucket, key) : undefined;
}

function exists(bucket) {
	return (
		Object.hasOwn(options.objects, bucket) ||
		(options.folder !== null && fs.existsSync(`${options.folder}/${bucket}`))
	);
}

// Why the request is not let in; nothing when it is.
function unwelcome(request) {
	const { headers } = request;
	const scope = (
		headers.authorization ||
		new URL(request.url, 'http://localhost').searchParams.get(
			'X-Amz-Credential'
		) ||
		''
	).match(/\/\d{8}\/([^/]+)\/s3\/aws4_request/);

	if (!scope) {
		return refuse(403, 'AccessDenied', 'Access Denied');
	}
	if (scope[1] !== options.region) {
		return refuse(301, 'PermanentRedirect', options.region, {
			'x-amz-bucket-region': options.region,
		});
	}
	if (options.expired) {
		return refuse(403, 'ExpiredToken', 'The token has expired.');
	}
	if (headers.authorization && !headers['x-amz-content-sha256']) {
		return refuse(400, 'InvalidRequest', 'x-amz-content-sha256');
	}
	if (
		headers.authorization &&
		(headers['x-amz-security-token'] || null) !== options.token
	) {
		return refuse(403, 'InvalidToken', 'x-amz-security-token');
	}
	const wrong = headers.authorization
		? refusal(request, options)
		: presigned(request, options);

	return wrong && refuse(403, ...wrong);
}

// Bucket and key of a request, as bytes that were escaped, not as a path.
function named({ url, headers }) {
	const [host] = headers.host.split(':');
	const [where] = url.slice(1).split('?');

	if (host.endsWith(`.${options.domain}`)) {
		return [
			host.slice(0, -options.domain.length - 1),
			decodeURIComponent(where),
		];
	}
	const slash = `${where}/`.indexOf('/');

	return [
		decodeURIComponent(where.slice(0, slash)),
		decodeURIComponent(where.slice(slash + 1)),
	];
}

// What a request that was let in finds.
function look(request) {
	const [bucket, key] = named(request);
	const content = find(bucket, key);

	if (!['HEAD', 'GET'].includes(request.method)) {
		return refuse(405, 'MethodNotAllowed', request.method);
	}
	if (!exists(bucket)) {
		return refuse(404, 'NoSuchBucket', bucket);
	}
	if (content === undefined) {
		return options.list
			? refuse(404, 'NoSuchKey', 'The key does not exist.')
			: refuse(403, 'AccessDenied', 'Access Denied');
	}
	const range = /^bytes=0-(\d+)$/.exec(request.headers.range || '');

	if (range && content.length > 0) {
		const part = content.subarray(0, Number(range[1]) + 1);

		return {
			status: 206,
			headers: {
				'Content-Range': `bytes 0-${part.length - 1}/${content.length}`,
			},
			body: part,
		};
	}
	return { status: 200, body: content };
}

// The test sets {presign: {method, url, seconds}} and finds the URL in the
// state; what was refused last is there too, and how many signatures were
// found right.
serve({
	s3: {
		options,
		state: {
			refused: null,
			accepted: 0,
			get presigned() {
				const { method, url, seconds } = options.presign || {};

				return url && presign(method, url, seconds, options);
			},
		},
		answer(request, given, state) {
			const refused = options.instead || unwelcome(request);
			const found = refused || look(request);

			if (!refused) {
				state.accepted += 1;
			}
			if (found.status >= 300) {
				state.refused = found.body;
			}
			return found;
		},
	},
});
