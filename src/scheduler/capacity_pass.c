/*-------------------------------------------------------------------------
 *
 * capacity_pass.c
 *	  Looking after the capacity of all deployments, again and again.
 *
 * Every capacity_interval, and when a deadline of some deployment is over,
 * all of them are looked at, a page a turn, because deliveries wait
 * meanwhile.  After that schedulers are asked again for what is missing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/query.h"
#include "common/timer.h"
#include "common/worker_xact.h"
#include "scheduler/capacity_pass.h"
#include "scheduler/reconcile.h"

#define PAGE 1000
#define LOCK_MS 100

/* After an error, and between two tours at the least. */
#define PAUSE_MS 1000

/* One page. */
typedef struct Page
{
	char	   *next;			/* where the next one begins; NULL: nowhere */
	MrbTick		due;			/* MRB_TICK_NEVER: nothing is */
} Page;

static MrbQuery pass_query = {
	.sql = "SELECT p.next, p.next_due FROM miosa.capacity_pass($1, $2) p",
	.nargs = 2,
	.argtypes = {TEXTOID, INT4OID},
};

static char *place = NULL;		/* in a tour; NULL: in none */
static MrbTick begun_at = 0;	/* the last tour */
static MrbTick due = MRB_TICK_NEVER;	/* what that has found */
static MrbTick not_before = 0;

static MrbTick next_at(void);
static void go_to(const char *next);
static void read_page(void *arg);

void
mrb_capacity_pass_step(void)
{
	Page		page = {.due = MRB_TICK_NEVER};

	if (next_at() > mrb_timer_now())
		return;
	if (place == NULL)
	{
		begun_at = mrb_timer_now();
		due = MRB_TICK_NEVER;
		go_to("");
	}
	if (!mrb_worker_xact_try(read_page, &page, NULL))
	{
		not_before = mrb_tick_plus(mrb_timer_now(), PAUSE_MS);
		return;
	}
	due = Min(due, page.due);
	go_to(page.next);
	if (place != NULL)
		return;
	not_before = mrb_tick_plus(begun_at,
							   Min(PAUSE_MS, mrb_capacity_interval));
	mrb_reconcile_refresh();
}

void
mrb_capacity_pass_expect(MrbTick at)
{
	due = Min(due, at);
}

long
mrb_capacity_pass_wait(long most)
{
	return Min(most, mrb_tick_ms(mrb_timer_read(), next_at()) + 1);
}

static MrbTick
next_at(void)
{
	MrbTick		at = begun_at == 0 || place != NULL ? 0 :
	Min(due, mrb_tick_plus(begun_at, mrb_capacity_interval));

	return Max(at, not_before);
}

static void
go_to(const char *next)
{
	char	   *copy = next != NULL ?
	MemoryContextStrdup(TopMemoryContext, next) : NULL;

	if (place != NULL)
		pfree(place);
	place = copy;
}

static void
read_page(void *arg)
{
	Page	   *page = arg;
	Datum		args[] = {CStringGetTextDatum(place), Int32GetDatum(PAGE)};

	mrb_worker_xact_begin(MRB_SESSION_RECORD, LOCK_MS);
	mrb_query_open();
	mrb_query_run(&pass_query, args, NULL);
	page->next = mrb_query_text(0, 1);
	page->due = mrb_timer_from_wall(mrb_query_timestamp(0, 2, DT_NOEND));
	mrb_query_close();
	mrb_worker_xact_commit();
}
