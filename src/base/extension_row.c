/*-------------------------------------------------------------------------
 *
 * extension_row.c
 *	  The extension's row in pg_extension.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/extension_row.h"
#include "base/miosa_rollback.h"

/*
 * Read the row.
 */
bool
mrb_extension_row_read(MrbExtensionRow *row)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(MRB_EXTENSION));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	row->schema[0] = row->version[0] = '\0';
	if (found)
	{
		char	   *schema = get_namespace_name(((Form_pg_extension) GETSTRUCT(tuple))->extnamespace);
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion,
										   RelationGetDescr(extensions), &isnull);

		strlcpy(row->schema, schema ? schema : "", sizeof(row->schema));
		if (!isnull)
			text_to_cstring_buffer(DatumGetTextPP(version), row->version,
								   sizeof(row->version));
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return found;
}
