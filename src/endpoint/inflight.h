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

typedef struct MrbInflight MrbInflight;
typedef void (*MrbInflightDone) (MrbInflight *inflight, const MrbHttpAnswer *answer);

/* What the caller wants to remember of a request. */
typedef struct MrbInflightNote
{
	const MrbRequest *call;
	int64		epoch;
	int			unit;			/* of an item with several requests */
	int			nitems;			/* 0: it is about no route */
	struct MrbItem **items;
	void	   *subject;		/* what it is about then, or NULL */
	bool		retry;			/* something of it has failed before */
	MrbInflightDone done;
} MrbInflightNote;

struct MrbInflight
{
	dlist_node	node;			/* in its endpoint's requests */
	MrbEndpoint *endpoint;
	uint32		round;			/* the endpoint's, when it was started */
	MrbInflightNote note;		/* its items follow */
};

typedef enum MrbStarted
{
	MRB_STARTED,
	MRB_START_FULL,				/* no room: later */
	MRB_START_WRONG,			/* the request cannot be made: *problem */
} MrbStarted;

extern void mrb_inflight_init(MemoryContext context);
extern int	mrb_inflight_descriptor(void);
extern long mrb_inflight_max_wait(void);
extern int	mrb_inflight_in_flight(void);

/* Most requests that can be in flight in all. */
extern int	mrb_inflight_capacity(void);

extern void mrb_inflight_attach(MrbEndpoint *endpoint);

/* The note is copied. */
extern MrbStarted mrb_inflight_start(MrbEndpoint *endpoint, MrbTemplateValues *values,
									 const MrbInflightNote *note,
									 const char **problem);

/* Whether a message about several items is short enough for its adapter. */
extern bool mrb_inflight_fits(MrbEndpoint *endpoint, MrbTemplateValues *values,
							  const MrbRequest *call);

/* Move everything on and hand out the answers. */
extern void mrb_inflight_drive(void);

/* Forget all requests to the endpoint. */
extern void mrb_inflight_cancel(MrbEndpoint *endpoint);

#endif							/* MRB_INFLIGHT_H */
