/*-------------------------------------------------------------------------
 *
 * jsonb_write.c
 *	  Write jsonb whose members are in order already.
 *
 * JsonbValueToJsonb() extends its buffer for every value and every entry, and
 * cannot copy a value that is serialized.  Here the space is allocated once, for
 * the most that the value may need, and each byte is written once.
 *
 * A container is a header, one entry for each key and value (in an object first
 * all keys, then all values), and the keys and values themselves.  An entry has
 * the length; every JB_OFFSET_STRIDE-th has the offset of the end instead.
 * Numbers and containers are aligned, and the bytes before them count for them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/numeric.h"

#include "base/compat.h"
#include "common/jsonb_write.h"

/* A container that is being written. */
typedef struct Container
{
	JEntry	   *entries;
	int			count;			/* of entries */
	char	   *start;			/* of the keys and values */
	char	   *end;
} Container;

static Size measure(const JsonbValue *value);
static char *write_container(char *at, const JsonbValue *value);
static void add(Container *container, const JsonbValue *value);
static char *write_value(char *at, const JsonbValue *value, JEntry *type);
static char *align(char *at);
static char *copy(char *at, const void *data, Size len);

/*
 * Write an object or an array.
 */
Jsonb *
mrb_jsonb_write(const JsonbValue *value)
{
	Size		most = VARHDRSZ + measure(value);
	Jsonb	   *jsonb;
	char	   *end;

	if (most > JENTRY_OFFLENMASK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("total size of jsonb object elements exceeds the maximum of %d bytes",
						JENTRY_OFFLENMASK)));
	jsonb = palloc(most);
	end = write_container((char *) &jsonb->root, value);
	SET_VARSIZE(jsonb, end - (char *) jsonb);
	return jsonb;
}

/*
 * Return the most that a value may need.
 */
static Size
measure(const JsonbValue *value)
{
	Size		size = ALIGNOF_INT + sizeof(uint32);

	switch (value->type)
	{
		case jbvString:
			return value->val.string.len;
		case jbvNumeric:
			return size + VARSIZE_ANY(value->val.numeric);
		case jbvBinary:
			return size + value->val.binary.len;
		case jbvArray:
			for (int i = 0; i < value->val.array.nElems; i++)
				size += sizeof(JEntry) + measure(&value->val.array.elems[i]);
			return size;
		case jbvObject:
			for (int i = 0; i < value->val.object.nPairs; i++)
				size += 2 * sizeof(JEntry) +
					value->val.object.pairs[i].key.val.string.len +
					measure(&value->val.object.pairs[i].value);
			return size;
		default:
			return 0;
	}
}

/*
 * Write an object or an array, and return its end.
 */
static char *
write_container(char *at, const JsonbValue *value)
{
	bool		object = value->type == jbvObject;
	int			count = object ? value->val.object.nPairs : value->val.array.nElems;
	Container	container = {.entries = (JEntry *) (at + sizeof(uint32))};

	*(uint32 *) at = count | (object ? JB_FOBJECT : JB_FARRAY);
	container.start = (char *) (container.entries + (object ? 2 * count : count));
	container.end = container.start;
	if (!object)
	{
		for (int i = 0; i < count; i++)
			add(&container, &value->val.array.elems[i]);
		return container.end;
	}
	for (int i = 0; i < count; i++)
		add(&container, &value->val.object.pairs[i].key);
	for (int i = 0; i < count; i++)
		add(&container, &value->val.object.pairs[i].value);
	return container.end;
}

/*
 * Append a key or a value, with its entry.
 */
static void
add(Container *container, const JsonbValue *value)
{
	char	   *before = container->end;
	JEntry		entry;

	container->end = write_value(before, value, &entry);
	if (container->count % JB_OFFSET_STRIDE == 0)
		entry |= JENTRY_HAS_OFF | (container->end - container->start);
	else
		entry |= container->end - before;
	container->entries[container->count++] = entry;
}

/*
 * Write a value, and return its end and the type for its entry.
 */
static char *
write_value(char *at, const JsonbValue *value, JEntry *type)
{
	switch (value->type)
	{
		case jbvNull:
			*type = JENTRY_ISNULL;
			return at;
		case jbvString:
			*type = JENTRY_ISSTRING;
			return copy(at, value->val.string.val, value->val.string.len);
		case jbvNumeric:
			*type = JENTRY_ISNUMERIC;
			return copy(align(at), value->val.numeric,
						VARSIZE_ANY(value->val.numeric));
		case jbvBool:
			*type = value->val.boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
			return at;
		case jbvArray:
		case jbvObject:
			*type = JENTRY_ISCONTAINER;
			return write_container(align(at), value);
		case jbvBinary:
			*type = JENTRY_ISCONTAINER;
			return copy(align(at), value->val.binary.data, value->val.binary.len);
		default:
			elog(ERROR, "unexpected type of jsonb value: %d", (int) value->type);
	}
}

/*
 * Write zeros up to the next address that is aligned.
 */
static char *
align(char *at)
{
	while ((uintptr_t) at % ALIGNOF_INT != 0)
		*at++ = '\0';
	return at;
}

/*
 * Copy bytes, and return their end.
 */
static char *
copy(char *at, const void *data, Size len)
{
	memcpy(at, data, len);
	return at + len;
}
