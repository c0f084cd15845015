/*-------------------------------------------------------------------------
 *
 * id_hash.c
 *	  Hash tables with ids of any length as keys.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "common/id_hash.h"

static uint32 hash_id(const void *key, Size keysize);
static int	match_ids(const void *a, const void *b, Size keysize);

/*
 * A key is the address of its string, which the caller keeps.
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
 * The hash function of dynahash for such keys.
 */
static uint32
hash_id(const void *key, Size keysize)
{
	const char *id = *(const char *const *) key;

	return hash_bytes((const unsigned char *) id, strlen(id));
}

/*
 * The comparison of dynahash for such keys.
 */
static int
match_ids(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}
