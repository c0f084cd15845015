/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  Every condition that miosa_rollback raises, each written once.
 *
 * A condition is part of the interface: its SQLSTATE and HTTP status never
 * change, its texts may.  The columns are the condition's name, SQLSTATE,
 * HTTP status, the code for the platform's HTTP clients, and the seconds that
 * a client should wait before a retry (0: no advice).
 *
 * Every error that the caller can correct is raised through mrb_raise(), which
 * formats it for psql or for PostgREST.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ERRORS_H
#define MRB_ERRORS_H

#include "base/compat.h"
#include "fmgr.h"
#include "utils/elog.h"

#define MRB_CONDITIONS(CONDITION) \
	CONDITION(INVALID_ARGUMENT, "MR400", 422, "VALIDATION_ERROR", 0) \
	CONDITION(FORBIDDEN, "MR403", 403, "FORBIDDEN", 0) \
	CONDITION(DEPLOYMENT_NOT_FOUND, "MR404", 404, "NOT_FOUND", 0) \
	CONDITION(VERSION_NOT_FOUND, "MR44V", 404, "NOT_FOUND", 0) \
	CONDITION(VERSION_NOT_READY, "MR409", 409, "VERSION_NOT_READY", 0) \
	CONDITION(VERSION_IN_USE, "MR49U", 409, "VERSION_IN_USE", 0) \
	CONDITION(VERSION_BAD, "MR49B", 409, "VERSION_BAD", 0) \
	CONDITION(NO_PREVIOUS_VERSION, "MR49P", 409, "NO_PREVIOUS_VERSION", 0) \
	CONDITION(MIGRATION_INCOMPATIBLE, "MR49M", 409, "MIGRATION_INCOMPATIBLE", 0) \
	CONDITION(ROLLBACK_REPEATED, "MR49R", 409, "ROLLBACK_REPEATED", 0) \
	CONDITION(IDEMPOTENCY_PAYLOAD_MISMATCH, "MR49I", 409, \
			  "IDEMPOTENCY_PAYLOAD_MISMATCH", 0) \
	CONDITION(ARTIFACT_GONE, "MR410", 410, "ARTIFACT_GONE", 0) \
	CONDITION(ACTIVE_VERSION_CHANGED, "MR412", 412, \
			  "ACTIVE_VERSION_CHANGED", 0) \
	CONDITION(DEPLOYMENT_BUSY, "MR423", 423, "DEPLOYMENT_BUSY", 1) \
	CONDITION(HELD, "MR42H", 423, "HELD", 0) \
	CONDITION(FROZEN, "MR42F", 423, "FROZEN", 0) \
	CONDITION(STORAGE_UNAVAILABLE, "MR503", 503, "STORAGE_UNAVAILABLE", 5) \
	CONDITION(NOT_PRIMARY, "MR53P", 503, "NOT_PRIMARY", 1)

typedef enum MrbCondition
{
#define CONDITION(name, sqlstate, status, code, retry) MRB_ERR_##name,
	MRB_CONDITIONS(CONDITION)
#undef CONDITION
} MrbCondition;

/*
 * Raise a condition.  detail says what was seen, hint what to type next; both
 * may be NULL.  As with ereport(), the error's LOCATION is the caller's.
 */
#define mrb_raise(condition, message, detail, hint) \
	mrb_raise_as(condition, 0, NULL, message, detail, hint)

/*
 * The same with a status and a code of its own for HTTP clients; 0 and NULL: the
 * usual ones.
 */
#define mrb_raise_as(condition, status, code, message, detail, hint) \
	mrb_errors_raise(__FILE__, __LINE__, __func__, condition, status, code, 0, \
					 message, detail, hint)

/*
 * The same as mrb_raise(), with the seconds after which a retry may succeed; 0:
 * the usual advice.
 */
#define mrb_raise_after(condition, seconds, message, detail, hint) \
	mrb_errors_raise(__FILE__, __LINE__, __func__, condition, 0, NULL, seconds, \
					 message, detail, hint)

pg_noreturn extern void mrb_errors_raise(const char *file, int line,
										 const char *function,
										 MrbCondition condition,
										 int status, const char *code,
										 int retry_after,
										 const char *message,
										 const char *detail,
										 const char *hint);

/* Which callers a function of the extension has. */
typedef enum MrbAccess
{
	MRB_PUBLIC,					/* users only */
	MRB_TRIED,					/* users only, to whom a condition is returned
								 * (mrb_errors_read) */
	MRB_INNER					/* other functions of the extension, too */
} MrbAccess;

/* The error context frames of the caller, without the extension's own. */
typedef struct MrbCaller
{
	bool		known;
	bool		tried;			/* conditions are returned to it */
	ErrorContextCallback *frames;
} MrbCaller;

/* A condition that was caught; the texts are the error's. */
typedef struct MrbRefused
{
	MrbCondition condition;
	const char *sqlstate;		/* five characters */
	int			status;			/* HTTP status */
	int			retry_after;	/* seconds; 0: no advice */
	const char *message;
	const char *detail;			/* may be NULL, like the hint */
	const char *hint;
} MrbRefused;

/*
 * From here on, the CONTEXT of a condition has the current frames only.
 * mrb_errors_leave() must be called with the result, also after an error.
 */
extern MrbCaller mrb_errors_enter(MrbAccess access);
extern void mrb_errors_leave(MrbCaller before);

/*
 * Hooks for what keeps a record of refused calls: a condition is about to be
 * raised; it has left the extension, out of that function; another error has.  All
 * but the first may run in a PG_CATCH block.
 */
extern void (*mrb_errors_raised_hook) (MrbCondition condition);
extern void (*mrb_errors_refused_hook) (Oid function);
extern void (*mrb_errors_failed_hook) (void);

/*
 * In a PG_CATCH block around a call, instead of mrb_errors_leave() and
 * PG_RE_THROW(): pass the error to the hooks, if no other function of the
 * extension has called this one.  To a gateway, a conflict with another
 * transaction, after which the call can be repeated, is raised as it expects it.
 * context: the memory context before the call.
 */
pg_noreturn extern void mrb_errors_leave_failed(MrbAccess access,
												MrbCaller before,
												FunctionCallInfo fcinfo,
												MemoryContext context);

/*
 * Read the condition that a function with MRB_TRIED has raised; false for any
 * other error.  The hook was not told of it.
 */
extern bool mrb_errors_read(const ErrorData *error, MrbRefused *refused);

/* Call a function between the two. */
extern Datum mrb_errors_call(MrbAccess access, PGFunction function,
							 FunctionCallInfo fcinfo);

/* Return the name of a condition. */
extern const char *mrb_errors_condition_name(MrbCondition condition);

/* Find a condition by its name; false when no condition has that name. */
extern bool mrb_errors_find_condition(const char *name, MrbCondition *condition);

#endif							/* MRB_ERRORS_H */
