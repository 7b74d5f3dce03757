/*
 * fuzz_cloud.c: what cloud servers answer.
 */
#include "base/buffer.h"
#include "store/s3/awskeys.h"
#include "store/cloud/cloudxml.h"

#include <stdlib.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_credentials credentials;
	omb_cloud_multiparts list;
	omb_cloud_keys keys;
	omb_cloud_fates fates;
	omb_cloud_error error;
	omb_cloud_page page;
	uint64_t bytes;
	int64_t newest;
	char *id;
	bool flag;

	(void) omb_cloud_parse_error(data, size, &error);
	if (omb_cloud_parse_page(data, size, &page))
		omb_cloud_page_free(&page);
	if (omb_cloud_parse_blobs(data, size, &page))
		omb_cloud_page_free(&page);
	if (omb_cloud_parse_multiparts(data, size, &list))
		omb_cloud_multiparts_free(&list);
	if (omb_cloud_parse_deleted(data, size, &fates))
		omb_cloud_fates_free(&fates);
	(void) omb_cloud_parse_parts(data, size, &bytes, &newest);
	if (omb_cloud_parse_sts(data, size, &keys))
	{
		free(keys.id);
		free(keys.secret);
		free(keys.token);
	}
	(void) omb_cloud_parse_sts_error(data, size, &error);
	if (omb_aws_keys_parse(data, size, &credentials))
		omb_credentials_wipe(&credentials);
	(void) omb_cloud_parse_completed(data, size);
	(void) omb_cloud_parse_retention(data, size, &flag, &newest);
	(void) omb_cloud_parse_versioning(data, size, &flag);
	(void) omb_cloud_parse_lock_config(data, size, &flag);
	if (omb_cloud_parse_upload_id(data, size, &id))
		free(id);
	return 0;
}
