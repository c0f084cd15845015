/*-------------------------------------------------------------------------
 *
 * artifact_http.c
 *	  Check artifacts over HTTP.
 *
 * URLs are shown without their query, which may be a signature.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter/request.h"
#include "adapter/sigv4.h"
#include "artifact/artifact_check.h"
#include "artifact/artifact_http.h"
#include "artifact/s3_url.h"
#include "base/guc.h"
#include "base/shown_uri.h"
#include "http/http_call.h"

static char *url_flaw(const char *url);
static MrbArtifactHttp *make_probe(const MrbArtifact *artifact, char *url);
static char *not_asked(const char *why);
static void judge_status(const MrbArtifactHttp *probe, const MrbHttpAnswer *answer,
						 MrbArtifactCheck *check);

/*
 * Make the request for an http or https URL.
 */
MrbArtifactHttp *
mrb_artifact_http_url(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	MrbArtifactHttp *probe;

	check->state = MRB_ARTIFACT_UNKNOWN;
	check->detail = url_flaw(artifact->uri);
	if (check->detail != NULL)
		return NULL;
	probe = make_probe(artifact, pstrdup(artifact->uri));
	probe->get_too = true;
	return probe;
}

/*
 * Make the request for an object in S3, signed if the storage has a secret.  No
 * GET follows a response of 405, which means here that the newest version of the
 * object is a delete marker.
 */
MrbArtifactHttp *
mrb_artifact_http_s3(const MrbArtifact *artifact, const MrbStorage *storage,
					 MrbArtifactCheck *check)
{
	MrbArtifactHttp *probe;
	const char *flaw;
	char	   *url = mrb_s3_url(artifact->uri, storage->endpoint,
								 storage->virtual_host, &flaw);

	check->state = MRB_ARTIFACT_UNKNOWN;
	if (url == NULL)
	{
		check->detail = not_asked(flaw);
		return NULL;
	}
	probe = make_probe(artifact, url);
	if (storage->secret_name == NULL)
		return probe;
	if (storage->secret_problem != NULL)
		flaw = psprintf("secret \"%s\" of storage \"%s\": %s",
						storage->secret_name, storage->prefix,
						storage->secret_problem);
	else if (storage->secret == NULL)
		flaw = psprintf("secret \"%s\" of storage \"%s\" is not in miosa.secrets",
						storage->secret_name, storage->prefix);
	else if (mrb_sigv4_sign(&probe->request, storage->sigv4, storage->secret,
							NULL) != NULL)
		flaw = psprintf("secret \"%s\" of storage \"%s\" is not of the form KEYID:SECRET or KEYID:SECRET:TOKEN",
						storage->secret_name, storage->prefix);
	if (flaw == NULL)
		return probe;
	check->detail = not_asked(flaw);
	return NULL;
}

/*
 * Make the requests of a probe and set the result.
 */
void
mrb_artifact_http_run(MrbArtifactHttp *probe, MrbArtifactCheck *check)
{
	MrbHttpAnswer answer;

	do
		mrb_http_call(&probe->request, &answer);
	while (mrb_artifact_http_again(probe, &answer));
	mrb_artifact_http_judge(probe, &answer, check);
}

/*
 * If the server does not support HEAD, change the request into a GET of the first
 * byte, with the rest of the time-out.
 */
bool
mrb_artifact_http_again(MrbArtifactHttp *probe, const MrbHttpAnswer *answer)
{
	int			left = mrb_artifact_timeout - (int) answer->elapsed_ms;

	if (!probe->get_too || answer->outcome != MRB_HTTP_ANSWERED ||
		(answer->status != 405 && answer->status != 501) || left <= 0)
		return false;
	probe->get_too = false;
	probe->request.method = "GET";
	probe->request.timeout_ms = left;
	mrb_request_add_header(&probe->request, "Range: bytes=0-0");
	return true;
}

/*
 * Set the result of the check from the answer.
 */
void
mrb_artifact_http_judge(const MrbArtifactHttp *probe, const MrbHttpAnswer *answer,
						MrbArtifactCheck *check)
{
	const char *method = probe->request.method;
	char	   *shown = mrb_shown_uri_mask(probe->request.url);

	memset(check, 0, sizeof(*check));
	check->probed = true;
	check->state = MRB_ARTIFACT_UNKNOWN;
	if (answer->outcome == MRB_HTTP_TIMED_OUT)
		check->detail = psprintf("Storage did not answer %s %s within %d ms.",
								 method, shown, mrb_artifact_timeout);
	else if (answer->outcome != MRB_HTTP_ANSWERED)
		check->detail = psprintf("Storage could not be asked by %s %s: %s.",
								 method, shown, answer->error);
	else
		judge_status(probe, answer, check);
}

/*
 * Return why no request is made to a URL, a sentence; NULL when one may be.
 */
static char *
url_flaw(const char *url)
{
	const char *authority = strstr(url, "://") + 3;
	size_t		authority_len = strcspn(authority, "/?#\\");

	if (memchr(authority, '@', authority_len) != NULL)
		return not_asked("its storage URI has credentials in it");
	for (const char *c = url; *c != '\0'; c++)
	{
		/* A fragment is not sent, so another file would be checked. */
		if ((unsigned char) *c <= ' ' || (unsigned char) *c >= 0x7f ||
			*c == '#')
			return not_asked("its storage URI has characters that must be escaped");
	}
	return NULL;
}

/*
 * Create a probe with a HEAD request.
 */
static MrbArtifactHttp *
make_probe(const MrbArtifact *artifact, char *url)
{
	MrbArtifactHttp *probe = palloc0(sizeof(MrbArtifactHttp));

	probe->artifact = *artifact;
	probe->request.method = "HEAD";
	probe->request.url = url;
	probe->request.timeout_ms = mrb_artifact_timeout;
	probe->request.headers = palloc0((MRB_REQUEST_SPARE_HEADERS + 1) *
									 sizeof(char *));
	return probe;
}

/*
 * Make a sentence of the reason why no request was made.
 */
static char *
not_asked(const char *why)
{
	return psprintf("%c%s, so storage was not asked.",
					pg_toupper((unsigned char) why[0]), why + 1);
}

/*
 * Set the result from the HTTP status.
 */
static void
judge_status(const MrbArtifactHttp *probe, const MrbHttpAnswer *answer,
			 MrbArtifactCheck *check)
{
	bool		there = answer->status == 200 || answer->status == 206;
	char	   *shown = mrb_shown_uri_mask(probe->request.url);

	if (there &&
		mrb_artifact_check_size(&probe->artifact, answer->size, check))
		return;
	if (there)
		check->state = MRB_ARTIFACT_PRESENT;
	else if (answer->status == 404 || answer->status == 410)
		check->state = MRB_ARTIFACT_GONE;
	check->detail = psprintf("Storage answered %d to %s %s.", answer->status,
							 probe->request.method, shown);
	if (check->state == MRB_ARTIFACT_UNKNOWN && answer->region[0] != '\0')
		check->detail = psprintf("%s The bucket is in region \"%s\".",
								 check->detail, answer->region);
}
