/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Settings, sorted by name.
 *
 * Sizes of shared memory are fixed at server start.  Settings that restrict
 * where the server connects to or which files it reads are PGC_SIGHUP, because
 * a caller must not be able to change them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "base/check_argument.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/miosa_rollback.h"
#include "base/network_list.h"

char	   *mrb_actor;
bool		mrb_allow_drop;
bool		mrb_allow_private_endpoints;
MrbNetworkList *mrb_allowed_networks;
char	   *mrb_artifact_file_root;
int			mrb_artifact_max_age;
int			mrb_artifact_timeout;
int			mrb_artifact_unknown_grace;
int			mrb_audit_head_events;
char	   *mrb_audit_head_file;
int			mrb_audit_head_interval;
bool		mrb_automatic;
char	   *mrb_ca_file;
int			mrb_capacity_interval;
int			mrb_cutover_deadline;
int			mrb_drain_delay;
int			mrb_gone_retry;
int			mrb_heartbeat_timeout;
bool		mrb_hold_after_rollback;
int			mrb_lock_wait;
bool		mrb_log_operations;
char	   *mrb_managed_domain;
int			mrb_max_databases;
int			mrb_max_endpoints;
int			mrb_min_served;
int			mrb_on_incompatible;
int			mrb_on_schema_mismatch;
char	   *mrb_secret_directory;
char	   *mrb_site;
int			mrb_site_role = MRB_SITE_PRIMARY;
int			mrb_stage_wait;
int			mrb_tenancy;
char	   *mrb_trusted_gateways;
uint64		mrb_trusted_gateways_changes = 0;

/* The text of mrb_allowed_networks. */
static char *allowed_networks;

/* Maximum length of an actor, which is type:id, in bytes. */
#define MAX_ACTOR 512

static const struct config_enum_entry on_incompatible_options[] = {
	{"warn", MRB_INCOMPATIBLE_WARN, false},
	{"refuse", MRB_INCOMPATIBLE_REFUSE, false},
	{NULL, 0, false}
};

static const struct config_enum_entry site_role_options[] = {
	{"primary", MRB_SITE_PRIMARY, false},
	{"replica", MRB_SITE_REPLICA, false},
	{NULL, 0, false}
};

static const struct config_enum_entry tenancy_options[] = {
	{"single", MRB_TENANCY_SINGLE, false},
	{"enforced", MRB_TENANCY_ENFORCED, false},
	{NULL, 0, false}
};

static void define_settings_a_to_c(void);
static void define_settings_d_to_l(void);
static void define_settings_m_to_z(void);
static bool check_networks(char **newval, void **extra, GucSource source);
static void assign_networks(const char *newval, void *extra);
static bool check_actor(char **newval, void **extra, GucSource source);
static bool check_absolute(char **newval, void **extra, GucSource source);
static bool check_roles(char **newval, void **extra, GucSource source);
static void assign_roles(const char *newval, void *extra);

/*
 * Define every setting and reserve the prefix.
 */
void
mrb_guc_define(void)
{
	define_settings_a_to_c();
	define_settings_d_to_l();
	define_settings_m_to_z();
	MarkGUCPrefixReserved(MRB_EXTENSION);
}

/*
 * Define the settings A to C.
 */
static void
define_settings_a_to_c(void)
{
	DefineCustomStringVariable("miosa_rollback.actor",
							   "Actor that is written to the audit event, as type:id (user:user_1, api_key:key_7).",
							   "Empty means the current role.",
							   &mrb_actor, "",
							   PGC_USERSET, 0, check_actor, NULL, NULL);

	DefineCustomBoolVariable("miosa_rollback.allow_drop",
							 "Allows the extension to be dropped together with its data.",
							 NULL,
							 &mrb_allow_drop, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomBoolVariable("miosa_rollback.allow_private_endpoints",
							 "Allows connections to all addresses, also loopback, link-local and private ones.",
							 "Metadata services of clouds are never asked.",
							 &mrb_allow_private_endpoints, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("miosa_rollback.allowed_networks",
							   "Networks that endpoints and storage may be in.",
							   "A list of networks, and \"public\" for the public Internet.",
							   &allowed_networks, "public",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_networks,
							   assign_networks, NULL);

	DefineCustomStringVariable("miosa_rollback.artifact_file_root",
							   "Directory that file:// artifacts must be in.",
							   "Empty means that file:// artifacts are not checked.",
							   &mrb_artifact_file_root, "",
							   PGC_SIGHUP, 0, check_absolute, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.artifact_max_age",
							"How long a verification of an artifact is valid.",
							NULL,
							&mrb_artifact_max_age, 3600, 0, INT_MAX / 1000,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.artifact_timeout",
							"Maximum time to wait for an answer from artifact storage.",
							NULL,
							&mrb_artifact_timeout, 300, 1, 60000,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.artifact_unknown_grace",
							"Maximum age of the last verification when storage gives no certain answer.",
							NULL,
							&mrb_artifact_unknown_grace, 86400, 0, INT_MAX / 1000,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.audit_head_events",
							"Number of operations after which heads of the audit trail are sent out.",
							NULL,
							&mrb_audit_head_events, 1000, 1, 100000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("miosa_rollback.audit_head_file",
							   "File to which heads of the audit trail are appended.",
							   "Empty means that there is none.",
							   &mrb_audit_head_file, "",
							   PGC_SIGHUP, 0, check_absolute, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.audit_head_interval",
							"Maximum time until heads of the audit trail are sent out after an operation.",
							NULL,
							&mrb_audit_head_interval, 60000, 100, 86400000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomBoolVariable("miosa_rollback.automatic",
							 "Promotions of this session are decided by no person.",
							 "A deployment that is held refuses them.",
							 &mrb_automatic, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("miosa_rollback.ca_file",
							   "File with the certificate authorities for endpoints and storage.",
							   "Empty means those of the system.",
							   &mrb_ca_file, "",
							   PGC_SIGHUP, 0, check_absolute, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.capacity_interval",
							"Time between capacity requests for instances that are missing.",
							NULL,
							&mrb_capacity_interval, 30000, 100, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.cutover_deadline",
							"Time after which routes switch to a version that has one healthy instance.",
							NULL,
							&mrb_cutover_deadline, 60000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/*
 * Define the settings D to L.
 */
static void
define_settings_d_to_l(void)
{
	DefineCustomIntVariable("miosa_rollback.drain_delay",
							"Time before instances of a version that serves no traffic are stopped.",
							"-1 means that they are never stopped.",
							&mrb_drain_delay, 900000, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.gone_retry",
							"Time between retries of an endpoint that is gone.",
							NULL,
							&mrb_gone_retry, 300000, 100, 86400000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.heartbeat_timeout",
							"Time after its last heartbeat at which an instance stops counting as healthy.",
							"Zero means never.",
							&mrb_heartbeat_timeout, 90000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomBoolVariable("miosa_rollback.hold_after_rollback",
							 "A rollback holds the deployment against automatic promotions.",
							 NULL,
							 &mrb_hold_after_rollback, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.lock_wait",
							"Maximum time to wait for a lock.",
							NULL,
							&mrb_lock_wait, 500, 1, 60000,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("miosa_rollback.log_operations",
							 "Logs each operation, each refused one, and when edges have it.",
							 NULL,
							 &mrb_log_operations, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
}

/*
 * Define the settings M to Z.
 */
static void
define_settings_m_to_z(void)
{
	DefineCustomStringVariable("miosa_rollback.managed_domain",
							   "Domain of managed hosts (deployment.tenant.domain).",
							   "Empty means that there are no managed hosts.",
							   &mrb_managed_domain, "miosa.app",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);

	/* These size shared memory, which exists only when preloaded. */
	if (process_shared_preload_libraries_in_progress)
	{
		DefineCustomIntVariable("miosa_rollback.max_databases",
								"Maximum number of databases that have a dispatcher.",
								NULL,
								&mrb_max_databases, 16, 1, 1024,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);

		DefineCustomIntVariable("miosa_rollback.max_endpoints",
								"Number of endpoints in all databases whose state and statistics are in shared memory.",
								NULL,
								&mrb_max_endpoints, 4096, 1, 65536,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
	}

	DefineCustomIntVariable("miosa_rollback.min_served",
							"How long a version must have served to be gone back to by a rollback that names none.",
							"Zero means that any length of time is enough.",
							&mrb_min_served, 0, 0, INT_MAX / 1000,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomEnumVariable("miosa_rollback.on_incompatible",
							 "Action when a schema change is marked as incompatible with older versions.",
							 NULL,
							 &mrb_on_incompatible, MRB_INCOMPATIBLE_WARN,
							 on_incompatible_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomEnumVariable("miosa_rollback.on_schema_mismatch",
							 "Action when a version does not fit the schema that was reported.",
							 NULL,
							 &mrb_on_schema_mismatch, MRB_INCOMPATIBLE_WARN,
							 on_incompatible_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("miosa_rollback.secret_directory",
							   "Directory that the files of secrets must be in.",
							   "Empty means that secrets are not read from files.",
							   &mrb_secret_directory, "",
							   PGC_SIGHUP, 0, check_absolute, NULL, NULL);

	DefineCustomStringVariable("miosa_rollback.site",
							   "Name of this installation, the same on every server of a fail-over group.",
							   NULL,
							   &mrb_site, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomEnumVariable("miosa_rollback.site_role",
							 "Whether routes are changed here, or come from another site.",
							 NULL,
							 &mrb_site_role, MRB_SITE_PRIMARY, site_role_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("miosa_rollback.stage_wait",
							"Maximum time that caches wait for the routers of their zone.",
							NULL,
							&mrb_stage_wait, 500, 0, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomEnumVariable("miosa_rollback.tenancy",
							 "Whether callers see all tenants or only those that they act for.",
							 NULL,
							 &mrb_tenancy, MRB_TENANCY_SINGLE, tenancy_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("miosa_rollback.trusted_gateways",
							   "Roles whose sessions may name tenant and actor in request.jwt.claims.",
							   "Empty means that the claims of no session count.",
							   &mrb_trusted_gateways, "",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_roles, assign_roles, NULL);
}

/*
 * Check hook of miosa_rollback.actor.  Every caller can set it, and each audit
 * event stores it, so its length is limited.
 */
static bool
check_actor(char **newval, void **extra, GucSource source)
{
	(void) extra;
	(void) source;
	if (strlen(*newval) > MAX_ACTOR)
		GUC_check_errdetail("The actor has %zu bytes; the maximum is %d.",
							strlen(*newval), MAX_ACTOR);
	else if (mrb_check_argument_find_hidden(*newval) != NULL)
		GUC_check_errdetail("The actor has %s.",
							mrb_check_argument_find_hidden(*newval));
	else
		return true;
	return false;
}

/*
 * Check hook of miosa_rollback.allowed_networks, which parses it.
 */
static bool
check_networks(char **newval, void **extra, GucSource source)
{
	char	   *problem;
	MrbNetworkList *list = mrb_network_list_parse(*newval, &problem);

	(void) source;
	if (list == NULL)
	{
		GUC_check_errdetail("%s", problem);
		GUC_check_errhint("For example 'public, 10.0.0.0/8, fd00::/8'.");
		return false;
	}
	*extra = MRB_GUC_MALLOC(mrb_network_list_size(list));
	if (*extra == NULL)
		return false;
	memcpy(*extra, list, mrb_network_list_size(list));
	return true;
}

/*
 * Assign hook of miosa_rollback.allowed_networks.
 */
static void
assign_networks(const char *newval, void *extra)
{
	(void) newval;
	mrb_allowed_networks = extra;
}

/*
 * Check hook of paths.  A relative path would be relative to the data
 * directory.
 */
static bool
check_absolute(char **newval, void **extra, GucSource source)
{
	(void) extra;
	(void) source;
	if (**newval == '\0' || is_absolute_path(*newval))
		return true;
	GUC_check_errdetail("The path must be absolute.");
	return false;
}

/*
 * Check hook of lists of roles.
 */
static bool
check_roles(char **newval, void **extra, GucSource source)
{
	char	   *names = pstrdup(*newval);
	List	   *list;
	bool		valid = SplitIdentifierString(names, ',', &list);

	(void) extra;
	(void) source;
	list_free(list);
	pfree(names);
	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	return valid;
}

/*
 * Assign hook of lists of roles: what was found out by the last list is outdated.
 */
static void
assign_roles(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	mrb_trusted_gateways_changes++;
}
