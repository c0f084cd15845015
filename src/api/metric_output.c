/*-------------------------------------------------------------------------
 *
 * metric_output.c
 *	  Metrics as rows, or as text for Prometheus.
 *
 * The text is in Prometheus' exposition format 0.0.4: in the value of a label a
 * backslash, a quote and a line feed are escaped, in a HELP the first and the
 * last.  Everything else may be in a value, in UTF-8.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "api/metric_output.h"
#include "common/jsonb_write.h"

/* Labels of a metric. */
#define MAX_LABELS 8

/* Columns of a row. */
enum
{
	METRIC_NAME,
	METRIC_LABELS,
	METRIC_VALUE,
	METRIC_TYPE,
	METRIC_HELP,
	METRIC_COLUMNS
};

static const char *const types[] = {
	[MRB_METRIC_GAUGE] = "gauge",
	[MRB_METRIC_COUNTER] = "counter",
	[MRB_METRIC_HISTOGRAM] = "histogram",
};

static void put_row(MrbMetricOutput *output, const char *suffix,
					const MrbMetricLabels *labels, const char *name,
					const char *value, double number);
static void put_line(MrbMetricOutput *output, const char *suffix,
					 const MrbMetricLabels *labels, const char *name,
					 const char *value, double number);
static void put_head(MrbMetricOutput *output);
static void append_label(StringInfo buf, const char *name, const char *value);
static void append_escaped(StringInfo buf, const char *s, bool quotes);
static void append_number(StringInfo buf, double number);
static Datum make_json(int n, const char *const *names,
					   const char *const *values, const char *name,
					   const char *value);
static void add_pair(JsonbValue *object, const char *name, const char *value);
static void set_text(JsonbValue *it, const char *text_of);

/*
 * Begin; without rows, a text.
 */
void
mrb_metric_output_init(MrbMetricOutput *output, ReturnSetInfo *rows)
{
	MemSet(output, 0, sizeof(MrbMetricOutput));
	output->rows = rows;
	if (rows != NULL)
		return;
	initStringInfo(&output->text);
	appendStringInfoSpaces(&output->text, VARHDRSZ);
}

/*
 * Make room for a text.
 */
void
mrb_metric_output_expect(MrbMetricOutput *output, Size bytes)
{
	if (output->rows == NULL)
		enlargeStringInfo(&output->text, (int) Min(bytes, MaxAllocSize / 2));
}

/*
 * Return the text.
 */
text *
mrb_metric_output_text(MrbMetricOutput *output)
{
	SET_VARSIZE(output->text.data, output->text.len);
	return (text *) output->text.data;
}

/*
 * Make labels.
 */
MrbMetricLabels
mrb_metric_output_labels(const MrbMetricOutput *output, int n,
						 const char *const *names, const char *const *values)
{
	MrbMetricLabels labels = {.n = n,.names = names,.values = values};
	StringInfoData buf;

	if (output->rows != NULL)
	{
		labels.json = make_json(n, names, values, NULL, NULL);
		return labels;
	}
	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&buf, ',');
		append_label(&buf, names[i], values[i]);
	}
	labels.text = buf.data;
	return labels;
}

/*
 * Begin a family.
 */
void
mrb_metric_output_family(MrbMetricOutput *output, const MrbMetricFamily *family)
{
	output->family = family;
	output->headed = false;
	if (output->rows == NULL)
		return;
	output->type = CStringGetTextDatum(types[family->type]);
	output->help = CStringGetTextDatum(family->help);
}

/*
 * Put a metric.  There are dozens for each endpoint.
 */
void
mrb_metric_output_put(MrbMetricOutput *output, const char *suffix,
					  const MrbMetricLabels *labels, const char *name,
					  const char *value, double number)
{
	CHECK_FOR_INTERRUPTS();
	if (output->rows != NULL)
		put_row(output, suffix, labels, name, value, number);
	else
		put_line(output, suffix, labels, name, value, number);
}

/*
 * Put a metric into a row.
 */
static void
put_row(MrbMetricOutput *output, const char *suffix,
		const MrbMetricLabels *labels, const char *name, const char *value,
		double number)
{
	const MrbMetricFamily *family = output->family;
	Datum		values[METRIC_COLUMNS];
	bool		nulls[METRIC_COLUMNS] = {false};
	bool		made = labels == NULL || name != NULL;
	char		full[NAMEDATALEN * 2];

	strlcpy(full, family->name, sizeof(full));
	strlcat(full, suffix, sizeof(full));
	values[METRIC_NAME] = CStringGetTextDatum(full);
	values[METRIC_LABELS] = !made ? labels->json :
		make_json(labels != NULL ? labels->n : 0,
				  labels != NULL ? labels->names : NULL,
				  labels != NULL ? labels->values : NULL, name, value);
	values[METRIC_VALUE] = Float8GetDatum(number);
	values[METRIC_TYPE] = output->type;
	values[METRIC_HELP] = output->help;
	tuplestore_putvalues(output->rows->setResult, output->rows->setDesc, values, nulls);
	pfree(DatumGetPointer(values[METRIC_NAME]));
	if (made)
		pfree(DatumGetPointer(values[METRIC_LABELS]));
}

/*
 * Put a metric into a line, the first one of its family after the family's head.
 */
static void
put_line(MrbMetricOutput *output, const char *suffix,
		 const MrbMetricLabels *labels, const char *name, const char *value,
		 double number)
{
	StringInfo	text_of = &output->text;
	bool		some = labels != NULL && labels->n > 0;

	if (!output->headed)
		put_head(output);
	appendStringInfoString(text_of, output->family->name);
	appendStringInfoString(text_of, suffix);
	if (some || name != NULL)
	{
		appendStringInfoChar(text_of, '{');
		if (some)
			appendStringInfoString(text_of, labels->text);
		if (some && name != NULL)
			appendStringInfoChar(text_of, ',');
		if (name != NULL)
			append_label(text_of, name, value);
		appendStringInfoChar(text_of, '}');
	}
	appendStringInfoChar(text_of, ' ');
	append_number(text_of, number);
	appendStringInfoChar(text_of, '\n');
}

/*
 * Put HELP and TYPE of a family.
 */
static void
put_head(MrbMetricOutput *output)
{
	const MrbMetricFamily *family = output->family;

	appendStringInfo(&output->text, "# HELP %s ", family->name);
	append_escaped(&output->text, family->help, false);
	appendStringInfo(&output->text, "\n# TYPE %s %s\n", family->name,
					 types[family->type]);
	output->headed = true;
}

/*
 * Append a label.
 */
static void
append_label(StringInfo buf, const char *name, const char *value)
{
	appendStringInfoString(buf, name);
	appendStringInfoString(buf, "=\"");
	append_escaped(buf, value, true);
	appendStringInfoChar(buf, '"');
}

/*
 * Append a text of the exposition format.
 */
static void
append_escaped(StringInfo buf, const char *s, bool quotes)
{
	for (; *s != '\0'; s++)
	{
		if (*s == '\\')
			appendStringInfoString(buf, "\\\\");
		else if (*s == '\n')
			appendStringInfoString(buf, "\\n");
		else if (*s == '"' && quotes)
			appendStringInfoString(buf, "\\\"");
		else
			appendStringInfoCharMacro(buf, *s);
	}
}

/*
 * Append a number.
 */
static void
append_number(StringInfo buf, double number)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];
	int			len;

	if (number >= 0 && number < 1e15 && number == floor(number))
		len = pg_ulltoa_n((uint64) number, digits);
	else
		len = double_to_shortest_decimal_bufn(number, digits);
	appendBinaryStringInfo(buf, digits, len);
}

/*
 * Make labels and one more, if it has a name, as jsonb, whose members come by the
 * length of their names.
 */
static Datum
make_json(int n, const char *const *names, const char *const *values,
		  const char *name, const char *value)
{
	JsonbPair	pairs[MAX_LABELS];
	JsonbValue	object = {.type = jbvObject};

	object.val.object.pairs = pairs;
	for (int i = 0; i < n; i++)
		add_pair(&object, names[i], values[i]);
	if (name != NULL)
		add_pair(&object, name, value);
	return JsonbPGetDatum(mrb_jsonb_write(&object));
}

/*
 * Add a member in its place.
 */
static void
add_pair(JsonbValue *object, const char *name, const char *value)
{
	JsonbPair  *pairs = object->val.object.pairs;
	size_t		len = strlen(name);
	int			place = object->val.object.nPairs++;

	Assert(place < MAX_LABELS);
	while (place > 0 &&
		   (pairs[place - 1].key.val.string.len > (int) len ||
			(pairs[place - 1].key.val.string.len == (int) len &&
			 memcmp(pairs[place - 1].key.val.string.val, name, len) > 0)))
	{
		pairs[place] = pairs[place - 1];
		place--;
	}
	set_text(&pairs[place].key, name);
	set_text(&pairs[place].value, value);
	pairs[place].order = 0;
}

/*
 * Set a text of a member.
 */
static void
set_text(JsonbValue *it, const char *text_of)
{
	it->type = jbvString;
	it->val.string.val = unconstify(char *, text_of);
	it->val.string.len = strlen(text_of);
}
