/*-------------------------------------------------------------------------
 *
 * page.c
 *	  miosa_page(): what needs somebody, or all about one deployment, as one page
 *	  of HTML that reloads itself.
 *
 * The rows come from functions in sql/page.sql, which see to tenants.  Every text
 * that is not written here goes through html.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "api/html_page.h"
#include "api/page_deployment.h"
#include "api/page_overview.h"
#include "base/optional_text.h"
#include "common/lock_wait.h"
#include "common/query.h"

PG_FUNCTION_INFO_V1(miosa_page);

/* Columns of head_query, from 1. */
enum
{
	HEAD_DEPLOYMENT = 1,
	HEAD_TITLE,
	HEAD_MADE,
	HEAD_DATABASE,
	HEAD_OLD,
	HEAD_DISPATCHER,
	HEAD_DELIVERING,
	HEAD_DEPLOYMENTS,
	HEAD_ENDPOINTS,
	HEAD_CLOCK,
	HEAD_DOCTOR
};

static MrbQuery head_query = {
	.sql = "SELECT h.deployment_id, h.title, h.made, h.database, h.old,"
	" h.dispatcher, h.delivering, h.deployments, h.endpoints, h.clock,"
	" h.doctor"
	" FROM miosa.page_head($1) h",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static Datum make_page(PG_FUNCTION_ARGS);
static void read_head(FunctionCallInfo fcinfo, MrbPageHead *head);

/*
 * miosa_page(deployment)
 */
Datum
miosa_page(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, make_page, fcinfo);
}

/*
 * Make the page.
 */
static Datum
make_page(PG_FUNCTION_ARGS)
{
	StringInfoData page;
	MrbPageHead head;

	initStringInfo(&page);
	mrb_query_open();
	read_head(fcinfo, &head);
	if (head.deployment_id == NULL)
		mrb_page_overview_append(&page, &head);
	else
		mrb_page_deployment_append(&page, &head);
	mrb_query_close();
	mrb_html_page_end(&page);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(page.data, page.len));
}

/*
 * Read the subject.
 */
static void
read_head(FunctionCallInfo fcinfo, MrbPageHead *head)
{
	Datum		value = PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0);
	bool		null = PG_ARGISNULL(0);

	if (mrb_query_run(&head_query, &value, &null) != 1)
		elog(ERROR, "a page has no subject");
	head->deployment_id = mrb_query_text(0, HEAD_DEPLOYMENT);
	head->title = mrb_query_text(0, HEAD_TITLE);
	head->made = mrb_query_text(0, HEAD_MADE);
	head->database = mrb_query_text(0, HEAD_DATABASE);
	head->old = mrb_query_text(0, HEAD_OLD);
	head->dispatcher = mrb_query_text(0, HEAD_DISPATCHER);
	head->delivering = mrb_query_bool(0, HEAD_DELIVERING);
	head->deployments = mrb_query_text(0, HEAD_DEPLOYMENTS);
	head->endpoints = mrb_query_bool(0, HEAD_ENDPOINTS);
	head->clock = mrb_query_text(0, HEAD_CLOCK);
	head->doctor = mrb_query_text(0, HEAD_DOCTOR);
}
