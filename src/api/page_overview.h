/*-------------------------------------------------------------------------
 *
 * page_overview.h
 *	  The live page about all deployments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PAGE_OVERVIEW_H
#define MRB_PAGE_OVERVIEW_H

#include "api/page_parts.h"

extern void mrb_page_overview_append(StringInfo page, const MrbPageHead *head);

#endif							/* MRB_PAGE_OVERVIEW_H */
