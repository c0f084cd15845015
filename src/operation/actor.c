/*-------------------------------------------------------------------------
 *
 * actor.c
 *	  The actor of an operation, for its audit event.
 *
 * An application that acts for many users names them in miosa_rollback.actor.
 * The application vouches for that name; the event also has the role that
 * logged in and the client's address, which the server vouches for.  A name
 * that SET has set for the session is ignored: a connection pooler in
 * transaction mode passes it on to the next client.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/guc.h"
#include "base/setting_source.h"
#include "operation/actor.h"

static const char *const actor_types[] = {"user", "api_key", "role", "system"};

/*
 * Read the actor of the current call.  Without a name it is the role of SET
 * ROLE, or else the one that logged in, and not the owner, with whose rights the
 * API functions run.
 */
MrbActor
mrb_actor_read(void)
{
	MrbActor	actor = {.type = "user",.id = mrb_actor};

	if (mrb_actor != NULL && mrb_actor[0] != '\0')
		actor.ignored = mrb_setting_source_is_session("miosa_rollback.actor");
	if (mrb_actor == NULL || mrb_actor[0] == '\0' || actor.ignored)
	{
		actor.type = "role";
		actor.id = GetUserNameFromId(GetOuterUserId(), false);
		return actor;
	}
	for (size_t i = 0; i < lengthof(actor_types); i++)
	{
		size_t		len = strlen(actor_types[i]);

		if (strncmp(mrb_actor, actor_types[i], len) == 0 &&
			mrb_actor[len] == ':' && mrb_actor[len + 1] != '\0')
		{
			actor.type = actor_types[i];
			actor.id = mrb_actor + len + 1;
		}
	}
	return actor;
}
