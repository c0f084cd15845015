/*-------------------------------------------------------------------------
 *
 * digest.h
 *	  SHA-256, inside and outside of transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DIGEST_H
#define MRB_DIGEST_H

/* In hexadecimal digits, palloc'd; NULL when it failed. */
extern char *mrb_digest_sha256(const char *data, size_t len);

/* HMAC-SHA-256 of parts in a row, 32 bytes; false when it failed. */
extern bool mrb_digest_hmac(const uint8 *key, int key_len,
							const char *const *parts, const size_t *lengths,
							int n, uint8 *mac);

#endif							/* MRB_DIGEST_H */
