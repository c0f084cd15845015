/*-------------------------------------------------------------------------
 *
 * operation_stats.c
 *	  Shared memory: how many operations each database has had.
 *
 * Entries are for databases, and are taken at the first use.  They are kept when
 * a dispatcher ends, so that counters fall at a server start alone.
 *
 * Locking: "lock" is held while entries are looked for, taken and marked.
 * Counters are atomics.  The launcher marks entries of databases that it does not
 * know, which others take when no entry is free; a process that kept a pointer to
 * one checks its database again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/shmem.h"
#include "operation/operation_stats.h"

#define TRANCHE MRB_EXTENSION " operations"

typedef struct Table
{
	LWLock	   *lock;
	int			size;
	MrbOperationStats entries[FLEXIBLE_ARRAY_MEMBER];
} Table;

static Table *table = NULL;

static const char *const outcomes[] = {
	[MRB_OUTCOME_CHANGED] = "changed",
	[MRB_OUTCOME_PENDING] = "pending",
	[MRB_OUTCOME_CUTOVER] = "cutover",
	[MRB_OUTCOME_UNCHANGED] = "unchanged",
};

static Size table_size(void);
static void attach_table(LWLock *lock);
static MrbOperationStats *find_entry(void);
static MrbOperationStats *take_entry(void);
static void clear_entry(MrbOperationStats *entry);

static MrbShmem memory = {
	.name = TRANCHE,
	.size = table_size,
	.attach = attach_table,
};

/*
 * Request shared memory.
 */
void
mrb_operation_stats_install(void)
{
	mrb_shmem_register(&memory);
}

/*
 * Return the entry of this database.
 */
MrbOperationStats *
mrb_operation_stats_mine(void)
{
	static MrbOperationStats *mine = NULL;

	if (table == NULL || !OidIsValid(MyDatabaseId))
		return NULL;
	if (mine != NULL && mine->database == MyDatabaseId)
		return mine;
	LWLockAcquire(table->lock, LW_SHARED);
	mine = find_entry();
	LWLockRelease(table->lock);
	if (mine != NULL)
		return mine;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	mine = find_entry();
	if (mine == NULL)
		mine = take_entry();
	LWLockRelease(table->lock);
	return mine;
}

/*
 * Mark the entries of databases that the caller does not know.
 */
void
mrb_operation_stats_retain(bool (*is_known) (Oid database))
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->size; i++)
	{
		MrbOperationStats *entry = &table->entries[i];

		entry->gone = OidIsValid(entry->database) && !is_known(entry->database);
	}
	LWLockRelease(table->lock);
}

/*
 * Return the name of an outcome.
 */
const char *
mrb_operation_stats_outcome(MrbOutcome outcome)
{
	return outcomes[outcome];
}

/*
 * Find an outcome by its name.
 */
bool
mrb_operation_stats_find_outcome(const char *name, MrbOutcome *outcome)
{
	for (size_t i = 0; i < lengthof(outcomes); i++)
	{
		if (strcmp(outcomes[i], name) != 0)
			continue;
		*outcome = (MrbOutcome) i;
		return true;
	}
	return false;
}

/*
 * Create the table, or attach to it.
 */
static void
attach_table(LWLock *lock)
{
	bool		found;

	table = ShmemInitStruct(TRANCHE, table_size(), &found);
	if (found)
		return;
	table->lock = lock;
	table->size = mrb_max_databases + 1;
	for (int i = 0; i < table->size; i++)
		clear_entry(&table->entries[i]);
}

/*
 * Size of the table in shared memory.
 */
static Size
table_size(void)
{
	return add_size(offsetof(Table, entries),
					mul_size(sizeof(MrbOperationStats), mrb_max_databases + 1));
}

/*
 * Find the entry of this database.  The caller holds the lock.
 */
static MrbOperationStats *
find_entry(void)
{
	for (int i = 0; i < table->size; i++)
		if (table->entries[i].database == MyDatabaseId)
			return &table->entries[i];
	return NULL;
}

/*
 * Take an entry that is free, or whose database is gone.  The caller holds the
 * lock.
 */
static MrbOperationStats *
take_entry(void)
{
	MrbOperationStats *found = NULL;

	for (int i = 0; i < table->size && found == NULL; i++)
		if (!OidIsValid(table->entries[i].database))
			found = &table->entries[i];
	for (int i = 0; i < table->size && found == NULL; i++)
		if (table->entries[i].gone)
			found = &table->entries[i];
	if (found == NULL)
		return NULL;
	clear_entry(found);
	found->database = MyDatabaseId;
	return found;
}

/*
 * Clear an entry.
 */
static void
clear_entry(MrbOperationStats *entry)
{
	entry->database = InvalidOid;
	entry->gone = false;
	for (int a = 0; a < MRB_ACTIONS; a++)
		for (int o = 0; o < MRB_OUTCOMES; o++)
			pg_atomic_init_u64(&entry->operations[a][o], 0);
	for (int i = 0; i < MRB_CONDITION_COUNT; i++)
		pg_atomic_init_u64(&entry->refusals[i], 0);
	pg_atomic_init_u64(&entry->replays, 0);
	for (int i = 0; i < MRB_MOVES; i++)
		mrb_buckets_init(&entry->durations[i]);
	mrb_buckets_init(&entry->convergence);
}
