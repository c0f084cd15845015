/*-------------------------------------------------------------------------
 *
 * route.c
 *	  What edges are told: pictures of routes, and the book of the present
 *	  ones.
 *
 * A picture and its epoch are read in one snapshot and travel together.  A
 * picture is immutable and counted: requests in flight keep the one they were
 * made of while the book has gone on, and so do items, for their tries and
 * repeats.  A deployment is in the book only while
 * somebody has still to be told of it, so its size follows the work, not the
 * number of deployments.
 *
 * A removed host is told as such only until it is routed again, by whichever
 * deployment: a removal that came late would take the new route away.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "query.h"
#include "route.h"

#define MAX_HOST 256

/* The strings of a picture, which stand in a row. */
#define ROUTE_STRINGS \
	((int) ((offsetof(MrbRoute, hosts) - offsetof(MrbRoute, deployment_id)) / \
			sizeof(char *)))

struct MrbGone
{
	int			refs;
	bool		routed_again;
	char		host[FLEXIBLE_ARRAY_MEMBER];
};

typedef struct GoneKey
{
	char		host[MAX_HOST]; /* hash key */
	MrbGone    *gone;
} GoneKey;

typedef struct BookSlot
{
	const char *id;
	MrbEntry   *entry;
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

#define ROUTE_COLUMNS(id, epoch, removed) \
	"SELECT " id ", p.tenant_id, p.kind, r.version_id," \
	" r.version_number::text, r.kind, r.release_id, r.storage_uri, r.sha256," \
	" CASE WHEN p.seq > 0 THEN p.id || '#' || p.seq::text END," \
	" ARRAY(SELECT h.host FROM miosa.hosts h WHERE h.deployment_id = p.id" \
	" ORDER BY h.host LIKE '*.%', h.host COLLATE \"C\"), p.updated_at," \
	" " epoch ", " removed

static MrbQuery read_query = {
	.sql = ROUTE_COLUMNS("p.id", "0::pg_catalog.int8", "NULL::text[]")
	" FROM miosa.deployments p JOIN miosa.routes r ON r.deployment_id = p.id"
	" WHERE p.id = ANY ($1)",
	.nargs = 1,
	.argtypes = {TEXTARRAYOID},
};

/* Of what was trimmed from the log, it is only known how new it can be. */
#define LAST_CHANGE \
	"coalesce((SELECT max(l.epoch) FROM miosa.route_log l" \
	" WHERE l.deployment_id = k.id)," \
	" (SELECT s.trimmed_epoch FROM miosa.dispatcher_state s))"

#define REMOVED_HOSTS \
	"ARRAY(SELECT h.host FROM miosa.removed_hosts h" \
	" WHERE h.deployment_id = k.id AND NOT " MRB_HOST_IS_ROUTED("h.host") ")"

static MrbQuery read_after_query = {
	.sql = ROUTE_COLUMNS("k.id", LAST_CHANGE, REMOVED_HOSTS)
	" FROM ((SELECT d.id FROM miosa.deployments d WHERE d.id > $1"
	" ORDER BY d.id LIMIT $2)"
	" UNION (SELECT h.deployment_id FROM miosa.removed_hosts h"
	" WHERE h.deployment_id > $1 GROUP BY h.deployment_id"
	" ORDER BY h.deployment_id LIMIT $2)"
	" ORDER BY 1 LIMIT $2) k"
	" LEFT JOIN miosa.deployments p ON p.id = k.id"
	" LEFT JOIN miosa.routes r ON r.deployment_id = p.id ORDER BY k.id",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static MemoryContext kept = NULL;
static book_hash *book = NULL;
static HTAB *gone_hosts = NULL;

static MrbRoute *fetch_routes(int n, MemoryContext context);
static void fetch_hosts(int row, int column, MrbList *hosts, MemoryContext context);
static MrbRoute *keep(const MrbRoute *picture, const MrbRoute *old,
					  char **removed, int nremoved);
static char *copy_string(char **space, const char *text);
static void add_gone(MrbRoute *route, MrbGone *gone);
static MrbGone *find_gone(const char *host);
static bool take_back_gone(const MrbRoute *route);

void
mrb_route_init(MemoryContext context)
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

MrbRoute *
mrb_route_read(char **ids, int n, int *found)
{
	MemoryContext context = CurrentMemoryContext;
	Datum	   *elements = palloc(n * sizeof(Datum));
	Datum		arg;
	MrbRoute   *routes;

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(ids[i]);
	arg = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false,
										  TYPALIGN_INT));
	mrb_query_open();
	*found = mrb_query_run(&read_query, &arg, NULL);
	routes = fetch_routes(*found, context);
	mrb_query_close();
	return routes;
}

MrbRoute *
mrb_route_read_after(const char *id, int limit, int *found)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[2] = {CStringGetTextDatum(id), Int32GetDatum(limit)};
	MrbRoute   *routes;

	mrb_query_open();
	*found = mrb_query_run(&read_after_query, args, NULL);
	routes = fetch_routes(*found, context);
	mrb_query_close();
	return routes;
}

MrbEntry *
mrb_route_enter(const MrbRoute *picture, char **removed, int nremoved)
{
	bool		found;
	BookSlot   *slot = book_lookup(book, picture->deployment_id);
	MrbEntry   *entry = slot != NULL ? slot->entry : NULL;
	MrbRoute   *old;

	if (entry == NULL)
	{
		entry = MemoryContextAllocZero(kept, sizeof(MrbEntry));
		entry->id = MemoryContextStrdup(kept, picture->deployment_id);
		slot = book_insert(book, entry->id, &found);
		slot->entry = entry;
	}
	old = entry->route;
	entry->route = keep(picture, old, removed, nremoved);

	/* What is read for one endpoint must not look older to the next one. */
	if (old != NULL && old->epoch > picture->epoch)
	{
		entry->route->epoch = old->epoch;
		entry->route->since = old->since;
	}
	if (old != NULL)
		mrb_route_unref(old);
	if (take_back_gone(entry->route))
		entry->confirm = true;
	return entry;
}

void
mrb_route_release(MrbEntry *entry)
{
	if (entry->users > 0)
		return;
	mrb_route_unref(entry->route);
	book_delete(book, entry->id);
	pfree(entry->id);
	pfree(entry);
}

void
mrb_route_unref(MrbRoute *route)
{
	if (--route->refs > 0)
		return;
	for (int i = 0; i < route->ngone; i++)
	{
		MrbGone    *gone = route->gone[i];

		if (--gone->refs > 0)
			continue;
		if (!gone->routed_again)
			hash_search(gone_hosts, gone->host, HASH_REMOVE, NULL);
		pfree(gone);
	}
	pfree(route);
}

char *
mrb_route_changed_at(const MrbRoute *route, char *buffer)
{
	TimestampTz at = route->since != 0 ? route->since : route->updated_at;
	struct pg_tm tm;
	fsec_t		fsec;

	if (at == 0 || timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		return NULL;
	snprintf(buffer, MRB_ROUTE_TIME_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
			 tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min,
			 tm.tm_sec, (int) fsec);
	return buffer;
}

bool
mrb_route_is_wildcard(const char *host)
{
	return host[0] == '*';
}

char *
mrb_route_gone_host(const MrbRoute *route, int i)
{
	return route->gone[i]->routed_again ? NULL : route->gone[i]->host;
}

/*
 * Make pictures of the last result, in the context of the caller.
 */
static MrbRoute *
fetch_routes(int n, MemoryContext context)
{
	MrbRoute   *routes = MemoryContextAllocZero(context,
												Max(n, 1) * sizeof(MrbRoute));

	for (int i = 0; i < n; i++)
	{
		MrbRoute   *route = &routes[i];

		route->deployment_id = mrb_query_text(i, 1);
		route->tenant_id = mrb_query_text(i, 2);
		route->deployment_kind = mrb_query_text(i, 3);
		route->version_id = mrb_query_text(i, 4);
		route->version_number = mrb_query_text(i, 5);
		route->kind = mrb_query_text(i, 6);
		route->release_id = mrb_query_text(i, 7);
		route->storage_uri = mrb_query_text(i, 8);
		route->sha256 = mrb_query_text(i, 9);
		route->operation_id = mrb_query_text(i, 10);
		fetch_hosts(i, 11, &route->hosts, context);
		fetch_hosts(i, 14, &route->removed, context);
		route->updated_at = mrb_query_timestamp(i, 12, 0);
		route->epoch = mrb_query_int64(i, 13, 0);
	}
	return routes;
}

static void
fetch_hosts(int row, int column, MrbList *hosts, MemoryContext context)
{
	bool		isnull;
	Datum		array = mrb_query_datum(row, column, &isnull);
	Datum	   *elements;
	MemoryContext old;

	if (isnull)
		return;
	old = MemoryContextSwitchTo(context);
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, &hosts->n);
	hosts->items = palloc(Max(hosts->n, 1) * sizeof(char *));
	for (int i = 0; i < hosts->n; i++)
		hosts->items[i] = TextDatumGetCString(elements[i]);
	MemoryContextSwitchTo(old);
}

/*
 * A lasting copy, in one piece of memory.  What the old picture had still to
 * remove is taken over.
 */
static MrbRoute *
keep(const MrbRoute *picture, const MrbRoute *old, char **removed,
	 int nremoved)
{
	int			ngone = nremoved + (old != NULL ? old->ngone : 0);
	Size		size = MAXALIGN(sizeof(MrbRoute)) +
	ngone * sizeof(MrbGone *) + picture->hosts.n * sizeof(char *);
	const char *const *from = (const char *const *) &picture->deployment_id;
	int			nstrings = ROUTE_STRINGS;
	MrbRoute   *route;
	char	   *space;

	for (int i = 0; i < nstrings; i++)
		size += from[i] != NULL ? strlen(from[i]) + 1 : 0;
	for (int i = 0; i < picture->hosts.n; i++)
		size += strlen(picture->hosts.items[i]) + 1;

	route = MemoryContextAlloc(kept, size);
	*route = *picture;
	route->refs = 1;
	MemSet(&route->removed, 0, sizeof(MrbList));
	space = (char *) route + MAXALIGN(sizeof(MrbRoute));
	route->gone = (MrbGone **) space;
	space += ngone * sizeof(MrbGone *);
	route->hosts.items = (char **) space;
	space += picture->hosts.n * sizeof(char *);
	for (int i = 0; i < nstrings; i++)
		(&route->deployment_id)[i] = copy_string(&space, from[i]);
	for (int i = 0; i < picture->hosts.n; i++)
		route->hosts.items[i] = copy_string(&space, picture->hosts.items[i]);

	route->ngone = 0;
	for (int i = 0; old != NULL && i < old->ngone; i++)
		if (!old->gone[i]->routed_again)
			add_gone(route, old->gone[i]);
	for (int i = 0; i < nremoved; i++)
		add_gone(route, find_gone(removed[i]));
	return route;
}

static char *
copy_string(char **space, const char *text)
{
	char	   *copy = *space;

	if (text == NULL)
		return NULL;
	strcpy(copy, text);
	*space += strlen(text) + 1;
	return copy;
}

static void
add_gone(MrbRoute *route, MrbGone *gone)
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
static MrbGone *
find_gone(const char *host)
{
	bool		found;
	GoneKey    *key = hash_search(gone_hosts, host, HASH_ENTER, &found);

	if (!found)
	{
		key->gone = MemoryContextAllocZero(kept, offsetof(MrbGone, host) +
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
