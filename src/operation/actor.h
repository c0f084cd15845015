/*-------------------------------------------------------------------------
 *
 * actor.h
 *	  Who acts, as the audit event tells it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ACTOR_H
#define MRB_ACTOR_H

typedef struct MrbActor
{
	const char *type;			/* user, api_key, role, system */
	const char *id;
	bool		ignored;		/* a name that SET made for the session */
} MrbActor;

extern MrbActor mrb_actor_read(void);

#endif							/* MRB_ACTOR_H */
