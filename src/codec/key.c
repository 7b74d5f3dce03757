/*
 * key.c: key files, recovery codes and key slots.
 */
#include "codec/key.h"

#include "base/fields.h"
#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_SALT_SIZE 32
#define SLOT_CHECK_SIZE 16
#define SLOT_WRAPPED_SIZE (OMB_KEY_SIZE + OMB_TAG_SIZE)
#define SLOT_MAX 4096
#define CODE_RANDOM 26
#define CODE_CHARS 28

/*
 * 64 MiB of memory and a fraction of a second. The code has 130 random bits,
 * so scrypt is a second line only.
 */
#define SCRYPT_N 65536
#define SCRYPT_R 8
#define SCRYPT_P 1
/* What a slot may ask for: at most 1 GiB of memory. */
#define SCRYPT_N_MAX (1024 * 1024)

static const char code_alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
static const char *const kind_names[] = { "file", "code", "open" };

void
omb_secret_new_file(omb_secret *secret)
{
	memset(secret, 0, sizeof(*secret));
	secret->kind = OMB_SECRET_FILE;
	omb_random(secret->key, OMB_KEY_SIZE);
}

void
omb_secret_open(omb_secret *secret)
{
	memset(secret, 0, sizeof(*secret));
	secret->kind = OMB_SECRET_OPEN;
}

/* The two characters that guard the 26 before them. */
static void
code_checksum(const char *code, char out[2])
{
	uint8_t digest[OMB_SHA256_SIZE];
	unsigned int bits;

	omb_sha256(code, CODE_RANDOM, digest);
	bits = (unsigned int) digest[0] << 2 | digest[1] >> 6;
	out[0] = code_alphabet[bits >> 5];
	out[1] = code_alphabet[bits & 31];
}

void
omb_secret_new_code(omb_secret *secret, char text[OMB_RECOVERY_CODE_TEXT])
{
	uint8_t random[CODE_RANDOM];
	size_t i;
	char *out = text;

	memset(secret, 0, sizeof(*secret));
	secret->kind = OMB_SECRET_CODE;
	omb_random(random, sizeof(random));
	for (i = 0; i < CODE_RANDOM; i++)
		secret->code[i] = code_alphabet[random[i] & 31];
	code_checksum(secret->code, secret->code + CODE_RANDOM);
	for (i = 0; i < CODE_CHARS; i++)
	{
		if (i > 0 && i % 4 == 0)
			*out++ = '-';
		*out++ = secret->code[i];
	}
	*out = '\0';
	omb_wipe(random, sizeof(random));
}

omb_status
omb_recovery_code_read(const char *text, omb_secret *secret, omb_error *err)
{
	size_t n = 0;
	char check[2];

	memset(secret, 0, sizeof(*secret));
	secret->kind = OMB_SECRET_CODE;
	for (; *text; text++)
	{
		char c = *text;

		if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c >= 'a' && c <= 'z')
			c = (char) (c - 'a' + 'A');
		if (c == 'O')
			c = '0';
		if (c == 'I' || c == 'L')
			c = '1';
		if (n == CODE_CHARS || strchr(code_alphabet, c) == NULL)
			goto wrong;
		secret->code[n++] = c;
	}
	if (n != CODE_CHARS)
		goto wrong;
	code_checksum(secret->code, check);
	if (memcmp(check, secret->code + CODE_RANDOM, 2) == 0)
		return OMB_OK;

wrong:
	omb_wipe(secret, sizeof(*secret));
	(void) omb_error_set(err, OMB_USAGE,
						 "the recovery code has a typing error");
	omb_error_hint(err, "A recovery code has seven groups of four letters "
						"and digits.");
	return err->status;
}

omb_status
omb_key_file_write(const char *path, const omb_secret *secret,
				   const uint8_t *repository_id, omb_error *err)
{
	char id[2 * OMB_REPOSITORY_ID_SIZE + 1];
	char key[2 * OMB_KEY_SIZE + 1];
	char *parent = omb_path_parent(path);
	char *temporary = omb_format("%s.tmp", path);
	char *text;
	int fd;
	omb_status status = OMB_OK;

	text = omb_format(
		"# Key file of an omsupply_backup repository. Whoever has this file\n"
		"# and a copy of the repository can read every backup. Keep it\n"
		"# private, outside the data directory, and keep a copy elsewhere.\n"
		"format=1\nrepository=%s\nkey=%s\n",
		omb_hex_format(repository_id, OMB_REPOSITORY_ID_SIZE, id),
		omb_hex_format(secret->key, OMB_KEY_SIZE, key));
	/* whole or not at all, also after a crash, and never in place of another */
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
	{
		status = omb_error_set_errno(
			err, errno, "could not create key file \"%s\"", temporary);
		goto done;
	}
	if (omb_write_full(fd, text, strlen(text)) != 0 || fsync(fd) != 0)
		status = omb_error_set_errno(
			err, errno, "could not write key file \"%s\"", temporary);
	(void) close(fd);
	if (status == OMB_OK && link(temporary, path) != 0)
		status = omb_error_set_errno(err, errno,
									 "could not create key file \"%s\"", path);
	(void) unlink(temporary);
	if (status == OMB_OK)
		status = omb_directory_sync(parent, err);

done:
	omb_wipe(key, sizeof(key));
	omb_wipe(text, strlen(text));
	free(text);
	free(temporary);
	free(parent);
	return status;
}

/* Refuse a key file that is not private. */
static omb_status
check_key_file(const char *path, const struct stat *st, omb_error *err)
{
	if (!S_ISREG(st->st_mode))
		return omb_error_set(err, OMB_REFUSED,
							 "key file \"%s\" is not a regular file", path);
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return omb_error_set(err, OMB_REFUSED,
							 "key file \"%s\" belongs to another user", path);
	if ((st->st_mode & 077) != 0)
	{
		(void) omb_error_set(err, OMB_REFUSED,
							 "key file \"%s\" can be read by other users",
							 path);
		omb_error_hint(err, "Run: chmod 600 \"%s\"", path);
		return err->status;
	}
	return OMB_OK;
}

/* Drop the comment lines of a text in place; returns the new length. */
static size_t
strip_comments(char *text, size_t len)
{
	size_t in = 0;
	size_t out = 0;

	while (in < len)
	{
		size_t start = in;

		while (in < len && text[in] != '\n')
			in++;
		if (in < len)
			in++;
		if (text[start] == '#')
			continue;
		memmove(text + out, text + start, in - start);
		out += in - start;
	}
	return out;
}

omb_status
omb_key_file_read(const char *path, const uint8_t *repository_id,
				  omb_secret *secret, omb_error *err)
{
	omb_buf content = OMB_BUF_INIT;
	omb_fields fields;
	const char *format, *repository, *key;
	uint8_t id[OMB_REPOSITORY_ID_SIZE];
	struct stat st;

	memset(secret, 0, sizeof(*secret));
	secret->kind = OMB_SECRET_FILE;
	if (stat(path, &st) != 0)
	{
		(void) omb_error_set_errno(err, errno,
								   "could not open key file \"%s\"", path);
		omb_error_hint(err, "Without the key file, use the recovery code that "
							"was shown when the repository was made.");
		return err->status;
	}
	if (check_key_file(path, &st, err) != OMB_OK)
		return err->status;
	if (omb_file_read(path, SLOT_MAX, &content, err) != OMB_OK)
		return err->status;
	content.len = strip_comments(omb_buf_text(&content), content.len);
	if (!omb_fields_parse_text((char *) content.data, content.len, &fields) ||
		(format = omb_fields_get(&fields, "format")) == NULL ||
		(repository = omb_fields_get(&fields, "repository")) == NULL ||
		!omb_hex_parse(repository, id, sizeof(id)) ||
		(key = omb_fields_get(&fields, "key")) == NULL ||
		!omb_hex_parse(key, secret->key, OMB_KEY_SIZE))
		(void) omb_error_set(err, OMB_DAMAGED, "file \"%s\" is not a key file",
							 path);
	else if (strcmp(format, "1") != 0)
		(void) omb_error_set(err, OMB_UNSUPPORTED,
							 "key file \"%s\" has format \"%.16s\", which "
							 "is not supported",
							 path, format);
	else if (memcmp(id, repository_id, sizeof(id)) != 0)
		(void) omb_error_set(err, OMB_WRONG_KEY,
							 "key file \"%s\" belongs to another repository",
							 path);
	omb_wipe(content.data, content.len);
	omb_buf_free(&content);
	return err->status;
}

/*
 * 64 bytes from a secret: the wrapping key, the check, and 16 not used.
 */
static void
stretch(const omb_secret *secret, const uint8_t *salt, uint64_t n, uint32_t r,
		uint32_t p, uint8_t out[64])
{
	static const char info[] = "omsupply_backup key slot";

	if (secret->kind == OMB_SECRET_CODE)
		omb_scrypt(secret->code, salt, SLOT_SALT_SIZE, n, r, p, out, 64);
	else
		omb_hkdf(secret->key, OMB_KEY_SIZE, salt, SLOT_SALT_SIZE, info,
				 sizeof(info) - 1, out, 64);
}

/* Repository id, version and kind, as wrapping binds them. */
static size_t
slot_associated(const uint8_t *repository_id, uint16_t version,
				omb_secret_kind kind, uint8_t out[32])
{
	memcpy(out, repository_id, OMB_REPOSITORY_ID_SIZE);
	omb_set_u16(out + OMB_REPOSITORY_ID_SIZE, version);
	memcpy(out + OMB_REPOSITORY_ID_SIZE + 2, kind_names[kind], 4);
	return OMB_REPOSITORY_ID_SIZE + 2 + 4;
}

void
omb_slot_write(const omb_keyring *keyring, uint16_t version,
			   const omb_secret *secret, omb_buf *out)
{
	static const uint8_t nonce[OMB_NONCE_SIZE];
	uint8_t salt[SLOT_SALT_SIZE];
	uint8_t stretched[64];
	uint8_t associated[32];
	size_t associated_len;
	uint8_t wrapped[SLOT_WRAPPED_SIZE];
	char hex[2 * SLOT_WRAPPED_SIZE + 1];
	omb_aead *aead = omb_aead_new();

	omb_random(salt, sizeof(salt));
	stretch(secret, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P, stretched);
	associated_len = slot_associated(keyring->repository_id, version,
									 secret->kind, associated);
	omb_aead_seal(aead, stretched, nonce, associated, associated_len,
				  keyring->key[version - 1], OMB_KEY_SIZE, wrapped);
	omb_buf_printf(out, "format=1\nkind=%s\nversion=%u\nsalt=%s\n",
				   kind_names[secret->kind], version,
				   omb_hex_format(salt, sizeof(salt), hex));
	if (secret->kind == OMB_SECRET_CODE)
		omb_buf_printf(out, "n=%d\nr=%d\np=%d\n", SCRYPT_N, SCRYPT_R,
					   SCRYPT_P);
	omb_buf_printf(
		out, "check=%s\n",
		omb_hex_format(stretched + OMB_KEY_SIZE, SLOT_CHECK_SIZE, hex));
	omb_buf_printf(out, "wrapped=%s\n",
				   omb_hex_format(wrapped, sizeof(wrapped), hex));
	omb_wipe(stretched, sizeof(stretched));
	omb_aead_free(aead);
}

typedef struct slot
{
	uint16_t version;
	uint8_t salt[SLOT_SALT_SIZE];
	uint8_t check[SLOT_CHECK_SIZE];
	uint8_t wrapped[SLOT_WRAPPED_SIZE];
	uint64_t n;
	uint32_t r;
	uint32_t p;
} slot;

/* Read and check the fields of a slot of the wanted kind. */
static omb_status
parse_slot(const omb_fields *fields, omb_secret_kind wanted, slot *out,
		   omb_error *err)
{
	const char *format = omb_fields_get(fields, "format");
	const char *kind = omb_fields_get(fields, "kind");
	const char *salt = omb_fields_get(fields, "salt");
	const char *check = omb_fields_get(fields, "check");
	const char *wrapped = omb_fields_get(fields, "wrapped");
	uint32_t version;

	if (format == NULL || kind == NULL)
		return omb_error_set(err, OMB_DAMAGED, "the key slot is damaged");
	if (strcmp(format, "1") != 0)
		return omb_error_set(err, OMB_UNSUPPORTED,
							 "the key slot has format \"%.16s\", which is "
							 "not supported",
							 format);
	if (strcmp(kind, kind_names[wanted]) != 0)
		return omb_error_set(err, OMB_NOT_FOUND,
							 "the key slot is for another kind of key");
	if (salt == NULL || !omb_hex_parse(salt, out->salt, SLOT_SALT_SIZE) ||
		check == NULL || !omb_hex_parse(check, out->check, SLOT_CHECK_SIZE) ||
		wrapped == NULL ||
		!omb_hex_parse(wrapped, out->wrapped, SLOT_WRAPPED_SIZE) ||
		!omb_fields_get_u32(fields, "version", &version) || version < 1 ||
		version > OMB_KEY_VERSIONS_MAX)
		return omb_error_set(err, OMB_DAMAGED, "the key slot is damaged");
	out->version = (uint16_t) version;
	if (wanted == OMB_SECRET_CODE &&
		(!omb_fields_get_u64(fields, "n", &out->n) ||
		 !omb_fields_get_u32(fields, "r", &out->r) ||
		 !omb_fields_get_u32(fields, "p", &out->p) || out->n < 2 ||
		 out->n > SCRYPT_N_MAX || (out->n & (out->n - 1)) != 0 ||
		 out->r != SCRYPT_R || out->p < 1 || out->p > 16))
		return omb_error_set(err, OMB_DAMAGED, "the key slot is damaged");
	return OMB_OK;
}

omb_status
omb_slot_open(const omb_secret *secret, const void *data, size_t len,
			  omb_keyring *keyring, omb_error *err)
{
	static const uint8_t nonce[OMB_NONCE_SIZE];
	omb_buf text = OMB_BUF_INIT;
	omb_fields fields;
	slot parsed;
	uint8_t stretched[64];
	uint8_t associated[32];
	size_t associated_len;
	omb_aead *aead;
	omb_status status;

	if (len > SLOT_MAX)
		return omb_error_set(err, OMB_DAMAGED, "the key slot is damaged");
	memset(&parsed, 0, sizeof(parsed));
	omb_buf_put(&text, data, len);
	if (!omb_fields_parse_text(omb_buf_text(&text), len, &fields))
		status = omb_error_set(err, OMB_DAMAGED, "the key slot is damaged");
	else
		status = parse_slot(&fields, secret->kind, &parsed, err);
	omb_buf_free(&text);
	if (status != OMB_OK)
		return status;

	stretch(secret, parsed.salt, parsed.n, parsed.r, parsed.p, stretched);
	associated_len = slot_associated(keyring->repository_id, parsed.version,
									 secret->kind, associated);
	aead = omb_aead_new();
	if (!omb_secret_equal(stretched + OMB_KEY_SIZE, parsed.check,
						  SLOT_CHECK_SIZE))
		status = omb_error_set(err, OMB_WRONG_KEY,
							   "the key does not open this repository");
	else if (!omb_aead_open(aead, stretched, nonce, associated, associated_len,
							parsed.wrapped, SLOT_WRAPPED_SIZE,
							keyring->key[parsed.version - 1]))
		status = omb_error_set(err, OMB_DAMAGED, "the key slot is damaged");
	else if (parsed.version > keyring->count)
		keyring->count = parsed.version;
	omb_aead_free(aead);
	omb_wipe(stretched, sizeof(stretched));
	return status;
}
