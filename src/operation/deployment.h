/*-------------------------------------------------------------------------
 *
 * deployment.h
 *	  A deployment with the version it might move to, as one snapshot saw
 *	  them; and the lock that operations on one deployment queue for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DEPLOYMENT_H
#define MRB_DEPLOYMENT_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "artifact/artifact.h"

/* A version together with its release. */
typedef struct MrbVersion
{
	char	   *id;				/* NULL: there is no such version */
	int			number;			/* version_number */
	char	   *kind;			/* static, dynamic, sandbox_backed */
	char	   *state;			/* only ready ones can be returned to */
	char	   *promoted_over;	/* version that it was promoted over */
	char	   *release_id;		/* NULL: it has no release */
	MrbArtifact artifact;		/* uri is NULL without a release */
	char	   *sha256;			/* of its artifact */
	TimestampTz collected_at;	/* artifact deleted, 0: kept */
	char	   *collected_by;	/* who deleted it */
	int			healthy;		/* healthy instances, 0 when static */
} MrbVersion;

typedef struct MrbDeployment
{
	char	   *id;
	char	   *tenant_id;
	char	   *state;
	int			desired_replicas;
	char	   *serving_version_id; /* as in the row: NULL means active */
	int64		seq;			/* newest operation */
	TimestampTz waiting_since;	/* for instances, 0: does not wait */
	TimestampTz last_rollback_at;	/* newest operation, if a rollback; else 0 */
	TimestampTz key_retained_until; /* when a key used now will expire */
	bool		key_live;		/* a record of the key is there */
	bool		key_expired;	/* an expired record of the key is there */
	MrbVersion	active;			/* the pointer; id is NULL before the first */
	MrbVersion	serving;		/* what routes resolve to now */
	MrbVersion	target;			/* what was asked for, if anything */
	List	   *marked;			/* schema_marks.h: ids of versions that going
								 * to the target crosses */
	bool		target_drained; /* schedulers were told to stop the target */
	const struct MrbCallerRequest *request; /* what the caller asks for, which
											 * hints repeat; NULL: nothing */
} MrbDeployment;

/*
 * Read a deployment and, unless target_id is NULL, a version of it, in a new
 * snapshot and without a lock.  NULL when there is no such deployment.
 */
extern MrbDeployment *mrb_deployment_look(const char *id,
										  const char *target_id,
										  const char *key);

/* How many enabled edges are told of the deployment. */
extern int	mrb_deployment_count_edges(const char *id);

/*
 * Lock the deployment's row until the end of the transaction.  Waits about
 * miosa_rollback.lock_wait, then raises DEPLOYMENT_BUSY.
 */
extern void mrb_deployment_lock(const char *id);

#endif							/* MRB_DEPLOYMENT_H */
