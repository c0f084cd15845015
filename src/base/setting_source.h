/*-------------------------------------------------------------------------
 *
 * setting_source.h
 *	  Where the present value of a setting comes from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SETTING_SOURCE_H
#define MRB_SETTING_SOURCE_H

/*
 * The value where the outermost function was called that has a value of its
 * own (CREATE FUNCTION ... SET), else the present one.  Not to be changed.
 */
extern const char *mrb_setting_source_caller(const char *name);

/* Whether the value outlives the transaction, by SET without LOCAL. */
extern bool mrb_setting_source_is_session(const char *name);

#endif							/* MRB_SETTING_SOURCE_H */
