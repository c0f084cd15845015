/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The launcher: starts a dispatcher in each database that has the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_LAUNCHER_H
#define MRB_LAUNCHER_H

/* Register the launcher; only while the server preloads libraries. */
extern void mrb_launcher_register(void);

/* Entry point of the launcher's process. */
extern PGDLLEXPORT void mrb_launcher_main(Datum main_arg);

#endif							/* MRB_LAUNCHER_H */
