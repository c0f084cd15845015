/*-------------------------------------------------------------------------
 *
 * deployment.h
 *	  A deployment and the version it may move to, as of one snapshot; and
 *	  the lock that operations on one deployment wait for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DEPLOYMENT_H
#define MRB_DEPLOYMENT_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "operation/finding.h"
#include "operation/version.h"

typedef struct MrbDeployment
{
	char	   *id;
	ItemPointerData place;		/* of its row, when it was read or locked */
	char	   *tenant_id;
	char	   *state;
	int			desired_replicas;
	char	   *serving_version_id; /* as in the row: NULL means active */
	int64		seq;			/* newest operation */
	TimestampTz waiting_since;	/* for instances, 0: not waiting */
	char	   *schema_name;	/* in miosa.schemas; NULL: it names none */
	TimestampTz last_rollback_at;	/* of the newest operation, if that is a
									 * rollback; else 0 */
	MrbVersion	active;			/* id is NULL if no version is active; its
								 * release is not read */
	MrbVersion	serving;		/* version that routes resolve to; the same */
	MrbVersion	target;			/* the version to move to, if given */
	List	   *marked;			/* ids of marked versions that a move to the
								 * target crosses (schema_marks.h) */
	bool		target_drained; /* schedulers were asked to stop the target */
	struct MrbHold *hold;		/* its row (hold.h), if that was looked at */
	const struct MrbCallerRequest *request; /* the call, which hints repeat;
											 * NULL: not called */
} MrbDeployment;

/* What is kept of a deployment that was seen. */
typedef struct MrbDeploymentKept
{
	int64		seq;
	char	   *active_id;
	char	   *target_id;
	ItemPointerData place;
	ItemPointerData active_place;
	ItemPointerData target_place;
	ItemPointerData release_place;
} MrbDeploymentKept;

/* How long keys and audit events of a tenant are kept, by its plan. */
typedef struct MrbRetention
{
	char	   *tenant_id;		/* NULL: nothing was read yet */
	Interval	keys;
	Interval	events;
	MemoryContext context;		/* of tenant_id; NULL: do not keep it */
} MrbRetention;

/*
 * Read a deployment and, unless target_id is NULL, a version of it, in a new
 * snapshot and without a lock.  NULL when there is no such deployment.  seen is
 * what this transaction read of it before, or NULL: rows are looked for where
 * they were then.
 */
extern MrbDeployment *mrb_deployment_read(const char *id,
										  const char *target_id,
										  const MrbDeployment *seen);

/* The same in the snapshot that was taken. */
extern MrbDeployment *mrb_deployment_look(const char *id,
										  const char *target_id,
										  const MrbDeployment *seen);

/*
 * What has to be kept of it, in one chunk, to be seen by a later read; and a
 * deployment that has no more than that.
 */
extern MrbDeploymentKept *mrb_deployment_keep(const MrbDeployment *seen);
extern MrbDeployment *mrb_deployment_restore(const MrbDeploymentKept *kept);

/*
 * Read the retention of the deployment's tenant, in the snapshot that was taken,
 * unless it has what was read for the deployment before.
 */
extern void mrb_deployment_retention(const MrbDeployment *it,
									 MrbRetention *retention);

/* Whether both ids are the same version's; NULL is no version. */
extern bool mrb_deployment_same_version(const char *one, const char *other);

/*
 * The finding whether a deployment was read; name is its id, or its name in the
 * console.
 */
extern MrbFinding mrb_deployment_check_exists(const MrbDeployment *it,
											  const char *name);

/* Its tenant, palloc'd, in the snapshot that was taken; NULL: there is none. */
extern char *mrb_deployment_tenant(const char *id);

/*
 * The finding whether the caller may do something with a deployment, in the
 * snapshot that was taken: whether it exists for the caller, who has any of the
 * scopes (tenancy.h) and may name the actor that it names.  It looks at the
 * deployment only if that can matter.  verb is for the message.
 */
extern MrbFinding mrb_deployment_check_caller(const char *id, int scopes,
											  const char *verb);

/* The same once the deployment was read, which exists for the caller. */
extern MrbFinding mrb_deployment_check_tenant(const char *tenant_id, int scopes,
											  const char *verb);

/* Count the enabled edges whose selector matches the deployment. */
extern int	mrb_deployment_count_edges(const char *id);

#endif							/* MRB_DEPLOYMENT_H */
