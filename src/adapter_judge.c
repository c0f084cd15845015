/*-------------------------------------------------------------------------
 *
 * adapter_judge.c
 *	  What an answer says about the endpoint and about the message.
 *
 * It is judged outside of any transaction, and whatever the answer's body
 * holds must not become an error: it is other people's text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "adapter_judge.h"

/* Instead of a number of instances. */
#define NO_VALUE (-1)
#define NO_COUNT (-2)

static bool is_success(const MrbAdapter *adapter, const MrbCall *call,
					   int status);
static MrbVerdict meaning_of(const MrbAdapter *adapter, int status);
static bool path_holds(JsonPath *path, const MrbHttpAnswer *answer);
static bool try_answer(int (*evaluate) (JsonPath *, const MrbHttpAnswer *),
					   JsonPath *path, const MrbHttpAnswer *answer,
					   int *result);
static int	match(JsonPath *path, const MrbHttpAnswer *answer);
static int	count(JsonPath *path, const MrbHttpAnswer *answer);
static char *body_in_server_encoding(const MrbHttpAnswer *answer);

MrbVerdict
mrb_adapter_judge(const MrbAdapter *adapter, const MrbCall *call,
				  const MrbHttpAnswer *answer, char **why)
{
	int			status = answer->status;
	bool		plain = call == adapter->marker_read ||
	call == adapter->marker_write || call == adapter->poll.call;

	*why = NULL;
	if (answer->outcome != MRB_HTTP_ANSWERED)
	{
		*why = pstrdup(answer->error);
		return MRB_VERDICT_ENDPOINT;
	}
	if (plain ? status < 200 || status > 299 :
		!is_success(adapter, call, status))
	{
		*why = psprintf("HTTP status %d", status);
		return meaning_of(adapter, status);
	}
	if (adapter->success_path != NULL && !plain &&
		!path_holds(adapter->success_path, answer))
	{
		*why = psprintf("HTTP status %d, but of the answer it is not true that %s",
						status, adapter->success_text);
		return MRB_VERDICT_ENDPOINT;
	}
	return MRB_VERDICT_SUCCESS;
}

int
mrb_adapter_count(const MrbAdapter *adapter, const MrbHttpAnswer *answer,
				  char **why)
{
	int			found = NO_COUNT;

	*why = NULL;
	if (adapter->poll.valid_path != NULL && !path_holds(adapter->poll.valid_path, answer))
	{
		*why = psprintf("HTTP status %d, but of the answer it is not true that %s",
						answer->status, adapter->poll.valid_text);
		return -1;
	}
	if (!try_answer(count, adapter->poll.healthy_path, answer, &found))
		found = NO_COUNT;
	if (found == NO_VALUE && adapter->poll.valid_path != NULL)
		return 0;
	if (found >= 0)
		return found;
	*why = psprintf("HTTP status %d, but the answer has no number from 0 to %d at %s",
					answer->status, MRB_ADAPTER_COUNT_MAX,
					adapter->poll.healthy_text);
	return -1;
}

/*
 * What is not there need not be removed.
 */
static bool
is_success(const MrbAdapter *adapter, const MrbCall *call, int status)
{
	if (call == adapter->remove && (status == 404 || status == 410))
		return true;
	if (adapter->nsuccess == 0)
		return status >= 200 && status <= 299;
	for (int i = 0; i < adapter->nsuccess; i++)
		if (adapter->success[i] == status)
			return true;
	return false;
}

/*
 * The message is blamed only where the status says that the endpoint has
 * looked at it; of all else, a rotated token or a redirect among it, nothing
 * can be concluded about other messages.
 */
static MrbVerdict
meaning_of(const MrbAdapter *adapter, int status)
{
	for (int i = 0; i < adapter->nmeanings; i++)
		if (adapter->meanings[i].status == status)
			return adapter->meanings[i].verdict;
	switch (status)
	{
		case 400:
		case 409:
		case 413:
		case 414:
		case 422:
			return MRB_VERDICT_MESSAGE;
		case 404:
		case 412:
		case 423:
			/* It does not know this workload, or is not ready to change it. */
			return adapter->scheduler ? MRB_VERDICT_MESSAGE :
				MRB_VERDICT_ENDPOINT;
		default:
			return MRB_VERDICT_ENDPOINT;
	}
}

/*
 * As jsonb_path_match(); what cannot be evaluated does not hold.
 */
static bool
path_holds(JsonPath *path, const MrbHttpAnswer *answer)
{
	int			holds;

	return try_answer(match, path, answer, &holds) && holds != 0;
}

/*
 * False when the body is no JSON, or the path cannot be evaluated.
 */
static bool
try_answer(int (*evaluate) (JsonPath *, const MrbHttpAnswer *),
		   JsonPath *path, const MrbHttpAnswer *answer, int *result)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller,
												  "miosa_rollback answer",
												  ALLOCSET_DEFAULT_SIZES);
	volatile bool done = false;

	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		*result = evaluate(path, answer);
		done = true;
	}
	PG_CATCH();
	{
		/* Whoever wants us to stop must not be told that JSON is wrong. */
		if (geterrcode() == ERRCODE_QUERY_CANCELED ||
			geterrcode() == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return done;
}

static int
match(JsonPath *path, const MrbHttpAnswer *answer)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		body;
	Datum		result;

	body = DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(body_in_server_encoding(answer)));
	InitFunctionCallInfoData(*fcinfo, NULL, 2, DEFAULT_COLLATION_OID, NULL,
							 NULL);
	fcinfo->args[0].value = body;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = PointerGetDatum(path);
	fcinfo->args[1].isnull = false;
	result = jsonb_path_match_opr(fcinfo);
	return !fcinfo->isnull && DatumGetBool(result);
}

/*
 * The whole number at the path; NO_VALUE or NO_COUNT when there is none.
 */
static int
count(JsonPath *path, const MrbHttpAnswer *answer)
{
	Datum		body;
	Jsonb	   *found;
	JsonbValue *value;
	double		number;

	body = DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(body_in_server_encoding(answer)));
	found = DatumGetJsonbP(DirectFunctionCall4(jsonb_path_query_array, body,
											   PointerGetDatum(path),
											   DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")),
											   BoolGetDatum(true)));
	if (JB_ROOT_COUNT(found) == 0)
		return NO_VALUE;
	value = getIthJsonbValueFromContainer(&found->root, 0);
	if (JB_ROOT_COUNT(found) > 1 || value->type != jbvNumeric)
		return NO_COUNT;
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8,
												NumericGetDatum(value->val.numeric)));
	if (number < 0 || number > MRB_ADAPTER_COUNT_MAX || number != rint(number))
		return NO_COUNT;
	return (int) number;
}

/*
 * JSON is UTF-8.  Conversions need a transaction, so where the server has
 * another encoding, what is not ASCII becomes "?", be it written as \u.  That
 * leaves JSON what it is.
 */
static char *
body_in_server_encoding(const MrbHttpAnswer *answer)
{
	char	   *body = pnstrdup(answer->body, answer->body_len);

	if (strlen(body) != answer->body_len)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("the answer holds a NUL")));
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		pg_verifymbstr(body, answer->body_len, false);
		return body;
	}
	for (char *p = body; *p != '\0'; p++)
	{
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
		else if (*p == '\\' && p[1] == 'u' &&
				 strspn(p + 2, "0123456789abcdefABCDEF") >= 4)
			memset(p, '?', 6);
		else if (*p == '\\' && p[1] != '\0')
			p++;
	}
	return body;
}
