/*-------------------------------------------------------------------------
 *
 * ready_list.h
 *	  Items that an endpoint can send, by urgency.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_READY_LIST_H
#define MRB_READY_LIST_H

#include "delivery/item.h"

extern void mrb_ready_list_attach(MrbEndpoint *endpoint);

/* The item can be sent when its endpoint is first in the run queue. */
extern void mrb_ready_list_add(MrbItem *item);

/* The item whose requests are started next; it is sending then.  Or NULL. */
extern MrbItem *mrb_ready_list_next(MrbEndpoint *endpoint, bool with_bulk);

/* All requests of the item are started; it goes first, next time. */
extern void mrb_ready_list_started(MrbItem *item);
extern void mrb_ready_list_put_back(MrbItem *item);

/* The item, ready or sending, is not to be sent. */
extern void mrb_ready_list_remove(MrbItem *item);

#endif							/* MRB_READY_LIST_H */
