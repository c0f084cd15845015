/*-------------------------------------------------------------------------
 *
 * served.h
 *	  The versions of a deployment that served last.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SERVED_H
#define MRB_SERVED_H

/*
 * recent_served of a deployment in which one version (NULL: none) served until
 * now, and another (NULL: none) does from now on.
 */
extern Datum mrb_served_add(Datum served, const char *until_now,
							const char *from_now);

#endif							/* MRB_SERVED_H */
