/*-------------------------------------------------------------------------
 *
 * sender.h
 *	  Turning items into requests and answers into what becomes of items.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SENDER_H
#define MRB_SENDER_H

#include "endpoint/endpoint.h"

/*
 * Start one request, or set *full when there is no room for it; false when the
 * endpoint has nothing that may be sent.
 */
extern bool mrb_sender_start(MrbEndpoint *endpoint, bool *full);

#endif							/* MRB_SENDER_H */
