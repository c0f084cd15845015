/*-------------------------------------------------------------------------
 *
 * pointer_trigger.c
 *	  The pointer, moved by a plain UPDATE of miosa.deployments.
 *
 * A control plane may write active_version_id by itself.  The trigger makes
 * that an operation like any other: the same rules judge it, the same decision
 * says what routes resolve to, and the same statement writes the audit event
 * and the outgoing work.  A null unpublishes the deployment, which is an
 * action of its own and no rollback.
 *
 * What follows from the pointer and from operations (which version serves, the
 * numbers, the release) is derived here when the pointer moves, and refused
 * when it does not.  Whether the update is one of the extension's own is known
 * by write_guard.c and by nothing that the row says.
 *
 * Storage is not asked, because the row is locked: our own record of the
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
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/errors.h"
#include "notify/wakeup.h"
#include "operation/actor.h"
#include "operation/apply.h"
#include "operation/checks.h"
#include "operation/deployment.h"
#include "operation/derived_columns.h"
#include "operation/operation.h"
#include "operation/schema_marks.h"
#include "operation/target.h"
#include "operation/write_guard.h"

PG_FUNCTION_INFO_V1(mrb_deployments_pointer);

/* One row, before and after. */
typedef struct Change
{
	TriggerData *trigger;
	Oid			user;			/* whose statement it is */
	const char *id;				/* of the row that is there */
	const char *active;			/* version that shall be active, or NULL */
} Change;

/* What a plain UPDATE may not write, and what does it instead. */
static const struct
{
	const char *column;
	const char *detail;
	const char *hint;			/* %s: the deployment */
}			derived[] = {

	{"seq", "It counts the operations.",
	"See what happened with SELECT * FROM miosa.history(%s);"},
	{"route_seq", "It counts the route changes.",
	"To have the present route delivered again, type SELECT miosa_resend(%s);"},
	{"serving_version_id", "It follows from the operations and from the instances that are there.",
	"See which versions can be made active with SELECT * FROM miosa.candidates(%s);"},
	{"recent_served", "It follows from the operations.",
	"See what happened with SELECT * FROM miosa.history(%s);"},
	{"active_release_id", "It is the release of the active version.",
	"See it with SELECT * FROM miosa.candidates(%s);"},
	{"running_artifact_sha256", "It is that of the active version's release.",
	"See it with SELECT * FROM miosa.candidates(%s);"},
};

static Datum apply_as_owner(PG_FUNCTION_ARGS);
static HeapTuple apply(const Change *change);
static HeapTuple move(const Change *change);
static void judge(MrbDeployment *now, const char *asked,
				  MrbOperation *operation);
static void keep_derived(const Change *change);
static Datum column_of(const Change *change, bool after, const char *name,
					   bool *isnull);
static char *text_of(const Change *change, bool after, const char *name);
static bool differs(const Change *change, const char *column);
static bool same_text(const char *one, const char *other);

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
	if (mrb_write_guard_passes(text_of(&change, false, "id")))
		return PointerGetDatum(change.trigger->tg_newtuple);
	return mrb_errors_call(MRB_INNER, apply_as_owner, fcinfo);
}

/*
 * Apply the change with the owner's rights and a safe search_path.  The
 * trigger's function is not declared so, because our own statements, which
 * are most, do not come here.
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
 * Make an operation of the change, or see that it changes nothing derived.
 */
static HeapTuple
apply(const Change *given)
{
	Change		change = *given;

	change.id = text_of(&change, false, "id");
	change.active = text_of(&change, true, "active_version_id");
	if (!same_text(text_of(&change, false, "active_version_id"),
				   change.active))
		return move(&change);
	keep_derived(&change);
	return change.trigger->tg_newtuple;
}

/*
 * The pointer moves: judge it, write the operation, and put into the row what
 * it says.
 */
static HeapTuple
move(const Change *change)
{
	TupleDesc	desc = RelationGetDescr(change->trigger->tg_relation);
	MrbActor	actor = mrb_actor_read();
	MrbFinding	named = mrb_checks_actor_counts(actor.ignored);
	MrbOperation operation = {.target_rule = "direct_update"};
	MrbOwner	owner;
	MrbMoved	moved;
	MrbDeployment *now;
	int			columns[MRB_MOVED_COUNT];
	bool		isnull;

	now = mrb_deployment_look(change->id, change->active, NULL);
	if (now == NULL)
		elog(ERROR, "deployment \"%s\" vanished under its lock", change->id);
	now->desired_replicas =
		DatumGetInt32(column_of(change, true, "desired_replicas", &isnull));
	now->state = text_of(change, true, "state");
	if (isnull || now->state == NULL)
		return change->trigger->tg_newtuple;	/* not-null constraints */

	if (change->active == NULL)
		mrb_apply_unpublish(now, &operation);
	else
		judge(now, change->active, &operation);
	mrb_checks_enforce(&named);
	operation.actor_type = actor.type;
	operation.actor_id = actor.id;

	owner.tenant_id = text_of(change, true, "tenant_id");
	owner.external_workspace_id = text_of(change, true, "external_workspace_id");
	owner.external_user_id = text_of(change, true, "external_user_id");
	owner.external_project_id = text_of(change, true, "external_project_id");
	mrb_operation_write_row(&operation, &owner, &moved);
	mrb_wakeup_dispatcher(now->id, operation.serving_version_id ?
						  operation.serving_version_id : change->active);

	for (int i = 0; i < MRB_MOVED_COUNT; i++)
		columns[i] = get_attnum(change->trigger->tg_relation->rd_id,
								moved.columns[i]);
	return heap_modify_tuple_by_cols(change->trigger->tg_newtuple, desc,
									 MRB_MOVED_COUNT, columns, moved.values,
									 moved.nulls);
}

/*
 * The rules of every operation, with our own record for storage's word.  A
 * higher number is a promotion.
 */
static void
judge(MrbDeployment *now, const char *asked, MrbOperation *operation)
{
	MrbTarget	choice;
	MrbFinding	finding;

	finding = mrb_checks_version_exists(now, asked);
	mrb_checks_enforce(&finding);
	finding = mrb_checks_version_ready(now);
	mrb_checks_enforce(&finding);
	finding = mrb_checks_artifact_kept(now);
	mrb_checks_enforce(&finding);
	mrb_target_recorded(now, &choice);
	mrb_checks_enforce(&choice.artifact);
	mrb_schema_marks_read(now);
	finding = mrb_checks_compatible(now);
	mrb_checks_enforce(&finding);

	operation->action = now->active.id == NULL ||
		now->target.number > now->active.number ? MRB_PROMOTE : MRB_ROLLBACK;
	operation->marks = mrb_checks_marks(&choice.artifact, &finding);
	mrb_apply(now, false, operation);
}

/*
 * The pointer stays, so what is derived stays too.  Only the release of the
 * active version may be written as it is: it may have come after its version.
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

		if (!differs(change, column))
			continue;
		if (release || sha256)
		{
			if (now == NULL)
				now = mrb_deployment_look(change->id, NULL, NULL);
			if (now != NULL &&
				same_text(text_of(change, true, column),
						  release ? now->active.release_id :
						  now->active.sha256))
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
 * A value of the row, before or after.
 */
static Datum
column_of(const Change *change, bool after, const char *name, bool *isnull)
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
 * A text value of the row, copied; NULL for SQL null.
 */
static char *
text_of(const Change *change, bool after, const char *name)
{
	bool		isnull;
	Datum		value = column_of(change, after, name, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * Whether the update changes a column.
 */
static bool
differs(const Change *change, const char *name)
{
	TupleDesc	desc = RelationGetDescr(change->trigger->tg_relation);
	AttrNumber	column = get_attnum(change->trigger->tg_relation->rd_id, name);
	Form_pg_attribute attribute;
	bool		was_null;
	bool		isnull;
	Datum		was = column_of(change, false, name, &was_null);
	Datum		value = column_of(change, true, name, &isnull);

	attribute = TupleDescAttr(desc, column - 1);
	if (was_null || isnull)
		return was_null != isnull;
	return !datum_image_eq(was, value, attribute->attbyval, attribute->attlen);
}

/*
 * Whether both texts are the same; NULL is the same as NULL.
 */
static bool
same_text(const char *one, const char *other)
{
	if (one == NULL || other == NULL)
		return one == other;
	return strcmp(one, other) == 0;
}
