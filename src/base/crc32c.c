/*
 * crc32c.c: CRC-32C by the processor's instruction where there is one, else
 * by table; and the combination of two CRCs.
 *
 * Combination multiplies by x^(8 len) modulo the polynomial, as Mark Adler
 * describes for zlib's crc32_combine().
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

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

static uint32_t byte_table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/*
 * The instruction takes three cycles but a new one can begin each cycle: three
 * lanes of this many bytes side by side, then the lanes are shifted together.
 */
#define LANE 8192
static uint32_t shift_one; /* x^(8 LANE) */
static uint32_t shift_two; /* x^(16 LANE) */

static void
make_table(void)
{
	uint32_t i;

	for (i = 0; i < 256; i++)
	{
		uint32_t crc = i;
		int bit;

		for (bit = 0; bit < 8; bit++)
			crc = (crc & 1) ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		byte_table[i] = crc;
	}
	shift_one = 1U << 23; /* x^8: one byte */
	for (i = LANE; i > 1; i /= 2)
		shift_one = multiply(shift_one, shift_one);
	shift_two = multiply(shift_one, shift_one);
}

static uint32_t
crc_by_table(uint32_t crc, const uint8_t *p, size_t len)
{
	(void) pthread_once(&table_once, make_table);
	while (len-- > 0)
		crc = byte_table[(crc ^ *p++) & 0xff] ^ crc >> 8;
	return crc;
}

#if defined(__x86_64__)

#include <nmmintrin.h>

static __attribute__((target("sse4.2"))) uint32_t
crc_by_instruction(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t wide = crc;

	(void) pthread_once(&table_once, make_table);
	for (; len >= 3 * LANE; p += 3 * LANE, len -= 3 * LANE)
	{
		uint64_t second = 0;
		uint64_t third = 0;
		size_t at;

		for (at = 0; at < LANE; at += 8)
		{
			uint64_t word[3];

			memcpy(&word[0], p + at, 8);
			memcpy(&word[1], p + LANE + at, 8);
			memcpy(&word[2], p + 2 * LANE + at, 8);
			wide = _mm_crc32_u64(wide, word[0]);
			second = _mm_crc32_u64(second, word[1]);
			third = _mm_crc32_u64(third, word[2]);
		}
		wide = multiply(shift_two, (uint32_t) wide) ^
			   multiply(shift_one, (uint32_t) second) ^ (uint32_t) third;
	}
	while (len >= 8)
	{
		uint64_t word;

		memcpy(&word, p, 8);
		wide = _mm_crc32_u64(wide, word);
		p += 8;
		len -= 8;
	}
	crc = (uint32_t) wide;
	while (len-- > 0)
		crc = _mm_crc32_u8(crc, *p++);
	return crc;
}

uint32_t
omb_crc32c(uint32_t crc, const void *data, size_t len)
{
	crc = ~crc;
	if (__builtin_cpu_supports("sse4.2"))
		crc = crc_by_instruction(crc, data, len);
	else
		crc = crc_by_table(crc, data, len);
	return ~crc;
}

#else

uint32_t
omb_crc32c(uint32_t crc, const void *data, size_t len)
{
	return ~crc_by_table(~crc, data, len);
}

#endif

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
