/*-------------------------------------------------------------------------
 *
 * sender.h
 *	  Turn items into requests, and answers into results of items.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SENDER_H
#define MRB_SENDER_H

#include "endpoint/endpoint.h"

/*
 * Start one request, or set *full if there is no room for it.  Return false if
 * the endpoint has nothing that may be sent.
 */
extern bool mrb_sender_start(MrbEndpoint *endpoint, bool *full);

#endif							/* MRB_SENDER_H */
