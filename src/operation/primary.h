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

/* Raise NOT_PRIMARY on a standby. */
extern void mrb_primary_require(void);

/* Raise NOT_PRIMARY; hint is NULL for the usual one. */
pg_noreturn extern void mrb_primary_raise(const char *hint);

#endif							/* MRB_PRIMARY_H */
