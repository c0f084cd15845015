/*-------------------------------------------------------------------------
 *
 * uri_lock.h
 *	  Locks of artifacts by their URI.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_URI_LOCK_H
#define MRB_URI_LOCK_H

struct LockInstanceData;

/*
 * Whether a lock on an object of miosa.releases only announces locks of
 * artifacts, and keeps nobody waiting for one.
 */
extern bool mrb_uri_lock_is_intention(const struct LockInstanceData *lock);

#endif							/* MRB_URI_LOCK_H */
