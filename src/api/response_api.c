/*-------------------------------------------------------------------------
 *
 * response_api.c
 *	  SQL-callable functions for responses and their parts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "common/iso_time.h"
#include "operation/response.h"

PG_FUNCTION_INFO_V1(mrb_iso);
PG_FUNCTION_INFO_V1(mrb_deployment_object);
PG_FUNCTION_INFO_V1(mrb_stored_response);

static Datum get_column(HeapTupleHeader row, const char *name);

/*
 * miosa.iso(at)
 */
Datum
mrb_iso(PG_FUNCTION_ARGS)
{
	char		buffer[MRB_ISO_TIME_SIZE];

	if (mrb_iso_time_write(PG_GETARG_TIMESTAMPTZ(0), buffer) == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(buffer));
}

/*
 * miosa.deployment_object(d): the members are null for no deployment
 */
Datum
mrb_deployment_object(PG_FUNCTION_ARGS)
{
	TupleTableSlot *slot = NULL;
	Jsonb	   *object;

	if (!PG_ARGISNULL(0))
		slot = mrb_response_slot(PG_GETARG_HEAPTUPLEHEADER(0));
	object = mrb_response_deployment(slot);
	if (slot != NULL)
		ExecDropSingleTupleTableSlot(slot);
	PG_RETURN_JSONB_P(object);
}

/*
 * miosa.stored_response(k)
 */
Datum
mrb_stored_response(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	char	   *deployment_id = TextDatumGetCString(get_column(row, "deployment_id"));
	MrbResponse *response;

	response = mrb_response_unpack(DatumGetJsonbP(get_column(row, "response")),
								   deployment_id,
								   DatumGetInt64(get_column(row, "seq")),
								   DatumGetTimestampTz(get_column(row, "created_at")));
	PG_RETURN_JSONB_P(mrb_response_build(response));
}

/*
 * Return a column of a record, none of which is null in the table.
 */
static Datum
get_column(HeapTupleHeader row, const char *name)
{
	bool		isnull;
	Datum		value = GetAttributeByName(row, name, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of the record is null", name),
				 errhint("Pass a row of miosa.idempotency_keys.")));
	return value;
}
