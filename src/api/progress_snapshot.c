/*-------------------------------------------------------------------------
 *
 * progress_snapshot.c
 *	  Looking at how far endpoints have come.
 *
 * How far endpoints have come is in shared memory, what they do not take and
 * what they are to be told is in tables.  Every look copies the former first
 * and takes a snapshot of the latter afterwards, the newest there is and not
 * the transaction's.  So what the dispatcher has written before it published
 * a cursor is always seen with that cursor, and so is a change of route that
 * came before: nothing is called converged that is not.
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
#define COLUMNS 11

/* An endpoint's position, and the entry that it was read from. */
typedef struct Seen
{
	int			entry;
	MrbPosition position;
} Seen;

/* A copy of shared memory. */
typedef struct Picture
{
	int			n;
	Seen	   *seen;
} Picture;

/* What miosa.positions() shows during a look; NULL: what is there now. */
static const Picture *looked_at = NULL;

static void take_picture(Picture *picture);
static void put_position(ReturnSetInfo *set, const Seen *seen);

void
mrb_progress_snapshot(MrbQuery *query, const Datum *args, const bool *nulls,
					  MrbSnapshotReading reading, void *arg)
{
	Picture		picture;
	int			level = NewGUCNestLevel();

	take_picture(&picture);

	/* What tables are thought to hold must not have the statement compiled. */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);

	/* What this very command has done before is seen as well. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	looked_at = &picture;
	PG_TRY();
	{
		mrb_query_open();
		reading(mrb_query_run(query, args, nulls), arg);
		mrb_query_close();
	}
	PG_FINALLY();
	{
		looked_at = NULL;
	}
	PG_END_TRY();
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	pfree(picture.seen);
}

/*
 * miosa.positions()
 */
Datum
mrb_positions(PG_FUNCTION_ARGS)
{
	Picture		now;
	const Picture *picture = looked_at;

	InitMaterializedSRF(fcinfo, 0);
	if (picture == NULL)
	{
		take_picture(&now);
		picture = &now;
	}
	for (int i = 0; i < picture->n; i++)
		put_position((ReturnSetInfo *) fcinfo->resultinfo, &picture->seen[i]);
	return (Datum) 0;
}

static void
take_picture(Picture *picture)
{
	int			most = mrb_endpoint_stats_entries();
	int			room = 16;

	picture->n = 0;
	picture->seen = palloc(room * sizeof(Seen));
	for (int i = 0; i < most; i++)
	{
		Seen	   *seen;

		if (picture->n == room)
		{
			room *= 2;
			picture->seen = repalloc_huge(picture->seen, room * sizeof(Seen));
		}
		seen = &picture->seen[picture->n];
		if (!mrb_endpoint_stats_read(i, MyDatabaseId, &seen->position, NULL))
			continue;
		seen->entry = i;
		picture->n++;
	}
}

static void
put_position(ReturnSetInfo *set, const Seen *seen)
{
	const MrbPosition *position = &seen->position;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	values[0] = CStringGetTextDatum(position->name);
	values[1] = Int32GetDatum(seen->entry);
	values[2] = Int64GetDatum(position->generation);
	values[3] = Int64GetDatum(position->acked_epoch);
	values[4] = Int64GetDatum(position->settled_epoch);
	values[5] = Int64GetDatum(position->verified_epoch);
	values[6] = TimestampTzGetDatum(position->acked_at);
	nulls[6] = position->acked_at == 0;
	values[7] = CStringGetTextDatum(position->resync_after);
	nulls[7] = !position->resyncing;
	values[8] = CStringGetTextDatum(mrb_health_name(position->health));
	values[9] = CStringGetTextDatum(position->last_error);
	nulls[9] = position->last_error[0] == '\0';
	values[10] = TimestampTzGetDatum(position->last_error_at);
	nulls[10] = position->last_error_at == 0;
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}
