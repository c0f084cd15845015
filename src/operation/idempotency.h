/*-------------------------------------------------------------------------
 *
 * idempotency.h
 *	  A key that was used before returns what it returned before.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_IDEMPOTENCY_H
#define MRB_IDEMPOTENCY_H

#include "common/sha2.h"
#include "utils/jsonb.h"

typedef struct MrbFingerprint
{
	uint8		bytes[PG_SHA256_DIGEST_LENGTH];
} MrbFingerprint;

/*
 * Check a key and return it in its one form: some HTTP clients send it in
 * double quotes, and the quoted and the bare form are one key.
 */
extern char *mrb_idempotency_check_key(const char *key);

/*
 * What makes two requests the same: the operation and what it was asked to
 * do.  NULLs are part of it: "the previous version" is a request of its own.
 */
extern MrbFingerprint mrb_idempotency_fingerprint(const char *operation,
												  const char *target_id,
												  const char *expected_active,
												  const char *cutover);

/*
 * The stored response of an unexpired key; NULL when the key is free.  Raises
 * IDEMPOTENCY_PAYLOAD_MISMATCH when it was used for another request.  When the
 * deployment has moved since, warns, and marks the response as superseded.
 */
extern Jsonb *mrb_idempotency_find(const char *deployment_id, const char *key,
								   const MrbFingerprint *fingerprint);

/* Delete an expired record, so that its key can be used again. */
extern void mrb_idempotency_forget_expired(const char *deployment_id,
										   const char *key);

#endif							/* MRB_IDEMPOTENCY_H */
