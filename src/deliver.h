/*-------------------------------------------------------------------------
 *
 * deliver.h
 *	  Turning items into requests and answers into what becomes of items.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DELIVER_H
#define MRB_DELIVER_H

/* Start requests; true when there may be more to start at once. */
extern bool mrb_deliver_pump(void);

#endif							/* MRB_DELIVER_H */
