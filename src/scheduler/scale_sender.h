/*-------------------------------------------------------------------------
 *
 * scale_sender.h
 *	  Asking schedulers, and what becomes of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SCALE_SENDER_H
#define MRB_SCALE_SENDER_H

#include "endpoint/endpoint.h"

/*
 * Start one request to a scheduler; false when there is none to start now.
 * *full is set when there is no room for one.
 */
extern bool mrb_scale_sender_start(MrbEndpoint *endpoint, bool *full);

#endif							/* MRB_SCALE_SENDER_H */
