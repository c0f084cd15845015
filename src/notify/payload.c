/*-------------------------------------------------------------------------
 *
 * payload.c
 *	  Payloads of notifications.
 *
 * The only user of jansson, which allocates with malloc: its memory is freed
 * before an error can be raised.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <jansson.h>

#include "base/guc.h"
#include "notify/payload.h"

StaticAssertDecl(JANSSON_VERSION_HEX >= 0x020800,
				 "jansson 2.8 is needed: it keeps the order of members");

static json_t *id_or_null(const char *id);
static char *write_and_free(json_t *value);

/*
 * Return the payload for one route change.
 */
char *
mrb_payload_route(int64 epoch, const char *deployment_id,
				  const char *version_id)
{
	/* Any role may listen to any channel. */
	if (mrb_tenancy == MRB_TENANCY_ENFORCED)
		deployment_id = version_id = NULL;
	return write_and_free(json_pack("{s:o, s:o, s:o}",
									"epoch",
									epoch != 0 ? json_integer(epoch) : json_null(),
									"deployment_id", id_or_null(deployment_id),
									"version_id", id_or_null(version_id)));
}

/*
 * Return the payload for a range of epochs.
 */
char *
mrb_payload_range(int64 from, int64 to)
{
	return write_and_free(json_pack("{s:I, s:I}",
									"from", (json_int_t) from,
									"to", (json_int_t) to));
}

/*
 * Return an id as JSON, or null if it is missing or not valid UTF-8.  The API
 * refuses such ids, and one that was loaded must not end the dispatcher;
 * listeners read the log.
 */
static json_t *
id_or_null(const char *id)
{
	json_t	   *value = id != NULL ? json_string(id) : NULL;

	return value != NULL ? value : json_null();
}

/*
 * Return the text of a value, palloc'd, and free the value, which is NULL after a
 * failure.
 */
static char *
write_and_free(json_t *value)
{
	char	   *dumped = value ? json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	char	   *copy = NULL;

	json_decref(value);
	if (dumped != NULL)
		copy = MemoryContextAllocExtended(CurrentMemoryContext,
										  strlen(dumped) + 1,
										  MCXT_ALLOC_NO_OOM);

	if (copy != NULL)
		strcpy(copy, dumped);
	free(dumped);
	if (copy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Could not build a JSON text.")));
	return copy;
}
