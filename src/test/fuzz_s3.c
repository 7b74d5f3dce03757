/*
 * fuzz_s3.c: what an S3 server answers.
 */
#include "base/buffer.h"
#include "store/s3xml.h"

#include <stdlib.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_s3_multiparts list;
	omb_s3_fates fates;
	omb_s3_error error;
	omb_s3_page page;
	uint64_t bytes;
	int64_t newest;
	char *id;

	(void) omb_s3_parse_error(data, size, &error);
	if (omb_s3_parse_page(data, size, &page))
		omb_s3_page_free(&page);
	if (omb_s3_parse_multiparts(data, size, &list))
		omb_s3_multiparts_free(&list);
	if (omb_s3_parse_deleted(data, size, &fates))
		omb_s3_fates_free(&fates);
	(void) omb_s3_parse_parts(data, size, &bytes, &newest);
	(void) omb_s3_parse_completed(data, size);
	if (omb_s3_parse_upload_id(data, size, &id))
		free(id);
	return 0;
}
