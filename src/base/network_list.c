/*-------------------------------------------------------------------------
 *
 * network_list.c
 *	  Lists of networks, as settings have them.
 *
 * A list is parsed when its setting is set, so that a mistake in it is refused
 * there and callbacks of libcurl, which must not raise errors, only compare
 * bytes.  A network whose address has bits behind its prefix is refused, as the
 * type cidr does: it is probably a mistake in one or the other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/network_list.h"

/* Separators of a list. */
#define BLANKS " \t\r\n"

static const unsigned char mapped_prefix[12] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff
};

static bool parse_network(char *item, MrbNetwork *network);
static bool parse_bits(const char *string, int maximum, int *bits);
static void unmap(MrbNetwork *network);
static bool has_host_bits(const MrbNetwork *network);
static char *trim(char *item);

/*
 * Parse a list.
 */
MrbNetworkList *
mrb_network_list_parse(const char *string, char **problem)
{
	char	   *rest = pstrdup(string);
	int			items = 1;
	MrbNetworkList *list;

	*problem = NULL;
	for (const char *c = string; *c != '\0'; c++)
		items += *c == ',';
	list = palloc0(offsetof(MrbNetworkList, networks) +
				   items * sizeof(MrbNetwork));
	if (*trim(pstrdup(string)) == '\0')
		return list;
	while (rest != NULL)
	{
		char	   *item = trim(strsep(&rest, ","));

		if (strcmp(item, "public") == 0)
			list->public_internet = true;
		else if (!parse_network(pstrdup(item), &list->networks[list->count]))
			*problem = psprintf("\"%s\" is neither a network nor the word \"public\".",
								item);
		else if (has_host_bits(&list->networks[list->count]))
			*problem = psprintf("\"%s\" has bits set behind its prefix.", item);
		else
			list->count++;
		if (*problem != NULL)
			return NULL;
	}
	return list;
}

/*
 * Return the size of a list in bytes.
 */
size_t
mrb_network_list_size(const MrbNetworkList *list)
{
	return offsetof(MrbNetworkList, networks) +
		list->count * sizeof(MrbNetwork);
}

/*
 * Whether an address is in a network.
 */
bool
mrb_network_list_matches(const MrbNetwork *network,
						 const unsigned char *address, int bytes)
{
	int			whole = network->bits / 8;
	int			bits = network->bits % 8;

	return network->bytes == bytes &&
		memcmp(address, network->prefix, whole) == 0 &&
		(bits == 0 ||
		 (address[whole] ^ network->prefix[whole]) >> (8 - bits) == 0);
}

/*
 * Whether an address is in one of the networks of a list.
 */
bool
mrb_network_list_contains(const MrbNetworkList *list,
						  const unsigned char *address, int bytes)
{
	for (int i = 0; list != NULL && i < list->count; i++)
	{
		if (mrb_network_list_matches(&list->networks[i], address, bytes))
			return true;
	}
	return false;
}

/*
 * Parse an address with or without the length of its prefix; the item is
 * changed.
 */
static bool
parse_network(char *item, MrbNetwork *network)
{
	char	   *slash = strchr(item, '/');

	memset(network, 0, sizeof(*network));
	if (slash != NULL)
		*slash = '\0';
	if (inet_pton(AF_INET, item, network->prefix) == 1)
		network->bytes = 4;
	else if (inet_pton(AF_INET6, item, network->prefix) == 1)
		network->bytes = 16;
	else
		return false;
	network->bits = network->bytes * 8;
	if (slash != NULL && !parse_bits(slash + 1, network->bits, &network->bits))
		return false;
	unmap(network);
	return true;
}

/*
 * Parse the length of a prefix.
 */
static bool
parse_bits(const char *string, int maximum, int *bits)
{
	size_t		len = strlen(string);

	if (len == 0 || len > 3 || strspn(string, "0123456789") != len)
		return false;
	*bits = atoi(string);
	return *bits <= maximum;
}

/*
 * Write a network of mapped IPv4 addresses as the one of IPv4 that it is.
 */
static void
unmap(MrbNetwork *network)
{
	if (network->bytes != 16 || network->bits < 96 ||
		memcmp(network->prefix, mapped_prefix, sizeof(mapped_prefix)) != 0)
		return;
	memmove(network->prefix, network->prefix + 12, 4);
	memset(network->prefix + 4, 0, 12);
	network->bytes = 4;
	network->bits -= 96;
}

/*
 * Whether the address of a network has bits behind its prefix.
 */
static bool
has_host_bits(const MrbNetwork *network)
{
	for (int bit = network->bits; bit < network->bytes * 8; bit++)
	{
		if (network->prefix[bit / 8] & (0x80 >> bit % 8))
			return true;
	}
	return false;
}

/*
 * Cut off blanks at both ends, in place.
 */
static char *
trim(char *item)
{
	size_t		len;

	item += strspn(item, BLANKS);
	len = strlen(item);
	while (len > 0 && strchr(BLANKS, item[len - 1]) != NULL)
		len--;
	item[len] = '\0';
	return item;
}
