// Calls functions through a gateway with the client library that its users
// have. Each line of standard input is a call, {fn, args, get, token, headers};
// each line of standard output is what the library made of the answer.
//
//   node supabase.js URL

'use strict';

const readline = require('readline');
const { PostgrestClient } = require('@supabase/postgrest-js');

async function main() {
	for await (const line of readline.createInterface({ input: process.stdin })) {
		const { fn, args, get, token, headers } = JSON.parse(line);
		const client = new PostgrestClient(process.argv[2], {
			headers: token ? { Authorization: `Bearer ${token}` } : {},
		});
		let call = client.rpc(fn, args || {}, { get });

		for (const [name, value] of Object.entries(headers || {})) {
			call = call.setHeader(name, value);
		}
		const { status, data, error } = await call;

		console.log(JSON.stringify({ status, data, error }));
	}
}

main().catch((error) => {
	console.error(error);
	process.exitCode = 1;
});
