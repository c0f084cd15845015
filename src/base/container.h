/*-------------------------------------------------------------------------
 *
 * container.h
 *	  From a member to the struct that it is embedded in.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CONTAINER_H
#define MRB_CONTAINER_H

/*
 * The struct of the given type whose member ptr points to; what
 * dlist_container() is for list nodes.  The conditional has the compiler
 * compare the type of ptr with that of the member.
 */
#define mrb_container(type, member, ptr) \
	((type *) ((char *) (1 ? (ptr) : &((type *) NULL)->member) - \
			   offsetof(type, member)))

#endif							/* MRB_CONTAINER_H */
