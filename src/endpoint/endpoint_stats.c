/*-------------------------------------------------------------------------
 *
 * endpoint_stats.c
 *	  Positions and counters of endpoints in shared memory.
 *
 * A fixed array of entries serves the endpoints of all databases.  The
 * dispatcher takes an entry when it adopts an endpoint, and returns it when
 * it drops the endpoint or ends.  An entry in use therefore belongs to a
 * running dispatcher and holds what that dispatcher knows now.  For an
 * endpoint without an entry, readers use its row in endpoint_state.
 *
 * Locking: "lock" is held while entries are taken and returned; it protects
 * taken and free_from.  Everything in an entry is protected by the entry's
 * spinlock, so that readers see complete changes.  Only the dispatcher of the
 * database writes position and name, so it may read its own entries without
 * the spinlock; the tally is also set to zero by mrb_endpoint_stats_reset().
 * "totals" is the dispatcher's alone.
 * Readers first check database without the spinlock, to skip entries of other
 * databases, and check it again under the spinlock.  "entries" only
 * grows and is read without a lock: a reader of an old value misses an entry
 * that was taken just now.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/shmem.h"
#include "endpoint/endpoint_stats.h"
#include "endpoint/endpoint_totals.h"

#define TRANCHE MRB_EXTENSION " stats"

struct MrbEndpointStatsEntry
{
	slock_t		mutex;
	Oid			database;		/* InvalidOid: the entry is free */
	MrbPosition position;
	MrbTally	tally;
	MrbEndpointTotals *totals;	/* in shared memory, or NULL */
};

typedef struct Table
{
	LWLock	   *lock;
	int			taken;
	int			free_from;		/* none below this is free */
	pg_atomic_uint32 entries;	/* no entry from here on was ever taken */
	MrbEndpointStatsEntry stats[FLEXIBLE_ARRAY_MEMBER];
} Table;

/* Endpoints to publish. */
static dlist_head changed_stats = DLIST_STATIC_INIT(changed_stats);

static Table *table = NULL;

/* The slot with the counters of this dispatcher. */
static MrbRegistrySlot *my_slot = NULL;

static Size table_size(void);
static void attach_table(LWLock *lock);
static MrbEndpointStatsEntry *take_entry(void);
static void release_entry(MrbEndpointStatsEntry *entry);
static void count(MrbCounter counter);
static void reset_slot(MrbRegistrySlot *slot);

static MrbShmem memory = {
	.name = TRANCHE,
	.size = table_size,
	.attach = attach_table,
};

/*
 * Request shared memory; only while the server preloads libraries.
 */
void
mrb_endpoint_stats_install(void)
{
	mrb_shmem_register(&memory);
}

/*
 * Remember the dispatcher's slot.  Entries of a predecessor that did not end
 * in order are returned.
 */
void
mrb_endpoint_stats_begin(MrbRegistrySlot *slot)
{
	my_slot = slot;
	mrb_endpoint_stats_end();
}

/*
 * Return all entries of the database, and clear its gauges.
 */
void
mrb_endpoint_stats_end(void)
{
	if (my_slot == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < mrb_endpoint_stats_entries(); i++)
		if (table->stats[i].database == MyDatabaseId)
			release_entry(&table->stats[i]);
	LWLockRelease(table->lock);
	pg_atomic_write_u64(&my_slot->counters[MRB_COUNTER_IN_FLIGHT], 0);
	pg_atomic_write_u64(&my_slot->counters[MRB_COUNTER_PENDING], 0);
}

/*
 * Keep the counters of an endpoint that is read anew.
 */
void
mrb_endpoint_stats_inherit(MrbEndpointStats *stats, const MrbEndpointStats *predecessor)
{
	if (predecessor->entry == NULL)
		return;
	stats->inherited = palloc(sizeof(MrbTally));
	SpinLockAcquire(&predecessor->entry->mutex);
	*stats->inherited = predecessor->entry->tally;
	SpinLockRelease(&predecessor->entry->mutex);
}

/*
 * Take an entry.  Until a position is published, its generation is -1, which
 * no waiter mistakes for an acknowledgement.
 */
void
mrb_endpoint_stats_claim(MrbEndpointStats *stats, const char *name)
{
	MrbEndpointStatsEntry *entry;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	entry = take_entry();
	if (entry != NULL)
	{
		SpinLockAcquire(&entry->mutex);
		memset(&entry->position, 0, sizeof(MrbPosition));
		if (stats->inherited != NULL)
			entry->tally = *stats->inherited;
		else
			memset(&entry->tally, 0, sizeof(MrbTally));
		strlcpy(entry->position.name, name, NAMEDATALEN);
		entry->position.generation = -1;
		entry->database = MyDatabaseId;
		SpinLockRelease(&entry->mutex);
		entry->totals = mrb_endpoint_totals_claim(name);
	}
	LWLockRelease(table->lock);
	stats->entry = entry;
}

/*
 * Return the entry.
 */
void
mrb_endpoint_stats_drop(MrbEndpointStats *stats)
{
	if (stats->changed)
		dlist_delete(&stats->changed_node);
	stats->changed = false;
	if (stats->entry == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	release_entry(stats->entry);
	LWLockRelease(table->lock);
	stats->entry = NULL;
}

/*
 * Have the position published, because it has changed.
 */
void
mrb_endpoint_stats_mark(MrbEndpointStats *stats)
{
	if (stats->changed)
		return;
	stats->changed = true;
	dlist_push_tail(&changed_stats, &stats->changed_node);
}

/*
 * Take out the next endpoint to publish; NULL when there is none.
 */
MrbEndpointStats *
mrb_endpoint_stats_next_changed(void)
{
	MrbEndpointStats *stats;

	if (dlist_is_empty(&changed_stats))
		return NULL;
	stats = dlist_container(MrbEndpointStats, changed_node,
							dlist_pop_head_node(&changed_stats));
	stats->changed = false;
	return stats;
}

/*
 * The published position; NULL without an entry.
 */
const MrbPosition *
mrb_endpoint_stats_position(const MrbEndpointStats *stats)
{
	return stats->entry != NULL ? &stats->entry->position : NULL;
}

/*
 * Replace the published position.
 */
void
mrb_endpoint_stats_publish(MrbEndpointStats *stats, const MrbPosition *position)
{
	SpinLockAcquire(&stats->entry->mutex);
	stats->entry->position = *position;
	SpinLockRelease(&stats->entry->mutex);
}

/*
 * Count a request; retry: one of its items has failed before.
 */
void
mrb_endpoint_stats_sent(MrbEndpointStats *stats, bool retry)
{
	MrbEndpointStatsEntry *entry = stats->entry;

	count(MRB_COUNTER_SENT);
	if (retry)
		count(MRB_COUNTER_RETRIED);
	if (entry == NULL)
		return;
	SpinLockAcquire(&entry->mutex);
	entry->tally.sent++;
	entry->tally.retried += retry ? 1 : 0;
	SpinLockRelease(&entry->mutex);
	if (entry->totals == NULL)
		return;
	pg_atomic_fetch_add_u64(&entry->totals->sent, 1);
	if (retry)
		pg_atomic_fetch_add_u64(&entry->totals->retried, 1);
}

/*
 * Count the end of a request.
 */
void
mrb_endpoint_stats_answered(MrbEndpointStats *stats, bool success)
{
	MrbEndpointStatsEntry *entry = stats->entry;

	count(success ? MRB_COUNTER_ACKNOWLEDGED : MRB_COUNTER_FAILED);
	if (entry == NULL)
		return;
	SpinLockAcquire(&entry->mutex);
	if (success)
		entry->tally.succeeded++;
	else
		entry->tally.failed++;
	SpinLockRelease(&entry->mutex);
	if (!success && entry->totals != NULL)
		pg_atomic_fetch_add_u64(&entry->totals->failed, 1);
}

/*
 * Record the latency of a change that was requested at the given time; 0: the
 * time is unknown.
 */
void
mrb_endpoint_stats_acknowledged(MrbEndpointStats *stats, TimestampTz since)
{
	MrbEndpointStatsEntry *entry = stats->entry;
	int64		took;

	if (entry == NULL || since == 0)
		return;
	took = Max(0, GetCurrentTimestamp() - since);
	SpinLockAcquire(&entry->mutex);
	mrb_histogram_add(&entry->tally.latency, took);
	SpinLockRelease(&entry->mutex);
	if (entry->totals != NULL)
		mrb_buckets_add(&entry->totals->latency, mrb_buckets_deliveries, took);
}

/*
 * Number of entries that readers have to visit.
 */
int
mrb_endpoint_stats_entries(void)
{
	return table != NULL ? (int) pg_atomic_read_u32(&table->entries) : 0;
}

/*
 * Copy an entry, if it belongs to the database.
 */
bool
mrb_endpoint_stats_read(int number, Oid database, MrbPosition *position,
						MrbTally *tally)
{
	MrbEndpointStatsEntry *entry = &table->stats[number];
	bool		found;

	if (entry->database != database)
		return false;
	SpinLockAcquire(&entry->mutex);
	found = entry->database == database;
	if (found)
	{
		*position = entry->position;
		if (tally != NULL)
			*tally = entry->tally;
	}
	SpinLockRelease(&entry->mutex);
	return found;
}

/*
 * Read a single epoch, without copying the entry.
 */
int64
mrb_endpoint_stats_read_acked(int number, Oid database, const char *name)
{
	MrbEndpointStatsEntry *entry = &table->stats[number];
	int64		acked = -1;

	SpinLockAcquire(&entry->mutex);
	if (entry->database == database && !entry->position.resyncing &&
		strcmp(entry->position.name, name) == 0)
		acked = entry->position.acked_epoch;
	SpinLockRelease(&entry->mutex);
	return acked;
}

/*
 * Number of entries in use, for the view of shared memory.
 */
int
mrb_endpoint_stats_in_use(void)
{
	int			taken;

	if (table == NULL)
		return 0;
	LWLockAcquire(table->lock, LW_SHARED);
	taken = table->taken;
	LWLockRelease(table->lock);
	return taken;
}

/*
 * Set the counters of one endpoint, or of all and of the dispatcher, to zero.
 */
void
mrb_endpoint_stats_reset(Oid database, const char *name)
{
	MrbRegistrySlot *slot = mrb_registry_slot(database);

	for (int i = 0; i < mrb_endpoint_stats_entries(); i++)
	{
		MrbEndpointStatsEntry *entry = &table->stats[i];

		SpinLockAcquire(&entry->mutex);
		if (entry->database == database &&
			(name == NULL || strcmp(entry->position.name, name) == 0))
			memset(&entry->tally, 0, sizeof(MrbTally));
		SpinLockRelease(&entry->mutex);
	}
	if (name == NULL && slot != NULL)
		reset_slot(slot);
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
	table->taken = 0;
	table->free_from = 0;
	pg_atomic_init_u32(&table->entries, 0);
	for (int i = 0; i < mrb_max_endpoints; i++)
	{
		SpinLockInit(&table->stats[i].mutex);
		table->stats[i].database = InvalidOid;
		table->stats[i].totals = NULL;
	}
}

/*
 * Size of the table in shared memory.
 */
static Size
table_size(void)
{
	return add_size(offsetof(Table, stats),
					mul_size(sizeof(MrbEndpointStatsEntry), mrb_max_endpoints));
}

/*
 * A free entry, or NULL.  The caller holds the lock.
 */
static MrbEndpointStatsEntry *
take_entry(void)
{
	int			i = table->free_from;

	while (i < mrb_max_endpoints && OidIsValid(table->stats[i].database))
		i++;
	table->free_from = i;
	if (i >= mrb_max_endpoints)
		return NULL;
	table->free_from++;
	table->taken++;
	if (i >= mrb_endpoint_stats_entries())
		pg_atomic_write_u32(&table->entries, i + 1);
	return &table->stats[i];
}

/*
 * Mark an entry as free.  The caller holds the lock.
 */
static void
release_entry(MrbEndpointStatsEntry *entry)
{
	int			i = entry - table->stats;

	SpinLockAcquire(&entry->mutex);
	entry->database = InvalidOid;
	SpinLockRelease(&entry->mutex);
	mrb_endpoint_totals_drop(entry->totals);
	entry->totals = NULL;
	table->taken--;
	table->free_from = Min(table->free_from, i);
}

/*
 * Increment a counter of the dispatcher.
 */
static void
count(MrbCounter counter)
{
	if (my_slot != NULL)
		pg_atomic_fetch_add_u64(&my_slot->counters[counter], 1);
}

/*
 * Have the counters of the dispatcher shown from zero on, but not the gauges.
 */
static void
reset_slot(MrbRegistrySlot *slot)
{
	for (int i = 0; i < MRB_FIRST_GAUGE; i++)
		pg_atomic_write_u64(&slot->reset[i],
							pg_atomic_read_u64(&slot->counters[i]));
}
