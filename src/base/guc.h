/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Settings, sorted by name.  docs/reference.md describes them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_GUC_H
#define MRB_GUC_H

struct MrbNetworkList;

typedef enum MrbOnIncompatible
{
	MRB_INCOMPATIBLE_WARN,
	MRB_INCOMPATIBLE_REFUSE,
} MrbOnIncompatible;

typedef enum MrbTenancy
{
	MRB_TENANCY_SINGLE,
	MRB_TENANCY_ENFORCED,
} MrbTenancy;

typedef enum MrbSiteRole
{
	MRB_SITE_PRIMARY,
	MRB_SITE_REPLICA,
} MrbSiteRole;

extern char *mrb_actor;
extern bool mrb_allow_drop;
extern bool mrb_allow_private_endpoints;
extern struct MrbNetworkList *mrb_allowed_networks;
extern char *mrb_artifact_file_root;
extern int	mrb_artifact_max_age;	/* seconds */
extern int	mrb_artifact_timeout;	/* milliseconds */
extern int	mrb_artifact_unknown_grace; /* seconds */
extern int	mrb_audit_head_events;
extern char *mrb_audit_head_file;
extern int	mrb_audit_head_interval;	/* milliseconds */
extern bool mrb_automatic;
extern char *mrb_ca_file;
extern int	mrb_capacity_interval;	/* milliseconds */
extern int	mrb_cutover_deadline;	/* milliseconds */
extern int	mrb_drain_delay;	/* milliseconds, -1: never */
extern int	mrb_gone_retry;		/* milliseconds */
extern int	mrb_heartbeat_timeout;	/* milliseconds, 0: none */
extern bool mrb_hold_after_rollback;
extern int	mrb_lock_wait;		/* milliseconds */
extern bool mrb_log_operations;
extern char *mrb_managed_domain;
extern int	mrb_max_databases;
extern int	mrb_max_endpoints;
extern int	mrb_min_served;		/* s */
extern int	mrb_on_incompatible;	/* MrbOnIncompatible */
extern int	mrb_on_schema_mismatch; /* MrbOnIncompatible */
extern char *mrb_secret_directory;
extern char *mrb_site;
extern int	mrb_site_role;		/* MrbSiteRole */
extern int	mrb_stage_wait;		/* milliseconds */
extern int	mrb_tenancy;		/* MrbTenancy */
extern char *mrb_trusted_gateways;	/* names of roles */
extern uint64 mrb_trusted_gateways_changes; /* counts its changes */

/* Define every setting and reserve the prefix. */
extern void mrb_guc_define(void);

#endif							/* MRB_GUC_H */
