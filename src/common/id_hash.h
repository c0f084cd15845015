/*-------------------------------------------------------------------------
 *
 * id_hash.h
 *	  Hash tables with ids of any length as keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ID_HASH_H
#define MRB_ID_HASH_H

#include "utils/hsearch.h"

/*
 * A table of the caller's memory context, whose entries begin with the pointer
 * to an id.  Ids have any length: an owner can load them.
 */
extern HTAB *mrb_id_hash_create(const char *name, long nelem,
								Size entrysize);

#endif							/* MRB_ID_HASH_H */
