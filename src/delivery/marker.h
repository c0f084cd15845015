/*-------------------------------------------------------------------------
 *
 * marker.h
 *	  Noticing that a router has lost its table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_MARKER_H
#define MRB_MARKER_H

#include "endpoint/endpoint.h"
#include "http/http.h"

/* Begin to look after the endpoint's marker, if its adapter has one. */
extern void mrb_marker_watch(MrbEndpoint *endpoint);

/* Look now: the endpoint was away, or something is to be verified. */
extern void mrb_marker_check(MrbEndpoint *endpoint);

/* The marker that was read; false when the answer holds none. */
extern bool mrb_marker_parse(const MrbHttpAnswer *answer, int64 *epoch);

#endif							/* MRB_MARKER_H */
