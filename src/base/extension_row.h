/*-------------------------------------------------------------------------
 *
 * extension_row.h
 *	  The extension's row in pg_extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_EXTENSION_ROW_H
#define MRB_EXTENSION_ROW_H

typedef struct MrbExtensionRow
{
	char		schema[NAMEDATALEN];	/* of the functions for programs */
	char		version[NAMEDATALEN];	/* of the SQL objects */
} MrbExtensionRow;

/* Read it; false, and both empty, when the extension does not exist. */
extern bool mrb_extension_row_read(MrbExtensionRow *row);

#endif							/* MRB_EXTENSION_ROW_H */
