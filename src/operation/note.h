/*-------------------------------------------------------------------------
 *
 * note.h
 *	  Operations that move nothing: a hold, a version that is marked as bad.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_NOTE_H
#define MRB_NOTE_H

#include "operation/deployment.h"
#include "operation/idempotency.h"
#include "operation/operation.h"

/* One such operation; all but action and deployment may be NULL. */
typedef struct MrbNote
{
	MrbAction	action;
	const char *deployment_id;
	const char *key;			/* idempotency key */
	const char *arguments[3];	/* what else makes two requests the same; at
								 * most MRB_MAX_ID bytes each */
	const char *reason;
	int			scopes;			/* that the caller needs one of (tenancy.h);
								 * 0: to roll back or to deploy */
	StringInfoData marks;		/* of the audit event; members of a JSON
								 * object */
	MrbHoldChange hold;			/* what it does to the hold */

	const char *warnings;		/* JSON array for the response, or NULL */

	MrbDeployment *now;			/* under the lock; set by mrb_note_begin() */
	MrbFingerprint fingerprint; /* note.c's */
	bool		key_expired;	/* note.c's */
} MrbNote;

/*
 * Lock the deployment, and return the stored response of the key, or NULL: then
 * the caller makes its changes, and mrb_note_write() follows in the same
 * transaction, which writes the audit event and returns the response.  Raises
 * DEPLOYMENT_NOT_FOUND, FORBIDDEN, DEPLOYMENT_BUSY and what the key raises.
 */
extern Jsonb *mrb_note_begin(MrbNote *note);
extern Jsonb *mrb_note_write(MrbNote *note);

#endif							/* MRB_NOTE_H */
