/*
 * asan_first.c
 *		Starts AddressSanitizer before any other library's constructor.
 *
 * The runtime starts itself at the first malloc(), and asks dlsym() for a
 * function that nobody has.  libgpg-error, which Debian's PostgreSQL loads
 * by way of LDAP, has a constructor that calls bindtextdomain(), and that
 * calls malloc() with the lock of gettext held.  The error message of dlsym()
 * is translated with the same lock, releases it one time too often, and
 * every later bindtextdomain() waits for ever.
 *
 * Linked with -z initfirst, this is run before all of them.
 */

extern void __asan_init(void);

/* Start the runtime. */
static void __attribute__((constructor))
start(void)
{
	__asan_init();
}
