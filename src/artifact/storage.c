/*-------------------------------------------------------------------------
 *
 * storage.c
 *	  Object storage that may be asked for artifacts.
 *
 * Whoever asks for an artifact must not need to read secrets, so this runs with
 * the rights of the functions that it is called from, which are the owner's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "adapter/secret.h"
#include "artifact/storage.h"
#include "common/query.h"

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
		storage->prefix = mrb_query_text(0, 1);
		storage->endpoint = mrb_query_text(0, 2);
		storage->sigv4 = mrb_query_text(0, 3);
		storage->virtual_host = mrb_query_bool(0, 4);
		storage->secret_name = mrb_query_text(0, 5);
		stored = mrb_query_text(0, 6);
	}
	mrb_query_close();
	if (stored != NULL)
		storage->secret = mrb_secret_resolve(stored,
											 &storage->secret_problem);
	return found ? storage : NULL;
}
