/*
 * fuzz_pack.c: a pack with a good header and then whatever comes; a chunk.
 */
#include "repo/pack.h"
#include "repo/stream.h"
#include "store/memory.h"

#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_repository repo;
	uint8_t header[OMB_OBJECT_HEADER_SIZE];
	uint8_t sha256[OMB_SHA256_SIZE] = { 0 };
	omb_object_key key;
	omb_buf bytes = OMB_BUF_INIT;
	omb_error err = OMB_ERROR_INIT;
	omb_coder *coder = omb_coder_new(NULL);
	omb_chunk chunk;
	omb_pack *pack;
	char *name = omb_pack_name(sha256);

	memset(&repo, 0, sizeof(repo));
	repo.store = omb_store_memory_new();
	repo.keyring.count = 1;
	omb_object_begin(&repo.keyring, OMB_KIND_PACK, header, &key);
	omb_buf_put(&bytes, header, sizeof(header));
	omb_buf_put(&bytes, data, size);
	if (omb_store_put(repo.store, name, bytes.data, bytes.len, &err) ==
			OMB_OK &&
		omb_pack_open(&repo, sha256, &pack, &err) == OMB_OK)
	{
		(void) omb_pack_list(pack, coder, NULL, NULL, &err);
		omb_error_clear(&err);
		(void) omb_pack_verify(pack, coder, &err);
		omb_pack_close(pack);
	}
	omb_error_clear(&err);
	(void) omb_chunk_parse(data, size, &chunk, &err);
	omb_coder_free(coder);
	omb_store_free(repo.store);
	omb_buf_free(&bytes);
	free(name);
	return 0;
}
