/*-------------------------------------------------------------------------
 *
 * http_call.h
 *	  One request over HTTP that is waited for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_CALL_H
#define MRB_HTTP_CALL_H

#include "http/http.h"

/* Wait for one answer and interrupts.  Its strings are palloc'd. */
extern void mrb_http_call(const MrbHttpRequest *request, MrbHttpAnswer *answer);

#endif							/* MRB_HTTP_CALL_H */
