/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the supported server versions, 15 to 18.
 *
 * The only file that tests PG_VERSION_NUM.  Each wrapper says what changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_COMPAT_H
#define MRB_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "miosa_rollback needs PostgreSQL 15 or newer"
#endif

/* 16 moved the macros of variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 puts the attribute of functions that do not return in front. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16 keeps what check hooks make for assign hooks in its own memory. */
#if PG_VERSION_NUM >= 160000
#define MRB_GUC_MALLOC(size) guc_malloc(LOG, size)
#else
#define MRB_GUC_MALLOC(size) malloc(size)
#endif

/* 17 computes a process's number from the address of its PGPROC. */
#if PG_VERSION_NUM >= 170000
#define MRB_PROC_NUMBER(proc) GetNumberFromPGProc(proc)
#else
#define MRB_PROC_NUMBER(proc) ((proc)->pgprocno)
#endif

/* 17 gave wait event sets a resource owner instead of a memory context. */
#if PG_VERSION_NUM >= 170000
#define MRB_CREATE_WAIT_EVENT_SET(n) CreateWaitEventSet(NULL, n)
#else
#define MRB_CREATE_WAIT_EVENT_SET(n) CreateWaitEventSet(TopMemoryContext, n)
#endif

/* 18 gave index scans an argument for instrumentation. */
#if PG_VERSION_NUM >= 180000
#define MRB_INDEX_BEGINSCAN(relation, index, snapshot, nkeys) \
	index_beginscan(relation, index, snapshot, NULL, nkeys, 0)
#else
#define MRB_INDEX_BEGINSCAN(relation, index, snapshot, nkeys) \
	index_beginscan(relation, index, snapshot, nkeys, 0)
#endif

/* Newer minor releases keep a second bit beside whether commits wait. */
#ifdef SYNC_STANDBY_DEFINED
#define MRB_SYNC_STANDBYS_DEFINED() \
	((WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0)
#else
#define MRB_SYNC_STANDBYS_DEFINED() (WalSndCtl->sync_standbys_defined)
#endif

/* 15.4 and 16 mark databases whose DROP was interrupted. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB -2
#endif

/* 18 declares base64 as bytes instead of characters. */
#if PG_VERSION_NUM >= 180000
typedef uint8 MrbBase64Byte;
#else
typedef char MrbBase64Byte;
#endif

/* 17 lets the caller provide the memory of a JSON lexer. */
#if PG_VERSION_NUM >= 170000
#define MRB_JSON_LEXER(json, len, encoding, need_escapes) \
	makeJsonLexContextCstringLen(NULL, json, len, encoding, need_escapes)
#else
#define MRB_JSON_LEXER(json, len, encoding, need_escapes) \
	makeJsonLexContextCstringLen(json, len, encoding, need_escapes)
#endif

/* 16 renamed the function that returns one backend's local status. */
#if PG_VERSION_NUM >= 160000
#define MRB_LOCAL_BEENTRY(i) pgstat_get_local_beentry_by_index(i)
#else
#define MRB_LOCAL_BEENTRY(i) pgstat_fetch_stat_local_beentry(i)
#endif

/* 16 checks privileges on any kind of object with one function. */
#if PG_VERSION_NUM >= 160000
#define MRB_PROC_ACLCHECK(function, role, mode) \
	object_aclcheck(ProcedureRelationId, function, role, mode)
#else
#define MRB_PROC_ACLCHECK(function, role, mode) \
	pg_proc_aclcheck(function, role, mode)
#endif

/* 16 keeps settings in a hash table and returns their number. */
#if PG_VERSION_NUM >= 160000
#define MRB_GUC_VARIABLES(n) get_guc_variables(n)
#else
#define MRB_GUC_VARIABLES(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/*
 * 16 moved the columns that a statement writes from the range table to
 * RTEPermissionInfo; 18 wants to know which relations were not pruned, of which
 * result relations need no mention.
 */
#if PG_VERSION_NUM >= 180000
#define MRB_INIT_RANGE_TABLE(estate, entries, permissions) \
	ExecInitRangeTable(estate, entries, permissions, NULL)
#elif PG_VERSION_NUM >= 160000
#define MRB_INIT_RANGE_TABLE(estate, entries, permissions) \
	ExecInitRangeTable(estate, entries, permissions)
#else
#define MRB_INIT_RANGE_TABLE(estate, entries, permissions) \
	((void) (permissions), ExecInitRangeTable(estate, entries))
#endif
#if PG_VERSION_NUM >= 160000
#define MRB_SET_UPDATED_COLUMNS(permissions, entry, columns) \
	(addRTEPermissionInfo(permissions, entry)->updatedCols = (columns))
#else
#define MRB_SET_UPDATED_COLUMNS(permissions, entry, columns) \
	((void) (permissions), (entry)->updatedCols = (columns))
#endif

/*
 * 18 renamed the compiled CHECK constraints of a result relation, has such as
 * are not enforced, and virtual generated columns, which expressions on a new
 * row must not read.
 */
#if PG_VERSION_NUM >= 180000
#define MRB_CHECK_EXPRS(result) ((result)->ri_CheckConstraintExprs)
#define MRB_CHECK_IS_ENFORCED(check) ((check)->ccenforced)
#define MRB_EXPAND_GENERATED(node, relation, varno) \
	expand_generated_columns_in_expr(node, relation, varno)
#else
#define MRB_CHECK_EXPRS(result) ((result)->ri_ConstraintExprs)
#define MRB_CHECK_IS_ENFORCED(check) true
#define MRB_EXPAND_GENERATED(node, relation, varno) (node)
#endif

/* 16 tells updates that touch summarizing indexes only from others. */
#if PG_VERSION_NUM >= 160000
#define MRB_UPDATE_INDEXES TU_UpdateIndexes
#define MRB_UPDATES_INDEXES(indexes) ((indexes) != TU_None)
#define MRB_INSERT_INDEX_TUPLES(result, slot, estate, update, indexes) \
	ExecInsertIndexTuples(result, slot, estate, update, false, NULL, NIL, \
						  (update) && (indexes) == TU_Summarizing)
#else
#define MRB_UPDATE_INDEXES bool
#define MRB_UPDATES_INDEXES(indexes) (indexes)
#define MRB_INSERT_INDEX_TUPLES(result, slot, estate, update, indexes) \
	ExecInsertIndexTuples(result, slot, estate, update, false, NULL, NIL)
#endif

/* 16 gave rechecks of locked rows the result relations. */
#if PG_VERSION_NUM >= 160000
#define MRB_INIT_RECHECK(epq, estate) \
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL)
#else
#define MRB_INIT_RECHECK(epq, estate) \
	EvalPlanQualInit(epq, estate, NULL, NIL, -1)
#endif

/* 16 returns why a row could not be locked for triggers, 18 knows MERGE. */
#if PG_VERSION_NUM >= 180000
#define MRB_BEFORE_UPDATE(estate, epq, result, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, result, tid, NULL, slot, NULL, NULL, false)
#elif PG_VERSION_NUM >= 160000
#define MRB_BEFORE_UPDATE(estate, epq, result, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, result, tid, NULL, slot, NULL, NULL)
#else
#define MRB_BEFORE_UPDATE(estate, epq, result, tid, slot) \
	ExecBRUpdateTriggers(estate, epq, result, tid, NULL, slot, NULL)
#endif

#endif							/* MRB_COMPAT_H */
