/*-------------------------------------------------------------------------
 *
 * function_name.h
 *	  Names of the extension's functions, qualified as the caller needs them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FUNCTION_NAME_H
#define MRB_FUNCTION_NAME_H

/*
 * Return the text with the schema before each call of a function of the
 * extension, if the caller's search_path does not include it; NULL for NULL.
 * The result is palloc'd, or the text itself.
 */
extern const char *mrb_function_name_qualify(const char *string);

/*
 * Look the schema up for texts that a worker writes outside of a transaction;
 * without this call those texts are not qualified.
 */
extern void mrb_function_name_learn(void);

#endif							/* MRB_FUNCTION_NAME_H */
