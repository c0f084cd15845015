/*-------------------------------------------------------------------------
 *
 * artifact_batch.c
 *	  Check the artifacts of many versions, asking storage for many at a time.
 *
 * Each request has the time-out of a single check, from its own start.  Storage
 * is asked once for an artifact that several versions have, as a fleet has.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "artifact/artifact.h"
#include "artifact/artifact_batch.h"
#include "artifact/artifact_http.h"
#include "http/http_call.h"

/* What storage is asked: whether it has a URI, of a size. */
typedef struct BatchKey
{
	const char *uri;
	int64		size;
} BatchKey;

typedef struct BatchEntry
{
	BatchKey	key;
	MrbArtifactHttp *probe;
	MrbArtifactCheck check;
	bool		done;
} BatchEntry;

struct MrbArtifactBatch
{
	MemoryContext context;
	HTAB	   *entries;
	List	   *waiting;		/* of BatchEntry, not asked yet */
	int			started;		/* of these */
};

static uint32 hash_key(const void *key, Size size);
static int	compare_keys(const void *one, const void *other, Size size);
static const MrbHttpRequest *next_request(void *arg);
static const MrbHttpRequest *take_answer(void *arg, const MrbHttpAnswer *answer);

/*
 * Create a batch.
 */
MrbArtifactBatch *
mrb_artifact_batch_create(void)
{
	MrbArtifactBatch *batch = palloc0(sizeof(MrbArtifactBatch));
	HASHCTL		info = {
		.keysize = sizeof(BatchKey),
		.entrysize = sizeof(BatchEntry),
		.hash = hash_key,
		.match = compare_keys,
		.hcxt = CurrentMemoryContext,
	};

	batch->context = CurrentMemoryContext;
	batch->entries = hash_create("miosa_rollback artifacts", 64, &info,
								 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
								 HASH_CONTEXT);
	return batch;
}

/*
 * Check an artifact, as far as that needs no wait.
 */
bool
mrb_artifact_batch_verify(MrbArtifactBatch *batch, const MrbArtifact *artifact,
						  bool ask, MrbArtifactCheck *check)
{
	BatchKey	key = {.uri = artifact->uri,.size = artifact->size};
	MemoryContext caller;
	MrbArtifact copy = *artifact;
	MrbArtifactHttp *probe;
	BatchEntry *entry;
	bool		found;

	if (!ask && mrb_artifact_read_recent(artifact, check))
		return true;
	entry = hash_search(batch->entries, &key, HASH_FIND, NULL);
	if (entry != NULL)
	{
		*check = entry->check;
		mrb_artifact_grant_grace(artifact, check);
		return entry->done;
	}
	caller = MemoryContextSwitchTo(batch->context);
	copy.uri = pstrdup(artifact->uri);
	probe = mrb_artifact_begin(&copy, check);
	if (probe != NULL)
	{
		key.uri = copy.uri;
		entry = hash_search(batch->entries, &key, HASH_ENTER, &found);
		entry->probe = probe;
		entry->done = false;
		memset(&entry->check, 0, sizeof(entry->check));
		probe->request.owner = entry;
		batch->waiting = lappend(batch->waiting, entry);
	}
	MemoryContextSwitchTo(caller);
	if (probe == NULL)
		mrb_artifact_grant_grace(artifact, check);
	return probe == NULL;
}

/*
 * Make the requests of the batch.
 */
void
mrb_artifact_batch_run(MrbArtifactBatch *batch)
{
	MrbHttpCalls calls = {
		.next = next_request,
		.answered = take_answer,
		.arg = batch,
	};

	batch->started = 0;
	mrb_http_call_many(&calls);
	list_free(batch->waiting);
	batch->waiting = NIL;
}

/*
 * Hash a key.
 */
static uint32
hash_key(const void *key, Size size)
{
	const BatchKey *it = key;

	return hash_bytes((const unsigned char *) it->uri, strlen(it->uri)) ^
		hash_bytes_uint32((uint32) it->size);
}

/*
 * Compare two keys; 0 when they are equal.
 */
static int
compare_keys(const void *one, const void *other, Size size)
{
	const BatchKey *a = one;
	const BatchKey *b = other;

	return a->size == b->size ? strcmp(a->uri, b->uri) : 1;
}

/*
 * Return the next request of the batch; NULL: there is none.
 */
static const MrbHttpRequest *
next_request(void *arg)
{
	MrbArtifactBatch *batch = arg;
	BatchEntry *entry;

	if (batch->started == list_length(batch->waiting))
		return NULL;
	entry = list_nth(batch->waiting, batch->started++);
	return &entry->probe->request;
}

/*
 * Judge an answer, unless it leads to a second request, which is returned.
 */
static const MrbHttpRequest *
take_answer(void *arg, const MrbHttpAnswer *answer)
{
	MrbArtifactBatch *batch = arg;
	BatchEntry *entry = answer->owner;
	MemoryContext caller = MemoryContextSwitchTo(batch->context);
	bool		again = mrb_artifact_http_again(entry->probe, answer);

	if (!again)
	{
		mrb_artifact_http_judge(entry->probe, answer, &entry->check);
		entry->done = true;
	}
	MemoryContextSwitchTo(caller);
	return again ? &entry->probe->request : NULL;
}
