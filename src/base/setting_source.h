/*-------------------------------------------------------------------------
 *
 * setting_source.h
 *	  Where the current value of a setting comes from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SETTING_SOURCE_H
#define MRB_SETTING_SOURCE_H

/*
 * Return the value where the outermost function was called that sets it for
 * itself (CREATE FUNCTION ... SET), else the current one.  The result must not
 * be changed.
 */
extern const char *mrb_setting_source_caller(const char *name);

/* Whether the value outlives the transaction, by SET without LOCAL. */
extern bool mrb_setting_source_is_session(const char *name);

#endif							/* MRB_SETTING_SOURCE_H */
