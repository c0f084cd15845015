/*-------------------------------------------------------------------------
 *
 * actor.h
 *	  The actor of an operation, for its audit event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ACTOR_H
#define MRB_ACTOR_H

#include "operation/finding.h"

typedef struct MrbActor
{
	const char *type;			/* user, api_key, role, system */
	const char *id;
	bool		named;			/* by miosa_rollback.actor, which is refused
								 * to those who may not speak for others */
	bool		ignored;		/* miosa_rollback.actor is set for the session */
} MrbActor;

/* The actor of the current call; the texts are borrowed. */
extern MrbActor mrb_actor_read(void);

/*
 * The same for a call that is refused, without an error: the role that called
 * when claims cannot be read, or when it may not speak for others.
 */
extern MrbActor mrb_actor_guess(void);

/* Whether the caller's role has the rights of miosa_admin. */
extern bool mrb_actor_administers(void);

/* Whether the caller's role fetches artifacts: it has the rights of miosa_edge. */
extern bool mrb_actor_fetches(void);

/* Whether the caller may act for the actor that it names, for a tenant. */
extern MrbFinding mrb_actor_check(const MrbActor *actor, const char *tenant_id);

#endif							/* MRB_ACTOR_H */
