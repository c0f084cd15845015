/*-------------------------------------------------------------------------
 *
 * worker_settings.c
 *	  Settings of a worker's session.
 *
 * ALTER DATABASE ... SET and ALTER ROLE ... SET are meant for the sessions of
 * people and programs, but the server applies them to background workers as
 * well.  A worker sets every one of them that could change what it does, or
 * end it, to the value below.
 *
 * These are left as they are:
 *
 * synchronous_commit: the transaction that gives epochs commits as safely as
 * the transactions of users do; worker_xact.c sets it for all others.
 *
 * lock_timeout, but for its value outside of transactions: worker_xact.c sets it
 * for every transaction.
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
 * By what they would do otherwise.  One that this server does not have is
 * left out.
 */
static const WorkerSetting settings[] = {
	/* who it is, and what a name means */
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"restrict_nonsystem_relation_kind", ""},
	{"row_security", "on"},
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},

	/* what ends a transaction or the process */
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"exit_on_error", "off"},

	/* what a transaction may do and sees */
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},

	/* how SQL is read */
	{"array_nulls", "on"},
	{"backslash_quote", "safe_encoding"},
	{"escape_string_warning", "on"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"plpgsql.check_asserts", "on"},
	{"plpgsql.extra_errors", "none"},
	{"plpgsql.extra_warnings", "none"},
	{"plpgsql.variable_conflict", "error"},

	/* what an operation would write or raise */
	{"miosa_rollback.actor", ""},
	{"request.method", ""},

	/* how values are read and written */
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

	/* how long a statement takes */
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

	/* who sees what it does: people, and autovacuum */
	{"client_min_messages", "notice"},
	{"track_activities", "on"},
	{"track_counts", "on"},
};

static void be_superuser(void);
static bool is_custom(const char *name);

void
mrb_worker_settings_apply(void)
{
	be_superuser();
	for (size_t i = 0; i < lengthof(settings); i++)
	{
		const WorkerSetting *setting = &settings[i];

		/* One of a library that is not loaded yet waits for it. */
		if (is_custom(setting->name) ||
			GetConfigOption(setting->name, true, false) != NULL)
			SetConfigOption(setting->name, setting->value, PGC_SUSET,
							PGC_S_SESSION);
	}
}

/*
 * A worker is the bootstrap superuser, unless session_authorization was set
 * for its database.
 */
static void
be_superuser(void)
{
	if (GetSessionUserId() != BOOTSTRAP_SUPERUSERID)
		SetConfigOption("session_authorization",
						GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false),
						PGC_SUSET, PGC_S_SESSION);
}

/*
 * Whether the setting is one of a library.
 */
static bool
is_custom(const char *name)
{
	return strchr(name, '.') != NULL;
}
