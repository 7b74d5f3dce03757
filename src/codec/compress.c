/*
 * compress.c: compression of one blob with zstd or zlib.
 */
#include "codec/compress.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct omb_compressor
{
	omb_compression compression;
	ZSTD_CCtx *zstd_out; /* made when first needed, as the next one */
	ZSTD_DCtx *zstd_in;
};

omb_status
omb_compression_parse(const char *text, omb_compression *out, omb_error *err)
{
	static const struct
	{
		const char *name;
		omb_method method;
		int standard;
		int most;
	} methods[] = { { "none", OMB_METHOD_NONE, 0, 0 },
					{ "zstd", OMB_METHOD_ZSTD, 3, 19 },
					{ "gzip", OMB_METHOD_GZIP, 6, 9 } };
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
	{
		size_t len = strlen(methods[i].name);
		long level = methods[i].standard;
		char *end;

		if (strncmp(text, methods[i].name, len) != 0)
			continue;
		if (text[len] == ':' && text[len + 1] >= '0' && text[len + 1] <= '9')
		{
			level = strtol(text + len + 1, &end, 10);
			if (*end != '\0' || level < 1 || level > methods[i].most)
				break;
		}
		else if (text[len] != '\0')
			break;
		out->method = methods[i].method;
		out->level = (int) level;
		return OMB_OK;
	}
	(void) omb_error_set(err, OMB_USAGE, "invalid compression \"%s\"", text);
	omb_error_hint(err, "Use \"zstd:1\" to \"zstd:19\", \"gzip:1\" to "
						"\"gzip:9\", or \"none\".");
	return err->status;
}

omb_compressor *
omb_compressor_new(const omb_compression *compression)
{
	omb_compressor *compressor = omb_calloc(1, sizeof(*compressor));

	compressor->compression = *compression;
	return compressor;
}

static size_t
compress_zstd(omb_compressor *compressor, const void *in, size_t len,
			  uint8_t *out)
{
	size_t size;

	if (compressor->zstd_out == NULL)
	{
		compressor->zstd_out = ZSTD_createCCtx();
		if (compressor->zstd_out == NULL)
			return 0;
		/* the size and the seal of a blob are kept outside it */
		(void) ZSTD_CCtx_setParameter(compressor->zstd_out,
									  ZSTD_c_compressionLevel,
									  compressor->compression.level);
		(void) ZSTD_CCtx_setParameter(compressor->zstd_out,
									  ZSTD_c_contentSizeFlag, 0);
	}
	size = ZSTD_compress2(compressor->zstd_out, out, len - 1, in, len);
	/* the only failure of a well-set context is lack of room */
	return ZSTD_isError(size) ? 0 : size;
}

size_t
omb_compress(omb_compressor *compressor, const void *in, size_t len,
			 uint8_t *out, uint8_t *method)
{
	uLongf size = (uLongf) len;

	*method = (uint8_t) compressor->compression.method;
	if (len < 2)
		return 0;
	switch (compressor->compression.method)
	{
		case OMB_METHOD_ZSTD:
			return compress_zstd(compressor, in, len, out);
		case OMB_METHOD_GZIP:
			size--;
			if (compress2(out, &size, in, (uLong) len,
						  compressor->compression.level) != Z_OK)
				return 0;
			return (size_t) size;
		case OMB_METHOD_NONE:
			break;
	}
	return 0;
}

omb_status
omb_decompress(omb_compressor *compressor, uint8_t method, const void *in,
			   size_t len, uint8_t *out, size_t raw_len, omb_error *err)
{
	uLongf size = (uLongf) raw_len;

	switch (method)
	{
		case OMB_METHOD_NONE:
			if (len != raw_len)
				break;
			memcpy(out, in, len);
			return OMB_OK;
		case OMB_METHOD_ZSTD:
			if (compressor->zstd_in == NULL)
				compressor->zstd_in = ZSTD_createDCtx();
			if (compressor->zstd_in != NULL &&
				ZSTD_decompressDCtx(compressor->zstd_in, out, raw_len, in,
									len) == raw_len)
				return OMB_OK;
			break;
		case OMB_METHOD_GZIP:
			if (uncompress(out, &size, in, (uLong) len) == Z_OK &&
				size == raw_len)
				return OMB_OK;
			break;
		default:
			return omb_error_set(err, OMB_UNSUPPORTED,
								 "compression method %u is not supported",
								 method);
	}
	return omb_error_set(err, OMB_DAMAGED,
						 "compressed bytes do not give the %zu bytes "
						 "promised",
						 raw_len);
}

void
omb_compressor_free(omb_compressor *compressor)
{
	if (compressor == NULL)
		return;
	(void) ZSTD_freeCCtx(compressor->zstd_out);
	(void) ZSTD_freeDCtx(compressor->zstd_in);
	free(compressor);
}
