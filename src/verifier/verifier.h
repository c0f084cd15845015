/*-------------------------------------------------------------------------
 *
 * verifier.h
 *	  Verifying artifacts before anybody needs them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_VERIFIER_H
#define MRB_VERIFIER_H

#include "utils/palloc.h"

extern void mrb_verifier_init(MemoryContext context);

/* Descriptor to wait for besides others, and how long at most. */
extern int	mrb_verifier_descriptor(void);
extern long mrb_verifier_wait(long most);

/*
 * Look, ask, write down, as far as it goes without waiting.  When it is not
 * wanted, what is under way is only brought to its end.
 */
extern void mrb_verifier_step(bool wanted);

#endif							/* MRB_VERIFIER_H */
