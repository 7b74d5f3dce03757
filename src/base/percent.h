/*
 * percent.h: bytes written as %XX, as in URLs (RFC 3986, section 2.1).
 */
#ifndef OMB_BASE_PERCENT_H
#define OMB_BASE_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

/* The value of a hex digit, or -1. */
extern int omb_hex_digit(char c);

/*
 * Write len bytes of text with %XX replaced to out and terminate them; out may
 * be text itself, where its terminator has room. False when they are not well
 * formed, hold a zero byte, or need more than size bytes with the terminator.
 */
extern bool omb_percent_decode(const char *text, size_t len, char *out,
							   size_t size);

#endif
