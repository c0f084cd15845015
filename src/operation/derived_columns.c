/*-------------------------------------------------------------------------
 *
 * derived_columns.c
 *	  Columns that the extension derives, and nobody else writes.
 *
 * A plain UPDATE of what follows from operations, from storage's answers or
 * from what endpoints were told is refused, with what does it instead.  The
 * extension's own functions and the dispatcher have the rights of the tables'
 * owner, and so does who repairs something by hand.  INSERTs and restores are
 * taken as they are.  What even the owner cannot write, because routes would
 * move without a trace, is refused in pointer_trigger.c.
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

#define HISTORY "See what happened with SELECT * FROM miosa.history(%s);"
#define VERIFY "Have storage asked again with CALL miosa_verify_artifacts();"

/* A column, and what to do instead of writing it. */
typedef struct MrbDerived
{
	const char *table;
	const char *column;
	const char *detail;
	const char *hint;			/* %s: the value of the first key column */
} MrbDerived;

static const MrbDerived derived[] = {
	{"deployments", "last_rollback_at", "It follows from the operations.", HISTORY},
	{"deployments", "waiting_since", "It follows from the operations and from the instances that are there.", HISTORY},
	{"versions", "promoted_over", "It follows from the promotions.", HISTORY},
	{"versions", "promoted_at", "It follows from the promotions.", HISTORY},
	{"versions", "promotion_seq", "It follows from the promotions.", HISTORY},
	{"versions", "last_served_at", "It follows from the operations.", HISTORY},
	{"releases", "verified_at", "It says what storage has answered.", VERIFY},
	{"releases", "missing_at", "It says what storage has answered.", VERIFY},
	{"releases", "deleted_at", "It says that the artifact was deleted after it was collected.",
	"Say so with SELECT miosa_confirm_collected(%s, 'release');"},
	{"runtime_instances", "reported_by", "It says whose poll counts the instance.",
	"Report instances with SELECT miosa_report_instance(%s, 'instance', 'version', 'healthy');"},
	{"endpoints", "generation", "It counts how often everything was to be told again.",
	"To have that done, type SELECT miosa_resync(%s);"},
	{"endpoints", "origin", "It says which installation the endpoint was added in.",
	"To make this one take over, type SELECT miosa_resume();"},
};

PG_FUNCTION_INFO_V1(mrb_derived_columns);

static bool differs(const TriggerData *trigger, const char *name);
static char *key_of(const TriggerData *trigger, const char *name);

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
 * Refuse the change of a derived column by somebody who has not the rights of
 * the table's owner.
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
			!differs(trigger, derived[i].column))
			continue;
		id = key_of(trigger, named ? "name" : "id");
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  psprintf("column \"%s\" of %.*s \"%s\" cannot be changed",
						   derived[i].column, (int) strlen(table) - 1, table,
						   id),
				  derived[i].detail,
				  psprintf(derived[i].hint,
						   quote_literal_cstr(named ||
											  strcmp(table, "deployments") == 0 ? id :
											  key_of(trigger, "deployment_id"))));
	}
}

/*
 * Whether the update changes a column.
 */
static bool
differs(const TriggerData *trigger, const char *name)
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
 * A text of the row as it was, which is not null.
 */
static char *
key_of(const TriggerData *trigger, const char *name)
{
	Relation	relation = trigger->tg_relation;
	bool		isnull;

	return TextDatumGetCString(heap_getattr(trigger->tg_trigtuple,
											get_attnum(RelationGetRelid(relation), name),
											RelationGetDescr(relation), &isnull));
}
