/*-------------------------------------------------------------------------
 *
 * note.c
 *	  Operations that move nothing.
 *
 * They take the lock and the number of an operation, leave an audit event and a
 * stored response as one, and so stand in its history; the version that is active
 * before is active afterwards, their outcome is "unchanged", and nothing is
 * delivered.  What they change besides is the caller's to write, between the two
 * steps.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/check_argument.h"
#include "base/optional_text.h"
#include "common/index_lookup.h"
#include "operation/actor.h"
#include "operation/caller_request.h"
#include "operation/checks.h"
#include "operation/deployment.h"
#include "operation/deployment_lock.h"
#include "operation/idempotency.h"
#include "operation/note.h"
#include "operation/operation_count.h"
#include "operation/primary.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_note_begin_row);
PG_FUNCTION_INFO_V1(mrb_note_write_row);

/* Arguments of the functions that SQL calls; the first one ends with the reason. */
enum
{
	ARG_ACTION,
	ARG_DEPLOYMENT,
	ARG_KEY,
	ARG_ARGUMENTS,
	ARG_REASON,
	ARG_MARKS,
	ARG_WARNINGS
};

static MrbNote read_arguments(FunctionCallInfo fcinfo);
static Jsonb *look(MrbNote *note);
static bool about_hold(const MrbNote *note);
static char *show_marks(Jsonb *marks);

/*
 * miosa.note_begin(action, deployment_id, idempotency_key, arguments, reason)
 */
Datum
mrb_note_begin_row(PG_FUNCTION_ARGS)
{
	MrbNote		note = read_arguments(fcinfo);
	Jsonb	   *stored = mrb_note_begin(&note);

	if (stored == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(stored);
}

/*
 * miosa.note_write(), with the marks after the same arguments: both steps, as
 * the second one needs what the first one has read.
 */
Datum
mrb_note_write_row(PG_FUNCTION_ARGS)
{
	MrbNote		note = read_arguments(fcinfo);
	Jsonb	   *stored = mrb_note_begin(&note);

	if (stored != NULL)
		PG_RETURN_JSONB_P(stored);
	if (!PG_ARGISNULL(ARG_MARKS))
		appendStringInfoString(&note.marks, show_marks(PG_GETARG_JSONB_P(ARG_MARKS)));
	if (!PG_ARGISNULL(ARG_WARNINGS))
	{
		Jsonb	   *warnings = PG_GETARG_JSONB_P(ARG_WARNINGS);

		note.warnings = JsonbToCString(NULL, &warnings->root, VARSIZE(warnings));
	}
	PG_RETURN_JSONB_P(mrb_note_write(&note));
}

/*
 * Read the arguments.
 */
static MrbNote
read_arguments(FunctionCallInfo fcinfo)
{
	char	   *action = mrb_optional_text_argument(fcinfo, ARG_ACTION);
	MrbNote		note = {
		.deployment_id = mrb_optional_text_argument(fcinfo, ARG_DEPLOYMENT),
		.key = mrb_optional_text_argument(fcinfo, ARG_KEY),
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, ARG_REASON)),
	};

	if (action == NULL || !mrb_operation_find_note(action, &note.action))
		mrb_check_argument_refuse("argument", "action", action,
								  "No operation that moves nothing has that name.",
								  "See the names with SELECT * FROM miosa.actions();");
	if (!PG_ARGISNULL(ARG_ARGUMENTS))
	{
		Datum	   *values;
		bool	   *nulls;
		int			n;

		deconstruct_array(PG_GETARG_ARRAYTYPE_P(ARG_ARGUMENTS), TEXTOID, -1,
						  false, TYPALIGN_INT, &values, &nulls, &n);
		if (n > (int) lengthof(note.arguments))
			elog(ERROR, "an operation has %d arguments", n);
		for (int i = 0; i < n; i++)
			note.arguments[i] = nulls[i] ? NULL : TextDatumGetCString(values[i]);
	}
	return note;
}

/*
 * Lock the deployment and look for the key.
 */
Jsonb *
mrb_note_begin(MrbNote *note)
{
	ItemPointerData place;
	MrbFinding	finding;
	Jsonb	   *stored;

	mrb_operation_count_begin();
	mrb_check_argument_id(note->deployment_id, "deployment id");
	mrb_check_argument_visible(note->reason, "argument", "reason");
	if (note->key != NULL)
		note->key = mrb_idempotency_check_key(note->key);
	note->fingerprint =
		mrb_idempotency_fingerprint(mrb_operation_name(note->action),
									note->arguments[0], note->arguments[1],
									note->arguments[2]);
	initStringInfo(&note->marks);
	mrb_primary_require();

	/* Whether it exists for the caller is said before it is waited for. */
	mrb_index_lookup_begin();
	finding = mrb_deployment_check_caller(note->deployment_id,
										  note->scopes ? note->scopes :
										  MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY,
										  mrb_operation_name(note->action));
	mrb_index_lookup_end();
	mrb_finding_enforce(&finding);
	ItemPointerSetInvalid(&place);
	mrb_deployment_lock(note->deployment_id, &place);
	mrb_index_lookup_begin();
	stored = look(note);
	mrb_index_lookup_end();
	if (note->now != NULL)
		note->now->place = place;
	if (stored != NULL)
		mrb_operation_count_replayed();
	return stored;
}

/*
 * Read the deployment with the release of its active version, and look for the
 * key, in the snapshot that was taken.
 */
static Jsonb *
look(MrbNote *note)
{
	const char *id = note->deployment_id;
	MrbDeployment *now = mrb_deployment_look(id, NULL, NULL);
	MrbFinding	finding = mrb_deployment_check_exists(now, id);
	Jsonb	   *stored = NULL;

	mrb_finding_enforce(&finding);
	if (now->active.id != NULL)
		now = mrb_deployment_look(id, now->active.id, now);
	if (about_hold(note))
		now->hold = mrb_hold_look(id);
	note->now = now;
	if (note->key == NULL)
		return NULL;
	stored = mrb_idempotency_look(id, note->key, &note->fingerprint, &finding,
								  &note->key_expired);
	mrb_finding_enforce(&finding);
	return stored;
}

/*
 * Whether the operation is about the hold, whose row is read then.
 */
static bool
about_hold(const MrbNote *note)
{
	return note->action == MRB_HOLD || note->action == MRB_RELEASE;
}

/*
 * Write the operation.
 */
Jsonb *
mrb_note_write(MrbNote *note)
{
	const MrbDeployment *now = note->now;
	MrbActor	actor = mrb_actor_read();
	MrbFinding	counts = mrb_checks_actor_counts(actor.ignored);
	MrbRetention retention = {0};
	MrbOperation operation = {
		.action = note->action,
		.outcome = "unchanged",
		.target_rule = "none",
		.deployment_id = now->id,
		.place = now->place,
		.previous_version_id = now->active.id,
		.target_version_id = now->active.id,
		.target_release_id = now->target.release_id,
		.target_sha256 = now->target.sha256,
		.serving_version_id = now->serving_version_id,
		.state = now->state,
		.quiet = true,
		.actor_type = actor.type,
		.actor_id = actor.id,
		.key = note->key,
		.fingerprint = note->fingerprint.bytes,
		.reason = note->reason,
		.marks = note->marks,
		.hold = note->hold,
		.warnings = note->warnings,
	};

	mrb_finding_enforce(&counts);
	mrb_operation_mark_hold(&operation);
	mrb_index_lookup_begin();
	mrb_deployment_retention(now, &retention);
	mrb_index_lookup_end();
	operation.keep = retention.events;
	if (note->key != NULL)
		operation.key_expires_at = mrb_idempotency_expires_at(&retention.keys);
	if (note->key_expired)
		mrb_idempotency_forget_expired(now->id, note->key);
	return mrb_operation_write(&operation);
}

/*
 * Return the members of an object, without its braces.
 */
static char *
show_marks(Jsonb *marks)
{
	char	   *text = JsonbToCString(NULL, &marks->root, VARSIZE(marks));
	size_t		len = strlen(text);

	if (!JB_ROOT_IS_OBJECT(marks))
		elog(ERROR, "marks are no object");
	text[len - 1] = '\0';
	return text + 1;
}
