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
 * Undo what ALTER DATABASE and ALTER ROLE have set for people's sessions.
 * The caller has a transaction open.
 */
extern void mrb_worker_settings_apply(void);

#endif							/* MRB_WORKER_SETTINGS_H */
