/*
 * buffer.h: growing byte buffers, bounded reading of foreign bytes, and
 * memory allocation.
 *
 * Integers are little-endian. A varint holds 7 bits a byte, low bits first,
 * the high bit set on all but the last byte (LEB128).
 */
#ifndef OMB_BASE_BUFFER_H
#define OMB_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The program cannot work without memory: these print a message and end the
 * process with status 1 where there is none. Every stored state survives
 * that, as it survives a kill.
 */
extern void *omb_malloc(size_t size);
extern void *omb_calloc(size_t count, size_t size);
extern void *omb_realloc(void *old, size_t size);
extern char *omb_strdup(const char *text);

/*
 * From now on keep freed memory for what is allocated next, by any thread, and
 * have it in large pages, as far as size: for a job that goes through many
 * large buffers and then ends. Getting each from the system anew costs as much
 * as copying it.
 */
extern void omb_memory_keep(size_t size);
/* printf into new memory. */
extern char *omb_format(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

/* A growing buffer; all zeros is an empty one. */
typedef struct omb_buf
{
	uint8_t *data;
	size_t len;
	size_t cap;
} omb_buf;

/* clang-format off */
#define OMB_BUF_INIT { NULL, 0, 0 }
/* clang-format on */

/* Make room for extra more bytes; returns where they start. */
extern uint8_t *omb_buf_reserve(omb_buf *buf, size_t extra);
extern void omb_buf_put(omb_buf *buf, const void *data, size_t len);
extern void omb_buf_put_u8(omb_buf *buf, uint8_t value);
extern void omb_buf_put_u32(omb_buf *buf, uint32_t value);
extern void omb_buf_put_u64(omb_buf *buf, uint64_t value);
extern void omb_buf_put_varint(omb_buf *buf, uint64_t value);
/* A varint length and the bytes. */
extern void omb_buf_put_text(omb_buf *buf, const char *text);
extern void omb_buf_printf(omb_buf *buf, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The content as a C string; the terminator is not counted in len. */
extern char *omb_buf_text(omb_buf *buf);
extern void omb_buf_clear(omb_buf *buf);
extern void omb_buf_free(omb_buf *buf);

/*
 * Reads foreign bytes in order. Reading past the end returns zeros and sets
 * failed, which the caller tests once at the end of a record.
 */
typedef struct omb_cursor
{
	const uint8_t *next;
	const uint8_t *end;
	bool failed;
} omb_cursor;

extern void omb_cursor_init(omb_cursor *cur, const void *data, size_t len);
extern size_t omb_cursor_left(const omb_cursor *cur);
extern uint8_t omb_cursor_get_u8(omb_cursor *cur);
extern uint32_t omb_cursor_get_u32(omb_cursor *cur);
extern uint64_t omb_cursor_get_varint(omb_cursor *cur);
/* The next len bytes in place, or NULL. */
extern const uint8_t *omb_cursor_get(omb_cursor *cur, size_t len);
/* A text of at most max bytes without NUL, in new memory; NULL if failed. */
extern char *omb_cursor_get_text(omb_cursor *cur, size_t max);

/* Little-endian integers at a place. */
extern uint16_t omb_get_u16(const uint8_t *p);
extern uint32_t omb_get_u32(const uint8_t *p);
extern uint64_t omb_get_u64(const uint8_t *p);
extern void omb_set_u16(uint8_t *p, uint16_t value);
extern void omb_set_u32(uint8_t *p, uint32_t value);
extern void omb_set_u64(uint8_t *p, uint64_t value);

#endif
