/*-------------------------------------------------------------------------
 *
 * dirty.h
 *	  Changes of endpoints that are not written into tables yet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DIRTY_H
#define MRB_DIRTY_H

#include "endpoint/endpoint.h"

typedef enum MrbNoteKind
{
	MRB_NOTE_FAILURE,			/* the endpoint rejects this deployment */
	MRB_NOTE_CLEARED,			/* it accepts it now */
	MRB_NOTE_REPURGE,			/* caches of its zone must purge again */
} MrbNoteKind;

/* Written in the transaction that advances the endpoint's position. */
typedef struct MrbNote
{
	dlist_node	node;			/* in the endpoint's notes */
	struct MrbNote **owner;		/* may change it until it is written; or NULL */
	MrbNoteKind kind;
	int64		epoch;
	int			status;
	int			attempts;
	TimestampTz next_try_at;
	char	   *error;
	char	   *deployment_id;
} MrbNote;

/* Endpoints with changes to write. */
extern dlist_head mrb_dirty_endpoints;

/* Whether the changes of the endpoint have to be written soon. */
extern bool mrb_dirty_is_urgent(const MrbEndpoint *endpoint);

/* Whether this holds for some endpoint; flush.c sets it anew. */
extern bool mrb_dirty_urgent;

extern void mrb_dirty_init(MemoryContext context);
extern void mrb_dirty_attach(MrbEndpoint *endpoint);
extern void mrb_dirty_mark(MrbEndpoint *endpoint);

/*
 * Add a note, or change the one that owner points to.  owner may be NULL.
 */
extern MrbNote *mrb_dirty_note(MrbEndpoint *endpoint, MrbNote **owner,
							   MrbNoteKind kind, const char *deployment_id);
extern void mrb_dirty_set_error(MrbNote *note, const char *error);

/* Let the endpoint be tried after all others that are to be written. */
extern void mrb_dirty_requeue(MrbEndpoint *endpoint);

/* The endpoint's row and notes are written; or the endpoint goes. */
extern void mrb_dirty_written(MrbEndpoint *endpoint);
extern void mrb_dirty_forget(MrbEndpoint *endpoint);

#endif							/* MRB_DIRTY_H */
