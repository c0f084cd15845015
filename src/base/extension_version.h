/*-------------------------------------------------------------------------
 *
 * extension_version.h
 *	  Versions of the library and of the SQL objects that use it.
 *
 * A server loads a library that was installed when it starts, and a database has
 * the SQL objects of a version from ALTER EXTENSION on.  In between they differ.
 * The library serves the objects of each release; what fails all the same says
 * what to do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_EXTENSION_VERSION_H
#define MRB_EXTENSION_VERSION_H

/* That the versions differ, and what ends it, as texts of an error. */
typedef struct MrbVersionProblem
{
	const char *message;
	char	   *detail;			/* in the current memory context */
	const char *hint;
} MrbVersionProblem;

/* Look the version of the objects up, if it may have changed. */
extern void mrb_extension_version_refresh(void);

/* Do that, and describe the problem; false when there is none. */
extern bool mrb_extension_version_problem(MrbVersionProblem *problem);

/*
 * Describe the problem, as of the last look-up, if it may have caused an error of
 * this SQLSTATE; false otherwise.  Reads nothing of the database, so that a
 * PG_CATCH block may ask.
 */
extern bool mrb_extension_version_blame(int sqlstate, MrbVersionProblem *problem);

#endif							/* MRB_EXTENSION_VERSION_H */
