/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  How long things took: a histogram with classes of a logarithmic scale.
 *
 * A class is at most an eighth wider than it is long, so what is read from
 * the histogram is right within 12 %, whatever the time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "port/pg_bitutils.h"

#include "common/histogram.h"

/* Doublings below this are one class: 64 microseconds. */
#define LOWEST_BIT 6

/* Each of the others is cut into 8. */
#define CUT_BITS 3
#define CUTS (1 << CUT_BITS)

static int	class_of(int64 microseconds);
static double lower_bound(int class);

void
mrb_histogram_add(MrbHistogram *latency, int64 microseconds)
{
	latency->counts[class_of(microseconds)]++;
}

double
mrb_histogram_percentile(const MrbHistogram *latency, double part)
{
	uint64		total = 0;
	uint64		seen = 0;
	double		wanted;

	for (int i = 0; i < MRB_LATENCY_CLASSES; i++)
		total += latency->counts[i];
	if (total == 0)
		return -1;
	wanted = Max(1.0, ceil(part * total));
	for (int i = 0; i < MRB_LATENCY_CLASSES; i++)
	{
		double		low = lower_bound(i);

		if (seen + latency->counts[i] >= wanted)
			return (low + (lower_bound(i + 1) - low) *
					(wanted - seen - 0.5) / latency->counts[i]) / 1000.0;
		seen += latency->counts[i];
	}
	return -1;
}

static int
class_of(int64 microseconds)
{
	int			bit;

	if (microseconds < (1 << LOWEST_BIT))
		return 0;
	bit = pg_leftmost_one_pos64(microseconds);
	return Min(MRB_LATENCY_CLASSES - 1,
			   1 + (bit - LOWEST_BIT) * CUTS +
			   (int) ((microseconds >> (bit - CUT_BITS)) & (CUTS - 1)));
}

/*
 * In microseconds.
 */
static double
lower_bound(int class)
{
	if (class == 0)
		return 0;
	class--;
	return ldexp(CUTS + class % CUTS, class / CUTS + LOWEST_BIT - CUT_BITS);
}
