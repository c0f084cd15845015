/*-------------------------------------------------------------------------
 *
 * idempotency.h
 *	  Idempotency keys: a call with a used key returns the stored response.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_IDEMPOTENCY_H
#define MRB_IDEMPOTENCY_H

#include "common/sha2.h"
#include "utils/jsonb.h"

#include "operation/finding.h"

typedef struct MrbFingerprint
{
	uint8		bytes[PG_SHA256_DIGEST_LENGTH];
} MrbFingerprint;

/*
 * Check a key and return it without the double quotes in which some HTTP
 * clients send it; the quoted and the bare form are the same key.
 */
extern char *mrb_idempotency_check_key(const char *key);

/*
 * Hash of what makes two requests the same: the operation and its arguments.
 * NULL differs from every value: it means the previous version, for example.
 */
extern MrbFingerprint mrb_idempotency_fingerprint(const char *operation,
												  const char *target_id,
												  const char *expected_active,
												  const char *cutover);

/*
 * The stored response of an unexpired key, in the snapshot that was taken, on a
 * standby with as_of; NULL when the key is free.  A response whose operation is not
 * known to be confirmed is not returned: see confirmed.h.  finding: fails with
 * IDEMPOTENCY_PAYLOAD_MISMATCH if the key was used for another request, and warns
 * if another version is active by now, of which the response has a warning too.
 * expired: the key has a record that has expired.
 */
extern Jsonb *mrb_idempotency_look(const char *deployment_id, const char *key,
								   const MrbFingerprint *fingerprint,
								   MrbFinding *finding, bool *expired);

/* When a key expires that is used now. */
extern TimestampTz mrb_idempotency_expires_at(const Interval *retention);

/* Delete an expired record, so that its key can be used again. */
extern void mrb_idempotency_forget_expired(const char *deployment_id,
										   const char *key);

#endif							/* MRB_IDEMPOTENCY_H */
