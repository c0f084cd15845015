/*-------------------------------------------------------------------------
 *
 * operation.h
 *	  Writing of an operation: pointer, idempotency record, audit event and
 *	  outbox entries, in one transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_OPERATION_H
#define MRB_OPERATION_H

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"

#include "operation/caller_request.h"
#include "operation/guards.h"
#include "operation/hold.h"

struct MrbRowWrite;

typedef struct MrbOperation
{
	MrbAction	action;
	const char *outcome;		/* changed, pending, cutover, unchanged,
								 * refused */
	const char *target_rule;	/* how the target was found */
	const char *deployment_id;
	ItemPointerData place;		/* where its row was locked; may be invalid */
	const char *previous_version_id;	/* NULL: there was none */
	const char *target_version_id;	/* NULL: unpublished */
	const char *target_release_id;	/* may be NULL */
	const char *target_sha256;	/* may be NULL */
	const char *serving_version_id; /* NULL: the target serves */
	const char *state;			/* of the deployment, afterwards */
	bool		quiet;			/* nothing is delivered */
	bool		ask_capacity;	/* request instances from schedulers */
	bool		runs_instances; /* the target or the previous version does */
	const char *actor_type;
	const char *actor_id;
	const char *key;			/* NULL: none; of a refused one it stays
								 * unused */
	const uint8 *fingerprint;	/* SHA-256, with the key */
	TimestampTz key_expires_at; /* with the key */
	Interval	keep;			/* how long the audit event is kept */
	const char *reason;			/* may be NULL */
	const char *bad_version_id; /* to be marked as bad, or NULL */
	const char *bad_reason;
	const char *good_version_id;	/* whose mark is lifted, or NULL */
	Jsonb	   *attribution;	/* NULL: the deployment's own */
	const char *fleet_id;		/* may be NULL */
	StringInfoData marks;		/* members of a JSON object for the audit
								 * event */
	MrbHoldChange hold;			/* what it does to the hold */
	const char *undo_of;		/* operation that it undoes, or NULL */
	const char *skipped;		/* JSON array: skipped versions, or NULL */
	const char *warnings;		/* JSON array, or NULL */
} MrbOperation;

/*
 * Add a member to the marks of the audit event: its name, and a JSON value.  The
 * other functions add what is done to the hold, and the risks that were taken.
 */
extern void mrb_operation_mark(MrbOperation *operation, const char *name,
							   const char *json);
extern void mrb_operation_mark_hold(MrbOperation *operation);
extern void mrb_operation_mark_risks(MrbOperation *operation,
									 const MrbFinding *artifact,
									 const MrbGuards *guards);

/* Whether it leaves a version for another one. */
extern bool mrb_operation_leaves(const MrbOperation *operation);

/* Number of columns of the deployment's row that an operation writes. */
#define MRB_OPERATION_COLUMNS 12

/* Their numbers and values, palloc'd. */
typedef struct MrbOperationColumns
{
	int			columns[MRB_OPERATION_COLUMNS];
	Datum		values[MRB_OPERATION_COLUMNS];
	bool		nulls[MRB_OPERATION_COLUMNS];
} MrbOperationColumns;

/* What was written. */
typedef struct MrbWritten
{
	TimestampTz at;				/* set by the caller */
	int64		route_seq;
	Datum		recent_served;	/* palloc'd */
} MrbWritten;

/* The action of an operation's audit event. */
extern const char *mrb_operation_action(MrbAction action);

/*
 * Its short name, also found by the action (NULL: there is none), and the
 * operation of a name that moves nothing.
 */
extern const char *mrb_operation_name(MrbAction action);
extern const char *mrb_operation_name_of(const char *action);
extern bool mrb_operation_find_note(const char *name, MrbAction *action);

/* The caller holds the deployment's lock.  Returns the response. */
extern Jsonb *mrb_operation_write(const MrbOperation *operation);

/*
 * The same for many rollbacks in one statement: mrb_operation_put() writes one,
 * in the snapshot of mrb_operation_begin(), and mrb_operation_settle() does what
 * follows from it after mrb_row_write_end().  keyed: any of them has a key; held:
 * any of them may open or change a hold.
 */
extern struct MrbRowWrite *mrb_operation_begin(bool keyed, bool held, bool many);
extern Jsonb *mrb_operation_put(struct MrbRowWrite *write,
								const MrbOperation *operation,
								MrbWritten *written);
extern void mrb_operation_settle(const MrbOperation *operation,
								 const MrbWritten *written);

/*
 * The same if a plain UPDATE is about to write the deployment's row, old
 * becoming new: writes all but that row, and returns in moved the values to put
 * into it.
 */
extern void mrb_operation_write_row(const MrbOperation *operation,
									TupleTableSlot *old, TupleTableSlot *new,
									MrbOperationColumns *moved);

#endif							/* MRB_OPERATION_H */
