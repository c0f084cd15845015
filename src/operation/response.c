/*-------------------------------------------------------------------------
 *
 * response.c
 *	  The response of an operation, and its stored form.
 *
 * A response is read from the deployment's row as written into one value for
 * each member.  From these values the response is built, and what the record of
 * the idempotency key stores.  The members are in the order of jsonb (shorter
 * names first, then by their bytes), so that nothing is sorted.
 *
 * The stored form is an array: the number of the format, then the values of the
 * members that the format lists, by position; nulls at the end are left out.
 * It has no names, nothing that follows from metadata, and nothing that another
 * column of the record has.  Records outlive an update of the extension, so a
 * format never changes once it is released: a new member gets a new format, and
 * the older ones are still unpacked, without the member (CONTRIBUTING.md).
 *
 * Format 1 stores a null for a value that is usual:
 *
 *	null for			stands for
 *	metadata			an empty object
 *	updated_at			created_at of the record
 *	target_version_id	active_version_id
 *
 * Times are microseconds since 2000-01-01 00:00:00 UTC.  An object instead of
 * an array is a response as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "common/iso_time.h"
#include "common/json_read.h"
#include "common/jsonb_write.h"
#include "common/table.h"
#include "operation/response.h"

/* Where the value of a member comes from. */
typedef enum MemberSource
{
	FROM_TEXT,					/* a column of the deployment's row */
	FROM_INTEGER,
	FROM_BOOLEAN,
	FROM_TIME,
	FROM_OBJECT,
	FROM_METADATA,				/* a member of its metadata */
	FROM_OPERATION,
	FROM_OPERATION_OPTIONAL,	/* left out rather than null */
} MemberSource;

/* Members of a deployment and of an operation, each in the order of jsonb. */
typedef enum MemberNumber
{
	DATA_ID,
	DATA_KIND,
	DATA_NAME,
	DATA_SLUG,
	DATA_STATE,
	DATA_BRANCH,
	DATA_METADATA,
	DATA_OWNER_ID,
	DATA_REPO_URL,
	DATA_TENANT_ID,
	DATA_CREATED_AT,
	DATA_PROJECT_ID,
	DATA_PUBLIC_URL,
	DATA_UPDATED_AT,
	DATA_AUTO_DEPLOY,
	DATA_RUN_COMMAND,
	DATA_SOURCE_TYPE,
	DATA_WORKSPACE_ID,
	DATA_BUILD_COMMAND,
	DATA_REPO_PROVIDER,
	DATA_RUNTIME_IMAGE,
	DATA_AUTO_SUBDOMAIN,
	DATA_CURRENT_BUILD_ID,
	DATA_CUSTOM_DOMAIN_ID,
	DATA_DESIRED_REPLICAS,
	DATA_EXTERNAL_USER_ID,
	DATA_ACTIVE_RELEASE_ID,
	DATA_ACTIVE_VERSION_ID,
	DATA_DEPLOYMENT_PRODUCT,
	DATA_LINKED_DATABASE_ID,
	DATA_SERVING_VERSION_ID,
	DATA_EXTERNAL_PROJECT_ID,
	DATA_EXTERNAL_WORKSPACE_ID,
	DATA_RUNNING_ARTIFACT_SHA256,
	DATA_COUNT,

	OPERATION_ID = DATA_COUNT,
	OPERATION_HOLD,
	OPERATION_FLEET,
	OPERATION_OUTCOME,
	OPERATION_SKIPPED,
	OPERATION_UNDO_OF,
	OPERATION_REPLAYED,
	OPERATION_WARNINGS,
	OPERATION_TARGET_RULE,
	OPERATION_SUPERSEDED_BY,
	OPERATION_TARGET,
	OPERATION_PREVIOUS,
	MEMBER_COUNT
} MemberNumber;

/* Columns that are read: those of the members, and one more. */
enum
{
	COLUMN_SEQ = DATA_COUNT,
	COLUMN_COUNT
};

typedef struct Member
{
	const char *name;			/* also of its column */
	int			len;			/* of the name */
	MemberSource source;
} Member;

#define MEMBER(name, source) {name, sizeof(name) - 1, source}

static const Member members[] = {
	[DATA_ID] = MEMBER("id", FROM_TEXT),
	[DATA_KIND] = MEMBER("kind", FROM_TEXT),
	[DATA_NAME] = MEMBER("name", FROM_TEXT),
	[DATA_SLUG] = MEMBER("slug", FROM_TEXT),
	[DATA_STATE] = MEMBER("state", FROM_TEXT),
	[DATA_BRANCH] = MEMBER("branch", FROM_METADATA),
	[DATA_METADATA] = MEMBER("metadata", FROM_OBJECT),
	[DATA_OWNER_ID] = MEMBER("owner_id", FROM_TEXT),
	[DATA_REPO_URL] = MEMBER("repo_url", FROM_METADATA),
	[DATA_TENANT_ID] = MEMBER("tenant_id", FROM_TEXT),
	[DATA_CREATED_AT] = MEMBER("created_at", FROM_TIME),
	[DATA_PROJECT_ID] = MEMBER("project_id", FROM_TEXT),
	[DATA_PUBLIC_URL] = MEMBER("public_url", FROM_TEXT),
	[DATA_UPDATED_AT] = MEMBER("updated_at", FROM_TIME),
	[DATA_AUTO_DEPLOY] = MEMBER("auto_deploy", FROM_BOOLEAN),
	[DATA_RUN_COMMAND] = MEMBER("run_command", FROM_METADATA),
	[DATA_SOURCE_TYPE] = MEMBER("source_type", FROM_TEXT),
	[DATA_WORKSPACE_ID] = MEMBER("workspace_id", FROM_TEXT),
	[DATA_BUILD_COMMAND] = MEMBER("build_command", FROM_METADATA),
	[DATA_REPO_PROVIDER] = MEMBER("repo_provider", FROM_METADATA),
	[DATA_RUNTIME_IMAGE] = MEMBER("runtime_image", FROM_METADATA),
	[DATA_AUTO_SUBDOMAIN] = MEMBER("auto_subdomain", FROM_TEXT),
	[DATA_CURRENT_BUILD_ID] = MEMBER("current_build_id", FROM_METADATA),
	[DATA_CUSTOM_DOMAIN_ID] = MEMBER("custom_domain_id", FROM_TEXT),
	[DATA_DESIRED_REPLICAS] = MEMBER("desired_replicas", FROM_INTEGER),
	[DATA_EXTERNAL_USER_ID] = MEMBER("external_user_id", FROM_TEXT),
	[DATA_ACTIVE_RELEASE_ID] = MEMBER("active_release_id", FROM_TEXT),
	[DATA_ACTIVE_VERSION_ID] = MEMBER("active_version_id", FROM_TEXT),
	[DATA_DEPLOYMENT_PRODUCT] = MEMBER("deployment_product", FROM_TEXT),
	[DATA_LINKED_DATABASE_ID] = MEMBER("linked_database_id", FROM_TEXT),
	[DATA_SERVING_VERSION_ID] = MEMBER("serving_version_id", FROM_TEXT),
	[DATA_EXTERNAL_PROJECT_ID] = MEMBER("external_project_id", FROM_TEXT),
	[DATA_EXTERNAL_WORKSPACE_ID] = MEMBER("external_workspace_id", FROM_TEXT),
	[DATA_RUNNING_ARTIFACT_SHA256] = MEMBER("running_artifact_sha256", FROM_TEXT),

	[OPERATION_ID] = MEMBER("id", FROM_OPERATION),
	[OPERATION_HOLD] = MEMBER("hold", FROM_OPERATION_OPTIONAL),
	[OPERATION_FLEET] = MEMBER("fleet", FROM_OPERATION_OPTIONAL),
	[OPERATION_OUTCOME] = MEMBER("outcome", FROM_OPERATION),
	[OPERATION_SKIPPED] = MEMBER("skipped", FROM_OPERATION_OPTIONAL),
	[OPERATION_UNDO_OF] = MEMBER("undo_of", FROM_OPERATION_OPTIONAL),
	[OPERATION_REPLAYED] = MEMBER("replayed", FROM_OPERATION_OPTIONAL),
	[OPERATION_WARNINGS] = MEMBER("warnings", FROM_OPERATION_OPTIONAL),
	[OPERATION_TARGET_RULE] = MEMBER("target_rule", FROM_OPERATION),
	[OPERATION_SUPERSEDED_BY] = MEMBER("superseded_by", FROM_OPERATION_OPTIONAL),
	[OPERATION_TARGET] = MEMBER("target_version_id", FROM_OPERATION),
	[OPERATION_PREVIOUS] = MEMBER("previous_version_id", FROM_OPERATION),
};

/*
 * Format 1: numbers first, because they are aligned; what is often null last.
 */
static const MemberNumber format_1[] = {
	DATA_DESIRED_REPLICAS,
	DATA_CREATED_AT,
	DATA_TENANT_ID,
	DATA_NAME,
	DATA_SLUG,
	DATA_KIND,
	DATA_STATE,
	DATA_ACTIVE_VERSION_ID,
	DATA_ACTIVE_RELEASE_ID,
	DATA_RUNNING_ARTIFACT_SHA256,
	OPERATION_PREVIOUS,
	OPERATION_TARGET_RULE,
	OPERATION_OUTCOME,
	DATA_AUTO_DEPLOY,
	DATA_AUTO_SUBDOMAIN,
	DATA_PUBLIC_URL,
	DATA_EXTERNAL_WORKSPACE_ID,
	DATA_EXTERNAL_USER_ID,
	DATA_EXTERNAL_PROJECT_ID,
	DATA_METADATA,
	DATA_OWNER_ID,
	DATA_WORKSPACE_ID,
	DATA_PROJECT_ID,
	DATA_SOURCE_TYPE,
	DATA_DEPLOYMENT_PRODUCT,
	DATA_CUSTOM_DOMAIN_ID,
	DATA_LINKED_DATABASE_ID,
	DATA_SERVING_VERSION_ID,
	DATA_UPDATED_AT,
	OPERATION_TARGET,
	OPERATION_SKIPPED,
	OPERATION_WARNINGS,
	OPERATION_FLEET,
	OPERATION_HOLD,
	OPERATION_UNDO_OF,
};

struct MrbResponse
{
	JsonbValue	values[MEMBER_COUNT];
	bool		present[MEMBER_COUNT];	/* false: left out */
	TimestampTz times[2];		/* created_at and updated_at, to be packed */
};

static void read_row(MrbResponse *response, TupleTableSlot *deployment);
static const AttrNumber *find_columns(TupleDesc desc);
static bool have_types(TupleDesc desc, const AttrNumber *attnums);
static Oid	get_type(int column);
static AttrNumber find_column(TupleDesc desc, const char *name, Oid type);
static void set_column(MrbResponse *response, MemberNumber number, Datum value);
static void set_value(MrbResponse *response, MemberNumber number,
					  const JsonbValue *value);
static void set_text(MrbResponse *response, MemberNumber number,
					 const char *value);
static void set_json(MrbResponse *response, MemberNumber number,
					 const char *json);
static void set_time(MrbResponse *response, MemberNumber number,
					 TimestampTz at);
static void set_metadata(MrbResponse *response, JsonbValue *value);
static void set_operation_id(MrbResponse *response, const char *deployment_id,
							 int64 seq);
static void open_jsonb(Jsonb *jsonb, JsonbValue *value);
static void fill_object(const MrbResponse *response, int first, int end,
						JsonbValue *object, JsonbPair *pairs);
static void set_pair(JsonbPair *pair, const char *name, int len,
					 const JsonbValue *value);
static void set_string(JsonbValue *value, const char *string);
static void set_number(JsonbValue *value, int64 number);
static void pack_value(const MrbResponse *response, MemberNumber number,
					   TimestampTz created_at, JsonbValue *value);
static bool same_string(const JsonbValue *one, const JsonbValue *other);
static bool unpack_format_1(MrbResponse *response, JsonbContainer *array,
							TimestampTz created_at);
static bool unpack_value(MrbResponse *response, MemberNumber number,
						 JsonbValue *value, TimestampTz created_at);
static bool read_number(const JsonbValue *value, int64 *number);
static void unpack_object(MrbResponse *response, JsonbContainer *object);
pg_noreturn static void raise_unknown_format(const char *deployment_id,
											 int64 seq, Jsonb *packed);

/*
 * Read the response of an operation from the row that it wrote.
 */
MrbResponse *
mrb_response_read(TupleTableSlot *deployment, const MrbOperation *operation)
{
	MrbResponse *response = palloc0(sizeof(MrbResponse));

	read_row(response, deployment);
	set_text(response, OPERATION_OUTCOME, operation->outcome);
	set_text(response, OPERATION_TARGET_RULE, operation->target_rule);
	set_text(response, OPERATION_TARGET, operation->target_version_id);
	set_text(response, OPERATION_PREVIOUS, operation->previous_version_id);
	if (operation->fleet_id != NULL)
		set_text(response, OPERATION_FLEET, operation->fleet_id);
	set_json(response, OPERATION_SKIPPED, operation->skipped);
	set_json(response, OPERATION_WARNINGS, operation->warnings);
	set_json(response, OPERATION_HOLD, mrb_hold_show(&operation->hold));
	if (operation->undo_of != NULL)
		set_text(response, OPERATION_UNDO_OF, operation->undo_of);
	return response;
}

/*
 * Build the response.
 */
Jsonb *
mrb_response_build(const MrbResponse *response)
{
	JsonbPair	data_pairs[DATA_COUNT];
	JsonbPair	operation_pairs[MEMBER_COUNT - DATA_COUNT];
	JsonbPair	pairs[2];
	JsonbValue	data;
	JsonbValue	operation;
	JsonbValue	whole = {.type = jbvObject};

	fill_object(response, 0, DATA_COUNT, &data, data_pairs);
	fill_object(response, DATA_COUNT, MEMBER_COUNT, &operation,
				operation_pairs);
	set_pair(&pairs[0], "data", strlen("data"), &data);
	set_pair(&pairs[1], "operation", strlen("operation"), &operation);
	whole.val.object.nPairs = lengthof(pairs);
	whole.val.object.pairs = pairs;
	return mrb_jsonb_write(&whole);
}

/*
 * Build the stored form of the response.
 */
Jsonb *
mrb_response_pack(const MrbResponse *response, TimestampTz created_at)
{
	JsonbValue	elements[1 + lengthof(format_1)];
	JsonbValue	array = {.type = jbvArray};
	int			count = lengthof(elements);

	set_number(&elements[0], 1);
	for (size_t i = 0; i < lengthof(format_1); i++)
		pack_value(response, format_1[i], created_at, &elements[i + 1]);
	while (elements[count - 1].type == jbvNull)
		count--;
	array.val.array.nElems = count;
	array.val.array.elems = elements;
	return mrb_jsonb_write(&array);
}

/*
 * Read a response from its stored form.
 */
MrbResponse *
mrb_response_unpack(Jsonb *packed, const char *deployment_id, int64 seq,
					TimestampTz created_at)
{
	MrbResponse *response = palloc0(sizeof(MrbResponse));

	if (JB_ROOT_IS_OBJECT(packed))
		unpack_object(response, &packed->root);
	else
	{
		set_text(response, DATA_ID, deployment_id);
		set_operation_id(response, deployment_id, seq);
		if (!unpack_format_1(response, &packed->root, created_at))
			raise_unknown_format(deployment_id, seq, packed);
	}
	return response;
}

/*
 * Return the version that the operation made active.
 */
char *
mrb_response_target(const MrbResponse *response)
{
	const JsonbValue *value = &response->values[OPERATION_TARGET];

	if (value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * Add to a response that a later operation superseded it.
 */
void
mrb_response_supersede(MrbResponse *response, const char *operation_id,
					   const char *message, const char *detail,
					   const char *hint)
{
	JsonbContainer *before = mrb_json_read_array(&response->values[OPERATION_WARNINGS]);
	int			count = before != NULL ? JsonContainerSize(before) : 0;
	JsonbValue	replayed = {.type = jbvBool,.val.boolean = true};
	JsonbValue	warnings = {.type = jbvArray};
	JsonbValue	texts[4];
	JsonbValue	warning = {.type = jbvObject};

	set_string(&texts[0], "SUPERSEDED");
	set_string(&texts[1], hint);
	set_string(&texts[2], detail);
	set_string(&texts[3], message);
	warning.val.object.nPairs = lengthof(texts);
	warning.val.object.pairs = palloc0(lengthof(texts) * sizeof(JsonbPair));
	set_pair(&warning.val.object.pairs[0], "code", strlen("code"), &texts[0]);
	set_pair(&warning.val.object.pairs[1], "hint", strlen("hint"), &texts[1]);
	set_pair(&warning.val.object.pairs[2], "detail", strlen("detail"), &texts[2]);
	set_pair(&warning.val.object.pairs[3], "message", strlen("message"), &texts[3]);

	warnings.val.array.nElems = count + 1;
	warnings.val.array.elems = palloc((count + 1) * sizeof(JsonbValue));
	for (int i = 0; i < count; i++)
		warnings.val.array.elems[i] = *getIthJsonbValueFromContainer(before, i);
	warnings.val.array.elems[count] = warning;

	set_value(response, OPERATION_WARNINGS, &warnings);
	set_value(response, OPERATION_REPLAYED, &replayed);
	set_text(response, OPERATION_SUPERSEDED_BY, operation_id);
}

/*
 * Build the object of a deployment.
 */
Jsonb *
mrb_response_deployment(TupleTableSlot *deployment)
{
	MrbResponse *response = palloc0(sizeof(MrbResponse));
	JsonbPair	pairs[DATA_COUNT];
	JsonbValue	data;

	if (deployment != NULL)
		read_row(response, deployment);
	else
		memset(response->present, true, DATA_COUNT);
	fill_object(response, 0, DATA_COUNT, &data, pairs);
	return mrb_jsonb_write(&data);
}

/*
 * Store a row that SQL passes in a new slot.
 */
TupleTableSlot *
mrb_response_slot(HeapTupleHeader row)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
											  HeapTupleHeaderGetTypMod(row));
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	HeapTuple	tuple = palloc0(HEAPTUPLESIZE);

	ReleaseTupleDesc(desc);
	tuple->t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_data = row;
	return ExecStoreHeapTuple(tuple, slot, false);
}

/*
 * Set the members that come from the deployment's row.
 */
static void
read_row(MrbResponse *response, TupleTableSlot *deployment)
{
	const AttrNumber *attnums = find_columns(deployment->tts_tupleDescriptor);
	bool		isnull;
	Datum		id;
	Datum		seq;

	slot_getallattrs(deployment);
	for (int i = 0; i < DATA_COUNT; i++)
	{
		Datum		value;

		response->present[i] = true;
		if (attnums[i] == InvalidAttrNumber)
			continue;
		value = slot_getattr(deployment, attnums[i], &isnull);
		if (!isnull)
			set_column(response, i, value);
	}
	id = slot_getattr(deployment, attnums[DATA_ID], &isnull);
	if (isnull)
		return;
	seq = slot_getattr(deployment, attnums[COLUMN_SEQ], &isnull);
	if (!isnull)
		set_operation_id(response, TextDatumGetCString(id),
						 DatumGetInt64(seq));
}

/*
 * Find the columns of the members, and seq.  Their numbers are cached while they
 * are columns of the same type of row and of the types that are read.
 */
static const AttrNumber *
find_columns(TupleDesc desc)
{
	static Oid	type = InvalidOid;
	static AttrNumber attnums[COLUMN_COUNT];

	if (desc->tdtypeid == type && type != RECORDOID &&
		have_types(desc, attnums))
		return attnums;
	type = InvalidOid;
	for (int i = 0; i < COLUMN_COUNT; i++)
		attnums[i] = get_type(i) == InvalidOid ? InvalidAttrNumber :
			find_column(desc, i == COLUMN_SEQ ? "seq" : members[i].name,
						get_type(i));
	type = desc->tdtypeid;
	return attnums;
}

/*
 * Whether these columns have the types that are read.
 */
static bool
have_types(TupleDesc desc, const AttrNumber *attnums)
{
	for (int i = 0; i < COLUMN_COUNT; i++)
	{
		if (attnums[i] != InvalidAttrNumber &&
			(attnums[i] > desc->natts ||
			 TupleDescAttr(desc, attnums[i] - 1)->atttypid != get_type(i)))
			return false;
	}
	return true;
}

/*
 * Return the type that a column must have; a member may have none.
 */
static Oid
get_type(int column)
{
	if (column == COLUMN_SEQ)
		return INT8OID;
	switch (members[column].source)
	{
		case FROM_TEXT:
			return TEXTOID;
		case FROM_INTEGER:
			return INT4OID;
		case FROM_BOOLEAN:
			return BOOLOID;
		case FROM_TIME:
			return TIMESTAMPTZOID;
		case FROM_OBJECT:
			return JSONBOID;
		default:
			return InvalidOid;
	}
}

/*
 * Find a column of the deployment's row.
 */
static AttrNumber
find_column(TupleDesc desc, const char *name, Oid type)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped ||
			strcmp(NameStr(attribute->attname), name) != 0)
			continue;
		mrb_table_check_type("deployments", name, attribute->atttypid, type);
		return i + 1;
	}
	elog(ERROR, "column \"%s\" of table miosa.deployments is missing", name);
}

/*
 * Set a member to the value of its column.
 */
static void
set_column(MrbResponse *response, MemberNumber number, Datum value)
{
	JsonbValue *member = &response->values[number];
	text	   *string;

	switch (members[number].source)
	{
		case FROM_TEXT:
			string = DatumGetTextPP(value);
			member->type = jbvString;
			member->val.string.val = VARDATA_ANY(string);
			member->val.string.len = VARSIZE_ANY_EXHDR(string);
			break;
		case FROM_INTEGER:
			set_number(member, DatumGetInt32(value));
			break;
		case FROM_BOOLEAN:
			member->type = jbvBool;
			member->val.boolean = DatumGetBool(value);
			break;
		case FROM_TIME:
			set_time(response, number, DatumGetTimestampTz(value));
			break;
		case FROM_OBJECT:
			open_jsonb(DatumGetJsonbP(value), member);
			set_metadata(response, member);
			break;
		default:
			elog(ERROR, "member \"%s\" has no column", members[number].name);
	}
}

/*
 * Set a member.
 */
static void
set_value(MrbResponse *response, MemberNumber number, const JsonbValue *value)
{
	response->values[number] = *value;
	response->present[number] = true;
}

/*
 * Set a member to a text; NULL becomes null.
 */
static void
set_text(MrbResponse *response, MemberNumber number, const char *value)
{
	response->present[number] = true;
	if (value != NULL)
		set_string(&response->values[number], value);
}

/*
 * Set an optional member to a JSON array or object.
 */
static void
set_json(MrbResponse *response, MemberNumber number, const char *json)
{
	JsonbValue	value;

	if (json == NULL)
		return;
	open_jsonb(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												  CStringGetDatum(json))),
			   &value);
	set_value(response, number, &value);
}

/*
 * Set a member to a time.
 */
static void
set_time(MrbResponse *response, MemberNumber number, TimestampTz at)
{
	response->times[number == DATA_CREATED_AT ? 0 : 1] = at;
	set_text(response, number,
			 mrb_iso_time_write(at, palloc(MRB_ISO_TIME_SIZE)));
}

/*
 * Set the metadata, and the members that come from it.
 */
static void
set_metadata(MrbResponse *response, JsonbValue *value)
{
	JsonbContainer *metadata = mrb_json_read_object(value);

	for (int i = 0; i < DATA_COUNT; i++)
	{
		JsonbValue	member = {.type = jbvNull};

		if (members[i].source != FROM_METADATA)
			continue;
		if (metadata != NULL)
			(void) mrb_json_read_find(metadata, members[i].name, &member);
		set_value(response, i, &member);
	}
	set_value(response, DATA_METADATA, value);
}

/*
 * Set the operation's id.
 */
static void
set_operation_id(MrbResponse *response, const char *deployment_id, int64 seq)
{
	size_t		len = strlen(deployment_id);
	char	   *id = palloc(len + 1 + MAXINT8LEN + 1);

	memcpy(id, deployment_id, len);
	id[len] = '#';
	(void) pg_lltoa(seq, id + len + 1);
	set_text(response, OPERATION_ID, id);
}

/*
 * Return a jsonb as a value.
 */
static void
open_jsonb(Jsonb *jsonb, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(jsonb))
		(void) JsonbExtractScalar(&jsonb->root, value);
	else
	{
		value->type = jbvBinary;
		value->val.binary.data = &jsonb->root;
		value->val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
	}
}

/*
 * Make an object of the members that are present.
 */
static void
fill_object(const MrbResponse *response, int first, int end,
			JsonbValue *object, JsonbPair *pairs)
{
	int			count = 0;

	for (int i = first; i < end; i++)
	{
		if (response->present[i])
			set_pair(&pairs[count++], members[i].name, members[i].len,
					 &response->values[i]);
	}
	object->type = jbvObject;
	object->val.object.nPairs = count;
	object->val.object.pairs = pairs;
}

/*
 * Set one member of an object.
 */
static void
set_pair(JsonbPair *pair, const char *name, int len, const JsonbValue *value)
{
	pair->key.type = jbvString;
	pair->key.val.string.val = unconstify(char *, name);
	pair->key.val.string.len = len;
	pair->value = *value;
	pair->order = 0;
}

/*
 * Make a value of a text.
 */
static void
set_string(JsonbValue *value, const char *string)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, string);
	value->val.string.len = strlen(string);
}

/*
 * Make a value of a number.
 */
static void
set_number(JsonbValue *value, int64 number)
{
	value->type = jbvNumeric;
	value->val.numeric = int64_to_numeric(number);
}

/*
 * Return what format 1 stores for a member.
 */
static void
pack_value(const MrbResponse *response, MemberNumber number,
		   TimestampTz created_at, JsonbValue *value)
{
	const JsonbValue *values = response->values;

	*value = values[number];
	if (value->type == jbvNull)
		return;
	switch (number)
	{
		case DATA_CREATED_AT:
			set_number(value, response->times[0]);
			break;
		case DATA_UPDATED_AT:
			if (response->times[1] == created_at)
				value->type = jbvNull;
			else
				set_number(value, response->times[1]);
			break;
		case DATA_METADATA:
			if (mrb_json_read_object(value) != NULL &&
				JsonContainerSize(mrb_json_read_object(value)) == 0)
				value->type = jbvNull;
			break;
		case OPERATION_TARGET:
			if (same_string(value, &values[DATA_ACTIVE_VERSION_ID]))
				value->type = jbvNull;
			break;
		default:
			break;
	}
}

/*
 * Whether both values are the same string.
 */
static bool
same_string(const JsonbValue *one, const JsonbValue *other)
{
	return one->type == jbvString && other->type == jbvString &&
		one->val.string.len == other->val.string.len &&
		memcmp(one->val.string.val, other->val.string.val,
			   one->val.string.len) == 0;
}

/*
 * Read the members of format 1; false if the array has another format.
 */
static bool
unpack_format_1(MrbResponse *response, JsonbContainer *array,
				TimestampTz created_at)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	value;
	int64		format;

	/* Skip the beginning of the array, then read the format. */
	(void) JsonbIteratorNext(&it, &value, true);
	if (value.val.array.rawScalar ||
		JsonbIteratorNext(&it, &value, true) != WJB_ELEM ||
		!read_number(&value, &format) || format != 1)
		return false;
	for (size_t i = 0; i < lengthof(format_1); i++)
	{
		/* Nulls at the end are left out. */
		if (it == NULL || JsonbIteratorNext(&it, &value, true) != WJB_ELEM)
		{
			it = NULL;
			value.type = jbvNull;
		}
		if (!unpack_value(response, format_1[i], &value, created_at))
			return false;
	}
	return true;
}

/*
 * Set a member to what format 1 stores for it; false if that cannot be.
 */
static bool
unpack_value(MrbResponse *response, MemberNumber number, JsonbValue *value,
			 TimestampTz created_at)
{
	bool		isnull = value->type == jbvNull;
	int64		at = created_at;

	switch (number)
	{
		case DATA_CREATED_AT:
		case DATA_UPDATED_AT:
			if (number == DATA_UPDATED_AT && isnull)
				at = created_at;
			else if (!read_number(value, &at))
				return false;
			set_time(response, number, at);
			return true;
		case DATA_METADATA:
			if (isnull)
			{
				value->type = jbvObject;
				value->val.object.nPairs = 0;
				value->val.object.pairs = NULL;
			}
			set_metadata(response, value);
			return true;
		case OPERATION_TARGET:
			if (isnull)
				*value = response->values[DATA_ACTIVE_VERSION_ID];
			break;
		default:
			if (isnull && members[number].source == FROM_OPERATION_OPTIONAL)
				return true;
			break;
	}
	set_value(response, number, value);
	return true;
}

/*
 * Read a whole number; false if the value is none.
 */
static bool
read_number(const JsonbValue *value, int64 *number)
{
	if (value->type != jbvNumeric)
		return false;
	*number = DatumGetInt64(DirectFunctionCall1(numeric_int8,
												NumericGetDatum(value->val.numeric)));
	return true;
}

/*
 * Read the members of a response that is stored as it is.
 */
static void
unpack_object(MrbResponse *response, JsonbContainer *object)
{
	static const char *const names[] = {"data", "operation"};

	for (int i = 0; i < MEMBER_COUNT; i++)
	{
		JsonbValue	value;

		if (!mrb_json_read_find(object, names[i >= DATA_COUNT], &value) ||
			mrb_json_read_object(&value) == NULL ||
			!mrb_json_read_find(mrb_json_read_object(&value), members[i].name,
								&value))
			continue;
		set_value(response, i, &value);
	}
}

/*
 * Raise the error for a record that this release cannot read.
 */
static void
raise_unknown_format(const char *deployment_id, int64 seq, Jsonb *packed)
{
	char	   *shown = JsonbToCString(NULL, &packed->root, VARSIZE(packed));

	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the stored response of operation %s#" INT64_FORMAT
					" has an unknown format", deployment_id, seq),
			 errdetail("The record begins with %.*s.",
					   pg_mbcliplen(shown, strlen(shown), 64), shown),
			 errhint("Install the release of miosa_rollback that wrote it, or a later one.")));
}
