/*-------------------------------------------------------------------------
 *
 * init.c
 *	  Loading the library.
 *
 * Preloaded, it has shared memory and a launcher.  Loaded later, by the first
 * call of a function, everything works but that nobody is told of changes;
 * the functions say so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/drop_guard.h"
#include "base/guc.h"
#include "common/registry.h"
#include "dispatcher/launcher.h"
#include "endpoint/endpoint_stats.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	mrb_guc_define();
	mrb_drop_guard_install();

	if (!process_shared_preload_libraries_in_progress)
		return;
	mrb_registry_install();
	mrb_endpoint_stats_install();

	/* pg_upgrade's servers must not tell anybody anything. */
	if (!IsBinaryUpgrade)
		mrb_launcher_register();
}
