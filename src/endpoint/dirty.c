/*-------------------------------------------------------------------------
 *
 * dirty.c
 *	  Changes of endpoints that are not written into tables yet.
 *
 * An endpoint is dirty when its row, or what is published of it, is out of
 * date.  Notes are what else has to be written: deployments that it rejects,
 * or accepts again, and purges to repeat.  flush.c decides when all of this is
 * written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "endpoint/dirty.h"

dlist_head	mrb_dirty_endpoints = DLIST_STATIC_INIT(mrb_dirty_endpoints);
bool		mrb_dirty_urgent = false;

static MemoryContext kept = NULL;

static bool holds_back(MrbNoteKind kind);
static void forget_note(MrbNote *note);

/*
 * Set up the module; notes live in the context.
 */
void
mrb_dirty_init(MemoryContext context)
{
	kept = context;
}

/*
 * Initialize the notes of a new endpoint.
 */
void
mrb_dirty_attach(MrbEndpoint *endpoint)
{
	dlist_init(&endpoint->dirty.notes);
}

/*
 * Have the endpoint's row written, and its position published.
 */
void
mrb_dirty_mark(MrbEndpoint *endpoint)
{
	mrb_endpoint_stats_mark(&endpoint->stats);
	mrb_dirty_urgent |= mrb_dirty_is_urgent(endpoint);
	if (endpoint->dirty.listed)
		return;
	endpoint->dirty.listed = true;
	dlist_push_tail(&mrb_dirty_endpoints, &endpoint->dirty.node);
}

/*
 * A missing row is urgent, because a restart would resynchronize the
 * endpoint, and so are notes, because they hold its position back.
 */
bool
mrb_dirty_is_urgent(const MrbEndpoint *endpoint)
{
	return !endpoint->dirty.has_row || !dlist_is_empty((dlist_head *) &endpoint->dirty.notes);
}

/*
 * Add a note about a deployment, or reuse the one that *owner points to, if
 * it is not written yet.  Without an owner each note is a new one.
 */
MrbNote *
mrb_dirty_note(MrbEndpoint *endpoint, MrbNote **owner, MrbNoteKind kind,
			   const char *deployment_id)
{
	MrbNote    *note = owner != NULL ? *owner : NULL;

	if (note != NULL && holds_back(note->kind))
		endpoint->dirty.held_back--;
	if (holds_back(kind))
		endpoint->dirty.held_back++;
	if (note == NULL)
	{
		note = MemoryContextAllocZero(kept, sizeof(MrbNote));
		note->owner = owner;
		note->deployment_id = MemoryContextStrdup(kept, deployment_id);
		if (owner != NULL)
			*owner = note;
		dlist_push_tail(&endpoint->dirty.notes, &note->node);
	}
	note->kind = kind;
	mrb_dirty_mark(endpoint);
	return note;
}

/*
 * Whether the endpoint's position must not be published before the note is
 * written: it passes the deployment of the note, which is not delivered.
 */
static bool
holds_back(MrbNoteKind kind)
{
	return kind == MRB_NOTE_FAILURE || kind == MRB_NOTE_REPURGE;
}

/*
 * Replace the error message of a note.
 */
void
mrb_dirty_set_error(MrbNote *note, const char *error)
{
	if (note->error != NULL)
		pfree(note->error);
	note->error = MemoryContextStrdup(kept, error);
}

/*
 * Free a note, and tell its owner by setting the owner's pointer to NULL.
 */
static void
forget_note(MrbNote *note)
{
	if (note->owner != NULL)
		*note->owner = NULL;
	dlist_delete(&note->node);
	if (note->error != NULL)
		pfree(note->error);
	pfree(note->deployment_id);
	pfree(note);
}

/*
 * Move the endpoint to the end of the list.
 */
void
mrb_dirty_requeue(MrbEndpoint *endpoint)
{
	dlist_delete(&endpoint->dirty.node);
	dlist_push_tail(&mrb_dirty_endpoints, &endpoint->dirty.node);
}

/*
 * The endpoint's row is of its present configuration now, and its position
 * need not be held back any longer.
 */
void
mrb_dirty_written(MrbEndpoint *endpoint)
{
	endpoint->dirty.has_row = true;
	mrb_dirty_forget(endpoint);
	mrb_endpoint_stats_mark(&endpoint->stats);
}

/*
 * Drop all changes of the endpoint.
 */
void
mrb_dirty_forget(MrbEndpoint *endpoint)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &endpoint->dirty.notes)
		forget_note(dlist_container(MrbNote, node, iter.cur));
	endpoint->dirty.held_back = 0;
	if (endpoint->dirty.listed)
		dlist_delete(&endpoint->dirty.node);
	endpoint->dirty.listed = false;
}
