/*-------------------------------------------------------------------------
 *
 * primary.h
 *	  Refusal of writes on a standby.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PRIMARY_H
#define MRB_PRIMARY_H

#include "base/compat.h"

/* Whether operations are made here. */
extern bool mrb_primary_is_here(void);

/* Raise NOT_PRIMARY where they are not. */
extern void mrb_primary_require(void);

/* Raise NOT_PRIMARY; the HINT has a call that works here, unless it is NULL. */
pg_noreturn extern void mrb_primary_raise(const char *hint);

#endif							/* MRB_PRIMARY_H */
