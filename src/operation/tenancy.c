/*-------------------------------------------------------------------------
 *
 * tenancy.c
 *	  The tenants that a caller acts for, and what it may do for them.
 *
 * With miosa_rollback.tenancy = single every caller acts for every tenant.  With
 * enforced
 *
 *	  - superusers, roles with BYPASSRLS, and members of miosa_all_tenants act
 *		for all tenants;
 *	  - in a session that a trusted gateway has logged in, the claims of a request
 *		name the one tenant that it acts for, whatever the role is;
 *	  - any other caller acts for the tenants that miosa.tenant_members names for
 *		its role and for those that it inherits from.
 *
 * The caller is the role of SET ROLE, else the one that logged in: functions run
 * with their owner's rights.  In a security-restricted operation, where a table's
 * expressions are evaluated for somebody else (ANALYZE, autovacuum), it is the
 * table's owner, and nobody in a function that has its owner's rights.  To
 * everybody else a tenant does not exist; what refuses or hides it asks
 * mrb_tenancy_sees() before it waits for any lock.
 *
 * What was read is kept until a role, a membership of roles or a row of
 * miosa.tenant_members changes anywhere: the trigger of that table sends the
 * invalidation of its relation, which arrives with the next transaction at the
 * latest.  Rows are read with a snapshot that is taken after the invalidations,
 * so that nothing is kept that is older than these.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/errors.h"
#include "base/miosa_rollback.h"
#include "common/table.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_members_changed);

#define ALL_TENANTS_ROLE "miosa_all_tenants"
#define ANY_TENANT "*"

/* Scopes of so many tenants are kept at most. */
#define KEPT_MAX 10000

enum
{
	MEMBER_TENANT,
	MEMBER_ROLE,
	MEMBER_SCOPES
};

static MrbTable members = {
	.name = "tenant_members",
	.index = "tenant_members_pkey",
	.columns = {
		[MEMBER_TENANT] = "tenant_id",
		[MEMBER_ROLE] = "role_name",
		[MEMBER_SCOPES] = "scopes",
	},
	.types = {[MEMBER_SCOPES] = TEXTARRAYOID},
};

/* A tenant whose rows were read. */
typedef struct Known
{
	char		tenant_id[MRB_MAX_ID + 1];
	int			scopes;
} Known;

/* What was read of a caller. */
typedef struct Caller
{
	bool		valid;
	Oid			session;		/* role that logged in */
	Oid			role;			/* role that acts */
	uint64		gateways;		/* mrb_trusted_gateways_changes */
	uint64		members;		/* members.changes */
	uint64		roles;			/* role_changes */
	bool		is_gateway;
	bool		all;			/* acts for all tenants by what it is */
	int			everywhere;		/* scopes for every tenant */
	HTAB	   *known;
	Known	   *last;			/* the last one that was asked for */
} Caller;

static Caller caller;

/* Counts changes of roles and of their memberships. */
static uint64 role_changes = 0;

static bool has_scopes(const char *tenant_id, int scopes);
static bool has_claims(void);
static int	find_scopes(const char *tenant_id);
static int	read_scopes(const char *tenant_id, uint64 *changes);
static int	decode_scopes(Datum array);
static void know_caller(void);
static bool acts_for_all(Oid role);
static bool is_listed(const char *name);
static void forget(void);
static void forget_roles(Datum arg, int cacheid, uint32 hashvalue);

/*
 * Whether rows of a tenant exist for the caller.
 */
bool
mrb_tenancy_sees(const char *tenant_id)
{
	return !mrb_tenancy_enforced() || has_scopes(tenant_id, MRB_SCOPES_SEEING);
}

/*
 * Whether the caller has any of the scopes.
 */
bool
mrb_tenancy_may(const char *tenant_id, int scopes)
{
	return !mrb_tenancy_enforced() || has_scopes(tenant_id, scopes);
}

/*
 * Whether the caller may name another actor, in either mode.
 */
bool
mrb_tenancy_may_speak(const char *tenant_id)
{
	know_caller();
	return caller.is_gateway ||
		(OidIsValid(caller.role) && superuser_arg(caller.role)) ||
		(find_scopes(tenant_id) & MRB_SCOPE_SPEAK) != 0;
}

/*
 * Whether the caller acts for all tenants.
 */
bool
mrb_tenancy_sees_all(void)
{
	if (!mrb_tenancy_enforced())
		return true;
	know_caller();
	return !has_claims() &&
		(caller.all || (caller.everywhere & MRB_SCOPES_SEEING) != 0);
}

/*
 * Return the role of the caller.
 */
Oid
mrb_tenancy_caller(void)
{
	if (!InSecurityRestrictedOperation())
		return GetOuterUserId();

	/*
	 * Who has begun the operation has not asked for what the expressions of a
	 * table do.  Its owner is the current user until a function with other
	 * rights is entered.
	 */
	return InLocalUserIdChange() ? InvalidOid : GetUserId();
}

/*
 * Whether the caller sees endpoints: it acts for all tenants or monitors the
 * server.
 */
bool
mrb_tenancy_sees_endpoints(void)
{
	return mrb_tenancy_sees_all() ||
		(!has_claims() && OidIsValid(caller.role) &&
		 has_privs_of_role(caller.role, ROLE_PG_MONITOR));
}

/*
 * Whether a trusted gateway has logged in.
 */
bool
mrb_tenancy_is_gateway(void)
{
	know_caller();
	return caller.is_gateway;
}

/*
 * Check that the caller has any of the scopes.
 */
MrbFinding
mrb_tenancy_check(const char *tenant_id, int scopes, const char *verb)
{
	const char *role;
	const char *scope = "read";
	bool		claims;

	if (mrb_tenancy_may(tenant_id, scopes))
		return mrb_finding_hold("caller_allowed");
	role = GetUserNameFromId(GetOuterUserId(), false);
	claims = has_claims();
	if (scopes & MRB_SCOPE_ROLLBACK)
		scope = "rollback";
	else if (scopes & MRB_SCOPE_DEPLOY)
		scope = "deploy";
	else if (scopes & MRB_SCOPE_REPORT)
		scope = "report";
	return mrb_finding_fail("caller_allowed", MRB_ERR_FORBIDDEN,
							psprintf("permission denied to %s", verb),
							claims ?
							psprintf("The token of the request lacks the scope \"%s\" for tenant \"%s\".",
									 scope, tenant_id) :
							psprintf("Role \"%s\" lacks the scope \"%s\" for tenant \"%s\".",
									 role, scope, tenant_id),
							claims ?
							"Use a token that has it." :
							psprintf("An administrator can grant it: SELECT miosa_grant_tenant(%s, %s, '{%s}');",
									 quote_literal_cstr(role),
									 quote_literal_cstr(tenant_id), scope));
}

/*
 * Refuse a caller that does not act for all tenants.
 */
void
mrb_tenancy_require_all(const char *what)
{
	const char *role;

	if (mrb_tenancy_sees_all())
		return;
	role = GetUserNameFromId(GetOuterUserId(), false);
	mrb_raise(MRB_ERR_FORBIDDEN,
			  psprintf("permission denied for %s", what),
			  "It concerns all tenants, and the caller does not act for all of them.",
			  psprintf("An administrator can allow it: GRANT " ALL_TENANTS_ROLE " TO %s;",
					   quote_identifier(role)));
}

/*
 * Trigger on miosa.tenant_members: what any process has kept of it is outdated
 * at commit.
 */
Datum
mrb_members_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("members_changed must be called as a trigger")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/*
 * Whether the caller has any of the scopes, in mode enforced.
 */
static bool
has_scopes(const char *tenant_id, int scopes)
{
	know_caller();
	if (caller.all && !has_claims())
		return true;
	return (find_scopes(tenant_id) & scopes) != 0;
}

/*
 * Whether the claims of a request say who the caller is.
 */
static bool
has_claims(void)
{
	return caller.is_gateway && mrb_claims_read() != NULL;
}

/*
 * Return the caller's scopes for a tenant, by its claims or else by the rows of
 * miosa.tenant_members.
 */
static int
find_scopes(const char *tenant_id)
{
	const MrbClaims *claims;
	uint64		changes;
	int			scopes;
	bool		found;

	know_caller();
	if (caller.is_gateway && (claims = mrb_claims_read()) != NULL)
		return claims->tenant_id != NULL &&
			strcmp(claims->tenant_id, tenant_id) == 0 ?
			claims->scopes | MRB_SCOPE_READ : 0;
	if (caller.last != NULL && strcmp(caller.last->tenant_id, tenant_id) == 0)
		return caller.last->scopes | caller.everywhere;
	if (strlen(tenant_id) > MRB_MAX_ID)
		return caller.everywhere;
	caller.last = hash_search(caller.known, tenant_id, HASH_FIND, NULL);
	if (caller.last != NULL)
		return caller.last->scopes | caller.everywhere;

	scopes = read_scopes(tenant_id, &changes);
	if (hash_get_num_entries(caller.known) >= KEPT_MAX)
		caller.valid = false;
	know_caller();
	if (changes != caller.members)
		return scopes | caller.everywhere;
	caller.last = hash_search(caller.known, tenant_id, HASH_ENTER, &found);
	caller.last->scopes = scopes;
	return scopes | caller.everywhere;
}

/*
 * Read the rows of a tenant, and return the scopes of those roles that the
 * caller has the rights of.  changes is members.changes before the snapshot.
 */
static int
read_scopes(const char *tenant_id, uint64 *changes)
{
	Relation	relation = mrb_table_open(&members, AccessShareLock);
	Relation	index = mrb_table_open_index(&members);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	Snapshot	snapshot;
	IndexScanDesc scan;
	ScanKeyData key;
	int			scopes = 0;

	*changes = members.changes;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(members.relid));
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[0], F_TEXTEQ,
						   CStringGetTextDatum(tenant_id));
	scan = MRB_INDEX_BEGINSCAN(relation, index, snapshot, 1);
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		name = slot_getattr(slot, members.attnums[MEMBER_ROLE], &isnull);
		Oid			role = get_role_oid(TextDatumGetCString(name), true);

		if (OidIsValid(role) && OidIsValid(caller.role) &&
			has_privs_of_role(caller.role, role))
			scopes |= decode_scopes(slot_getattr(slot, members.attnums[MEMBER_SCOPES],
												 &isnull));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	table_close(relation, NoLock);
	return scopes;
}

/*
 * Decode an array of the names of scopes.
 */
static int
decode_scopes(Datum array)
{
	Datum	   *names;
	bool	   *nulls;
	int			n;
	int			scopes = 0;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *name = nulls[i] ? "" : TextDatumGetCString(names[i]);

		scopes |= mrb_claims_scope(name, strlen(name));
	}
	return scopes;
}

/*
 * Find out who the caller is, unless nothing has changed since the last time.
 */
static void
know_caller(void)
{
	static bool registered = false;
	Oid			session = InSecurityRestrictedOperation() ? InvalidOid :
	GetSessionUserId();
	Oid			role = mrb_tenancy_caller();
	HASHCTL		control = {
		.keysize = MRB_MAX_ID + 1,
		.entrysize = sizeof(Known),
	};

	if (caller.valid && caller.session == session && caller.role == role &&
		caller.gateways == mrb_trusted_gateways_changes &&
		caller.members == members.changes && caller.roles == role_changes)
		return;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, forget_roles, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget_roles, (Datum) 0);
		registered = true;
	}
	forget();
	caller.known = hash_create("miosa_rollback tenants", 16, &control,
							   HASH_ELEM | HASH_STRINGS);
	caller.session = session;
	caller.role = role;
	caller.gateways = mrb_trusted_gateways_changes;
	caller.roles = role_changes;
	caller.is_gateway = OidIsValid(session) &&
		is_listed(GetUserNameFromId(session, false));
	caller.all = OidIsValid(role) && acts_for_all(role);
	caller.everywhere = read_scopes(ANY_TENANT, &caller.members);
	caller.valid = true;
}

/*
 * Whether a role acts for all tenants.
 */
static bool
acts_for_all(Oid role)
{
	Oid			group = get_role_oid(ALL_TENANTS_ROLE, true);

	return has_bypassrls_privilege(role) ||
		(OidIsValid(group) && has_privs_of_role(role, group));
}

/*
 * Whether a role is in miosa_rollback.trusted_gateways.
 */
static bool
is_listed(const char *name)
{
	char	   *names = pstrdup(mrb_trusted_gateways);
	List	   *list;
	ListCell   *cell;

	/* The check hook has accepted the list. */
	if (!SplitIdentifierString(names, ',', &list))
		return false;
	foreach(cell, list)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/*
 * Forget the caller.
 */
static void
forget(void)
{
	if (caller.known != NULL)
		hash_destroy(caller.known);
	caller.known = NULL;
	caller.last = NULL;
	caller.valid = false;
}

/*
 * A role or a membership of roles has changed.
 */
static void
forget_roles(Datum arg, int cacheid, uint32 hashvalue)
{
	role_changes++;
}
