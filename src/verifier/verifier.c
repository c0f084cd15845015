/*-------------------------------------------------------------------------
 *
 * verifier.c
 *	  Verifying artifacts before anybody needs them.
 *
 * A tour goes through all deployments in about a quarter of artifact_max_age, a
 * page at a time, and looks up what is due; then storage is asked, a few
 * requests a second, and what it said is written down before the next page.  So
 * no verification that a rollback wants gets older than three quarters of that
 * age, as long as there are not too many for the pace; then a rollback asks by
 * itself, as it does without us.
 *
 * Storage that hangs must not hold up deliveries, nor take their descriptors, so
 * this has an HTTP engine of its own, and a small one.  Files are left to who
 * wants them: a file system that hangs would hold up everything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "artifact/artifact_http.h"
#include "base/guc.h"
#include "common/timer.h"
#include "common/worker_xact.h"
#include "verifier/due_artifacts.h"
#include "verifier/verifier.h"

/* Deployments a page, and how soon the next page may follow. */
#define PAGE 20
#define PAGE_MIN_MS 200

/* No more than so many requests at a time, and one at most so often. */
#define IN_FLIGHT 16
#define PACE_MS 20

/* After an error, and how long a tour takes at least. */
#define RETRY_MS 5000
#define TOUR_MIN_MS 500

#define LOCK_MS 100

/* One that is due, its request, and what came of it. */
typedef struct Work
{
	MrbDueArtifact *due;
	MrbArtifactHttp *probe;		/* NULL: nobody need be asked */
	MrbArtifactCheck check;
	TimestampTz asked_at;
	bool		news;			/* it is missing, and was not before */
} Work;

/* What one transaction has read. */
typedef struct Page
{
	List	   *works;
	char	   *last;
	int			looked;
	int64		estimate;
} Page;

static MrbHttpEngine *engine = NULL;
static MemoryContext page_context = NULL;	/* until all of it is written */
static List *works = NIL;		/* of this page */
static int	started = 0;		/* so many of them were asked for */
static int	answered = 0;
static MrbTick next_start = 0;
static MrbTick next_page = 0;
static int	paged_for = 0;		/* artifact_max_age of that plan */
static bool active = false;		/* we are to do this at all */

/* The tour. */
static char after[NAMEDATALEN * 5] = "";
static MrbTick tour_began = 0;
static int64 tour_looked = 0;
static int64 expected = 0;		/* deployments; 0: not known yet */

static void begin_page(void);
static void take_answers(void);
static void start_some(void);
static bool start(Work *work);
static void finish_page(void);
static void write_down(void *arg);
static void report(const Work *work);
static void read_page(void *arg);
static Work *prepare(MrbDueArtifact *due);
static void plan_next_page(const Page *page);
static void forget_page(void);
static int	tour_ms(void);

void
mrb_verifier_init(MemoryContext context)
{
	page_context = AllocSetContextCreate(context, "miosa_rollback artifacts",
										 ALLOCSET_DEFAULT_SIZES);
	engine = mrb_http_create(IN_FLIGHT);
	for (int i = 0; i < IN_FLIGHT; i++)
		ReserveExternalFD();
}

int
mrb_verifier_descriptor(void)
{
	return mrb_http_descriptor(engine);
}

long
mrb_verifier_wait(long most)
{
	MrbTick		now = mrb_timer_read();
	long		http = mrb_http_max_wait(engine);

	if (http >= 0)
		most = Min(most, http);
	if (started < list_length(works))
	{
		if (mrb_http_in_flight(engine) < IN_FLIGHT)
			most = Min(most, mrb_tick_ms(now, next_start) + 1);
	}
	else if (works == NIL && active)
		most = Min(most, mrb_tick_ms(now, next_page) + 1);
	return most;
}

void
mrb_verifier_step(bool wanted)
{
	active = wanted && mrb_artifact_max_age > 0;
	if (mrb_http_in_flight(engine) > 0 || mrb_http_max_wait(engine) == 0)
		take_answers();
	if (active)
		start_some();
	else
	{
		answered += list_length(works) - started;
		started = list_length(works);
	}
	if (works != NIL && answered == list_length(works))
		finish_page();
	if (works == NIL && active &&
		(mrb_timer_now() >= next_page || paged_for != mrb_artifact_max_age))
		begin_page();
}

static void
begin_page(void)
{
	MemoryContext old = MemoryContextSwitchTo(page_context);
	Page		page = {0};

	paged_for = mrb_artifact_max_age;
	if (mrb_worker_xact_try(read_page, &page, NULL))
		plan_next_page(&page);
	else
	{
		/* Where an error is met, the tour must not end. */
		if (page.last != NULL)
			strlcpy(after, page.last, sizeof(after));
		forget_page();
		next_page = mrb_tick_plus(mrb_timer_now(), RETRY_MS);
	}
	MemoryContextSwitchTo(old);
	start_some();
}

static void
take_answers(void)
{
	MrbHttpAnswer answer;

	mrb_http_drive(engine);
	while (mrb_http_next_answer(engine, &answer))
	{
		Work	   *work = answer.owner;
		MemoryContext old = MemoryContextSwitchTo(page_context);

		if (!mrb_artifact_http_again(work->probe, &answer) || !start(work))
		{
			mrb_artifact_http_judge(work->probe, &answer, &work->check);
			answered++;
		}
		MemoryContextSwitchTo(old);
	}
}

/*
 * At the pace, with those first that need no request.
 */
static void
start_some(void)
{
	MrbTick		now = mrb_timer_now();

	while (started < list_length(works))
	{
		Work	   *work = list_nth(works, started);

		if (work->probe == NULL)
			answered++;
		else if (now < next_start || !start(work))
			break;
		else
			next_start = mrb_tick_plus(Max(now, next_start), PACE_MS);
		started++;
	}
}

static bool
start(Work *work)
{
	bool		taken;

	work->probe->request.owner = work;
	taken = mrb_http_start(engine, &work->probe->request);
	if (taken)
		mrb_http_drive(engine);
	return taken;
}

/*
 * Write down what storage said of this page; what cannot be written now comes
 * up again in the next tour.
 */
static void
finish_page(void)
{
	ListCell   *cell;

	if (active && mrb_worker_xact_try(write_down, NULL, NULL))
		foreach(cell, works)
			report(lfirst(cell));
	forget_page();
}

static void
write_down(void *arg)
{
	ListCell   *cell;

	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	foreach(cell, works)
	{
		Work	   *work = lfirst(cell);

		if (!work->check.probed)
			continue;
		if (work->check.state == MRB_ARTIFACT_PRESENT)
			mrb_artifact_remember(work->due->deployment_id,
								  work->due->release_id);
		else if (work->check.state == MRB_ARTIFACT_GONE)
			work->news = mrb_artifact_miss(work->due->deployment_id,
										   work->due->release_id,
										   work->asked_at);
	}
	mrb_worker_xact_commit();
}

static void
report(const Work *work)
{
	if (work->news)
		mrb_artifact_report(work->due->deployment_id, work->due->version_id,
							&work->check);
}

static void
read_page(void *arg)
{
	Page	   *page = arg;
	List	   *due;
	ListCell   *cell;

	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	due = mrb_due_artifacts_list(after, PAGE, &page->last, &page->looked);
	foreach(cell, due)
	{
		MrbDueArtifact *it = lfirst(cell);

		if (!mrb_artifact_is_file(it->artifact.uri))
			page->works = lappend(page->works, prepare(it));
	}
	if (expected == 0)
		page->estimate = mrb_due_artifacts_estimate();
	mrb_worker_xact_commit();
}

static Work *
prepare(MrbDueArtifact *due)
{
	Work	   *work = palloc0(sizeof(Work));

	work->due = due;
	work->asked_at = GetCurrentTimestamp();
	work->probe = mrb_artifact_begin(&due->artifact, &work->check);
	return work;
}

/*
 * Pages follow each other so that the tour takes its time, and so do tours.
 */
static void
plan_next_page(const Page *page)
{
	MrbTick		now = mrb_timer_now();
	int64		pages;

	works = page->works;
	if (after[0] == '\0')
	{
		tour_began = now;
		tour_looked = 0;
	}
	tour_looked += page->looked;
	if (page->last == NULL)
	{
		after[0] = '\0';
		expected = Max(tour_looked, 1);
		next_page = Max(mrb_tick_plus(tour_began, tour_ms()),
						mrb_tick_plus(now, PAGE_MIN_MS));
		return;
	}
	strlcpy(after, page->last, sizeof(after));
	if (expected == 0)
		expected = Max(page->estimate, 1);
	pages = (Max(expected, tour_looked) + PAGE - 1) / PAGE;
	next_page = mrb_tick_plus(now, Max(PAGE_MIN_MS, tour_ms() / pages));
}

static void
forget_page(void)
{
	works = NIL;
	started = answered = 0;
	MemoryContextReset(page_context);
}

static int
tour_ms(void)
{
	return Max(TOUR_MIN_MS, mrb_artifact_max_age * (1000 / 4));
}
