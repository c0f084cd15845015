/*-------------------------------------------------------------------------
 *
 * requirements.c
 *	  Objects of this database that a version requires.
 *
 * Only the system caches are read.  Types are compared by their names, as
 * format_type() writes them: their other spellings are in a table below.  The
 * parser and the input functions of types would raise errors, and may be a
 * user's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/check_argument.h"
#include "common/json_read.h"
#include "operation/requirements.h"

/* How much of a name from metadata is shown, in bytes. */
#define SHOWN 160

/* How many requirements are looked for; the deployment is locked meanwhile. */
#define LOOKED_FOR 1000

/* One look into the catalogs. */
typedef struct Look
{
	MrbRequirements found;
	int			looked;			/* number of those looked for */
	Datum	   *schemas;		/* names of the schemas that are looked into */
	int			nschemas;
} Look;

/* A name in a schema. */
typedef struct QualifiedName
{
	char	   *schema;
	char	   *object;
	bool		allowed;		/* its schema is looked into */
} QualifiedName;

/* A type by its name: "numeric", "(10,2)". */
typedef struct TypeText
{
	char	   *base;			/* with [] if it is an array */
	char	   *modifier;		/* empty: none is given */
} TypeText;

/* Other spellings of types, and what format_type() writes. */
static const struct
{
	const char *spelling;
	const char *name;
}			spellings[] = {
	{"bool", "boolean"},
	{"bpchar", "character"},
	{"char", "character"},
	{"char varying", "character varying"},
	{"dec", "numeric"},
	{"decimal", "numeric"},
	{"float", "double precision"},
	{"float4", "real"},
	{"float8", "double precision"},
	{"int", "integer"},
	{"int2", "smallint"},
	{"int4", "integer"},
	{"int8", "bigint"},
	{"time", "time without time zone"},
	{"timestamp", "timestamp without time zone"},
	{"timestamptz", "timestamp with time zone"},
	{"timetz", "time with time zone"},
	{"varbit", "bit varying"},
	{"varchar", "character varying"},
};

static bool goes_on(Look *look);
static char *get_text(Look *look, JsonbContainer *array, uint32 i,
					  const char *what);
static void look_for_relations(Look *look, JsonbContainer *relations);
static void look_for_columns(Look *look, JsonbContainer *columns);
static void look_for_column(Look *look, Oid relation, const QualifiedName *name,
							const char *column, const JsonbValue *type);
static void look_for_functions(Look *look, JsonbContainer *functions);
static void look_for_function(Look *look, const char *text);
static bool takes(HeapTuple function, List *types);
static Oid	find_relation(const QualifiedName *name);
static bool read_name(const Look *look, const char *text, QualifiedName *name);
static char *find_outside(const char *text, char wanted);
static List *split_arguments(const char *text);
static char *describe_name(const QualifiedName *name);
static char *show(const char *text);
static TypeText read_type(const char *text);
static char *tidy(const char *text);
static char *name_type(Oid type, int32 modifier, bits16 flags);
static bool same_type(const char *required, Oid type, int32 modifier);
static void miss(Look *look, const char *what);
static void leave(Look *look, const char *what);

/*
 * Look for everything that a version requires.
 */
MrbRequirements
mrb_requirements_look(Jsonb *metadata, ArrayType *schemas)
{
	Look		look = {0};
	JsonbContainer *requires;
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *key;

	if (!mrb_json_read_get(&metadata->root, "requires", &value))
		return look.found;
	requires = mrb_json_read_object(&value);
	if (requires == NULL)
	{
		leave(&look, "metadata.requires, which is no object");
		return look.found;
	}
	deconstruct_array(schemas, TEXTOID, -1, false, TYPALIGN_INT,
					  &look.schemas, NULL, &look.nschemas);
	while (mrb_json_read_next(requires, &it, &key, &value))
	{
		if (strcmp(key, "relations") == 0 && mrb_json_read_array(&value))
			look_for_relations(&look, mrb_json_read_array(&value));
		else if (strcmp(key, "columns") == 0 && mrb_json_read_object(&value))
			look_for_columns(&look, mrb_json_read_object(&value));
		else if (strcmp(key, "functions") == 0 && mrb_json_read_array(&value))
			look_for_functions(&look, mrb_json_read_array(&value));
		else if (value.type != jbvNull)
			leave(&look, psprintf("metadata.requires.%s", show(key)));
	}
	if (look.looked > LOOKED_FOR)
		leave(&look, psprintf("what comes after the first %d", LOOKED_FOR));
	return look.found;
}

/*
 * Whether one more may be looked for.
 */
static bool
goes_on(Look *look)
{
	CHECK_FOR_INTERRUPTS();
	return ++look->looked <= LOOKED_FOR;
}

/*
 * Return the text of an element of an array; NULL, after a note, if it is none.
 */
static char *
get_text(Look *look, JsonbContainer *array, uint32 i, const char *what)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, i);

	if (value != NULL && value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	leave(look, psprintf("%s %u, which is no text", what, i + 1));
	return NULL;
}

/*
 * Look for relations by their names.
 */
static void
look_for_relations(Look *look, JsonbContainer *relations)
{
	for (uint32 i = 0; i < JsonContainerSize(relations) && goes_on(look); i++)
	{
		char	   *text = get_text(look, relations, i, "relation");
		QualifiedName name;

		if (text == NULL)
			continue;
		if (!read_name(look, text, &name) || !name.allowed)
			leave(look, psprintf("relation %s", show(text)));
		else if (!OidIsValid(find_relation(&name)))
			miss(look, psprintf("relation %s", describe_name(&name)));
		else
			look->found.present++;
	}
}

/*
 * Look for the columns of relations.
 */
static void
look_for_columns(Look *look, JsonbContainer *columns)
{
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *text;

	while (mrb_json_read_next(columns, &it, &text, &value) && goes_on(look))
	{
		JsonbContainer *types = mrb_json_read_object(&value);
		JsonbIterator *next = NULL;
		JsonbValue	type;
		char	   *column;
		QualifiedName name;
		Oid			relation;

		if (types == NULL || !read_name(look, text, &name) || !name.allowed)
		{
			leave(look, psprintf("columns of %s", show(text)));
			continue;
		}
		relation = find_relation(&name);
		if (!OidIsValid(relation))
		{
			miss(look, psprintf("relation %s", describe_name(&name)));
			continue;
		}
		look->found.present++;
		while (mrb_json_read_next(types, &next, &column, &type) && goes_on(look))
			look_for_column(look, relation, &name, column, &type);
	}
}

/*
 * Look for a column, and compare its type; null is any type.
 */
static void
look_for_column(Look *look, Oid relation, const QualifiedName *name,
				const char *column, const JsonbValue *type)
{
	HeapTuple	tuple;
	Form_pg_attribute attribute;
	char	   *required;

	if (strlen(column) >= NAMEDATALEN ||
		(type->type != jbvString && type->type != jbvNull))
	{
		leave(look, psprintf("column %s.%s", describe_name(name), show(column)));
		return;
	}
	tuple = SearchSysCacheAttName(relation, column);
	if (!HeapTupleIsValid(tuple) ||
		((Form_pg_attribute) GETSTRUCT(tuple))->attnum <= 0)
	{
		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		miss(look, psprintf("column %s.%s", describe_name(name), show(column)));
		return;
	}
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	required = type->type == jbvNull ? NULL :
		pnstrdup(type->val.string.val, type->val.string.len);
	if (required != NULL &&
		!same_type(required, attribute->atttypid, attribute->atttypmod))
		miss(look, psprintf("column %s.%s of type %s, which is of type %s",
							describe_name(name), show(column), show(required),
							name_type(attribute->atttypid, attribute->atttypmod, 0)));
	else
		look->found.present++;
	ReleaseSysCache(tuple);
}

/*
 * Look for functions by their names and the types of their arguments.
 */
static void
look_for_functions(Look *look, JsonbContainer *functions)
{
	for (uint32 i = 0; i < JsonContainerSize(functions) && goes_on(look); i++)
	{
		char	   *text = get_text(look, functions, i, "function");

		if (text != NULL)
			look_for_function(look, text);
	}
}

/*
 * Look for a function; one without parentheses may have any arguments.
 */
static void
look_for_function(Look *look, const char *text)
{
	char	   *open = find_outside(text, '(');
	size_t		len = strlen(text);
	List	   *types = NIL;
	QualifiedName name;
	Oid			schema;
	CatCList   *list;
	bool		present = false;

	while (len > 0 && text[len - 1] == ' ')
		len--;
	if ((open != NULL && text[len - 1] != ')') ||
		!read_name(look, open ? pnstrdup(text, open - text) : text, &name) ||
		!name.allowed)
	{
		leave(look, psprintf("function %s", show(text)));
		return;
	}
	if (open != NULL)
		types = split_arguments(pnstrdup(open + 1, text + len - open - 2));
	schema = get_namespace_oid(name.schema, true);
	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name.object));
	for (int i = 0; i < list->n_members && !present; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

		present = proc->pronamespace == schema &&
			(open == NULL || takes(tuple, types));
	}
	ReleaseSysCacheList(list);
	if (present)
		look->found.present++;
	else
		miss(look, psprintf("function %s%s", describe_name(&name),
							open ? show(open) : ""));
}

/*
 * Whether a function takes arguments of these types.
 */
static bool
takes(HeapTuple function, List *types)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(function);

	if (proc->pronargs != list_length(types))
		return false;
	for (int i = 0; i < proc->pronargs; i++)
	{
		if (!same_type(list_nth(types, i), proc->proargtypes.values[i], -1))
			return false;
	}
	return true;
}

/*
 * Find a relation that can be read; InvalidOid: there is none.
 */
static Oid
find_relation(const QualifiedName *name)
{
	Oid			schema = get_namespace_oid(name->schema, true);
	Oid			relation = OidIsValid(schema) ?
	get_relname_relid(name->object, schema) : InvalidOid;

	switch (OidIsValid(relation) ? get_rel_relkind(relation) : '\0')
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
		case RELKIND_SEQUENCE:
			return relation;
		default:
			return InvalidOid;
	}
}

/*
 * Read a name with its schema, as it is written in SQL; false if it is none.
 */
static bool
read_name(const Look *look, const char *written, QualifiedName *name)
{
	List	   *parts;

	if (strlen(written) >= 4 * NAMEDATALEN ||
		!SplitIdentifierString(pstrdup(written), '.', &parts) ||
		list_length(parts) != 2)
		return false;
	name->schema = linitial(parts);
	name->object = lsecond(parts);
	name->allowed = false;
	for (int i = 0; i < look->nschemas && !name->allowed; i++)
		name->allowed = strcmp(TextDatumGetCString(look->schemas[i]),
							   name->schema) == 0;
	return true;
}

/*
 * Find the first such character outside of quotes.
 */
static char *
find_outside(const char *text, char wanted)
{
	bool		quoted = false;

	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '"')
			quoted = !quoted;
		else if (*c == wanted && !quoted)
			return unconstify(char *, c);
	}
	return NULL;
}

/*
 * Split the types of arguments at commas that are in no parentheses or quotes.
 */
static List *
split_arguments(const char *text)
{
	List	   *types = NIL;
	bool		quoted = false;
	int			depth = 0;
	const char *start = text;

	if (text[strspn(text, " ")] == '\0')
		return NIL;
	for (const char *c = text;; c++)
	{
		if (*c == '"')
			quoted = !quoted;
		else if (*c == '(' && !quoted)
			depth++;
		else if (*c == ')' && !quoted)
			depth--;
		else if (*c == '\0' || (*c == ',' && !quoted && depth == 0))
		{
			types = lappend(types, pnstrdup(start, c - start));
			start = c + 1;
			if (*c == '\0')
				return types;
		}
	}
}

/*
 * Describe a name as it is written in SQL.
 */
static char *
describe_name(const QualifiedName *name)
{
	return show(quote_qualified_identifier(name->schema, name->object));
}

/*
 * Show a text of a version's metadata on one line.
 */
static char *
show(const char *text)
{
	int			len = pg_mbcliplen(text, strlen(text), SHOWN);

	return mrb_check_argument_show(pnstrdup(text, len));
}

/*
 * Whether a type is the required one.  A modifier that is not given may be any;
 * those of types that were added are not compared, because their functions would
 * have to be called.
 */
static bool
same_type(const char *required, Oid type, int32 modifier)
{
	TypeText	asked = read_type(required);
	bool		modified = asked.modifier[0] != '\0' && type < FirstNormalObjectId;
	TypeText	is = read_type(name_type(type, modified ? modifier : -1,
										 FORMAT_TYPE_FORCE_QUALIFY));

	return strcmp(asked.base, is.base) == 0 &&
		(!modified || strcmp(asked.modifier, is.modifier) == 0);
}

/*
 * Name a type of the catalog.  Names are compared, so they do not depend on the
 * caller's setting.
 */
static char *
name_type(Oid type, int32 modifier, bits16 flags)
{
	const bits16 given = modifier >= 0 && type < FirstNormalObjectId ?
	FORMAT_TYPE_TYPEMOD_GIVEN : 0;
	bool		quotes = quote_all_identifiers;
	char	   *volatile name = NULL;

	quote_all_identifiers = false;
	PG_TRY();
	{
		name = format_type_extended(type, modifier,
									flags | given | FORMAT_TYPE_ALLOW_INVALID);
	}
	PG_FINALLY();
	{
		quote_all_identifiers = quotes;
	}
	PG_END_TRY();
	return name;
}

/*
 * Read the name of a type: tidy it, set its modifier and array bounds apart, and
 * replace other spellings.
 */
static TypeText
read_type(const char *text)
{
	TypeText	it = {.modifier = ""};
	char	   *name = tidy(text);
	char	   *bounds = find_outside(name, '[');
	char	   *open;
	bool		array = bounds != NULL;

	if (array)
		*bounds = '\0';
	open = find_outside(name, '(');
	if (open != NULL)
	{
		char	   *end = strchr(open, ')');

		if (end != NULL)
		{
			it.modifier = pnstrdup(open, end + 1 - open);
			name = psprintf("%s%s", pnstrdup(name, open - name), end + 1);
		}
	}
	if (strncmp(name, "pg_catalog.", strlen("pg_catalog.")) == 0)
		name += strlen("pg_catalog.");
	for (size_t i = 0; i < lengthof(spellings); i++)
	{
		if (strcmp(name, spellings[i].spelling) == 0)
		{
			name = unconstify(char *, spellings[i].name);
			break;
		}
	}
	it.base = array ? psprintf("%s[]", name) : name;
	return it;
}

/*
 * Write a type's name in lower case outside of quotes, with single spaces between
 * words and none elsewhere.
 */
static char *
tidy(const char *text)
{
	StringInfoData it;
	bool		quoted = false;

	initStringInfo(&it);
	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '"')
			quoted = !quoted;
		if (!quoted && strchr(" \t\n\r", *c) != NULL)
		{
			const char *next = c + strspn(c, " \t\n\r");

			if (it.len > 0 && *next != '\0' &&
				strchr("(),[].", *next) == NULL &&
				strchr("(,[].", it.data[it.len - 1]) == NULL)
				appendStringInfoChar(&it, ' ');
			c = next - 1;
		}
		else
			appendStringInfoChar(&it, quoted ? *c : pg_ascii_tolower((unsigned char) *c));
	}
	return it.data;
}

/*
 * Note a requirement that is not there.
 */
static void
miss(Look *look, const char *what)
{
	look->found.missing = lappend(look->found.missing, unconstify(char *, what));
}

/*
 * Note a requirement that was not looked for.
 */
static void
leave(Look *look, const char *what)
{
	look->found.unknown = lappend(look->found.unknown, unconstify(char *, what));
}
