/*-------------------------------------------------------------------------
 *
 * poll.h
 *	  How the number of healthy instances is polled from a scheduler.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_POLL_H
#define MRB_POLL_H

#include "utils/jsonpath.h"

#include "adapter/request.h"

typedef struct MrbPoll
{
	MrbRequest *request;		/* NULL: it is not polled */
	JsonPath   *healthy_path;	/* of the number in the answer */
	char	   *healthy_text;	/* the same as text, for messages */
	JsonPath   *valid_path;		/* must be true of the answer, or NULL */
	char	   *valid_text;
	int			interval_ms;	/* while instances are pending */
} MrbPoll;

#endif							/* MRB_POLL_H */
