/*-------------------------------------------------------------------------
 *
 * lock_wait.h
 *	  Limit waits for locks to miosa_rollback.lock_wait and report the holder.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_LOCK_WAIT_H
#define MRB_LOCK_WAIT_H

#include "base/errors.h"
#include "datatype/timestamp.h"
#include "fmgr.h"

/*
 * Call a function with limited waits, as mrb_errors_call() does; a wait that
 * times out raises DEPLOYMENT_BUSY, and a user's argument that is too long
 * INVALID_ARGUMENT.
 */
extern Datum mrb_lock_wait_call(MrbAccess access, PGFunction function,
								FunctionCallInfo fcinfo);

/*
 * Limit the waits of what follows, until the calling SQL function returns, if it
 * has settings of its own.
 */
extern void mrb_lock_wait_bound(void);

/*
 * The HINT of DEPLOYMENT_BUSY: how to see what holds the lock, which for a
 * prepared transaction is no process.
 */
extern const char *mrb_lock_wait_hint(bool prepared);

/*
 * The name of a process, palloc'd, and when its transaction began (0: unknown).
 * Reads shared memory only.
 */
extern const char *mrb_lock_wait_process(int pid, TimestampTz *since);

#endif							/* MRB_LOCK_WAIT_H */
