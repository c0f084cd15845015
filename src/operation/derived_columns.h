/*-------------------------------------------------------------------------
 *
 * derived_columns.h
 *	  Columns that only the extension writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DERIVED_COLUMNS_H
#define MRB_DERIVED_COLUMNS_H

#include "commands/trigger.h"

/*
 * In a trigger before an update of a row, refuse the change of a column that
 * only functions of the extension write.  They run as the table's owner, who
 * may write it.
 */
extern void mrb_derived_columns_check(const TriggerData *trigger, Oid user);

/* In a trigger on an update of a row: whether it changes a column. */
extern bool mrb_derived_columns_differ(const TriggerData *trigger,
									   const char *name);

#endif							/* MRB_DERIVED_COLUMNS_H */
