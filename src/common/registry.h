/*-------------------------------------------------------------------------
 *
 * registry.h
 *	  Shared memory: the dispatchers of all databases and their counters.
 *
 * Shared memory holds only numbers: process ids, process numbers and counters.
 * A pointer to memory of one process would outlive it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_REGISTRY_H
#define MRB_REGISTRY_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"

typedef enum MrbDispatcherState
{
	MRB_DISPATCHER_NONE,		/* not started yet */
	MRB_DISPATCHER_STARTING,	/* registered, not yet connected */
	MRB_DISPATCHER_RUNNING,
	MRB_DISPATCHER_PAUSED,		/* runs, but delivers nothing */
	MRB_DISPATCHER_ABSENT,		/* the database has no extension */
	MRB_DISPATCHER_ASIDE,		/* ended to let DDL on the database proceed */
	MRB_DISPATCHER_STOPPED,		/* ended; the launcher restarts it */
} MrbDispatcherState;

typedef enum MrbCounter
{
	MRB_COUNTER_PASSES,			/* passes that found work */
	MRB_COUNTER_ROUTES,			/* route changes that were given an epoch */
	MRB_COUNTER_SENT,			/* requests sent */
	MRB_COUNTER_ACKNOWLEDGED,	/* requests that succeeded */
	MRB_COUNTER_FAILED,			/* requests that failed */
	MRB_COUNTER_RETRIED,		/* requests that were retries */
	MRB_COUNTER_NOTIFIED,		/* notifications sent */
	MRB_COUNTER_ERRORS,			/* passes that ended in an error */
	MRB_COUNTER_UNMEASURED,		/* operations whose convergence was not
								 * measured */
	MRB_COUNTER_REFUSALS_DROPPED,	/* refused calls without room in the ring */
	MRB_FIRST_GAUGE,
	MRB_COUNTER_IN_FLIGHT = MRB_FIRST_GAUGE,	/* requests in flight now */
	MRB_COUNTER_PENDING,		/* deployments pending for an endpoint now */
	MRB_COUNTER_EPOCH,			/* newest epoch */
	MRB_NUM_COUNTERS
} MrbCounter;

/* Maximum length of the error that a slot keeps, in bytes. */
#define MRB_SLOT_ERROR 256

/* See registry.c for the locking rules. */
typedef struct MrbRegistrySlot
{
	Oid			database;		/* InvalidOid: the slot is free */
	Oid			counted;		/* the database that the counters are of */
	bool		requested;		/* CREATE EXTENSION has committed */
	bool		admitted;		/* is one of max_databases */
	MrbDispatcherState state;
	int			pid;			/* 0: no process */
	int			procno;			/* of its latch; -1: none */
	bool		skipped;		/* epochs that a crash may have lost */
	TimestampTz since;			/* when the process started */
	TimestampTz error_at;		/* 0: the last pass succeeded */
	char		error[MRB_SLOT_ERROR];	/* why passes fail, for display */
	pg_atomic_uint64 last_pass_at;	/* a TimestampTz; 0: none yet */
	pg_atomic_uint64 last_pass_ms;	/* the same on the monotonic clock, or
									 * when the slot was taken, or a process
									 * requested for it */
	pg_atomic_uint64 counters[MRB_NUM_COUNTERS];
	pg_atomic_uint64 reset[MRB_NUM_COUNTERS];	/* what they were when they
												 * were last reset */
	pg_atomic_uint64 verified_at;	/* when the verifier ended a round, or
									 * began its first; 0: it is off */
	ConditionVariable acknowledged; /* broadcast at acknowledgements */
} MrbRegistrySlot;

/* Request shared memory, and whether the library was preloaded. */
extern void mrb_registry_install(void);
extern bool mrb_registry_available(void);

/* Return the slot of a database; NULL when it has none. */
extern MrbRegistrySlot *mrb_registry_slot(Oid database);

/*
 * The same, taking a free slot if needed; NULL when there is none.  probe: it is
 * not known yet whether the database has the extension.
 */
extern MrbRegistrySlot *mrb_registry_reserve(Oid database, bool probe);
extern void mrb_registry_release(Oid database);
extern void mrb_registry_retain(bool (*is_known) (Oid database));

extern void mrb_registry_request_dispatcher(Oid database);
extern bool mrb_registry_request_missed(void);
extern bool mrb_registry_claim(MrbRegistrySlot *slot);
extern void mrb_registry_set_state(MrbRegistrySlot *slot, MrbDispatcherState state);
extern void mrb_registry_leave(MrbRegistrySlot *slot, MrbDispatcherState state);
extern void mrb_registry_wake(MrbRegistrySlot *slot);

/*
 * Record the heartbeat of the slot's dispatcher: a pass, or an error that
 * prevented one, also an error at its start.
 */
extern void mrb_registry_passed(MrbRegistrySlot *slot);
extern void mrb_registry_failed(MrbRegistrySlot *slot, const char *error);

/* Whether the last pass is so long ago that the dispatcher is stalled. */
extern bool mrb_registry_stalled(MrbRegistrySlot *slot);

/* Databases that may have a dispatcher, of max_databases. */
extern int	mrb_registry_admitted(void);

/* Copy the error of the last pass, and return its time; 0: no error. */
extern TimestampTz mrb_registry_error(MrbRegistrySlot *slot, char error[MRB_SLOT_ERROR]);

/* Register and unregister this process as the launcher. */
extern void mrb_registry_launcher_register(void);
extern void mrb_registry_launcher_unregister(void);

/* The launcher's heartbeat, process id (0: none), and whether it works. */
extern void mrb_registry_launcher_heartbeat(void);
extern int	mrb_registry_launcher_pid(void);
extern bool mrb_registry_launcher_is_alive(void);

#endif							/* MRB_REGISTRY_H */
