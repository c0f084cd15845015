/*-------------------------------------------------------------------------
 *
 * alert_record.c
 *	  What is recorded of alerts.
 *
 * miosa.alerts has each alert once, by its fingerprint and the time it began, so
 * that what comes again is known.  The history of the deployment has a note of each
 * one that has made no rollback.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/json_build.h"
#include "common/iso_time.h"
#include "common/json_read.h"
#include "common/query.h"
#include "notify/wakeup.h"
#include "operation/alert_record.h"
#include "operation/hold.h"
#include "operation/note.h"
#include "operation/tenancy.h"

/* Columns of known_query. */
enum
{
	KNOWN_RESOLVED = 1,
	KNOWN_BUSY,
};

static MrbQuery known_query = {
	.sql = "SELECT a.resolved_at IS NOT NULL,"
	" coalesce(a.condition = 'DEPLOYMENT_BUSY', false) FROM miosa.alerts a"
	" WHERE a.deployment_id = $1 AND a.fingerprint = $2 AND a.starts_at = $3",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID},
};

static MrbQuery resolve_query = {
	.sql = "UPDATE miosa.alerts a SET resolved_at = $4"
	" WHERE a.deployment_id = $1 AND a.fingerprint = $2 AND a.starts_at = $3"
	" AND a.resolved_at IS NULL",
	.nargs = 4,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	.expected = MRB_QUERY_UPDATE,
};

/*
 * Another call may record the alert of a deployment that is locked.  One that has
 * found it locked is judged when the alert comes again.
 */
static MrbQuery record_query = {
	.sql = "INSERT INTO miosa.alerts (deployment_id, fingerprint, starts_at,"
	" resolved_at, name, labels, annotations, version_id, target_version_id,"
	" done, why, condition, seq, received_at, keep_until)"
	" SELECT d.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
	" pg_catalog.split_part($13, '#', 2)::bigint, t.now,"
	" t.now + miosa.audit_retention(d.tenant_id)"
	" FROM miosa.deployments d,"
	" (SELECT pg_catalog.clock_timestamp() AS now OFFSET 0) t WHERE d.id = $1"
	" ON CONFLICT ON CONSTRAINT alerts_pkey DO UPDATE SET"
	" version_id = excluded.version_id,"
	" target_version_id = excluded.target_version_id, done = excluded.done,"
	" why = excluded.why, condition = excluded.condition, seq = excluded.seq"
	" WHERE alerts.condition = 'DEPLOYMENT_BUSY' AND excluded.seq IS NOT NULL",
	.nargs = 13,
	.argtypes = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,
		JSONBOID, JSONBOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	TEXTOID},
	.expected = MRB_QUERY_INSERT,
};

/*
 * One row a transaction has the dispatcher send alerts to hooks, and note those
 * that have found their deployment locked.
 */
static MrbQuery notify_query = {
	.sql = "INSERT INTO miosa.outbox (deployment_id, kind) VALUES ('', 'alert')"
	" ON CONFLICT DO NOTHING",
	.expected = MRB_QUERY_INSERT,
};

static int	set_key(Datum *values, const char *deployment_id, const MrbAlert *alert);
static void set_text(Datum *values, bool *nulls, int column, const char *value);

/*
 * Look for an alert that came before.
 */
MrbAlertKnown
mrb_alert_record_find(const char *deployment_id, const MrbAlert *alert)
{
	Datum		values[3];
	MrbAlertKnown known = {0};

	set_key(values, deployment_id, alert);
	mrb_query_open();
	known.came = mrb_query_run(&known_query, values, NULL) > 0;
	if (known.came)
	{
		known.resolved = mrb_query_bool(0, KNOWN_RESOLVED);
		known.busy = mrb_query_bool(0, KNOWN_BUSY);
	}
	mrb_query_close();
	return known;
}

/*
 * Leave a note in the deployment's history.  A hold is opened by its own kind of
 * note.
 */
void
mrb_alert_record_note(const char *deployment_id, const MrbAlert *alert,
					  MrbAlertDeed *deed)
{
	bool		holds = strcmp(deed->done, "hold") == 0;
	MrbNote		note = {
		.action = holds ? MRB_HOLD : MRB_ALERT,
		.deployment_id = deployment_id,
		.reason = alert->reason,
		.scopes = MRB_SCOPE_ROLLBACK,
	};

	(void) mrb_note_begin(&note);
	appendStringInfo(&note.marks, "\"alert\": %s", mrb_alert_record_show(alert, deed));
	if (holds)
	{
		MrbActor	actor = mrb_actor_read();

		note.hold = mrb_hold_open(note.now, &actor, note.reason, false, 0);
	}
	deed->response = mrb_note_write(&note);
}

/*
 * Record an alert.
 */
void
mrb_alert_record_add(const char *deployment_id, const MrbAlert *alert,
					 const MrbAlertDeed *deed)
{
	Datum		values[13];
	bool		nulls[13] = {false};
	int			n = set_key(values, deployment_id, alert);

	nulls[n] = alert->firing;
	values[n++] = TimestampTzGetDatum(alert->ends_at);
	set_text(values, nulls, n++, alert->name);
	values[n++] = JsonbPGetDatum(alert->labels);
	values[n++] = JsonbPGetDatum(alert->annotations);
	set_text(values, nulls, n++, deed->version_id);
	set_text(values, nulls, n++, deed->target_id);
	set_text(values, nulls, n++, strcmp(deed->done, "known") == 0 ? "rollback" : deed->done);
	set_text(values, nulls, n++, deed->why);
	set_text(values, nulls, n++, deed->condition);
	set_text(values, nulls, n++, mrb_alert_record_operation(deed->response));
	mrb_query_open();
	mrb_query_run(&record_query, values, nulls);
	mrb_query_close();
}

/*
 * Record the end of an alert that is recorded.
 */
void
mrb_alert_record_end(const char *deployment_id, const MrbAlert *alert)
{
	Datum		values[4];
	int			n = set_key(values, deployment_id, alert);

	values[n] = TimestampTzGetDatum(alert->ends_at);
	mrb_query_open();
	mrb_query_run(&resolve_query, values, NULL);
	mrb_query_close();
}

/*
 * Set the values of the key of an alert.  Returns their number.
 */
static int
set_key(Datum *values, const char *deployment_id, const MrbAlert *alert)
{
	values[0] = CStringGetTextDatum(deployment_id);
	values[1] = CStringGetTextDatum(alert->fingerprint);
	values[2] = TimestampTzGetDatum(alert->starts_at);
	return 3;
}

/*
 * Set a text value; NULL becomes SQL null.
 */
static void
set_text(Datum *values, bool *nulls, int column, const char *value)
{
	nulls[column] = value == NULL;
	values[column] = value != NULL ? CStringGetTextDatum(value) : (Datum) 0;
}

/*
 * Show an alert for the marks of an audit event, with what was done.
 */
char *
mrb_alert_record_show(const MrbAlert *alert, const MrbAlertDeed *deed)
{
	StringInfoData json;
	char		starts_at[MRB_ISO_TIME_SIZE];

	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	mrb_json_build_string(&json, "fingerprint", alert->fingerprint);
	mrb_json_build_string(&json, "starts_at",
						  mrb_iso_time_write(alert->starts_at, starts_at));
	mrb_json_build_string(&json, "alertname", alert->name);
	mrb_json_build_string(&json, "status", alert->firing ? "firing" : "resolved");
	mrb_json_build_string(&json, "done", deed->done);
	if (deed->why != NULL)
		mrb_json_build_string(&json, "why", deed->why);
	if (deed->condition != NULL)
		mrb_json_build_string(&json, "condition", deed->condition);
	mrb_json_build_end(&json);
	return json.data;
}

/*
 * Return the id of the operation that a response is about.
 */
char *
mrb_alert_record_operation(Jsonb *response)
{
	JsonbValue	operation;

	if (response == NULL ||
		!mrb_json_read_get(&response->root, "operation", &operation) ||
		operation.type != jbvBinary)
		return NULL;
	return mrb_json_read_text(operation.val.binary.data, "id");
}

/*
 * Have the alerts that were recorded sent to hooks, or noted.
 */
void
mrb_alert_record_notify(void)
{
	mrb_query_open();
	mrb_query_run(&notify_query, NULL, NULL);
	mrb_query_close();
	mrb_wakeup_dispatcher(NULL, NULL);
}
