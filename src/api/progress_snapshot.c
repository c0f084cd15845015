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
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "api/progress_snapshot.h"
#include "endpoint/endpoint_stats.h"
#include "endpoint/health.h"

PG_FUNCTION_INFO_V1(mrb_positions);

/* Columns of miosa.positions(). */
enum
{
	POSITION_NAME,
	POSITION_ENTRY,
	POSITION_GENERATION,
	POSITION_ACKED_EPOCH,
	POSITION_SETTLED_EPOCH,
	POSITION_VERIFIED_EPOCH,
	POSITION_ACKED_AT,
	POSITION_RESYNC_AFTER,
	POSITION_HEALTH,
	POSITION_LAST_ERROR,
	POSITION_LAST_ERROR_AT,
	POSITION_COLUMNS
};

/* An endpoint's position, and the entry of shared memory that has it. */
typedef struct EntryPosition
{
	int			entry;
	MrbPosition position;
} EntryPosition;

/* A copy of the positions of this database's endpoints. */
typedef struct Positions
{
	int			n;
	EntryPosition *seen;
} Positions;

/* The copy that miosa.positions() returns; NULL: it makes one. */
static const Positions *current_copy = NULL;

static void copy_positions(Positions *positions);
static void put_position(ReturnSetInfo *set, const EntryPosition *seen);

/*
 * Run a statement with a copy of the positions and the newest snapshot.
 */
void
mrb_progress_snapshot(MrbQuery *query, const Datum *args, const bool *nulls,
					  MrbSnapshotReading reading, void *arg)
{
	Positions	positions;
	int			level = NewGUCNestLevel();

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
		mrb_query_open();
		reading(mrb_query_run(query, args, nulls), arg);
		mrb_query_close();
	}
	PG_FINALLY();
	{
		current_copy = NULL;
	}
	PG_END_TRY();
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	pfree(positions.seen);
}

/*
 * miosa.positions(): positions of endpoints, from shared memory
 */
Datum
mrb_positions(PG_FUNCTION_ARGS)
{
	Positions	now;
	const Positions *positions = current_copy;

	InitMaterializedSRF(fcinfo, 0);
	if (positions == NULL)
	{
		copy_positions(&now);
		positions = &now;
	}
	for (int i = 0; i < positions->n; i++)
		put_position((ReturnSetInfo *) fcinfo->resultinfo, &positions->seen[i]);
	return (Datum) 0;
}

/*
 * Copy the positions of this database's endpoints.
 */
static void
copy_positions(Positions *positions)
{
	int			most = mrb_endpoint_stats_entries();
	int			room = 16;

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
}

/*
 * Append the row of an endpoint.
 */
static void
put_position(ReturnSetInfo *set, const EntryPosition *seen)
{
	const MrbPosition *position = &seen->position;
	Datum		values[POSITION_COLUMNS];
	bool		nulls[POSITION_COLUMNS] = {false};

	values[POSITION_NAME] = CStringGetTextDatum(position->name);
	values[POSITION_ENTRY] = Int32GetDatum(seen->entry);
	values[POSITION_GENERATION] = Int64GetDatum(position->generation);
	values[POSITION_ACKED_EPOCH] = Int64GetDatum(position->acked_epoch);
	values[POSITION_SETTLED_EPOCH] = Int64GetDatum(position->settled_epoch);
	values[POSITION_VERIFIED_EPOCH] = Int64GetDatum(position->verified_epoch);
	values[POSITION_ACKED_AT] = TimestampTzGetDatum(position->acked_at);
	nulls[POSITION_ACKED_AT] = position->acked_at == 0;
	values[POSITION_RESYNC_AFTER] = CStringGetTextDatum(position->resync_after);
	nulls[POSITION_RESYNC_AFTER] = !position->resyncing;
	values[POSITION_HEALTH] = CStringGetTextDatum(mrb_health_name(position->health));
	values[POSITION_LAST_ERROR] = CStringGetTextDatum(position->last_error);
	nulls[POSITION_LAST_ERROR] = position->last_error[0] == '\0';
	values[POSITION_LAST_ERROR_AT] = TimestampTzGetDatum(position->last_error_at);
	nulls[POSITION_LAST_ERROR_AT] = position->last_error_at == 0;
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}
