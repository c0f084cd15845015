/*-------------------------------------------------------------------------
 *
 * operation.h
 *	  Write one rollback or promotion: pointer, idempotency record, audit
 *	  event and outgoing work, together or not at all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPERATION_H
#define MRB_OPERATION_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef struct MrbOperation
{
	bool		promotion;		/* else a rollback */
	const char *outcome;		/* changed, pending, cutover, unchanged */
	const char *target_rule;	/* how the target was found */
	const char *deployment_id;
	const char *previous_version_id;	/* NULL: there was none */
	const char *target_version_id;
	const char *target_release_id;	/* may be NULL */
	const char *target_sha256;	/* may be NULL */
	const char *serving_version_id; /* NULL: the target serves */
	const char *state;			/* of the deployment from now on */
	bool		ask_capacity;	/* tell the schedulers */
	bool		runs_instances; /* either version does */
	const char *actor_type;
	const char *actor_id;
	const char *key;			/* NULL: none */
	const uint8 *fingerprint;	/* SHA-256, with the key */
	TimestampTz key_expires_at; /* with the key */
	const char *reason;			/* may be NULL */
	Jsonb	   *attribution;	/* NULL: the deployment's own */
	const char *marks;			/* JSON object: what was accepted knowingly */
	const char *skipped;		/* JSON array: versions passed over, or NULL */
} MrbOperation;

/* The caller holds the deployment's lock.  Returns the response. */
extern Jsonb *mrb_operation_write(const MrbOperation *operation);

#endif							/* MRB_OPERATION_H */
