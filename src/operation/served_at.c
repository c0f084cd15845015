/*-------------------------------------------------------------------------
 *
 * served_at.c
 *	  The version that served at a moment.
 *
 * The audit events say it (miosa.serving_periods()), as far back as they are
 * kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/check_argument.h"
#include "common/query.h"
#include "operation/served_at.h"

/* Columns of served_query, from 1. */
enum
{
	OLDEST_AT = 1,
	OLDEST_SEQ,
	OLDEST_PREVIOUS,
	SERVED_VERSION
};

/* Events of a deployment of the same id that was removed are not looked at. */
static MrbQuery served_query = {
	.sql = "SELECT o.created_at, o.seq, o.previous_version_id, s.version_id"
	" FROM (SELECT a.created_at, a.seq - coalesce(c.last_seq, 0) AS seq,"
	" a.previous_version_id FROM miosa.audit_events a"
	" LEFT JOIN miosa.audit_checkpoints c ON c.deployment_id = a.deployment_id"
	" WHERE a.deployment_id = $1 AND a.seq > coalesce(c.last_seq, 0)"
	" ORDER BY a.seq LIMIT 1) o"
	" LEFT JOIN miosa.serving_periods($1) s ON o.created_at <= $2"
	" AND s.began <= $2 AND (s.ended > $2 OR s.ended IS NULL) LIMIT 1",
	.nargs = 2,
	.argtypes = {TEXTOID, TIMESTAMPTZOID},
};

static char *describe_oldest(TimestampTz at, int64 seq, const char *previous);

/*
 * Check the moment whose version is to be restored.
 */
void
mrb_served_at_check(const MrbCallerRequest *request)
{
	const char *problem = NULL;

	if (request->served_at == 0)
		return;
	if (request->version_id != NULL)
		problem = "A version is named as well.";
	else if (TIMESTAMP_NOT_FINITE(request->served_at))
		problem = "The time is infinite.";
	else if (request->served_at > GetCurrentTimestamp())
		problem = "The time is in the future.";
	if (problem != NULL)
		mrb_check_argument_refuse("argument", "served_at",
								  timestamptz_to_str(request->served_at), problem,
								  "Pass a time at which the wanted version served, and no version.");
}

/*
 * Find the version that served.
 */
MrbFinding
mrb_served_at_find(const MrbDeployment *deployment, TimestampTz at,
				   char **version_id)
{
	static const char *const name = "previous_version";
	Datum		values[2];
	bool		any;
	TimestampTz oldest_at = 0;
	int64		oldest_seq = 0;
	char	   *oldest_previous = NULL;
	char	   *when = pstrdup(timestamptz_to_str(at));
	char	   *hint;

	values[0] = CStringGetTextDatum(deployment->id);
	values[1] = TimestampTzGetDatum(at);
	*version_id = NULL;
	mrb_query_open();
	any = mrb_query_run(&served_query, values, NULL) > 0;
	if (any)
	{
		oldest_at = mrb_query_timestamp(0, OLDEST_AT, 0);
		oldest_seq = mrb_query_int64(0, OLDEST_SEQ, 0);
		oldest_previous = mrb_query_text(0, OLDEST_PREVIOUS);
		*version_id = mrb_query_text(0, SERVED_VERSION);
	}
	mrb_query_close();
	if (*version_id != NULL)
		return mrb_finding_hold(name);

	hint = psprintf("Name a version; see the candidates with %s",
					mrb_caller_request_show(deployment->request, "candidates",
											deployment->id));
	if (any && at >= oldest_at)
		return mrb_finding_fail(name, MRB_ERR_NO_PREVIOUS_VERSION,
								psprintf("deployment \"%s\" served nothing at %s",
										 deployment->id, when),
								"No version was active then.", hint);
	return mrb_finding_fail(name, MRB_ERR_NO_PREVIOUS_VERSION,
							psprintf("it is not known what deployment \"%s\" served at %s",
									 deployment->id, when),
							any ? describe_oldest(oldest_at, oldest_seq, oldest_previous) :
							"The deployment has no audit events.", hint);
}

/*
 * Say since when it is known what served, and why not before.
 */
static char *
describe_oldest(TimestampTz at, int64 seq, const char *previous)
{
	return psprintf("The audit events begin at %s, when %s%s%s was active.%s",
					timestamptz_to_str(at),
					previous ? "version \"" : "no version",
					previous ? previous : "", previous ? "\"" : "",
					seq > 1 ? " Older ones are kept no longer." : "");
}
