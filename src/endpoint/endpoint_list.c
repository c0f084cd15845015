/*-------------------------------------------------------------------------
 *
 * endpoint_list.c
 *	  The enabled endpoints.
 *
 * An endpoint lives in a memory context of its own.  When its settings change
 * it is dropped and read anew, together with its position, so its settings
 * never change while one of its requests is in flight.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "adapter/secret_list.h"
#include "adapter/sign.h"
#include "base/optional_text.h"
#include "common/digest.h"
#include "common/json_read.h"
#include "common/query.h"
#include "endpoint/endpoint_list.h"
#include "endpoint/health.h"
#include "endpoint/selector.h"

/* Columns of read_query, in order. */
enum
{
	COL_NAME = 1,
	COL_URL,
	COL_ZONE,
	COL_STAGE,
	COL_SELECTOR,
	COL_SECRET,
	COL_EDGE,
	COL_GENERATION,
	COL_CONFIG,
	COL_SETTINGS,
	COL_ADAPTER,
	COL_STATE_CONFIG,
	COL_ACKED,
	COL_SETTLED,
	COL_VERIFIED,
	COL_MARKER,
	COL_RESYNC_AFTER,
	COL_ADAPTER_NAME
};

static MrbQuery read_query = {
	.sql = "SELECT e.name, e.url, e.zone,"
	" coalesce(e.stage, a.stage), e.selector, e.secret,"
	" a.role = 'edge', e.generation,"
	" pg_catalog.jsonb_build_array($1, e.url, e.zone,"
	" coalesce(e.stage, a.stage), e.selector, e.generation, a.name,"
	" a.request, a.remove, a.per, a.role)::text,"
	" pg_catalog.jsonb_build_array($1,"
	" pg_catalog.to_jsonb(e) - '{updated_at,origin}'::text[],"
	" pg_catalog.to_jsonb(a))::text,"
	" pg_catalog.to_jsonb(a), t.config, t.acked_epoch, t.settled_epoch, t.verified_epoch,"
	" t.marker_epoch, t.resync_after, a.name"
	" FROM miosa.endpoints e"
	" JOIN miosa.adapters a ON a.name = e.adapter"
	" LEFT JOIN miosa.endpoint_state t ON t.endpoint = e.name"
	" WHERE CASE WHEN $2 IS NULL THEN e.enabled ELSE e.name = $2 END"
	" ORDER BY coalesce(e.stage, a.stage), e.name",
	.nargs = 2,
	.argtypes = {INT8OID, TEXTOID},
};

dlist_head	mrb_endpoint_list_all = DLIST_STATIC_INIT(mrb_endpoint_list_all);

/* Endpoints by name. */
typedef struct NameSlot
{
	char		name[NAMEDATALEN];	/* hash key; longer names are refused */
	MrbEndpoint *endpoint;
} NameSlot;

static HTAB *names = NULL;

static List *zones = NIL;

static char *fingerprint(const char *value);
static char *settings_fingerprint(int row);
static MrbEndpoint *read_endpoint(int row, int64 newest_epoch);
static void read_adapter(int row, MrbEndpoint *endpoint);
static void read_secret(int row, MrbEndpoint *endpoint);
static void check_secrets(MrbEndpoint *endpoint);
static const char *value_for_endpoint(const char *name, void *arg);
static const char *secret_problem(const MrbEndpoint *endpoint, const char *name);
static void read_state(int row, MrbEndpoint *endpoint, int64 newest_epoch);
static void inherit_position(MrbEndpoint *endpoint, const MrbEndpoint *known);
static void misconfigured(MrbEndpoint *endpoint, const char *problem);
static Jsonb *copy_jsonb(int row, int column);
static MrbZone *find_zone(const char *name);

/*
 * Compare the fingerprint of each row with that of the known endpoint.
 */
List *
mrb_endpoint_list_read(int64 term, int64 newest_epoch, const char *name)
{
	Datum		args[2] = {Int64GetDatum(term), (Datum) 0};
	bool		nulls[2] = {false, name == NULL};
	List	   *fresh = NIL;
	uint64		n;
	dlist_iter	iter;

	if (name != NULL)
		args[1] = CStringGetTextDatum(name);

	/* Marks of an earlier pass that failed do not count. */
	mrb_endpoint_list_foreach(iter)
		mrb_endpoint_list_current(iter)->listed = false;
	mrb_secret_list_read();
	mrb_query_open();
	n = mrb_query_run(&read_query, args, nulls);
	for (uint64 i = 0; i < n; i++)
	{
		MrbEndpoint *known = mrb_endpoint_list_find(mrb_query_text(i, COL_NAME));

		if (known != NULL &&
			strcmp(known->settings, settings_fingerprint(i)) == 0)
			known->listed = true;
		else
			fresh = lappend(fresh, read_endpoint(i, newest_epoch));
	}
	mrb_query_close();
	return fresh;
}

/*
 * Make the endpoint a known one; it lives until it is dropped.
 */
void
mrb_endpoint_list_adopt(MrbEndpoint *endpoint, MemoryContext context)
{
	HASHCTL		info = {
		.keysize = NAMEDATALEN,
		.entrysize = sizeof(NameSlot),
	};
	NameSlot   *slot;

	MemoryContextSetParent(endpoint->context, context);
	endpoint->zone = find_zone(endpoint->zone_name);
	if (endpoint->edge && endpoint->stage == 0)
		endpoint->zone->routers++;
	if (endpoint->edge && endpoint->stage == 1)
		endpoint->zone->caches++;

	/* Routers come first: caches wait only for items that exist already. */
	if (endpoint->stage == 0)
		dlist_push_head(&mrb_endpoint_list_all, &endpoint->node);
	else
		dlist_push_tail(&mrb_endpoint_list_all, &endpoint->node);

	if (names == NULL)
		names = hash_create("miosa_rollback endpoints", 64, &info,
							HASH_ELEM | HASH_STRINGS);
	slot = hash_search(names, endpoint->name, HASH_ENTER, NULL);
	slot->endpoint = endpoint;
	mrb_endpoint_stats_claim(&endpoint->stats, endpoint->name);
}

/*
 * Free the endpoint; all other files must have detached it before.
 */
void
mrb_endpoint_list_drop(MrbEndpoint *endpoint)
{
	if (endpoint->edge && endpoint->stage == 0)
		endpoint->zone->routers--;
	if (endpoint->edge && endpoint->stage == 1)
		endpoint->zone->caches--;
	mrb_timer_cancel(&endpoint->health.retry_timer);
	mrb_timer_cancel(&endpoint->marker.timer);
	mrb_timer_cancel(&endpoint->rate.timer);
	dlist_delete(&endpoint->node);
	mrb_endpoint_stats_drop(&endpoint->stats);
	hash_search(names, endpoint->name, HASH_REMOVE, NULL);
	MemoryContextDelete(endpoint->context);
}

/*
 * The known endpoint of a name, or NULL.
 */
MrbEndpoint *
mrb_endpoint_list_find(const char *name)
{
	NameSlot   *slot = names != NULL ?
	hash_search(names, name, HASH_FIND, NULL) : NULL;

	return slot != NULL ? slot->endpoint : NULL;
}

/*
 * Number of known endpoints.
 */
int
mrb_endpoint_list_count(void)
{
	return names != NULL ? (int) hash_get_num_entries(names) : 0;
}

/*
 * Every member of the selector must match.  What is unknown about a
 * deployment that was deleted counts as a match, so that its removal is
 * delivered.
 */
bool
mrb_endpoint_list_selects(const MrbEndpoint *endpoint, const MrbRoute *route)
{
	return mrb_selector_matches(endpoint->selector, route->deployment_id,
								route->tenant_id, route->deployment_kind);
}

/*
 * SHA-256 of a string, in the current context.  The server refuses md5()
 * where OpenSSL runs in FIPS mode.
 */
static char *
fingerprint(const char *value)
{
	char	   *hex = mrb_digest_sha256(value, strlen(value));

	if (hex == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256 hash")));
	return hex;
}

/*
 * Fingerprint of everything that an endpoint is made of, including its
 * secrets.
 */
static char *
settings_fingerprint(int row)
{
	char	   *settings = mrb_query_text(row, COL_SETTINGS);

	return fingerprint(psprintf("%s\n%s", settings,
								mrb_secret_list_state(mrb_query_text(row, COL_SECRET),
													  settings)));
}

/*
 * Make an endpoint in a context of its own, below the current one.
 */
static MrbEndpoint *
read_endpoint(int row, int64 newest_epoch)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller,
												  "miosa_rollback endpoint",
												  ALLOCSET_SMALL_SIZES);
	MrbEndpoint *endpoint;

	MemoryContextSwitchTo(context);
	endpoint = palloc0(sizeof(MrbEndpoint));
	endpoint->context = context;
	endpoint->name = pstrdup(mrb_query_text(row, COL_NAME));
	endpoint->url = pstrdup(mrb_query_text(row, COL_URL));
	endpoint->config = fingerprint(mrb_query_text(row, COL_CONFIG));
	endpoint->settings = settings_fingerprint(row);
	endpoint->stage = mrb_query_int32(row, COL_STAGE, 0);
	endpoint->edge = mrb_query_bool(row, COL_EDGE);
	endpoint->generation = mrb_query_int64(row, COL_GENERATION, 0);
	endpoint->selector = copy_jsonb(row, COL_SELECTOR);
	endpoint->zone_name = pstrdup(mrb_query_text(row, COL_ZONE));

	read_secret(row, endpoint);
	if (!JB_ROOT_IS_OBJECT(endpoint->selector))
		misconfigured(endpoint, "selector is not a JSON object");
	read_adapter(row, endpoint);
	read_state(row, endpoint, newest_epoch);
	MemoryContextSwitchTo(caller);
	return endpoint;
}

/*
 * Read the endpoint's adapter.  An invalid row stops its endpoint, not the
 * dispatcher.
 */
static void
read_adapter(int row, MrbEndpoint *endpoint)
{
	MrbAdapter *adapter = palloc0(sizeof(MrbAdapter));
	const char *unsigned_why;
	char	   *problem;

	endpoint->adapter = adapter;
	if (!mrb_adapter_read(copy_jsonb(row, COL_ADAPTER), adapter, &problem))
		misconfigured(endpoint, problem);
	unsigned_why = mrb_sign_check(adapter, endpoint->url, endpoint->secret,
								  endpoint->previous_secret);
	if (unsigned_why != NULL)
		misconfigured(endpoint, unsigned_why);
	check_secrets(endpoint);
}

/*
 * Take the secret that the endpoint names.  Without it, no request is sent.
 */
static void
read_secret(int row, MrbEndpoint *endpoint)
{
	char	   *name = mrb_query_text(row, COL_SECRET);
	const MrbSecret *secret;
	char	   *refusal;

	if (name == NULL)
		return;
	secret = mrb_secret_list_find(name);
	if (secret == NULL || secret->value == NULL)
		misconfigured(endpoint, secret_problem(endpoint, name));
	else if ((refusal = mrb_secret_scope_problem(&secret->scope, endpoint->url,
												 mrb_query_text(row, COL_ADAPTER_NAME))) != NULL)
		misconfigured(endpoint, psprintf("secret \"%s\": %s", name, refusal));
	else
	{
		endpoint->secret = pstrdup(secret->value);
		if (secret->previous != NULL)
			endpoint->previous_secret = pstrdup(secret->previous);
	}
}

/*
 * Stop the endpoint if one of its requests needs a secret that is missing,
 * because every message would fail without being at fault.
 */
static void
check_secrets(MrbEndpoint *endpoint)
{
	const MrbAdapter *adapter = endpoint->adapter;
	const MrbRequest *const calls[] = {
		adapter->request, adapter->add, adapter->remove,
		adapter->wildcard_request, adapter->wildcard_remove,
		adapter->marker_write, adapter->marker_read, adapter->poll.request
	};
	MrbTemplateValues values = {
		.named_secret = value_for_endpoint,
		.named_secret_arg = endpoint,
	};

	values.text[MRB_VAR_SECRET] = endpoint->secret;
	for (size_t i = 0; i < lengthof(calls); i++)
	{
		const char *name = calls[i] == NULL ? NULL :
		mrb_request_lacks_secret(calls[i], &values);

		if (name != NULL)
			misconfigured(endpoint, secret_problem(endpoint, name));
	}
}

/*
 * Return the value of a secret that the adapter of the endpoint names; NULL when
 * it has none or the endpoint may not have it.
 */
static const char *
value_for_endpoint(const char *name, void *arg)
{
	const MrbEndpoint *endpoint = arg;
	const MrbSecret *secret = mrb_secret_list_find(name);

	if (secret == NULL ||
		mrb_secret_scope_naming_problem(&secret->scope, endpoint->url,
										endpoint->name) != NULL)
		return NULL;
	return secret->value;
}

/*
 * Why the endpoint has no value for a secret.  Its own has the empty name.
 */
static const char *
secret_problem(const MrbEndpoint *endpoint, const char *name)
{
	const MrbSecret *secret = mrb_secret_list_find(name);

	if (name[0] == '\0')
		return "the endpoint has no secret, but its adapter needs one";
	if (secret == NULL)
		return psprintf("secret \"%s\" is not in miosa.secrets", name);
	return psprintf("secret \"%s\": %s", name,
					secret->problem != NULL ? secret->problem :
					mrb_secret_scope_naming_problem(&secret->scope,
													endpoint->url,
													endpoint->name));
}

/*
 * Read how far the endpoint has come.  An endpoint that is new, or whose
 * configuration has changed, is resynchronized; changes after the newest
 * epoch are delivered one by one.
 */
static void
read_state(int row, MrbEndpoint *endpoint, int64 newest_epoch)
{
	char	   *config = mrb_query_text(row, COL_STATE_CONFIG);
	char	   *after = mrb_query_text(row, COL_RESYNC_AFTER);
	MrbEndpoint *known = mrb_endpoint_list_find(endpoint->name);

	if (known != NULL)
	{
		mrb_endpoint_stats_inherit(&endpoint->stats, &known->stats);
		mrb_health_inherit(endpoint, known);
	}
	endpoint->dirty.has_row = config != NULL && strcmp(config, endpoint->config) == 0;
	if (!endpoint->dirty.has_row || !endpoint->adapter->routes)
	{
		endpoint->progress.acked_epoch = newest_epoch;
		endpoint->progress.settled_epoch = newest_epoch;
		if (!endpoint->adapter->routes)
			return;
		endpoint->resync.after = pstrdup("");
		endpoint->resync.repurges = config != NULL;
		return;
	}
	endpoint->progress.acked_epoch = mrb_query_int64(row, COL_ACKED, 0);
	endpoint->progress.settled_epoch = mrb_query_int64(row, COL_SETTLED, 0);
	endpoint->marker.verified_epoch = mrb_query_int64(row, COL_VERIFIED, 0);
	endpoint->marker.epoch = mrb_query_int64(row, COL_MARKER, 0);
	endpoint->resync.after = mrb_optional_text_copy(after);
	endpoint->resync.repurges = true;
	if (known != NULL && strcmp(known->config, config) == 0)
		inherit_position(endpoint, known);
}

/*
 * Take the position from memory, because rows are written late.  A published
 * position may be trusted, since everything that it depends on is written.
 * But a resync that is not in the row yet has to start over.
 */
static void
inherit_position(MrbEndpoint *endpoint, const MrbEndpoint *known)
{
	const MrbPosition *seen = mrb_endpoint_stats_position(&known->stats);

	if (known->resync.after != NULL &&
		(endpoint->resync.after == NULL || known->resync.after[0] == '\0'))
		endpoint->resync.after = pstrdup("");
	if (seen == NULL || seen->generation < 0)
		return;
	endpoint->progress.acked_epoch = Max(endpoint->progress.acked_epoch, seen->acked_epoch);
	endpoint->progress.settled_epoch = Max(endpoint->progress.settled_epoch,
										   seen->settled_epoch);
}

/*
 * Stop the endpoint; the first problem that was found is shown.
 */
static void
misconfigured(MrbEndpoint *endpoint, const char *problem)
{
	if (endpoint->health.state != MRB_HEALTH_MISCONFIGURED)
		mrb_health_misconfigured(endpoint, problem);
}

/*
 * A jsonb value in the current context; NULL for SQL null.
 */
static Jsonb *
copy_jsonb(int row, int column)
{
	Jsonb	   *value = mrb_query_jsonb(row, column);
	Jsonb	   *copy;

	if (value == NULL)
		return NULL;
	copy = palloc(VARSIZE(value));
	memcpy(copy, value, VARSIZE(value));
	return copy;
}

/*
 * Find or make a zone.  Zones are few and are never freed.
 */
static MrbZone *
find_zone(const char *name)
{
	MemoryContext old;
	MrbZone    *zone;
	ListCell   *cell;

	foreach(cell, zones)
	{
		zone = lfirst(cell);
		if (strcmp(zone->name, name) == 0)
			return zone;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	zone = palloc0(sizeof(MrbZone));
	zone->name = pstrdup(name);
	zones = lappend(zones, zone);
	MemoryContextSwitchTo(old);
	return zone;
}
