/*
 * fuzz_cloud.c: what cloud servers answer.
 */
#include "base/buffer.h"
#include "store/azure/azurexml.h"
#include "store/s3/awskeys.h"
#include "store/s3/s3xml.h"
#include "store/s3/stsxml.h"

#include <stdlib.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	omb_credentials credentials;
	omb_s3_multiparts list;
	omb_sts_keys keys;
	omb_s3_fates fates;
	omb_cloud_error error;
	omb_cloud_page page;
	uint64_t bytes;
	int64_t newest;
	char *id;
	bool flag;

	(void) omb_cloud_parse_error(data, size, &error);
	if (omb_cloud_parse_page(data, size, &page))
		omb_cloud_page_free(&page);
	if (omb_azure_parse_blobs(data, size, &page))
		omb_cloud_page_free(&page);
	if (omb_s3_parse_multiparts(data, size, &list))
		omb_s3_multiparts_free(&list);
	if (omb_s3_parse_deleted(data, size, &fates))
		omb_s3_fates_free(&fates);
	(void) omb_s3_parse_parts(data, size, &bytes, &newest);
	if (omb_sts_parse(data, size, &keys))
	{
		free(keys.id);
		free(keys.secret);
		free(keys.token);
	}
	(void) omb_sts_parse_error(data, size, &error);
	if (omb_aws_keys_parse(data, size, &credentials))
		omb_credentials_wipe(&credentials);
	(void) omb_s3_parse_completed(data, size);
	(void) omb_s3_parse_retention(data, size, &flag, &newest);
	(void) omb_s3_parse_versioning(data, size, &flag);
	(void) omb_s3_parse_lock_config(data, size, &flag);
	if (omb_s3_parse_upload_id(data, size, &id))
		free(id);
	return 0;
}
