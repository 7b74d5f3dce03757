/*
 * stsxml.h: answers of the Security Token Service. Pure; false as in s3xml.h.
 */
#ifndef OMB_STORE_STSXML_H
#define OMB_STORE_STSXML_H

#include "store/cloud/cloudxml.h"

/* AssumeRoleWithWebIdentity: keys for a while. Wipe and free them. */
typedef struct omb_sts_keys
{
	char *id;
	char *secret;
	char *token;
	int64_t expires; /* microseconds since 1970 */
} omb_sts_keys;

extern bool omb_sts_parse(const void *data, size_t len, omb_sts_keys *keys);
/* What the service says instead. */
extern bool omb_sts_parse_error(const void *data, size_t len,
								omb_cloud_error *error);

#endif
