/*-------------------------------------------------------------------------
 *
 * dirty.c
 *	  What has to be written down about endpoints, until it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "endpoint/dirty.h"

dlist_head	mrb_dirty_endpoints = DLIST_STATIC_INIT(mrb_dirty_endpoints);
bool		mrb_dirty_urgent = false;

static MemoryContext kept = NULL;

static bool holds_cursor(MrbNoteKind kind);
static void forget_note(MrbNote *note);

void
mrb_dirty_init(MemoryContext context)
{
	kept = context;
}

/*
 * Begin with no notes for an endpoint.
 */
void
mrb_dirty_attach(MrbEndpoint *endpoint)
{
	dlist_init(&endpoint->dirty.notes);
}

/*
 * The endpoint's row, and what others see of it, is no longer what it should
 * be.
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
 * A row that is not there yet, and notes.
 */
bool
mrb_dirty_is_urgent(const MrbEndpoint *endpoint)
{
	return !endpoint->dirty.born || !dlist_is_empty((dlist_head *) &endpoint->dirty.notes);
}

MrbNote *
mrb_dirty_note(MrbEndpoint *endpoint, MrbNote **owner, MrbNoteKind kind,
			   const char *deployment_id)
{
	MrbNote    *note = owner != NULL ? *owner : NULL;

	if (note != NULL && holds_cursor(note->kind))
		endpoint->dirty.held_back--;
	if (holds_cursor(kind))
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
 * Whether others would take too much for done if they saw the cursor before
 * the note is written.
 */
static bool
holds_cursor(MrbNoteKind kind)
{
	return kind == MRB_NOTE_FAILURE || kind == MRB_NOTE_REPURGE;
}

void
mrb_dirty_set_error(MrbNote *note, const char *error)
{
	if (note->error != NULL)
		pfree(note->error);
	note->error = MemoryContextStrdup(kept, error);
}

/*
 * What is written is forgotten.
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
 * The endpoint has a row of its present configuration now, and what others
 * see of it need not be held back any longer.
 */
void
mrb_dirty_written(MrbEndpoint *endpoint)
{
	endpoint->dirty.born = true;
	mrb_dirty_forget(endpoint);
	mrb_endpoint_stats_mark(&endpoint->stats);
}

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
