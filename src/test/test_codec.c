/*
 * test_codec.c: primitives against published vectors, compression, seals,
 * keys.
 */
#include "test/tap.h"

#include "base/text.h"
#include "codec/compress.h"
#include "codec/crc32c.h"
#include "codec/crypto.h"
#include "codec/key.h"
#include "codec/seal.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *
hex(const void *data, size_t len)
{
	static char text[256];

	return omb_hex_format(data, len, text);
}

static void
test_primitives(void)
{
	uint8_t out[64];
	uint8_t key[22];
	uint8_t salt[13];
	uint8_t info[10];
	omb_hash *hash = omb_hash_new();
	size_t i;

	omb_sha256("abc", 3, out);
	is_text(hex(out, 32),
			"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
			"SHA-256 (FIPS 180-4)");
	omb_hash_begin(hash, (const uint8_t *) "Jefe", 4);
	omb_hash_update(hash, "what do ya want ", 16);
	omb_hash_update(hash, "for nothing?", 12);
	omb_hash_final(hash, out);
	is_text(hex(out, 32),
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			"HMAC-SHA-256 (RFC 4231, case 2)");
	omb_hash_free(hash);
	memset(key, 0x0b, sizeof(key));
	for (i = 0; i < sizeof(salt); i++)
		salt[i] = (uint8_t) i;
	for (i = 0; i < sizeof(info); i++)
		info[i] = (uint8_t) (0xf0 + i);
	omb_hkdf(key, sizeof(key), salt, sizeof(salt), info, sizeof(info), out,
			 42);
	is_text(hex(out, 42),
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
			"34007208d5b887185865",
			"HKDF (RFC 5869, case 1)");
	omb_scrypt("password", (const uint8_t *) "NaCl", 4, 1024, 8, 16, out, 64);
	is_text(hex(out, 32),
			"fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
			"scrypt (RFC 7914, case 3)");
	ok(omb_md5("abc", 3, out), "MD5 is there");
	is_text(hex(out, 16), "900150983cd24fb0d6963f7d28e17f72",
			"MD5 (RFC 1321)");
}

static void
test_aes_gcm_vector(void)
{
	/* McGrew and Viega, test case 14: zero key, nonce and plain text */
	static const uint8_t zeros[OMB_KEY_SIZE];
	uint8_t out[32];
	omb_aead *aead = omb_aead_new();

	omb_aead_seal(aead, zeros, zeros, NULL, 0, zeros, 16, out);
	is_text(hex(out, 32),
			"cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
			"AES-256-GCM (test case 14)");
	ok(omb_aead_open(aead, zeros, zeros, NULL, 0, out, 32, out),
	   "it opens again, in place");
	omb_aead_free(aead);
}

static void
test_compression(void)
{
	static const char *const good[] = { "none",	   "zstd", "zstd:1",
										"zstd:19", "gzip", "gzip:9" };
	static const char *const bad[] = { "",		  "lzma",	 "zstd:0",
									   "zstd:20", "gzip:10", "none:1",
									   "zstd:",	  "zstd:x",	 "zstdx" };
	uint8_t in[OMB_BLOB_MAX];
	uint8_t out[OMB_BLOB_MAX];
	uint8_t back[OMB_BLOB_MAX];
	omb_compression compression;
	omb_error err = OMB_ERROR_INIT;
	size_t i, size;
	uint8_t method;

	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t) (i / 100);
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		omb_compressor *c;

		ok(omb_compression_parse(good[i], &compression, &err) == OMB_OK,
		   "\"%s\" is a compression", good[i]);
		c = omb_compressor_new(&compression);
		size = omb_compress(c, in, sizeof(in), out, &method);
		if (compression.method == OMB_METHOD_NONE)
			ok(size == 0, "none does not compress");
		else
		{
			ok(size > 0 && size < sizeof(in) / 10, "\"%s\" compresses",
			   good[i]);
			ok(omb_decompress(c, method, out, size, back, sizeof(back),
							  &err) == OMB_OK &&
				   memcmp(in, back, sizeof(in)) == 0,
			   "\"%s\" gives the bytes back", good[i]);
			ok(omb_decompress(c, method, out, size, back, sizeof(back) - 1,
							  &err) == OMB_DAMAGED,
			   "\"%s\": more bytes than promised are damage", good[i]);
			omb_error_clear(&err);
			ok(omb_decompress(c, method, out, size - 1, back, sizeof(back),
							  &err) == OMB_DAMAGED,
			   "\"%s\": bytes cut short are damage", good[i]);
			omb_error_clear(&err);
		}
		omb_random(back, 1000);
		ok(omb_compress(c, back, 1000, out, &method) == 0,
		   "\"%s\": what does not shrink is said so", good[i]);
		ok(omb_decompress(c, 7, out, 10, back, 10, &err) == OMB_UNSUPPORTED,
		   "\"%s\": an unknown method is said so", good[i]);
		omb_error_clear(&err);
		omb_compressor_free(c);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		ok(omb_compression_parse(bad[i], &compression, &err) == OMB_USAGE,
		   "refused: \"%s\"", bad[i]);
		omb_error_clear(&err);
	}
}

static void
make_keyring(omb_keyring *keyring)
{
	memset(keyring, 0, sizeof(*keyring));
	keyring->count = 1;
	omb_random(keyring->repository_id, sizeof(keyring->repository_id));
	omb_random(keyring->key[0], OMB_KEY_SIZE);
}

static void
test_seal_binds_everything(void)
{
	static const omb_compression zstd = { OMB_METHOD_ZSTD, 3 };
	omb_keyring keyring, other;
	omb_object_key key, wrong;
	uint8_t header[OMB_OBJECT_HEADER_SIZE];
	uint8_t plain[5000];
	uint8_t sealed[OMB_SEALED_MAX(5000)];
	uint8_t back[5000];
	omb_coder *coder = omb_coder_new(&zstd);
	omb_error err = OMB_ERROR_INIT;
	uint8_t method;
	size_t size, i;
	int opened = 0;

	make_keyring(&keyring);
	for (i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t) (i % 50);
	omb_object_begin(&keyring, OMB_KIND_PACK, header, &key);
	size = omb_coder_encode(coder, &key, 7, false, plain, sizeof(plain),
							sealed, &method);
	ok(omb_object_open(&keyring, OMB_KIND_PACK, header, &wrong, &err) ==
			   OMB_OK &&
		   memcmp(&key, &wrong, sizeof(key)) == 0,
	   "the header gives the key again");
	ok(omb_coder_decode(coder, &key, 7, false, method, sealed, size, back,
						sizeof(back), &err) == OMB_OK &&
		   memcmp(plain, back, sizeof(plain)) == 0,
	   "a sealed blob opens");
	for (i = 0; i < size * 8; i++)
	{
		sealed[i / 8] ^= (uint8_t) (1 << i % 8);
		if (omb_coder_decode(coder, &key, 7, false, method, sealed, size, back,
							 sizeof(back), &err) == OMB_OK)
			opened++;
		omb_error_clear(&err);
		sealed[i / 8] ^= (uint8_t) (1 << i % 8);
	}
	is_u64((uint64_t) opened, 0, "with any bit changed it does not");
	for (i = 0; i < size; i++)
	{
		if (omb_coder_decode(coder, &key, 7, false, method, sealed, i, back,
							 sizeof(back), &err) == OMB_OK)
			opened++;
		omb_error_clear(&err);
	}
	is_u64((uint64_t) opened, 0, "cut anywhere it does not");
	ok(omb_coder_decode(coder, &key, 8, false, method, sealed, size, back,
						sizeof(back), &err) == OMB_DAMAGED,
	   "at another place it does not");
	omb_error_clear(&err);
	ok(omb_coder_decode(coder, &key, 7, true, method, sealed, size, back,
						sizeof(back), &err) == OMB_DAMAGED,
	   "as the last one it does not");
	omb_error_clear(&err);
	ok(omb_coder_decode(coder, &key, 7, false, OMB_METHOD_GZIP, sealed, size,
						back, sizeof(back), &err) == OMB_DAMAGED,
	   "as of another method it does not");
	omb_error_clear(&err);
	ok(omb_object_open(&keyring, OMB_KIND_WAL, header, &wrong, &err) ==
		   OMB_DAMAGED,
	   "an object of another kind is refused");
	omb_error_clear(&err);
	make_keyring(&other);
	ok(omb_object_open(&other, OMB_KIND_PACK, header, &wrong, &err) ==
		   OMB_DAMAGED,
	   "an object of another repository is refused");
	omb_error_clear(&err);
	header[9] = 2;
	ok(omb_object_open(&keyring, OMB_KIND_PACK, header, &wrong, &err) ==
		   OMB_UNSUPPORTED,
	   "a newer format is refused as such");
	omb_error_clear(&err);
	header[9] = 1;
	header[10] = 2;
	ok(omb_object_open(&keyring, OMB_KIND_PACK, header, &wrong, &err) ==
		   OMB_WRONG_KEY,
	   "a key version that is missing is said so");
	omb_coder_free(coder);
}

static void
test_recovery_code(void)
{
	omb_secret secret, again;
	char text[OMB_RECOVERY_CODE_TEXT];
	char typed[64];
	omb_error err = OMB_ERROR_INIT;
	size_t i, accepted = 0, n = 0;

	omb_secret_new_code(&secret, text);
	is_u64(strlen(text), 34, "a code has seven groups of four");
	ok(omb_recovery_code_read(text, &again, &err) == OMB_OK &&
		   strcmp(secret.code, again.code) == 0,
	   "it reads back");
	for (i = 0; text[i]; i++)
	{
		if (text[i] == '-')
			typed[n++] = ' ';
		else if (text[i] == '0')
			typed[n++] = 'o';
		else if (text[i] == '1')
			typed[n++] = 'l';
		else
			typed[n++] = (char) (text[i] | (text[i] >= 'A' ? 0x20 : 0));
	}
	typed[n] = '\0';
	ok(omb_recovery_code_read(typed, &again, &err) == OMB_OK &&
		   strcmp(secret.code, again.code) == 0,
	   "so it does in lower case, with spaces, o and l");
	for (i = 0; text[i]; i++)
	{
		char saved = text[i];

		if (saved == '-')
			continue;
		text[i] = saved == 'A' ? 'B' : 'A';
		if (omb_recovery_code_read(text, &again, &err) == OMB_OK)
			accepted++;
		omb_error_clear(&err);
		text[i] = saved;
	}
	ok(accepted <= 1, "a wrong letter is noticed (10 bits of checksum)");
	ok(omb_recovery_code_read("short", &again, &err) == OMB_USAGE,
	   "a short one is refused");
}

static void
test_slots(void)
{
	omb_keyring keyring, opened;
	omb_secret secrets[3], wrong;
	char text[OMB_RECOVERY_CODE_TEXT];
	omb_error err = OMB_ERROR_INIT;
	omb_buf slot = OMB_BUF_INIT;
	int i;

	make_keyring(&keyring);
	omb_secret_new_file(&secrets[0]);
	omb_secret_new_code(&secrets[1], text);
	omb_secret_open(&secrets[2]);
	for (i = 0; i < 3; i++)
	{
		omb_buf_clear(&slot);
		omb_slot_write(&keyring, 1, &secrets[i], &slot);
		memset(&opened, 0, sizeof(opened));
		memcpy(opened.repository_id, keyring.repository_id, 16);
		ok(omb_slot_open(&secrets[i], slot.data, slot.len, &opened, &err) ==
				   OMB_OK &&
			   opened.count == 1 &&
			   memcmp(opened.key[0], keyring.key[0], OMB_KEY_SIZE) == 0,
		   "slot %d gives the repository key", i);
		ok(omb_slot_open(&secrets[(i + 1) % 3], slot.data, slot.len, &opened,
						 &err) == OMB_NOT_FOUND,
		   "slot %d is not for another kind", i);
		omb_error_clear(&err);
		opened.repository_id[0] ^= 1;
		ok(omb_slot_open(&secrets[i], slot.data, slot.len, &opened, &err) ==
			   OMB_DAMAGED,
		   "slot %d is bound to its repository", i);
		omb_error_clear(&err);
	}
	omb_buf_clear(&slot);
	omb_slot_write(&keyring, 1, &secrets[0], &slot);
	omb_secret_new_file(&wrong);
	ok(omb_slot_open(&wrong, slot.data, slot.len, &opened, &err) ==
		   OMB_WRONG_KEY,
	   "a wrong key is an error of its own");
	omb_buf_free(&slot);
}

static void
test_key_file(void)
{
	char directory[] = "/tmp/omb-test-XXXXXX";
	uint8_t id[OMB_REPOSITORY_ID_SIZE] = { 1, 2, 3 };
	omb_secret secret, again;
	omb_error err = OMB_ERROR_INIT;
	char *path;

	if (mkdtemp(directory) == NULL)
		abort();
	path = omb_format("%s/key", directory);
	omb_secret_new_file(&secret);
	ok(omb_key_file_write(path, &secret, id, &err) == OMB_OK &&
		   omb_key_file_read(path, id, &again, &err) == OMB_OK &&
		   memcmp(secret.key, again.key, OMB_KEY_SIZE) == 0,
	   "a key file reads back");
	ok(omb_key_file_write(path, &secret, id, &err) == OMB_FAILED,
	   "it is never replaced");
	omb_error_clear(&err);
	id[0] = 9;
	ok(omb_key_file_read(path, id, &again, &err) == OMB_WRONG_KEY,
	   "it is of one repository");
	omb_error_clear(&err);
	id[0] = 1;
	(void) chmod(path, 0640);
	ok(omb_key_file_read(path, id, &again, &err) == OMB_REFUSED,
	   "it is refused when others can read it");
	(void) unlink(path);
	(void) rmdir(directory);
	free(path);
}

/* Bit by bit, as the polynomial says. */
static uint32_t
crc32c_slowly(const uint8_t *p, size_t len)
{
	uint32_t crc = ~(uint32_t) 0;
	int bit;

	while (len-- > 0)
	{
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = (crc & 1) ? crc >> 1 ^ 0x82F63B78U : crc >> 1;
	}
	return ~crc;
}

static void
test_crc32c(void)
{
	uint8_t data[10000];
	size_t len, from, cut;
	bool same = true;

	is_u64(omb_crc32c(0, "123456789", 9), 0xE3069283, "CRC-32C (Rocksoft)");
	memset(data, 0, 32);
	is_u64(omb_crc32c(0, data, 32), 0x8A9136AA, "CRC-32C (RFC 3720): zeros");
	memset(data, 0xff, 32);
	is_u64(omb_crc32c(0, data, 32), 0x62A8AB43, "CRC-32C (RFC 3720): ones");
	is_u64(omb_crc32c(0, NULL, 0), 0, "CRC-32C of nothing");

	for (len = 0; len < sizeof(data); len++)
		data[len] = (uint8_t) (len * 31 + len / 7);
	for (len = 0; len < 3000; len += len < 600 ? 1 : 67)
		for (from = 0; from < 20; from++)
			same = same && omb_crc32c(0, data + from, len) ==
							   crc32c_slowly(data + from, len);
	ok(same, "CRC-32C as bit by bit, for any length and alignment");

	same = true;
	for (cut = 0; cut <= sizeof(data); cut += 777)
	{
		uint32_t a = omb_crc32c(0, data, cut);
		uint32_t b = omb_crc32c(0, data + cut, sizeof(data) - cut);

		same = same &&
			   omb_crc32c_combine(a, b, sizeof(data) - cut) ==
				   omb_crc32c(0, data, sizeof(data)) &&
			   omb_crc32c(a, data + cut, sizeof(data) - cut) ==
				   omb_crc32c(0, data, sizeof(data));
	}
	ok(same, "two parts combine to the whole, wherever it is cut");
}

int
main(void)
{
	test_primitives();
	test_aes_gcm_vector();
	test_crc32c();
	test_compression();
	test_seal_binds_everything();
	test_recovery_code();
	test_slots();
	test_key_file();
	return tap_done();
}
