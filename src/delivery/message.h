/*-------------------------------------------------------------------------
 *
 * message.h
 *	  The contents of a request about one or several deployments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_MESSAGE_H
#define MRB_MESSAGE_H

#include "delivery/item.h"

typedef struct MrbMessage
{
	const MrbRequest *request;	/* template; NULL: no request is needed */
	MrbTemplateValues values;
	int64		epoch;			/* newest epoch of its routes */

	/* values that are made for it; others live as long as the lists */
	char		epoch_text[24];
	char		changed_at[MRB_ROUTE_TIME_SIZE];
} MrbMessage;

/* Number of requests that the item takes when it is sent alone. */
extern int	mrb_message_count(const MrbItem *item);

/* Whether a request of the item removes a host while others are set. */
extern bool mrb_message_removes(const MrbItem *item, int unit);

/* A host that the item's adapter cannot express, or NULL. */
extern const char *mrb_message_unsupported_host(const MrbItem *item);

/*
 * One of the requests of an item, or one request about several items.  Lists
 * and ids live in the current memory context.
 */
extern void mrb_message_of_unit(MrbItem *item, int unit, MrbMessage *message);
extern void mrb_message_of_batch(MrbItem *const *items, int nitems,
								 MrbMessage *message);

#endif							/* MRB_MESSAGE_H */
