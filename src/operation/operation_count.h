/*-------------------------------------------------------------------------
 *
 * operation_count.h
 *	  Counts operations when they commit, and logs them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPERATION_COUNT_H
#define MRB_OPERATION_COUNT_H

#include "base/errors.h"
#include "common/timer.h"
#include "operation/caller_request.h"

/* What is said of an operation.  Texts that are not known are NULL. */
typedef struct MrbCounted
{
	MrbAction	action;
	const char *name;			/* short name of the action */
	const char *outcome;
	const char *deployment_id;
	const char *from;
	const char *to;
	const char *actor_type;
	const char *actor_id;
} MrbCounted;

/*
 * A call for an operation begins; one that was prepared goes on, among others
 * that the same statement makes.
 */
extern MrbTick mrb_operation_count_begin(void);
extern void mrb_operation_count_resume(MrbTick at);

/*
 * An operation is written: it counts when the transaction commits.  The call has
 * done all that it does; single: for one deployment, whose duration counts.
 */
extern void mrb_operation_count_written(const MrbCounted *counted);
extern void mrb_operation_count_done(bool single);

/* A stored response was returned, or a call was refused: this counts at once. */
extern void mrb_operation_count_replayed(void);

/* name: short name of its action; NULL: it is no operation, and is not logged. */
extern void mrb_operation_count_refused(MrbCondition condition,
										const MrbCounted *counted);

/* All edges have an operation; in microseconds since it was asked for. */
extern void mrb_operation_count_converged(const char *deployment_id, int64 seq,
										  const char *version_id, int edges,
										  int64 first, int64 last);

#endif							/* MRB_OPERATION_COUNT_H */
