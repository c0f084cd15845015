/*-------------------------------------------------------------------------
 *
 * storage.c
 *	  Read the rows of miosa.storages.
 *
 * The caller of an operation needs no privilege on secrets: this runs with the
 * privileges of the extension's functions, which are the owner's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "adapter/secret.h"
#include "artifact/storage.h"
#include "common/query.h"

/* Columns of find_query. */
enum
{
	STORAGE_PREFIX = 1,
	STORAGE_ENDPOINT,
	STORAGE_SIGV4,
	STORAGE_VIRTUAL_HOST,
	STORAGE_SECRET_NAME,
	STORAGE_SECRET
};

static MrbQuery find_query = {
	.sql = "SELECT s.prefix, s.endpoint, 'aws:amz:' || s.region || ':s3',"
	" s.addressing = 'virtual', s.secret,"
	" miosa.reveal(x.value) FROM miosa.storages s"
	" LEFT JOIN miosa.secrets x ON x.name = s.secret"
	" WHERE starts_with('s3' || substr($1, 3), s.prefix)"
	" ORDER BY length(s.prefix) DESC LIMIT 1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

/*
 * Return the storage with the longest prefix of a URI; NULL when there is none.
 */
MrbStorage *
mrb_storage_find(const char *uri)
{
	MrbStorage *storage = palloc0(sizeof(MrbStorage));
	char	   *stored = NULL;
	bool		found;
	Datum		values[1];

	values[0] = CStringGetTextDatum(uri);
	mrb_query_open();
	found = mrb_query_run(&find_query, values, NULL) > 0;
	if (found)
	{
		storage->prefix = mrb_query_text(0, STORAGE_PREFIX);
		storage->endpoint = mrb_query_text(0, STORAGE_ENDPOINT);
		storage->sigv4 = mrb_query_text(0, STORAGE_SIGV4);
		storage->virtual_host = mrb_query_bool(0, STORAGE_VIRTUAL_HOST);
		storage->secret_name = mrb_query_text(0, STORAGE_SECRET_NAME);
		stored = mrb_query_text(0, STORAGE_SECRET);
	}
	mrb_query_close();
	if (stored != NULL)
		storage->secret = mrb_secret_resolve(stored,
											 &storage->secret_problem);
	return found ? storage : NULL;
}
