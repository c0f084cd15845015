/*-------------------------------------------------------------------------
 *
 * outbound.c
 *	  Decide which addresses requests may be sent to.
 *
 * miosa_rollback.allowed_networks lists them, and allow_private_endpoints
 * stands for all.  Metadata services of clouds, which give any client on the
 * machine its credentials, are refused whatever these settings are.
 *
 * An IPv6 address can stand for one of IPv4: mapped, or behind a translator
 * (NAT64) or a tunnel (6to4, Teredo).  Then both are judged.  A network may have
 * a translator under any prefix, so an IPv6 address that ends like the IPv4
 * address of a metadata service is refused under every prefix.
 *
 * The functions are called by callbacks of libcurl: they neither allocate nor
 * raise errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* utils/inet.h needs it since PostgreSQL 16 */
#include "base/compat.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/inet.h"

#include "base/guc.h"
#include "base/network_list.h"
#include "http/outbound.h"
#include "http/public_address.h"

PG_FUNCTION_INFO_V1(mrb_refused_address);

/* An address in network order. */
typedef struct Address
{
	int			bytes;			/* 4 or 16 */
	unsigned char data[16];
} Address;

/* Services that only the machines of a cloud can reach. */
static const MrbNetwork metadata_networks[] = {
	{4, 24, {169, 254, 169}},	/* AWS, Azure, Google, OpenStack and others */
	{4, 24, {169, 254, 170}},	/* credentials of containers at AWS */
	{4, 32, {169, 254, 0, 23}}, /* Tencent */
	{4, 32, {100, 100, 100, 200}},	/* Alibaba */
	{4, 32, {168, 63, 129, 16}},	/* Azure's host */
	{4, 32, {192, 0, 0, 192}},	/* Oracle */
	{16, 32, {0xfd, 0x00, 0x0e, 0xc2}}, /* AWS */
	{16, 32, {0xfd, 0x20, 0x00, 0xce}}, /* Google */
};

static const MrbNetwork mapped = {16, 96, {[10] = 0xff,[11] = 0xff}};
static const MrbNetwork compatible = {16, 96, {0}};
static const MrbNetwork nat64 = {16, 96, {0x00, 0x64, 0xff, 0x9b}};
static const MrbNetwork local_nat64 = {16, 48, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}};
static const MrbNetwork six_to_four = {16, 16, {0x20, 0x02}};
static const MrbNetwork teredo = {16, 32, {0x20, 0x01}};

static MrbOutbound judge(const Address *address);
static bool is_allowed(const Address *address);
static bool is_metadata(const Address *address);
static bool is_metadata_v4(const unsigned char *data);
static bool hides_metadata(const Address *address);
static bool find_v4(const Address *address, Address *v4);
static bool in_network(const Address *address, const MrbNetwork *network);
static bool from_sockaddr(const struct sockaddr *address, Address *result);
static bool from_text(const char *string, Address *result);

/*
 * Judge an address before a socket is opened for it.
 */
MrbOutbound
mrb_outbound_judge(const struct sockaddr *address)
{
	Address		parsed;

	return from_sockaddr(address, &parsed) ? judge(&parsed) :
		MRB_OUTBOUND_NOT_LISTED;
}

/*
 * Judge the two ends of a connection.  It may have been opened when the settings
 * were others.  Ports of this server are open to its public addresses too, so
 * "public" does not mean these.
 */
MrbOutbound
mrb_outbound_judge_connection(const char *peer, const char *local)
{
	Address		parsed;
	MrbOutbound verdict;

	if (!from_text(peer, &parsed))
		return MRB_OUTBOUND_NOT_LISTED;
	verdict = judge(&parsed);
	if (verdict == MRB_OUTBOUND_ALLOWED && !mrb_allow_private_endpoints &&
		strcmp(peer, local) == 0 &&
		!mrb_network_list_contains(mrb_allowed_networks, parsed.data,
								   parsed.bytes))
		return MRB_OUTBOUND_OWN;
	return verdict;
}

/*
 * Describe a refusal.
 */
const char *
mrb_outbound_refusal(MrbOutbound verdict)
{
	switch (verdict)
	{
		case MRB_OUTBOUND_ALLOWED:
			return NULL;
		case MRB_OUTBOUND_METADATA:
			return "the host is a metadata service of a cloud, which is never asked";
		case MRB_OUTBOUND_NOT_LISTED:
			return "the host is in no network of miosa_rollback.allowed_networks";
		case MRB_OUTBOUND_OWN:
			return "the host is this server, and miosa_rollback.allowed_networks does not list its address";
	}
	pg_unreachable();
}

/*
 * miosa.refused_address(address): why requests to an address are refused
 */
Datum
mrb_refused_address(PG_FUNCTION_ARGS)
{
	inet	   *value = PG_GETARG_INET_PP(0);
	Address		address = {.bytes = ip_addrsize(value)};
	const char *refusal;

	memcpy(address.data, ip_addr(value), address.bytes);
	refusal = mrb_outbound_refusal(judge(&address));
	if (refusal == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(refusal));
}

/*
 * Judge an address, and the one that it stands for.
 */
static MrbOutbound
judge(const Address *address)
{
	Address		v4;

	if (is_metadata(address))
		return MRB_OUTBOUND_METADATA;
	if (mrb_allow_private_endpoints)
		return MRB_OUTBOUND_ALLOWED;
	if (in_network(address, &mapped) && find_v4(address, &v4))
		return mrb_network_list_contains(mrb_allowed_networks, v4.data, 4) ?
			MRB_OUTBOUND_ALLOWED : MRB_OUTBOUND_NOT_LISTED;
	if (!is_allowed(address) ||
		(find_v4(address, &v4) && !is_allowed(&v4)))
		return MRB_OUTBOUND_NOT_LISTED;
	return MRB_OUTBOUND_ALLOWED;
}

/*
 * Whether the setting lists an address.
 */
static bool
is_allowed(const Address *address)
{
	if (mrb_network_list_contains(mrb_allowed_networks, address->data,
								  address->bytes))
		return true;
	return mrb_allowed_networks != NULL &&
		mrb_allowed_networks->public_internet &&
		(address->bytes == 4 ? mrb_public_address_matches_v4(address->data) :
		 mrb_public_address_matches_v6(address->data));
}

/*
 * Whether an address leads to a metadata service.
 */
static bool
is_metadata(const Address *address)
{
	if (address->bytes == 4)
		return is_metadata_v4(address->data);
	for (int i = 0; i < (int) lengthof(metadata_networks); i++)
	{
		if (in_network(address, &metadata_networks[i]))
			return true;
	}
	return hides_metadata(address);
}

/*
 * Whether an IPv4 address is one of a metadata service.
 */
static bool
is_metadata_v4(const unsigned char *data)
{
	for (int i = 0; i < (int) lengthof(metadata_networks); i++)
	{
		if (mrb_network_list_matches(&metadata_networks[i], data, 4))
			return true;
	}
	return false;
}

/*
 * Whether an IPv6 address has the IPv4 address of a metadata service in it.  A
 * translator whose prefix is shorter than 96 bits leaves byte 8 out.
 */
static bool
hides_metadata(const Address *address)
{
	const unsigned char *data = address->data;
	const unsigned char after_48[] = {data[6], data[7], data[9], data[10]};
	const unsigned char after_56[] = {data[7], data[9], data[10], data[11]};
	Address		v4;

	if (is_metadata_v4(data + 12) ||
		(find_v4(address, &v4) && is_metadata_v4(v4.data)))
		return true;
	return in_network(address, &local_nat64) &&
		(is_metadata_v4(after_48) || is_metadata_v4(after_56) ||
		 is_metadata_v4(data + 9));
}

/*
 * Find the IPv4 address that an IPv6 address stands for, by its prefix.
 */
static bool
find_v4(const Address *address, Address *v4)
{
	v4->bytes = 4;
	if (in_network(address, &mapped) || in_network(address, &compatible) ||
		in_network(address, &nat64))
		memcpy(v4->data, address->data + 12, 4);
	else if (in_network(address, &six_to_four))
		memcpy(v4->data, address->data + 2, 4);
	else if (in_network(address, &teredo))
	{
		/* It is complemented. */
		for (int i = 0; i < 4; i++)
			v4->data[i] = address->data[12 + i] ^ 0xff;
	}
	else
		return false;
	return true;
}

/*
 * Whether an address is in a network.
 */
static bool
in_network(const Address *address, const MrbNetwork *network)
{
	return mrb_network_list_matches(network, address->data, address->bytes);
}

/*
 * Read the address of a socket; false for other kinds.
 */
static bool
from_sockaddr(const struct sockaddr *address, Address *result)
{
	if (address->sa_family == AF_INET)
	{
		result->bytes = 4;
		memcpy(result->data,
			   &((const struct sockaddr_in *) address)->sin_addr, 4);
		return true;
	}
	if (address->sa_family == AF_INET6)
	{
		result->bytes = 16;
		memcpy(result->data,
			   &((const struct sockaddr_in6 *) address)->sin6_addr, 16);
		return true;
	}
	return false;
}

/*
 * Read the text form of an address.
 */
static bool
from_text(const char *string, Address *result)
{
	result->bytes = 4;
	if (inet_pton(AF_INET, string, result->data) == 1)
		return true;
	result->bytes = 16;
	return inet_pton(AF_INET6, string, result->data) == 1;
}
