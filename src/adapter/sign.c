/*-------------------------------------------------------------------------
 *
 * sign.c
 *	  Signs requests with the secret of an endpoint.
 *
 * Standard Webhooks 1.0 adds three headers: an id, which is the same in every
 * retry, the time, and one signature for each valid secret.  For AWS Signature
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

/* Longest encoded key, and the size of a buffer to decode it into. */
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

/*
 * A webhook can do without a secret: then it is not signed.
 */
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
				return "the adapter requires a secret";
			break;
		case MRB_SIGNER_STANDARD_WEBHOOKS:
			if ((secret != NULL && webhook_key(secret, key) < 0) ||
				(previous != NULL && webhook_key(previous, key) < 0))
				return "the secret must be \"" WEBHOOK_PREFIX "\" followed by 24 to 64 bytes in base64";
			break;
		case MRB_SIGNER_SIGV4:
			if (secret == NULL ||
				mrb_sigv4_credentials(secret, &token) == NULL)
				return "the adapter requires a secret of the form KEYID:SECRET or KEYID:SECRET:TOKEN";
			path = strstr(url, "://");
			path = path != NULL ? strchr(path + 3, '/') : url;
			if (path != NULL && !mrb_request_text_is_encoded(path))
				return "the path of the URL must be fully percent-encoded to be signed";
			break;
	}
	return NULL;
}

/*
 * The signer "header" needs nothing here: its request holds {secret}.
 */
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
 * Decode the key of a secret into a buffer of WEBHOOK_BUFFER bytes.  Returns
 * its length, or -1 when the secret has another form.
 */
static int
webhook_key(const char *secret, uint8 *key)
{
	const char *encoded = secret + strlen(WEBHOOK_PREFIX);
	int			len;

	if (strncmp(secret, WEBHOOK_PREFIX, strlen(WEBHOOK_PREFIX)) != 0 ||
		strlen(encoded) > WEBHOOK_TEXT_MAX ||
		strspn(encoded, BASE64_ALPHABET) != strlen(encoded))
		return -1;
	len = pg_b64_decode(encoded, strlen(encoded), (MrbBase64Byte *) key,
						WEBHOOK_BUFFER);
	return len >= WEBHOOK_KEY_MIN && len <= WEBHOOK_KEY_MAX ? len : -1;
}

/*
 * Add the headers of Standard Webhooks.  Without a secret only the signature
 * is left out.
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

/*
 * Sign id, time and body with one secret; NULL when that is not possible.
 */
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
