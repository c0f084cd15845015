/*-------------------------------------------------------------------------
 *
 * dirty.h
 *	  What has to be written down about endpoints, until it is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DIRTY_H
#define MRB_DIRTY_H

#include "endpoint/endpoint.h"

typedef enum MrbNoteKind
{
	MRB_NOTE_FAILURE,			/* it does not take this deployment */
	MRB_NOTE_CLEARED,			/* now it does */
	MRB_NOTE_REPURGE,			/* caches of its zone must forget again */
} MrbNoteKind;

/* Written in the transaction that moves the endpoint's cursor. */
typedef struct MrbNote
{
	dlist_node	node;			/* in the endpoint's notes */
	struct MrbNote **owner;		/* who may change it before it is written */
	MrbNoteKind kind;
	int64		epoch;
	int			status;
	int			attempts;
	TimestampTz next_try_at;
	char	   *error;
	char	   *deployment_id;
} MrbNote;

/* Endpoints with something to write down. */
extern dlist_head mrb_dirty_endpoints;

/* Whether what is to be written down of the endpoint shall not wait. */
extern bool mrb_dirty_is_urgent(const MrbEndpoint *endpoint);

/* Whether that is so of some; who writes sets it. */
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
