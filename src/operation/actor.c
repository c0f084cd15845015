/*-------------------------------------------------------------------------
 *
 * actor.c
 *	  Who acts, as the audit event tells it.
 *
 * An application that acts for many users names them in miosa_rollback.actor.
 * That name is the application's word; the role that logged in and the
 * client's address, which the event holds too, are the server's.  A name that
 * SET has made for the session does not count: a pooler in transaction mode
 * hands it on to the next client.
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
 * The actor of the present call.  The current role is that of SET ROLE: the
 * owner's rights, which the API functions run with, are no actor.
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
