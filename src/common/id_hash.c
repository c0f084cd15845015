/*-------------------------------------------------------------------------
 *
 * id_hash.c
 *	  Hash tables with ids as keys.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "common/id_hash.h"

static uint32 hash_id(const void *key, Size keysize);
static int	match_ids(const void *a, const void *b, Size keysize);

/*
 * Create a hash table.  A key is the address of a string, which the caller keeps
 * allocated.
 */
HTAB *
mrb_id_hash_create(const char *name, long nelem, Size entrysize)
{
	HASHCTL		info = {
		.keysize = sizeof(char *),
		.entrysize = entrysize,
		.hash = hash_id,
		.match = match_ids,
		.hcxt = CurrentMemoryContext,
	};

	return hash_create(name, nelem, &info,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/*
 * Hash a key, for dynahash.
 */
static uint32
hash_id(const void *key, Size keysize)
{
	const char *id = *(const char *const *) key;

	return hash_bytes((const unsigned char *) id, strlen(id));
}

/*
 * Compare two keys, for dynahash.
 */
static int
match_ids(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}
