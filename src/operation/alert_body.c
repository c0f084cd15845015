/*-------------------------------------------------------------------------
 *
 * alert_body.c
 *	  The body that Alertmanager's webhook sends.
 *
 * What is read is checked, and what is not read is left alone: later releases of
 * Alertmanager add members.  Members of version 4 that are read:
 *
 *	  {"version": "4", "alerts": [{"status": "firing", "labels": {},
 *	  "annotations": {}, "startsAt": time, "endsAt": time,
 *	  "fingerprint": text}]}
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/check_argument.h"
#include "base/errors.h"
#include "common/iso_time.h"
#include "common/json_read.h"
#include "operation/alert_body.h"

#define VERSION "4"

/* Longest fingerprint; Alertmanager's have 16 characters. */
#define MAX_FINGERPRINT 128

/* Longest reason that is made of an alert, in bytes. */
#define MAX_REASON 1000

/* Fingerprints become part of idempotency keys. */
#define FINGERPRINT_CHARACTERS \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

#define HINT \
	"Pass the body as Alertmanager sends it: SELECT miosa_alert('{\"version\": \"4\", \"alerts\": []}');"

static void read_alert(JsonbContainer *object, int number, MrbAlert *alert);
static Jsonb *read_texts(JsonbContainer *object, const char *name, int number,
						 bool required);
static TimestampTz read_time(JsonbContainer *object, const char *name,
							 int number);
static char *read_text(JsonbContainer *object, const char *name, int number);
static char *make_reason(const MrbAlert *alert);
pg_noreturn static void refuse(const char *place, const char *problem);
static const char *place_of(int number, const char *name);

/*
 * Read a body.
 */
MrbAlert *
mrb_alert_body_read(Jsonb *payload, int *n)
{
	JsonbContainer *array;
	JsonbValue	value;
	MrbAlert   *alerts;

	if (payload == NULL)
		mrb_check_argument_missing("argument \"payload\"", HINT);
	if (!JB_ROOT_IS_OBJECT(payload))
		refuse(NULL, "must be a JSON object");
	if (!mrb_json_read_get(&payload->root, "version", &value) ||
		!mrb_json_read_equals(&value, VERSION))
		refuse("version", "must be \"" VERSION "\"");
	if (!mrb_json_read_get(&payload->root, "alerts", &value) ||
		(array = mrb_json_read_array(&value)) == NULL)
		refuse("alerts", "must be an array");

	*n = JsonContainerSize(array);
	alerts = palloc0(Max(*n, 1) * sizeof(MrbAlert));
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		JsonbContainer *object = mrb_json_read_object(element);

		if (object == NULL)
			refuse(place_of(i, NULL), "must be an object");
		read_alert(object, i, &alerts[i]);
	}
	return alerts;
}

/*
 * Read one alert.
 */
static void
read_alert(JsonbContainer *object, int number, MrbAlert *alert)
{
	char	   *status = read_text(object, "status", number);
	char	   *fingerprint = read_text(object, "fingerprint", number);
	size_t		length = strlen(fingerprint);

	alert->firing = strcmp(status, "firing") == 0;
	if (!alert->firing && strcmp(status, "resolved") != 0)
		refuse(place_of(number, "status"), "must be \"firing\" or \"resolved\"");
	if (length == 0 || length > MAX_FINGERPRINT ||
		strspn(fingerprint, FINGERPRINT_CHARACTERS) != length)
		refuse(place_of(number, "fingerprint"),
			   "must be 1 to 128 characters of A-Z a-z 0-9 . _ -");
	alert->fingerprint = fingerprint;
	alert->starts_at = read_time(object, "startsAt", number);
	if (!alert->firing)
		alert->ends_at = read_time(object, "endsAt", number);
	alert->labels = read_texts(object, "labels", number, true);
	alert->annotations = read_texts(object, "annotations", number, false);
	alert->deployment = mrb_json_read_text(&alert->labels->root, "miosa_deployment");
	alert->name = mrb_json_read_text(&alert->labels->root, "alertname");
	alert->reason = make_reason(alert);
}

/*
 * Read an object of texts; if it may be missing, one without members instead.
 */
static Jsonb *
read_texts(JsonbContainer *object, const char *name, int number, bool required)
{
	JsonbValue	value;
	JsonbContainer *texts;
	JsonbIterator *it = NULL;
	JsonbValue	text;
	char	   *key;

	if (!mrb_json_read_get(object, name, &value))
	{
		if (required)
			refuse(place_of(number, name), "is missing");
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	}
	texts = mrb_json_read_object(&value);
	if (texts == NULL)
		refuse(place_of(number, name), "must be an object");
	while (mrb_json_read_next(texts, &it, &key, &text))
	{
		if (text.type != jbvString)
			refuse(place_of(number, name),
				   psprintf("must have a text for \"%s\"",
							mrb_check_argument_show(key)));
	}
	return JsonbValueToJsonb(&value);
}

/*
 * Read a time.
 */
static TimestampTz
read_time(JsonbContainer *object, const char *name, int number)
{
	TimestampTz at;

	if (!mrb_iso_time_read(read_text(object, name, number), &at))
		refuse(place_of(number, name),
			   "must be a time with its zone from 1970 to 2199, as in \"2026-01-31T12:00:00Z\"");
	return at;
}

/*
 * Read a text that is required.
 */
static char *
read_text(JsonbContainer *object, const char *name, int number)
{
	JsonbValue	value;

	if (!mrb_json_read_get(object, name, &value))
		refuse(place_of(number, name), "is missing");
	if (value.type != jbvString)
		refuse(place_of(number, name), "must be a text");
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * Make the reason of what an alert does.
 */
static char *
make_reason(const MrbAlert *alert)
{
	const char *name = alert->name ? alert->name : alert->fingerprint;
	const char *summary = mrb_json_read_text(&alert->annotations->root, "summary");
	char	   *reason;

	if (summary == NULL)
		summary = mrb_json_read_text(&alert->annotations->root, "description");
	reason = mrb_check_argument_show(summary == NULL ? psprintf("alert %s", name) :
									 psprintf("alert %s: %s", name, summary));
	if (strlen(reason) > MAX_REASON)
		reason[pg_mbcliplen(reason, strlen(reason), MAX_REASON)] = '\0';
	return reason;
}

/*
 * Raise INVALID_ARGUMENT for the value at a place, or for the whole body; problem
 * goes on after its name.
 */
static void
refuse(const char *place, const char *problem)
{
	mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid value for argument \"payload\"",
			  psprintf("It is no message of Alertmanager: %s %s.",
					   place ? place : "the value", problem), HINT);
}

/*
 * Name the alert of a number, or a member of it.
 */
static const char *
place_of(int number, const char *name)
{
	if (name == NULL)
		return psprintf("alerts[%d]", number);
	return psprintf("alerts[%d].%s", number, name);
}
