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
	MRB_SESSION_PASS,			/* repeatable read, commits like the user's */
	MRB_SESSION_RECORD,			/* bookkeeping that may be lost in a crash */
	MRB_SESSION_NOTIFY,			/* no snapshot */
} MrbWorkerXactKind;

/* lock_timeout_ms: no lock is waited for any longer. */
extern void mrb_worker_xact_begin(MrbWorkerXactKind kind, int lock_timeout_ms);
extern void mrb_worker_xact_commit(void);

typedef void (*MrbWorkerXactWork) (void *arg);

/*
 * Run work, which begins and commits a transaction.  False when it raised an
 * error: then the transaction is aborted, and the error is logged, but not
 * the same one again and again.  *sqlstate, if given, is the error's.  That
 * the extension was dropped is not logged: the next pass ends the process.
 */
extern bool mrb_worker_xact_try(MrbWorkerXactWork work, void *arg, int *sqlstate);

/* The message of the last error, until the next one. */
extern const char *mrb_worker_xact_error(void);

/* The extension's oid; InvalidOid when it is gone. */
extern Oid	mrb_worker_xact_extension(void);

#endif							/* MRB_WORKER_XACT_H */
