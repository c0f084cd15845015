/*-------------------------------------------------------------------------
 *
 * route_book.c
 *	  Present routes of deployments with pending deliveries.
 *
 * A route in the book does not change and has a reference count: a request in
 * flight and an item that is retried or repeated keep the route that they were
 * made from, while the book already has a newer one.  The book holds only
 * deployments with pending deliveries, so its size depends on the work, not on
 * the number of deployments.
 *
 * The removal of a host is delivered only until a deployment, whichever it is,
 * routes that host again: a late removal would remove the new route.
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
	int			refs;			/* routes that remove it */
	bool		routed_again;
	char		name[FLEXIBLE_ARRAY_MEMBER];
};

typedef struct RemovedHostEntry
{
	char		host[MAX_HOST]; /* hash key */
	MrbRemovedHost *record;
} RemovedHostEntry;

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

static MemoryContext book_context = NULL;
static book_hash *book = NULL;
static HTAB *removed_hosts = NULL;

static MrbRoute *copy_route(const MrbRoute *from, const MrbRoute *old,
							char **removed, int nremoved);
static char *copy_string(char **space, const char *string);
static void add_removed(MrbRoute *route, MrbRemovedHost *host);
static MrbRemovedHost *get_removed_host(const char *host);
static bool mark_routed_again(const MrbRoute *route);

/*
 * Make an empty book.
 */
void
mrb_route_book_init(MemoryContext context)
{
	HASHCTL		info = {
		.keysize = MAX_HOST,
		.entrysize = sizeof(RemovedHostEntry),
		.hcxt = context,
	};

	book_context = context;
	book = book_create(context, 256, NULL);
	removed_hosts = hash_create("miosa_rollback removed hosts", 64, &info,
								HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * The copy replaces the route that the book has of the deployment, if any.
 */
MrbRouteEntry *
mrb_route_book_enter(const MrbRoute *from, char **removed, int nremoved)
{
	bool		found;
	BookSlot   *slot = book_lookup(book, from->deployment_id);
	MrbRouteEntry *entry = slot != NULL ? slot->entry : NULL;
	MrbRoute   *old;

	if (entry == NULL)
	{
		entry = MemoryContextAllocZero(book_context, sizeof(MrbRouteEntry));
		entry->id = MemoryContextStrdup(book_context, from->deployment_id);
		slot = book_insert(book, entry->id, &found);
		slot->entry = entry;
	}
	old = entry->route;
	entry->route = copy_route(from, old, removed, nremoved);

	/* A resync of one endpoint must not lower the epoch for the others. */
	if (old != NULL && old->epoch > from->epoch)
	{
		entry->route->epoch = old->epoch;
		entry->route->since = old->since;
	}
	if (old != NULL)
		mrb_route_book_unref(old);
	if (mark_routed_again(entry->route))
		entry->confirm = true;
	return entry;
}

/*
 * Find the entry of a deployment.
 */
MrbRouteEntry *
mrb_route_book_find(const char *id)
{
	BookSlot   *slot = book_lookup(book, id);

	return slot != NULL ? slot->entry : NULL;
}

/*
 * Items and barriers count as users.
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
 * Free the route with its last reference, and each removed host with its last
 * one.
 */
void
mrb_route_book_unref(MrbRoute *route)
{
	if (--route->refs > 0)
		return;
	for (int i = 0; i < route->nremoved_hosts; i++)
	{
		MrbRemovedHost *host = route->removed_hosts[i];

		if (--host->refs > 0)
			continue;
		if (!host->routed_again)
			hash_search(removed_hosts, host->name, HASH_REMOVE, NULL);
		pfree(host);
	}
	pfree(route);
}

/*
 * The host can have been routed again since the route was copied.
 */
char *
mrb_route_book_removed_host(const MrbRoute *route, int i)
{
	MrbRemovedHost *host = route->removed_hosts[i];

	return host->routed_again ? NULL : host->name;
}

/*
 * Copy a route into one piece of memory in the book's context.  Its removed
 * hosts are those of the old route that are not routed again, and those in
 * removed.
 */
static MrbRoute *
copy_route(const MrbRoute *from, const MrbRoute *old, char **removed,
		   int nremoved)
{
	MrbRoute	copy = *from;
	char	  **const strings[] = {
		&copy.deployment_id, &copy.tenant_id, &copy.deployment_kind,
		&copy.version_id, &copy.version_number, &copy.kind,
		&copy.release_id, &copy.storage_uri, &copy.sha256,
		&copy.operation_id
	};
	int			most = nremoved + (old != NULL ? old->nremoved_hosts : 0);
	Size		size = MAXALIGN(sizeof(MrbRoute)) +
	most * sizeof(MrbRemovedHost *) + copy.hosts.n * sizeof(char *);
	MrbRoute   *route;
	char	   *space;

	for (size_t i = 0; i < lengthof(strings); i++)
		size += *strings[i] != NULL ? strlen(*strings[i]) + 1 : 0;
	for (int i = 0; i < copy.hosts.n; i++)
		size += strlen(copy.hosts.items[i]) + 1;

	route = MemoryContextAlloc(book_context, size);
	space = (char *) route + MAXALIGN(sizeof(MrbRoute));
	copy.removed_hosts = (MrbRemovedHost **) space;
	space += most * sizeof(MrbRemovedHost *);
	copy.hosts.items = (char **) space;
	space += copy.hosts.n * sizeof(char *);
	for (size_t i = 0; i < lengthof(strings); i++)
		*strings[i] = copy_string(&space, *strings[i]);
	for (int i = 0; i < copy.hosts.n; i++)
		copy.hosts.items[i] = copy_string(&space, from->hosts.items[i]);
	copy.refs = 1;
	copy.nremoved_hosts = 0;
	MemSet(&copy.removed, 0, sizeof(MrbStringList));
	*route = copy;

	for (int i = 0; old != NULL && i < old->nremoved_hosts; i++)
		if (!old->removed_hosts[i]->routed_again)
			add_removed(route, old->removed_hosts[i]);
	for (int i = 0; i < nremoved; i++)
		add_removed(route, get_removed_host(removed[i]));
	return route;
}

/*
 * Copy a string, which can be NULL, to *space and advance *space.
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
 * Add a removed host to the route unless it is there already.
 */
static void
add_removed(MrbRoute *route, MrbRemovedHost *host)
{
	for (int i = 0; i < route->nremoved_hosts; i++)
		if (route->removed_hosts[i] == host)
			return;
	host->refs++;
	route->removed_hosts[route->nremoved_hosts++] = host;
}

/*
 * Find the record of a removed host, which all routes share; create it if
 * there is none.
 */
static MrbRemovedHost *
get_removed_host(const char *host)
{
	bool		found;
	RemovedHostEntry *key = hash_search(removed_hosts, host, HASH_ENTER, &found);

	if (!found)
	{
		key->record = MemoryContextAllocZero(book_context,
											 offsetof(MrbRemovedHost, name) +
											 strlen(host) + 1);
		strcpy(key->record->name, host);
	}
	return key->record;
}

/*
 * Mark the route's hosts as routed again.  Returns whether any of them was to
 * be removed.
 */
static bool
mark_routed_again(const MrbRoute *route)
{
	bool		some = false;

	if (hash_get_num_entries(removed_hosts) == 0)
		return false;
	for (int i = 0; i < route->hosts.n; i++)
	{
		RemovedHostEntry *key = hash_search(removed_hosts, route->hosts.items[i],
											HASH_FIND, NULL);

		if (key == NULL)
			continue;
		key->record->routed_again = true;
		hash_search(removed_hosts, route->hosts.items[i], HASH_REMOVE, NULL);
		some = true;
	}
	return some;
}
