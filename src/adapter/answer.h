/*-------------------------------------------------------------------------
 *
 * answer.h
 *	  What an answer says about the endpoint and about the message.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_ANSWER_H
#define MRB_ANSWER_H

#include "adapter/adapter.h"

/* Highest number of instances that a poll can return. */
#define MRB_ANSWER_COUNT_MAX 100000

/*
 * Judge the answer to a request.  *why is the reason, palloc'd, unless the
 * answer is a success.
 */
extern MrbVerdict mrb_answer_judge(const MrbAdapter *adapter,
								   const MrbRequest *request,
								   const MrbHttpAnswer *answer, char **why);

/*
 * Read the number of healthy instances from the answer to a poll, which was
 * judged a success.  Returns -1, and *why, palloc'd, when it has none.
 */
extern int	mrb_answer_count(const MrbAdapter *adapter,
							 const MrbHttpAnswer *answer, char **why);

#endif							/* MRB_ANSWER_H */
