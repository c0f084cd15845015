/*-------------------------------------------------------------------------
 *
 * requirements.h
 *	  Objects of this database that a version requires.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REQUIREMENTS_H
#define MRB_REQUIREMENTS_H

#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/jsonb.h"

/* What a look into the catalogs found: descriptions of the requirements. */
typedef struct MrbRequirements
{
	int			present;		/* number of those that are there */
	List	   *missing;
	List	   *unknown;		/* not looked for, or not understood */
} MrbRequirements;

/*
 * Look for what the member "requires" of a version's metadata lists:
 *
 *	{"relations": ["app.orders"],
 *	 "columns": {"app.orders": {"total": "numeric"}},
 *	 "functions": ["app.total(integer)"]}
 *
 * Only objects in these schemas are looked for, of which only administrators
 * name any: so nobody learns the names of others by listing them.  Names and
 * types are compared, nothing is executed, and no value of any shape raises an
 * error.
 */
extern MrbRequirements mrb_requirements_look(Jsonb *metadata,
											 ArrayType *schemas);

#endif							/* MRB_REQUIREMENTS_H */
