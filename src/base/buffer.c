/*
 * buffer.c: growing byte buffers, bounded reading, memory allocation.
 */
#include "base/buffer.h"

#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Larger buffers than those of the cloud's cache do not come often. */
#define KEEP_BUFFER (16 * 1024 * 1024)
#define LARGE_PAGE ((uintptr_t) 2 * 1024 * 1024)

static void
out_of_memory(size_t size)
{
	(void) fprintf(
		stderr, "omsupply_backup: out of memory (%zu bytes wanted)\n", size);
	_exit(1);
}

void *
omb_malloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (p == NULL)
		out_of_memory(size);
	return p;
}

void *
omb_calloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (p == NULL)
		out_of_memory(size);
	return p;
}

void *
omb_realloc(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (p == NULL)
		out_of_memory(size);
	return p;
}

void
omb_memory_keep(size_t size)
{
	uintptr_t begin, end;
	void *volatile first; /* the compiler would leave both calls out */

	/* what one thread frees another one takes, and the system never */
	(void) mallopt(M_ARENA_MAX, 1);
	(void) mallopt(M_MMAP_THRESHOLD, KEEP_BUFFER);
	(void) mallopt(M_TRIM_THRESHOLD, INT_MAX);
	/* grow the heap by as much at once, which takes addresses only */
	begin = ((uintptr_t) sbrk(0) + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
	(void) mallopt(M_TOP_PAD, (int) size);
	first = malloc(KEEP_BUFFER - 1);
	free(first);
	(void) mallopt(M_TOP_PAD, KEEP_BUFFER);
	end = (uintptr_t) sbrk(0) / LARGE_PAGE * LARGE_PAGE;
	if (end > begin)
		(void) madvise((void *) begin, end - begin, MADV_HUGEPAGE);
}

char *
omb_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(omb_malloc(size), text, size);
}

char *
omb_format(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		out_of_memory(0);
	return text;
}

uint8_t *
omb_buf_reserve(omb_buf *buf, size_t extra)
{
	if (buf->cap - buf->len < extra)
	{
		size_t cap = buf->cap ? buf->cap : 64;

		while (cap - buf->len < extra)
		{
			if (cap > SIZE_MAX / 2)
				out_of_memory(extra);
			cap *= 2;
		}
		buf->data = omb_realloc(buf->data, cap);
		buf->cap = cap;
	}
	return buf->data + buf->len;
}

void
omb_buf_put(omb_buf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(omb_buf_reserve(buf, len), data, len);
	buf->len += len;
}

void
omb_buf_put_u8(omb_buf *buf, uint8_t value)
{
	omb_buf_put(buf, &value, 1);
}

void
omb_buf_put_u32(omb_buf *buf, uint32_t value)
{
	uint8_t b[4];

	omb_set_u32(b, value);
	omb_buf_put(buf, b, sizeof(b));
}

void
omb_buf_put_u64(omb_buf *buf, uint64_t value)
{
	uint8_t b[8];

	omb_set_u64(b, value);
	omb_buf_put(buf, b, sizeof(b));
}

void
omb_buf_put_varint(omb_buf *buf, uint64_t value)
{
	uint8_t b[10];
	size_t n = 0;

	while (value >= 0x80)
	{
		b[n++] = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	b[n++] = (uint8_t) value;
	omb_buf_put(buf, b, n);
}

void
omb_buf_put_text(omb_buf *buf, const char *text)
{
	size_t len = strlen(text);

	omb_buf_put_varint(buf, len);
	omb_buf_put(buf, text, len);
}

void
omb_buf_printf(omb_buf *buf, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		out_of_memory(0);
	omb_buf_put(buf, text, (size_t) len);
	free(text);
}

char *
omb_buf_text(omb_buf *buf)
{
	*omb_buf_reserve(buf, 1) = '\0';
	return (char *) buf->data;
}

void
omb_buf_clear(omb_buf *buf)
{
	buf->len = 0;
}

void
omb_buf_free(omb_buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

void
omb_cursor_init(omb_cursor *cur, const void *data, size_t len)
{
	cur->next = data;
	cur->end = cur->next + len;
	cur->failed = false;
}

size_t
omb_cursor_left(const omb_cursor *cur)
{
	return (size_t) (cur->end - cur->next);
}

const uint8_t *
omb_cursor_get(omb_cursor *cur, size_t len)
{
	const uint8_t *p = cur->next;

	if (cur->failed || omb_cursor_left(cur) < len)
	{
		cur->failed = true;
		return NULL;
	}
	cur->next += len;
	return p;
}

uint8_t
omb_cursor_get_u8(omb_cursor *cur)
{
	const uint8_t *p = omb_cursor_get(cur, 1);

	return p ? *p : 0;
}

uint32_t
omb_cursor_get_u32(omb_cursor *cur)
{
	const uint8_t *p = omb_cursor_get(cur, 4);

	return p ? omb_get_u32(p) : 0;
}

uint64_t
omb_cursor_get_varint(omb_cursor *cur)
{
	uint64_t value = 0;
	unsigned int shift = 0;

	for (;;)
	{
		uint8_t b = omb_cursor_get_u8(cur);

		if (cur->failed)
			return 0;
		/* the tenth byte has room for one bit */
		if (shift == 63 && b > 1)
		{
			cur->failed = true;
			return 0;
		}
		value |= (uint64_t) (b & 0x7f) << shift;
		if ((b & 0x80) == 0)
			return value;
		shift += 7;
	}
}

char *
omb_cursor_get_text(omb_cursor *cur, size_t max)
{
	uint64_t len = omb_cursor_get_varint(cur);
	const uint8_t *p;
	char *text;

	if (cur->failed || len > max)
	{
		cur->failed = true;
		return NULL;
	}
	p = omb_cursor_get(cur, (size_t) len);
	if (p == NULL)
		return NULL;
	if (memchr(p, 0, (size_t) len) != NULL)
	{
		cur->failed = true;
		return NULL;
	}
	text = omb_malloc((size_t) len + 1);
	memcpy(text, p, (size_t) len);
	text[len] = '\0';
	return text;
}

uint16_t
omb_get_u16(const uint8_t *p)
{
	return (uint16_t) (p[0] | p[1] << 8);
}

uint32_t
omb_get_u32(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 |
		   (uint32_t) p[3] << 24;
}

uint64_t
omb_get_u64(const uint8_t *p)
{
	return (uint64_t) omb_get_u32(p) | (uint64_t) omb_get_u32(p + 4) << 32;
}

void
omb_set_u16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t) value;
	p[1] = (uint8_t) (value >> 8);
}

void
omb_set_u32(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t) value;
	p[1] = (uint8_t) (value >> 8);
	p[2] = (uint8_t) (value >> 16);
	p[3] = (uint8_t) (value >> 24);
}

void
omb_set_u64(uint8_t *p, uint64_t value)
{
	omb_set_u32(p, (uint32_t) value);
	omb_set_u32(p + 4, (uint32_t) (value >> 32));
}
