/*-------------------------------------------------------------------------
 *
 * buckets.c
 *	  Histograms in shared memory with round bounds, for metrics.
 *
 * Objectives are round (99 of 100 within a second), and a histogram answers
 * exactly at its bounds only; histogram.c has finer buckets with other bounds,
 * for percentiles.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/buckets.h"

const MrbBucketBound mrb_buckets_calls[MRB_BUCKET_BOUNDS] = {
	{100, "0.0001"},
	{250, "0.00025"},
	{500, "0.0005"},
	{1000, "0.001"},
	{2500, "0.0025"},
	{5000, "0.005"},
	{10000, "0.01"},
	{25000, "0.025"},
	{50000, "0.05"},
	{100000, "0.1"},
	{500000, "0.5"},
	{1000000, "1"},
	{5000000, "5"},
};

const MrbBucketBound mrb_buckets_deliveries[MRB_BUCKET_BOUNDS] = {
	{5000, "0.005"},
	{10000, "0.01"},
	{25000, "0.025"},
	{50000, "0.05"},
	{100000, "0.1"},
	{250000, "0.25"},
	{500000, "0.5"},
	{1000000, "1"},
	{2500000, "2.5"},
	{5000000, "5"},
	{10000000, "10"},
	{60000000, "60"},
	{300000000, "300"},
};

/*
 * Make an empty histogram.
 */
void
mrb_buckets_init(MrbBuckets *buckets)
{
	for (int i = 0; i <= MRB_BUCKET_BOUNDS; i++)
		pg_atomic_init_u64(&buckets->counts[i], 0);
	pg_atomic_init_u64(&buckets->sum, 0);
}

/*
 * Count one time.
 */
void
mrb_buckets_add(MrbBuckets *buckets, const MrbBucketBound *scale,
				int64 microseconds)
{
	int			i = 0;

	microseconds = Max(0, microseconds);
	while (i < MRB_BUCKET_BOUNDS && microseconds > scale[i].microseconds)
		i++;
	pg_atomic_fetch_add_u64(&buckets->counts[i], 1);
	pg_atomic_fetch_add_u64(&buckets->sum, microseconds);
}
