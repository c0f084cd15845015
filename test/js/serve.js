// The frame of the servers that tests run with Node.js: a port for each
// service, every request written down as it came in, and a port over which
// the test sets options and looks at the state.
//
//   node SCRIPT FOLDER '{"control": port, "service": port, ...}' '{}'
//
// The last argument is {service: {key, cert}}, file names, of those that speak
// TLS.
//
//   PUT /{service}   options, as JSON; they replace those of that name
//   GET /{service}   what the service has kept in its state
//
// A service is {state, options, answer(request, options, state)}; the answer
// is {status, headers, body}, or {status, raw}, the bytes to answer with, or a
// promise of one. How many connections came is counted in state.connections.
// Each request becomes a line of FOLDER/requests: {n, service, time, method, url,
// headers, body, raw, status, answer}, where the answer is its headers.

'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');

const folder = process.argv[2];
const [ports, tls] = [3, 4].map((i) => JSON.parse(process.argv[i] || '{}'));
let count = 0;

// Hand each whole request to a function, with the bytes that it came in.
// They are taken from the socket, before anybody has parsed them.
function listen(port, files, state, handle) {
	const options = files && {
		key: fs.readFileSync(files.key),
		cert: fs.readFileSync(files.cert),
	};
	const answer = (request, response) => {
		const chunks = [];

		request.on('data', (chunk) => chunks.push(chunk));
		request.on('end', () => {
			const raw = Buffer.concat(request.socket.taken.splice(0));

			handle(
				{
					method: request.method,
					url: request.url,
					headers: request.headers,
					body: Buffer.concat(chunks).toString('latin1'),
					raw: raw.toString('latin1'),
				},
				({ status, headers, body, raw: bytes }) => {
					if (bytes !== undefined) {
						request.socket.write(bytes);
						return;
					}
					response.writeHead(status, {
						'Content-Length': Buffer.byteLength(body || ''),
						...headers,
					});
					response.end(body || '');
				}
			);
		});
	};
	const server = files
		? https.createServer(options, answer)
		: http.createServer(answer);

	state.connections = 0;
	server.on(files ? 'secureConnection' : 'connection', (socket) => {
		state.connections += 1;
		socket.taken = [];
		socket.on('data', (chunk) => socket.taken.push(chunk));
	});
	server.keepAliveTimeout = 60000;
	server.listen(port, '127.0.0.1');
}

function record(name, request, answer) {
	fs.appendFileSync(
		`${folder}/requests`,
		JSON.stringify({
			n: ++count,
			service: name,
			time: Date.now() / 1000,
			...request,
			status: answer.status,
			answer: answer.headers || {},
		}) + '\n'
	);
}

exports.json = (status, value, headers) => ({
	status,
	headers: { 'Content-Type': 'application/json', ...headers },
	body: JSON.stringify(value),
});

// A request that nobody's documentation allows.
exports.wrong = (why) => ({ status: 499, body: `${why}\n` });

// What a JSON text says; undefined when it is none.
exports.parse = (text) => {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
};

// The answer that a test asks for instead, so many times; to those requests
// only that hold a text.
exports.ordered = (options, request) => {
	if (!options.times || !request.raw.includes(options.only || '')) {
		return undefined;
	}
	options.times -= 1;
	return { status: 200, ...options.answer };
};

exports.serve = (services) => {
	for (const [name, service] of Object.entries(services)) {
		listen(ports[name], tls[name], service.state, async (request, send) => {
			let answer;

			try {
				answer = await service.answer(request, service.options, service.state);
			} catch (error) {
				answer = { status: 500, body: `${error.stack}\n` };
			}
			record(name, request, answer);
			send(answer);
		});
	}
	listen(ports.control, undefined, {}, (request, send) => {
		const service = services[request.url.slice(1)];

		if (request.method === 'PUT') {
			const given = Buffer.from(request.body, 'latin1').toString();

			Object.assign(service.options, JSON.parse(given));
		}
		send({ status: 200, body: JSON.stringify(service.state) });
	});
};
