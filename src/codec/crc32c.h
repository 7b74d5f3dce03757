/*
 * crc32c.h: CRC-32C (Castagnoli), as PostgreSQL uses for WAL records,
 * pg_control and backup manifests.
 */
#ifndef OMB_CODEC_CRC32C_H
#define OMB_CODEC_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue crc over len bytes; start with 0. The usual inversions are inside. */
extern uint32_t omb_crc32c(uint32_t crc, const void *data, size_t len);

/* The CRC of A followed by B, from the CRCs of both and the length of B. */
extern uint32_t omb_crc32c_combine(uint32_t crc_a, uint32_t crc_b,
								   uint64_t len_b);
/* The CRC of that many zeros. */
extern uint32_t omb_crc32c_zeros(uint64_t len);

#endif
