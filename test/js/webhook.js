// A receiver of Standard Webhooks, which checks them with the library of that
// name, and a place "elsewhere" that nobody should be led to.

'use strict';

const { Webhook } = require('standardwebhooks');
const { json, serve } = require('./serve');

// Would the library take this for a message of the holder of the secret?
function verifies(secret, body, headers) {
	try {
		new Webhook(secret).verify(body, headers);
		return true;
	} catch {
		return false;
	}
}

// Whether one that was changed on its way is taken, in whatever place.
function forgeable(secret, body, headers) {
	const later = String(Number(headers['webhook-timestamp']) + 1);

	return (
		verifies(secret, Buffer.concat([body, Buffer.from(' ')]), headers) ||
		verifies(secret, body.subarray(0, -1), headers) ||
		verifies(secret, body, { ...headers, 'webhook-id': 'msg_other' }) ||
		verifies(secret, body, { ...headers, 'webhook-timestamp': later })
	);
}

// Answers 401 to what no secret of its own has signed; otherwise the first of
// options.answers, or 204. The state has a line for each message.
const receiver = {
	options: { secrets: [], answers: [] },
	state: { messages: [] },
	answer(request, options, state) {
		const body = Buffer.from(request.body, 'latin1');
		const { headers } = request;
		const good = options.secrets.map((secret) =>
			verifies(secret, body, headers)
		);

		state.messages.push({
			id: headers['webhook-id'],
			timestamp: headers['webhook-timestamp'],
			good,
			forgeable: options.secrets.some((secret) =>
				forgeable(secret, body, headers)
			),
			body: request.body,
		});
		if (!good.includes(true)) {
			return json(401, { error: 'no secret of ours has signed this' });
		}
		return options.answers.shift() || { status: 204 };
	},
};

const elsewhere = {
	options: {},
	state: {},
	answer: () => ({ status: 200 }),
};

serve({ receiver, elsewhere });
