/*-------------------------------------------------------------------------
 *
 * page_deployment.h
 *	  The live page about one deployment.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_PAGE_DEPLOYMENT_H
#define MRB_PAGE_DEPLOYMENT_H

#include "api/page_parts.h"

extern void mrb_page_deployment_append(StringInfo page, const MrbPageHead *head);

#endif							/* MRB_PAGE_DEPLOYMENT_H */
