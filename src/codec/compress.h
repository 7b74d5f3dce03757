/*
 * compress.h: compression of one blob, buffer to buffer.
 */
#ifndef OMB_CODEC_COMPRESS_H
#define OMB_CODEC_COMPRESS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* These numbers are stored in the repository. */
typedef enum omb_method
{
	OMB_METHOD_NONE = 0,
	OMB_METHOD_ZSTD = 1,
	OMB_METHOD_GZIP = 2 /* a zlib stream (RFC 1950) */
} omb_method;

typedef struct omb_compression
{
	omb_method method;
	int level;
} omb_compression;

/* "zstd", "zstd:1" .. "zstd:19", "gzip:1" .. "gzip:9", "none". */
extern omb_status omb_compression_parse(const char *text, omb_compression *out,
										omb_error *err);

/* Contexts kept between blobs; one for each thread. */
typedef struct omb_compressor omb_compressor;
extern omb_compressor *omb_compressor_new(const omb_compression *compression);
/*
 * Compress len bytes into fewer than len bytes at out, which has room for
 * len, and tell the method. Returns the size, or 0 when the bytes do not
 * shrink.
 */
extern size_t omb_compress(omb_compressor *compressor, const void *in,
						   size_t len, uint8_t *out, uint8_t *method);
/*
 * Decompress into exactly raw_len bytes; OMB_DAMAGED when the bytes give
 * anything else. Method NONE is a copy.
 */
extern omb_status omb_decompress(omb_compressor *compressor, uint8_t method,
								 const void *in, size_t len, uint8_t *out,
								 size_t raw_len, omb_error *err);
extern void omb_compressor_free(omb_compressor *compressor);

#endif
