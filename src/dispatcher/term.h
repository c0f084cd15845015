/*-------------------------------------------------------------------------
 *
 * term.h
 *	  Whether the dispatcher may tell anybody, and where its epochs stand.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TERM_H
#define MRB_TERM_H

typedef struct MrbTerm
{
	bool		absent;			/* the extension is gone */
	char	   *paused;			/* why it must not tell anybody, or NULL */
	int64		term;
	int64		last_epoch;
	int64		trimmed_epoch;
} MrbTerm;

/*
 * Lock dispatcher_state and look where we are, in the caller's transaction.
 * A new timeline of the same site begins a new term.
 */
extern void mrb_term_read(Oid extension, MrbTerm *standing);

/* Why the dispatcher must not tell anybody, or NULL; takes no lock. */
extern char *mrb_term_reason(void);

/* Write down the newest epoch given. */
extern void mrb_term_advance(int64 last_epoch);

#endif							/* MRB_TERM_H */
