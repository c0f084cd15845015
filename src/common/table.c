/*-------------------------------------------------------------------------
 *
 * table.c
 *	  The extension's tables, found in the catalog once.
 *
 * Names are looked up at the first use and again after an invalidation: of the
 * table or its index, or of any schema.  So a session survives ALTER TABLE,
 * REINDEX CONCURRENTLY, which gives an index's name to another one, and DROP
 * and CREATE EXTENSION.  Locking the table receives the invalidations of all
 * changes that were committed before; the lock then keeps further ones out.
 * REINDEX CONCURRENTLY cannot drop the old index while the table is locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "common/table.h"

/* All tables that were ever opened. */
static MrbTable *tables = NULL;

static void link_table(MrbTable *table);
static void find_names(MrbTable *table);
static void find_columns(MrbTable *table, TupleDesc desc);
static AttrNumber find_column(TupleDesc desc, const char *name);
static void forget_relation(Datum arg, Oid relid);
static void forget_all(Datum arg, int cacheid, uint32 hashvalue);

/*
 * Open and lock a table.
 */
Relation
mrb_table_open(MrbTable *table, LOCKMODE lock)
{
	if (!table->known)
		link_table(table);
	for (;;)
	{
		uint64		changes = table->changes;
		Relation	relation;
		Oid			relid;

		if (!table->valid)
			find_names(table);
		relid = table->relid;
		relation = try_table_open(relid, lock);
		if (relation != NULL && table->changes != changes)
		{
			changes = table->changes;
			find_names(table);
		}
		if (relation != NULL && table->relid == relid)
		{
			if (!table->valid)
			{
				find_columns(table, RelationGetDescr(relation));
				table->valid = table->changes == changes;
			}
			return relation;
		}

		/* The name is another table's now. */
		if (relation != NULL)
			table_close(relation, lock);
		table->valid = false;
	}
}

/*
 * Open the index of a table that is open.  One that CREATE INDEX CONCURRENTLY is
 * building, or has left behind after an error, lacks rows: the planner ignores it,
 * but nothing else finds the rows here.
 */
Relation
mrb_table_open_index(const MrbTable *table)
{
	Relation	index = index_open(table->indexid, AccessShareLock);

	if (!index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" of table miosa.%s is not valid",
						table->index, table->name),
				 errdetail("It may lack rows."),
				 errhint("Unless it is being built, build it again: REINDEX INDEX CONCURRENTLY miosa.%s;",
						 quote_identifier(table->index))));
	return index;
}

/*
 * Have the callbacks know a table.
 */
static void
link_table(MrbTable *table)
{
	if (tables == NULL)
	{
		CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_all, (Datum) 0);
	}
	table->next = tables;
	tables = table;
	table->known = true;
}

/*
 * Look up the oids.  An invalidation that arrives meanwhile makes the caller look
 * again.
 */
static void
find_names(MrbTable *table)
{
	Oid			schema = get_namespace_oid("miosa", false);

	table->relid = get_relname_relid(table->name, schema);
	if (!OidIsValid(table->relid))
		elog(ERROR, "table miosa.%s is missing", table->name);
	if (table->index == NULL)
		return;
	table->indexid = get_relname_relid(table->index, schema);
	if (!OidIsValid(table->indexid))
		elog(ERROR, "index \"%s\" of table miosa.%s is missing",
			 table->index, table->name);
}

/*
 * Find the columns in the description of the table, which is open.  Looked up in
 * the catalog they would be a fifth of a session's first rollback.
 */
static void
find_columns(MrbTable *table, TupleDesc desc)
{
	for (int i = 0; i < MRB_TABLE_MAX_COLUMNS && table->columns[i] != NULL; i++)
	{
		AttrNumber	column = find_column(desc, table->columns[i]);

		if (column == InvalidAttrNumber)
			elog(ERROR, "column \"%s\" of table miosa.%s is missing",
				 table->columns[i], table->name);
		mrb_table_check_type(table->name, table->columns[i],
							 TupleDescAttr(desc, column - 1)->atttypid,
							 OidIsValid(table->types[i]) ? table->types[i] :
							 TEXTOID);
		table->attnums[i] = column;
	}
}

/*
 * Return the number of a column, or InvalidAttrNumber.
 */
static AttrNumber
find_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), name) == 0)
			return i + 1;
	}
	return InvalidAttrNumber;
}

/*
 * Refuse a column whose type an ALTER TABLE has changed.
 */
void
mrb_table_check_type(const char *table, const char *column, Oid type,
					 Oid expected)
{
	if (type != expected)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table miosa.%s has another type",
						column, table),
				 errdetail("The column has type %s instead of %s.",
						   format_type_be(type), format_type_be(expected)),
				 errhint("Change it back: ALTER TABLE miosa.%s ALTER %s TYPE %s;",
						 table, column, format_type_be(expected))));
}

/*
 * A relation has changed (InvalidOid: any may have).  A table that is being
 * looked up may be the one.
 */
static void
forget_relation(Datum arg, Oid relid)
{
	for (MrbTable *table = tables; table != NULL; table = table->next)
	{
		if (relid == InvalidOid || relid == table->relid ||
			relid == table->indexid || !table->valid)
		{
			table->valid = false;
			table->changes++;
		}
	}
}

/*
 * A schema has changed.
 */
static void
forget_all(Datum arg, int cacheid, uint32 hashvalue)
{
	forget_relation(arg, InvalidOid);
}
