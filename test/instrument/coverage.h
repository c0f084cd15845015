/*
 * Included before every file of the library by "make coverage": what makes a
 * process write its counters, to be found by coverage.c.
 */
#ifndef MRB_COVERAGE_H
#define MRB_COVERAGE_H

extern void __gcov_dump(void);
extern void mrb_coverage_dump(void);

__attribute__((weak, visibility("default"), no_profile_instrument_function))
void
mrb_coverage_dump(void)
{
	__gcov_dump();
}

#endif							/* MRB_COVERAGE_H */
