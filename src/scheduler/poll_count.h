/*-------------------------------------------------------------------------
 *
 * poll_count.h
 *	  Counts of healthy instances that status polls return.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_POLL_COUNT_H
#define MRB_POLL_COUNT_H

/*
 * Record the number of healthy instances of a version that a poll of an
 * endpoint returned, and do what it allows.  False, having done nothing, if
 * the deployment's row is locked, the version is unknown or runs in no
 * instances, or the number is not from 0 to 100000.
 */
extern bool mrb_poll_count_take(const char *deployment_id,
								const char *version_id, const char *endpoint,
								int healthy);

#endif							/* MRB_POLL_COUNT_H */
