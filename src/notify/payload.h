/*-------------------------------------------------------------------------
 *
 * payload.h
 *	  JSON texts for programs outside: the one user of jansson.
 *
 * Results are palloc'd.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PAYLOAD_H
#define MRB_PAYLOAD_H

/*
 * What listeners are told of one route.  epoch 0 means that it has none yet;
 * version_id NULL that nothing is served.
 */
extern char *mrb_payload_route(int64 epoch, const char *deployment_id,
							   const char *version_id);

/* What they are told of many: read these epochs from the log. */
extern char *mrb_payload_range(int64 from, int64 to);

#endif							/* MRB_PAYLOAD_H */
