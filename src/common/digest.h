/*-------------------------------------------------------------------------
 *
 * digest.h
 *	  SHA-256, inside and outside of transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DIGEST_H
#define MRB_DIGEST_H

/* SHA-256 as hexadecimal digits, palloc'd; NULL on failure. */
extern char *mrb_digest_sha256(const char *data, size_t len);

/* HMAC-SHA-256 of concatenated parts, 32 bytes; false on failure. */
extern bool mrb_digest_hmac(const uint8 *key, int key_len,
							const char *const *parts, const size_t *lengths,
							int n, uint8 *mac);

#endif							/* MRB_DIGEST_H */
