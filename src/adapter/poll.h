/*-------------------------------------------------------------------------
 *
 * poll.h
 *	  How a scheduler is asked how many instances there are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_POLL_H
#define MRB_POLL_H

#include "utils/jsonpath.h"

#include "adapter/request.h"

typedef struct MrbPoll
{
	MrbRequest *request;		/* or NULL: it is not */
	JsonPath   *healthy_path;	/* to the number in the answer */
	char	   *healthy_text;	/* the same for people */
	JsonPath   *valid_path;		/* must hold for the answer, or NULL */
	char	   *valid_text;
	int			interval_ms;	/* while instances are missing */
} MrbPoll;

#endif							/* MRB_POLL_H */
