/*-------------------------------------------------------------------------
 *
 * audit_chain.c
 *	  Hashes of audit events, each over the event and the hash before it.
 *
 * An event's hash is the SHA-256 of its fields, one after the other: the name of
 * the encoding, the hash of the event before it, and the columns in the order
 * given here.  A field is its length in bytes, as four bytes with the highest
 * first, and then its bytes; a null has the length 0xffffffff and no bytes.  So
 * two different events never have the same encoding.  All values are texts in
 * UTF-8: numbers in decimal, times as microseconds since 1970 in UTC, addresses
 * with their mask, jsonb as PostgreSQL prints it.  docs/security.md describes the
 * same for those who verify without this code.
 *
 * operation.c and the verifying functions both come here, so what was written
 * cannot be verified in another way.  An encoding never changes once it is
 * released; a column that is added gets a new version of the name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "operation/audit_chain.h"

const MrbAuditChain mrb_audit_chain_events = {
	.format = "miosa audit event 1",
	.ncolumns = 19,
	.columns = {
		"deployment_id", "seq", "tenant_id", "action", "outcome",
		"target_rule", "previous_version_id", "target_version_id",
		"actor_type", "actor_id", "session_user_name", "client_addr",
		"application_name", "idempotency_key", "reason", "attribution", "marks",
		"created_at", "keep_until"
	},
	.types = {
		[1] = INT8OID,
		[11] = INETOID,
		[15] = JSONBOID,
		[16] = JSONBOID,
		[17] = TIMESTAMPTZOID,
		[18] = TIMESTAMPTZOID,
	},
};

const MrbAuditChain mrb_audit_chain_configuration = {
	.format = "miosa configuration event 1",
	.ncolumns = 13,
	.columns = {
		"chain", "seq", "kind", "object", "action", "was", "becomes",
		"reason", "actor_type", "actor_id", "session_user_name",
		"client_addr", "created_at"
	},
	.types = {
		[1] = INT8OID,
		[5] = JSONBOID,
		[6] = JSONBOID,
		[11] = INETOID,
		[12] = TIMESTAMPTZOID,
	},
};

/* Microseconds from 1970 to 2000, where the server's times begin. */
#define EPOCH_OFFSET \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

#define NULL_LENGTH 0xffffffff

/* Where the columns of a chain are in the rows of a call. */
typedef struct Columns
{
	Oid			type;
	int32		typmod;
	AttrNumber	attnums[MRB_AUDIT_CHAIN_MAX_COLUMNS];
} Columns;

PG_FUNCTION_INFO_V1(mrb_audit_hash);
PG_FUNCTION_INFO_V1(mrb_configuration_hash);

static pg_cryptohash_ctx *get_context(void);
static bytea *hash_row(const MrbAuditChain *chain, FunctionCallInfo fcinfo);
static const Columns *find_columns(const MrbAuditChain *chain,
								   HeapTupleHeader row, TupleDesc desc,
								   FmgrInfo *flinfo);
static void append_value(StringInfo out, Oid type, Datum value);
static void append_text(StringInfo out, const char *bytes, int len);
static void append_field(StringInfo out, const void *bytes, int len);

/*
 * Compute the hash of an event.
 */
bytea *
mrb_audit_chain_hash(const MrbAuditChain *chain, const Datum *values,
					 const bool *nulls, const bytea *previous)
{
	StringInfoData out;
	pg_cryptohash_ctx *context = get_context();
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	initStringInfo(&out);
	append_field(&out, chain->format, strlen(chain->format));
	if (previous == NULL)
		append_field(&out, NULL, 0);
	else
		append_field(&out, VARDATA_ANY(previous), VARSIZE_ANY_EXHDR(previous));
	for (int i = 0; i < chain->ncolumns; i++)
	{
		if (nulls[i])
			append_field(&out, NULL, 0);
		else
			append_value(&out, chain->types[i], values[i]);
	}
	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) out.data, out.len) < 0 ||
		pg_cryptohash_final(context, (uint8 *) VARDATA(hash),
							PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute the hash of an audit event");
	pfree(out.data);
	return hash;
}

/*
 * Return the context of SHA-256, which is made once: OpenSSL looks the algorithm up
 * each time, which takes longer than a hash.  It belongs to a resource owner that
 * is never released; an error leaves it to be initialized by the next hash.
 */
static pg_cryptohash_ctx *
get_context(void)
{
	static pg_cryptohash_ctx *context = NULL;
	static ResourceOwner ours = NULL;
	ResourceOwner saved = CurrentResourceOwner;

	if (context != NULL)
		return context;
	if (ours == NULL)
		ours = ResourceOwnerCreate(NULL, "miosa_rollback audit chain");
	CurrentResourceOwner = ours;
	context = pg_cryptohash_create(PG_SHA256);
	CurrentResourceOwner = saved;
	return context;
}

/*
 * miosa.audit_hash(event, previous): the hash that an event should have
 */
Datum
mrb_audit_hash(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(hash_row(&mrb_audit_chain_events, fcinfo));
}

/*
 * miosa.configuration_hash(event, previous): the same of a configuration event
 */
Datum
mrb_configuration_hash(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(hash_row(&mrb_audit_chain_configuration, fcinfo));
}

/*
 * Compute the hash of a row, the first argument; the second one is the hash
 * before it.
 */
static bytea *
hash_row(const MrbAuditChain *chain, FunctionCallInfo fcinfo)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	bytea	   *previous = PG_ARGISNULL(1) ? NULL : PG_GETARG_BYTEA_PP(1);
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
											  HeapTupleHeaderGetTypMod(row));
	const Columns *columns = find_columns(chain, row, desc, fcinfo->flinfo);
	HeapTupleData tuple = {
		.t_len = HeapTupleHeaderGetDatumLength(row),
		.t_data = row,
	};
	Datum		values[MRB_AUDIT_CHAIN_MAX_COLUMNS];
	bool		nulls[MRB_AUDIT_CHAIN_MAX_COLUMNS];
	Datum	   *all = palloc(desc->natts * sizeof(Datum));
	bool	   *all_nulls = palloc(desc->natts * sizeof(bool));

	heap_deform_tuple(&tuple, desc, all, all_nulls);
	for (int i = 0; i < chain->ncolumns; i++)
	{
		values[i] = all[columns->attnums[i] - 1];
		nulls[i] = all_nulls[columns->attnums[i] - 1];
	}
	ReleaseTupleDesc(desc);
	return mrb_audit_chain_hash(chain, values, nulls, previous);
}

/*
 * Find the columns of a chain in a row, once for all rows of a call.
 */
static const Columns *
find_columns(const MrbAuditChain *chain, HeapTupleHeader row, TupleDesc desc,
			 FmgrInfo *flinfo)
{
	Columns    *columns = flinfo->fn_extra;

	if (columns != NULL && columns->type == HeapTupleHeaderGetTypeId(row) &&
		columns->typmod == HeapTupleHeaderGetTypMod(row))
		return columns;
	columns = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Columns));
	for (int i = 0; i < chain->ncolumns; i++)
	{
		for (int j = 0; j < desc->natts; j++)
		{
			Form_pg_attribute column = TupleDescAttr(desc, j);

			if (!column->attisdropped &&
				strcmp(NameStr(column->attname), chain->columns[i]) == 0 &&
				column->atttypid == (chain->types[i] ? chain->types[i] : TEXTOID))
				columns->attnums[i] = column->attnum;
		}
		if (columns->attnums[i] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of audit events is missing or has another type",
							chain->columns[i])));
	}
	columns->type = HeapTupleHeaderGetTypeId(row);
	columns->typmod = HeapTupleHeaderGetTypMod(row);
	flinfo->fn_extra = columns;
	return columns;
}

/*
 * Append a value that is not null.
 */
static void
append_value(StringInfo out, Oid type, Datum value)
{
	char		digits[32];
	char	   *text;

	switch (type)
	{
		case INT8OID:
			append_field(out, digits, pg_lltoa(DatumGetInt64(value), digits));
			break;
		case TIMESTAMPTZOID:
			append_field(out, digits,
						 pg_lltoa(DatumGetTimestampTz(value) + EPOCH_OFFSET, digits));
			break;
		case INETOID:
			append_value(out, TEXTOID, DirectFunctionCall1(network_show, value));
			break;
		case JSONBOID:
			{
				Jsonb	   *jsonb = DatumGetJsonbP(value);

				text = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
				append_text(out, text, strlen(text));
				pfree(text);
				break;
			}
		default:
			{
				struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);

				append_text(out, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
			}
	}
}

/*
 * Append a text in UTF-8, whatever the encoding of the database.  One that has
 * none keeps its bytes.
 */
static void
append_text(StringInfo out, const char *bytes, int len)
{
	char	   *utf8;

	if (GetDatabaseEncoding() == PG_UTF8 ||
		GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		append_field(out, bytes, len);
		return;
	}
	utf8 = pg_server_to_any(bytes, len, PG_UTF8);
	append_field(out, utf8, utf8 == bytes ? len : (int) strlen(utf8));
}

/*
 * Append a field; bytes are NULL for a null.
 */
static void
append_field(StringInfo out, const void *bytes, int len)
{
	uint32		length = pg_hton32(bytes == NULL ? NULL_LENGTH : (uint32) len);

	appendBinaryStringInfo(out, (const char *) &length, sizeof(length));
	if (len > 0)
		appendBinaryStringInfo(out, bytes, len);
}
