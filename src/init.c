/*-------------------------------------------------------------------------
 *
 * init.c
 *	  Initialize the library.
 *
 * When preloaded, it has shared memory and a launcher.  When loaded later, by the
 * first call of a function, everything works except that changes are not
 * delivered; functions that change a route warn about it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/drop_guard.h"
#include "base/guc.h"
#include "common/digest.h"
#include "common/refusal_ring.h"
#include "common/registry.h"
#include "dispatcher/launcher.h"
#include "endpoint/endpoint_stats.h"
#include "endpoint/endpoint_totals.h"
#include "operation/operation_stats.h"
#include "operation/refusal.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/*
 * Define the settings and, when preloaded, install shared memory and the launcher.
 */
void
_PG_init(void)
{
	mrb_guc_define();
	mrb_drop_guard_install();
	mrb_refusal_install();

	if (!process_shared_preload_libraries_in_progress)
		return;
	mrb_registry_install();
	mrb_endpoint_stats_install();
	mrb_endpoint_totals_install();
	mrb_refusal_ring_install();
	mrb_operation_stats_install();

	/*
	 * OpenSSL looks the algorithm up at its first use.  Backends inherit what
	 * the postmaster has found; for each it would be a tenth of the first
	 * rollback.
	 */
	(void) mrb_digest_sha256("", 0);

	/* The servers that pg_upgrade starts must not deliver anything. */
	if (!IsBinaryUpgrade)
		mrb_launcher_register();
}
