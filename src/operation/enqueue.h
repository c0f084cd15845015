/*-------------------------------------------------------------------------
 *
 * enqueue.h
 *	  Queuing of work for a deployment in the transaction that causes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENQUEUE_H
#define MRB_ENQUEUE_H

#include "datatype/timestamp.h"

#include "common/row_write.h"

/*
 * Queue work of a kind (route, capacity, host_removed with its host, else
 * NULL) as the deployment's next route change, and wake the dispatcher at
 * commit.  Locks the deployment's row.  Returns the number of the route
 * change, 0 if there is no such deployment.
 */
extern int64 mrb_enqueue(const char *deployment_id, const char *kind,
						 const char *host);

/*
 * Insert an entry into the outbox, which is this table of the statement.  host
 * may be NULL.
 */
extern MrbRowWriteTable mrb_enqueue_outbox;
extern void mrb_enqueue_insert(MrbRowWrite *write, int table,
							   const char *deployment_id, const char *kind,
							   int64 route_seq, const char *host,
							   TimestampTz now);

#endif							/* MRB_ENQUEUE_H */
