/*-------------------------------------------------------------------------
 *
 * dispatcher_main.h
 *	  The dispatcher's process: start, signals, main loop, exit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DISPATCHER_MAIN_H
#define MRB_DISPATCHER_MAIN_H

/* Entry point; the argument is the oid of the database. */
extern PGDLLEXPORT void mrb_dispatcher_main(Datum main_arg);

#endif							/* MRB_DISPATCHER_MAIN_H */
