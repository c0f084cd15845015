/*-------------------------------------------------------------------------
 *
 * actor.c
 *	  The actor of an operation, for its audit event.
 *
 * In the session of a trusted gateway the claims of the request name the actor:
 * its API key, else its user.  Another application that acts for many users
 * names them in miosa_rollback.actor, which an administrator has to allow
 * (scope "speak"); it vouches for that name.  The event also has the role that
 * logged in, the client's address and application_name; the server vouches for
 * the first two.  A name that SET has set for the session is ignored: a
 * connection pooler in transaction mode passes it on to the next client.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "base/guc.h"
#include "base/setting_source.h"
#include "operation/actor.h"
#include "operation/claims.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_caller);
PG_FUNCTION_INFO_V1(mrb_current_actor);

static const char *const actor_types[] = {"user", "api_key", "role", "system"};

static const char *caller_role(void);
static bool has_rights_of(Oid role, const char *group);
static bool read_claims(MrbActor *actor);

/*
 * miosa.caller(): the role of the caller
 */
Datum
mrb_caller(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(caller_role()));
}

/*
 * miosa.current_actor(): the type and the id of the actor
 */
Datum
mrb_current_actor(PG_FUNCTION_ARGS)
{
	MrbActor	actor = mrb_actor_read();
	Datum		values[2] = {CStringGetTextDatum(actor.type), CStringGetTextDatum(actor.id)};
	bool		nulls[2] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "miosa.current_actor() must return a row");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * Return the role of the caller: the one of SET ROLE, or else the one that
 * logged in, and not the owner, with whose rights the API functions run.
 * Expressions that PostgreSQL evaluates by itself name nobody.
 */
static const char *
caller_role(void)
{
	Oid			role = mrb_tenancy_caller();

	if (!OidIsValid(role))
		mrb_raise(MRB_ERR_FORBIDDEN,
				  "cannot be called within a security-restricted operation",
				  "An expression of an index or a materialized view calls a function that has its owner's rights.",
				  "Call it by a statement of its own.");
	return GetUserNameFromId(role, false);
}

/*
 * Read the actor of the current call, which is the caller's role unless the
 * gateway or the application has named another one.
 */
MrbActor
mrb_actor_read(void)
{
	MrbActor	actor = {.type = "user",.id = mrb_actor};

	if (read_claims(&actor))
		return actor;
	if (mrb_actor != NULL && mrb_actor[0] != '\0')
		actor.ignored = mrb_setting_source_is_session("miosa_rollback.actor");
	if (mrb_actor == NULL || mrb_actor[0] == '\0' || actor.ignored)
	{
		actor.type = "role";
		actor.id = caller_role();
		return actor;
	}
	actor.named = true;
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

/*
 * Whether the caller's role, as caller_role() finds it, has the rights of
 * miosa_admin.
 */
bool
mrb_actor_administers(void)
{
	return has_rights_of(mrb_tenancy_caller(), "miosa_admin");
}

/*
 * Whether the caller's role has the rights of miosa_edge.  An expression of an
 * index or a materialized view fetches nothing, no matter whose table it is.
 */
bool
mrb_actor_fetches(void)
{
	return !InSecurityRestrictedOperation() &&
		has_rights_of(GetOuterUserId(), "miosa_edge");
}

/*
 * Whether a role, if it is one, has the rights of a group.
 */
static bool
has_rights_of(Oid role, const char *group)
{
	Oid			id = get_role_oid(group, true);

	return OidIsValid(role) &&
		(superuser_arg(role) ||
		 (OidIsValid(id) && has_privs_of_role(role, id)));
}

/*
 * Return the actor of a call that is refused.
 */
MrbActor
mrb_actor_guess(void)
{
	MrbActor	role = {.type = "role",.id = GetUserNameFromId(GetOuterUserId(), true)};
	MrbActor	actor = role;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		actor = mrb_actor_read();
		if (actor.named && !mrb_tenancy_may_speak("*"))
			actor = role;
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		/* It only reads, so there is nothing to roll back. */
		if (code == ERRCODE_QUERY_CANCELED || code == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		actor = role;
	}
	PG_END_TRY();
	return actor;
}

/*
 * Check that the caller may name the actor.
 */
MrbFinding
mrb_actor_check(const MrbActor *actor, const char *tenant_id)
{
	const char *role;

	if (!actor->named || mrb_tenancy_may_speak(tenant_id))
		return mrb_finding_hold("actor_allowed");
	role = caller_role();
	return mrb_finding_fail("actor_allowed", MRB_ERR_FORBIDDEN,
							"permission denied to name another actor",
							psprintf("miosa_rollback.actor is set, and role \"%s\" may not speak for others.",
									 role),
							psprintf("Act as yourself: SET LOCAL miosa_rollback.actor = ''; or an administrator can allow it: SELECT miosa_grant_tenant(%s, '*', '{speak}');",
									 quote_literal_cstr(role)));
}

/*
 * Read the actor from the claims of a trusted gateway; false when they name none.
 */
static bool
read_claims(MrbActor *actor)
{
	const MrbClaims *claims = mrb_trusted_gateways[0] != '\0' &&
	mrb_tenancy_is_gateway() ? mrb_claims_read() : NULL;

	if (claims == NULL || (claims->key == NULL && claims->user == NULL))
		return false;
	actor->type = claims->key != NULL ? "api_key" : "user";
	actor->id = claims->key != NULL ? claims->key : claims->user;
	return true;
}
