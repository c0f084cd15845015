/*-------------------------------------------------------------------------
 *
 * id_hash.h
 *	  Hash tables with ids as keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ID_HASH_H
#define MRB_ID_HASH_H

#include "utils/hsearch.h"

/*
 * Create a hash table in the caller's memory context.  Its entries begin with a
 * pointer to an id, which has any length: ids that the owner of the database
 * loads are not checked.
 */
extern HTAB *mrb_id_hash_create(const char *name, long nelem,
								Size entrysize);

#endif							/* MRB_ID_HASH_H */
