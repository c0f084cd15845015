/*-------------------------------------------------------------------------
 *
 * derived_columns.c
 *	  Columns that only the extension writes.
 *
 * A plain UPDATE of columns that follow from operations, answers of storage or
 * deliveries is refused; the hint names the function to call instead.  The
 * extension's functions and the dispatcher have the rights of the tables'
 * owner, and so does an administrator who repairs rows.  INSERTs and restores
 * are accepted as they are.  pointer_trigger.c refuses what even the owner
 * must not write, because routes would change without an audit event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/errors.h"
#include "operation/derived_columns.h"

#define HISTORY "See the operations with SELECT * FROM miosa.history(%s);"
#define MARKED "The extension sets it when the version is marked as bad, or cleared."
#define MARK "Mark the version with SELECT miosa_mark_bad(%s, 'version', 'reason');"
#define VERIFY "Check storage again with CALL miosa.verify_artifacts();"

/* A derived column, and what to do instead of writing it. */
typedef struct MrbDerived
{
	const char *table;
	const char *column;
	const char *detail;
	const char *hint;			/* %s: the value of the first key column */
} MrbDerived;

static const MrbDerived derived[] = {
	{"deployments", "last_rollback_at", "The extension derives it from operations.", HISTORY},
	{"deployments", "waiting_since", "The extension derives it from operations and healthy instances.", HISTORY},
	{"versions", "promoted_over", "The extension derives it from promotions.", HISTORY},
	{"versions", "promoted_at", "The extension derives it from promotions.", HISTORY},
	{"versions", "promotion_seq", "The extension derives it from promotions.", HISTORY},
	{"versions", "last_served_at", "The extension derives it from operations.", HISTORY},
	{"versions", "switched_at", "The extension derives it from healthy instances.", HISTORY},
	{"versions", "bad_since", MARKED, MARK},
	{"versions", "bad_reason", MARKED, MARK},
	{"versions", "bad_by", MARKED, MARK},
	{"releases", "verified_at", "The extension derives it from answers of storage.", VERIFY},
	{"releases", "missing_at", "The extension derives it from answers of storage.", VERIFY},
	{"releases", "deleted_at", "The extension sets it when the deletion of a collected artifact is confirmed.",
	"Confirm it with SELECT miosa_confirm_collected(%s, 'release');"},
	{"runtime_instances", "reported_by", "The extension sets it to the endpoint whose poll counts the instance.",
	"Report instances with SELECT miosa_report_instance(%s, 'instance', 'version', 'healthy');"},
	{"endpoints", "generation", "The extension counts resynchronizations in it.",
	"To resynchronize the endpoint, type SELECT miosa_resync(%s);"},
	{"endpoints", "origin", "The extension sets it to the installation in which the endpoint was added.",
	"To let this installation take over, type SELECT miosa_resume();"},
};

PG_FUNCTION_INFO_V1(mrb_derived_columns);

static char *get_key(const TriggerData *trigger, const char *name);

/*
 * miosa.derived_columns()
 */
Datum
mrb_derived_columns(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("derived_columns must be fired before an update of a row")));
	mrb_derived_columns_check(trigger, GetUserId());
	return PointerGetDatum(trigger->tg_newtuple);
}

/*
 * Refuse the change of a derived column by a role without the rights of the
 * table's owner.
 */
void
mrb_derived_columns_check(const TriggerData *trigger, Oid user)
{
	const char *table = RelationGetRelationName(trigger->tg_relation);

	if (has_privs_of_role(user, trigger->tg_relation->rd_rel->relowner))
		return;
	for (size_t i = 0; i < lengthof(derived); i++)
	{
		bool		named = strcmp(table, "endpoints") == 0;
		char	   *id;

		if (strcmp(derived[i].table, table) != 0 ||
			!mrb_derived_columns_differ(trigger, derived[i].column))
			continue;
		id = get_key(trigger, named ? "name" : "id");
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  psprintf("column \"%s\" of %.*s \"%s\" cannot be changed",
						   derived[i].column, (int) strlen(table) - 1, table,
						   id),
				  derived[i].detail,
				  psprintf(derived[i].hint,
						   quote_literal_cstr(named ||
											  strcmp(table, "deployments") == 0 ? id :
											  get_key(trigger, "deployment_id"))));
	}
}

/*
 * Whether the update changes a column.
 */
bool
mrb_derived_columns_differ(const TriggerData *trigger, const char *name)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	AttrNumber	column = get_attnum(RelationGetRelid(trigger->tg_relation), name);
	Form_pg_attribute attribute;
	bool		was_null;
	bool		isnull;
	Datum		was;
	Datum		value;

	if (column == InvalidAttrNumber)
		elog(ERROR, "column \"%s\" of table miosa.%s is missing", name,
			 RelationGetRelationName(trigger->tg_relation));
	attribute = TupleDescAttr(desc, column - 1);
	was = heap_getattr(trigger->tg_trigtuple, column, desc, &was_null);
	value = heap_getattr(trigger->tg_newtuple, column, desc, &isnull);
	if (was_null || isnull)
		return was_null != isnull;
	return !datum_image_eq(was, value, attribute->attbyval, attribute->attlen);
}

/*
 * Return a text of the old row, which is not null.
 */
static char *
get_key(const TriggerData *trigger, const char *name)
{
	Relation	relation = trigger->tg_relation;
	bool		isnull;

	return TextDatumGetCString(heap_getattr(trigger->tg_trigtuple,
											get_attnum(RelationGetRelid(relation), name),
											RelationGetDescr(relation), &isnull));
}
