/*
 * azurexml.h: what Azure answers, where it is not as others do. Pure.
 */
#ifndef OMB_STORE_AZUREXML_H
#define OMB_STORE_AZUREXML_H

#include "store/cloud/cloudxml.h"

/*
 * A page of List Blobs; names are as they are. False when the bytes are no
 * whole page; then there is nothing to free.
 */
extern bool omb_azure_parse_blobs(const void *data, size_t len,
								  omb_cloud_page *page);

#endif
