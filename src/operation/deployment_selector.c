/*-------------------------------------------------------------------------
 *
 * deployment_selector.c
 *	  Which deployments a fleet or a freeze is about.
 *
 * A selector is a JSON object; a deployment matches if all of its members do:
 *
 *	ids					its id
 *	tenant, kind		its own ones
 *	label				an object that its metadata contains
 *	active_artifact		digest or storage URI of the active version's release
 *	active_image		image of the active version
 *	active_label		an object that the active version's metadata contains
 *	changed_since		an audit event has made another version active since
 *	all					every deployment: true, and no other member
 *
 * Members that are texts may be lists of texts, of which any one matches.  An empty
 * object is refused, also as a label: who means all says so.
 *
 * One statement finds the deployments, whatever the members are: those that are
 * missing are null, and the planner drops their conditions and joins, because the
 * statement is planned for its values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/check_argument.h"
#include "common/array.h"
#include "common/iso_time.h"
#include "common/json_read.h"
#include "common/query.h"
#include "operation/deployment_selector.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_check_deployment_selector);
PG_FUNCTION_INFO_V1(mrb_selects_deployment);

/* Members, in the order of the parameters of the statements. */
enum
{
	KEY_IDS,
	KEY_TENANT,
	KEY_KIND,
	KEY_LABEL,
	KEY_ARTIFACT,
	KEY_IMAGE,
	KEY_ACTIVE_LABEL,
	KEY_CHANGED_SINCE
};

#define KEY_ALL "all"

/* Texts that a list may have; a longer list is a label. */
#define MAX_TEXTS 20000

/* What the value of a member has to be. */
typedef enum KeyType
{
	TYPE_IDS,
	TYPE_KINDS,
	TYPE_TEXTS,
	TYPE_OBJECT,
	TYPE_TIME
} KeyType;

static const struct
{
	const char *name;
	KeyType		type;
}			keys[MRB_DEPLOYMENT_SELECTOR_KEYS] = {
	[KEY_IDS] = {"ids", TYPE_IDS},
	[KEY_TENANT] = {"tenant", TYPE_IDS},
	[KEY_KIND] = {"kind", TYPE_KINDS},
	[KEY_LABEL] = {"label", TYPE_OBJECT},
	[KEY_ARTIFACT] = {"active_artifact", TYPE_TEXTS},
	[KEY_IMAGE] = {"active_image", TYPE_TEXTS},
	[KEY_ACTIVE_LABEL] = {"active_label", TYPE_OBJECT},
	[KEY_CHANGED_SINCE] = {"changed_since", TYPE_TIME},
};

/* Parameters of the statements after the members. */
enum
{
	ARG_ALL_TENANTS = MRB_DEPLOYMENT_SELECTOR_KEYS,
	ARG_AFTER,
	ARG_MOST,
	ARG_COUNT
};

#define MATCHING_TYPES \
	TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBOID, TEXTARRAYOID, \
	TEXTARRAYOID, JSONBOID, TIMESTAMPTZOID

#define MATCHING \
	" FROM miosa.deployments p" \
	" LEFT JOIN miosa.versions v ON v.deployment_id = p.id" \
	" AND v.id = p.active_version_id" \
	" LEFT JOIN miosa.releases r ON r.deployment_id = p.id" \
	" AND r.deployment_version_id = p.active_version_id" \
	" WHERE ($1 IS NULL OR p.id = ANY ($1))" \
	" AND ($2 IS NULL OR p.tenant_id = ANY ($2))" \
	" AND ($3 IS NULL OR p.kind = ANY ($3))" \
	" AND ($4 IS NULL OR p.metadata @> $4)" \
	" AND ($5 IS NULL OR r.sha256 = ANY ($5) OR r.storage_uri = ANY ($5))" \
	" AND ($6 IS NULL OR v.runtime_image = ANY ($6))" \
	" AND ($7 IS NULL OR v.metadata @> $7)" \
	" AND ($8 IS NULL OR EXISTS (SELECT FROM miosa.audit_events e" \
	" WHERE e.deployment_id = p.id AND e.created_at >= $8" \
	" AND e.outcome IN ('changed', 'pending')))"

#define SEEN " AND ($9 OR miosa.sees_tenant(p.tenant_id))"

/* Ids of which there is no deployment, as far as the caller sees. */
#define MISSING \
	" FROM unnest($1) AS i(id) WHERE NOT EXISTS (SELECT" \
	" FROM miosa.deployments p WHERE p.id = i.id" SEEN ")"

static MrbQuery find_query = {
	.sql = "SELECT p.id, p.tenant_id" MATCHING SEEN " AND p.id > $10"
	" UNION SELECT i.id COLLATE \"C\", NULL::text" MISSING
	" AND i.id COLLATE \"C\" > $10"
	" ORDER BY 1 LIMIT $11",
	.nargs = ARG_COUNT,
	.argtypes = {MATCHING_TYPES, BOOLOID, TEXTOID, INT8OID},
	.custom = true,
};

/* Without ids that may be missing: the index gives the order. */
static MrbQuery page_query = {
	.sql = "SELECT p.id, p.tenant_id" MATCHING SEEN " AND p.id > $10"
	" ORDER BY p.id LIMIT $11",
	.nargs = ARG_COUNT,
	.argtypes = {MATCHING_TYPES, BOOLOID, TEXTOID, INT8OID},
	.custom = true,
};

static MrbQuery count_query = {
	.sql = "SELECT count(*), CASE WHEN min(p.tenant_id) = max(p.tenant_id)"
	" THEN min(p.tenant_id) END, (SELECT count(DISTINCT i.id)" MISSING ")"
	MATCHING SEEN,
	.nargs = ARG_ALL_TENANTS + 1,
	.argtypes = {MATCHING_TYPES, BOOLOID},
	.custom = true,
};

static MrbQuery match_query = {
	.sql = "SELECT" MATCHING " AND p.id = $9",
	.nargs = MRB_DEPLOYMENT_SELECTOR_KEYS + 1,
	.argtypes = {MATCHING_TYPES, TEXTOID},
	.read_only = true,
	.custom = true,
};

static MrbSelected find(MrbQuery *query, const MrbDeploymentSelector *selector,
						const char *after, int64 most);
static int	find_key(const char *name);
static Datum read_value(int key, JsonbValue *value);
static Datum read_texts(int key, JsonbValue *value);
static int	count_texts(const JsonbValue *value);
static void check_text(int key, const char *text);
static Datum read_time(int key, JsonbValue *value);
static char *list_keys(void);
static char *show_value(const JsonbValue *value);
pg_noreturn static void refuse(int key, const JsonbValue *value,
							   const char *detail, const char *hint);
static void make_args(const MrbDeploymentSelector *selector, Datum *values,
					  bool *nulls);

/*
 * miosa.check_deployment_selector(selector)
 */
Datum
mrb_check_deployment_selector(PG_FUNCTION_ARGS)
{
	(void) mrb_deployment_selector_parse(PG_ARGISNULL(0) ? NULL :
										 PG_GETARG_JSONB_P(0));
	PG_RETURN_VOID();
}

/*
 * miosa.selects_deployment(selector, deployment_id)
 */
Datum
mrb_selects_deployment(PG_FUNCTION_ARGS)
{
	MrbDeploymentSelector selector = mrb_deployment_selector_parse(PG_GETARG_JSONB_P(0));

	PG_RETURN_BOOL(mrb_deployment_selector_matches(&selector,
												   text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/*
 * Check a selector, and take it apart.
 */
MrbDeploymentSelector
mrb_deployment_selector_parse(Jsonb *json)
{
	MrbDeploymentSelector selector;
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *name;
	bool		all = false;
	int			n = 0;

	selector.n_ids = 0;
	memset(selector.nulls, true, sizeof(selector.nulls));
	memset(selector.values, 0, sizeof(selector.values));
	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		mrb_check_argument_refuse("argument", "selector", json == NULL ? NULL :
								  JsonbToCString(NULL, &json->root, VARSIZE(json)),
								  "A selector is a JSON object.",
								  psprintf("Its members are %s.", list_keys()));
	while (mrb_json_read_next(&json->root, &it, &name, &value))
	{
		int			key = find_key(name);

		n++;
		if (strcmp(name, KEY_ALL) == 0)
		{
			all = value.type == jbvBool && value.val.boolean;
			if (!all)
				mrb_check_argument_refuse("selector member", NULL, name,
										  psprintf("Its value is %s; only true is valid.",
												   show_value(&value)),
										  "Write {\"all\": true}, and no other member, to select every deployment.");
			continue;
		}
		if (key < 0)
			mrb_check_argument_refuse("selector member", NULL, name,
									  "There is no such member.",
									  psprintf("The members are %s.", list_keys()));
		selector.values[key] = read_value(key, &value);
		selector.nulls[key] = false;
		if (key == KEY_IDS)
			selector.n_ids = count_texts(&value);
	}
	if (n == 0)
		mrb_check_argument_refuse("argument", "selector", "{}",
								  "It has no member.",
								  "Write {\"all\": true} to select every deployment.");
	if (all && n > 1)
		mrb_check_argument_refuse("argument", "selector",
								  JsonbToCString(NULL, &json->root, VARSIZE(json)),
								  "\"all\" stands beside other members.",
								  "Leave \"all\" out, or the others.");
	return selector;
}

/*
 * Find the deployments that match.  If there are as many as the selector has ids,
 * none is missing.
 */
MrbSelected
mrb_deployment_selector_find(const MrbDeploymentSelector *selector,
							 const char *after, int64 most)
{
	MrbSelected selected = find(&page_query, selector, after, most);

	if (selected.n < selector->n_ids)
		selected = find(&find_query, selector, after, most);
	return selected;
}

/*
 * Run one of the two statements that find deployments.
 */
static MrbSelected
find(MrbQuery *query, const MrbDeploymentSelector *selector, const char *after,
	 int64 most)
{
	MrbSelected selected = {0};
	Datum		values[ARG_COUNT];
	bool		nulls[ARG_COUNT] = {false};
	bool		several = false;
	char	  **ids;

	make_args(selector, values, nulls);
	values[ARG_AFTER] = CStringGetTextDatum(after);
	values[ARG_MOST] = Int64GetDatum(most);
	ids = palloc((most + 1) * sizeof(char *));
	mrb_query_open();
	selected.n = (int) mrb_query_run(query, values, nulls);
	for (int i = 0; i < selected.n; i++)
	{
		char	   *tenant_id = mrb_query_text(i, 2);

		ids[i] = mrb_query_text(i, 1);
		if (tenant_id == NULL)
			continue;
		if (selected.tenant_id == NULL)
			selected.tenant_id = tenant_id;
		else
		{
			several |= strcmp(selected.tenant_id, tenant_id) != 0;
			pfree(tenant_id);
		}
	}
	mrb_query_close();
	selected.ids = ids;
	if (several)
		selected.tenant_id = NULL;
	return selected;
}

/*
 * Count the deployments that match.
 */
int64
mrb_deployment_selector_count(const MrbDeploymentSelector *selector,
							  char **tenant_id)
{
	Datum		values[ARG_COUNT];
	bool		nulls[ARG_COUNT] = {false};
	int64		count;

	make_args(selector, values, nulls);
	mrb_query_open();
	(void) mrb_query_run(&count_query, values, nulls);
	count = mrb_query_int64(0, 1, 0) + mrb_query_int64(0, 3, 0);
	*tenant_id = mrb_query_text(0, 2);
	mrb_query_close();
	return count;
}

/*
 * Whether a deployment matches.
 */
bool
mrb_deployment_selector_matches(const MrbDeploymentSelector *selector,
								const char *deployment_id)
{
	Datum		values[ARG_COUNT];
	bool		nulls[ARG_COUNT] = {false};
	bool		matches;

	make_args(selector, values, nulls);
	values[MRB_DEPLOYMENT_SELECTOR_KEYS] = CStringGetTextDatum(deployment_id);
	mrb_query_open();
	matches = mrb_query_run(&match_query, values, nulls) > 0;
	mrb_query_close();
	return matches;
}

/*
 * Make the arguments of a statement that all of them have.
 */
static void
make_args(const MrbDeploymentSelector *selector, Datum *values, bool *nulls)
{
	memcpy(values, selector->values, sizeof(selector->values));
	memcpy(nulls, selector->nulls, sizeof(selector->nulls));
	values[ARG_ALL_TENANTS] = BoolGetDatum(mrb_tenancy_sees_all());
}

/*
 * Find a member by its name; -1: there is none.
 */
static int
find_key(const char *name)
{
	for (int i = 0; i < MRB_DEPLOYMENT_SELECTOR_KEYS; i++)
	{
		if (strcmp(keys[i].name, name) == 0)
			return i;
	}
	return -1;
}

/*
 * Read the value of a member.
 */
static Datum
read_value(int key, JsonbValue *value)
{
	JsonbContainer *object;

	if (keys[key].type == TYPE_TIME)
		return read_time(key, value);
	if (keys[key].type != TYPE_OBJECT)
		return read_texts(key, value);
	object = mrb_json_read_object(value);
	if (object == NULL || JsonContainerSize(object) == 0)
		refuse(key, value, object == NULL ? "The value is not an object." :
			   "The object is empty, so that everything would match.",
			   psprintf("For example {\"%s\": {\"team\": \"shop\"}}.", keys[key].name));
	return JsonbPGetDatum(JsonbValueToJsonb(value));
}

/*
 * Read a text or a list of texts.
 */
static Datum
read_texts(int key, JsonbValue *value)
{
	JsonbContainer *list = mrb_json_read_array(value);
	int			n = count_texts(value);
	Datum	   *texts = palloc(Max(n, 1) * sizeof(Datum));

	if (n == 0)
		refuse(key, value, "The list is empty, so that nothing could match.",
			   "Leave the member out, or put a text into the list.");
	if (n > MAX_TEXTS)
		refuse(key, NULL, psprintf("The list has %d elements; the maximum is %d.",
								   n, MAX_TEXTS),
			   "Select by a label, or make several calls.");
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = list != NULL ?
		getIthJsonbValueFromContainer(list, i) : value;
		char	   *string;

		if (element->type != jbvString)
			refuse(key, element, "The value is neither a text nor a list of texts.",
				   psprintf("For example {\"%s\": \"%s\"}.", keys[key].name,
							keys[key].type == TYPE_KINDS ? "static" : "a"));
		string = pnstrdup(element->val.string.val, element->val.string.len);
		check_text(key, string);
		texts[i] = CStringGetTextDatum(string);
	}
	return mrb_array_make(texts, NULL, n, TEXTOID);
}

/*
 * Count the texts of a value, which may be one.
 */
static int
count_texts(const JsonbValue *value)
{
	JsonbContainer *list = mrb_json_read_array(value);

	return list != NULL ? JsonContainerSize(list) : 1;
}

/*
 * Check one text.
 */
static void
check_text(int key, const char *text)
{
	if (keys[key].type == TYPE_IDS)
		mrb_check_argument_id(text, psprintf("selector member \"%s\"",
											 keys[key].name));
	if (keys[key].type == TYPE_KINDS && strcmp(text, "static") != 0 &&
		strcmp(text, "dynamic") != 0 && strcmp(text, "sandbox_backed") != 0)
		mrb_check_argument_refuse("selector member", keys[key].name, text,
								  "There is no such kind.",
								  "Valid values are \"static\", \"dynamic\" and \"sandbox_backed\".");
}

/*
 * Read a time.  Selectors are stored, and read again in other sessions on other
 * days: so it must not depend on the zone of a session, nor on today.
 */
static Datum
read_time(int key, JsonbValue *value)
{
	static const char *const example =
	"For example {\"changed_since\": \"2026-01-31 12:00:00+00\"}.";
	TimestampTz at;

	if (value->type != jbvString)
		refuse(key, value, "The value is not a text.", example);
	if (!mrb_iso_time_read(pnstrdup(value->val.string.val, value->val.string.len), &at))
		refuse(key, value, "The value is not a time from 1970 to 2199 with its zone.",
			   example);
	if (at > GetCurrentTimestamp())
		refuse(key, value, "The time is in the future.",
			   "Pass a time that has passed.");
	return TimestampTzGetDatum(at);
}

/*
 * List the members.
 */
static char *
list_keys(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < MRB_DEPLOYMENT_SELECTOR_KEYS; i++)
		appendStringInfo(&list, "%s, ", keys[i].name);
	appendStringInfoString(&list, KEY_ALL);
	return list.data;
}

/*
 * Show a value in a message.
 */
static char *
show_value(const JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb((JsonbValue *) value);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

/*
 * Refuse the value of a member; NULL: do not show it.
 */
static void
refuse(int key, const JsonbValue *value, const char *detail, const char *hint)
{
	mrb_check_argument_refuse("selector member", keys[key].name,
							  value == NULL ? "..." : show_value(value), detail,
							  hint);
}
