/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  What an alert about a deployment may do.
 *
 * An automatic rollback cannot flap.  It happens only while the active version is
 * younger than the bake time, since an older one is unlikely to be the cause; once
 * for each version, since somebody who promotes it again has decided to; and never
 * off a version that an alert has rolled back to, since the cause then is another
 * one, and a chain of rollbacks would end at the oldest version.  Nor is a version
 * the cause of an alert that began before it: it may be the mend, and the alert may
 * have come late.  What remains is for people: the alert is sent to hooks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "common/query.h"
#include "operation/watch.h"

/* Columns of watch_query. */
enum
{
	WATCH_ACT = 1,
	WATCH_MATCHES,
	WATCH_VERSION,
	WATCH_VERSION_NAME,
	WATCH_KNOWN,
	WATCH_EARLIER,
	WATCH_BAKING,
	WATCH_AGE,
	WATCH_BAKE,
	WATCH_AGAIN,
	WATCH_TARGET,
};

static MrbQuery watch_query = {
	.sql = "SELECT w.on_alert, w.labels <@ $2, d.active_version_id,"
	" miosa.version_name(d.id, d.active_version_id), s.since IS NOT NULL,"
	" $3 < s.since,"
	" pg_catalog.clock_timestamp() - s.since < w.bake,"
	" miosa.span(pg_catalog.clock_timestamp() - s.since), miosa.span(w.bake),"
	" EXISTS (SELECT FROM miosa.alerts a WHERE a.deployment_id = d.id"
	" AND a.done = 'rollback' AND a.version_id = d.active_version_id),"
	" EXISTS (SELECT FROM miosa.alerts a WHERE a.deployment_id = d.id"
	" AND a.done = 'rollback' AND a.target_version_id = d.active_version_id)"
	" FROM miosa.deployments d LEFT JOIN miosa.watches w ON w.deployment_id = d.id"
	" CROSS JOIN LATERAL (SELECT miosa.active_since(d.id) AS since) s"
	" WHERE d.id = $1",
	.nargs = 3,
	.argtypes = {TEXTOID, JSONBOID, TIMESTAMPTZOID},
};

/* What is known of a deployment and its watch. */
typedef struct Watch
{
	bool		exists;			/* the deployment */
	char	   *on_alert;		/* NULL: it is not watched */
	bool		matches;		/* the alert has the labels of the watch */
	char	   *version_id;		/* that is active, or NULL */
	char	   *version;		/* as people write it */
	bool		known;			/* since when it is active */
	bool		earlier;		/* the alert began before that */
	bool		baking;			/* for less than the bake time */
	char	   *age;
	char	   *bake;
	bool		again;			/* an alert has rolled it back */
	bool		target;			/* an alert has rolled back to it */
} Watch;

static Watch read_watch(const char *deployment_id, Jsonb *labels,
						TimestampTz starts_at);
static const char *find_objection(const Watch *watch);

/*
 * Judge an alert.
 */
MrbWatchVerdict
mrb_watch_judge(const char *deployment_id, Jsonb *labels, TimestampTz starts_at)
{
	Watch		watch = read_watch(deployment_id, labels, starts_at);
	MrbWatchVerdict verdict = {
		.act = MRB_WATCH_NOTIFY,
		.active_version_id = watch.version_id,
		.why = find_objection(&watch),
	};

	if (verdict.why == NULL)
	{
		verdict.act = strcmp(watch.on_alert, "hold") == 0 ? MRB_WATCH_HOLD :
			MRB_WATCH_ROLLBACK;
		verdict.why = psprintf("%s has been active for %s, and the bake time is %s",
							   watch.version, watch.age, watch.bake);
	}
	return verdict;
}

/*
 * Read what a judgement needs.
 */
static Watch
read_watch(const char *deployment_id, Jsonb *labels, TimestampTz starts_at)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id), JsonbPGetDatum(labels),
		TimestampTzGetDatum(starts_at)
	};
	Watch		watch = {0};

	mrb_query_open();
	if (mrb_query_run(&watch_query, values, NULL) > 0)
	{
		watch.exists = true;
		watch.on_alert = mrb_query_text(0, WATCH_ACT);
		watch.matches = mrb_query_bool(0, WATCH_MATCHES);
		watch.version_id = mrb_query_text(0, WATCH_VERSION);
		watch.version = mrb_query_text(0, WATCH_VERSION_NAME);
		watch.known = mrb_query_bool(0, WATCH_KNOWN);
		watch.earlier = watch.known && mrb_query_bool(0, WATCH_EARLIER);
		watch.baking = mrb_query_bool(0, WATCH_BAKING);
		watch.age = mrb_query_text(0, WATCH_AGE);
		watch.bake = mrb_query_text(0, WATCH_BAKE);
		watch.again = mrb_query_bool(0, WATCH_AGAIN);
		watch.target = mrb_query_bool(0, WATCH_TARGET);
	}
	mrb_query_close();
	return watch;
}

/*
 * Say why an alert may only notify; NULL if it may act.
 */
static const char *
find_objection(const Watch *watch)
{
	if (!watch->exists)
		return "there is no such deployment";
	if (watch->on_alert == NULL)
		return "the deployment is not watched";
	if (!watch->matches)
		return "the alert lacks labels of the watch";
	if (strcmp(watch->on_alert, "notify") == 0)
		return "the watch only notifies";
	if (watch->version_id == NULL)
		return "no version is active";
	if (!watch->known)
		return psprintf("since when %s is active is not known", watch->version);
	if (watch->earlier)
		return psprintf("the alert began before %s became active", watch->version);
	if (!watch->baking)
		return psprintf("%s has been active for %s, and the bake time is %s",
						watch->version, watch->age, watch->bake);
	if (strcmp(watch->on_alert, "rollback") != 0)
		return NULL;
	if (watch->again)
		return psprintf("an alert has rolled %s back before", watch->version);
	if (watch->target)
		return psprintf("%s is what an alert has rolled back to", watch->version);
	return NULL;
}
