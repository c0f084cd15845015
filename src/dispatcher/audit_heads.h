/*-------------------------------------------------------------------------
 *
 * audit_heads.h
 *	  Sends heads of the audit trail out of the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_AUDIT_HEADS_H
#define MRB_AUDIT_HEADS_H

#include "common/timer.h"
#include "dispatcher/feed.h"

typedef struct MrbAuditHeads
{
	bool		due;			/* for a statement */
	int64		changes;		/* of routes since the last one, at least */
	MrbTimer	timer;			/* of the next statement */
	int			interval;		/* the setting that it was set by */
	MrbFeed		feed;			/* its messages are the statements */

	/* the file */
	int64		written;		/* last statement in it; 0: not known */
	int64		recorded;		/* the same in its row */
	bool		failed;			/* the last write did, which was logged */
	MrbTick		retry;			/* no write before */
} MrbAuditHeads;

extern void mrb_audit_heads_init(MrbAuditHeads *heads);

/* A pass has taken so many route changes. */
extern void mrb_audit_heads_note(MrbAuditHeads *heads, int nchanges);

/* Make a statement, if one is due, and send what receivers lack. */
extern void mrb_audit_heads_step(MrbAuditHeads *heads);

#endif							/* MRB_AUDIT_HEADS_H */
