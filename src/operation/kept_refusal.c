/*-------------------------------------------------------------------------
 *
 * kept_refusal.c
 *	  Audit events of refused calls.
 *
 * A call that returns its condition does not end its transaction, so the refusal
 * can be an event in the deployment's chain, with the outcome "refused", and is
 * committed with the caller's transaction.  It moves nothing and delivers
 * nothing.  Its key stays unused, because the same call may succeed later.
 *
 * Not every refusal is an event.  A caller for whom the deployment does not
 * exist, or who may not do what it asks for, must not write into its chain; what
 * could not be checked, as a reason that is too long, must not be kept there; and
 * a standby and a locked deployment cannot be written.  Nor may a client that
 * tries again and again fill the chain: the same refusal is one event (see
 * known_query).  All of these are counted in miosa.refusals, like refusals that
 * are raised.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "common/index_lookup.h"
#include "common/query.h"
#include "operation/actor.h"
#include "operation/deployment.h"
#include "operation/deployment_lock.h"
#include "operation/hold.h"
#include "operation/idempotency.h"
#include "operation/kept_refusal.h"
#include "operation/operation.h"
#include "operation/tenancy.h"

/* Events of a deployment that are searched, and refused ones in a minute. */
#define SEARCHED "100"
#define MOST "20"

/* Conditions that are no event. */
static const MrbCondition elsewhere[] = {
	MRB_ERR_INVALID_ARGUMENT,
	MRB_ERR_FORBIDDEN,
	MRB_ERR_DEPLOYMENT_NOT_FOUND,
	MRB_ERR_DEPLOYMENT_BUSY,
	MRB_ERR_NOT_PRIMARY,
};

/*
 * Whether the refusal is recorded already: with a key, by an event of the key and
 * condition; without one, by an event of the same caller, version and condition
 * less than a minute ago; or whether the deployment has had enough of them in a
 * minute.
 */
static MrbQuery known_query = {
	.sql = "SELECT count(*) FILTER (WHERE e.created_at > $7) >= " MOST
	" OR coalesce(bool_or(e.action = $2 AND e.marks ->> 'refused' = $3"
	" AND e.idempotency_key IS NOT DISTINCT FROM $4"
	" AND ($4 IS NOT NULL OR e.created_at > $7"
	" AND e.marks ->> 'version' IS NOT DISTINCT FROM $5"
	" AND e.actor_type || ':' || e.actor_id = $6)), false)"
	" FROM (SELECT a.* FROM miosa.audit_events a WHERE a.deployment_id = $1"
	" ORDER BY a.seq DESC LIMIT " SEARCHED ") e WHERE e.outcome = 'refused'",
	.nargs = 7,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	TIMESTAMPTZOID},
};

static bool is_event(MrbCondition condition);
static bool may_write(const MrbCallerRequest *request);
static bool is_known(const MrbCallerRequest *request, MrbAction action,
					 MrbCondition condition, const char *key,
					 const MrbActor *actor);
static MrbDeployment *lock_deployment(const char *id, Interval *keep);
static char *quote_json(const char *value);

/*
 * Write the event of a refused call.
 */
bool
mrb_kept_refusal_write(const MrbCallerRequest *request, MrbCondition condition)
{
	MrbActor	actor;
	MrbDeployment *now;
	MrbOperation operation = {
		.action = request->action == MRB_PROMOTE ? MRB_PROMOTE_REFUSED :
		MRB_ROLLBACK_REFUSED,
		.outcome = "refused",
		.target_rule = "none",
		.quiet = true,
		.reason = request->reason,
		.attribution = request->attribution,
	};

	if (!is_event(condition) || !may_write(request))
		return false;
	actor = mrb_actor_read();
	if (request->key != NULL)
		operation.key = mrb_idempotency_check_key(request->key);
	if (is_known(request, operation.action, condition, operation.key, &actor))
		return false;
	now = lock_deployment(request->deployment_id, &operation.keep);
	if (now == NULL ||
		is_known(request, operation.action, condition, operation.key, &actor))
		return false;

	operation.deployment_id = now->id;
	operation.place = now->place;
	operation.previous_version_id = now->active.id;
	operation.target_version_id = now->active.id;
	operation.target_release_id = now->target.release_id;
	operation.target_sha256 = now->target.sha256;
	operation.serving_version_id = now->serving_version_id;
	operation.state = now->state;
	operation.actor_type = actor.type;
	operation.actor_id = actor.id;
	initStringInfo(&operation.marks);
	mrb_operation_mark(&operation, "refused",
					   quote_json(mrb_errors_condition_name(condition)));
	if (request->version_id != NULL)
		mrb_operation_mark(&operation, "version",
						   quote_json(request->version_id));
	(void) mrb_operation_write(&operation);
	if (condition == MRB_ERR_HELD && request->version_id != NULL)
		mrb_hold_remember(now->id, request->version_id);
	return true;
}

/*
 * Whether refusals of a condition are events.
 */
static bool
is_event(MrbCondition condition)
{
	for (size_t i = 0; i < lengthof(elsewhere); i++)
	{
		if (elsewhere[i] == condition)
			return false;
	}
	return true;
}

/*
 * Whether the deployment exists for the caller, who may do what it has asked for.
 */
static bool
may_write(const MrbCallerRequest *request)
{
	MrbFinding	finding;

	mrb_index_lookup_begin();
	finding = mrb_deployment_check_caller(request->deployment_id,
										  request->action == MRB_PROMOTE ?
										  MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY :
										  MRB_SCOPE_ROLLBACK,
										  "record a refusal");
	mrb_index_lookup_end();
	return finding.severity != MRB_FAILS;
}

/*
 * Whether no further event is needed.  A client that tries again and again is
 * stopped here before it takes the lock; under it the answer is final, because
 * another call may have written the event meanwhile.
 */
static bool
is_known(const MrbCallerRequest *request, MrbAction action,
		 MrbCondition condition, const char *key, const MrbActor *actor)
{
	Datum		values[] = {
		CStringGetTextDatum(request->deployment_id),
		CStringGetTextDatum(mrb_operation_action(action)),
		CStringGetTextDatum(mrb_errors_condition_name(condition)),
		key ? CStringGetTextDatum(key) : (Datum) 0,
		request->version_id ? CStringGetTextDatum(request->version_id) : (Datum) 0,
		CStringGetTextDatum(psprintf("%s:%s", actor->type, actor->id)),
		TimestampTzGetDatum(GetCurrentTimestamp() - USECS_PER_MINUTE),
	};
	bool		nulls[] = {
		false, false, false, key == NULL, request->version_id == NULL, false,
		false
	};
	bool		known;

	mrb_query_open();
	mrb_query_run(&known_query, values, nulls);
	known = mrb_query_bool(0, 1);
	mrb_query_close();
	return known;
}

/*
 * Lock the deployment, and read it with the release of its active version, and
 * how long the event is kept; NULL if it is locked for longer than lock_wait.
 */
static MrbDeployment *
lock_deployment(const char *id, Interval *keep)
{
	ItemPointerData place;
	MrbFinding	finding;
	MrbDeployment *now;
	MrbRetention retention = {0};
	int			wait = mrb_lock_wait;

	ItemPointerSetInvalid(&place);
	finding = mrb_deployment_lock_within(id, &place, &wait);
	if (finding.severity == MRB_FAILS)
		return NULL;
	mrb_index_lookup_begin();
	now = mrb_deployment_look(id, NULL, NULL);
	if (now != NULL && now->active.id != NULL)
		now = mrb_deployment_look(id, now->active.id, now);
	if (now != NULL)
	{
		mrb_deployment_retention(now, &retention);
		*keep = retention.events;
		now->place = place;
	}
	mrb_index_lookup_end();
	return now;
}

/*
 * Quote a text as JSON.
 */
static char *
quote_json(const char *value)
{
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, value);
	return json.data;
}
