/*-------------------------------------------------------------------------
 *
 * version.c
 *	  Reading of a version and its release.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "common/index_lookup.h"
#include "operation/version.h"

enum
{
	VERSION_ID,
	VERSION_NUMBER,
	VERSION_KIND,
	VERSION_STATE,
	VERSION_PROMOTED_OVER,
	VERSION_PROMOTION_SEQ,
	VERSION_PROMOTED_AT,
	VERSION_BAD_SINCE,
	VERSION_BAD_REASON,
	VERSION_BAD_BY
};

static MrbIndexLookup version_row = {
	.table.name = "versions",
	.table.index = "versions_pkey",
	.table.columns = {
		[VERSION_ID] = "id",
		[VERSION_NUMBER] = "version_number",
		[VERSION_KIND] = "kind",
		[VERSION_STATE] = "state",
		[VERSION_PROMOTED_OVER] = "promoted_over",
		[VERSION_PROMOTION_SEQ] = "promotion_seq",
		[VERSION_PROMOTED_AT] = "promoted_at",
		[VERSION_BAD_SINCE] = "bad_since",
		[VERSION_BAD_REASON] = "bad_reason",
		[VERSION_BAD_BY] = "bad_by",
	},
	.table.types = {
		[VERSION_NUMBER] = INT4OID,
		[VERSION_PROMOTION_SEQ] = INT8OID,
		[VERSION_PROMOTED_AT] = TIMESTAMPTZOID,
		[VERSION_BAD_SINCE] = TIMESTAMPTZOID,
	},
};

enum
{
	RELEASE_ID,
	RELEASE_URI,
	RELEASE_SHA256,
	RELEASE_SIZE,
	RELEASE_VERIFIED,
	RELEASE_MISSING,
	RELEASE_COLLECTED,
	RELEASE_COLLECTED_BY
};

static MrbIndexLookup release_row = {
	.table.name = "releases",
	.table.index = "releases_deployment_id_deployment_version_id_key",
	.table.columns = {
		[RELEASE_ID] = "id",
		[RELEASE_URI] = "storage_uri",
		[RELEASE_SHA256] = "sha256",
		[RELEASE_SIZE] = "size_bytes",
		[RELEASE_VERIFIED] = "verified_at",
		[RELEASE_MISSING] = "missing_at",
		[RELEASE_COLLECTED] = "collected_at",
		[RELEASE_COLLECTED_BY] = "collected_by",
	},
	.table.types = {
		[RELEASE_SIZE] = INT8OID,
		[RELEASE_VERIFIED] = TIMESTAMPTZOID,
		[RELEASE_MISSING] = TIMESTAMPTZOID,
		[RELEASE_COLLECTED] = TIMESTAMPTZOID,
	},
};

/* What was read of a version that was not. */
static const MrbVersion nothing = {0};

static void read_loaded(MrbVersion *version);
static void read_artifact(MrbArtifact *artifact);

/*
 * Read a version.  Leaves the id NULL if there is none.
 */
bool
mrb_version_look(MrbVersion *version, const char *deployment_id,
				 const char *id, const MrbVersion *before)
{
	if (before == NULL)
		before = &nothing;
	if (!mrb_index_lookup_find_again(&version_row, &before->place, deployment_id, id))
		return false;
	version->place = version_row.slot->tts_tid;
	version->id = mrb_index_lookup_text(&version_row, VERSION_ID);
	version->number = mrb_index_lookup_int32(&version_row, VERSION_NUMBER);
	version->kind = mrb_index_lookup_text(&version_row, VERSION_KIND);
	version->state = mrb_index_lookup_text(&version_row, VERSION_STATE);
	version->promoted_over = mrb_index_lookup_text(&version_row, VERSION_PROMOTED_OVER);
	if (version->promoted_over == NULL)
		read_loaded(version);
	version->bad_since = mrb_index_lookup_timestamp(&version_row, VERSION_BAD_SINCE);
	if (version->bad_since != 0)
	{
		version->bad_reason = mrb_index_lookup_text(&version_row, VERSION_BAD_REASON);
		version->bad_by = mrb_index_lookup_text(&version_row, VERSION_BAD_BY);
	}
	mrb_index_lookup_close(&version_row);
	return true;
}

/*
 * Read whether no operation promoted the version that was found, and when it was
 * promoted then.
 */
static void
read_loaded(MrbVersion *version)
{
	bool		unknown;
	Datum		at;

	(void) mrb_index_lookup_datum(&version_row, VERSION_PROMOTION_SEQ,
								  &version->loaded);
	if (!version->loaded)
		return;
	at = mrb_index_lookup_datum(&version_row, VERSION_PROMOTED_AT, &unknown);
	version->promoted_at = unknown ? DT_NOBEGIN : DatumGetTimestampTz(at);
}

/*
 * Read the release of a version, which may have none.
 */
void
mrb_version_look_release(MrbVersion *version, const char *deployment_id,
						 const MrbVersion *before)
{
	if (before == NULL)
		before = &nothing;
	if (!mrb_index_lookup_find_again(&release_row, &before->release_place,
									 deployment_id, version->id))
		return;
	version->release_place = release_row.slot->tts_tid;
	version->release_id = mrb_index_lookup_text(&release_row, RELEASE_ID);
	read_artifact(&version->artifact);
	version->sha256 = mrb_index_lookup_text(&release_row, RELEASE_SHA256);
	version->collected_at = mrb_index_lookup_timestamp(&release_row, RELEASE_COLLECTED);
	version->collected_by = mrb_index_lookup_text(&release_row, RELEASE_COLLECTED_BY);
	mrb_index_lookup_close(&release_row);
}

/*
 * Read the artifact of the release that was found.
 */
static void
read_artifact(MrbArtifact *artifact)
{
	bool		unknown;
	Datum		size = mrb_index_lookup_datum(&release_row, RELEASE_SIZE, &unknown);

	artifact->uri = mrb_index_lookup_text(&release_row, RELEASE_URI);
	artifact->size = unknown ? -1 : DatumGetInt64(size);
	artifact->verified_at = mrb_index_lookup_timestamp(&release_row, RELEASE_VERIFIED);
	artifact->missing_at = mrb_index_lookup_timestamp(&release_row, RELEASE_MISSING);
}
