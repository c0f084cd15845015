/*-------------------------------------------------------------------------
 *
 * row_write.c
 *	  Writing of single rows without a query.
 *
 * Every operation writes a few single rows.  A statement for them spends most
 * of its time on starting the executor; these functions take the steps of its
 * ModifyTable node directly.  All writes between mrb_row_write_begin() and
 * mrb_row_write_end() are one statement: they have one snapshot and one command
 * id, and triggers after rows and statements fire at its end.
 *
 * What the catalog says holds: constraints, defaults, generated columns,
 * indexes, triggers of every kind with transition tables, replica identity,
 * serializable isolation, logical decoding.  What differs from a statement:
 *
 *	- The trigger deployments_pointer does not fire.  It leaves the writes of
 *	  the extension as they are, and to call it the executor would lock the row
 *	  once more, which writes 54 bytes of WAL.  Other triggers fire in the order
 *	  of their names; an UPDATE that one of them makes is a plain one, so the
 *	  skipped trigger needs no permission that somebody else could use.
 *	- Row-level security does not apply, nor is the owner asked for privileges
 *	  on its own tables: as in index_lookup.c.
 *	- Rules would need the rewriter, partitions tuple routing.  Such a table is
 *	  refused with an error: to ignore a rule would be silent, and a second way
 *	  to write would not be tested by what is written every day.
 *	- Hooks of the executor (auto_explain, pg_stat_statements) see the call of
 *	  the function, not its writes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "common/index_lookup.h"
#include "operation/row_write.h"

struct MrbRowWrite
{
	EState	   *estate;
	MrbRowWriteTable *const *tables;
	ResultRelInfo *results;		/* one each */
};

static void add_table(MrbRowWriteTable *table, Relation relation, List **entries,
					  List **permissions);
static const MrbRowPlan *get_plan(MrbRowWriteTable *table, Relation relation);
static ResultRelInfo *open_result(MrbRowWrite *write, int table,
								  CmdType command);
static void refuse_other_kinds(Relation relation, CmdType command);
static bool insert_row(EState *estate, ResultRelInfo *result,
					   TupleTableSlot *slot, TransitionCaptureState *capture);
static bool update_row(EState *estate, ResultRelInfo *result, ItemPointer tid,
					   TupleTableSlot *slot, TransitionCaptureState *capture);
static void check_row(EState *estate, ResultRelInfo *result,
					  TupleTableSlot *slot, CmdType command);
static bool replace_row(EState *estate, ResultRelInfo *result,
						ItemPointer tid, TupleTableSlot *slot,
						MRB_UPDATE_INDEXES * indexes);

/*
 * Begin a statement.  An error needs no clean-up: the transaction's abort
 * releases relations, buffers and the triggers' queue, and everything else is
 * memory below the caller's.
 */
MrbRowWrite *
mrb_row_write_begin(MrbRowWriteTable *const *tables, int n)
{
	EState	   *estate;
	MemoryContext before;
	MrbRowWrite *write;
	Relation   *relations;
	List	   *entries = NIL;
	List	   *permissions = NIL;

	PreventCommandIfReadOnly("UPDATE");
	mrb_index_lookup_begin();
	estate = CreateExecutorState();
	before = MemoryContextSwitchTo(estate->es_query_cxt);
	write = palloc0(sizeof(MrbRowWrite));
	write->estate = estate;
	write->tables = tables;
	write->results = palloc0(n * sizeof(ResultRelInfo));
	relations = palloc(n * sizeof(Relation));
	for (int i = 0; i < n; i++)
	{
		relations[i] = mrb_table_open(&tables[i]->table, RowExclusiveLock);
		add_table(tables[i], relations[i], &entries, &permissions);
	}
	MRB_INIT_RANGE_TABLE(estate, entries, permissions);
	for (int i = 0; i < n; i++)
		estate->es_relations[i] = relations[i];
	estate->es_snapshot = GetActiveSnapshot();
	estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
	MemoryContextSwitchTo(before);
	return write;
}

/*
 * Insert one row.
 */
void
mrb_row_write_insert(MrbRowWrite *write, int table, const Datum *values,
					 const bool *nulls)
{
	const MrbRowWriteTable *it = write->tables[table];
	EState	   *estate = write->estate;
	MemoryContext before = MemoryContextSwitchTo(estate->es_query_cxt);
	ResultRelInfo *result = open_result(write, table, CMD_INSERT);
	Relation	relation = result->ri_RelationDesc;
	TransitionCaptureState *capture;
	TupleTableSlot *slot;

	capture = MakeTransitionCaptureState(result->ri_TrigDesc,
										 RelationGetRelid(relation),
										 CMD_INSERT);
	ExecBSInsertTriggers(estate, result);
	slot = table_slot_create(relation, &estate->es_tupleTable);
	mrb_row_plan_fill(get_plan(write->tables[table], relation), estate, slot);
	for (int i = 0; i < it->nwritten; i++)
	{
		slot->tts_values[it->table.attnums[i] - 1] = values[i];
		slot->tts_isnull[it->table.attnums[i] - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(slot);
	(void) insert_row(estate, result, slot, capture);
	ExecASInsertTriggers(estate, result, capture);
	MemoryContextSwitchTo(before);
}

/*
 * Update one row.  The values that are not written are those of the old row.
 */
TupleTableSlot *
mrb_row_write_update(MrbRowWrite *write, int table, TupleTableSlot *old,
					 const Datum *values, const bool *nulls)
{
	const MrbRowWriteTable *it = write->tables[table];
	EState	   *estate = write->estate;
	MemoryContext before = MemoryContextSwitchTo(estate->es_query_cxt);
	ResultRelInfo *result = open_result(write, table, CMD_UPDATE);
	Relation	relation = result->ri_RelationDesc;
	TupleDesc	desc = RelationGetDescr(relation);
	TransitionCaptureState *capture;
	TupleTableSlot *slot;
	bool		written;

	capture = MakeTransitionCaptureState(result->ri_TrigDesc,
										 RelationGetRelid(relation),
										 CMD_UPDATE);
	ExecBSUpdateTriggers(estate, result);
	slot = table_slot_create(relation, &estate->es_tupleTable);
	slot_getallattrs(old);
	for (int i = 0; i < desc->natts; i++)
	{
		slot->tts_values[i] = old->tts_values[i];
		slot->tts_isnull[i] = old->tts_isnull[i] ||
			TupleDescAttr(desc, i)->attisdropped;
	}
	for (int i = 0; i < it->nwritten; i++)
	{
		slot->tts_values[it->table.attnums[i] - 1] = values[i];
		slot->tts_isnull[it->table.attnums[i] - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(slot);
	written = update_row(estate, result, &old->tts_tid, slot, capture);
	ExecASUpdateTriggers(estate, result, capture);
	MemoryContextSwitchTo(before);
	return written ? slot : NULL;
}

/*
 * End a statement.
 */
void
mrb_row_write_end(MrbRowWrite *write)
{
	EState	   *estate = write->estate;

	AfterTriggerEndQuery(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	ExecCloseRangeTableRelations(estate);
	FreeExecutorState(estate);
	mrb_index_lookup_end();
	CommandCounterIncrement();
}

/*
 * Make the range table's entry of a table.  Triggers on columns, the mode of
 * locks and generated columns depend on the columns that it says are written.
 */
static void
add_table(MrbRowWriteTable *table, Relation relation, List **entries,
		  List **permissions)
{
	const MrbRowPlan *plan = get_plan(table, relation);
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
	MRB_SET_UPDATED_COLUMNS(permissions, entry, mrb_row_plan_written(plan));
	*entries = lappend(*entries, entry);
}

/*
 * Return what is kept of a table.  A trigger may have changed the table since
 * the statement began, so it is asked for again at every use.
 */
static const MrbRowPlan *
get_plan(MrbRowWriteTable *table, Relation relation)
{
	return mrb_row_plan_get(&table->plan, &table->table, table->nwritten,
							relation);
}

/*
 * Prepare a table for its row.
 */
static ResultRelInfo *
open_result(MrbRowWrite *write, int table, CmdType command)
{
	ResultRelInfo *result = &write->results[table];

	refuse_other_kinds(write->estate->es_relations[table], command);
	ExecInitResultRelation(write->estate, result, table + 1);
	CheckCmdReplicaIdentity(result->ri_RelationDesc, command);
	mrb_row_plan_use(get_plan(write->tables[table], result->ri_RelationDesc),
					 result, command);
	return result;
}

/*
 * Refuse a table that only a statement can write.
 */
static void
refuse_other_kinds(Relation relation, CmdType command)
{
	const char *name = RelationGetRelationName(relation);
	const RuleLock *rules = relation->rd_rules;

	if (relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot write to \"miosa.%s\"", name),
				 errdetail_relkind_not_supported(relation->rd_rel->relkind)));
	for (int i = 0; rules != NULL && i < rules->numLocks; i++)
	{
		if (rules->rules[i]->event == command &&
			rules->rules[i]->enabled != RULE_DISABLED)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot write to \"miosa.%s\"", name),
					 errdetail("The table has a rule for the command."),
					 errhint("Replace the rule by a trigger; see it with SELECT rulename, definition FROM pg_rules WHERE schemaname = 'miosa' AND tablename = '%s';",
							 name)));
	}
}

/*
 * The steps of ExecInsert(); false if a trigger suppressed the row.
 */
static bool
insert_row(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
		   TransitionCaptureState *capture)
{
	List	   *recheck = NIL;

	ExecOpenIndices(result, false);
	if (result->ri_TrigDesc != NULL &&
		result->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, result, slot))
		return false;
	check_row(estate, result, slot, CMD_INSERT);
	table_tuple_insert(result->ri_RelationDesc, slot, estate->es_output_cid,
					   0, NULL);
	if (result->ri_NumIndices > 0)
		recheck = MRB_INSERT_INDEX_TUPLES(result, slot, estate, false, false);
	ExecARInsertTriggers(estate, result, slot, recheck, capture);
	return true;
}

/*
 * The steps of ExecUpdate(); false if a trigger suppressed the update.
 */
static bool
update_row(EState *estate, ResultRelInfo *result, ItemPointer tid,
		   TupleTableSlot *slot, TransitionCaptureState *capture)
{
	List	   *recheck = NIL;
	MRB_UPDATE_INDEXES indexes;

	if (result->ri_TrigDesc != NULL &&
		result->ri_TrigDesc->trig_update_before_row)
	{
		EPQState	epq;
		bool		goes_on;

		/* The row is locked, so nothing is ever rechecked. */
		MRB_INIT_RECHECK(&epq, estate);
		goes_on = MRB_BEFORE_UPDATE(estate, &epq, result, tid, slot);
		EvalPlanQualEnd(&epq);
		if (!goes_on)
			return false;
	}
	check_row(estate, result, slot, CMD_UPDATE);
	if (!replace_row(estate, result, tid, slot, &indexes))
		return false;

	/*
	 * The update of a deployment usually touches no index, so they are opened
	 * only now.  The lock on the table has kept them as they are.
	 */
	if (MRB_UPDATES_INDEXES(indexes))
	{
		ExecOpenIndices(result, false);
		recheck = MRB_INSERT_INDEX_TUPLES(result, slot, estate, true, indexes);
	}
	ExecARUpdateTriggers(estate, result, NULL, NULL, tid, NULL, slot, recheck,
						 capture, false);
	return true;
}

/*
 * Compute generated columns, and check the constraints of a new row.
 */
static void
check_row(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
		  CmdType command)
{
	Relation	relation = result->ri_RelationDesc;
	const TupleConstr *constraints = RelationGetDescr(relation)->constr;

	slot->tts_tableOid = RelationGetRelid(relation);
	if (constraints != NULL && constraints->has_generated_stored)
		ExecComputeStoredGenerated(result, estate, slot, command);
	if (constraints != NULL)
		ExecConstraints(result, slot, estate);
	if (relation->rd_rel->relispartition)
		(void) ExecPartitionCheck(result, slot, estate, true);
}

/*
 * Write the new version of a row; false if this very statement has changed or
 * deleted it already.
 */
static bool
replace_row(EState *estate, ResultRelInfo *result, ItemPointer tid,
			TupleTableSlot *slot, MRB_UPDATE_INDEXES * indexes)
{
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result	outcome = table_tuple_update(result->ri_RelationDesc, tid, slot,
											 estate->es_output_cid,
											 estate->es_snapshot,
											 InvalidSnapshot, true, &failure,
											 &mode, indexes);

	if (outcome == TM_SelfModified && failure.cmax != estate->es_output_cid)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("tuple to be updated was already modified by an operation triggered by the current command"),
				 errhint("Consider using an AFTER trigger instead of a BEFORE trigger to propagate changes to other rows.")));
	if (outcome != TM_Ok && outcome != TM_SelfModified)
		elog(ERROR, "unexpected result %d of the update of a locked row",
			 (int) outcome);
	return outcome == TM_Ok;
}
