/*-------------------------------------------------------------------------
 *
 * idempotency.c
 *	  Idempotency keys: a call with a used key returns the stored response.
 *
 * Expiry is decided on read, by the clock and not by the transaction's start,
 * so a late purge changes no result.  operation.c writes a record with the
 * operation, in the form of response.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/check_argument.h"
#include "base/miosa_rollback.h"
#include "base/optional_text.h"
#include "common/index_lookup.h"
#include "common/query.h"
#include "operation/as_of.h"
#include "operation/confirmed.h"
#include "operation/idempotency.h"
#include "operation/operation.h"
#include "operation/response.h"

/* Bytes of a part of a request, with its length, at most. */
#define MAX_PART (sizeof(uint32) + MRB_MAX_OPERATION_ID)

enum
{
	KEY_OPERATION,
	KEY_FINGERPRINT,
	KEY_RESPONSE,
	KEY_SEQ,
	KEY_CREATED_AT,
	KEY_EXPIRES_AT
};

static MrbIndexLookup key_row = {
	.table.name = "idempotency_keys",
	.table.index = "idempotency_keys_pkey",
	.table.columns = {
		[KEY_OPERATION] = "operation",
		[KEY_FINGERPRINT] = "fingerprint",
		[KEY_RESPONSE] = "response",
		[KEY_SEQ] = "seq",
		[KEY_CREATED_AT] = "created_at",
		[KEY_EXPIRES_AT] = "expires_at",
	},
	.table.types = {
		[KEY_FINGERPRINT] = BYTEAOID,
		[KEY_RESPONSE] = JSONBOID,
		[KEY_SEQ] = INT8OID,
		[KEY_CREATED_AT] = TIMESTAMPTZOID,
		[KEY_EXPIRES_AT] = TIMESTAMPTZOID,
	},
};

enum
{
	DEPLOYMENT_SEQ,
	DEPLOYMENT_ACTIVE
};

static MrbIndexLookup deployment_row = {
	.table.name = "deployments",
	.table.index = "deployments_pkey",
	.table.columns = {
		[DEPLOYMENT_SEQ] = "seq",
		[DEPLOYMENT_ACTIVE] = "active_version_id",
	},
	.table.types = {[DEPLOYMENT_SEQ] = INT8OID},
};

static MrbQuery forget_query = {
	.sql = "DELETE FROM miosa.idempotency_keys k"
	" WHERE k.deployment_id = $1 AND k.key = $2"
	" AND k.expires_at <= clock_timestamp()",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
	.expected = MRB_QUERY_DELETE,
};

static uint8 *write_part(uint8 *at, const char *part);
static MrbFingerprint hash(const uint8 *bytes, size_t len);
static Jsonb *read_response(const char *deployment_id, const char *key,
							const MrbFingerprint *fingerprint,
							MrbFinding *finding);
static MrbFinding find_mismatch(const char *deployment_id, const char *key,
								int64 seq);
static MrbFinding mark_if_superseded(const char *deployment_id,
									 MrbResponse *response, int64 seq,
									 int64 present_seq,
									 const char *present_version);

/*
 * Check a key and return its bare form.
 */
char *
mrb_idempotency_check_key(const char *key)
{
	static const char *const hint =
	"Use a UUID as the key: SELECT gen_random_uuid();";
	size_t		len = strlen(key);
	char	   *bare;

	if (len >= 2 && key[0] == '"' && key[len - 1] == '"')
		bare = pnstrdup(key + 1, len - 2);
	else
		bare = pstrdup(key);

	len = strlen(bare);
	if (strspn(bare, " ") == len)
		mrb_check_argument_refuse("idempotency key", NULL, bare,
								  len == 0 ? "The key is empty." :
								  "The key is blank.", hint);
	if (len > MRB_MAX_KEY)
		mrb_check_argument_too_long("idempotency key", len, "bytes",
									MRB_MAX_KEY, hint);
	for (size_t i = 0; i < len; i++)
	{
		if (bare[i] < 0x20 || bare[i] > 0x7e)
			mrb_check_argument_refuse("idempotency key", NULL, bare,
									  psprintf("Byte %zu of the key is not printable ASCII.",
											   i + 1), hint);
	}
	return bare;
}

/*
 * Hash the parts of a request, each with its length, so that no two different
 * requests are hashed as the same bytes.  The last result is kept: calls that
 * name no version are all alike, and setting a SHA-256 up costs more than the
 * hash of a few bytes.
 */
MrbFingerprint
mrb_idempotency_fingerprint(const char *operation, const char *target_id,
							const char *expected_active, const char *cutover)
{
	static uint8 last[4 * MAX_PART];
	static size_t last_len = 0;
	static MrbFingerprint last_result;
	uint8		parts[sizeof(last)];
	uint8	   *end = parts;

	end = write_part(end, operation);
	end = write_part(end, target_id);
	end = write_part(end, expected_active);
	end = write_part(end, cutover);
	if ((size_t) (end - parts) != last_len || memcmp(parts, last, last_len) != 0)
	{
		last_len = 0;
		last_result = hash(parts, end - parts);
		last_len = end - parts;
		memcpy(last, parts, last_len);
	}
	return last_result;
}

/*
 * Find the stored response of an unexpired key.
 */
Jsonb *
mrb_idempotency_look(const char *deployment_id, const char *key,
					 const MrbFingerprint *fingerprint, MrbFinding *finding,
					 bool *expired)
{
	Jsonb	   *response = NULL;

	*finding = mrb_finding_hold("idempotency_key");
	*expired = false;
	if (mrb_index_lookup_find(&key_row, deployment_id, key))
	{
		*expired = mrb_index_lookup_timestamp(&key_row, KEY_EXPIRES_AT) <=
			GetCurrentTimestamp();
		if (!*expired)
			response = read_response(deployment_id, key, fingerprint, finding);
		mrb_index_lookup_close(&key_row);
	}
	if (response == NULL)
		return NULL;
	mrb_confirmed_require(deployment_id);
	return mrb_as_of_stamp(response);
}

/*
 * Return when a key expires that is used now.
 */
TimestampTz
mrb_idempotency_expires_at(const Interval *retention)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   IntervalPGetDatum(retention)));
}

/*
 * Delete an expired record.
 */
void
mrb_idempotency_forget_expired(const char *deployment_id, const char *key)
{
	Datum		values[2];

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(key);
	mrb_query_open();
	(void) mrb_query_run(&forget_query, values, NULL);
	mrb_query_close();
}

/*
 * Write one part with its length, and return its end; NULL has a length that no
 * text can have.
 */
static uint8 *
write_part(uint8 *at, const char *part)
{
	size_t		len = part != NULL ? strlen(part) : 0;
	uint32		wire = pg_hton32(part != NULL ? (uint32) len : PG_UINT32_MAX);

	if (len > MRB_MAX_OPERATION_ID)
		elog(ERROR, "a part of a request has %zu bytes", len);
	memcpy(at, &wire, sizeof(wire));
	if (len > 0)
		memcpy(at + sizeof(wire), part, len);
	return at + sizeof(wire) + len;
}

/*
 * Return the SHA-256 of some bytes.
 */
static MrbFingerprint
hash(const uint8 *bytes, size_t len)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	MrbFingerprint it;

	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, bytes, len) < 0 ||
		pg_cryptohash_final(context, it.bytes, sizeof(it.bytes)) < 0)
		elog(ERROR, "could not compute a SHA-256: %s",
			 pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	return it;
}

/*
 * Return the response of the record that was found, if its request is the same.
 */
static Jsonb *
read_response(const char *deployment_id, const char *key,
			  const MrbFingerprint *fingerprint, MrbFinding *finding)
{
	int64		seq = mrb_index_lookup_int64(&key_row, KEY_SEQ);
	bool		isnull;
	bytea	   *stored = DatumGetByteaPP(mrb_index_lookup_datum(&key_row,
																KEY_FINGERPRINT,
																&isnull));
	MrbResponse *response;

	if (VARSIZE_ANY_EXHDR(stored) != sizeof(fingerprint->bytes) ||
		memcmp(VARDATA_ANY(stored), fingerprint->bytes,
			   sizeof(fingerprint->bytes)) != 0)
	{
		*finding = find_mismatch(deployment_id, key, seq);
		return NULL;
	}
	response = mrb_response_unpack(mrb_index_lookup_jsonb(&key_row, KEY_RESPONSE),
								   deployment_id, seq,
								   mrb_index_lookup_timestamp(&key_row,
															  KEY_CREATED_AT));

	/* The same snapshot shows whether the deployment has moved. */
	if (mrb_index_lookup_find(&deployment_row, deployment_id, NULL))
	{
		*finding = mark_if_superseded(deployment_id, response, seq,
									  mrb_index_lookup_int64(&deployment_row, DEPLOYMENT_SEQ),
									  mrb_index_lookup_text(&deployment_row, DEPLOYMENT_ACTIVE));
		mrb_index_lookup_close(&deployment_row);
	}
	return mrb_response_build(response);
}

/*
 * Make the finding that the key of the record was used for another request.
 */
static MrbFinding
find_mismatch(const char *deployment_id, const char *key, int64 seq)
{
	char	   *name = mrb_index_lookup_text(&key_row, KEY_OPERATION);

	return mrb_finding_fail("idempotency_key",
							MRB_ERR_IDEMPOTENCY_PAYLOAD_MISMATCH,
							psprintf("idempotency key \"%s\" was used for another request", key),
							psprintf("The key belongs to operation %s#" INT64_FORMAT ", %s %s at %s.",
									 deployment_id, seq,
									 name[0] == 'u' ? "an" : "a", name,
									 timestamptz_to_str(mrb_index_lookup_timestamp(&key_row,
																				   KEY_CREATED_AT))),
							"A new request needs a new key: SELECT gen_random_uuid();");
}

/*
 * A stored response describes the deployment as it was then.  If another
 * version is active now, warn of it, in the response too; the record does not
 * change.
 */
static MrbFinding
mark_if_superseded(const char *deployment_id, MrbResponse *response, int64 seq,
				   int64 present_seq, const char *present_version)
{
	char	   *target_id;
	char	   *message;
	char	   *detail;
	const char *hint;

	if (present_seq == seq)
		return mrb_finding_hold("idempotency_key");
	target_id = mrb_response_target(response);
	if (mrb_optional_text_equals(target_id, present_version))
		return mrb_finding_hold("idempotency_key");

	/* A response without a target is one that cannot be read, else. */
	if (target_id == NULL &&
		strcmp(mrb_index_lookup_text(&key_row, KEY_OPERATION),
			   mrb_operation_name(MRB_UNPUBLISH)) != 0)
		return mrb_finding_hold("idempotency_key");

	message = psprintf("deployment \"%s\" has moved since", deployment_id);
	detail = psprintf("This is the result of operation %s#" INT64_FORMAT
					  ", which made %s active; %s.",
					  deployment_id, seq,
					  target_id ? psprintf("\"%s\"", target_id) : "no version",
					  present_version ?
					  psprintf("active now is \"%s\"", present_version) :
					  "no version is active now");
	hint = "To act again, call with a new key: SELECT gen_random_uuid();";
	mrb_response_supersede(response,
						   psprintf("%s#" INT64_FORMAT, deployment_id, present_seq),
						   message, detail, hint);
	return mrb_finding_warn("idempotency_key", "SUPERSEDED", message, detail, hint);
}
