/*-------------------------------------------------------------------------
 *
 * endpoint_totals.h
 *	  Shared memory: counters of endpoints that only grow, by name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ENDPOINT_TOTALS_H
#define MRB_ENDPOINT_TOTALS_H

#include "common/buckets.h"

typedef struct MrbEndpointTotals
{
	struct
	{
		Oid			database;
		char		name[NAMEDATALEN];
	}			key;
	int			users;			/* entries of endpoints that count here */
	pg_atomic_uint64 sent;		/* requests */
	pg_atomic_uint64 retried;	/* requests about items that had failed */
	pg_atomic_uint64 failed;
	MrbBuckets	latency;		/* from commit to acknowledgement */
} MrbEndpointTotals;

/* What a reader gets of them. */
typedef struct MrbEndpointTotalsRead
{
	uint64		sent;
	uint64		retried;
	uint64		failed;
	uint64		latency[MRB_BUCKET_BOUNDS + 1];
	uint64		latency_sum;	/* microseconds */
} MrbEndpointTotalsRead;

/* Request shared memory, while the server preloads libraries. */
extern void mrb_endpoint_totals_install(void);

/*
 * Find or make the totals of an endpoint of this database, to count in; NULL when
 * there are too many.  They outlast the endpoint and the dispatcher.
 */
extern MrbEndpointTotals *mrb_endpoint_totals_claim(const char *name);
extern void mrb_endpoint_totals_drop(MrbEndpointTotals *totals);

/* Read those of an endpoint of this database; false when there are none. */
extern bool mrb_endpoint_totals_read(const char *name, MrbEndpointTotalsRead *read);

#endif							/* MRB_ENDPOINT_TOTALS_H */
