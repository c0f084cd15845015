/*-------------------------------------------------------------------------
 *
 * worker_settings.h
 *	  Settings of a worker's session.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WORKER_SETTINGS_H
#define MRB_WORKER_SETTINGS_H

/*
 * Override the settings that ALTER DATABASE and ALTER ROLE make for users'
 * sessions.  The caller has a transaction open.
 */
extern void mrb_worker_settings_apply(void);

#endif							/* MRB_WORKER_SETTINGS_H */
