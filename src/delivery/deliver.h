/*-------------------------------------------------------------------------
 *
 * deliver.h
 *	  Turning items into requests and answers into what becomes of items.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DELIVER_H
#define MRB_DELIVER_H

#include "endpoint.h"

/*
 * Start one request, or set *full when there is no room for it; false when the
 * endpoint has nothing that may be sent.
 */
extern bool mrb_deliver_start(MrbEndpoint *endpoint, bool *full);

#endif							/* MRB_DELIVER_H */
