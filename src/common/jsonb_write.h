/*-------------------------------------------------------------------------
 *
 * jsonb_write.h
 *	  Write jsonb whose members are in order already.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_JSONB_WRITE_H
#define MRB_JSONB_WRITE_H

#include "utils/jsonb.h"

/*
 * Write an object or an array, to the same bytes as JsonbValueToJsonb().  The
 * members of each object are in the order of jsonb, each once.  Objects and
 * arrays inside may also be serialized ones (jbvBinary), which are copied.
 */
extern Jsonb *mrb_jsonb_write(const JsonbValue *value);

#endif							/* MRB_JSONB_WRITE_H */
