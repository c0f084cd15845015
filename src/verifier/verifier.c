/*-------------------------------------------------------------------------
 *
 * verifier.c
 *	  Verifies artifacts in the background.
 *
 * The verifier scans all deployments in rounds.  A round takes about a quarter
 * of artifact_max_age and reads a page of deployments at a time.  For what is
 * due in the page it sends requests to storage at a limited rate and stores
 * the results before it reads the next page.  A verification that a rollback
 * needs is therefore never older than three quarters of artifact_max_age,
 * unless there is more to verify than the rate allows; then a rollback asks
 * storage itself, as it does without the verifier.
 *
 * Storage that does not answer must neither delay deliveries nor use up their
 * descriptors, so the verifier has a small HTTP engine of its own.  It leaves
 * out files, since a file system that hangs would block the dispatcher.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "artifact/artifact_http.h"
#include "base/guc.h"
#include "common/registry.h"
#include "common/timer.h"
#include "common/worker_xact.h"
#include "verifier/due_artifacts.h"
#include "verifier/verifier.h"

/* Deployments a page, and the shortest time between pages. */
#define PAGE_SIZE 20
#define PAGE_MIN_MS 200

/* Requests at a time, and the shortest time between their starts. */
#define MAX_IN_FLIGHT 16
#define PACE_MS 20

/* Delay after an error, and the shortest time between starts of rounds. */
#define RETRY_MS 5000
#define ROUND_MIN_MS 500

/* Longest wait for a lock. */
#define LOCK_MS 100

/* An artifact that is due, its request, and the result. */
typedef struct PageArtifact
{
	MrbDueArtifact *due;
	MrbArtifactHttp *http;		/* NULL: the check needs no request */
	MrbArtifactCheck check;
	TimestampTz asked_at;
	bool		newly_missing;	/* it was not missing before */
} PageArtifact;

/* What one transaction has read. */
typedef struct Page
{
	List	   *artifacts;
	char	   *last;
	int			scanned;
	int64		estimate;
} Page;

static MrbHttpEngine *engine = NULL;

/* The page, kept until its results are stored. */
static MemoryContext page_context = NULL;
static List *artifacts = NIL;
static int	started = 0;		/* how many of them were started */
static int	answered = 0;

static MrbTick next_start = 0;
static MrbTick next_page = 0;
static int	planned_max_age = 0;	/* artifact_max_age that next_page is for */
static bool enabled = false;

/* The round. */
static char after[NAMEDATALEN * 5] = "";	/* the last deployment scanned */
static MrbTick round_start = 0;
static int64 round_scanned = 0;
static int64 ndeployments = 0;	/* estimate; 0: not known yet */
static TimestampTz round_noted = 0; /* as the registry has it */

static void begin_page(void);
static void receive_answers(void);
static void start_requests(void);
static bool start_request(PageArtifact *item);
static void finish_page(void);
static void store_results(void *arg);
static void report_missing(const PageArtifact *item);
static void read_page(void *arg);
static PageArtifact *make_page_artifact(MrbDueArtifact *due);
static void plan_next_page(const Page *page);
static void note_first_round(void);
static void note_round(TimestampTz at);
static void reset_page(void);
static int	round_ms(void);

/*
 * Create the HTTP engine, and reserve its descriptors.
 */
void
mrb_verifier_init(MemoryContext context)
{
	page_context = AllocSetContextCreate(context, "miosa_rollback artifacts",
										 ALLOCSET_DEFAULT_SIZES);
	engine = mrb_http_create(MAX_IN_FLIGHT);
	for (int i = 0; i < MAX_IN_FLIGHT; i++)
		ReserveExternalFD();
}

/*
 * The descriptor is that of the HTTP engine.
 */
int
mrb_verifier_descriptor(void)
{
	return mrb_http_descriptor(engine);
}

/*
 * Reduce a wait to the time of the next request, page or HTTP timeout.
 */
long
mrb_verifier_wait(long max_ms)
{
	MrbTick		now = mrb_timer_read();
	long		http_ms = mrb_http_max_wait(engine);

	if (http_ms >= 0)
		max_ms = Min(max_ms, http_ms);
	if (started < list_length(artifacts))
	{
		if (mrb_http_in_flight(engine) < MAX_IN_FLIGHT)
			max_ms = Min(max_ms, mrb_timer_ms_between(now, next_start) + 1);
	}
	else if (artifacts == NIL && enabled)
		max_ms = Min(max_ms, mrb_timer_ms_between(now, next_page) + 1);
	return max_ms;
}

/*
 * A new page is read when the last one is complete and it is time for it, or
 * when artifact_max_age has changed.
 */
void
mrb_verifier_step(bool enable)
{
	enabled = enable && mrb_artifact_max_age > 0;
	if (round_noted != 0 && mrb_artifact_max_age == 0)
		note_round(0);
	receive_answers();
	if (enabled)
		start_requests();
	else
	{
		answered += list_length(artifacts) - started;
		started = list_length(artifacts);
	}
	if (artifacts != NIL && answered == list_length(artifacts))
		finish_page();
	if (artifacts == NIL && enabled &&
		(mrb_timer_now() >= next_page || planned_max_age != mrb_artifact_max_age))
		begin_page();
}

/*
 * Read the next page and start its first requests.
 */
static void
begin_page(void)
{
	MemoryContext old = MemoryContextSwitchTo(page_context);
	Page		page = {0};

	planned_max_age = mrb_artifact_max_age;
	if (round_noted == 0)
		note_first_round();
	if (mrb_worker_xact_try(read_page, &page, NULL))
		plan_next_page(&page);
	else
	{
		/* Skip the deployment that the error came from. */
		if (page.last != NULL)
			strlcpy(after, page.last, sizeof(after));
		reset_page();
		next_page = mrb_timer_add_ms(mrb_timer_now(), RETRY_MS);
	}
	MemoryContextSwitchTo(old);
	start_requests();
}

/*
 * Receive answers.  Some lead to a second request, all others to a result.
 */
static void
receive_answers(void)
{
	MrbHttpAnswer answer;

	mrb_http_drive(engine);
	while (mrb_http_next_answer(engine, &answer))
	{
		PageArtifact *item = answer.owner;
		MemoryContext old = MemoryContextSwitchTo(page_context);

		if (!mrb_artifact_http_again(item->http, &answer) || !start_request(item))
		{
			mrb_artifact_http_judge(item->http, &answer, &item->check);
			answered++;
		}
		MemoryContextSwitchTo(old);
	}
}

/*
 * Start the requests that may start now.  Artifacts that need none are passed
 * over.
 */
static void
start_requests(void)
{
	MrbTick		now = mrb_timer_now();

	while (started < list_length(artifacts))
	{
		PageArtifact *item = list_nth(artifacts, started);

		if (item->http == NULL)
			answered++;
		else if (now < next_start || !start_request(item))
			break;
		else
			next_start = mrb_timer_add_ms(Max(now, next_start), PACE_MS);
		started++;
	}
}

/*
 * Start a request; returns false if the engine has no room for it.
 */
static bool
start_request(PageArtifact *item)
{
	bool		accepted;

	item->http->request.owner = item;
	accepted = mrb_http_start(engine, &item->http->request);
	if (accepted)
		mrb_http_drive(engine);
	return accepted;
}

/*
 * Store the results of the page.  What cannot be stored now is due again in
 * the next round.
 */
static void
finish_page(void)
{
	ListCell   *cell;

	if (enabled && mrb_worker_xact_try(store_results, NULL, NULL))
		foreach(cell, artifacts)
			report_missing(lfirst(cell));
	reset_page();
}

/*
 * Store the results of the page, in a transaction.  A result that leaves the
 * state of the artifact unknown changes nothing.
 */
static void
store_results(void *arg)
{
	ListCell   *cell;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	foreach(cell, artifacts)
	{
		PageArtifact *item = lfirst(cell);

		if (!item->check.probed)
			continue;
		if (item->check.state == MRB_ARTIFACT_PRESENT)
			mrb_artifact_record_present(item->due->deployment_id,
										item->due->release_id);
		else if (item->check.state == MRB_ARTIFACT_GONE)
			item->newly_missing = mrb_artifact_record_missing(item->due->deployment_id,
															  item->due->release_id,
															  item->asked_at);
	}
	mrb_worker_xact_commit();
}

/*
 * Log an artifact that was not missing before.
 */
static void
report_missing(const PageArtifact *item)
{
	if (item->newly_missing)
		mrb_artifact_log_missing(item->due->deployment_id, item->due->version_id,
								 &item->check);
}

/*
 * Read a page, in a transaction, into the current memory context.
 */
static void
read_page(void *arg)
{
	Page	   *page = arg;
	List	   *due;
	ListCell   *cell;

	mrb_worker_xact_begin(MRB_WORKER_XACT_ASYNC, LOCK_MS);
	due = mrb_due_artifacts_list(after, PAGE_SIZE, &page->last, &page->scanned);
	foreach(cell, due)
	{
		MrbDueArtifact *found = lfirst(cell);

		if (!mrb_artifact_is_file(found->artifact.uri))
			page->artifacts = lappend(page->artifacts, make_page_artifact(found));
	}
	if (ndeployments == 0)
		page->estimate = mrb_due_artifacts_estimate();
	mrb_worker_xact_commit();
}

/*
 * Prepare the check of an artifact, with its request unless the check is
 * complete without one.
 */
static PageArtifact *
make_page_artifact(MrbDueArtifact *due)
{
	PageArtifact *item = palloc0(sizeof(PageArtifact));

	item->due = due;
	item->asked_at = GetCurrentTimestamp();
	item->http = mrb_artifact_begin(&due->artifact, &item->check);
	return item;
}

/*
 * Schedule the next page so that pages, and rounds, are spread evenly.
 */
static void
plan_next_page(const Page *page)
{
	MrbTick		now = mrb_timer_now();
	int64		pages;

	artifacts = page->artifacts;
	if (after[0] == '\0')
	{
		round_start = now;
		round_scanned = 0;
	}
	round_scanned += page->scanned;
	if (page->last == NULL)
	{
		after[0] = '\0';
		ndeployments = Max(round_scanned, 1);
		note_round(GetCurrentTimestamp());
		next_page = Max(mrb_timer_add_ms(round_start, round_ms()),
						mrb_timer_add_ms(now, PAGE_MIN_MS));
		return;
	}
	strlcpy(after, page->last, sizeof(after));
	if (ndeployments == 0)
		ndeployments = Max(page->estimate, 1);
	pages = (Max(ndeployments, round_scanned) + PAGE_SIZE - 1) / PAGE_SIZE;
	next_page = mrb_timer_add_ms(now, Max(PAGE_MIN_MS, round_ms() / pages));
}

/*
 * The first round counts from its begin, unless an earlier process of this
 * server has ended one.
 */
static void
note_first_round(void)
{
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	if (slot != NULL)
		round_noted = (TimestampTz) pg_atomic_read_u64(&slot->verified_at);
	if (round_noted == 0)
		note_round(GetCurrentTimestamp());
}

/*
 * Publish when a round ended; 0: verification is off.
 */
static void
note_round(TimestampTz at)
{
	MrbRegistrySlot *slot = mrb_registry_slot(MyDatabaseId);

	round_noted = at;
	if (slot != NULL)
		pg_atomic_write_u64(&slot->verified_at, (uint64) at);
}

/*
 * Free the page.
 */
static void
reset_page(void)
{
	artifacts = NIL;
	started = answered = 0;
	MemoryContextReset(page_context);
}

/*
 * How long a round takes, if deployments are few enough.
 */
static int
round_ms(void)
{
	return Max(ROUND_MIN_MS, mrb_artifact_max_age * (1000 / 4));
}
