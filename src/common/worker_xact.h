/*-------------------------------------------------------------------------
 *
 * worker_xact.h
 *	  The dispatcher's own transactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WORKER_XACT_H
#define MRB_WORKER_XACT_H

typedef enum MrbWorkerXactKind
{
	MRB_WORKER_XACT_PASS,		/* repeatable read, commits as users' do, or
								 * asynchronously if it says so */
	MRB_WORKER_XACT_LOCAL,		/* flushed here, waits for no standby */
	MRB_WORKER_XACT_ASYNC,		/* asynchronous commit: may be lost in a crash */
	MRB_WORKER_XACT_NOTIFY,		/* the same, without a snapshot */
} MrbWorkerXactKind;

/* Begin and commit; lock_timeout_ms limits waits for locks. */
extern void mrb_worker_xact_begin(MrbWorkerXactKind kind, int lock_timeout_ms);
extern void mrb_worker_xact_commit(void);

/* Commit, after which what was read may be sent.  It waits as a commit does. */
extern void mrb_worker_xact_commit_read(void);

/* Let the open transaction commit asynchronously. */
extern void mrb_worker_xact_async(void);

typedef void (*MrbWorkerXactWork) (void *arg);

/*
 * Run work, which begins and commits a transaction.  False when it raised an
 * error: then the transaction is aborted, and the error is logged, at most once
 * a minute if it repeats.  *sqlstate, if given, is set to the error's.  A dropped
 * extension is not logged: the next pass ends the process.
 */
extern bool mrb_worker_xact_try(MrbWorkerXactWork work, void *arg, int *sqlstate);

/* Return the message of the last error; valid until the next one. */
extern const char *mrb_worker_xact_error(void);

/* Return the extension's oid; InvalidOid when it does not exist. */
extern Oid	mrb_worker_xact_extension(void);

#endif							/* MRB_WORKER_XACT_H */
