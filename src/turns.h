/*-------------------------------------------------------------------------
 *
 * turns.h
 *	  Whose turn it is: endpoints that have something to send, and what each
 *	  sends next.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TURNS_H
#define MRB_TURNS_H

#include "item.h"

/* Give the endpoint a turn, unless one awaits it; take that away again. */
extern void mrb_turns_activate(MrbEndpoint *endpoint);
extern void mrb_turns_forget(MrbEndpoint *endpoint);

/* The next endpoint, by turns, that has something to send; or NULL. */
extern MrbEndpoint *mrb_turns_next_endpoint(void);
extern bool mrb_turns_has_work(MrbEndpoint *endpoint);

/* The item may be sent as soon as its endpoint has a turn. */
extern void mrb_turns_ready(MrbItem *item);

/* The item to start requests of; it is sending then.  Or NULL. */
extern MrbItem *mrb_turns_next_item(MrbEndpoint *endpoint, bool with_bulk);

/* All requests of the item were started; or it has to begin again. */
extern void mrb_turns_started(MrbItem *item);
extern void mrb_turns_put_back(MrbItem *item);

#endif							/* MRB_TURNS_H */
