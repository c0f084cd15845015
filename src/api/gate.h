/*-------------------------------------------------------------------------
 *
 * gate.h
 *	  What a caller must be allowed before a function is entered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_GATE_H
#define MRB_GATE_H

#include "fmgr.h"

/* A gate of one function, found once. */
typedef struct MrbGate
{
	const char *function;		/* its name */
	bool		open;			/* the function itself looks at tenants */
	int			deployment;		/* argument with the deployment; -1: none */
	int			scopes;			/* that are needed for its tenant */
} MrbGate;

/* Find the gate of a function; its name is copied into the context. */
extern MrbGate mrb_gate_find(Oid function, MemoryContext context);

/*
 * Raise DEPLOYMENT_NOT_FOUND or FORBIDDEN unless the caller may call the function
 * with these arguments.  Waits for no lock of a row.
 */
extern void mrb_gate_pass(const MrbGate *gate, FunctionCallInfo fcinfo);

#endif							/* MRB_GATE_H */
