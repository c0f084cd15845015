/*-------------------------------------------------------------------------
 *
 * row_plan.c
 *	  What row_write.c needs to know of a table, kept for the backend's life.
 *
 * The expressions of CHECK constraints, of triggers' conditions and of defaults
 * are read once and kept for the life of the backend: reading those of
 * deployments from their text was 10 % of the processor time of a rollback,
 * planning them 3 %.  Those of constraints and conditions are compiled once too,
 * which was 5 % of the instructions, unless they keep memory of the write that
 * evaluates them.  A compiled expression cannot be used by two writes at the same
 * time, and a trigger can call for a second one, which compiles its own.
 *
 * An UPDATE does not check what it cannot break: an immutable constraint that
 * every row is known to satisfy, of columns that are not written.
 *
 * What is kept holds until the table changes, or any function or type does: a
 * function may have been inlined, a type may have a new constraint.  It also
 * holds for one user only, whose right to call functions was checked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "common/row_plan.h"

/* A check, or the condition of a trigger. */
typedef struct Expression
{
	Node	   *read;			/* NULL: none; a List is an implicit AND */
	bool		unaffected;		/* by an UPDATE of the written columns */
	Node	   *planned;		/* NULL: not needed yet */
	bool		keepable;		/* compiled, once it is planned */
	ExprState  *compiled;		/* NULL: not needed yet, or not keepable */
} Expression;

struct MrbRowPlan
{
	MemoryContext context;		/* of all of it */
	uint64		table_changes;	/* when it was made */
	uint64		expression_changes;
	Oid			user;			/* for whom */
	Bitmapset  *written;		/* columns, as in RTEPermissionInfo */
	Expression *checks;			/* in the order of the relation's */
	int			nchecks;
	Expression *conditions;		/* of triggers, in the order of the relation's
								 * without the skipped one */
	AttrNumber *defaulted;		/* columns that are not written */
	Expr	  **defaults;		/* and their defaults */
	int			ndefaults;
	Oid			skipped;		/* function of a trigger; InvalidOid: none */
};

/* Counts changes of functions and types, which planned expressions hold. */
static uint64 expression_changes = 0;

static MrbRowPlan *make_plan(const MrbTable *table, int nwritten,
							 const char *skipped, Relation relation);
static void read_checks(MrbRowPlan *plan, Relation relation);
static bool is_unaffected(const MrbRowPlan *plan, const TupleConstr *constraints,
						  const ConstrCheck *check, Node *expression);
static void read_conditions(MrbRowPlan *plan, Relation relation);
static bool begin_use(bool *used);
static void end_use(void *arg);
static ExprState *get_compiled(const MrbRowPlan *plan, Expression *it, bool kept);
static bool uses_memory(Node *node, void *context);
static ExprState *compile(Node *planned);
static void plan_defaults(MrbRowPlan *plan, Relation relation);
static Node *make_null(Form_pg_attribute attribute);
static void forget_expressions(Datum arg, int cacheid, uint32 hashvalue);
static bool is_skipped(const MrbRowPlan *plan, const Trigger *trigger);
static void skip_trigger(const MrbRowPlan *plan, TriggerDesc *triggers);

/*
 * Return what is kept of a table.  What has become invalid is kept until the
 * end of the transaction, because an outer write may be using it.
 */
const MrbRowPlan *
mrb_row_plan_get(MrbRowPlan **plan, const MrbTable *table, int nwritten,
				 const char *skipped, Relation relation)
{
	if (*plan != NULL &&
		(*plan)->table_changes == table->changes &&
		(*plan)->expression_changes == expression_changes &&
		(*plan)->user == GetUserId())
		return *plan;
	if (*plan != NULL)
		MemoryContextSetParent((*plan)->context, TopTransactionContext);
	*plan = NULL;
	*plan = make_plan(table, nwritten, skipped, relation);
	return *plan;
}

/*
 * Return the columns that are written, as in RTEPermissionInfo.
 */
Bitmapset *
mrb_row_plan_written(const MrbRowPlan *plan)
{
	return plan->written;
}

/*
 * Give a result relation its expressions, so that the executor does not read
 * them again, and take the skipped trigger out of its triggers.
 */
void
mrb_row_plan_use(const MrbRowPlan *plan, bool *used, ResultRelInfo *result,
				 CmdType command)
{
	bool		kept = begin_use(used);
	TriggerDesc *triggers = result->ri_TrigDesc;
	int			event = command == CMD_INSERT ? TRIGGER_TYPE_INSERT :
	TRIGGER_TYPE_UPDATE;
	bool		all = command == CMD_INSERT;

	if (triggers != NULL)
	{
		skip_trigger(plan, triggers);
		/* A trigger before rows can write any column. */
		all = all || triggers->trig_update_before_row;
	}
	if (plan->nchecks > 0)
		MRB_CHECK_EXPRS(result) = palloc0(plan->nchecks * sizeof(ExprState *));
	for (int i = 0; i < plan->nchecks; i++)
	{
		if (plan->checks[i].read != NULL && (all || !plan->checks[i].unaffected))
			MRB_CHECK_EXPRS(result)[i] = get_compiled(plan, &plan->checks[i], kept);
	}
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if ((triggers->triggers[i].tgtype & event) != 0 &&
			plan->conditions[i].read != NULL)
			result->ri_TrigWhenExprs[i] = get_compiled(plan, &plan->conditions[i],
													   kept);
	}
}

/*
 * Whether a new row has defaults to compute.
 */
bool
mrb_row_plan_computes(const MrbRowPlan *plan)
{
	return plan->ndefaults > 0;
}

/*
 * Set all columns of a new row to their defaults.
 */
void
mrb_row_plan_fill(const MrbRowPlan *plan, EState *estate, TupleTableSlot *slot)
{
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < plan->ndefaults; i++)
	{
		int			column = plan->defaulted[i] - 1;

		slot->tts_values[column] =
			ExecEvalExpr(ExecInitExpr(plan->defaults[i], NULL),
						 GetPerTupleExprContext(estate),
						 &slot->tts_isnull[column]);
	}
}

/*
 * Read the expressions of a table.
 */
static MrbRowPlan *
make_plan(const MrbTable *table, int nwritten, const char *skipped,
		  Relation relation)
{
	static bool registered = false;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "miosa_rollback row plan",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	MrbRowPlan *plan = palloc0(sizeof(MrbRowPlan));

	if (!registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, forget_expressions, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, forget_expressions, (Datum) 0);
		registered = true;
	}
	plan->context = context;
	plan->table_changes = table->changes;
	plan->expression_changes = expression_changes;
	plan->user = GetUserId();
	if (skipped != NULL)
		plan->skipped = LookupFuncName(list_make2(makeString("miosa"),
												  makeString(pstrdup(skipped))),
									   0, NULL, true);
	for (int i = 0; i < nwritten; i++)
		plan->written = bms_add_member(plan->written,
									   table->attnums[i] -
									   FirstLowInvalidHeapAttributeNumber);
	read_checks(plan, relation);
	read_conditions(plan, relation);
	plan_defaults(plan, relation);
	MemoryContextSwitchTo(before);
	MemoryContextSetParent(context, CacheMemoryContext);
	return plan;
}

/*
 * Read the CHECK constraints, as ExecRelCheck() does at every first row.  If the
 * relation lacks some, that function raises the error.
 */
static void
read_checks(MrbRowPlan *plan, Relation relation)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;

	if (constraints == NULL ||
		constraints->num_check != relation->rd_rel->relchecks)
		return;
	plan->nchecks = constraints->num_check;
	plan->checks = palloc0(plan->nchecks * sizeof(Expression));
	for (int i = 0; i < plan->nchecks; i++)
	{
		const ConstrCheck *check = &constraints->check[i];
		Node	   *expression;

		if (!MRB_CHECK_IS_ENFORCED(check))
			continue;
		expression = MRB_EXPAND_GENERATED(stringToNode(check->ccbin), relation, 1);
		plan->checks[i].read = expression;
		plan->checks[i].unaffected = is_unaffected(plan, constraints, check,
												   expression);
	}
}

/*
 * Whether a check holds for the new row of an UPDATE because it holds for the old
 * one.  A generated column can depend on written ones.
 */
static bool
is_unaffected(const MrbRowPlan *plan, const TupleConstr *constraints,
			  const ConstrCheck *check, Node *expression)
{
	Bitmapset  *columns = NULL;

	pull_varattnos(expression, 1, &columns);
	return check->ccvalid && !constraints->has_generated_stored &&
		!contain_mutable_functions(expression) &&
		!bms_is_member(-FirstLowInvalidHeapAttributeNumber, columns) &&
		!bms_overlap(columns, plan->written);
}

/*
 * Read the conditions of triggers, as TriggerEnabled() does.  An invalidation
 * that is received meanwhile has the relation's own list of triggers made anew.
 */
static void
read_conditions(MrbRowPlan *plan, Relation relation)
{
	const TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	int			n = 0;

	if (triggers == NULL)
		return;
	plan->conditions = palloc0(triggers->numtriggers * sizeof(Expression));
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		Node	   *condition;

		if (is_skipped(plan, trigger))
			continue;
		if (trigger->tgqual != NULL)
		{
			condition = stringToNode(trigger->tgqual);
			condition = MRB_EXPAND_GENERATED(condition, relation, PRS2_OLD_VARNO);
			condition = MRB_EXPAND_GENERATED(condition, relation, PRS2_NEW_VARNO);
			ChangeVarNodes(condition, PRS2_OLD_VARNO, INNER_VAR, 0);
			ChangeVarNodes(condition, PRS2_NEW_VARNO, OUTER_VAR, 0);
			plan->conditions[n].read =
				(Node *) make_ands_implicit((Expr *) condition);
		}
		n++;
	}
}

/*
 * Use the kept expressions until the current memory context is deleted, which an
 * error does too; false if another write uses them.
 */
static bool
begin_use(bool *used)
{
	MemoryContextCallback *callback;

	if (*used)
		return false;
	callback = palloc0(sizeof(MemoryContextCallback));
	callback->func = end_use;
	callback->arg = used;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	*used = true;
	return true;
}

/*
 * The write that used the kept expressions has ended.
 */
static void
end_use(void *arg)
{
	*(bool *) arg = false;
}

/*
 * Return the kept state of an expression, or a new one.
 */
static ExprState *
get_compiled(const MrbRowPlan *plan, Expression *it, bool kept)
{
	MemoryContext before = MemoryContextSwitchTo(plan->context);

	if (it->planned == NULL)
	{
		it->planned = (Node *) expression_planner((Expr *) it->read);
		it->keepable = !uses_memory(it->planned, NULL);
	}
	if (kept && it->keepable && it->compiled == NULL)
		it->compiled = compile(it->planned);
	MemoryContextSwitchTo(before);
	return kept && it->keepable ? it->compiled : compile(it->planned);
}

/*
 * Whether an expression may keep what it needs, a whole row's type for example,
 * in memory of the write that evaluates it first.  The executor does so for a few
 * kinds of nodes; those that are known not to are listed.  The checks of a domain
 * can be of any kind.
 */
static bool
uses_memory(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varattno == InvalidAttrNumber;
		case T_ScalarArrayOpExpr:
			if (OidIsValid(((ScalarArrayOpExpr *) node)->hashfuncid))
				return true;
			break;
		case T_ArrayExpr:
		case T_BoolExpr:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CaseWhen:
		case T_CoalesceExpr:
		case T_CoerceViaIO:
		case T_Const:
		case T_DistinctExpr:
		case T_FuncExpr:
		case T_List:
		case T_MinMaxExpr:
		case T_NullIfExpr:
		case T_NullTest:
		case T_OpExpr:
		case T_RelabelType:
		case T_SubscriptingRef:
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, uses_memory, context);
}

/*
 * Compile an expression.
 */
static ExprState *
compile(Node *planned)
{
	if (IsA(planned, List))
		return ExecInitQual((List *) planned, NULL);
	return ExecInitExpr((Expr *) planned, NULL);
}

/*
 * Plan the defaults of columns that are not written; others may have been added
 * to the table.
 */
static void
plan_defaults(MrbRowPlan *plan, Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	plan->defaulted = palloc(desc->natts * sizeof(AttrNumber));
	plan->defaults = palloc(desc->natts * sizeof(Expr *));
	for (AttrNumber column = 1; column <= desc->natts; column++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, column - 1);
		Node	   *value;

		if (attribute->attisdropped || attribute->attgenerated != '\0' ||
			bms_is_member(column - FirstLowInvalidHeapAttributeNumber,
						  plan->written))
			continue;
		value = build_column_default(relation, column);
		if (value == NULL && get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN)
			value = make_null(attribute);
		if (value == NULL)
			continue;
		plan->defaulted[plan->ndefaults] = column;
		plan->defaults[plan->ndefaults++] = expression_planner((Expr *) value);
	}
}

/*
 * A null of a domain, whose constraints have to allow it.
 */
static Node *
make_null(Form_pg_attribute attribute)
{
	int32		typmod = attribute->atttypmod;
	Oid			base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	Const	   *value = makeConst(base, typmod, attribute->attcollation,
								  attribute->attlen, (Datum) 0, true,
								  attribute->attbyval);

	return coerce_to_domain((Node *) value, base, typmod, attribute->atttypid,
							COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1,
							false);
}

/*
 * A function or a type has changed.
 */
static void
forget_expressions(Datum arg, int cacheid, uint32 hashvalue)
{
	expression_changes++;
}

/*
 * Whether a trigger is the one that does not fire.
 */
static bool
is_skipped(const MrbRowPlan *plan, const Trigger *trigger)
{
	return OidIsValid(plan->skipped) && trigger->tgfoid == plan->skipped &&
		TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW,
							 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE);
}

/*
 * Take the skipped trigger out of the triggers.
 */
static void
skip_trigger(const MrbRowPlan *plan, TriggerDesc *triggers)
{
	int			n = 0;

	triggers->trig_update_before_row = false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (is_skipped(plan, trigger))
			continue;
		if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE))
			triggers->trig_update_before_row = true;
		triggers->triggers[n++] = *trigger;
	}
	triggers->numtriggers = n;
}
