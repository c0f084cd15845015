/*-------------------------------------------------------------------------
 *
 * channel.h
 *	  The NOTIFY channel of route changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CHANNEL_H
#define MRB_CHANNEL_H

/* Whether a notification may be sent: not while the queue is half full. */
extern bool mrb_channel_has_room(void);

/* Whether a payload is short enough for NOTIFY. */
extern bool mrb_channel_fits(const char *payload);

/* Send a notification when the transaction commits. */
extern void mrb_channel_notify(const char *payload);

#endif							/* MRB_CHANNEL_H */
