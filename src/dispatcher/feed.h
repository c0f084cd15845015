/*-------------------------------------------------------------------------
 *
 * feed.h
 *	  Numbered messages that endpoints receive one at a time, in order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FEED_H
#define MRB_FEED_H

#include "adapter/template.h"
#include "common/query.h"
#include "endpoint/endpoint.h"

/* A message that a receiver lacks. */
typedef struct MrbFeedMessage
{
	MrbEndpoint *endpoint;		/* NULL: no endpoint receives it */
	int64		number;
	char	   *time;
	char	   *content;
	char	   *id;				/* the same however often it is sent */
} MrbFeedMessage;

typedef struct MrbFeed
{
	bool		(*receives) (const MrbAdapter *adapter);
	/* $1: receiver; returns its position, that of a new one too; or NULL */
	MrbQuery   *begin_query;
	/* $1: receiver; returns number, time, content and id of the next message */
	MrbQuery   *next_query;
	/* $1: receiver, $2: number; writes the position of the receiver */
	MrbQuery   *sent_query;
	void		(*set_values) (const MrbFeedMessage *message, MrbTemplateValues *values);
	int64		newest;			/* number of the newest message; 0: none */
	MemoryContext context;		/* of one step */
	List	   *messages;		/* that were read; of MrbFeedMessage */
} MrbFeed;

/* Create the context; the other members are the caller's to set. */
extern void mrb_feed_init(MrbFeed *feed, const char *name);

/* Whether an endpoint lacks a message, or its position is to be written. */
extern bool mrb_feed_has_work(const MrbFeed *feed);

/* In a transaction: read the positions of endpoints that were added. */
extern void mrb_feed_begin(MrbFeed *feed);

/*
 * In a transaction: write positions, and read the next message of each endpoint
 * that may be sent one.  After its commit mrb_feed_send() sends what was read;
 * mrb_feed_reset() ends the step, also when the transaction has failed.
 */
extern void mrb_feed_read(MrbFeed *feed);
extern void mrb_feed_send(MrbFeed *feed);
extern void mrb_feed_reset(MrbFeed *feed);

/*
 * The same for one receiver: write its position; read its next message.  The
 * second one returns the position before that message.
 */
extern void mrb_feed_record(MrbFeed *feed, const char *receiver, int64 number,
							int64 *recorded);
extern int64 mrb_feed_read_next(MrbFeed *feed, const char *receiver,
								MrbEndpoint *endpoint);

#endif							/* MRB_FEED_H */
