/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Parts of shared memory, each with a lock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SHMEM_H
#define MRB_SHMEM_H

#include "storage/lwlock.h"

/* A part of shared memory. */
typedef struct MrbShmem
{
	const char *name;			/* also of its lock */
	Size		(*size) (void); /* known after the settings are */
	void		(*attach) (LWLock *lock);	/* creates it, if it is not there */
	struct MrbShmem *next;
} MrbShmem;

/* Have a part requested and attached, while the server preloads libraries. */
extern void mrb_shmem_register(MrbShmem *part);

#endif							/* MRB_SHMEM_H */
