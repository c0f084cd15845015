/*-------------------------------------------------------------------------
 *
 * actor.h
 *	  The actor of an operation, for its audit event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ACTOR_H
#define MRB_ACTOR_H

typedef struct MrbActor
{
	const char *type;			/* user, api_key, role, system */
	const char *id;
	bool		ignored;		/* miosa_rollback.actor is set for the session */
} MrbActor;

/* The actor of the current call; the texts are borrowed. */
extern MrbActor mrb_actor_read(void);

/* Whether the caller's role has the rights of miosa_admin. */
extern bool mrb_actor_administers(void);

#endif							/* MRB_ACTOR_H */
