/*-------------------------------------------------------------------------
 *
 * inflight.h
 *	  Requests to endpoints, under way.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_INFLIGHT_H
#define MRB_INFLIGHT_H

#include "endpoint/endpoint.h"
#include "http/http.h"

struct MrbItem;

typedef struct MrbSend MrbSend;
typedef void (*MrbSendDone) (MrbSend *send, const MrbHttpAnswer *answer);

/* What the caller wants to remember of a request. */
typedef struct MrbSendNote
{
	const MrbCall *call;
	int64		epoch;
	int			unit;			/* of an item with several requests */
	int			nitems;			/* 0: it is about no route */
	struct MrbItem **items;
	void	   *subject;		/* what it is about then, or NULL */
	bool		again;			/* something of it has failed before */
	MrbSendDone done;
} MrbSendNote;

struct MrbSend
{
	dlist_node	node;			/* in its endpoint's requests */
	MrbEndpoint *endpoint;
	uint32		round;			/* the endpoint's, when it was started */
	MrbSendNote note;			/* its items follow */
};

typedef enum MrbStarted
{
	MRB_STARTED,
	MRB_START_FULL,				/* no room: later */
	MRB_START_WRONG,			/* the request cannot be made: *problem */
} MrbStarted;

extern void mrb_send_init(MemoryContext context);
extern int	mrb_send_descriptor(void);
extern long mrb_send_max_wait(void);
extern int	mrb_send_in_flight(void);

/* Most requests that can be in flight in all. */
extern int	mrb_send_capacity(void);

/* The note is copied. */
extern MrbStarted mrb_send_start(MrbEndpoint *endpoint, MrbValues *values,
								 const MrbSendNote *note,
								 const char **problem);

/* Whether a message about several items is short enough for its adapter. */
extern bool mrb_send_fits(MrbEndpoint *endpoint, MrbValues *values,
						  const MrbCall *call);

/* Move everything on and hand out the answers. */
extern void mrb_send_drive(void);

/* Forget all requests to the endpoint. */
extern void mrb_send_cancel(MrbEndpoint *endpoint);

#endif							/* MRB_INFLIGHT_H */
