/*
 * azure.h: a store in a container of Azure's Blob service, or of a server
 * that speaks as it does (store/cloud/cloud.h). Objects are block blobs.
 *
 *  - What has more bytes than one part is sent as blocks, and appears with the
 *    list of them. The server compares the MD5 of everything it gets.
 *  - Uploads create only (If-None-Match: *).
 *  - Blocks of an upload that never ended cannot be seen, nor removed. The
 *    service forgets them after a week, so there is nothing to sweep.
 */
#ifndef OMB_STORE_AZURE_H
#define OMB_STORE_AZURE_H

#include "store/cloud/cloud.h"

/* NULL and 0 are the defaults. All is copied. */
typedef struct omb_azure_config
{
	omb_cloud_options common;
	const char *account;   /* required */
	const char *container; /* required */
	/*
	 * "https://host[:port]"; NULL for Azure's. The account is in the path,
	 * unless it begins the name of the host.
	 */
	const char *endpoint;
	const char *access_tier; /* Hot, Cool, Cold; NULL for the account's */
} omb_azure_config;

/* Asks nothing of the server; fails when the description makes no sense. */
extern omb_status omb_azure_client_new(const omb_azure_config *config,
									   omb_cloud_client **client,
									   omb_error *err);
extern omb_status omb_store_azure_new(const omb_azure_config *config,
									  omb_store **store, omb_error *err);

#endif
