/*-------------------------------------------------------------------------
 *
 * ledger.c
 *	  What has to be written down about endpoints, until it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ledger.h"

dlist_head	mrb_ledger_dirty = DLIST_STATIC_INIT(mrb_ledger_dirty);

static MemoryContext kept = NULL;

static void forget_note(MrbNote *note);

void
mrb_ledger_init(MemoryContext context)
{
	kept = context;
}

/*
 * The endpoint's row is no longer what it should be.
 */
void
mrb_ledger_mark(MrbEndpoint *endpoint)
{
	if (endpoint->dirty)
		return;
	endpoint->dirty = true;
	dlist_push_tail(&mrb_ledger_dirty, &endpoint->dirty_node);
}

MrbNote *
mrb_ledger_note(MrbEndpoint *endpoint, MrbNote **owner, MrbNoteKind kind,
				const char *deployment_id)
{
	MrbNote    *note = owner != NULL ? *owner : NULL;

	mrb_ledger_mark(endpoint);
	if (note == NULL)
	{
		note = MemoryContextAllocZero(kept, sizeof(MrbNote));
		note->owner = owner;
		note->deployment_id = MemoryContextStrdup(kept, deployment_id);
		if (owner != NULL)
			*owner = note;
		dlist_push_tail(&endpoint->notes, &note->node);
	}
	note->kind = kind;
	return note;
}

void
mrb_ledger_set_error(MrbNote *note, const char *error)
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

void
mrb_ledger_forget(MrbEndpoint *endpoint)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &endpoint->notes)
		forget_note(dlist_container(MrbNote, node, iter.cur));
	if (endpoint->dirty)
		dlist_delete(&endpoint->dirty_node);
	endpoint->dirty = false;
}
