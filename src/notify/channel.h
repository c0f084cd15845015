/*-------------------------------------------------------------------------
 *
 * channel.h
 *	  The channel of NOTIFY that listeners hear of route changes on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHANNEL_H
#define MRB_CHANNEL_H

/* Whether a message may be sent: it does not when the queue is half full. */
extern bool mrb_channel_has_room(void);

/* Whether a message is short enough for NOTIFY. */
extern bool mrb_channel_fits(const char *payload);

/* Send it when the transaction commits. */
extern void mrb_channel_notify(const char *payload);

#endif							/* MRB_CHANNEL_H */
