/*-------------------------------------------------------------------------
 *
 * route.h
 *	  Routes as edges receive them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ROUTE_H
#define MRB_ROUTE_H

#include "datatype/timestamp.h"

#include "adapter/template.h"
#include "common/iso_time.h"

/* A host that edges have to remove; see route_book.c. */
typedef struct MrbRemovedHost MrbRemovedHost;

/*
 * SQL: whether a host is routed.  This searches by key, which the view
 * miosa.hosts would not.
 */
#define MRB_HOST_IS_ROUTED(host) \
	"(EXISTS (SELECT FROM miosa.domains d WHERE d.fqdn = " host \
	" AND d.state = 'active') OR miosa.managed_deployment(" host ") IS NOT NULL)"

/*
 * The route of one deployment at one epoch.  The route book copies it and
 * counts references to the copy, which does not change any more; a new string
 * must be copied there too.
 */
typedef struct MrbRoute
{
	int			refs;
	int64		epoch;
	TimestampTz since;			/* start of the change; 0 in a resync */
	TimestampTz updated_at;		/* last change of the deployment */
	int64		route_seq;		/* number of its last route change */
	char	   *deployment_id;
	char	   *tenant_id;		/* NULL: the deployment does not exist */
	char	   *deployment_kind;
	char	   *version_id;		/* NULL: nothing is routed */
	char	   *version_number;
	char	   *kind;			/* of the version */
	char	   *release_id;
	char	   *storage_uri;
	char	   *sha256;
	char	   *operation_id;
	MrbStringList hosts;
	MrbStringList removed;		/* removed hosts, as read from the table */
	int			nremoved_hosts; /* the same, in the route book */
	MrbRemovedHost **removed_hosts;
} MrbRoute;

/*
 * Read the present routes in the caller's transaction and memory context.
 * mrb_route_read() reads those of the deployments in ids, in the order of the
 * ids; mrb_route_read_active() does so in the active snapshot.
 * mrb_route_read_after() reads up to limit of them in the order of their ids,
 * after the given one, with the epoch of the last change and the removed
 * hosts; it includes deleted deployments that have removed hosts.
 */
extern MrbRoute *mrb_route_read(char **ids, int n, int *found);
extern MrbRoute *mrb_route_read_active(char **ids, int n, int *found);
extern MrbRoute *mrb_route_read_after(const char *id, int limit, int *found);

/* Size of a buffer for a time in ISO 8601. */
#define MRB_ROUTE_TIME_SIZE MRB_ISO_TIME_SIZE

/*
 * Write the time of the change into the buffer and return that, or NULL when
 * it is not known.  A retry gets the same time.
 */
extern char *mrb_route_changed_at(const MrbRoute *route, char *buffer);

/* Whether the host stands for all hosts one label below ("*.example.com"). */
extern bool mrb_route_is_wildcard(const char *host);

/* Whether the route has the host. */
extern bool mrb_route_has_host(const MrbRoute *route, const char *host);

#endif							/* MRB_ROUTE_H */
