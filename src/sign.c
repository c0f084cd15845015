/*-------------------------------------------------------------------------
 *
 * sign.c
 *	  Signing requests with an endpoint's secret.
 *
 * Standard Webhooks 1.0: three headers, of which the id is the same on every
 * try, and the signature is one for each live secret.  AWS Signature Version
 * 4: libcurl signs; what it leaves out is added here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "escape.h"
#include "sign.h"

#define WEBHOOK_PREFIX "whsec_"
#define WEBHOOK_KEY_MIN 24
#define WEBHOOK_KEY_MAX 64

/* Longest text of a key, and what it can decode to. */
#define WEBHOOK_TEXT_MAX 88
#define WEBHOOK_BUFFER 66

#define BASE64_ALPHABET \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

static int	webhook_key(const char *secret, uint8 *key);
static const char *sign_webhook(const MrbValues *values,
								MrbHttpRequest *request);
static char *webhook_signature(const char *secret, const char *id,
							   const char *timestamp,
							   const MrbHttpRequest *request);
static bool hmac_parts(const uint8 *key, int key_len, const char *const *parts,
					   const size_t *lengths, int n, uint8 *mac);
static char *split_sigv4(const char *secret, char **token);
static const char *sign_sigv4(const MrbAdapter *adapter,
							  const MrbValues *values,
							  MrbHttpRequest *request);
static bool path_can_be_signed(const MrbAdapter *adapter, const char *url);
static char *body_sha256(const MrbHttpRequest *request);
static void add_header(MrbHttpRequest *request, char *header);
static ResourceOwner enter_owner(void);

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
				split_sigv4(secret, &token) == NULL)
				return "its adapter needs a secret of the form KEYID:SECRET or KEYID:SECRET:TOKEN";
			path = strstr(url, "://");
			path = path != NULL ? strchr(path + 3, '/') : url;
			if (path != NULL && !mrb_call_text_is_encoded(path))
				return "the path of its url must be fully percent-encoded to be signed";
			break;
	}
	return NULL;
}

const char *
mrb_sign_request(const MrbAdapter *adapter, const MrbValues *values,
				 MrbHttpRequest *request)
{
	ResourceOwner saved = enter_owner();
	const char *problem = NULL;

	if (adapter->signer == MRB_SIGNER_STANDARD_WEBHOOKS)
		problem = sign_webhook(values, request);
	else if (adapter->signer == MRB_SIGNER_SIGV4)
		problem = sign_sigv4(adapter, values, request);
	CurrentResourceOwner = saved;
	return problem;
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
sign_webhook(const MrbValues *values, MrbHttpRequest *request)
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
	add_header(request, psprintf("webhook-id: %s", id));
	add_header(request, psprintf("webhook-timestamp: %s", timestamp));

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
		add_header(request, psprintf("webhook-signature:%s", signatures.data));
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
		!hmac_parts(key, key_len, parts, lengths, lengthof(parts), mac))
		return NULL;
	return mrb_escape_base64((char *) mac, sizeof(mac));
}

static bool
hmac_parts(const uint8 *key, int key_len, const char *const *parts,
		   const size_t *lengths, int n, uint8 *mac)
{
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);
	bool		ok = context != NULL && pg_hmac_init(context, key, key_len) >= 0;

	for (int i = 0; i < n && ok; i++)
		ok = lengths[i] == 0 ||
			pg_hmac_update(context, (const uint8 *) parts[i], lengths[i]) >= 0;
	ok = ok && pg_hmac_final(context, mac, PG_SHA256_DIGEST_LENGTH) >= 0;
	if (context != NULL)
		pg_hmac_free(context);
	return ok;
}

/*
 * KEYID:SECRET, and the token that may follow it; NULL when it is not that.
 */
static char *
split_sigv4(const char *secret, char **token)
{
	char	   *pair = pstrdup(secret);
	char	   *colon = strchr(pair, ':');
	char	   *end = colon != NULL ? strchr(colon + 1, ':') : NULL;

	*token = NULL;
	if (end != NULL)
	{
		*end = '\0';
		*token = end + 1;
	}
	if (colon == NULL || colon == pair || colon[1] == '\0' ||
		(end != NULL && ((*token)[0] == '\0' || strchr(*token, ':') != NULL)))
		return NULL;
	return pair;
}

/*
 * Services want the body's hash as a header of its own, and libcurl takes it
 * from there.
 */
static const char *
sign_sigv4(const MrbAdapter *adapter, const MrbValues *values,
		   MrbHttpRequest *request)
{
	const char *secret = values->text[MRB_VAR_SECRET];
	char	   *token = NULL;
	char	   *hash = body_sha256(request);
	char	   *credentials =
	secret != NULL ? split_sigv4(secret, &token) : NULL;

	if (credentials == NULL || hash == NULL)
		return "could not sign with the secret";

	if (!path_can_be_signed(adapter, request->url))
		return "the path has percent-encoding that cannot be signed";
	add_header(request, psprintf("x-amz-content-sha256: %s", hash));
	if (token != NULL)
		add_header(request, psprintf("x-amz-security-token: %s",
									 values->mask ? values->mask : token));
	if (values->mask != NULL)
		add_header(request, psprintf("authorization: AWS4-HMAC-SHA256 %s",
									 values->mask));
	request->sigv4 = adapter->sigv4;
	request->credentials = credentials;
	return NULL;
}

/*
 * Services compute the signature from the path as they understand it: S3
 * with a slash where there was "%2F", all others encoded once more.  libcurl
 * signs what it sends.
 */
static bool
path_can_be_signed(const MrbAdapter *adapter, const char *url)
{
	if (strcmp(strrchr(adapter->sigv4, ':'), ":s3") != 0)
		return strchr(url, '%') == NULL;
	return strstr(url, "%2F") == NULL && strstr(url, "%2f") == NULL;
}

/*
 * In hexadecimal digits; NULL when it failed.
 */
static char *
body_sha256(const MrbHttpRequest *request)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	uint8		hash[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc0(2 * sizeof(hash) + 1);
	bool		ok;

	ok = context != NULL && pg_cryptohash_init(context) >= 0 &&
		(request->body_len == 0 ||
		 pg_cryptohash_update(context, (const uint8 *) request->body,
							  request->body_len) >= 0) &&
		pg_cryptohash_final(context, hash, sizeof(hash)) >= 0;
	if (context != NULL)
		pg_cryptohash_free(context);
	if (!ok)
		return NULL;
	hex_encode((char *) hash, sizeof(hash), hex);
	return hex;
}

/*
 * mrb_call_render() has left room for MRB_CALL_MORE_HEADERS.
 */
static void
add_header(MrbHttpRequest *request, char *header)
{
	const char **headers = (const char **) request->headers;

	while (*headers != NULL)
		headers++;
	*headers = header;
}

/*
 * The server's hashes want an owner for what they open, and outside of
 * transactions there is none.  Returns the one to go back to.
 */
static ResourceOwner
enter_owner(void)
{
	static ResourceOwner ours = NULL;
	ResourceOwner saved = CurrentResourceOwner;

	if (saved == NULL)
	{
		if (ours == NULL)
			ours = ResourceOwnerCreate(NULL, "miosa_rollback signing");
		CurrentResourceOwner = ours;
	}
	return saved;
}
