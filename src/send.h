/*-------------------------------------------------------------------------
 *
 * send.h
 *	  Requests to endpoints, under way.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SEND_H
#define MRB_SEND_H

#include "http.h"
#include "item.h"
#include "shmem.h"

typedef struct MrbSend MrbSend;
typedef void (*MrbSendDone) (MrbSend *send, const MrbHttpAnswer *answer);

struct MrbSend
{
	dlist_node	node;			/* in its endpoint's requests */
	MrbEndpoint *endpoint;
	MrbItem    *item;			/* NULL for a marker */
	int64		epoch;			/* what the caller wants to remember */
	uint32		round;			/* the endpoint's, when it was started */
	MrbSendDone done;
};

typedef enum MrbStarted
{
	MRB_STARTED,
	MRB_START_FULL,				/* no room: later */
	MRB_START_WRONG,			/* the request cannot be made: *problem */
} MrbStarted;

extern void mrb_send_init(MemoryContext context, MrbSlot *slot);
extern int	mrb_send_descriptor(void);

/* Most requests in flight in all. */
extern int	mrb_send_max(void);
extern long mrb_send_max_wait(void);
extern int	mrb_send_in_flight(void);

extern MrbStarted mrb_send_start(MrbEndpoint *endpoint, const MrbCall *call,
								 MrbValues *values, MrbItem *item,
								 int64 epoch, MrbSendDone done,
								 const char **problem);

/* Move everything on and hand out the answers. */
extern void mrb_send_drive(void);

/* Forget all requests to the endpoint. */
extern void mrb_send_cancel(MrbEndpoint *endpoint);

#endif							/* MRB_SEND_H */
