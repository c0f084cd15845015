/*-------------------------------------------------------------------------
 *
 * progress_snapshot.c
 *	  Consistent snapshots of the endpoints' progress.
 *
 * The positions of endpoints are in shared memory; parked items and pending
 * changes are in tables.  A reader copies the positions first and takes a
 * snapshot of the tables afterwards, the newest one and not the transaction's.
 * So it sees, with each position, everything that the dispatcher has written
 * before it published that position, and every earlier change of route: it
 * never reports converged too early.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "api/progress_snapshot.h"

/*
 * Number of positions that there is room for at first.  After such a large
 * piece was freed, malloc() of glibc keeps the memory of a call for the next one
 * instead of returning it to the system, which costs miosa_convergence() of a
 * hundred endpoints a third of its time.  Pages that are not used cost nothing.
 */
#define FIRST_ROOM 512

/* An endpoint's position, and the entry of shared memory that has it. */
typedef struct EntryPosition
{
	int			entry;
	MrbPosition position;
} EntryPosition;

/* A copy of the positions of this database's endpoints, by name. */
typedef struct Positions
{
	int			n;
	EntryPosition *seen;
	EntryPosition **by_name;
} Positions;

/* A statement, and the function that reads its rows. */
typedef struct Statement
{
	MrbQuery   *query;
	const Datum *args;
	const bool *nulls;
	MrbSnapshotReading reading;
	void	   *arg;
} Statement;

/* The copy of the work that is done now, or NULL. */
static const Positions *current_copy = NULL;

static void run_statement(void *arg);
static void copy_positions(Positions *positions);
static void sort_positions(Positions *positions);
static int	compare_positions(const void *a, const void *b);
static int	compare_name(const void *name, const void *position);

/*
 * Do work with a copy of the positions and the newest snapshot.
 */
void
mrb_progress_snapshot(MrbSnapshotWork work, void *arg)
{
	Positions	positions;
	int			level;

	if (current_copy != NULL)
	{
		work(arg);
		return;
	}
	level = NewGUCNestLevel();
	copy_positions(&positions);

	/* Wrong estimates of the tables' sizes must not trigger JIT compilation. */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);

	/* Changes of the current command are visible, too. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	current_copy = &positions;
	PG_TRY();
	{
		work(arg);
	}
	PG_FINALLY();
	{
		current_copy = NULL;
	}
	PG_END_TRY();
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	pfree(positions.seen);
	pfree(positions.by_name);
}

/*
 * Run one statement in a snapshot.
 */
void
mrb_progress_snapshot_query(MrbQuery *query, const Datum *args, const bool *nulls,
							MrbSnapshotReading reading, void *arg)
{
	Statement	statement = {query, args, nulls, reading, arg};

	mrb_progress_snapshot(run_statement, &statement);
}

/*
 * Find the position of an endpoint.
 */
const MrbPosition *
mrb_progress_snapshot_find(const char *endpoint, int *entry)
{
	EntryPosition **found = bsearch(endpoint, current_copy->by_name,
									current_copy->n, sizeof(EntryPosition *),
									compare_name);

	*entry = found != NULL ? (*found)->entry : -1;
	return found != NULL ? &(*found)->position : NULL;
}

/*
 * Run a statement, and have its rows read.
 */
static void
run_statement(void *arg)
{
	const Statement *statement = arg;

	mrb_query_open();
	statement->reading(mrb_query_run(statement->query, statement->args,
									 statement->nulls), statement->arg);
	mrb_query_close();
}

/*
 * Copy the positions of this database's endpoints.
 */
static void
copy_positions(Positions *positions)
{
	int			most = mrb_endpoint_stats_entries();
	int			room = FIRST_ROOM;

	positions->n = 0;
	positions->seen = palloc(room * sizeof(EntryPosition));
	for (int i = 0; i < most; i++)
	{
		EntryPosition *seen;

		if (positions->n == room)
		{
			room *= 2;
			positions->seen = repalloc_huge(positions->seen, room * sizeof(EntryPosition));
		}
		seen = &positions->seen[positions->n];
		if (!mrb_endpoint_stats_read(i, MyDatabaseId, &seen->position, NULL))
			continue;
		seen->entry = i;
		positions->n++;
	}
	sort_positions(positions);
}

/*
 * Sort the positions by the names of their endpoints.
 */
static void
sort_positions(Positions *positions)
{
	positions->by_name = palloc((positions->n + 1) * sizeof(EntryPosition *));
	for (int i = 0; i < positions->n; i++)
		positions->by_name[i] = &positions->seen[i];
	qsort(positions->by_name, positions->n, sizeof(EntryPosition *),
		  compare_positions);
}

/*
 * Compare two positions, for qsort.
 */
static int
compare_positions(const void *a, const void *b)
{
	return strcmp((*(EntryPosition *const *) a)->position.name,
				  (*(EntryPosition *const *) b)->position.name);
}

/*
 * Compare a name and a position, for bsearch.
 */
static int
compare_name(const void *name, const void *position)
{
	return strcmp(name, (*(EntryPosition *const *) position)->position.name);
}
