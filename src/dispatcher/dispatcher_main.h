/*-------------------------------------------------------------------------
 *
 * dispatcher_main.h
 *	  The dispatcher's process: start, signals, waiting, end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_DISPATCHER_MAIN_H
#define MRB_DISPATCHER_MAIN_H

extern PGDLLEXPORT void mrb_dispatcher_main(Datum main_arg);

#endif							/* MRB_DISPATCHER_MAIN_H */
