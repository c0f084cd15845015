/*-------------------------------------------------------------------------
 *
 * network_list.h
 *	  Lists of networks, as settings have them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_NETWORK_LIST_H
#define MRB_NETWORK_LIST_H

/* A network of IPv4 (4 bytes) or IPv6 (16 bytes). */
typedef struct MrbNetwork
{
	int			bytes;			/* length of its addresses */
	int			bits;			/* length of its prefix */
	unsigned char prefix[16];	/* in network order */
} MrbNetwork;

typedef struct MrbNetworkList
{
	bool		public_internet;	/* the list has the word "public" */
	int			count;
	MrbNetwork	networks[FLEXIBLE_ARRAY_MEMBER];
} MrbNetworkList;

/*
 * Parse a list like "public, 10.0.0.0/8, fd00::/8"; on failure return NULL,
 * and the reason in *problem.
 */
extern MrbNetworkList *mrb_network_list_parse(const char *string,
											  char **problem);

/* Size in bytes. */
extern size_t mrb_network_list_size(const MrbNetworkList *list);

/*
 * Whether an address, in network order, is in a network, or in one of a list.
 * These neither allocate nor raise errors.
 */
extern bool mrb_network_list_matches(const MrbNetwork *network,
									 const unsigned char *address, int bytes);
extern bool mrb_network_list_contains(const MrbNetworkList *list,
									  const unsigned char *address, int bytes);

#endif							/* MRB_NETWORK_LIST_H */
