/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  Metrics for Prometheus and other monitoring.
 *
 * Counters and histograms are read from shared memory, where they only grow as
 * long as the server runs.  States and figures of the database come from
 * sql/metrics.sql, in two statements.  Metrics have labels of bounded number: what
 * an operation is, and endpoints with their zones; never a deployment.
 *
 * What is not known is left out, since a zero would say that all is well.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/metric_output.h"
#include "base/errors.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "common/lock_wait.h"
#include "common/query.h"
#include "common/registry.h"
#include "common/timer.h"
#include "endpoint/endpoint_stats.h"
#include "endpoint/endpoint_totals.h"
#include "operation/operation.h"
#include "operation/operation_stats.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(miosa_metrics);
PG_FUNCTION_INFO_V1(mrb_metric_rows);

/* Columns of miosa.metric_endpoints(), from 1. */
enum
{
	ENDPOINT_NAME = 1,
	ENDPOINT_ZONE,
	ENDPOINT_ROLE,
	ENDPOINT_STATE,
	ENDPOINT_WORKS,
	ENDPOINT_BREAKER_OPEN,
	ENDPOINT_EPOCHS_BEHIND,
	ENDPOINT_UNDELIVERED_SINCE,
	ENDPOINT_DEAD_LETTERS
};

/* Columns of miosa.metric_facts(), from 1. */
enum
{
	FACT_NAME = 1,
	FACT_LABEL,
	FACT_LABEL_VALUE,
	FACT_VALUE
};

/* How long the text is, roughly, without endpoints and for each. */
#define TEXT_BYTES 32768
#define TEXT_BYTES_EACH 2400

/* Labels of an endpoint. */
#define ENDPOINT_LABELS 3
static const char *const endpoint_labels[ENDPOINT_LABELS] = {"endpoint", "zone", "role"};

/* An endpoint; -1: not known. */
typedef struct Endpoint
{
	const char *values[ENDPOINT_LABELS];
	const char *state;
	MrbMetricLabels labels;
	int			works;
	int			breaker_open;
	int64		epochs_behind;
	double		undelivered;	/* seconds */
	int64		dead_letters;
	bool		counted;		/* it has totals */
	MrbEndpointTotalsRead totals;
} Endpoint;

/* A figure of the database. */
typedef struct Fact
{
	const char *name;
	const char *label;			/* NULL: none */
	const char *label_value;
	double		value;
} Fact;

/* All that is shown. */
typedef struct Metrics
{
	MrbMetricOutput output;
	MrbTick		began;
	Endpoint   *endpoints;
	int			nendpoints;
	TimestampTz undelivered;	/* the oldest change; DT_NOEND: none */
	Fact	   *facts;
	int			nfacts;
} Metrics;

/* What facts are.  All are gauges. */
static const MrbMetricFamily fact_families[] = {
	{"miosa_preloaded", MRB_METRIC_GAUGE,
	"Whether the library is preloaded; without it nothing is delivered or counted"},
	{"miosa_in_recovery", MRB_METRIC_GAUGE,
	"Whether the server is a standby, which delivers nothing"},
	{"miosa_dispatcher_up", MRB_METRIC_GAUGE,
	"Whether the dispatcher runs and has made a pass in the last 10 seconds; none on a standby"},
	{"miosa_dispatcher_paused", MRB_METRIC_GAUGE,
	"Whether the dispatcher delivers nothing until miosa_resume() is called"},
	{"miosa_dispatcher_state", MRB_METRIC_GAUGE,
	"State of the dispatcher: 1 for the one that it is in"},
	{"miosa_dispatcher_last_pass_age_seconds", MRB_METRIC_GAUGE,
	"Time since the dispatcher last looked for work; it does every second"},
	{"miosa_dispatcher_term", MRB_METRIC_GAUGE,
	"How often the route log was taken over, by another server or after a restore"},
	{"miosa_dispatcher_requests_in_flight", MRB_METRIC_GAUGE,
	"Requests without an answer yet"},
	{"miosa_dispatcher_pending_routes", MRB_METRIC_GAUGE,
	"Deployments whose route an endpoint has not acknowledged, summed over all endpoints"},
	{"miosa_outbox_rows", MRB_METRIC_GAUGE,
	"Committed work that the dispatcher has not taken, counted up to 10000"},
	{"miosa_oldest_undelivered_seconds", MRB_METRIC_GAUGE,
	"Age of the oldest change that an enabled endpoint lacks; 0 when none lacks any"},
	{"miosa_deployments_waiting", MRB_METRIC_GAUGE,
	"Deployments whose active version waits for instances, counted up to 1000"},
	{"miosa_instances_missing", MRB_METRIC_GAUGE,
	"Instances that these deployments lack"},
	{"miosa_deployments_overdue", MRB_METRIC_GAUGE,
	"Deployments that have waited for longer than miosa_rollback.cutover_deadline without a healthy instance"},
	{"miosa_artifacts_missing", MRB_METRIC_GAUGE,
	"Versions that could be rolled back to, had storage not lost their artifacts"},
	{"miosa_maintenance_age_seconds", MRB_METRIC_GAUGE,
	"Time since the last maintenance; none before the first"},
	{"miosa_holds_open", MRB_METRIC_GAUGE,
	"Deployments that are held against automatic promotions, counted up to 10000"},
	{"miosa_freezes_open", MRB_METRIC_GAUGE,
	"Freezes that are in force"},
	{"miosa_audit_head_age_seconds", MRB_METRIC_GAUGE,
	"Age of the newest statement of audit heads; none when there is none"},
	{"miosa_audit_head_lag_seconds", MRB_METRIC_GAUGE,
	"Age of the oldest change that no statement of audit heads covers; 0 when all are covered"},
	{"miosa_site_endpoints", MRB_METRIC_GAUGE,
	"Edges of another site that gets its routes from this one"},
	{"miosa_site_endpoints_behind", MRB_METRIC_GAUGE,
	"Edges of the site that lack a change which the site has"},
	{"miosa_site_epochs_behind", MRB_METRIC_GAUGE,
	"Route changes since the newest up to which all edges of the site have acknowledged all"},
	{"miosa_site_dead_letters", MRB_METRIC_GAUGE,
	"Deployments whose route an edge of the site refuses although it works"},
	{"miosa_site_report_age_seconds", MRB_METRIC_GAUGE,
	"Age of the newest thing that the site has reported to have; something comes every 5 seconds"},
};

static MrbQuery endpoints_query = {
	.sql = "SELECT * FROM miosa.metric_endpoints()",
};

static MrbQuery facts_query = {
	.sql = "SELECT * FROM miosa.metric_facts($1)",
	.nargs = 1,
	.argtypes = {TIMESTAMPTZOID},
};

static Datum call_text(PG_FUNCTION_ARGS);
static Datum call_rows(PG_FUNCTION_ARGS);
static void collect(Metrics *metrics);
static void read_endpoints(Metrics *metrics);
static void read_facts(Metrics *metrics);
static void put_facts(Metrics *metrics);
static void put_settings(Metrics *metrics);
static void put_dispatcher_counters(Metrics *metrics);
static void put_operations(Metrics *metrics);
static void put_endpoint_states(Metrics *metrics);
static int	compare_states(const void *one, const void *other);
static void put_endpoints(Metrics *metrics);
static void put_endpoint_totals(Metrics *metrics);
static void put_buckets(Metrics *metrics, const MrbMetricLabels *labels,
						const MrbBucketBound *scale, const uint64 *counts,
						uint64 sum);
static void put_atomic_buckets(Metrics *metrics, const MrbMetricLabels *labels,
							   const MrbBucketBound *scale, MrbBuckets *buckets);
static void put_one(Metrics *metrics, const MrbMetricFamily *family, double number);

/*
 * miosa_metrics(): all metrics as a text
 */
Datum
miosa_metrics(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_text, fcinfo);
}

/*
 * miosa_metrics(), with bounded waits.
 */
static Datum
call_text(PG_FUNCTION_ARGS)
{
	Metrics		metrics = {0};

	if (!mrb_tenancy_sees_endpoints())
		mrb_tenancy_require_all("function miosa_metrics");
	mrb_metric_output_init(&metrics.output, NULL);
	collect(&metrics);
	PG_RETURN_TEXT_P(mrb_metric_output_text(&metrics.output));
}

/*
 * miosa.metric_rows(): all metrics as rows; none for a caller who does not see
 * endpoints
 */
Datum
mrb_metric_rows(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	return mrb_lock_wait_call(MRB_INNER, call_rows, fcinfo);
}

/*
 * miosa.metric_rows(), with bounded waits.
 */
static Datum
call_rows(PG_FUNCTION_ARGS)
{
	Metrics		metrics = {0};

	if (!mrb_tenancy_sees_endpoints())
		return (Datum) 0;
	mrb_metric_output_init(&metrics.output, (ReturnSetInfo *) fcinfo->resultinfo);
	collect(&metrics);
	return (Datum) 0;
}

/*
 * Read and put everything.
 */
static void
collect(Metrics *metrics)
{
	static const MrbMetricFamily duration = {
		"miosa_metrics_duration_seconds", MRB_METRIC_GAUGE,
		"Time that it took to collect these metrics"
	};

	metrics->began = mrb_timer_read();
	read_endpoints(metrics);
	read_facts(metrics);
	mrb_metric_output_expect(&metrics->output,
							 TEXT_BYTES + metrics->nendpoints * TEXT_BYTES_EACH);
	put_settings(metrics);
	put_facts(metrics);
	put_dispatcher_counters(metrics);
	put_operations(metrics);
	put_endpoint_states(metrics);
	put_endpoints(metrics);
	put_endpoint_totals(metrics);
	put_one(metrics, &duration, (mrb_timer_read() - metrics->began) / 1e6);
}

/*
 * Read endpoints and their totals.
 */
static void
read_endpoints(Metrics *metrics)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext caller = CurrentMemoryContext;

	metrics->undelivered = DT_NOEND;
	mrb_query_open();
	metrics->nendpoints = (int) mrb_query_run(&endpoints_query, NULL, NULL);
	metrics->endpoints = MemoryContextAllocExtended(caller, Max(metrics->nendpoints, 1) * sizeof(Endpoint),
													MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < metrics->nendpoints; i++)
	{
		Endpoint   *it = &metrics->endpoints[i];
		TimestampTz since = mrb_query_timestamp(i, ENDPOINT_UNDELIVERED_SINCE, DT_NOEND);
		bool		isnull;

		it->values[0] = mrb_query_text(i, ENDPOINT_NAME);
		it->values[1] = mrb_query_text(i, ENDPOINT_ZONE);
		it->values[2] = mrb_query_text(i, ENDPOINT_ROLE);
		it->state = mrb_query_text(i, ENDPOINT_STATE);
		(void) mrb_query_datum(i, ENDPOINT_WORKS, &isnull);
		it->works = isnull ? -1 : mrb_query_bool(i, ENDPOINT_WORKS);
		(void) mrb_query_datum(i, ENDPOINT_BREAKER_OPEN, &isnull);
		it->breaker_open = isnull ? -1 : mrb_query_bool(i, ENDPOINT_BREAKER_OPEN);
		it->epochs_behind = mrb_query_int64(i, ENDPOINT_EPOCHS_BEHIND, -1);
		it->dead_letters = mrb_query_int64(i, ENDPOINT_DEAD_LETTERS, -1);
		it->undelivered = it->epochs_behind < 0 ? -1 :
			since == DT_NOEND ? 0 : Max(0, now - since) / 1e6;
		metrics->undelivered = Min(metrics->undelivered, since);
	}
	mrb_query_close();
	for (int i = 0; i < metrics->nendpoints; i++)
	{
		Endpoint   *it = &metrics->endpoints[i];

		it->labels = mrb_metric_output_labels(&metrics->output, ENDPOINT_LABELS,
											  endpoint_labels, it->values);
		it->counted = mrb_endpoint_totals_read(it->values[0], &it->totals);
	}
}

/*
 * Read the figures of the database.
 */
static void
read_facts(Metrics *metrics)
{
	Datum		values[] = {TimestampTzGetDatum(metrics->undelivered)};
	bool		nulls[] = {metrics->undelivered == DT_NOEND};
	MemoryContext caller = CurrentMemoryContext;

	mrb_query_open();
	metrics->nfacts = (int) mrb_query_run(&facts_query, values, nulls);
	metrics->facts = MemoryContextAlloc(caller, Max(metrics->nfacts, 1) * sizeof(Fact));
	for (int i = 0; i < metrics->nfacts; i++)
	{
		bool		isnull;

		metrics->facts[i].name = mrb_query_text(i, FACT_NAME);
		metrics->facts[i].label = mrb_query_text(i, FACT_LABEL);
		metrics->facts[i].label_value = mrb_query_text(i, FACT_LABEL_VALUE);
		metrics->facts[i].value = DatumGetFloat8(mrb_query_datum(i, FACT_VALUE, &isnull));
	}
	mrb_query_close();
}

/*
 * Put the figures of the database.
 */
static void
put_facts(Metrics *metrics)
{
	int			shown = 0;

	for (size_t f = 0; f < lengthof(fact_families); f++)
	{
		mrb_metric_output_family(&metrics->output, &fact_families[f]);
		for (int i = 0; i < metrics->nfacts; i++)
		{
			const Fact *fact = &metrics->facts[i];

			if (strcmp(fact->name, fact_families[f].name) != 0)
				continue;
			mrb_metric_output_put(&metrics->output, "", NULL, fact->label,
								  fact->label_value, fact->value);
			shown++;
		}
	}
	if (shown != metrics->nfacts)
		elog(ERROR, "a metric of miosa.metric_facts() is not known");
}

/*
 * Put what the library is, and what its settings allow.
 */
static void
put_settings(Metrics *metrics)
{
	static const char *const names[] = {"version", "site"};
	static const MrbMetricFamily info = {
		"miosa_info", MRB_METRIC_GAUGE,
		"Version of the library and miosa_rollback.site; always 1"
	};
	static const MrbMetricFamily endpoints = {
		"miosa_endpoint_slots", MRB_METRIC_GAUGE,
		"Places for endpoints of all databases in shared memory (miosa_rollback.max_endpoints)"
	};
	static const MrbMetricFamily endpoints_used = {
		"miosa_endpoint_slots_used", MRB_METRIC_GAUGE,
		"Those that are taken"
	};
	static const MrbMetricFamily databases = {
		"miosa_database_slots", MRB_METRIC_GAUGE,
		"Databases that may have a dispatcher (miosa_rollback.max_databases)"
	};
	static const MrbMetricFamily databases_used = {
		"miosa_database_slots_used", MRB_METRIC_GAUGE,
		"Those that have one"
	};
	static const MrbMetricFamily verified = {
		"miosa_artifact_verification_age_seconds", MRB_METRIC_GAUGE,
		"Time since all rollback targets were verified in storage, or since that first began"
	};
	static const MrbMetricFamily max_age = {
		"miosa_artifact_max_age_seconds", MRB_METRIC_GAUGE,
		"How long a verification counts (miosa_rollback.artifact_max_age)"
	};
	const char *values[] = {MIOSA_ROLLBACK_VERSION, mrb_site ? mrb_site : ""};
	MrbMetricLabels labels = mrb_metric_output_labels(&metrics->output, 2, names, values);
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	mrb_metric_output_family(&metrics->output, &info);
	mrb_metric_output_put(&metrics->output, "", &labels, NULL, NULL, 1);
	put_one(metrics, &max_age, mrb_artifact_max_age);
	if (!mrb_registry_available())
		return;
	put_one(metrics, &endpoints, mrb_max_endpoints);
	put_one(metrics, &endpoints_used, mrb_endpoint_stats_in_use());
	put_one(metrics, &databases, mrb_max_databases);
	put_one(metrics, &databases_used, mrb_registry_admitted());
	if (slot != NULL)
	{
		TimestampTz at = (TimestampTz) pg_atomic_read_u64(&slot->verified_at);

		if (at != 0)
			put_one(metrics, &verified, Max(0, GetCurrentTimestamp() - at) / 1e6);
	}
}

/*
 * Put the counters of the dispatcher.
 */
static void
put_dispatcher_counters(Metrics *metrics)
{
	static const struct
	{
		MrbCounter	counter;
		MrbMetricFamily family;
	}			shown[] = {
		{MRB_COUNTER_PASSES, {"miosa_dispatcher_passes_total", MRB_METRIC_COUNTER,
		"Passes of the dispatcher that found something to do"}},
		{MRB_COUNTER_ERRORS, {"miosa_dispatcher_errors_total", MRB_METRIC_COUNTER,
		"Passes that ended in an error; the log of the server has it"}},
		{MRB_COUNTER_ROUTES, {"miosa_route_changes_total", MRB_METRIC_COUNTER,
		"Route changes that the dispatcher has taken"}},
		{MRB_COUNTER_NOTIFIED, {"miosa_notifications_total", MRB_METRIC_COUNTER,
		"Notifications that the dispatcher has sent to listeners"}},
		{MRB_COUNTER_REFUSALS_DROPPED, {"miosa_refusals_dropped_total", MRB_METRIC_COUNTER,
		"Refused calls that miosa.refusals lacks, because there were too many at once"}},
		{MRB_COUNTER_UNMEASURED, {"miosa_convergence_unmeasured_total", MRB_METRIC_COUNTER,
		"Operations whose convergence was not measured, because there were too many at once"}},
	};
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	for (size_t i = 0; slot != NULL && i < lengthof(shown); i++)
		put_one(metrics, &shown[i].family, pg_atomic_read_u64(&slot->counters[shown[i].counter]));
}

/*
 * Put what operations there have been.
 */
static void
put_operations(Metrics *metrics)
{
	static const MrbMetricFamily operations = {
		"miosa_operations_total", MRB_METRIC_COUNTER,
		"Operations that were committed, by action and outcome"
	};
	static const MrbMetricFamily refusals = {
		"miosa_refusals_total", MRB_METRIC_COUNTER,
		"Calls that were refused, by condition"
	};
	static const MrbMetricFamily replays = {
		"miosa_replays_total", MRB_METRIC_COUNTER,
		"Calls that returned the stored response of their idempotency key"
	};
	static const MrbMetricFamily durations = {
		"miosa_operation_duration_seconds", MRB_METRIC_HISTOGRAM,
		"Duration of calls for one deployment that were committed, without the commit"
	};
	static const MrbMetricFamily convergence = {
		"miosa_convergence_seconds", MRB_METRIC_HISTOGRAM,
		"Time from an operation until the last edge had acknowledged it"
	};
	static const char *const names[] = {"action"};
	MrbOperationStats *stats = mrb_operation_stats_mine();
	MrbMetricOutput *output = &metrics->output;
	MrbMetricLabels actions[MRB_ACTIONS];
	const char *values[MRB_ACTIONS];

	if (stats == NULL)
		return;
	for (int a = 0; a < MRB_ACTIONS; a++)
	{
		values[a] = mrb_operation_name(a);
		actions[a] = mrb_metric_output_labels(output, 1, names, &values[a]);
	}
	mrb_metric_output_family(output, &operations);
	for (int a = 0; a < MRB_ROLLBACK_REFUSED; a++)
		for (int o = a < MRB_MOVES ? 0 : MRB_OUTCOME_UNCHANGED; o < MRB_OUTCOMES; o++)
			mrb_metric_output_put(output, "", &actions[a], "outcome",
								  mrb_operation_stats_outcome(o),
								  pg_atomic_read_u64(&stats->operations[a][o]));
	mrb_metric_output_family(output, &refusals);
	for (int c = 0; c < MRB_CONDITION_COUNT; c++)
		mrb_metric_output_put(output, "", NULL, "condition", mrb_errors_condition_name(c),
							  pg_atomic_read_u64(&stats->refusals[c]));
	put_one(metrics, &replays, pg_atomic_read_u64(&stats->replays));
	mrb_metric_output_family(output, &durations);
	for (int a = 0; a < MRB_MOVES; a++)
		put_atomic_buckets(metrics, &actions[a], mrb_buckets_calls, &stats->durations[a]);
	mrb_metric_output_family(output, &convergence);
	put_atomic_buckets(metrics, NULL, mrb_buckets_deliveries, &stats->convergence);
}

/*
 * Put how many endpoints there are in each state.
 */
static void
put_endpoint_states(Metrics *metrics)
{
	static const MrbMetricFamily family = {
		"miosa_endpoints", MRB_METRIC_GAUGE,
		"Endpoints by zone, role and state; a state without endpoints has none"
	};
	static const char *const names[] = {"zone", "role"};
	const Endpoint **sorted = palloc(Max(metrics->nendpoints, 1) * sizeof(Endpoint *));
	int			first = 0;

	for (int i = 0; i < metrics->nendpoints; i++)
		sorted[i] = &metrics->endpoints[i];
	qsort(sorted, metrics->nendpoints, sizeof(Endpoint *), compare_states);
	mrb_metric_output_family(&metrics->output, &family);
	for (int i = 1; i <= metrics->nendpoints; i++)
	{
		MrbMetricLabels labels;

		if (i < metrics->nendpoints && compare_states(&sorted[first], &sorted[i]) == 0)
			continue;
		labels = mrb_metric_output_labels(&metrics->output, 2, names, &sorted[first]->values[1]);
		mrb_metric_output_put(&metrics->output, "", &labels, "state", sorted[first]->state, i - first);
		first = i;
	}
}

/*
 * Compare zone, role and state.
 */
static int
compare_states(const void *one, const void *other)
{
	const Endpoint *a = *(const Endpoint *const *) one;
	const Endpoint *b = *(const Endpoint *const *) other;
	int			order = strcmp(a->values[1], b->values[1]);

	if (order == 0)
		order = strcmp(a->values[2], b->values[2]);
	return order != 0 ? order : strcmp(a->state, b->state);
}

/*
 * Put how each endpoint is.
 */
static void
put_endpoints(Metrics *metrics)
{
	static const MrbMetricFamily families[] = {
		{"miosa_endpoint_up", MRB_METRIC_GAUGE,
		"Whether requests to the endpoint succeed; none before the first, and where no dispatcher serves it"},
		{"miosa_endpoint_breaker_open", MRB_METRIC_GAUGE,
		"Whether no request is sent to the endpoint, or one as a trial, because others failed"},
		{"miosa_endpoint_epochs_behind", MRB_METRIC_GAUGE,
		"Route changes since the newest up to which the endpoint has acknowledged all"},
		{"miosa_endpoint_oldest_undelivered_seconds", MRB_METRIC_GAUGE,
		"Age of the oldest change that the endpoint lacks; 0 when it lacks none"},
		{"miosa_endpoint_dead_letters", MRB_METRIC_GAUGE,
		"Deployments whose route the endpoint refuses although it works, counted up to 10000 for all endpoints"},
	};

	for (size_t f = 0; f < lengthof(families); f++)
	{
		mrb_metric_output_family(&metrics->output, &families[f]);
		for (int i = 0; i < metrics->nendpoints; i++)
		{
			const Endpoint *it = &metrics->endpoints[i];
			double		numbers[] = {it->works, it->breaker_open, it->epochs_behind,
			it->undelivered, it->dead_letters};

			StaticAssertStmt(lengthof(numbers) == lengthof(families),
							 "each family must have a number");
			if (numbers[f] >= 0)
				mrb_metric_output_put(&metrics->output, "", &it->labels, NULL, NULL, numbers[f]);
		}
	}
}

/*
 * Put the counters of each endpoint.
 */
static void
put_endpoint_totals(Metrics *metrics)
{
	static const MrbMetricFamily families[] = {
		{"miosa_endpoint_requests_total", MRB_METRIC_COUNTER,
		"Requests that were sent to the endpoint; the calls of schedulers have the role scheduler"},
		{"miosa_endpoint_requests_failed_total", MRB_METRIC_COUNTER,
		"Requests to the endpoint that failed, for whatever reason"},
		{"miosa_endpoint_requests_retried_total", MRB_METRIC_COUNTER,
		"Requests that were sent again after a failure"},
	};
	static const MrbMetricFamily latency = {
		"miosa_endpoint_acknowledgement_seconds", MRB_METRIC_HISTOGRAM,
		"Time from an operation until the endpoint had acknowledged it"
	};

	for (size_t f = 0; f < lengthof(families); f++)
	{
		mrb_metric_output_family(&metrics->output, &families[f]);
		for (int i = 0; i < metrics->nendpoints; i++)
		{
			const Endpoint *it = &metrics->endpoints[i];
			uint64		numbers[] = {it->totals.sent, it->totals.failed, it->totals.retried};

			if (it->counted)
				mrb_metric_output_put(&metrics->output, "", &it->labels, NULL, NULL, numbers[f]);
		}
	}
	mrb_metric_output_family(&metrics->output, &latency);
	for (int i = 0; i < metrics->nendpoints; i++)
	{
		const Endpoint *it = &metrics->endpoints[i];

		/* Those that receive no routes acknowledge none. */
		if (it->counted && it->epochs_behind >= 0)
			put_buckets(metrics, &it->labels, mrb_buckets_deliveries,
						it->totals.latency, it->totals.latency_sum);
	}
}

/*
 * Put a histogram.
 */
static void
put_buckets(Metrics *metrics, const MrbMetricLabels *labels,
			const MrbBucketBound *scale, const uint64 *counts, uint64 sum)
{
	MrbMetricOutput *output = &metrics->output;
	uint64		total = 0;

	for (int i = 0; i <= MRB_BUCKET_BOUNDS; i++)
	{
		total += counts[i];
		mrb_metric_output_put(output, "_bucket", labels, "le",
							  i < MRB_BUCKET_BOUNDS ? scale[i].seconds : "+Inf", total);
	}
	mrb_metric_output_put(output, "_sum", labels, NULL, NULL, sum / 1e6);
	mrb_metric_output_put(output, "_count", labels, NULL, NULL, total);
}

/*
 * Put a histogram of shared memory.
 */
static void
put_atomic_buckets(Metrics *metrics, const MrbMetricLabels *labels,
				   const MrbBucketBound *scale, MrbBuckets *buckets)
{
	uint64		counts[MRB_BUCKET_BOUNDS + 1];

	for (int i = 0; i <= MRB_BUCKET_BOUNDS; i++)
		counts[i] = pg_atomic_read_u64(&buckets->counts[i]);
	put_buckets(metrics, labels, scale, counts, pg_atomic_read_u64(&buckets->sum));
}

/*
 * Put the one metric of a family.
 */
static void
put_one(Metrics *metrics, const MrbMetricFamily *family, double number)
{
	mrb_metric_output_family(&metrics->output, family);
	mrb_metric_output_put(&metrics->output, "", NULL, NULL, NULL, number);
}
