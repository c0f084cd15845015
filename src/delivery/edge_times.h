/*-------------------------------------------------------------------------
 *
 * edge_times.h
 *	  When edges acknowledge an operation.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_EDGE_TIMES_H
#define MRB_EDGE_TIMES_H

#include "delivery/item.h"
#include "route/route_log.h"

/* Parts of the edges whose times are kept; see parts in edge_times.c. */
#define MRB_EDGE_PARTS 11
#define MRB_EDGE_PART_P50 4
#define MRB_EDGE_PART_P99 9

/* The edges of a zone. */
typedef struct MrbZoneTimes
{
	const MrbZone *zone;
	int			edges;
	int			confirmed;
	TimestampTz last_at;
} MrbZoneTimes;

/* What is known of an operation. */
typedef struct MrbEdgeReport
{
	dlist_node	node;			/* in the reports that are not written */
	char	   *deployment_id;
	char	   *version_id;		/* NULL: nothing is routed */
	int64		seq;
	int64		epoch;
	TimestampTz since;			/* when the change was asked for */
	TimestampTz taken_at;		/* when the dispatcher had taken it */
	const char *state;			/* as miosa.convergence_log has it */
	int			edges;
	int			confirmed;
	TimestampTz first_at;		/* 0: no edge has confirmed */
	TimestampTz last_at;
	char		last_edge[NAMEDATALEN];
	int			nparts;			/* that are reached */
	TimestampTz part_at[MRB_EDGE_PARTS];
	int			nzones;
	MrbZoneTimes *zones;
} MrbEdgeReport;

extern void mrb_edge_times_init(MemoryContext context);

/*
 * A route change is queued: the edges that mrb_edge_times_await() is called for
 * in between are counted.
 */
extern void mrb_edge_times_begin(MrbRouteEntry *entry, const MrbRouteChange *change);
extern void mrb_edge_times_end(MrbRouteEntry *entry);
extern void mrb_edge_times_await(MrbItem *item);

/* The edge has acknowledged the route being sent; it is not there any more. */
extern void mrb_edge_times_acknowledged(MrbItem *item);
extern void mrb_edge_times_withdraw(MrbItem *item);

/* Report what has not converged for long, so that it is written, too. */
extern void mrb_edge_times_step(void);

/*
 * Reports that are not written yet, the oldest one first: their number, the one
 * after another (NULL: the first), and to forget the first ones.
 */
extern int	mrb_edge_times_reports(void);
extern const MrbEdgeReport *mrb_edge_times_next(const MrbEdgeReport *before);
extern void mrb_edge_times_written(int n);

/* Operations that were not measured since the last call. */
extern int64 mrb_edge_times_unmeasured(void);

#endif							/* MRB_EDGE_TIMES_H */
