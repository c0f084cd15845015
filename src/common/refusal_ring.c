/*-------------------------------------------------------------------------
 *
 * refusal_ring.c
 *	  Shared memory: refused calls, until the dispatcher has written them.
 *
 * A refused call has no transaction to write a row with, so it leaves an entry
 * here.  The same refusal within a second is counted in one entry.  The ring has
 * a fixed size; one database fills at most half of it, and what finds no room is
 * dropped.  An entry that nobody has taken for a minute makes room for a new one:
 * its database may be gone.
 *
 * Locking: "lock" protects everything, and is held for copying and comparing
 * alone.  The heads are apart from the entries because each call looks at all
 * of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "common/refusal_ring.h"
#include "common/shmem.h"

#define TRANCHE MRB_EXTENSION " refusals"

#define ENTRIES 1024
#define ENTRIES_OF_ONE (ENTRIES / 2)

/* Refusals are the same for so long, and kept for others for so long. */
#define SAME_MS 1000
#define ABANDONED_MS 60000

typedef struct Head
{
	Oid			database;		/* InvalidOid: the entry is free */
	uint32		hash;			/* of the fields */
	bool		taken;			/* being written: counts no more */
	TimestampTz at;
} Head;

typedef struct Ring
{
	LWLock	   *lock;
	int64		next_id;
	Head		heads[ENTRIES];
	MrbRefusal	entries[ENTRIES];
} Ring;

static Ring *ring = NULL;

static Size ring_size(void);
static void attach_ring(LWLock *lock);
static int	find_place(const MrbRefusalFields *fields, uint32 hash,
					   TimestampTz now, bool *same);
static int	compare_ids(const void *one, const void *other);

static MrbShmem memory = {
	.name = TRANCHE,
	.size = ring_size,
	.attach = attach_ring,
};

/*
 * Request shared memory.
 */
void
mrb_refusal_ring_install(void)
{
	mrb_shmem_register(&memory);
}

/*
 * Count the refusal in the entry of the same one, or make an entry.
 */
bool
mrb_refusal_ring_put(const MrbRefusalFields *fields)
{
	uint32		hash = hash_bytes((const unsigned char *) fields,
								  sizeof(MrbRefusalFields));
	TimestampTz now = GetCurrentTimestamp();
	bool		same = false;
	int			place;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	place = find_place(fields, hash, now, &same);
	if (same)
		ring->entries[place].count++;
	else if (place >= 0)
	{
		MrbRefusal *entry = &ring->entries[place];

		ring->heads[place].database = MyDatabaseId;
		ring->heads[place].hash = hash;
		ring->heads[place].taken = false;
		ring->heads[place].at = now;
		memcpy(&entry->fields, fields, sizeof(MrbRefusalFields));
		entry->id = ring->next_id++;
		entry->count = 1;
		entry->at = now;
		entry->place = place;
	}
	LWLockRelease(ring->lock);
	return place >= 0;
}

/*
 * Copy refusals of this database.
 */
int
mrb_refusal_ring_take(MrbRefusal *refusals, int most)
{
	int			n = 0;

	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ENTRIES && n < most; i++)
	{
		if (ring->heads[i].database != MyDatabaseId)
			continue;
		ring->heads[i].taken = true;
		refusals[n++] = ring->entries[i];
	}
	LWLockRelease(ring->lock);
	qsort(refusals, n, sizeof(MrbRefusal), compare_ids);
	return n;
}

/*
 * Remove refusals that are written, unless they have made room for others.
 */
void
mrb_refusal_ring_remove(const MrbRefusal *refusals, int n)
{
	LWLockAcquire(ring->lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		int			place = refusals[i].place;

		if (ring->entries[place].id == refusals[i].id)
			ring->heads[place].database = InvalidOid;
	}
	LWLockRelease(ring->lock);
}

/*
 * Find the entry of the same refusal, or one that is free or abandoned; -1: there
 * is none.  The caller holds the lock.
 */
static int
find_place(const MrbRefusalFields *fields, uint32 hash, TimestampTz now,
		   bool *same)
{
	int			own = 0;
	int			unused = -1;
	int			abandoned = -1;

	for (int i = 0; i < ENTRIES; i++)
	{
		const Head *head = &ring->heads[i];

		if (!OidIsValid(head->database))
			unused = i;
		else if (TimestampDifferenceExceeds(head->at, now, ABANDONED_MS))
			abandoned = i;
		else if (head->database == MyDatabaseId)
		{
			own++;
			if (!head->taken && head->hash == hash &&
				!TimestampDifferenceExceeds(head->at, now, SAME_MS) &&
				memcmp(&ring->entries[i].fields, fields,
					   sizeof(MrbRefusalFields)) == 0)
			{
				*same = true;
				return i;
			}
		}
	}
	if (own >= ENTRIES_OF_ONE)
		return -1;
	return unused >= 0 ? unused : abandoned;
}

/*
 * Compare the ids of two refusals.
 */
static int
compare_ids(const void *one, const void *other)
{
	int64		a = ((const MrbRefusal *) one)->id;
	int64		b = ((const MrbRefusal *) other)->id;

	return a < b ? -1 : a > b;
}

/*
 * Size of the ring.
 */
static Size
ring_size(void)
{
	return sizeof(Ring);
}

/*
 * Create the ring, or attach to it.  Ids begin with the time, so that they are
 * above those of the server's last start.
 */
static void
attach_ring(LWLock *lock)
{
	bool		found;

	ring = ShmemInitStruct(TRANCHE, sizeof(Ring), &found);
	if (found)
		return;
	MemSet(ring, 0, sizeof(Ring));
	ring->lock = lock;
	ring->next_id = GetCurrentTimestamp();
}
