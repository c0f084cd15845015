/*-------------------------------------------------------------------------
 *
 * artifact_file.c
 *	  Check artifacts in files of this server.
 *
 * Files must be below miosa_rollback.artifact_file_root.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <sys/stat.h>

#include "artifact/artifact_check.h"
#include "artifact/artifact_file.h"
#include "base/guc.h"
#include "common/file_root.h"

static char *file_path(const char *uri);
static int	hex_pair(const char *string);

/*
 * Check a file or directory below the root.  Symbolic links may not lead out of
 * it.
 */
void
mrb_artifact_file_check(const MrbArtifact *artifact, MrbArtifactCheck *check)
{
	char	   *path = file_path(artifact->uri);
	char	   *real = NULL;
	struct stat found;

	check->state = MRB_ARTIFACT_UNKNOWN;
	switch (mrb_file_root_resolve(mrb_artifact_file_root, path, &real))
	{
		case MRB_FILE_ROOT_NO_ROOT:
			/* Its disk may not be mounted. */
			check->detail = psprintf("The directory of miosa_rollback.artifact_file_root could not be read: %m.");
			return;
		case MRB_FILE_ROOT_OUTSIDE:
			check->detail = path == NULL ?
				pstrdup("Its storage URI is not of the form file:///path, so storage was not asked.") :
				psprintf("File \"%s\" is not below miosa_rollback.artifact_file_root, so it was not checked.",
						 path);
			return;
		case MRB_FILE_ROOT_FOUND:
		case MRB_FILE_ROOT_MISSING:
			break;
	}

	check->probed = true;
	if (real != NULL && stat(real, &found) == 0)
	{
		if (!mrb_artifact_check_size(artifact, S_ISREG(found.st_mode) ?
									 (int64) found.st_size : -1, check))
		{
			check->state = MRB_ARTIFACT_PRESENT;
			check->detail = psprintf("There is a file \"%s\".", path);
		}
	}
	else if (errno == ENOENT || errno == ENOTDIR)
	{
		check->state = MRB_ARTIFACT_GONE;
		check->detail = psprintf("There is no file \"%s\".", path);
	}
	else
		check->detail = psprintf("File \"%s\" could not be accessed: %m.",
								 path);
}

/*
 * Return the path of a file URI, unescaped; NULL when it is not valid.
 */
static char *
file_path(const char *uri)
{
	const char *from = uri + strlen("file://");
	char	   *path = palloc(strlen(from) + 1);
	char	   *to = path;

	if (pg_strncasecmp(from, "localhost/", 10) == 0)
		from += strlen("localhost");
	if (*from != '/')
		return NULL;
	for (; *from != '\0'; from++)
	{
		int			c = (unsigned char) *from;

		if (c == '%')
		{
			c = hex_pair(from + 1);
			from += 2;
		}
		if (c < ' ' || c == 0x7f)
			return NULL;
		*to++ = (char) c;
	}
	*to = '\0';
	return path;
}

/*
 * Return the value of two hexadecimal digits; -1 when they are not.
 */
static int
hex_pair(const char *string)
{
	char		digits[3] = {0};

	if (!isxdigit((unsigned char) string[0]) ||
		!isxdigit((unsigned char) string[1]))
		return -1;
	memcpy(digits, string, 2);
	return (int) strtol(digits, NULL, 16);
}
