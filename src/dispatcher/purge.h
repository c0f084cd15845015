/*-------------------------------------------------------------------------
 *
 * purge.h
 *	  Deletes expired rows when no cron job does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PURGE_H
#define MRB_PURGE_H

/* Delete the next rows, if a run is due or goes on. */
extern void mrb_purge_step(void);

#endif							/* MRB_PURGE_H */
