// A gateway for the tests: the part of PostgREST that serves functions. It
// builds the transaction, its settings, the query and the answer to an error as
// PostgREST's documentation describes them (references: authentication,
// transactions, functions as RPC, errors).
//
// Options: secret (of the tokens, HS256), schema, pre_request, isolation.

'use strict';

const crypto = require('crypto');
const { Pool } = require('pg');
const { json, serve } = require('./serve');

const pool = new Pool({ max: 8 });

// A connection that the server has ended is replaced at the next request.
pool.on('error', () => {});

const quote = (name) => `"${name.replace(/"/g, '""')}"`;

// An answer that PostgREST gives by itself.
class Refusal extends Error {
	constructor(status, code, message) {
		super(message);
		Object.assign(this, { status, code });
	}
}

// The claims of the request's token.
function claims(request, secret) {
	const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization || '');

	if (!bearer) {
		throw new Refusal(401, 'PGRST302', 'Anonymous access is disabled');
	}
	const [head, body, signature] = bearer[1].split('.');
	const expected = crypto
		.createHmac('sha256', secret)
		.update(`${head}.${body}`)
		.digest('base64url');

	if (signature !== expected) {
		throw new Refusal(401, 'PGRST301', 'JWSError JWSInvalidSignature');
	}
	return JSON.parse(Buffer.from(body, 'base64url').toString());
}

// The function that has all given arguments, and needs no others.
async function find(db, schema, name, given) {
	const { rows } = await db.query(
		`SELECT p.provolatile AS volatility, p.proargnames AS names,
			ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, i) ORDER BY i) AS types,
			p.pronargs - p.pronargdefaults AS needed,
			(SELECT t.typname FROM pg_type t WHERE t.oid = p.prorettype AND t.typtype = 'd'
				AND t.typname ~ '^[A-Za-z0-9.-]+/[A-Za-z0-9.+-]+$') AS media
		FROM pg_proc p WHERE p.pronamespace = $1::regnamespace AND p.proname = $2`,
		[quote(schema), name]
	);
	const named = rows.filter(
		({ names, needed }) =>
			needed <= (names || []).length &&
			given.every((arg) => (names || []).includes(arg)) &&
			(names || []).slice(0, needed).every((arg) => given.includes(arg))
	);
	// Else the one whose only argument has no name takes the whole body.
	const found = named.length
		? named
		: rows.filter(
			({ names, types }) =>
				names === null && types.length === 1 && /^jsonb?$/.test(types[0])
		);

	if (found.length !== 1) {
		throw new Refusal(
			found.length ? 300 : 404,
			found.length ? 'PGRST203' : 'PGRST202',
			`Could not find the function ${schema}.${name}(${given.join(', ')}) in the schema cache`
		);
	}
	return found[0];
}

// The arguments: of the query string for GET, else of the body.
function read_arguments(request, url) {
	if (request.method !== 'POST') {
		// PostgREST takes these for its own, and passes none on to a function.
		return Object.fromEntries([...url.searchParams].filter(([name]) =>
			!['and', 'columns', 'limit', 'offset', 'on_conflict', 'or', 'order', 'select'].includes(name)));
	}
	const body = Buffer.from(request.body, 'latin1').toString();

	try {
		return body === '' ? {} : JSON.parse(body);
	} catch {
		throw new Refusal(400, 'PGRST102', 'Empty or invalid json');
	}
}

function call_query(schema, name, args, { names, types, needed, media }) {
	if (names === null && needed === 1) {
		return answer_query(`SELECT ${quote(schema)}.${quote(name)}($1::${types[0]}) AS pgrst_scalar`);
	}
	const type = (arg) => types[names.indexOf(arg)];
	const call = args
		.map((arg) => `${quote(arg)} := pgrst_args.${quote(arg)}`)
		.join(', ');
	const columns = args.map((arg) => `${quote(arg)} ${type(arg)}`).join(', ');
	const source = args.length
		? `json_to_record(pgrst_payload.json_data) AS _(${columns})`
		: '(SELECT) AS _';

	return answer_query(`SELECT pgrst_call.pgrst_scalar
		FROM (SELECT $1::json AS json_data) pgrst_payload,
		LATERAL (SELECT ${args.map(quote).join(', ')} FROM ${source}) pgrst_args,
		LATERAL (SELECT ${quote(schema)}.${quote(name)}(${call}) AS pgrst_scalar) pgrst_call`, media);
}

// The text of a function whose result is a domain called like a media type is
// served as it is (reference: media type handlers).
function answer_query(source, media) {
	const body = media
		? 'min(t.pgrst_scalar::text)'
		: "coalesce(json_agg(t.pgrst_scalar) -> 0, 'null')::text";

	return `WITH pgrst_source AS (${source})
	SELECT ${body} AS body,
		nullif(current_setting('response.headers', true), '') AS headers,
		nullif(current_setting('response.status', true), '') AS status
	FROM (SELECT * FROM pgrst_source) t`;
}

// The status of an error of the server.
function status_of(sqlstate, known) {
	const exact = {
		23503: 409, 23505: 409, 25006: 405, 53400: 500, 42883: 404,
		'42P01': 404, '42P17': 500, 42501: known ? 403 : 401, P0001: 400,
	};
	const classes = {
		'08': 503, '09': 500, '0L': 403, '0P': 403, 25: 500, 28: 403, '2D': 500,
		38: 500, 39: 500, '3B': 500, 40: 500, 53: 503, 54: 500, 55: 500,
		57: 500, 58: 500, F0: 500, HV: 500, P0: 500, XX: 500,
	};
	const own = /^PT(\d{3})$/.exec(sqlstate);

	return own
		? Number(own[1])
		: exact[sqlstate] || classes[sqlstate.slice(0, 2)] || 400;
}

function answer_error(error, known) {
	const { code, message, detail, hint } = error;

	if (code === undefined || error instanceof Refusal) {
		return json(error.status || 500, {
			code: code || 'PGRST000', details: null, hint: null, message });
	}
	if (code !== 'PGRST') {
		return json(status_of(code, known), {
			code, details: detail || null, hint: hint || null, message });
	}
	const body = JSON.parse(message);
	const { status, headers } = JSON.parse(detail);

	return json(status, {
		code: body.code,
		details: body.details || null,
		hint: body.hint || null,
		message: body.message,
	}, headers);
}

async function call(db, request, options, who) {
	const url = new URL(request.url, 'http://gateway');
	const name = /^\/rpc\/([^/]+)$/.exec(url.pathname);

	if (!name) {
		throw new Refusal(404, 'PGRST125', 'Invalid path specified in request URL');
	}
	if (!['GET', 'POST'].includes(request.method)) {
		throw new Refusal(405, 'PGRST117', `Unsupported HTTP method: ${request.method}`);
	}
	const args = read_arguments(request, url);
	const names = Object.keys(args);
	const it = await find(db, options.schema, name[1], names);
	const accepts = (request.headers.accept || '*/*').split(',').map((type) => type.split(';')[0].trim());

	if (it.media && !accepts.some((type) => [it.media, '*/*', it.media.replace(/\/.*/, '/*')].includes(type))) {
		throw new Refusal(406, 'PGRST107', `None of these media types are available: ${accepts.join(', ')}`);
	}
	const writes = request.method === 'POST' && it.volatility === 'v';

	await db.query(
		`BEGIN ISOLATION LEVEL ${options.isolation || 'READ COMMITTED'} READ ${writes ? 'WRITE' : 'ONLY'}`
	);
	await db.query(
		`SELECT set_config('search_path', $1, true), set_config('role', $2, true),
			set_config('request.jwt.claims', $3, true), set_config('request.method', $4, true),
			set_config('request.path', $5, true), set_config('request.headers', $6, true),
			set_config('request.cookies', '{}', true)`,
		[
			`${quote(options.schema)}, "public"`, who.role, JSON.stringify(who),
			request.method, url.pathname, JSON.stringify(request.headers),
		]
	);
	if (options.pre_request) {
		await db.query(`SELECT ${options.pre_request}()`);
	}
	const { rows } = await db.query(
		call_query(options.schema, name[1], names, it), [JSON.stringify(args)]
	);

	await db.query('COMMIT');
	return {
		status: Number(rows[0].status || 200),
		headers: Object.assign(
			{ 'Content-Type': it.media || 'application/json; charset=utf-8' },
			...JSON.parse(rows[0].headers || '[]')
		),
		body: rows[0].body,
	};
}

const postgrest = {
	options: {},
	state: {},
	async answer(request, options) {
		let who;
		let db;

		try {
			who = claims(request, options.secret);
			db = await pool.connect();
			return await call(db, request, options, who);
		} catch (error) {
			if (db) {
				await db.query('ROLLBACK').catch(() => {});
			}
			return answer_error(error, who !== undefined);
		} finally {
			if (db) {
				db.release();
			}
		}
	},
};

serve({ postgrest });
