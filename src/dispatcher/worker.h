/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The dispatcher's process: start, signals, waiting, end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_WORKER_H
#define MRB_WORKER_H

extern PGDLLEXPORT void mrb_worker_main(Datum main_arg);

#endif							/* MRB_WORKER_H */
