/*
 * tap.h: the few lines a C unit test needs to speak TAP to prove.
 *
 * A test program calls ok() and its kin and ends with "return tap_done();".
 * Each case is a function named by the behaviour it shows. Include this header
 * in the one .c file of a test program only.
 */
#ifndef OMB_TEST_TAP_H
#define OMB_TEST_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count;
static int tap_failed;

static bool __attribute__((format(printf, 2, 3), unused))
ok(bool good, const char *fmt, ...)
{
	va_list args;

	tap_count++;
	if (!good)
		tap_failed++;
	printf("%sok %d - ", good ? "" : "not ", tap_count);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	return good;
}

static bool __attribute__((unused))
is_text(const char *got, const char *wanted, const char *name)
{
	bool good = got != NULL && strcmp(got, wanted) == 0;

	ok(good, "%s", name);
	if (!good)
		printf("# got:    %s\n# wanted: %s\n", got ? got : "(null)", wanted);
	return good;
}

static bool __attribute__((unused))
is_u64(uint64_t got, uint64_t wanted, const char *name)
{
	bool good = got == wanted;

	ok(good, "%s", name);
	if (!good)
		printf("# got:    %" PRIu64 "\n# wanted: %" PRIu64 "\n", got, wanted);
	return good;
}

static int __attribute__((unused)) tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
