/*-------------------------------------------------------------------------
 *
 * refusal_ring.h
 *	  Shared memory: refused calls, until the dispatcher has written them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REFUSAL_RING_H
#define MRB_REFUSAL_RING_H

#include "datatype/timestamp.h"

#include "base/errors.h"
#include "base/miosa_rollback.h"

/* What two refusals must have in common to be one.  Unused bytes are zero. */
typedef struct MrbRefusalFields
{
	MrbCondition condition;
	Oid			function;		/* that was called; InvalidOid: not known */
	char		action[32];		/* of an operation; empty: none */
	bool		acts;			/* the caller acts for the deployment's tenant */
	char		deployment_id[MRB_MAX_ID + 1];
	char		version_id[MRB_MAX_ID + 1];
	char		key[MRB_MAX_KEY + 1];
	char		actor_type[16];
	char		actor_id[MRB_MAX_ID + 1];
	char		session_user_name[NAMEDATALEN];
	char		client_addr[64];
} MrbRefusalFields;

typedef struct MrbRefusal
{
	MrbRefusalFields fields;
	int64		id;				/* grows, also from one server start to the
								 * next */
	int64		count;			/* of calls */
	TimestampTz at;				/* of the first one */
	int			place;			/* in the ring */
} MrbRefusal;

/* Request shared memory, while the server preloads libraries. */
extern void mrb_refusal_ring_install(void);

/*
 * Put a refusal of this database into the ring; false when it is full.  Never
 * waits, allocates or fails.
 */
extern bool mrb_refusal_ring_put(const MrbRefusalFields *fields);

/*
 * Copy refusals of this database, the oldest ones first as far as there is room.
 * They stay in the ring until they are removed.
 */
extern int	mrb_refusal_ring_take(MrbRefusal *refusals, int most);
extern void mrb_refusal_ring_remove(const MrbRefusal *refusals, int n);

#endif							/* MRB_REFUSAL_RING_H */
