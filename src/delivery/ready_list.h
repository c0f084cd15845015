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

/* The item may be sent as soon as its endpoint has a turn. */
extern void mrb_ready_list_add(MrbItem *item);

/* The item to start requests of; it is sending then.  Or NULL. */
extern MrbItem *mrb_ready_list_next(MrbEndpoint *endpoint, bool with_bulk);

/* All requests of the item were started; or it has to begin again. */
extern void mrb_ready_list_started(MrbItem *item);
extern void mrb_ready_list_put_back(MrbItem *item);

/* The item, ready or sending, is to be sent no more. */
extern void mrb_ready_list_remove(MrbItem *item);

#endif							/* MRB_READY_LIST_H */
