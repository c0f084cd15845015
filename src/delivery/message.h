/*-------------------------------------------------------------------------
 *
 * message.h
 *	  What a request says about a deployment, or about several.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_MESSAGE_H
#define MRB_MESSAGE_H

#include "delivery/item.h"

typedef struct MrbMessage
{
	const MrbRequest *call;		/* how it is said; NULL: nothing is to be said */
	MrbTemplateValues values;
	int64		epoch;			/* the newest of those it is about */

	/* texts that are made for it; the others live as lists do */
	char		epoch_text[24];
	char		changed_at[MRB_ROUTE_TIME_SIZE];
} MrbMessage;

/* How many requests the item takes, when it is told alone. */
extern int	mrb_message_count(const MrbItem *item);

/*
 * A host that the item's endpoint cannot be told of, or NULL.
 */
extern const char *mrb_message_unsupported_host(const MrbItem *item);

/*
 * Its unit-th request, or one request about several items.  Lists and
 * ids live in the current memory context.
 */
extern void mrb_message_of_unit(MrbItem *item, int unit, MrbMessage *message);
extern void mrb_message_of_batch(MrbItem *const *items, int nitems,
								 MrbMessage *message);

#endif							/* MRB_MESSAGE_H */
