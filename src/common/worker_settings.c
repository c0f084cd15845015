/*-------------------------------------------------------------------------
 *
 * worker_settings.c
 *	  Settings of a worker's session.
 *
 * ALTER DATABASE ... SET and ALTER ROLE ... SET are meant for users' sessions,
 * but the server applies them to background workers as well.  A worker sets
 * each setting that could change its behavior or end it to the value below.
 *
 * These are not changed:
 *
 * synchronous_commit: a pass that waits for its commit waits as the
 * transactions of users do; worker_xact.c sets it for all others.
 *
 * lock_timeout within transactions: worker_xact.c sets it for each one.
 *
 * log_*, memory and the cost constants of the planner: they belong to the
 * administrator of the server, and no value makes a result wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "base/miosa_rollback.h"
#include "common/worker_settings.h"

typedef struct WorkerSetting
{
	const char *name;
	const char *value;
} WorkerSetting;

/*
 * Settings by their effect.  One that this server does not have is skipped.
 */
static const WorkerSetting settings[] = {
	/* the current role, and how names are resolved */
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"restrict_nonsystem_relation_kind", ""},
	{"row_security", "on"},
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},

	/* time-outs and errors that end a transaction or the process */
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"exit_on_error", "off"},

	/* properties of transactions */
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},

	/* how SQL is parsed */
	{"array_nulls", "on"},
	{"backslash_quote", "safe_encoding"},
	{"escape_string_warning", "on"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"plpgsql.check_asserts", "on"},
	{"plpgsql.extra_errors", "none"},
	{"plpgsql.extra_warnings", "none"},
	{"plpgsql.variable_conflict", "error"},

	/* what an operation writes, and the format of its errors */
	{"miosa_rollback.actor", ""},
	{"request.method", ""},

	/* input and output of values */
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "UTC"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"quote_all_identifiers", "off"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},

	/* plans */
	{"jit", "off"},
	{"plan_cache_mode", "auto"},
	{"max_parallel_workers_per_gather", "0"},
	{"enable_bitmapscan", "on"},
	{"enable_hashagg", "on"},
	{"enable_hashjoin", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_indexscan", "on"},
	{"enable_material", "on"},
	{"enable_mergejoin", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "on"},
	{"enable_sort", "on"},
	{"enable_tidscan", "on"},
	{"from_collapse_limit", "8"},
	{"join_collapse_limit", "8"},

	/* messages and statistics */
	{"client_min_messages", "notice"},
	{"track_activities", "on"},
	{"track_counts", "on"},
};

static void set_superuser(void);
static bool is_custom(const char *name);

/*
 * Set every setting of the list, and the user.
 */
void
mrb_worker_settings_apply(void)
{
	set_superuser();
	for (size_t i = 0; i < lengthof(settings); i++)
	{
		const WorkerSetting *setting = &settings[i];

		/* A setting of a library that is not loaded yet is a placeholder. */
		if (is_custom(setting->name) ||
			GetConfigOption(setting->name, true, false) != NULL)
			SetConfigOption(setting->name, setting->value, PGC_SUSET,
							PGC_S_SESSION);
	}
}

/*
 * Set the session's user to the bootstrap superuser, which it is already unless
 * session_authorization was set for the database.
 */
static void
set_superuser(void)
{
	if (GetSessionUserId() != BOOTSTRAP_SUPERUSERID)
		SetConfigOption("session_authorization",
						GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false),
						PGC_SUSET, PGC_S_SESSION);
}

/*
 * Whether a setting belongs to a library.
 */
static bool
is_custom(const char *name)
{
	return strchr(name, '.') != NULL;
}
