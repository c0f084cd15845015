// Signatures as AWS checks them. Both functions return nothing when all is
// well, else [code, message]; options are {name, region, id, secret}, name
// being that of the service.

'use strict';

const crypto = require('crypto');
const aws4 = require('aws4');

const moment = (text) =>
	Date.parse(
		text.replace(
			/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/,
			'$1-$2-$3T$4:$5:$6Z'
		)
	);

// Check the signature in the headers against what aws4, which is nobody's of
// ours, makes of those that were signed.
exports.refusal = (request, options) => {
	const { headers } = request;
	const parts = (headers.authorization || '').match(
		/^AWS4-HMAC-SHA256 Credential=([^/]+)\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/
	);
	const date = headers['x-amz-date'] || '';
	const age = Date.now() - moment(date);

	if (!parts) {
		return ['IncompleteSignature', headers.authorization];
	}
	const [, id, scope, names, found] = parts;
	const signed = names.split(';');

	if (id !== options.id) {
		return ['InvalidClientTokenId', id];
	}
	if (!(Math.abs(age) < 300000)) {
		return ['RequestExpired', date];
	}
	if (
		scope !==
		`${date.slice(0, 8)}/${options.region}/${options.name}/aws4_request`
	) {
		return ['SignatureDoesNotMatch', scope];
	}
	for (const name of Object.keys(headers)) {
		if (/^(host|x-amz-.*)$/.test(name) && !signed.includes(name)) {
			return ['SignatureDoesNotMatch', `${name} is not signed`];
		}
	}
	if (!signed.every((name) => headers[name] !== undefined)) {
		return ['SignatureDoesNotMatch', `not all of ${names} are there`];
	}
	const body = Buffer.from(request.body, 'latin1');
	const hash = crypto.createHash('sha256').update(body).digest('hex');

	if (![undefined, hash].includes(headers['x-amz-content-sha256'])) {
		return ['XAmzContentSHA256Mismatch', hash];
	}
	const signer = new aws4.RequestSigner(
		{
			service: options.name,
			region: options.region,
			method: request.method,
			path: request.url,
			body,
			headers: Object.fromEntries(signed.map((name) => [name, headers[name]])),
			doNotModifyHeaders: true,
		},
		{ accessKeyId: id, secretAccessKey: options.secret }
	);

	signer.datetime = date;
	return signer.signature() === found && signer.signedHeaders() === names
		? undefined
		: ['SignatureDoesNotMatch', signer.canonicalString()];
};

// The same for a signature in the query of a URL that was signed beforehand.
exports.presigned = (request, options) => {
	const { searchParams } = new URL(request.url, 'http://localhost');
	const given = (name) => searchParams.get(`X-Amz-${name}`) || '';
	const age = (Date.now() - moment(given('Date'))) / 1000;
	const signed = given('SignedHeaders').split(';');

	if (given('Algorithm') !== 'AWS4-HMAC-SHA256') {
		return ['AuthorizationQueryParametersError', given('Algorithm')];
	}
	if (
		given('Credential') !==
		[
			options.id,
			given('Date').slice(0, 8),
			options.region,
			options.name,
			'aws4_request',
		].join('/')
	) {
		return ['InvalidAccessKeyId', given('Credential')];
	}
	if (!(age > -300 && age < Number(given('Expires')))) {
		return ['AccessDenied', 'Request has expired'];
	}
	const signer = new aws4.RequestSigner(
		{
			service: options.name,
			region: options.region,
			method: request.method,
			path: request.url.replace(/&X-Amz-Signature=[0-9a-f]*/, ''),
			headers: Object.fromEntries(
				signed.map((name) => [name, request.headers[name] || ''])
			),
			signQuery: true,
		},
		{ accessKeyId: options.id, secretAccessKey: options.secret }
	);

	signer.datetime = given('Date');
	return signer.signature() === given('Signature')
		? undefined
		: ['SignatureDoesNotMatch', signer.canonicalString()];
};

// What a URL becomes that lets its bearer make one request.
exports.presign = (method, url, seconds, options) => {
	const { host, pathname } = new URL(url);
	const signed = aws4.sign(
		{
			service: options.name,
			region: options.region,
			method,
			host,
			path: `${pathname}?X-Amz-Expires=${seconds}`,
			signQuery: true,
		},
		{ accessKeyId: options.id, secretAccessKey: options.secret }
	);

	return new URL(signed.path, url).href;
};
