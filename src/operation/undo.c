/*-------------------------------------------------------------------------
 *
 * undo.c
 *	  The operation that is to be undone.
 *
 * An operation can be undone as long as it is the newest one that moved the
 * deployment; others, a hold or a mark, move nothing and do not count.  Undo takes
 * the steps of a rollback to the version that was active before.  It promotes
 * nothing, so an undone promotion is the head of no chain: the version stays out
 * of the default targets, and those before it stand on each other as its promotion
 * has left them.  Undo of undo is a redo.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/check_argument.h"
#include "base/miosa_rollback.h"
#include "common/query.h"
#include "operation/caller_request.h"
#include "operation/undo.h"

/* Columns of both queries, from 1. */
enum
{
	EVENT_SEQ = 1,
	EVENT_ACTION,
	EVENT_PREVIOUS,
	EVENT_TARGET,
	EVENT_CREATED,
	EVENT_MARKS,
	EVENT_MOVED
};

/* Events of a deployment of the same id that was removed are not looked at. */
#define EVENT \
	"SELECT a.seq, a.action, a.previous_version_id, a.target_version_id," \
	" a.created_at, a.marks, a.outcome IN ('changed', 'pending')" \
	" AND a.previous_version_id IS DISTINCT FROM a.target_version_id" \
	" FROM miosa.audit_events a WHERE a.deployment_id = $1" \
	" AND a.seq > coalesce((SELECT c.last_seq FROM miosa.audit_checkpoints c" \
	" WHERE c.deployment_id = $1), 0)"

static MrbQuery newest_query = {
	.sql = EVENT " AND a.outcome IN ('changed', 'pending')"
	" AND a.previous_version_id IS DISTINCT FROM a.target_version_id"
	" ORDER BY a.seq DESC LIMIT 1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static MrbQuery named_query = {
	.sql = EVENT " AND a.seq = $2",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static bool find_newest(const char *deployment_id, MrbUndone *undone);
static bool find_named(const char *deployment_id, int64 seq, MrbUndone *undone,
					   bool *moved);
static void read_event(MrbUndone *undone);
static int64 parse_id(const MrbDeployment *seen, const char *operation_id);
pg_noreturn static void refuse_id(const MrbDeployment *seen, const char *detail);
static MrbFinding check_not_repeated(const MrbDeployment *seen, const MrbUndone *undone);

/*
 * Find the operation.
 */
MrbFinding
mrb_undo_choose(const MrbDeployment *seen, MrbUndone *undone)
{
	const MrbCallerRequest *request = seen->request;
	MrbFinding	finding = mrb_finding_hold("newest_operation");
	bool		moved;

	if (request->operation_id == NULL)
	{
		if (!find_newest(seen->id, undone))
			return mrb_finding_fail("newest_operation", MRB_ERR_NO_PREVIOUS_VERSION,
									psprintf("deployment \"%s\" has no operation to undo",
											 seen->id),
									"No operation that is still known has moved it.",
									psprintf("See the versions with %s",
											 mrb_caller_request_show(request, "candidates",
																	 seen->id)));
		finding = check_not_repeated(seen, undone);
	}
	else
	{
		int64		seq = parse_id(seen, request->operation_id);

		if (!find_named(seen->id, seq, undone, &moved))
			refuse_id(seen, psprintf("Deployment \"%s\" has no operation of this number, or its audit event has expired.",
									 seen->id));
		if (!moved)
			refuse_id(seen, "The operation moved nothing.");
		finding = mrb_undo_check_newest(seen, undone);
	}
	if (finding.severity == MRB_FAILS || undone->previous_version_id != NULL)
		return finding;
	return mrb_finding_fail("newest_operation", MRB_ERR_NO_PREVIOUS_VERSION,
							psprintf("operation %s#" INT64_FORMAT " cannot be undone",
									 seen->id, undone->seq),
							"No version was active before it.",
							psprintf("To take the deployment off the edges, type %s",
									 mrb_caller_request_unpublish(request, seen->id)));
}

/*
 * Check that no operation has moved the deployment since.
 */
MrbFinding
mrb_undo_check_newest(const MrbDeployment *now, const MrbUndone *undone)
{
	MrbUndone	newest;

	if (!find_newest(now->id, &newest) || newest.seq == undone->seq)
		return mrb_finding_hold("newest_operation");
	return mrb_finding_fail("newest_operation", MRB_ERR_ACTIVE_VERSION_CHANGED,
							psprintf("operation %s#" INT64_FORMAT " cannot be undone any more",
									 now->id, undone->seq),
							psprintf("Operation %s#" INT64_FORMAT " has moved the deployment since, at %s.",
									 now->id, newest.seq, timestamptz_to_str(newest.at)),
							psprintf("To undo that one first, type %s",
									 mrb_caller_request_undo(now->request, now->id,
															 newest.seq)));
}

/*
 * A call without operation and key may be a retry of the one before it, and would
 * do again what that has undone.
 */
static MrbFinding
check_not_repeated(const MrbDeployment *seen, const MrbUndone *undone)
{
	if (seen->request->key != NULL || !undone->is_undo ||
		TimestampDifferenceExceeds(undone->at, GetCurrentTimestamp(),
								   MRB_REPEAT_SECONDS * 1000))
		return mrb_finding_hold("not_repeated");
	return mrb_finding_fail("not_repeated", MRB_ERR_ROLLBACK_REPEATED,
							psprintf("an operation of deployment \"%s\" was undone a moment ago",
									 seen->id),
							psprintf("Operation %s#" INT64_FORMAT " did that at %s; a call without operation and key could be a retry of it.",
									 seen->id, undone->seq, timestamptz_to_str(undone->at)),
							psprintf("To do again what was undone, type %s",
									 mrb_caller_request_undo(seen->request, seen->id,
															 undone->seq)));
}

/*
 * Find the newest operation that moved the deployment.
 */
static bool
find_newest(const char *deployment_id, MrbUndone *undone)
{
	Datum		values[] = {CStringGetTextDatum(deployment_id)};
	bool		found;

	mrb_query_open();
	found = mrb_query_run(&newest_query, values, NULL) > 0;
	if (found)
		read_event(undone);
	mrb_query_close();
	return found;
}

/*
 * Find an operation by its number.
 */
static bool
find_named(const char *deployment_id, int64 seq, MrbUndone *undone, bool *moved)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment_id),
		Int64GetDatum(seq),
	};
	bool		found;

	mrb_query_open();
	found = mrb_query_run(&named_query, values, NULL) > 0;
	if (found)
	{
		read_event(undone);
		*moved = mrb_query_bool(0, EVENT_MOVED);
	}
	mrb_query_close();
	return found;
}

/*
 * Read the event that was found.
 */
static void
read_event(MrbUndone *undone)
{
	undone->seq = mrb_query_int64(0, EVENT_SEQ, 0);
	undone->is_undo = strcmp(mrb_query_text(0, EVENT_ACTION), "deployment.undo") == 0;
	undone->previous_version_id = mrb_query_text(0, EVENT_PREVIOUS);
	undone->target_version_id = mrb_query_text(0, EVENT_TARGET);
	undone->at = mrb_query_timestamp(0, EVENT_CREATED, 0);
	undone->marks = mrb_query_jsonb(0, EVENT_MARKS);
}

/*
 * Read the number of an operation of this deployment: dep_1#7, or #7.
 */
static int64
parse_id(const MrbDeployment *seen, const char *operation_id)
{
	const char *number = strrchr(operation_id, '#');
	size_t		len;

	if (number == NULL || number[1] == '\0' || strlen(number + 1) > 18 ||
		strspn(number + 1, "0123456789") != strlen(number + 1))
		refuse_id(seen, "An operation is named by its deployment, # and its number.");
	len = number - operation_id;
	if (len > 0 && (strlen(seen->id) != len || strncmp(operation_id, seen->id, len) != 0))
		refuse_id(seen, psprintf("The operation is not one of deployment \"%s\".", seen->id));
	return strtoi64(number + 1, NULL, 10);
}

/*
 * Refuse the argument operation_id.
 */
static void
refuse_id(const MrbDeployment *seen, const char *detail)
{
	mrb_check_argument_refuse("argument", "operation_id", seen->request->operation_id,
							  detail,
							  psprintf("See the operations with %s",
									   mrb_caller_request_show(seen->request, "history",
															   seen->id)));
}
