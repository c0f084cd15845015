/*-------------------------------------------------------------------------
 *
 * endpoint_totals.c
 *	  Shared memory: counters of endpoints that only grow, by name.
 *
 * Metrics need counters that do not fall when the dispatcher is started again,
 * when an endpoint is removed and added, or when its statistics are reset, so
 * these are apart from the entries of endpoint_stats.c.  There is room for the
 * totals of max_endpoints; those of an endpoint that nobody serves make room for
 * a new one.
 *
 * Locking: "lock" protects the table, keys and users; counters are atomics.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/shmem.h"
#include "endpoint/endpoint_totals.h"

#define TRANCHE MRB_EXTENSION " totals"

static HTAB *table = NULL;
static LWLock *lock = NULL;

static Size table_size(void);
static void attach_table(LWLock *its_lock);
static void make_key(MrbEndpointTotals *room, const char *name);
static bool make_room(void);

static MrbShmem memory = {
	.name = TRANCHE,
	.size = table_size,
	.attach = attach_table,
};

/*
 * Request shared memory.
 */
void
mrb_endpoint_totals_install(void)
{
	mrb_shmem_register(&memory);
}

/*
 * Find or make the totals of an endpoint.
 */
MrbEndpointTotals *
mrb_endpoint_totals_claim(const char *name)
{
	MrbEndpointTotals key;
	MrbEndpointTotals *totals = NULL;
	bool		found;

	if (table == NULL)
		return NULL;
	make_key(&key, name);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	totals = hash_search(table, &key.key, HASH_FIND, NULL);
	if (totals == NULL && make_room())
	{
		totals = hash_search(table, &key.key, HASH_ENTER_NULL, &found);
		if (totals != NULL)
		{
			totals->users = 0;
			pg_atomic_init_u64(&totals->sent, 0);
			pg_atomic_init_u64(&totals->retried, 0);
			pg_atomic_init_u64(&totals->failed, 0);
			mrb_buckets_init(&totals->latency);
		}
	}
	if (totals != NULL)
		totals->users++;
	LWLockRelease(lock);
	return totals;
}

/*
 * Count in them no more.
 */
void
mrb_endpoint_totals_drop(MrbEndpointTotals *totals)
{
	if (totals == NULL)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	totals->users--;
	LWLockRelease(lock);
}

/*
 * Read the totals of an endpoint.
 */
bool
mrb_endpoint_totals_read(const char *name, MrbEndpointTotalsRead *read)
{
	MrbEndpointTotals key;
	MrbEndpointTotals *totals;

	if (table == NULL)
		return false;
	make_key(&key, name);
	LWLockAcquire(lock, LW_SHARED);
	totals = hash_search(table, &key.key, HASH_FIND, NULL);
	if (totals != NULL)
	{
		read->sent = pg_atomic_read_u64(&totals->sent);
		read->retried = pg_atomic_read_u64(&totals->retried);
		read->failed = pg_atomic_read_u64(&totals->failed);
		for (int i = 0; i <= MRB_BUCKET_BOUNDS; i++)
			read->latency[i] = pg_atomic_read_u64(&totals->latency.counts[i]);
		read->latency_sum = pg_atomic_read_u64(&totals->latency.sum);
	}
	LWLockRelease(lock);
	return totals != NULL;
}

/*
 * Size of the table in shared memory.
 */
static Size
table_size(void)
{
	return hash_estimate_size(mrb_max_endpoints, sizeof(MrbEndpointTotals));
}

/*
 * Create the table, or attach to it.
 */
static void
attach_table(LWLock *its_lock)
{
	HASHCTL		info = {
		.keysize = sizeof(((MrbEndpointTotals *) NULL)->key),
		.entrysize = sizeof(MrbEndpointTotals),
	};

	lock = its_lock;
	table = ShmemInitHash(TRANCHE, mrb_max_endpoints, mrb_max_endpoints, &info,
						  HASH_ELEM | HASH_BLOBS);
}

/*
 * Make the key of an endpoint of this database.  Keys are compared as bytes.
 */
static void
make_key(MrbEndpointTotals *room, const char *name)
{
	MemSet(&room->key, 0, sizeof(room->key));
	room->key.database = MyDatabaseId;
	strlcpy(room->key.name, name, NAMEDATALEN);
}

/*
 * Make room for one more, at the cost of totals that nobody counts in; false:
 * there are none.  The caller holds the lock.
 */
static bool
make_room(void)
{
	HASH_SEQ_STATUS scan;
	MrbEndpointTotals *totals;

	if (hash_get_num_entries(table) < mrb_max_endpoints)
		return true;
	hash_seq_init(&scan, table);
	while ((totals = hash_seq_search(&scan)) != NULL)
	{
		if (totals->users > 0)
			continue;
		hash_search(table, &totals->key, HASH_REMOVE, NULL);
		hash_seq_term(&scan);
		return true;
	}
	return false;
}
