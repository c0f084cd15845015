/*-------------------------------------------------------------------------
 *
 * hold.h
 *	  Holds: a deployment that automatic promotions must leave as it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HOLD_H
#define MRB_HOLD_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "operation/actor.h"
#include "operation/caller_request.h"
#include "operation/deployment.h"

struct MrbRowWrite;
struct MrbRowWriteTable;

/* The row of a hold; one that has ended may still be there. */
typedef struct MrbHold
{
	bool		open;
	TimestampTz since;
	TimestampTz until;			/* 0: until it is lifted */
	int64		seq;			/* operation that opened it; 0: the one that
								 * is being written */
	const char *actor_type;
	const char *actor_id;
	const char *reason;			/* may be NULL */
	int64		held;			/* promotions that it refused */
	const char *waiting_version_id; /* newest one of these; may be NULL */
	TimestampTz waiting_since;	/* 0: none waits */
} MrbHold;

/* What an operation does to the hold. */
typedef enum MrbHoldAction
{
	MRB_HOLD_UNTOUCHED,
	MRB_HOLD_OPENED,
	MRB_HOLD_KEPT,
	MRB_HOLD_CHANGED,			/* kept, with another end or reason */
	MRB_HOLD_LIFTED,
	MRB_HOLD_FORGOTTEN			/* had ended, and its row is removed */
} MrbHoldAction;

typedef struct MrbHoldChange
{
	MrbHoldAction action;
	bool		replaces;		/* there is a row, which is overwritten */
	const MrbHold *was;			/* when it was kept or lifted */
	MrbHold		becomes;		/* when it was opened or kept */
} MrbHoldChange;

/* The row of a deployment, in the snapshot that was taken; NULL: there is none. */
extern MrbHold *mrb_hold_look(const char *deployment_id);

/*
 * Whether the caller's rollback opens a hold, and when that ends (0: never).
 * request is NULL for a plain UPDATE.
 */
extern bool mrb_hold_wanted(const MrbCallerRequest *request);
extern TimestampTz mrb_hold_end(const MrbCallerRequest *request);

/* Whether the call may do something to the hold, whose row is to be looked at. */
extern bool mrb_hold_concerns(const MrbCallerRequest *request);

/* Guard: an automatic promotion moves no deployment that is held. */
extern MrbFinding mrb_hold_judge(const MrbDeployment *deployment, bool promotion);

/* What a plan of a rollback says of it. */
extern MrbFinding mrb_hold_describe(const MrbDeployment *deployment);

/* The finding whether the deployment is held. */
extern MrbFinding mrb_hold_check_open(const char *deployment_id, const MrbHold *hold);

/* The version that waits, and whether it still is that one under the lock. */
extern MrbFinding mrb_hold_choose_waiting(const MrbDeployment *seen,
										  const char **version_id);
extern MrbFinding mrb_hold_check_waiting(const MrbDeployment *now,
										 const char *version_id);

/*
 * Changes of the hold of a deployment that is locked, whose row was looked at.
 * mrb_hold_follow() decides what follows from a rollback or a promotion, by
 * now->request.  Opening one that is open changes its reason if there is one, and
 * its end if ends.  What was opened or lifted by another operation is reverted by
 * its marks.
 */
extern MrbHoldChange mrb_hold_follow(const MrbDeployment *now, MrbAction action,
									 bool changes, const MrbActor *actor);
extern MrbHoldChange mrb_hold_open(const MrbDeployment *now, const MrbActor *actor,
								   const char *reason, bool ends, TimestampTz until);
extern MrbHoldChange mrb_hold_lift(const MrbDeployment *now);
extern MrbHoldChange mrb_hold_revert(const MrbDeployment *now, Jsonb *marks,
									 int64 seq);

/* The change as a JSON object, for marks and responses; NULL: there is none. */
extern char *mrb_hold_show(const MrbHoldChange *change);

/* Say to a person that the promotion has lifted it. */
extern void mrb_hold_notice(const MrbHoldChange *change, const char *deployment_id);

/*
 * Writing.  Rows are inserted and changed as parts of the operation's statement,
 * by these two tables, or removed before it.
 */
extern struct MrbRowWriteTable mrb_hold_added;
extern struct MrbRowWriteTable mrb_hold_changed;

static inline bool
mrb_hold_is_written(const MrbHoldChange *change)
{
	return change->action == MRB_HOLD_OPENED || change->action == MRB_HOLD_CHANGED;
}

extern void mrb_hold_write(struct MrbRowWrite *write, int added, int changed,
						   const MrbHoldChange *change, const char *deployment_id,
						   Datum tenant_id, TimestampTz now, int64 seq);
extern void mrb_hold_remove(const MrbHoldChange *change, const char *deployment_id);

/*
 * Count a promotion that the hold has refused, and remember its version, in this
 * transaction.
 */
extern void mrb_hold_remember(const char *deployment_id, const char *version_id);

#endif							/* MRB_HOLD_H */
