/*-------------------------------------------------------------------------
 *
 * registry.h
 *	  Shared memory: which database has a dispatcher, and its counters.
 *
 * Only numbers live here: process ids, positions in the process array and
 * counters.  Nothing that one process allocated is ever kept here, because
 * it would outlive the process.
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
	MRB_DISPATCHER_NONE,		/* nobody has asked for one */
	MRB_DISPATCHER_STARTING,	/* registered, not yet connected */
	MRB_DISPATCHER_RUNNING,
	MRB_DISPATCHER_PAUSED,		/* runs, but must not tell anybody */
	MRB_DISPATCHER_ABSENT,		/* the database has no extension */
	MRB_DISPATCHER_ASIDE,		/* left to let a DDL on the database pass */
	MRB_DISPATCHER_STOPPED,		/* ended; the launcher starts it again */
} MrbDispatcherState;

typedef enum MrbCounter
{
	MRB_COUNT_PASSES,			/* passes that found something */
	MRB_COUNT_ROUTES,			/* route changes that got an epoch */
	MRB_COUNT_SENT,				/* requests sent */
	MRB_COUNT_ACKNOWLEDGED,		/* requests that succeeded */
	MRB_COUNT_FAILED,			/* requests that did not */
	MRB_COUNT_RETRIED,			/* requests for what had failed before */
	MRB_COUNT_NOTIFIED,			/* notifications sent */
	MRB_COUNT_ERRORS,			/* passes that ended in an error */
	MRB_COUNT_IN_FLIGHT,		/* requests in flight now */
	MRB_COUNT_PENDING,			/* deployments that some endpoint lacks now */
	MRB_COUNT_EPOCH,			/* newest epoch given */
	MRB_COUNTERS
} MrbCounter;

/* Longest error that a slot keeps, in bytes. */
#define MRB_SLOT_ERROR 256

/* Locking is told in registry.c. */
typedef struct MrbRegistrySlot
{
	Oid			database;		/* InvalidOid: the slot is free */
	bool		requested;		/* CREATE EXTENSION has committed */
	bool		admitted;		/* is one of max_databases */
	MrbDispatcherState state;
	int			pid;			/* 0: no process */
	int			procno;			/* of its latch; -1: none */
	TimestampTz since;			/* when the process started */
	TimestampTz error_at;		/* 0: the last pass went well */
	char		error[MRB_SLOT_ERROR];	/* why no pass goes well, for people */
	pg_atomic_uint64 last_pass_at;	/* a TimestampTz; 0: none yet */
	pg_atomic_uint64 last_pass_ms;	/* the same by a monotonic clock, or when
									 * the slot was taken */
	pg_atomic_uint64 counters[MRB_COUNTERS];
	ConditionVariable acknowledged; /* endpoints have acknowledged something */
} MrbRegistrySlot;

extern void mrb_registry_install(void);
extern bool mrb_registry_available(void);

/* The slot of a database; NULL when it has none. */
extern MrbRegistrySlot *mrb_registry_slot(Oid database);

/*
 * The same, made when missing; NULL when all are taken.  probe: it is not known
 * yet whether the database has the extension.
 */
extern MrbRegistrySlot *mrb_registry_reserve(Oid database, bool probe);
extern void mrb_registry_release(Oid database);

extern void mrb_registry_ask_for_dispatcher(Oid database);
extern bool mrb_registry_request_missed(void);
extern bool mrb_registry_claim(MrbRegistrySlot *slot);
extern void mrb_registry_set_state(MrbRegistrySlot *slot, MrbDispatcherState state);
extern void mrb_registry_leave(MrbRegistrySlot *slot, MrbDispatcherState state);
extern void mrb_registry_wake(MrbRegistrySlot *slot);

/*
 * The heartbeat of the slot's dispatcher, whichever process that is: it has
 * made a pass, or could not, be it that it could not even start.
 */
extern void mrb_registry_passed(MrbRegistrySlot *slot);
extern void mrb_registry_failed(MrbRegistrySlot *slot, const char *error);

/* Whether passes have not been made for so long that something is wrong. */
extern bool mrb_registry_stalled(MrbRegistrySlot *slot);

/* When and why passes began to fail, in the caller's buffer; 0: they do not. */
extern TimestampTz mrb_registry_error(MrbRegistrySlot *slot, char error[MRB_SLOT_ERROR]);

extern void mrb_registry_launcher_here(void);
extern void mrb_registry_launcher_gone(void);

/* Its heartbeat, its process (0: none), and whether it works. */
extern void mrb_registry_launcher_turns(void);
extern int	mrb_registry_launcher_pid(void);
extern bool mrb_registry_launcher_lives(void);

#endif							/* MRB_REGISTRY_H */
