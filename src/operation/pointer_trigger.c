/*-------------------------------------------------------------------------
 *
 * pointer_trigger.c
 *	  Operations by a plain UPDATE of miosa.deployments.
 *
 * A control plane may write active_version_id itself.  The trigger turns that
 * into an operation like any other: the same checks, the same decision about
 * routes, and the same statement for the audit event and the outbox.  A null
 * unpublishes the deployment, which is an action of its own and no rollback.
 *
 * Columns that follow from the pointer and from operations (which version
 * serves, the numbers, the release) are derived here if the pointer moves; a
 * change of them is refused otherwise.  Only write_guard.c knows whether the
 * update is one of the extension's own; nothing in the row tells.
 *
 * Storage is not asked, because the row is locked: the recorded state of the
 * artifact decides.  Restores and replicas do not fire the trigger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/errors.h"
#include "base/optional_text.h"
#include "base/size_limit.h"
#include "common/index_lookup.h"
#include "notify/wakeup.h"
#include "operation/actor.h"
#include "operation/apply.h"
#include "operation/checks.h"
#include "operation/deployment.h"
#include "operation/derived_columns.h"
#include "operation/guards.h"
#include "operation/hold.h"
#include "operation/operation.h"
#include "operation/operation_count.h"
#include "operation/refusal.h"
#include "operation/target.h"
#include "operation/write_guard.h"

PG_FUNCTION_INFO_V1(mrb_deployments_pointer);

/* One row, before and after. */
typedef struct Change
{
	TriggerData *trigger;
	Oid			user;			/* role that runs the statement */
	const char *id;				/* of the old row */
	const char *active;			/* version to make active, or NULL */
} Change;

/* Columns that a plain UPDATE must not write, and what to do instead. */
static const struct
{
	const char *column;
	const char *detail;
	const char *hint;			/* %s: the deployment */
}			derived[] = {

	{"seq", "The extension counts operations in it.",
	"See the operations with SELECT * FROM miosa.history(%s);"},
	{"route_seq", "The extension counts route changes in it.",
	"To have the present route delivered again, type SELECT miosa_resend(%s);"},
	{"serving_version_id", "The extension derives it from operations and healthy instances.",
	"See the versions that can be made active with SELECT * FROM miosa.candidates(%s);"},
	{"audit_head", "The extension sets it to the hash of the newest audit event.",
	"Verify the audit trail with SELECT miosa_audit_verify(%s);"},
	{"recent_served", "The extension derives it from operations.",
	"See the operations with SELECT * FROM miosa.history(%s);"},
	{"active_release_id", "The extension derives it from the active version.",
	"See the versions with SELECT * FROM miosa.candidates(%s);"},
	{"running_artifact_sha256", "The extension derives it from the release of the active version.",
	"See the versions with SELECT * FROM miosa.candidates(%s);"},
};

static Datum apply_as_owner(PG_FUNCTION_ARGS);
static HeapTuple apply(const Change *change);
static HeapTuple move_pointer(const Change *change);
static void judge(MrbDeployment *now, const char *asked, const MrbActor *actor,
				  MrbOperation *operation);
static MrbAction choose_action(const MrbDeployment *now);
static void note_request(const MrbDeployment *now, const char *asked);
static void keep_derived(const Change *change);
static Datum get_column(const Change *change, bool after, const char *name,
						bool *isnull);
static char *get_text(const Change *change, bool after, const char *name);

/*
 * miosa.deployments_pointer()
 */
Datum
mrb_deployments_pointer(PG_FUNCTION_ARGS)
{
	Change		change = {.trigger = (TriggerData *) fcinfo->context};

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(change.trigger->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(change.trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(change.trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("deployments_pointer must be fired before an update of a row")));
	(void) mrb_size_limit_check_row(change.trigger);
	if (mrb_write_guard_passes(get_text(&change, false, "id")))
		return PointerGetDatum(change.trigger->tg_newtuple);
	return mrb_errors_call(MRB_INNER, apply_as_owner, fcinfo);
}

/*
 * Apply the change with the owner's rights and a safe search_path.  The
 * trigger's function does not declare these, because the extension's own
 * statements, which are the majority, do not need them.
 */
static Datum
apply_as_owner(PG_FUNCTION_ARGS)
{
	Change		change = {.trigger = (TriggerData *) fcinfo->context};
	HeapTuple	tuple;
	Oid			user;
	int			context;
	int			nestlevel;

	GetUserIdAndSecContext(&user, &context);
	change.user = user;
	SetUserIdAndSecContext(change.trigger->tg_relation->rd_rel->relowner,
						   context | SECURITY_LOCAL_USERID_CHANGE);
	nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	tuple = apply(&change);
	AtEOXact_GUC(true, nestlevel);
	SetUserIdAndSecContext(user, context);
	return PointerGetDatum(tuple);
}

/*
 * Turn the change into an operation, or check that it changes nothing derived.
 */
static HeapTuple
apply(const Change *given)
{
	Change		change = *given;

	change.id = get_text(&change, false, "id");
	change.active = get_text(&change, true, "active_version_id");
	if (!mrb_optional_text_equals(get_text(&change, false, "active_version_id"),
								  change.active))
		return move_pointer(&change);
	keep_derived(&change);
	return change.trigger->tg_newtuple;
}

/*
 * The pointer moves: check the change, write the operation, and put the derived
 * values into the row.
 */
static HeapTuple
move_pointer(const Change *change)
{
	TupleDesc	desc = RelationGetDescr(change->trigger->tg_relation);
	MrbActor	actor = mrb_actor_read();
	MrbFinding	named = mrb_checks_actor_counts(actor.ignored);
	MrbOperation operation = {.target_rule = "direct_update"};
	MrbOperationColumns moved;
	MrbRetention retention = {0};
	MrbDeployment *now;
	MrbFinding	finding;
	bool		isnull;

	mrb_operation_count_begin();
	now = mrb_deployment_read(change->id, change->active, NULL);
	finding = mrb_deployment_check_exists(now, change->id);
	mrb_finding_enforce(&finding);
	finding = mrb_actor_check(&actor, now->tenant_id);
	mrb_finding_enforce(&finding);
	now->desired_replicas =
		DatumGetInt32(get_column(change, true, "desired_replicas", &isnull));
	now->state = get_text(change, true, "state");
	if (isnull || now->state == NULL)
		return change->trigger->tg_newtuple;	/* not-null constraints */

	initStringInfo(&operation.marks);
	note_request(now, change->active);
	if (change->active == NULL)
		mrb_apply_unpublish(now, &operation);
	else
		judge(now, change->active, &actor, &operation);
	mrb_finding_enforce(&named);
	operation.actor_type = actor.type;
	operation.actor_id = actor.id;
	mrb_index_lookup_begin();
	mrb_deployment_retention(now, &retention);
	mrb_index_lookup_end();
	operation.keep = retention.events;

	mrb_operation_write_row(&operation, change->trigger->tg_trigslot,
							change->trigger->tg_newslot, &moved);
	mrb_wakeup_dispatcher(now->id, operation.serving_version_id ?
						  operation.serving_version_id : change->active);
	if (operation.action == MRB_PROMOTE)
		mrb_hold_notice(&operation.hold, now->id);
	mrb_refusal_forget();

	return heap_modify_tuple_by_cols(change->trigger->tg_newtuple, desc,
									 MRB_OPERATION_COLUMNS, moved.columns, moved.values,
									 moved.nulls);
}

/*
 * Run the checks of every operation, with the recorded state of the artifact.
 */
static void
judge(MrbDeployment *now, const char *asked, const MrbActor *actor,
	  MrbOperation *operation)
{
	MrbTarget	target;
	MrbFinding	finding;
	MrbGuards	guards;

	finding = mrb_checks_version_exists(now, asked);
	mrb_finding_enforce(&finding);
	finding = mrb_checks_version_ready(now);
	mrb_finding_enforce(&finding);
	finding = mrb_checks_artifact_kept(now);
	mrb_finding_enforce(&finding);
	mrb_target_recorded(now, &target);
	mrb_finding_enforce(&target.artifact);
	operation->action = choose_action(now);
	mrb_index_lookup_begin();
	now->hold = mrb_hold_look(now->id);
	mrb_index_lookup_end();
	finding = mrb_guards_judge(now, operation->action == MRB_PROMOTE, &guards);
	mrb_finding_enforce(&finding);
	mrb_guards_warn(&guards);
	mrb_operation_mark_risks(operation, &target.artifact, &guards);
	mrb_apply(now, false, operation);
	operation->hold = mrb_hold_follow(now, operation->action, true, actor);
	mrb_operation_mark_hold(operation);
}

/*
 * Choose the action: a promotion if the version number rises.
 */
static MrbAction
choose_action(const MrbDeployment *now)
{
	return now->active.id == NULL || now->target.number > now->active.number ?
		MRB_PROMOTE : MRB_ROLLBACK;
}

/*
 * Note what was asked for, in case that it is refused; a hold remembers the
 * version, as it does of calls.  What a version that is not there would have been
 * is not known.
 */
static void
note_request(const MrbDeployment *now, const char *asked)
{
	MrbCallerRequest request = {
		.action = asked == NULL ? MRB_UNPUBLISH : choose_action(now),
		.deployment_id = now->id,
		.version_id = asked,
	};

	if (asked == NULL || now->target.id != NULL)
		mrb_refusal_note(&request, true);
}

/*
 * The pointer does not move: refuse changes of derived columns.  Only the
 * release of the active version may be written, with its derived value: it may
 * have been added after the version became active.
 */
static void
keep_derived(const Change *change)
{
	MrbDeployment *now = NULL;

	for (size_t i = 0; i < lengthof(derived); i++)
	{
		const char *column = derived[i].column;
		bool		release = strcmp(column, "active_release_id") == 0;
		bool		sha256 = strcmp(column, "running_artifact_sha256") == 0;

		if (!mrb_derived_columns_differ(change->trigger, column))
			continue;
		if (release || sha256)
		{
			if (now == NULL)
				now = mrb_deployment_read(change->id, change->active, NULL);
			if (now != NULL &&
				mrb_optional_text_equals(get_text(change, true, column),
										 release ? now->target.release_id :
										 now->target.sha256))
				continue;
		}
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  psprintf("column \"%s\" of deployment \"%s\" cannot be changed",
						   column, change->id),
				  derived[i].detail,
				  psprintf(derived[i].hint, quote_literal_cstr(change->id)));
	}
	mrb_derived_columns_check(change->trigger, change->user);
}

/*
 * Return a value of the old or the new row.
 */
static Datum
get_column(const Change *change, bool after, const char *name, bool *isnull)
{
	Relation	relation = change->trigger->tg_relation;
	AttrNumber	column = get_attnum(RelationGetRelid(relation), name);

	if (column == InvalidAttrNumber)
		elog(ERROR, "column \"%s\" of table miosa.deployments is missing",
			 name);
	return heap_getattr(after ? change->trigger->tg_newtuple :
						change->trigger->tg_trigtuple, column,
						RelationGetDescr(relation), isnull);
}

/*
 * Return a text value of the row, copied; NULL for SQL null.
 */
static char *
get_text(const Change *change, bool after, const char *name)
{
	bool		isnull;
	Datum		value = get_column(change, after, name, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}
