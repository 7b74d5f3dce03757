/*
 * base64.h: bytes as printable text (RFC 4648).
 */
#ifndef OMB_BASE_BASE64_H
#define OMB_BASE_BASE64_H

#include "base/buffer.h"

/* Append the text of some bytes, with "=" at its end where needed. */
extern void omb_base64_put(omb_buf *out, const void *data, size_t len);
/* The same with the letters for URLs and file names, and without "=". */
extern void omb_base64_put_url(omb_buf *out, const void *data, size_t len);

/*
 * Append the bytes that a text stands for, in the first form; false when it is
 * none, or not the shortest one.
 */
extern bool omb_base64_parse(const char *text, omb_buf *out);

#endif
