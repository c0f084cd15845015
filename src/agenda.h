/*-------------------------------------------------------------------------
 *
 * agenda.h
 *	  What a scheduler is to be asked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_AGENDA_H
#define MRB_AGENDA_H

#include "lib/ilist.h"

typedef struct MrbAgenda
{
	dlist_head	wants;			/* all */
	dlist_head	ups;			/* ready, with instances to start first */
	dlist_head	others;			/* ready */
} MrbAgenda;

#endif							/* MRB_AGENDA_H */
