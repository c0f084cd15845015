/*-------------------------------------------------------------------------
 *
 * scale_sender.h
 *	  Sends requests and polls to schedulers and handles their answers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_SENDER_H
#define MRB_SCALE_SENDER_H

#include "endpoint/endpoint.h"

/*
 * Start one request to a scheduler; false when it has none to start now.
 * *full is set when no more requests can be in flight.
 */
extern bool mrb_scale_sender_start(MrbEndpoint *endpoint, bool *full);

#endif							/* MRB_SCALE_SENDER_H */
