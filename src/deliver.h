/*-------------------------------------------------------------------------
 *
 * deliver.h
 *	  Turning items into requests and answers into what becomes of items.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DELIVER_H
#define MRB_DELIVER_H

/* Start as many requests as may be in flight. */
extern void mrb_deliver_pump(void);

#endif							/* MRB_DELIVER_H */
