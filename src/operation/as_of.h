/*-------------------------------------------------------------------------
 *
 * as_of.h
 *	  How old the answer of a standby is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_AS_OF_H
#define MRB_AS_OF_H

#include "utils/jsonb.h"

/*
 * On a standby, add the member "as_of" to an object: {"time", "standby",
 * "lag_seconds"}.  On a primary, return the object as it is.
 */
extern Jsonb *mrb_as_of_stamp(Jsonb *object);

/* Whether this standby is connected to a server that sends it WAL. */
extern bool mrb_as_of_connected(void);

#endif							/* MRB_AS_OF_H */
