/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  The steps of one rollback, promotion or unpublishing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ATTEMPT_H
#define MRB_ATTEMPT_H

#include "lib/stringinfo.h"

#include "operation/actor.h"
#include "operation/caller_request.h"
#include "operation/deployment.h"
#include "operation/guards.h"
#include "operation/idempotency.h"
#include "operation/operation.h"
#include "operation/target.h"
#include "operation/undo.h"

/* One request on its way through the steps. */
typedef struct MrbAttempt
{
	const MrbCallerRequest *request;
	char	   *key;			/* checked; NULL: none */
	MrbFingerprint fingerprint; /* with the key */
	bool		key_expired;	/* the key has a record that has expired */
	TimestampTz key_expires_at; /* when the key expires that is used now */
	Interval	keep_event;		/* how long its audit event is kept */
	MrbRetention *retention;	/* of other requests of the call, or NULL */
	bool		plan;			/* nothing is written: it works on a standby,
								 * for callers who may only read */
	struct MrbArtifactBatch *batch; /* of other requests of the call, or NULL */
	MrbDeployment *seen;		/* before the lock */
	MrbUndone	undone;			/* operation to undo, if it is for that */
	MrbTarget	target;			/* chosen then */
	MrbDeployment *now;			/* under the lock */
	MrbGuards  *guards;			/* what they found under the lock */
	bool		lifts_mark;		/* of the target: undo of what marked it */
} MrbAttempt;

/* What is the same for all requests of a call. */
typedef struct MrbAttemptCall
{
	MrbActor	actor;
	MrbFinding	actor_counts;
	MrbFinding	delivery;
	MrbFinding	versions;
} MrbAttemptCall;

/* Step 1: check the arguments; raises INVALID_ARGUMENT. */
extern void mrb_attempt_check(MrbAttempt *attempt);

/*
 * Step 2: return the stored response of the key, or NULL after reading the
 * deployment.  One snapshot, which the caller takes, shows both: an identical
 * call that commits meanwhile has either left its record or not yet moved the
 * deployment.
 */
extern Jsonb *mrb_attempt_look(MrbAttempt *attempt, MrbFinding *finding);

/*
 * Step 3: choose the target, unless the request unpublishes, and check it, without
 * a lock.  This may ask storage.
 * The finding warns if storage did not answer and that is accepted.  With a batch
 * it may only put a request into it: then target.pending is set, and both steps
 * are taken again when the batch has run.
 */
extern MrbFinding mrb_attempt_choose(MrbAttempt *attempt);

/* Step 4, under the lock: step 2 again. */
extern Jsonb *mrb_attempt_look_again(MrbAttempt *attempt, MrbFinding *finding);

/*
 * Step 5: check again what may have changed before the lock, and let the guards
 * judge.
 */
extern MrbFinding mrb_attempt_recheck(MrbAttempt *attempt);

/*
 * Step 6: the operation to write.  Deletes the expired record of the key.  The
 * operation points into the attempt and the call.
 */
extern MrbAttemptCall mrb_attempt_call(void);
extern MrbOperation mrb_attempt_operation(const MrbAttempt *attempt,
										  const MrbAttemptCall *call);

/* Warn of what concerns the call, and not one of its targets. */
extern void mrb_attempt_warn(const MrbAttemptCall *call);

/* Step 7: whether storage confirmed the artifact, which is to be recorded. */
extern bool mrb_attempt_confirms(const MrbAttempt *attempt);

/* Wake the dispatcher at commit. */
extern void mrb_attempt_wake(const MrbOperation *operation);

/* Append a finding that warns to the elements of a JSON array. */
extern void mrb_attempt_list_warning(StringInfo warnings,
									 const MrbFinding *finding);

#endif							/* MRB_ATTEMPT_H */
