/*-------------------------------------------------------------------------
 *
 * uri_lock.c
 *	  Locks of artifacts by their URI.
 *
 * A transaction that adds a release of an artifact shares the lock of its URI,
 * and one that collects the artifact has it alone.  The locks are those of
 * objects whose class is the table of releases, which no SQL function takes:
 * every role can take advisory locks, and all of them.
 *
 * The key is a hash of 47 bits, so strangers do not meet.  But a restore can add
 * a million releases in one transaction, and the table of locks has room for
 * some thousands.  So a transaction that has many locks takes one of all
 * artifacts instead, which must not meet those of collectors: as with tables and
 * rows, the lock of an artifact is announced by a weak lock of all.  While
 * that restore runs, nothing is collected, and everything can be fed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "common/uri_lock.h"

/* Locks that a transaction takes of single artifacts. */
#define MAX_SHARED 256
#define MAX_ALONE 2000

PG_FUNCTION_INFO_V1(mrb_lock_uri);

static bool lock_shared(Oid releases, uint64 hash, bool wait, int *taken);
static bool lock_alone(Oid releases, uint64 hash, bool wait, int *taken);
static bool lock_all(Oid releases, LOCKMODE mode, bool wait);
static bool lock_one(Oid releases, uint64 hash, LOCKMODE mode, bool wait,
					 int *taken);

/*
 * miosa.lock_uri(uri, exclusive, wait): lock an artifact's URI until the end
 * of the transaction; false when wait is false and the lock is not available.
 */
Datum
mrb_lock_uri(PG_FUNCTION_ARGS)
{
	/* Locks of the transaction; it writes, so it has an id. */
	static FullTransactionId counted_in;
	static int	taken = 0;
	text	   *uri = PG_GETARG_TEXT_PP(0);
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(uri),
										   VARSIZE_ANY_EXHDR(uri), 0);
	Oid			releases = get_relname_relid("releases",
											 get_namespace_oid("miosa", false));

	if (!FullTransactionIdEquals(counted_in, GetTopFullTransactionId()))
	{
		counted_in = GetTopFullTransactionId();
		taken = 0;
	}
	PG_RETURN_BOOL(PG_GETARG_BOOL(1) ?
				   lock_alone(releases, hash, PG_GETARG_BOOL(2), &taken) :
				   lock_shared(releases, hash, PG_GETARG_BOOL(2), &taken));
}

/*
 * Whether a lock is one of all artifacts that only announces others.
 */
bool
mrb_uri_lock_is_intention(const LockInstanceData *lock)
{
	return lock->locktag.locktag_field4 == 0 &&
		(lock->holdMask & LOCKBIT_ON(ShareLock)) == 0;
}

/*
 * Share the lock of an artifact, or of all.
 */
static bool
lock_shared(Oid releases, uint64 hash, bool wait, int *taken)
{
	if (*taken >= MAX_SHARED)
		return lock_all(releases, ShareLock, wait);
	return lock_all(releases, RowShareLock, wait) &&
		lock_one(releases, hash, ShareLock, wait, taken);
}

/*
 * Take the lock of an artifact alone.  A transaction that has many collects the
 * others after its commit.
 */
static bool
lock_alone(Oid releases, uint64 hash, bool wait, int *taken)
{
	if (*taken >= MAX_ALONE && !wait)
		return false;
	return lock_all(releases, RowExclusiveLock, wait) &&
		lock_one(releases, hash, ExclusiveLock, wait, taken);
}

/*
 * Lock all artifacts in a mode.
 */
static bool
lock_all(Oid releases, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, releases, 0, 0);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Lock one artifact in a mode, and count a lock that is new.  The last field of
 * its tag is not 0, as that of the lock of all is.
 */
static bool
lock_one(Oid releases, uint64 hash, LOCKMODE mode, bool wait, int *taken)
{
	LOCKTAG		tag;
	LockAcquireResult result;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, releases, (uint32) hash,
					   (uint16) (hash >> 32) | 1);
	result = LockAcquire(&tag, mode, false, !wait);
	if (result == LOCKACQUIRE_OK)
		(*taken)++;
	return result != LOCKACQUIRE_NOT_AVAIL;
}
