/*-------------------------------------------------------------------------
 *
 * function_name.h
 *	  Names of our functions, as the caller has to write them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FUNCTION_NAME_H
#define MRB_FUNCTION_NAME_H

/*
 * The text with the schema before each call of one of our functions, if the
 * caller's search_path does not have it; NULL for NULL.  Palloc'd, or the
 * text itself.
 */
extern const char *mrb_function_name_qualify(const char *text);

/*
 * Look the schema up for texts that are written outside of a transaction, as
 * those of a worker are; without this they are left as they are.
 */
extern void mrb_function_name_learn(void);

#endif							/* MRB_FUNCTION_NAME_H */
