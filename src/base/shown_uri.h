/*-------------------------------------------------------------------------
 *
 * shown_uri.h
 *	  URIs of artifacts as they may be shown.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SHOWN_URI_H
#define MRB_SHOWN_URI_H

/* A URI without its query and without credentials, palloc'd. */
extern char *mrb_shown_uri_mask(const char *uri);

#endif							/* MRB_SHOWN_URI_H */
