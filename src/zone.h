/*-------------------------------------------------------------------------
 *
 * zone.h
 *	  Endpoints that serve together: its caches wait for its routers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ZONE_H
#define MRB_ZONE_H

typedef struct MrbZone
{
	char	   *name;
	int			routers;		/* endpoints of stage 0 */
	int			caches;			/* endpoints of stage 1 */
} MrbZone;

#endif							/* MRB_ZONE_H */
