/*-------------------------------------------------------------------------
 *
 * http_call.h
 *	  Make HTTP requests and wait for their responses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_CALL_H
#define MRB_HTTP_CALL_H

#include "http/http.h"

/* Make a request, processing interrupts; the answer's strings are palloc'd. */
extern void mrb_http_call(const MrbHttpRequest *request, MrbHttpAnswer *answer);

/*
 * Many requests.  next() returns one that was not made yet, or NULL; answered()
 * is given an answer, with the owner that the request has, and returns a request
 * that follows it at once, or NULL.  A request must exist until it is answered, an
 * answer is valid until its callback returns.
 */
typedef struct MrbHttpCalls
{
	const MrbHttpRequest *(*next) (void *arg);
	const MrbHttpRequest *(*answered) (void *arg, const MrbHttpAnswer *answer);
	void	   *arg;
} MrbHttpCalls;

/* Make them, a limited number at a time, processing interrupts. */
extern void mrb_http_call_many(const MrbHttpCalls *calls);

#endif							/* MRB_HTTP_CALL_H */
