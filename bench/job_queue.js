// A peer of delivery: jobs of graphile-worker, each of which sends a request
// with undici over connections that are kept.
//
// usage: job_queue.js HOST PORT DATABASE CONCURRENCY URL

'use strict';

const { run } = require('graphile-worker');
const pg = require('pg');
const { Pool } = require('undici');

const [host, port, database, concurrency, url] = process.argv.slice(2);
const edge = new Pool(url, { connections: Number(concurrency) });
const headers = { 'x-version': '2' };

async function deliver({ path }) {
	const { statusCode, body } = await edge.request({ method: 'PUT', path, headers, body: '' });

	await body.dump();
	if (statusCode !== 204)
		throw new Error(`the answer is ${statusCode}`);
}

run({
	pgPool: new pg.Pool({ host, port: Number(port), database, user: 'postgres', max: 10 }),
	concurrency: Number(concurrency),
	noHandleSignals: true,
	taskList: { deliver },
}).then(() => console.log('ready'));
