/*-------------------------------------------------------------------------
 *
 * route_book.c
 *	  Present routes of deployments that some edge has still to be told of.
 *
 * A picture is immutable and counted: requests in flight keep the one that
 * they were made of while the book has gone on, and so do items, for their
 * retries and repeats.  A deployment is in the book only while some edge has
 * still to be told of it, so the size of the book follows the work, not the
 * number of deployments.
 *
 * A removed host is sent as such only until it is routed again, by whichever
 * deployment: a late removal would take the new route away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "route/route_book.h"

#define MAX_HOST 256

struct MrbRemovedHost
{
	int			refs;
	bool		routed_again;
	char		host[FLEXIBLE_ARRAY_MEMBER];
};

typedef struct GoneKey
{
	char		host[MAX_HOST]; /* hash key */
	MrbRemovedHost *gone;
} GoneKey;

typedef struct BookSlot
{
	const char *id;
	MrbRouteEntry *entry;
	uint32		hash;
	char		status;
} BookSlot;

#define SH_PREFIX book
#define SH_ELEMENT_TYPE BookSlot
#define SH_KEY_TYPE const char *
#define SH_KEY id
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static MemoryContext kept = NULL;
static book_hash *book = NULL;
static HTAB *gone_hosts = NULL;

static MrbRoute *copy_route(const MrbRoute *picture, const MrbRoute *old,
							char **removed, int nremoved);
static char *copy_string(char **space, const char *string);
static void add_gone(MrbRoute *route, MrbRemovedHost *gone);
static MrbRemovedHost *find_gone(const char *host);
static bool take_back_gone(const MrbRoute *route);

/*
 * Make an empty book.
 */
void
mrb_route_book_init(MemoryContext context)
{
	HASHCTL		info = {
		.keysize = MAX_HOST,
		.entrysize = sizeof(GoneKey),
		.hcxt = context,
	};

	kept = context;
	book = book_create(context, 256, NULL);
	gone_hosts = hash_create("miosa_rollback removed hosts", 64, &info,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * Replace what the book has of the deployment, if anything.
 */
MrbRouteEntry *
mrb_route_book_enter(const MrbRoute *picture, char **removed, int nremoved)
{
	bool		found;
	BookSlot   *slot = book_lookup(book, picture->deployment_id);
	MrbRouteEntry *entry = slot != NULL ? slot->entry : NULL;
	MrbRoute   *old;

	if (entry == NULL)
	{
		entry = MemoryContextAllocZero(kept, sizeof(MrbRouteEntry));
		entry->id = MemoryContextStrdup(kept, picture->deployment_id);
		slot = book_insert(book, entry->id, &found);
		slot->entry = entry;
	}
	old = entry->route;
	entry->route = copy_route(picture, old, removed, nremoved);

	/* What is read for one endpoint must not look older to the next one. */
	if (old != NULL && old->epoch > picture->epoch)
	{
		entry->route->epoch = old->epoch;
		entry->route->since = old->since;
	}
	if (old != NULL)
		mrb_route_book_unref(old);
	if (take_back_gone(entry->route))
		entry->confirm = true;
	return entry;
}

/*
 * An entry that some item or barrier uses stays.
 */
void
mrb_route_book_release(MrbRouteEntry *entry)
{
	if (entry->users > 0)
		return;
	mrb_route_book_unref(entry->route);
	book_delete(book, entry->id);
	pfree(entry->id);
	pfree(entry);
}

/*
 * Free the picture with its last reference, and its removed hosts with theirs.
 */
void
mrb_route_book_unref(MrbRoute *route)
{
	if (--route->refs > 0)
		return;
	for (int i = 0; i < route->ngone; i++)
	{
		MrbRemovedHost *gone = route->gone[i];

		if (--gone->refs > 0)
			continue;
		if (!gone->routed_again)
			hash_search(gone_hosts, gone->host, HASH_REMOVE, NULL);
		pfree(gone);
	}
	pfree(route);
}

/*
 * Look whether the host has come back since the picture was made.
 */
char *
mrb_route_book_gone_host(const MrbRoute *route, int i)
{
	return route->gone[i]->routed_again ? NULL : route->gone[i]->host;
}

/*
 * Copy a picture into one piece of memory in the book's context.  Removed
 * hosts are those of the old picture, as far as they are not routed again, and
 * those in removed.
 */
static MrbRoute *
copy_route(const MrbRoute *picture, const MrbRoute *old, char **removed,
		   int nremoved)
{
	MrbRoute	copy = *picture;
	char	  **const strings[] = {
		&copy.deployment_id, &copy.tenant_id, &copy.deployment_kind,
		&copy.version_id, &copy.version_number, &copy.kind,
		&copy.release_id, &copy.storage_uri, &copy.sha256,
		&copy.operation_id
	};
	int			ngone = nremoved + (old != NULL ? old->ngone : 0);
	Size		size = MAXALIGN(sizeof(MrbRoute)) +
	ngone * sizeof(MrbRemovedHost *) + copy.hosts.n * sizeof(char *);
	MrbRoute   *route;
	char	   *space;

	for (size_t i = 0; i < lengthof(strings); i++)
		size += *strings[i] != NULL ? strlen(*strings[i]) + 1 : 0;
	for (int i = 0; i < copy.hosts.n; i++)
		size += strlen(copy.hosts.items[i]) + 1;

	route = MemoryContextAlloc(kept, size);
	space = (char *) route + MAXALIGN(sizeof(MrbRoute));
	copy.gone = (MrbRemovedHost **) space;
	space += ngone * sizeof(MrbRemovedHost *);
	copy.hosts.items = (char **) space;
	space += copy.hosts.n * sizeof(char *);
	for (size_t i = 0; i < lengthof(strings); i++)
		*strings[i] = copy_string(&space, *strings[i]);
	for (int i = 0; i < copy.hosts.n; i++)
		copy.hosts.items[i] = copy_string(&space, picture->hosts.items[i]);
	copy.refs = 1;
	copy.ngone = 0;
	MemSet(&copy.removed, 0, sizeof(MrbStringList));
	*route = copy;

	for (int i = 0; old != NULL && i < old->ngone; i++)
		if (!old->gone[i]->routed_again)
			add_gone(route, old->gone[i]);
	for (int i = 0; i < nremoved; i++)
		add_gone(route, find_gone(removed[i]));
	return route;
}

/*
 * Copy a string, which may be NULL, to *space and advance that.
 */
static char *
copy_string(char **space, const char *string)
{
	char	   *copy = *space;
	Size		size;

	if (string == NULL)
		return NULL;
	size = strlen(string) + 1;
	memcpy(copy, string, size);
	*space += size;
	return copy;
}

/*
 * Add a removed host to the picture, once.
 */
static void
add_gone(MrbRoute *route, MrbRemovedHost *gone)
{
	for (int i = 0; i < route->ngone; i++)
		if (route->gone[i] == gone)
			return;
	gone->refs++;
	route->gone[route->ngone++] = gone;
}

/*
 * The one record of a removed host, made when missing.
 */
static MrbRemovedHost *
find_gone(const char *host)
{
	bool		found;
	GoneKey    *key = hash_search(gone_hosts, host, HASH_ENTER, &found);

	if (!found)
	{
		key->gone = MemoryContextAllocZero(kept, offsetof(MrbRemovedHost, host) +
										   strlen(host) + 1);
		strcpy(key->gone->host, host);
	}
	return key->gone;
}

/*
 * Hosts of this picture are routed again; whether some were to be removed.
 */
static bool
take_back_gone(const MrbRoute *route)
{
	bool		some = false;

	if (hash_get_num_entries(gone_hosts) == 0)
		return false;
	for (int i = 0; i < route->hosts.n; i++)
	{
		GoneKey    *key = hash_search(gone_hosts, route->hosts.items[i],
									  HASH_FIND, NULL);

		if (key == NULL)
			continue;
		key->gone->routed_again = true;
		hash_search(gone_hosts, route->hosts.items[i], HASH_REMOVE, NULL);
		some = true;
	}
	return some;
}
