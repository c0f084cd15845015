/*-------------------------------------------------------------------------
 *
 * telling.h
 *	  One telling of an item: the requests that are made of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TELLING_H
#define MRB_TELLING_H

typedef struct MrbTelling
{
	int			units;			/* requests that it takes */
	int			next_unit;		/* the next to start */
	int			outstanding;	/* without an answer */
	bool		starting;		/* in its endpoint's list sending */
	bool		broken;			/* one of them has failed */
	bool		refused;		/* ... by the fault of the message */
	bool		ambiguous;		/* ... or it may have been acted upon */
	int			split;			/* ... or by that of its batch: make it
								 * smaller */
	int			status;			/* of the one that failed */
	char	   *error;
} MrbTelling;

#endif							/* MRB_TELLING_H */
