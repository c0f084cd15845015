/*-------------------------------------------------------------------------
 *
 * lock_wait.h
 *	  Waits for locks end after miosa_rollback.lock_wait and say who is in the
 *	  way.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_LOCK_WAIT_H
#define MRB_LOCK_WAIT_H

#include "base/errors.h"
#include "fmgr.h"

/*
 * Until the SQL function that called us with settings of its own returns (or
 * else the transaction ends), wait for no lock longer than lock_wait, or than
 * the caller's own lock_timeout if that is shorter.
 */
extern void mrb_lock_wait_bound(void);

/*
 * Call a function so, as mrb_errors_call() does; a wait that ends without the
 * lock is DEPLOYMENT_BUSY.
 */
extern Datum mrb_lock_wait_call(MrbAccess access, PGFunction function,
								FunctionCallInfo fcinfo);

/*
 * The HINT of DEPLOYMENT_BUSY: how to see what holds the lock, which for a
 * prepared transaction is no process.
 */
extern const char *mrb_lock_wait_hint(bool prepared);

#endif							/* MRB_LOCK_WAIT_H */
