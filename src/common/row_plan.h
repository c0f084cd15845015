/*-------------------------------------------------------------------------
 *
 * row_plan.h
 *	  What row_write.c needs to know of a table, kept for the backend's life.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROW_PLAN_H
#define MRB_ROW_PLAN_H

#include "nodes/execnodes.h"

#include "common/table.h"

typedef struct MrbRowPlan MrbRowPlan;

/*
 * Return what is kept of an open table, of which the first columns are written
 * and a trigger is skipped, by the name of its function; keeps it in plan.
 */
extern const MrbRowPlan *mrb_row_plan_get(MrbRowPlan **plan,
										  const MrbTable *table, int nwritten,
										  const char *skipped,
										  Relation relation);
extern Bitmapset *mrb_row_plan_written(const MrbRowPlan *plan);

/*
 * Prepare a result relation.  used says whether a write uses what is kept of the
 * table, and is reset when the current memory context is deleted.
 */
extern void mrb_row_plan_use(const MrbRowPlan *plan, bool *used,
							 ResultRelInfo *result, CmdType command);
extern bool mrb_row_plan_computes(const MrbRowPlan *plan);
extern void mrb_row_plan_fill(const MrbRowPlan *plan, EState *estate,
							  TupleTableSlot *slot);

#endif							/* MRB_ROW_PLAN_H */
