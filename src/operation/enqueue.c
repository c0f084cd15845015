/*-------------------------------------------------------------------------
 *
 * enqueue.c
 *	  Queuing of work for a deployment in the transaction that causes it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "common/query.h"
#include "notify/wakeup.h"
#include "operation/enqueue.h"
#include "operation/write_guard.h"

PG_FUNCTION_INFO_V1(mrb_queue_work);

static MrbQuery number_query = {
	.sql = "UPDATE miosa.deployments p SET route_seq = p.route_seq + 1"
	" WHERE p.id = $1 RETURNING p.route_seq",
	.nargs = 1,
	.argtypes = {TEXTOID},
	.expected = MRB_QUERY_UPDATE_RETURNING,
};

static MrbQuery insert_query = {
	.sql = "INSERT INTO miosa.outbox (deployment_id, kind, route_seq, host)"
	" VALUES ($1, $2, $3, $4)",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, INT8OID, TEXTOID},
	.expected = MRB_QUERY_INSERT,
};

/*
 * miosa.queue(deployment_id, kind, host)
 */
Datum
mrb_queue_work(PG_FUNCTION_ARGS)
{
	int64		number;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "deployment_id and kind must not be null");
	number = mrb_enqueue(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						 text_to_cstring(PG_GETARG_TEXT_PP(1)),
						 PG_ARGISNULL(2) ? NULL :
						 text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (number == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(number);
}

/*
 * Queue work as the deployment's next route change.
 */
int64
mrb_enqueue(const char *deployment_id, const char *kind, const char *host)
{
	Datum		values[4];
	bool		nulls[4] = {false};
	int64		number = 0;

	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(kind);
	nulls[3] = host == NULL;
	values[3] = host ? CStringGetTextDatum(host) : (Datum) 0;

	mrb_query_open();
	if (mrb_write_guard_run(&number_query, values, NULL) > 0)
		number = mrb_query_int64(0, 1, 0);
	values[2] = Int64GetDatum(number);
	(void) mrb_query_run(&insert_query, values, nulls);
	mrb_query_close();
	mrb_wakeup_dispatcher(NULL, NULL);
	return number;
}
