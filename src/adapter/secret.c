/*-------------------------------------------------------------------------
 *
 * secret.c
 *	  The form of secrets, and where their values are stored.
 *
 * The value of a secret that begins with "file:" is in a file below
 * miosa_rollback.secret_directory.  Symbolic links are followed as long as they
 * lead to a file in it: orchestrators update mounted files by such links.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fmgr.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#include "adapter/secret.h"
#include "base/guc.h"
#include "common/file_root.h"

PG_FUNCTION_INFO_V1(mrb_read_secret);
PG_FUNCTION_INFO_V1(mrb_secret_problem);

#define FILE_PREFIX "file:"

/* Size of the largest file, in bytes. */
#define MAX_FILE 8192

static char *read_reference(const char *reference, char **problem);
static bool find_file(const char *reference, char **path, char **real,
					  char **problem);
static char *read_secret(const char *real, const char *path, char **problem);
static char *read_file(const char *real, const char *path, char **problem);
static int	read_all(int fd, char *buffer, int size);
static char *cut_newline(char *line);

/*
 * An empty value is not plain either.
 */
bool
mrb_secret_is_plain(const char *value)
{
	size_t		len = strlen(value);

	if (len == 0 || value[0] == ' ' || value[len - 1] == ' ')
		return false;
	for (const char *c = value; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			return false;
	return true;
}

/*
 * Such a value begins with "file:".
 */
bool
mrb_secret_is_file(const char *stored)
{
	return strncmp(stored, FILE_PREFIX, strlen(FILE_PREFIX)) == 0;
}

/*
 * The file is read on every call.
 */
char *
mrb_secret_resolve(const char *stored, char **problem)
{
	*problem = NULL;
	if (!mrb_secret_is_file(stored))
		return pstrdup(stored);
	return read_reference(stored + strlen(FILE_PREFIX), problem);
}

/*
 * Who writes the files decides where they may be sent to: a role that sets up
 * endpoints can name any file.
 */
char *
mrb_secret_origins(const char *stored, char **problem)
{
	char	   *path;
	char	   *real;
	char	   *origins;

	*problem = NULL;
	if (!mrb_secret_is_file(stored))
		return NULL;
	if (!find_file(psprintf("%s.origins", stored + strlen(FILE_PREFIX)), &path,
				   &real, problem))
	{
		/* Without such a file, the secret may go where it was put for. */
		*problem = NULL;
		return NULL;
	}
	origins = read_file(real, path, problem);
	for (char *c = origins; c != NULL && *c != '\0'; c++)
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	return origins;
}

/*
 * miosa.read_secret(): returns the value of what is stored, or null when its
 * file cannot be used.
 */
Datum
mrb_read_secret(PG_FUNCTION_ARGS)
{
	char	   *problem;
	char	   *value = mrb_secret_resolve(text_to_cstring(PG_GETARG_TEXT_PP(0)),
										   &problem);

	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(value));
}

/*
 * miosa.secret_problem(): returns why what is stored has no value, or null when
 * it has one.
 */
Datum
mrb_secret_problem(PG_FUNCTION_ARGS)
{
	char	   *problem;

	if (mrb_secret_resolve(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						   &problem) != NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/*
 * Read the secret at a path, which is absolute or relative to the directory.
 */
static char *
read_reference(const char *reference, char **problem)
{
	char	   *path;
	char	   *real;

	if (!find_file(reference, &path, &real, problem))
		return NULL;
	return read_secret(real, path, problem);
}

/*
 * Find a file of the directory.
 */
static bool
find_file(const char *reference, char **path, char **real, char **problem)
{
	if (mrb_secret_directory == NULL || mrb_secret_directory[0] == '\0')
	{
		*problem = pstrdup("it refers to a file, but miosa_rollback.secret_directory is empty");
		return false;
	}
	*path = is_absolute_path(reference) ? pstrdup(reference) :
		psprintf("%s/%s", mrb_secret_directory, reference);
	switch (mrb_file_root_resolve(mrb_secret_directory, *path, real))
	{
		case MRB_FILE_ROOT_FOUND:
			return true;
		case MRB_FILE_ROOT_MISSING:
			*problem = psprintf("file \"%s\" could not be read: %m", *path);
			break;
		case MRB_FILE_ROOT_OUTSIDE:
			*problem = psprintf("file \"%s\" is not below miosa_rollback.secret_directory",
								*path);
			break;
		case MRB_FILE_ROOT_NO_ROOT:
			*problem = psprintf("the directory of miosa_rollback.secret_directory could not be read: %m");
			break;
	}
	return false;
}

/*
 * Read a file that holds a secret.
 */
static char *
read_secret(const char *real, const char *path, char **problem)
{
	char	   *text = read_file(real, path, problem);
	bool		empty = text != NULL && text[0] == '\0';

	if (text == NULL)
		return NULL;
	if (mrb_secret_is_plain(cut_newline(text)))
		return text;
	*problem = psprintf(empty ? "file \"%s\" is empty" :
						"file \"%s\" is not one line of printable ASCII characters, with no space at its ends",
						path);
	return NULL;
}

/*
 * Read a file.  It is opened by its real path, whose last part must not have
 * become a symbolic link meanwhile, and without blocking if it is a pipe.
 */
static char *
read_file(const char *real, const char *path, char **problem)
{
	char		buffer[MAX_FILE + 2];	/* one byte too many, and the end */
	struct stat found;
	int			len = -1;
	int			fd = OpenTransientFile(real, O_RDONLY | PG_BINARY |
									   O_NONBLOCK | O_NOFOLLOW);

	if (fd >= 0 && fstat(fd, &found) == 0)
	{
		if (S_ISREG(found.st_mode))
			len = read_all(fd, buffer, MAX_FILE + 1);
		else
			*problem = psprintf("\"%s\" is not a regular file", path);
	}
	if (len < 0 && *problem == NULL)
		*problem = psprintf("file \"%s\" could not be read: %m", path);
	if (fd >= 0)
		CloseTransientFile(fd);
	if (len < 0)
		return NULL;
	if (len > MAX_FILE)
	{
		*problem = psprintf("file \"%s\" has more than %d bytes", path,
							MAX_FILE);
		return NULL;
	}
	buffer[len] = '\0';
	/* A null byte would hide what follows it. */
	for (int i = 0; i < len; i++)
		if (buffer[i] == '\0')
			buffer[i] = '\001';
	return pstrdup(buffer);
}

/*
 * Read until the end of the file, or until the buffer is full.
 */
static int
read_all(int fd, char *buffer, int size)
{
	int			len = 0;

	while (len < size)
	{
		int			got = read(fd, buffer + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += got;
	}
	return len;
}

/*
 * Cut off the newline with which editors end a file.
 */
static char *
cut_newline(char *line)
{
	size_t		len = strlen(line);

	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	return line;
}
