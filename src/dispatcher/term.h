/*-------------------------------------------------------------------------
 *
 * term.h
 *	  The term: whether this database may send to endpoints, and its epochs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TERM_H
#define MRB_TERM_H

typedef struct MrbTerm
{
	bool		absent;			/* the extension was dropped */
	char	   *paused;			/* why nothing may be sent, or NULL */
	int64		number;			/* grows with each promotion of a standby */
	int64		last_epoch;		/* newest epoch given */
	int64		trimmed_epoch;	/* the route log begins after this */
	int64		origin_epoch;	/* taken from the primary site; 0 at it */
} MrbTerm;

/*
 * Lock dispatcher_state and read it, in the caller's transaction.  A new
 * timeline of the same site begins a new term; else so many epochs are skipped.
 */
extern void mrb_term_read(Oid extension, int64 skip, MrbTerm *term);

/* Why nothing may be sent, or NULL; takes no lock. */
extern char *mrb_term_reason(void);

/*
 * Lock dispatcher_state and count so many epochs as given; term->last_epoch is
 * the one before them.  False when there is no row.
 */
extern bool mrb_term_advance(int64 epochs, MrbTerm *term);

/* Remember the newest epoch of the primary site that was taken. */
extern void mrb_term_follow(int64 origin_epoch);

#endif							/* MRB_TERM_H */
