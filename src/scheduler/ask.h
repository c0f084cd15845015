/*-------------------------------------------------------------------------
 *
 * ask.h
 *	  Asking schedulers, and what becomes of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ASK_H
#define MRB_ASK_H

#include "endpoint.h"

/*
 * Start one request to a scheduler; false when there is none to start now.
 * *full is set when there is no room for one.
 */
extern bool mrb_ask_start(MrbEndpoint *endpoint, bool *full);

#endif							/* MRB_ASK_H */
