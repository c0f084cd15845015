/*-------------------------------------------------------------------------
 *
 * digest.c
 *	  SHA-256, inside and outside of transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#include "common/digest.h"

static ResourceOwner enter_owner(void);

/*
 * Return the SHA-256 of some bytes as hexadecimal digits; NULL when the server's
 * implementation fails.
 */
char *
mrb_digest_sha256(const char *data, size_t len)
{
	ResourceOwner saved = enter_owner();
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	uint8		hash[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc0(2 * sizeof(hash) + 1);
	bool		ok;

	ok = context != NULL && pg_cryptohash_init(context) >= 0 &&
		(len == 0 ||
		 pg_cryptohash_update(context, (const uint8 *) data, len) >= 0) &&
		pg_cryptohash_final(context, hash, sizeof(hash)) >= 0;
	if (context != NULL)
		pg_cryptohash_free(context);
	CurrentResourceOwner = saved;
	if (!ok)
		return NULL;
	hex_encode((char *) hash, sizeof(hash), hex);
	return hex;
}

/*
 * Compute the HMAC-SHA-256 of the concatenation of n parts.
 */
bool
mrb_digest_hmac(const uint8 *key, int key_len, const char *const *parts,
				const size_t *lengths, int n, uint8 *mac)
{
	ResourceOwner saved = enter_owner();
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);
	bool		ok = context != NULL && pg_hmac_init(context, key, key_len) >= 0;

	for (int i = 0; i < n && ok; i++)
		ok = lengths[i] == 0 ||
			pg_hmac_update(context, (const uint8 *) parts[i], lengths[i]) >= 0;
	ok = ok && pg_hmac_final(context, mac, PG_SHA256_DIGEST_LENGTH) >= 0;
	if (context != NULL)
		pg_hmac_free(context);
	CurrentResourceOwner = saved;
	return ok;
}

/*
 * Set a resource owner, which the server's hash functions need and which does
 * not exist outside of transactions.  Returns the previous one.
 */
static ResourceOwner
enter_owner(void)
{
	static ResourceOwner ours = NULL;
	ResourceOwner saved = CurrentResourceOwner;

	if (saved == NULL)
	{
		if (ours == NULL)
			ours = ResourceOwnerCreate(NULL, "miosa_rollback digests");
		CurrentResourceOwner = ours;
	}
	return saved;
}
