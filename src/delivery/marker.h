/*-------------------------------------------------------------------------
 *
 * marker.h
 *	  Detect that a router has lost its routing table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_MARKER_H
#define MRB_MARKER_H

#include "endpoint/endpoint.h"
#include "http/http.h"

/* Start to watch the endpoint's marker, if its adapter has one. */
extern void mrb_marker_watch(MrbEndpoint *endpoint);

/* Read the marker now, or write it if there is none. */
extern void mrb_marker_check(MrbEndpoint *endpoint);

/* The epoch in the answer to a read; false if there is none. */
extern bool mrb_marker_parse(const MrbHttpAnswer *answer, int64 *epoch);

#endif							/* MRB_MARKER_H */
