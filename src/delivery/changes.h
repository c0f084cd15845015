/*-------------------------------------------------------------------------
 *
 * changes.h
 *	  Route changes become work for endpoints.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHANGES_H
#define MRB_CHANGES_H

#include "endpoints.h"
#include "outbox.h"

/*
 * Give every endpoint that is concerned what it lacks; only is NULL for new
 * changes, or the endpoints that are told of old ones again.
 */
extern void mrb_changes_apply(const MrbTaken *taken, List *only);

#endif							/* MRB_CHANGES_H */
