/*-------------------------------------------------------------------------
 *
 * sign.c
 *	  Signing requests with an endpoint's secret.
 *
 * Standard Webhooks 1.0: three headers, of which the id is the same on every
 * try, and the signature is one for each live secret.  For AWS Signature
 * Version 4 see sigv4.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/sha2.h"
#include "utils/timestamp.h"

#include "adapter/escape.h"
#include "adapter/sign.h"
#include "adapter/sigv4.h"
#include "base/compat.h"
#include "common/digest.h"

#define WEBHOOK_PREFIX "whsec_"
#define WEBHOOK_KEY_MIN 24
#define WEBHOOK_KEY_MAX 64

/* Longest text of a key, and what it can decode to. */
#define WEBHOOK_TEXT_MAX 88
#define WEBHOOK_BUFFER 66

#define BASE64_ALPHABET \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

static int	webhook_key(const char *secret, uint8 *key);
static const char *sign_webhook(const MrbTemplateValues *values,
								MrbHttpRequest *request);
static char *webhook_signature(const char *secret, const char *id,
							   const char *timestamp,
							   const MrbHttpRequest *request);

const char *
mrb_sign_check(const MrbAdapter *adapter, const char *url,
			   const char *secret, const char *previous)
{
	uint8		key[WEBHOOK_BUFFER];
	char	   *token;
	const char *path;

	switch (adapter->signer)
	{
		case MRB_SIGNER_NONE:
			break;
		case MRB_SIGNER_HEADER:
			if (secret == NULL)
				return "its adapter needs a secret";
			break;
		case MRB_SIGNER_STANDARD_WEBHOOKS:
			if ((secret != NULL && webhook_key(secret, key) < 0) ||
				(previous != NULL && webhook_key(previous, key) < 0))
				return "its secret must be " WEBHOOK_PREFIX " and base64 of 24 to 64 bytes";
			break;
		case MRB_SIGNER_SIGV4:
			if (secret == NULL ||
				mrb_sigv4_credentials(secret, &token) == NULL)
				return "its adapter needs a secret of the form KEYID:SECRET or KEYID:SECRET:TOKEN";
			path = strstr(url, "://");
			path = path != NULL ? strchr(path + 3, '/') : url;
			if (path != NULL && !mrb_request_text_is_encoded(path))
				return "the path of its url must be fully percent-encoded to be signed";
			break;
	}
	return NULL;
}

const char *
mrb_sign_request(const MrbAdapter *adapter, const MrbTemplateValues *values,
				 MrbHttpRequest *request)
{
	if (adapter->signer == MRB_SIGNER_STANDARD_WEBHOOKS)
		return sign_webhook(values, request);
	if (adapter->signer == MRB_SIGNER_SIGV4)
		return mrb_sigv4_sign(request, adapter->sigv4,
							  values->text[MRB_VAR_SECRET], values->mask);
	return NULL;
}

/*
 * Decode into a buffer of WEBHOOK_BUFFER bytes; the length, or -1.
 */
static int
webhook_key(const char *secret, uint8 *key)
{
	const char *text = secret + strlen(WEBHOOK_PREFIX);
	int			len;

	if (strncmp(secret, WEBHOOK_PREFIX, strlen(WEBHOOK_PREFIX)) != 0 ||
		strlen(text) > WEBHOOK_TEXT_MAX ||
		strspn(text, BASE64_ALPHABET) != strlen(text))
		return -1;
	len = pg_b64_decode(text, strlen(text), (MrbBase64Byte *) key,
						WEBHOOK_BUFFER);
	return len >= WEBHOOK_KEY_MIN && len <= WEBHOOK_KEY_MAX ? len : -1;
}

/*
 * Without a secret the message has its id and time all the same.
 */
static const char *
sign_webhook(const MrbTemplateValues *values, MrbHttpRequest *request)
{
	const char *id = values->text[MRB_VAR_MESSAGE_ID];
	const char *secrets[] = {
		values->text[MRB_VAR_SECRET], values->previous_secret
	};
	char	   *timestamp;
	StringInfoData signatures;

	if (id == NULL)
		return "{message_id} has no value (webhook-id)";
	timestamp = psprintf(INT64_FORMAT,
						 (int64) timestamptz_to_time_t(GetCurrentTimestamp()));
	mrb_request_add_header(request, psprintf("webhook-id: %s", id));
	mrb_request_add_header(request, psprintf("webhook-timestamp: %s", timestamp));

	initStringInfo(&signatures);
	for (size_t i = 0; i < lengthof(secrets); i++)
	{
		const char *signature = values->mask;

		if (secrets[i] == NULL)
			continue;
		if (signature == NULL)
			signature = webhook_signature(secrets[i], id, timestamp, request);
		if (signature == NULL)
			return "could not sign with the secret";
		appendStringInfo(&signatures, " v1,%s", signature);
	}
	if (signatures.len > 0)
		mrb_request_add_header(request, psprintf("webhook-signature:%s", signatures.data));
	return NULL;
}

static char *
webhook_signature(const char *secret, const char *id, const char *timestamp,
				  const MrbHttpRequest *request)
{
	uint8		key[WEBHOOK_BUFFER];
	uint8		mac[PG_SHA256_DIGEST_LENGTH];
	int			key_len = webhook_key(secret, key);
	const char *const parts[] = {id, ".", timestamp, ".", request->body};
	const size_t lengths[] = {
		strlen(id), 1, strlen(timestamp), 1, request->body_len
	};

	if (key_len < 0 ||
		!mrb_digest_hmac(key, key_len, parts, lengths, lengthof(parts), mac))
		return NULL;
	return mrb_escape_base64((char *) mac, sizeof(mac));
}
