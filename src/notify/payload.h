/*-------------------------------------------------------------------------
 *
 * payload.h
 *	  Payloads of notifications.
 *
 * Results are palloc'd.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PAYLOAD_H
#define MRB_PAYLOAD_H

/*
 * Return the payload for one route change.  epoch 0 means that none is assigned
 * yet; version_id NULL that the deployment serves no version.
 */
extern char *mrb_payload_route(int64 epoch, const char *deployment_id,
							   const char *version_id);

/* Return the payload for many changes: a range of epochs in the log. */
extern char *mrb_payload_range(int64 from, int64 to);

#endif							/* MRB_PAYLOAD_H */
