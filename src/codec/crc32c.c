/*
 * crc32c.c: CRC-32C by ISA-L, and the combination of two CRCs.
 *
 * Combination multiplies by x^(8 len) modulo the polynomial, as Mark Adler
 * describes for zlib's crc32_combine().
 */
#include "codec/crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>

/* The polynomial 0x1EDC6F41 with its bits reversed. */
#define POLYNOMIAL 0x82F63B78U

/* a * b modulo the polynomial; bit 31 is the coefficient of x^0. */
static uint32_t
multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;
	uint32_t bit;

	for (bit = 1U << 31; bit != 0; bit >>= 1)
	{
		if (a & bit)
			product ^= b;
		b = (b & 1) ? b >> 1 ^ POLYNOMIAL : b >> 1;
	}
	return product;
}

uint32_t
omb_crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len > 0)
	{
		int part = len < INT_MAX ? (int) len : INT_MAX;

		/* it only reads, whatever its type says */
		crc = crc32_iscsi((uint8_t *) (uintptr_t) p, part, crc);
		p += part;
		len -= (size_t) part;
	}
	return ~crc;
}

uint32_t
omb_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
	uint32_t power = 1U << 23; /* x^8: one byte */
	uint32_t shift = 1U << 31; /* x^0 */

	for (; len_b != 0; len_b >>= 1)
	{
		if (len_b & 1)
			shift = multiply(power, shift);
		power = multiply(power, power);
	}
	return multiply(shift, crc_a) ^ crc_b;
}

uint32_t
omb_crc32c_zeros(uint64_t len)
{
	static const uint8_t zero[1];
	uint32_t piece = omb_crc32c(0, zero, 1);
	uint64_t piece_len = 1;
	uint32_t crc = 0;

	/* pieces of 1, 2, 4, ... zeros, those that len is the sum of */
	for (;;)
	{
		if ((len & 1) != 0)
			crc = omb_crc32c_combine(crc, piece, piece_len);
		len >>= 1;
		if (len == 0)
			return crc;
		piece = omb_crc32c_combine(piece, piece, piece_len);
		piece_len *= 2;
	}
}
