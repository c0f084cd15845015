/*-------------------------------------------------------------------------
 *
 * route.h
 *	  Pictures of routes, as edges receive them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROUTE_H
#define MRB_ROUTE_H

#include "datatype/timestamp.h"

#include "adapter/template.h"

/* A removed host, until every edge has been told; see route_book.c. */
typedef struct MrbRemovedHost MrbRemovedHost;

/*
 * SQL: whether a host is routed.  It is looked up by keys, not by miosa.hosts.
 */
#define MRB_HOST_IS_ROUTED(host) \
	"(EXISTS (SELECT FROM miosa.domains d WHERE d.fqdn = " host \
	" AND d.state = 'active') OR miosa.managed_deployment(" host ") IS NOT NULL)"

/* A picture of one deployment's route; never changed once it is kept. */
typedef struct MrbRoute
{
	int			refs;
	int64		epoch;
	TimestampTz since;			/* when the change was asked for; 0: resync */
	TimestampTz updated_at;		/* when the deployment was last changed */
	char	   *deployment_id;
	char	   *tenant_id;		/* NULL: the deployment is gone */
	char	   *deployment_kind;
	char	   *version_id;		/* NULL: nothing is routed */
	char	   *version_number;
	char	   *kind;			/* of the version */
	char	   *release_id;
	char	   *storage_uri;
	char	   *sha256;
	char	   *operation_id;
	MrbStringList hosts;
	MrbStringList removed;		/* only of one that was just read */
	int			ngone;
	MrbRemovedHost **gone;
} MrbRoute;

/*
 * Read present routes, in the caller's transaction and memory context: of the
 * deployments named, or of up to limit after one, with their last epoch and
 * the hosts that were removed from them, also of deployments that are gone.
 */
extern MrbRoute *mrb_route_read(char **ids, int n, int *found);
extern MrbRoute *mrb_route_read_after(const char *id, int limit, int *found);

/* Room for a time in ISO 8601. */
#define MRB_ROUTE_TIME_SIZE 32

/* When the route changed, the same on every try; NULL when unknown. */
extern char *mrb_route_changed_at(const MrbRoute *route, char *buffer);

/* Whether it stands for the hosts one label below it ("*.example.com"). */
extern bool mrb_route_is_wildcard(const char *host);

#endif							/* MRB_ROUTE_H */
