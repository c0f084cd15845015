/*-------------------------------------------------------------------------
 *
 * inflight.h
 *	  Requests to endpoints that are in flight.
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

/* What the caller remembers of a request. */
typedef struct MrbInflightNote
{
	const MrbRequest *request;	/* template of the adapter */
	int64		epoch;
	int			unit;			/* number of the request of its item */
	int			nitems;			/* 0: not about routes */
	struct MrbItem **items;
	void	   *subject;		/* of such a request, or NULL */
	bool		retry;			/* one of the items has failed before */
	MrbInflightDone done;
} MrbInflightNote;

struct MrbInflight
{
	dlist_node	node;			/* in its endpoint's requests */
	MrbEndpoint *endpoint;
	uint32		round;			/* of the endpoint's health at the start */
	MrbInflightNote note;		/* its items follow the struct */
};

typedef enum MrbStarted
{
	MRB_STARTED,
	MRB_START_FULL,				/* no room now */
	MRB_START_LARGE,			/* about several items, with too long a body */
	MRB_START_WRONG,			/* *problem says why it cannot be made */
} MrbStarted;

extern void mrb_inflight_init(MemoryContext context);
extern int	mrb_inflight_descriptor(void);
extern long mrb_inflight_max_wait(void);
extern int	mrb_inflight_in_flight(void);

/* Maximum number of requests in flight. */
extern int	mrb_inflight_capacity(void);

extern void mrb_inflight_attach(MrbEndpoint *endpoint);

/* Start a request; the note is copied. */
extern MrbStarted mrb_inflight_start(MrbEndpoint *endpoint, MrbTemplateValues *values,
									 const MrbInflightNote *note,
									 const char **problem);

/* Advance all requests and pass answers to the callers' functions. */
extern void mrb_inflight_drive(void);

/* Cancel all requests to the endpoint. */
extern void mrb_inflight_cancel(MrbEndpoint *endpoint);

#endif							/* MRB_INFLIGHT_H */
