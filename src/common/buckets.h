/*-------------------------------------------------------------------------
 *
 * buckets.h
 *	  Histograms in shared memory with round bounds, for metrics.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_BUCKETS_H
#define MRB_BUCKETS_H

#include "port/atomics.h"

/* Bounds of a scale; one bucket more is for what is above the last one. */
#define MRB_BUCKET_BOUNDS 13

typedef struct MrbBucketBound
{
	int64		microseconds;	/* inclusive */
	const char *seconds;		/* the same, as a label has it */
} MrbBucketBound;

/* For calls, which end within milliseconds, and for deliveries. */
extern const MrbBucketBound mrb_buckets_calls[MRB_BUCKET_BOUNDS];
extern const MrbBucketBound mrb_buckets_deliveries[MRB_BUCKET_BOUNDS];

/* Only grows. */
typedef struct MrbBuckets
{
	pg_atomic_uint64 counts[MRB_BUCKET_BOUNDS + 1];
	pg_atomic_uint64 sum;		/* microseconds */
} MrbBuckets;

extern void mrb_buckets_init(MrbBuckets *buckets);

/* Count one time.  Never waits, allocates or fails. */
extern void mrb_buckets_add(MrbBuckets *buckets, const MrbBucketBound *scale,
							int64 microseconds);

#endif							/* MRB_BUCKETS_H */
