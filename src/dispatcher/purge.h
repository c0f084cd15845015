/*-------------------------------------------------------------------------
 *
 * purge.h
 *	  Deleting what has expired, when nobody else does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PURGE_H
#define MRB_PURGE_H

/* Sweep, if it is time to. */
extern void mrb_purge_step(void);

#endif							/* MRB_PURGE_H */
