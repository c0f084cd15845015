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

/* More instances are nobody's. */
#define MRB_ANSWER_COUNT_MAX 100000

/* call is the one that was answered; *why is palloc'd, NULL for a success. */
extern MrbVerdict mrb_answer_judge(const MrbAdapter *adapter,
								   const MrbRequest *call,
								   const MrbHttpAnswer *answer, char **why);

/*
 * How many healthy instances a poll has found, by an answer that was judged a
 * success; -1 when it does not say, then *why is palloc'd.
 */
extern int	mrb_answer_count(const MrbAdapter *adapter,
							 const MrbHttpAnswer *answer, char **why);

#endif							/* MRB_ANSWER_H */
