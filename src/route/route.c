/*-------------------------------------------------------------------------
 *
 * route.c
 *	  Reads routes as edges receive them.
 *
 * A route and its epoch are read in one snapshot and stay together.
 *
 * Each route is read by its keys, without a query: a statement that joined the
 * views miosa.routes and miosa.hosts was a quarter of the processor time of a
 * delivery.  What is read here is what these views show.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/index_lookup.h"
#include "common/iso_time.h"
#include "common/query.h"
#include "route/route.h"

enum
{
	DEPLOYMENT_TENANT,
	DEPLOYMENT_SLUG,
	DEPLOYMENT_KIND,
	DEPLOYMENT_ACTIVE,
	DEPLOYMENT_SERVING,
	DEPLOYMENT_SEQ,
	DEPLOYMENT_ROUTE_SEQ,
	DEPLOYMENT_UPDATED
};

static MrbIndexLookup deployment_row = {
	.table.name = "deployments",
	.table.index = "deployments_pkey",
	.table.columns = {
		[DEPLOYMENT_TENANT] = "tenant_id",
		[DEPLOYMENT_SLUG] = "slug",
		[DEPLOYMENT_KIND] = "kind",
		[DEPLOYMENT_ACTIVE] = "active_version_id",
		[DEPLOYMENT_SERVING] = "serving_version_id",
		[DEPLOYMENT_SEQ] = "seq",
		[DEPLOYMENT_ROUTE_SEQ] = "route_seq",
		[DEPLOYMENT_UPDATED] = "updated_at",
	},
	.table.types = {
		[DEPLOYMENT_SEQ] = INT8OID,
		[DEPLOYMENT_ROUTE_SEQ] = INT8OID,
		[DEPLOYMENT_UPDATED] = TIMESTAMPTZOID,
	},
};

enum
{
	VERSION_NUMBER,
	VERSION_KIND
};

static MrbIndexLookup version_row = {
	.table.name = "versions",
	.table.index = "versions_pkey",
	.table.columns = {
		[VERSION_NUMBER] = "version_number",
		[VERSION_KIND] = "kind",
	},
	.table.types = {[VERSION_NUMBER] = INT4OID},
};

enum
{
	RELEASE_ID,
	RELEASE_URI,
	RELEASE_SHA256
};

static MrbIndexLookup release_row = {
	.table.name = "releases",
	.table.index = "releases_deployment_id_deployment_version_id_key",
	.table.columns = {
		[RELEASE_ID] = "id",
		[RELEASE_URI] = "storage_uri",
		[RELEASE_SHA256] = "sha256",
	},
};

enum
{
	TENANT_SLUG
};

static MrbIndexLookup tenant_row = {
	.table.name = "tenants",
	.table.index = "tenants_pkey",
	.table.columns = {[TENANT_SLUG] = "slug"},
};

enum
{
	DOMAIN_FQDN,
	DOMAIN_STATE
};

/* The domains of a deployment. */
static MrbIndexLookup domain_row = {
	.table.name = "domains",
	.table.index = "domains_deployment",
	.table.columns = {
		[DOMAIN_FQDN] = "fqdn",
		[DOMAIN_STATE] = "state",
	},
};

/* The domain of a host. */
static MrbIndexLookup host_row = {
	.table.name = "domains",
	.table.index = "domains_pkey",
	.table.columns = {
		[DOMAIN_FQDN] = "fqdn",
		[DOMAIN_STATE] = "state",
	},
};

/*
 * The epoch of a deployment's last change.  If that was trimmed from the log,
 * it is at most the epoch up to which the log was trimmed.
 */
#define LAST_CHANGE \
	"coalesce((SELECT max(l.epoch) FROM miosa.route_log l" \
	" WHERE l.deployment_id = k.id)," \
	" (SELECT s.trimmed_epoch FROM miosa.dispatcher_state s))"

#define REMOVED_HOSTS \
	"ARRAY(SELECT h.host FROM miosa.removed_hosts h" \
	" WHERE h.deployment_id = k.id AND NOT " MRB_HOST_IS_ROUTED("h.host") ")"

/* Columns of after_query. */
enum
{
	AFTER_DEPLOYMENT_ID = 1,
	AFTER_EPOCH,
	AFTER_REMOVED_HOSTS
};

/* It has the snapshot in which the routes are read. */
static MrbQuery after_query = {
	.sql = "SELECT k.id, " LAST_CHANGE ", " REMOVED_HOSTS
	" FROM ((SELECT d.id FROM miosa.deployments d WHERE d.id > $1"
	" ORDER BY d.id LIMIT $2)"
	" UNION (SELECT h.deployment_id FROM miosa.removed_hosts h"
	" WHERE h.deployment_id > $1 GROUP BY h.deployment_id"
	" ORDER BY h.deployment_id LIMIT $2)"
	" ORDER BY 1 LIMIT $2) k ORDER BY k.id",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
	.read_only = true,
};

/* Hosts of a deployment while they are read. */
typedef struct HostReader
{
	MrbStringList *hosts;
	int			size;			/* of the list */
} HostReader;

/* The tenant of the last deployment, which many in a row can have. */
typedef struct Tenant
{
	const char *id;				/* NULL: none was read yet */
	char	   *slug;			/* NULL: the tenant does not exist */
} Tenant;

static void read_routes(MrbRoute *routes, int n);
static void read_route(MrbRoute *route, Tenant *tenant);
static void read_version(const char *version_id, MrbRoute *route);
static void read_hosts(const char *slug, const char *tenant_slug,
					   MrbRoute *route);
static void read_domain(MrbIndexLookup *row, void *arg);
static void read_tenant(const char *id, Tenant *tenant);
static char *managed_host(const char *slug, const char *tenant_slug);
static bool is_domain(const char *host);
static void add_host(HostReader *reader, char *host);
static int	compare_hosts(const void *a, const void *b);
static int	compare_ids(const void *a, const void *b);
static void fetch_hosts(int row, int column, MrbStringList *hosts,
						MemoryContext context);

/*
 * Whether a route has a host.
 */
bool
mrb_route_has_host(const MrbRoute *route, const char *host)
{
	for (int i = 0; i < route->hosts.n; i++)
	{
		if (strcmp(route->hosts.items[i], host) == 0)
			return true;
	}
	return false;
}

/*
 * Deployments that do not exist are left out.
 */
MrbRoute *
mrb_route_read(char **ids, int n, int *found)
{
	MrbRoute   *routes;

	mrb_index_lookup_begin();
	routes = mrb_route_read_active(ids, n, found);
	mrb_index_lookup_end();
	return routes;
}

/*
 * Read in the active snapshot.
 */
MrbRoute *
mrb_route_read_active(char **ids, int n, int *found)
{
	char	  **sorted = palloc(Max(n, 1) * sizeof(char *));
	MrbRoute   *routes = palloc0(Max(n, 1) * sizeof(MrbRoute));
	int			different = 0;

	memcpy(sorted, ids, n * sizeof(char *));
	qsort(sorted, n, sizeof(char *), compare_ids);
	for (int i = 0; i < n; i++)
		if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
			routes[different++].deployment_id = sorted[i];

	read_routes(routes, different);
	*found = 0;
	for (int i = 0; i < different; i++)
		if (routes[i].tenant_id != NULL)
			routes[(*found)++] = routes[i];
	return routes;
}

/*
 * A deleted deployment with removed hosts has a route without tenant.
 */
MrbRoute *
mrb_route_read_after(const char *id, int limit, int *found)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		args[2] = {CStringGetTextDatum(id), Int32GetDatum(limit)};
	MrbRoute   *routes;

	mrb_query_open();
	*found = mrb_query_run(&after_query, args, NULL);
	routes = MemoryContextAllocZero(context,
									Max(*found, 1) * sizeof(MrbRoute));
	for (int i = 0; i < *found; i++)
	{
		routes[i].deployment_id = mrb_query_text(i, AFTER_DEPLOYMENT_ID);
		routes[i].epoch = mrb_query_int64(i, AFTER_EPOCH, 0);
		fetch_hosts(i, AFTER_REMOVED_HOSTS, &routes[i].removed, context);
	}
	mrb_query_close();
	read_routes(routes, *found);
	return routes;
}

/*
 * The time is that of the change, or of the deployment's last change where the
 * route was not read for one.
 */
char *
mrb_route_changed_at(const MrbRoute *route, char *buffer)
{
	TimestampTz at = route->since != 0 ? route->since : route->updated_at;

	return at != 0 ? mrb_iso_time_write(at, buffer) : NULL;
}

/*
 * Hosts are validated on input, so a "*" at the start is a whole label.
 */
bool
mrb_route_is_wildcard(const char *host)
{
	return host[0] == '*';
}

/*
 * Read routes of deployments in the active snapshot.
 */
static void
read_routes(MrbRoute *routes, int n)
{
	Tenant		tenant = {NULL, NULL};

	mrb_index_lookup_keep();
	PG_TRY();
	{
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			read_route(&routes[i], &tenant);
		}
		mrb_index_lookup_close_kept();
	}
	PG_CATCH();
	{
		mrb_index_lookup_forget_kept();
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Read the route of a deployment; it stays without tenant if the deployment
 * does not exist.
 */
static void
read_route(MrbRoute *route, Tenant *tenant)
{
	char	   *version_id;
	char	   *slug;
	int64		seq;

	if (!mrb_index_lookup_find(&deployment_row, route->deployment_id, NULL))
		return;
	route->tenant_id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_TENANT);
	route->deployment_kind = mrb_index_lookup_text(&deployment_row,
												   DEPLOYMENT_KIND);
	slug = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_SLUG);
	version_id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_SERVING);
	if (version_id == NULL)
		version_id = mrb_index_lookup_text(&deployment_row, DEPLOYMENT_ACTIVE);
	seq = mrb_index_lookup_int64(&deployment_row, DEPLOYMENT_SEQ);
	route->route_seq = mrb_index_lookup_int64(&deployment_row,
											  DEPLOYMENT_ROUTE_SEQ);
	route->updated_at = mrb_index_lookup_timestamp(&deployment_row,
												   DEPLOYMENT_UPDATED);
	mrb_index_lookup_close(&deployment_row);

	if (seq > 0)
		route->operation_id = psprintf("%s#" INT64_FORMAT,
									   route->deployment_id, seq);
	if (version_id != NULL)
		read_version(version_id, route);
	if (tenant->id == NULL || strcmp(tenant->id, route->tenant_id) != 0)
		read_tenant(route->tenant_id, tenant);
	read_hosts(slug, tenant->slug, route);
}

/*
 * Read the version that serves, and its release.
 */
static void
read_version(const char *version_id, MrbRoute *route)
{
	if (!mrb_index_lookup_find(&version_row, route->deployment_id, version_id))
		return;
	route->version_id = pstrdup(version_id);
	route->version_number = palloc(12);
	pg_ltoa(mrb_index_lookup_int32(&version_row, VERSION_NUMBER),
			route->version_number);
	route->kind = mrb_index_lookup_text(&version_row, VERSION_KIND);
	mrb_index_lookup_close(&version_row);

	if (!mrb_index_lookup_find(&release_row, route->deployment_id, version_id))
		return;
	route->release_id = mrb_index_lookup_text(&release_row, RELEASE_ID);
	route->storage_uri = mrb_index_lookup_text(&release_row, RELEASE_URI);
	route->sha256 = mrb_index_lookup_text(&release_row, RELEASE_SHA256);
	mrb_index_lookup_close(&release_row);
}

/*
 * Read the active domains, and the managed host if no domain has its name.
 */
static void
read_hosts(const char *slug, const char *tenant_slug, MrbRoute *route)
{
	HostReader	reader = {.hosts = &route->hosts};
	char	   *host;

	mrb_index_lookup_each(&domain_row, route->deployment_id, read_domain,
						  &reader);
	host = managed_host(slug, tenant_slug);
	if (host != NULL && !is_domain(host))
		add_host(&reader, host);
	if (route->hosts.n > 1)
		qsort(route->hosts.items, route->hosts.n, sizeof(char *),
			  compare_hosts);
}

/*
 * Add a domain of the deployment if it is active.
 */
static void
read_domain(MrbIndexLookup *row, void *arg)
{
	if (strcmp(mrb_index_lookup_text(row, DOMAIN_STATE), "active") == 0)
		add_host(arg, mrb_index_lookup_text(row, DOMAIN_FQDN));
}

/*
 * Read a tenant.
 */
static void
read_tenant(const char *id, Tenant *tenant)
{
	tenant->id = id;
	tenant->slug = NULL;
	if (!mrb_index_lookup_find(&tenant_row, id, NULL))
		return;
	tenant->slug = mrb_index_lookup_text(&tenant_row, TENANT_SLUG);
	mrb_index_lookup_close(&tenant_row);
}

/*
 * Return the managed host of a deployment; NULL for none.
 */
static char *
managed_host(const char *slug, const char *tenant_slug)
{
	char	   *host;

	if (tenant_slug == NULL || mrb_managed_domain == NULL ||
		mrb_managed_domain[0] == '\0')
		return NULL;
	host = psprintf("%s.%s.%s", slug, tenant_slug, mrb_managed_domain);
	for (char *c = host; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	return host;
}

/*
 * Whether an active domain has the name.
 */
static bool
is_domain(const char *host)
{
	bool		active;

	if (!mrb_index_lookup_find(&host_row, host, NULL))
		return false;
	active = strcmp(mrb_index_lookup_text(&host_row, DOMAIN_STATE),
					"active") == 0;
	mrb_index_lookup_close(&host_row);
	return active;
}

/*
 * Append a host to the list.
 */
static void
add_host(HostReader *reader, char *host)
{
	MrbStringList *hosts = reader->hosts;

	if (hosts->n == reader->size)
	{
		reader->size = Max(2 * reader->size, 2);
		hosts->items = hosts->items == NULL ?
			palloc(reader->size * sizeof(char *)) :
			repalloc(hosts->items, reader->size * sizeof(char *));
	}
	hosts->items[hosts->n++] = host;
}

/*
 * Order hosts by their bytes, those with a wildcard last.
 */
static int
compare_hosts(const void *a, const void *b)
{
	const char *left = *(char *const *) a;
	const char *right = *(char *const *) b;
	int			result = mrb_route_is_wildcard(left) -
	mrb_route_is_wildcard(right);

	return result != 0 ? result : strcmp(left, right);
}

/*
 * Order ids by their bytes.
 */
static int
compare_ids(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/*
 * Read an array of hosts into the context; the list stays empty for null.
 */
static void
fetch_hosts(int row, int column, MrbStringList *hosts, MemoryContext context)
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
