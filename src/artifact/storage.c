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
#include "adapter/secret_scope.h"
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
	STORAGE_SECRET,
	STORAGE_ORIGINS
};

static MrbQuery find_query = {
	.sql = "SELECT s.prefix, s.endpoint, 'aws:amz:' || s.region || ':s3',"
	" s.addressing = 'virtual', s.secret,"
	" miosa.reveal(x.value), pg_catalog.array_to_string(x.origins, ' ') FROM miosa.storages s"
	" LEFT JOIN miosa.secrets x ON x.name = s.secret"
	" WHERE starts_with('s3' || substr($1, 3), s.prefix)"
	" ORDER BY length(s.prefix) DESC LIMIT 1",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static void read_secret(MrbStorage *storage, const char *stored, char *origins);

/*
 * Return the storage with the longest prefix of a URI; NULL when there is none.
 */
MrbStorage *
mrb_storage_find(const char *uri)
{
	MrbStorage *storage = palloc0(sizeof(MrbStorage));
	char	   *stored = NULL;
	char	   *origins = NULL;
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
		origins = mrb_query_text(0, STORAGE_ORIGINS);
	}
	mrb_query_close();
	if (stored != NULL)
		read_secret(storage, stored, origins);
	return found ? storage : NULL;
}

/*
 * Read the secret of the storage, if requests to it may carry the secret.
 */
static void
read_secret(MrbStorage *storage, const char *stored, char *origins)
{
	MrbSecretScope scope = {0};

	storage->secret = mrb_secret_resolve(stored, &storage->secret_problem);
	if (storage->secret == NULL)
		return;
	scope.origins = mrb_secret_origins(stored, &storage->secret_problem);
	if (scope.origins == NULL)
		scope.origins = origins;
	if (storage->secret_problem == NULL)
		storage->secret_problem =
			mrb_secret_scope_problem(&scope, storage->endpoint, NULL);
	if (storage->secret_problem != NULL)
		storage->secret = NULL;
}
