/*
 * text.h: numbers, times and bytes as people read and write them.
 */
#ifndef OMB_BASE_TEXT_H
#define OMB_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower-case hex digits and a terminator; out has room for 2 len + 1. */
extern char *omb_hex_format(const void *data, size_t len, char *out);
/* Exactly 2 len lower-case digits. */
extern bool omb_hex_parse(const char *text, void *out, size_t len);

/*
 * A name as it can be shown, in new memory: valid UTF-8 without control
 * characters; other bytes as \xNN.
 */
extern char *omb_name_show(const char *name);

/* A decimal number without sign or space. */
extern bool omb_u64_parse(const char *text, uint64_t *value);

/* Times are microseconds since 1970-01-01 00:00 UTC. */
extern int64_t omb_time_now(void);
/* For durations: microseconds of a clock that nobody sets. */
extern int64_t omb_time_steady(void);
/* "2026-11-20 23:15:02.123456+00"; whole seconds have no fraction. */
#define OMB_TIME_TEXT 48
extern char *omb_time_format(int64_t time, char *out);
/* "20261120T231502Z" */
extern char *omb_time_compact(int64_t time, char *out);
/*
 * "YYYY-MM-DD[ T]HH:MM[:SS[.ffffff]][ ]zone", zone "Z", "UTC", "+HH", "+HHMM"
 * or "+HH:MM"; without a zone the machine's local time.
 */
extern bool omb_time_parse(const char *text, int64_t *time);

/* "1.5 GB", "312 kB": powers of 1024 with PostgreSQL's unit names. */
#define OMB_SIZE_TEXT 16
extern char *omb_size_format(uint64_t bytes, char *out);
/* "500", "500kB", "2 MB", "10GB", "1TB": whole numbers above 0. */
extern bool omb_size_parse(const char *text, uint64_t *bytes);
/* "1:02:03" or "2:03" */
extern char *omb_duration_format(uint64_t seconds, char *out);

#endif
