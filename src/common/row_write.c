/*-------------------------------------------------------------------------
 *
 * row_write.c
 *	  Writing of rows without a query.
 *
 * Every operation writes a few single rows.  A statement for them spends most
 * of its time on starting the executor; these functions take the steps of its
 * ModifyTable node directly.  All writes between mrb_row_write_begin() and
 * mrb_row_write_end() are one statement: they have one snapshot and one command
 * id, each table is prepared once, and triggers after rows and statements fire
 * at its end.
 *
 * A statement of many rows inserts them some at a time, as COPY does, which
 * writes one WAL record a page instead of one a row.  As for COPY a trigger
 * before rows that fires, or a default that has to be computed, excludes that.
 *
 * What the catalog says holds: constraints, defaults, generated columns,
 * indexes, triggers of every kind with transition tables, replica identity,
 * serializable isolation, logical decoding.  What differs from a statement:
 *
 *	- The trigger that a table names as skipped does not fire; see operation.c.
 *	  Other triggers fire in the order of their names; an UPDATE that one of
 *	  them makes is a plain one, so the skipped trigger needs no permission that
 *	  somebody else could use.
 *	- A valid, immutable CHECK of columns that an UPDATE does not write is not
 *	  evaluated again.
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
#include "catalog/pg_trigger.h"
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
#include "common/row_write.h"

/* How many rows are inserted at a time. */
#define BATCH 100

/* A table of the statement. */
typedef struct TableWrite
{
	ResultRelInfo result;
	CmdType		command;		/* CMD_UNKNOWN: not prepared yet */
	bool		indexed;		/* its indexes are open */
	TransitionCaptureState *capture;
	TupleTableSlot **slots;		/* for one row, or for the rows of a batch */
	int			nslots;
	int			nrows;			/* in these slots, not inserted yet */
} TableWrite;

struct MrbRowWrite
{
	EState	   *estate;
	MemoryContext row;			/* reset before each row */
	MrbRowWriteTable *const *tables;
	TableWrite *writes;			/* one each */
	int			n;				/* of both */
	bool		many;
};

static void add_table(MrbRowWriteTable *table, Relation relation, List **entries,
					  List **permissions);
static const MrbRowPlan *get_plan(MrbRowWriteTable *table, Relation relation);
static TableWrite *open_table(MrbRowWrite *write, int table,
							  CmdType command);
static bool can_batch(const MrbRowWrite *write, int table);
static bool fires_before_insert(const TriggerDesc *triggers);
static TupleTableSlot *begin_row(MrbRowWrite *write, TableWrite *it);
static void set_values(const MrbRowWriteTable *table, TupleTableSlot *slot,
					   const Datum *values, const bool *nulls);
static void open_indexes(TableWrite *it);
static void refuse_other_kinds(Relation relation, CmdType command);
static void insert_row(EState *estate, TableWrite *it, TupleTableSlot *slot);
static void insert_batch(EState *estate, TableWrite *it);
static void insert_rest(EState *estate, TableWrite *it, TupleTableSlot *slot);
static bool update_row(EState *estate, TableWrite *it, ItemPointer tid,
					   TupleTableSlot *slot);
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
mrb_row_write_begin(MrbRowWriteTable *const *tables, int n, bool many)
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
	write->row = AllocSetContextCreate(estate->es_query_cxt,
									   "miosa_rollback row",
									   ALLOCSET_DEFAULT_SIZES);
	write->tables = tables;
	write->writes = palloc0(n * sizeof(TableWrite));
	write->n = n;
	write->many = many;
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
 * Insert one row, now or with others.
 */
void
mrb_row_write_insert(MrbRowWrite *write, int table, const Datum *values,
					 const bool *nulls)
{
	EState	   *estate = write->estate;
	TableWrite *it = open_table(write, table, CMD_INSERT);
	MemoryContext before = MemoryContextSwitchTo(write->row);
	TupleTableSlot *slot = begin_row(write, it);

	mrb_row_plan_fill(get_plan(write->tables[table], it->result.ri_RelationDesc),
					  estate, slot);
	set_values(write->tables[table], slot, values, nulls);
	if (it->nslots == 1)
		insert_row(estate, it, slot);
	else
	{
		check_row(estate, &it->result, slot, CMD_INSERT);
		ExecMaterializeSlot(slot);
		if (++it->nrows == it->nslots)
			insert_batch(estate, it);
	}
	MemoryContextSwitchTo(before);
}

/*
 * Update one row.  The values that are not written are those of the old row.
 */
TupleTableSlot *
mrb_row_write_update(MrbRowWrite *write, int table, TupleTableSlot *old,
					 const Datum *values, const bool *nulls)
{
	TableWrite *it = open_table(write, table, CMD_UPDATE);
	TupleDesc	desc = RelationGetDescr(it->result.ri_RelationDesc);
	MemoryContext before = MemoryContextSwitchTo(write->row);
	TupleTableSlot *slot = begin_row(write, it);
	bool		written;

	slot_getallattrs(old);
	for (int i = 0; i < desc->natts; i++)
	{
		slot->tts_values[i] = old->tts_values[i];
		slot->tts_isnull[i] = old->tts_isnull[i] ||
			TupleDescAttr(desc, i)->attisdropped;
	}
	set_values(write->tables[table], slot, values, nulls);
	written = update_row(write->estate, it, &old->tts_tid, slot);
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
	MemoryContext before = MemoryContextSwitchTo(write->row);

	for (int i = 0; i < write->n; i++)
	{
		TableWrite *it = &write->writes[i];

		insert_batch(estate, it);
		if (it->command == CMD_INSERT)
			ExecASInsertTriggers(estate, &it->result, it->capture);
		else if (it->command == CMD_UPDATE)
			ExecASUpdateTriggers(estate, &it->result, it->capture);
	}
	MemoryContextSwitchTo(before);
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
							table->skipped, relation);
}

/*
 * Prepare a table at its first row.
 */
static TableWrite *
open_table(MrbRowWrite *write, int table, CmdType command)
{
	EState	   *estate = write->estate;
	TableWrite *it = &write->writes[table];
	ResultRelInfo *result = &it->result;
	MemoryContext before;

	Assert(it->command == CMD_UNKNOWN || it->command == command);
	if (it->command != CMD_UNKNOWN)
		return it;
	before = MemoryContextSwitchTo(estate->es_query_cxt);
	it->command = command;
	refuse_other_kinds(estate->es_relations[table], command);
	ExecInitResultRelation(estate, result, table + 1);
	CheckCmdReplicaIdentity(result->ri_RelationDesc, command);
	mrb_row_plan_use(get_plan(write->tables[table], result->ri_RelationDesc),
					 &write->tables[table]->plan_used, result, command);
	it->capture = MakeTransitionCaptureState(result->ri_TrigDesc,
											 RelationGetRelid(result->ri_RelationDesc),
											 command);
	if (command == CMD_INSERT)
		ExecBSInsertTriggers(estate, result);
	else
		ExecBSUpdateTriggers(estate, result);
	it->nslots = can_batch(write, table) ? BATCH : 1;
	it->slots = palloc0(it->nslots * sizeof(TupleTableSlot *));
	MemoryContextSwitchTo(before);
	return it;
}

/*
 * Whether rows can be inserted some at a time.
 */
static bool
can_batch(const MrbRowWrite *write, int table)
{
	const TableWrite *it = &write->writes[table];
	Relation	relation = it->result.ri_RelationDesc;

	return write->many && it->command == CMD_INSERT &&
		!fires_before_insert(it->result.ri_TrigDesc) &&
		!mrb_row_plan_computes(get_plan(write->tables[table], relation));
}

/*
 * Whether a trigger before rows fires.  Some tables have one that fires only
 * where changes of another server are applied.
 */
static bool
fires_before_insert(const TriggerDesc *triggers)
{
	char		passed_over = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ?
	TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW,
								 TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_INSERT) &&
			trigger->tgenabled != TRIGGER_DISABLED &&
			trigger->tgenabled != passed_over)
			return true;
	}
	return false;
}

/*
 * Return an empty slot for the next row, and free what the last one used.
 */
static TupleTableSlot *
begin_row(MrbRowWrite *write, TableWrite *it)
{
	TupleTableSlot **slot = &it->slots[it->nrows];

	MemoryContextReset(write->row);
	ResetPerTupleExprContext(write->estate);
	if (*slot != NULL)
		return ExecClearTuple(*slot);
	MemoryContextSwitchTo(write->estate->es_query_cxt);
	*slot = table_slot_create(it->result.ri_RelationDesc,
							  &write->estate->es_tupleTable);
	MemoryContextSwitchTo(write->row);
	return *slot;
}

/*
 * Put the values that are written into a row, which is complete then.
 */
static void
set_values(const MrbRowWriteTable *table, TupleTableSlot *slot,
		   const Datum *values, const bool *nulls)
{
	for (int i = 0; i < table->nwritten; i++)
	{
		slot->tts_values[table->table.attnums[i] - 1] = values[i];
		slot->tts_isnull[table->table.attnums[i] - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * Open the indexes of a table.  The lock on the table keeps them as they are.
 */
static void
open_indexes(TableWrite *it)
{
	MemoryContext before;

	if (it->indexed)
		return;
	before = MemoryContextSwitchTo(GetMemoryChunkContext(it->slots));
	ExecOpenIndices(&it->result, false);
	it->indexed = true;
	MemoryContextSwitchTo(before);
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
 * The steps of ExecInsert(), unless a trigger suppresses the row.
 */
static void
insert_row(EState *estate, TableWrite *it, TupleTableSlot *slot)
{
	ResultRelInfo *result = &it->result;

	if (result->ri_TrigDesc != NULL &&
		result->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, result, slot))
		return;
	check_row(estate, result, slot, CMD_INSERT);
	table_tuple_insert(result->ri_RelationDesc, slot, estate->es_output_cid,
					   0, NULL);
	insert_rest(estate, it, slot);
}

/*
 * Insert the rows that were put off, which were checked.
 */
static void
insert_batch(EState *estate, TableWrite *it)
{
	if (it->nrows == 0)
		return;
	table_multi_insert(it->result.ri_RelationDesc, it->slots, it->nrows,
					   estate->es_output_cid, 0, NULL);
	for (int i = 0; i < it->nrows; i++)
	{
		insert_rest(estate, it, it->slots[i]);
		ExecClearTuple(it->slots[i]);
	}
	it->nrows = 0;
}

/*
 * What follows when a row is in its table.
 */
static void
insert_rest(EState *estate, TableWrite *it, TupleTableSlot *slot)
{
	List	   *recheck = NIL;

	open_indexes(it);
	if (it->result.ri_NumIndices > 0)
		recheck = MRB_INSERT_INDEX_TUPLES(&it->result, slot, estate, false, false);
	ExecARInsertTriggers(estate, &it->result, slot, recheck, it->capture);
}

/*
 * The steps of ExecUpdate(); false if a trigger suppressed the update.
 */
static bool
update_row(EState *estate, TableWrite *it, ItemPointer tid,
		   TupleTableSlot *slot)
{
	ResultRelInfo *result = &it->result;
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
	 * only now.
	 */
	if (MRB_UPDATES_INDEXES(indexes))
	{
		open_indexes(it);
		recheck = MRB_INSERT_INDEX_TUPLES(result, slot, estate, true, indexes);
	}
	ExecARUpdateTriggers(estate, result, NULL, NULL, tid, NULL, slot, recheck,
						 it->capture, false);
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
