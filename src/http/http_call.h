/*-------------------------------------------------------------------------
 *
 * http_call.h
 *	  Make one HTTP request and wait for its response.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_CALL_H
#define MRB_HTTP_CALL_H

#include "http/http.h"

/* Make a request, processing interrupts; the answer's strings are palloc'd. */
extern void mrb_http_call(const MrbHttpRequest *request, MrbHttpAnswer *answer);

#endif							/* MRB_HTTP_CALL_H */
