// node-postgres: strings without a type, objects as JSON without a type.
'use strict';

const { Client } = require('pg');
const { DEPLOYMENT: dep, V1: v1, V2: v2, KEY: key } = process.env;

async function main() {
	const db = new Client();

	await db.connect();
	const call = async (expression, ...values) => {
		const result = await db.query({
			text: `SELECT ${expression}`, values, rowMode: 'array' });
		console.log(result.rows[0][0]);
	};

	await call("miosa_promote($1, $2, $3) #>> '{operation,outcome}'", dep, v2, key);
	await call("miosa_promote($1::uuid, $2::uuid, $3::uuid) #>> '{operation,outcome}'", dep, v2, key);
	await call("miosa_rollback($1, $2, $3, $4, $5, $6) #>> '{operation,outcome}'",
		dep, v1, 'pg', 'INC-7', v2, { ticket: 7 });
	await call("miosa_plan($1, version_id => $2) #>> '{data,outcome}'", dep, v2);
	await call("miosa_deployment($1) #>> '{data,active_version_id}'", dep);
	await call('miosa_wait_converged($1, $2)', dep, '1 s');
	await db.end();
}

main().catch((error) => {
	console.error(error);
	process.exitCode = 1;
});
