/*-------------------------------------------------------------------------
 *
 * drop_guard.h
 *	  Refusing to drop the extension while it has data.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DROP_GUARD_H
#define MRB_DROP_GUARD_H

extern void mrb_drop_guard_install(void);

#endif							/* MRB_DROP_GUARD_H */
