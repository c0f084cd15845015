/*-------------------------------------------------------------------------
 *
 * gateway.h
 *	  What an HTTP gateway that follows PostgREST's conventions reads.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_GATEWAY_H
#define MRB_GATEWAY_H

/* Whether the current transaction serves an HTTP request. */
extern bool mrb_gateway_calls(void);

/*
 * Add a header to the answer of the current request.  Does nothing when no
 * gateway calls.
 */
extern void mrb_gateway_add_header(const char *name, const char *value);

/* Set the status of the answer; the same. */
extern void mrb_gateway_set_status(int status);

#endif							/* MRB_GATEWAY_H */
