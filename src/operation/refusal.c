/*-------------------------------------------------------------------------
 *
 * refusal.c
 *	  Refused calls leave a trace.
 *
 * A condition ends the transaction of its call, so the call cannot write a row.
 * What is known of it goes through a ring in shared memory to the dispatcher,
 * which writes miosa.refusals.
 *
 * A call that returns its condition may write it as an audit event
 * (kept_refusal.c); then it is recorded here only if that event is rolled back.
 *
 * The actor is found out before the error is raised, while catalogs can be read;
 * the refusal counts when the error leaves the extension, since its own code may
 * catch it.  A group that continues records the targets that it refuses itself.
 *
 * The request is copied when it is noted, since the memory of a call may be gone
 * when its error leaves the extension.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/memutils.h"

#include "base/guc.h"
#include "common/refusal_ring.h"
#include "common/registry.h"
#include "operation/actor.h"
#include "operation/operation.h"
#include "operation/operation_count.h"
#include "operation/refusal.h"

/* The request that is under way; all zeroes: none. */
static MrbRefusalFields noted;

/* The last condition that was raised, and the slot of the dispatcher; NULL: it
 * is not recorded. */
static MrbRefusalFields raised;
static MrbRegistrySlot *slot = NULL;

/* It is to be counted. */
static bool counts = false;

/* A refusal that is an event of this transaction. */
typedef struct Event
{
	int			depth;			/* of its subtransaction */
	MrbRegistrySlot *slot;
	MrbRefusalFields fields;
} Event;

/* Those of this transaction, the deepest ones last. */
static List *events = NIL;
static bool callbacks_registered = false;

static void condition_raised(MrbCondition condition);
static void call_refused(Oid function);
static void count(void);
static const char *shown(const char *text_of);
static void put(MrbRegistrySlot *database, const MrbRefusalFields *fields);
static void keep_event(void);
static void at_xact_end(XactEvent event, void *arg);
static void at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
						   SubTransactionId parentSubid, void *arg);
static void copy_text(char *to, size_t size, const char *from);
static char *client_addr(void);

/*
 * Have refused calls recorded.
 */
void
mrb_refusal_install(void)
{
	mrb_errors_raised_hook = condition_raised;
	mrb_errors_refused_hook = call_refused;
	mrb_errors_failed_hook = mrb_refusal_forget;
}

/*
 * Remember the request that is under way.
 */
void
mrb_refusal_note(const MrbCallerRequest *request, bool acts)
{
	copy_text(noted.action, sizeof(noted.action),
			  mrb_operation_action(request->action));
	noted.acts = acts;
	copy_text(noted.deployment_id, sizeof(noted.deployment_id),
			  request->deployment_id);
	copy_text(noted.version_id, sizeof(noted.version_id), request->version_id);
	copy_text(noted.key, sizeof(noted.key), request->key);
}

/*
 * No request is under way any more.
 */
void
mrb_refusal_forget(void)
{
	MemSet(&noted, 0, sizeof(noted));
}

/*
 * Record a refused target.
 */
void
mrb_refusal_record(const MrbCallerRequest *request, MrbCondition condition,
				   Oid function)
{
	if (mrb_errors_raised_hook == NULL)
		return;
	mrb_refusal_note(request, condition != MRB_ERR_DEPLOYMENT_NOT_FOUND);
	condition_raised(condition);
	call_refused(function);
}

/*
 * Record a condition that was caught.
 */
void
mrb_refusal_caught(Oid function, bool event)
{
	raised.function = function;
	if (event && slot != NULL)
	{
		keep_event();
		slot = NULL;
	}
	call_refused(function);
}

/*
 * Keep a refusal that is an event, until that is committed.
 */
static void
keep_event(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Event	   *event = palloc(sizeof(Event));

	if (!callbacks_registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		RegisterSubXactCallback(at_subxact_end, NULL);
		callbacks_registered = true;
	}
	event->depth = GetCurrentTransactionNestLevel();
	event->slot = slot;
	event->fields = raised;
	events = lappend(events, event);
	MemoryContextSwitchTo(old);
}

/*
 * Record refusals whose events are rolled back, so that nobody can probe without
 * a trace.
 */
static void
at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
			for (int i = 0; i < list_length(events); i++)
			{
				Event	   *it = list_nth(events, i);

				put(it->slot, &it->fields);
			}
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	events = NIL;				/* their memory was the transaction's */
}

/*
 * Record those of a subtransaction that is rolled back, or pass them to the
 * parent.
 */
static void
at_subxact_end(SubXactEvent event, SubTransactionId mySubid,
			   SubTransactionId parentSubid, void *arg)
{
	int			here = GetCurrentTransactionNestLevel();

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = list_length(events) - 1; i >= 0; i--)
	{
		Event	   *it = list_nth(events, i);

		if (it->depth < here)
			return;
		it->depth = here - 1;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			continue;
		put(it->slot, &it->fields);
		events = list_truncate(events, i);
	}
}

/*
 * Hook: a condition is about to be raised.  Find out who called.
 */
static void
condition_raised(MrbCondition condition)
{
	MrbActor	actor;

	slot = NULL;
	counts = IsTransactionState();
	if (!counts)
		return;
	if (!RecoveryInProgress())
		slot = mrb_registry_slot(MyDatabaseId);
	raised = noted;
	raised.condition = condition;
	if (slot == NULL && !mrb_log_operations)
		return;
	actor = mrb_actor_guess();
	copy_text(raised.actor_type, sizeof(raised.actor_type), actor.type);
	copy_text(raised.actor_id, sizeof(raised.actor_id), actor.id);
	copy_text(raised.session_user_name, sizeof(raised.session_user_name),
			  GetUserNameFromId(GetSessionUserId(), true));
	copy_text(raised.client_addr, sizeof(raised.client_addr), client_addr());
}

/*
 * Hook: the condition has left the extension.  This may run while an error is
 * handled, so it does nothing that can fail.
 */
static void
call_refused(Oid function)
{
	mrb_refusal_forget();
	if (counts)
		count();
	counts = false;
	if (slot == NULL)
		return;
	raised.function = function;
	put(slot, &raised);
	slot = NULL;
}

/*
 * Count the refusal, and log that of an operation.
 */
static void
count(void)
{
	MrbCounted	counted = {
		.name = mrb_operation_name_of(raised.action),
		.deployment_id = shown(raised.deployment_id),
		.to = shown(raised.version_id),
		.actor_type = raised.actor_type,
		.actor_id = raised.actor_id,
	};

	mrb_operation_count_refused(raised.condition, &counted);
}

/*
 * Return a text; NULL for an empty one.
 */
static const char *
shown(const char *text_of)
{
	return text_of[0] == '\0' ? NULL : text_of;
}

/*
 * Put a refusal into the ring, unless the database has gone from shared memory.
 */
static void
put(MrbRegistrySlot *database, const MrbRefusalFields *fields)
{
	if (database->database == MyDatabaseId && !mrb_refusal_ring_put(fields))
		pg_atomic_fetch_add_u64(&database->counters[MRB_COUNTER_REFUSALS_DROPPED], 1);
}

/*
 * Copy a text, as far as there is room; NULL is none.  Bytes behind it are set to
 * zero, since entries are compared as a whole.
 */
static void
copy_text(char *to, size_t size, const char *from)
{
	size_t		len = from == NULL ? 0 : strlen(from);

	if (len >= size)
		len = pg_mbcliplen(from, len, size - 1);
	if (len > 0)
		memcpy(to, from, len);
	memset(to + len, 0, size - len);
}

/*
 * Return the address of the client; NULL over a Unix socket and for a process
 * that has no client.
 */
static char *
client_addr(void)
{
	LOCAL_FCINFO(call, 0);
	Datum		addr;

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	addr = inet_client_addr(call);
	if (call->isnull)
		return NULL;
	return DatumGetCString(DirectFunctionCall1(inet_out, addr));
}
